"""Models as JSON that can be read by eye: sizes, activations and metrics first, then a line for each unit's weights.

Numbers are the shortest decimals that give the same float32 again.
"""

import json
import os
from typing import Any

import numpy as np

from fastnn.errors import ConfigError, ModelFileError
from fastnn.files import write_atomically
from fastnn.formats.description import LARGEST, WRONG, Kind, describe, restore
from fastnn.network import Network


def save(path: str | os.PathLike[str], network: Network) -> None:
    """Write a network, atomically.

    Raises
    ------
    ConfigError
        The file would be larger than `load` takes.
    OutputError
        The file cannot be written.
    """
    head = {
        "format": "fastnn",
        "sizes": list(network.architecture.widths),
        "activations": list(network.architecture.activations),
        "metrics": network.metadata.get("metrics"),
        "description": describe(network),
    }
    lines = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in head.items()]
    for name, values in zip(("weights", "biases"), zip(*network.parameters(), strict=True), strict=True):
        lines.append(f'  "{name}": [\n' + ",\n".join(_array(value) for value in values) + "\n  ]")
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    if len(text) > LARGEST:  # it is ASCII
        raise ConfigError(f"{path}: {len(text):,} bytes, but JSON models end at {LARGEST:,}; keep it as .safetensors")
    write_atomically(path, text)


def _array(values: np.ndarray) -> str:
    """A matrix with a line for each row (the weights of an input), or a line of numbers."""
    if values.ndim == 1:
        return "    [" + ", ".join(map(str, values)) + "]"
    return "    [\n" + ",\n".join("  " + _array(row) for row in values) + "\n    ]"


def load(path: str | os.PathLike[str], kind: type[Kind]) -> Kind:
    """Read what `save` wrote.

    Raises
    ------
    ModelFileError
        The file is missing, too large, damaged, or no model of fastnn.
    """
    try:
        if os.path.getsize(path) > LARGEST:
            raise ModelFileError(f"{path}: larger than {LARGEST:,} bytes; keep such a model as .safetensors")
        with open(path, encoding="utf-8") as file:
            form = json.load(file)
    except FileNotFoundError:
        raise ModelFileError(f"{path}: no such model file") from None
    except OSError as error:
        reason = "it is a folder" if os.path.isdir(path) else error.strerror or error
        raise ModelFileError(f"{path}: cannot be read: {reason}") from None
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: not a JSON file ({error})") from None
    if not isinstance(form, dict) or form.get("format") != "fastnn":
        raise ModelFileError(f'{path}: not a model of fastnn (it does not say "format": "fastnn")')
    try:
        tensors = {}
        for layer, (W, b) in enumerate(zip(form["weights"], form["biases"], strict=True)):
            tensors[f"layers.{layer}.weight"], tensors[f"layers.{layer}.bias"] = _numbers(W), _numbers(b)
        network = restore(path, form["description"], tensors, kind)
        for name, values in (("sizes", network.architecture.widths), ("activations", network.architecture.activations)):
            if list(form[name]) != list(values):
                raise ModelFileError(f"{path}: {name} are {form[name]}, but the rest of it says {[*values]}")
        return network
    except ModelFileError:
        raise
    except WRONG as error:
        raise ModelFileError(f"{path}: the description of the model is damaged ({error})") from None


def _numbers(values: Any) -> np.ndarray:
    with np.errstate(over="ignore"):  # what no float32 holds is infinite, and refused as that
        return np.array(values, np.float64).astype(np.float32)
