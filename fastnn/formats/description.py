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
from fastnn.layers import Architecture, Layer, layer_from_dict, layer_to_dict
from fastnn.network import Network
from fastnn.version import __version__

VERSION = 1  # of the description's form
# Bytes of JSON that are parsed: hostile text becomes up to 50 times as much in memory ("[[[", a list for each bracket),
# which is some 3 GB. Models of 5 million parameters fit.
LARGEST = 2**26
WRONG = (KeyError, TypeError, ValueError, OverflowError, RecursionError)  # what a damaged description leads to

Kind = TypeVar("Kind", bound=Network)
Form = tuple[str, tuple[int, ...]]  # of a tensor: the name of its type, its shape


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
    layers, architecture = plan(path, described)
    expect(path, architecture, {name: (str(found.dtype), found.shape) for name, found in tensors.items()})
    network = kind(layers, described["loss"], described["weight_init"], described["bias_init"], described["seed"])
    network.epochs, network.metadata = int(described["epochs"]), dict(described["metadata"])
    fill(path, architecture, network.flat, tensors)
    return network


def plan(path: Any, described: Mapping[str, Any]) -> tuple[list[Layer], Architecture]:
    """The layers that were described, and what they add up to; errors as of `restore`."""
    if described["version"] != VERSION:
        raise ModelFileError(f"{path}: form {described['version']} of the file is not known; upgrade fastnn to read it")
    layers = [layer_from_dict(layer) for layer in described["layers"]]
    return layers, Architecture.of(layers, described["loss"])


def named(architecture: Architecture, flat: np.ndarray, prefix: str = "") -> dict[str, np.ndarray]:
    """The numbers of a flat buffer by name."""
    tensors = {}
    for layer, (W, b) in enumerate(architecture.views(flat)):
        tensors[f"{prefix}layers.{layer}.weight"] = np.ascontiguousarray(W)
        tensors[f"{prefix}layers.{layer}.bias"] = np.ascontiguousarray(b)
    return tensors


def expect(path: Any, architecture: Architecture, forms: Mapping[str, Form], prefix: str = "") -> set[str]:
    """The names of the tensors that are needed; checks them before anything of such a size is read or allocated."""
    needed = set()
    for layer in range(len(architecture.widths) - 1):
        inputs, outputs = architecture.widths[layer : layer + 2]
        for name, shape in (("weight", (inputs, outputs)), ("bias", (outputs,))):
            full = f"{prefix}layers.{layer}.{name}"
            found = forms.get(full)
            if found != ("float32", shape):
                said = "missing" if found is None else f"{found[0]} {found[1]}"
                raise ModelFileError(f"{path}: the tensor {full} must be float32 {shape} but is {said}")
            needed.add(full)
    return needed


def fill(
    path: Any, architecture: Architecture, flat: np.ndarray, tensors: Mapping[str, np.ndarray], prefix: str = ""
) -> None:
    """Write tensors, whose forms `expect` has checked, into a flat buffer; ModelFileError if one is not finite."""
    for layer, views in enumerate(architecture.views(flat)):
        for name, view in zip(("weight", "bias"), views, strict=True):
            full = f"{prefix}layers.{layer}.{name}"
            if not np.isfinite(tensors[full]).all():
                raise ModelFileError(f"{path}: the tensor {full} holds NaN or infinite values")
            view[...] = tensors[full]
