"""Models on disk: tensors and JSON metadata in one .safetensors file. Loading one can fail, but never run code.

Tensors: ``layers.0.weight`` (I, O), ``layers.0.bias`` (O,) and so on, dense layers only; a checkpoint that training can
go on from adds the same names for each state array of the optimiser, as ``optimizer.0.layers.0.weight``.
Metadata: one JSON text under ``fastnn``, and under ``sha256`` a digest of it and all tensors, so that a file that was
altered is known.
"""

import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from fastnn.errors import ModelFileError
from fastnn.files import write_atomically
from fastnn.layers import Architecture, aligned_zeros, layer_from_dict, layer_to_dict
from fastnn.network import Network
from fastnn.version import __version__

VERSION = 1  # of the metadata's form


@dataclass
class Checkpoint:
    """What training needs beside the network to go on exactly where it was.

    Parameters
    ----------
    state : list of float32 arrays (size,)
        The optimiser's state arrays.
    progress : dict
        JSON data: where training was, its history, and the settings it had.
    """

    state: list[np.ndarray] = field(default_factory=list)
    progress: dict[str, Any] = field(default_factory=dict)


def versions() -> dict[str, str]:
    """The versions that a result depends on."""
    return {
        "fastnn": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": importlib.metadata.version("numba"),
    }


def save(path: str | os.PathLike[str], network: Network, checkpoint: Checkpoint | None = None) -> None:
    """Write a network, and with `checkpoint` what training needs to go on, atomically.

    Raises
    ------
    OutputError
        The file cannot be written; what stood there before is untouched.
    """
    architecture = network.architecture
    tensors = _named(architecture, network.flat, "")
    for slot, flat in enumerate(checkpoint.state if checkpoint else []):
        tensors |= _named(architecture, flat, f"optimizer.{slot}.")
    described: dict[str, Any] = {
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
    if checkpoint:
        described["progress"] = checkpoint.progress
    text = json.dumps(described)
    write_atomically(path, to_bytes(tensors, {"fastnn": text, "sha256": _digest(text, tensors)}))


Kind = TypeVar("Kind", bound=Network)


def load(path: str | os.PathLike[str], kind: type[Kind]) -> tuple[Kind, Checkpoint | None]:
    """Read what `save` wrote.

    Returns
    -------
    network : of the class `kind`
    checkpoint : Checkpoint or None

    Raises
    ------
    ModelFileError
        The file is missing, cut short, altered, or no model of fastnn.
    """
    text, tensors = _read(path)
    try:
        described = json.loads(text)
        if described["version"] != VERSION:
            raise ModelFileError(
                f"{path}: form {described['version']} of the file is not known; upgrade fastnn to read it"
            )
        layers = [layer_from_dict(layer) for layer in described["layers"]]
        architecture = Architecture.of(layers, described["loss"])
        _expect(path, architecture, tensors, "")
        network = kind(layers, described["loss"], described["weight_init"], described["bias_init"], described["seed"])
        network.epochs, network.metadata = int(described["epochs"]), dict(described["metadata"])
        _fill(architecture, network.flat, tensors, "")
        if "progress" not in described:
            return network, None
        checkpoint = Checkpoint([], dict(described["progress"]))
        while any(name.startswith(f"optimizer.{len(checkpoint.state)}.") for name in tensors):
            prefix, flat = f"optimizer.{len(checkpoint.state)}.", aligned_zeros(architecture.size)
            _expect(path, architecture, tensors, prefix)
            _fill(architecture, flat, tensors, prefix)
            checkpoint.state.append(flat)
        return network, checkpoint
    except ModelFileError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ModelFileError(f"{path}: the description of the model is damaged ({error})") from None


def _read(path: str | os.PathLike[str]) -> tuple[str, dict[str, np.ndarray]]:
    try:
        with open(path, "rb"):  # safe_open would call a file missing that it may not read
            pass
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            if "fastnn" not in header:
                raise ModelFileError(f"{path}: not a model of fastnn (its header holds no such description)")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except FileNotFoundError:
        raise ModelFileError(f"{path}: no such model file") from None
    except OSError as error:
        reason = "it is a folder" if os.path.isdir(path) else error.strerror or error
        raise ModelFileError(f"{path}: cannot be read: {reason}") from None
    except (SafetensorError, TypeError) as error:  # TypeError: numbers of a type that NumPy lacks
        raise ModelFileError(f"{path}: cut short, altered, or not a .safetensors file ({error})") from None
    text = header["fastnn"]
    if header.get("sha256") != _digest(text, tensors):
        raise ModelFileError(f"{path}: altered since it was written (its checksum is wrong)")
    return text, tensors


def _digest(text: str, tensors: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(f"\n{name} {tensors[name].dtype} {tensors[name].shape}\n".encode())
        digest.update(np.ascontiguousarray(tensors[name]).tobytes())
    return digest.hexdigest()


def _named(architecture: Architecture, flat: np.ndarray, prefix: str) -> dict[str, np.ndarray]:
    tensors = {}
    for layer, (W, b) in enumerate(architecture.views(flat)):
        tensors[f"{prefix}layers.{layer}.weight"] = np.ascontiguousarray(W)
        tensors[f"{prefix}layers.{layer}.bias"] = np.ascontiguousarray(b)
    return tensors


def _expect(path: Any, architecture: Architecture, tensors: Mapping[str, np.ndarray], prefix: str) -> None:
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


def _fill(architecture: Architecture, flat: np.ndarray, tensors: Mapping[str, np.ndarray], prefix: str) -> None:
    for layer, (W, b) in enumerate(architecture.views(flat)):
        W[...] = tensors[f"{prefix}layers.{layer}.weight"]
        b[...] = tensors[f"{prefix}layers.{layer}.bias"]
