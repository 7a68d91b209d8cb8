"""File formats of a model, one module each; a row of `FORMATS` for each suffix."""

import os
from types import ModuleType

from fastnn.errors import ConfigError
from fastnn.formats import html, json, onnx, safetensors

FORMATS: dict[str, ModuleType] = {
    ".safetensors": safetensors,
    ".json": json,
    ".onnx": onnx,
    ".html": html,
}

# Those of formats that fastnn does not write: a name that ends so would lie.
FOREIGN = (
    *(".pkl", ".pickle", ".joblib", ".pt", ".pth", ".ckpt", ".h5", ".hdf5", ".keras", ".tflite", ".pb", ".gguf"),
    *(".npy", ".npz", ".csv", ".toml"),
)


def suffix_of(path: str | os.PathLike[str]) -> str:
    """What a file's name ends in, in small letters."""
    return os.path.splitext(os.fspath(path))[1].lower()


def format_of(path: str | os.PathLike[str]) -> ModuleType:
    """The module of a file's format, by its suffix; safetensors if that names none."""
    return FORMATS.get(suffix_of(path), safetensors)


def check_suffix(path: str | os.PathLike[str], *own: str) -> None:
    """Refuse a name to be written whose suffix belongs to another format than those of the suffixes `own`.

    Raises
    ------
    ConfigError
        It does; no suffix, and one that nobody knows, are fine.
    """
    suffix = suffix_of(path)
    if suffix not in own and (suffix in FORMATS or suffix in FOREIGN):
        raise ConfigError(
            f"{path}: {suffix} is the suffix of another format; use a name that ends in {' or '.join(own)}"
        )
