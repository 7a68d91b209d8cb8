"""File formats of a model, one module each; a row of `FORMATS` for each suffix."""

import os
from types import ModuleType

from fastnn.formats import html, json, onnx, safetensors

FORMATS: dict[str, ModuleType] = {
    ".safetensors": safetensors,
    ".json": json,
    ".onnx": onnx,
    ".html": html,
}


def suffix_of(path: str | os.PathLike[str]) -> str:
    """What a file's name ends in, in small letters."""
    return os.path.splitext(os.fspath(path))[1].lower()


def format_of(path: str | os.PathLike[str]) -> ModuleType:
    """The module of a file's format, by its suffix; safetensors if that names none."""
    return FORMATS.get(suffix_of(path), safetensors)
