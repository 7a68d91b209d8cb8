"""Models on disk: tensors and JSON metadata in one .safetensors file. Loading one can fail, but never run code.

Tensors: ``layers.0.weight`` (I, O), ``layers.0.bias`` (O,) and so on, dense layers only; a checkpoint that training can
go on from adds the same names for each state array of the optimiser, as ``optimizer.0.layers.0.weight``.
Metadata: one JSON text under ``fastnn``, and under ``sha256`` a digest of it and all tensors, so that a file that was
altered is known.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from fastnn.errors import ModelFileError
from fastnn.files import write_atomically
from fastnn.formats.description import LARGEST, WRONG, Form, Kind, describe, expect, fill, named, plan, restore
from fastnn.layers import aligned_zeros
from fastnn.network import Network


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


def save(path: str | os.PathLike[str], network: Network, checkpoint: Checkpoint | None = None) -> None:
    """Write a network, and with `checkpoint` what training needs to go on, atomically.

    Raises
    ------
    OutputError
        The file cannot be written; what stood there before is untouched.
    """
    architecture = network.architecture
    tensors = named(architecture, network.flat)
    for slot, flat in enumerate(checkpoint.state if checkpoint else []):
        tensors |= named(architecture, flat, f"optimizer.{slot}.")
    described = describe(network)
    if checkpoint:
        described["progress"] = checkpoint.progress
    text = json.dumps(described)
    write_atomically(path, to_bytes(tensors, {"fastnn": text, "sha256": _digest(text, tensors)}))


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
    try:
        described, tensors = _read(path)
        network = restore(path, described, tensors, kind)
        architecture = network.architecture
        if "progress" not in described:
            return network, None
        checkpoint = Checkpoint([], dict(described["progress"]))
        for slot in range(_slots(tensors)):
            flat = aligned_zeros(architecture.size)
            fill(path, architecture, flat, tensors, f"optimizer.{slot}.")
            checkpoint.state.append(flat)
        return network, checkpoint
    except ModelFileError:
        raise
    except WRONG as error:
        raise ModelFileError(f"{path}: the description of the model is damaged ({error})") from None


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The description and all tensors; none is read before all are known to be of the forms that are described."""
    try:
        with open(path, "rb"):  # safe_open would call a file missing that it may not read
            pass
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            if "fastnn" not in header:
                raise ModelFileError(f"{path}: not a model of fastnn (its header holds no such description)")
            text, names = header["fastnn"], list(file.keys())
            if len(text) > LARGEST:
                raise ModelFileError(f"{path}: its description is longer than {LARGEST:,} characters")
            described = json.loads(text)
            _expect_all(path, described, {name: _form(file.get_slice(name)) for name in names})
            tensors = {name: file.get_tensor(name) for name in names}
    except FileNotFoundError:
        raise ModelFileError(f"{path}: no such model file") from None
    except OSError as error:
        reason = "it is a folder" if os.path.isdir(path) else error.strerror or error
        raise ModelFileError(f"{path}: cannot be read: {reason}") from None
    except SafetensorError as error:
        raise ModelFileError(f"{path}: cut short, altered, or not a .safetensors file ({error})") from None
    if header.get("sha256") != _digest(text, tensors):
        raise ModelFileError(f"{path}: altered since it was written (its checksum is wrong)")
    return described, tensors


def _form(tensor: Any) -> Form:
    """The form of a tensor that need not be read for it; the types that NumPy has too by NumPy's names."""
    kind = tensor.get_dtype()
    return {"F16": "float16", "F32": "float32", "F64": "float64"}.get(kind, kind), tuple(tensor.get_shape())


def _expect_all(path: str | os.PathLike[str], described: Mapping[str, Any], forms: Mapping[str, Form]) -> None:
    """Check that a file holds what the described network and its training need, and nothing else."""
    _, architecture = plan(path, described)
    needed = expect(path, architecture, forms)
    for slot in range(_slots(forms) if "progress" in described else 0):
        needed |= expect(path, architecture, forms, f"optimizer.{slot}.")
    if others := forms.keys() - needed:
        raise ModelFileError(f"{path}: holds {min(others)!r}, which is no tensor of the network that it describes")


def _slots(names: Iterable[str]) -> int:
    """How many state arrays of an optimiser these tensors are of."""
    return len({name.split(".")[1] for name in names if name.startswith("optimizer.")})


def _digest(text: str, tensors: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(f"\n{name} {tensors[name].dtype} {tensors[name].shape}\n".encode())
        digest.update(np.ascontiguousarray(tensors[name]).tobytes())
    return digest.hexdigest()
