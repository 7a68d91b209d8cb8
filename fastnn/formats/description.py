"""What all formats say of a network beside its numbers, and how it is made again from that.

The description is a dict that JSON can hold; numbers are float32 arrays by name: ``layers.0.weight`` (I, O),
``layers.0.bias`` (O,) and so on, dense layers only.
"""

import importlib.metadata
import platform
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from fastnn.errors import ModelFileError
from fastnn.layers import Architecture, layer_from_dict, layer_to_dict
from fastnn.network import Network
from fastnn.version import __version__

VERSION = 1  # of the description's form
WRONG = (KeyError, TypeError, ValueError, OverflowError, RecursionError)  # what a damaged description leads to

Kind = TypeVar("Kind", bound=Network)


def versions() -> dict[str, str]:
    """The versions that a result depends on."""
    return {
        "fastnn": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": importlib.metadata.version("numba"),
    }


def describe(network: Network) -> dict[str, Any]:
    """All of a network but its numbers."""
    return {
        "version": VERSION,
        "layers": [layer_to_dict(layer) for layer in network.layers],
        "loss": network.loss,
        "weight_init": network.weight_init,
        "bias_init": network.bias_init,
        "seed": network.seed,
        "epochs": network.epochs,
        "metadata": network.metadata,
        "versions": versions(),
    }


def restore(path: Any, described: Mapping[str, Any], tensors: Mapping[str, np.ndarray], kind: type[Kind]) -> Kind:
    """The network that was described, with its numbers.

    Raises
    ------
    ModelFileError
        A form that is not known, or tensors that are not those of the layers.
    KeyError, TypeError, ValueError, OverflowError, RecursionError
        A damaged description.
    """
    if described["version"] != VERSION:
        raise ModelFileError(f"{path}: form {described['version']} of the file is not known; upgrade fastnn to read it")
    layers = [layer_from_dict(layer) for layer in described["layers"]]
    architecture = Architecture.of(layers, described["loss"])
    expect(path, architecture, tensors, "")
    network = kind(layers, described["loss"], described["weight_init"], described["bias_init"], described["seed"])
    network.epochs, network.metadata = int(described["epochs"]), dict(described["metadata"])
    fill(architecture, network.flat, tensors, "")
    return network


def named(architecture: Architecture, flat: np.ndarray, prefix: str = "") -> dict[str, np.ndarray]:
    """The numbers of a flat buffer by name."""
    tensors = {}
    for layer, (W, b) in enumerate(architecture.views(flat)):
        tensors[f"{prefix}layers.{layer}.weight"] = np.ascontiguousarray(W)
        tensors[f"{prefix}layers.{layer}.bias"] = np.ascontiguousarray(b)
    return tensors


def expect(path: Any, architecture: Architecture, tensors: Mapping[str, np.ndarray], prefix: str) -> None:
    """Check names, shapes and values before anything of the described size is allocated."""
    for layer in range(len(architecture.widths) - 1):
        inputs, outputs = architecture.widths[layer : layer + 2]
        for name, shape in (("weight", (inputs, outputs)), ("bias", (outputs,))):
            full = f"{prefix}layers.{layer}.{name}"
            found = tensors.get(full)
            if found is None or found.shape != shape or found.dtype != np.float32:
                said = "missing" if found is None else f"{found.dtype} {found.shape}"
                raise ModelFileError(f"{path}: the tensor {full} must be float32 {shape} but is {said}")
            if not np.isfinite(found).all():
                raise ModelFileError(f"{path}: the tensor {full} holds NaN or infinite values")


def fill(architecture: Architecture, flat: np.ndarray, tensors: Mapping[str, np.ndarray], prefix: str) -> None:
    """Write tensors, which `expect` has checked, into a flat buffer."""
    for layer, (W, b) in enumerate(architecture.views(flat)):
        W[...] = tensors[f"{prefix}layers.{layer}.weight"]
        b[...] = tensors[f"{prefix}layers.{layer}.bias"]
