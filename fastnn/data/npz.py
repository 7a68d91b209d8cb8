"""NPZ files: a zip archive of NumPy arrays. Read without pickle, and never larger than what is really there."""

import math
import os
import re
import zipfile
import zlib
from collections.abc import Container, Iterable
from typing import Any

import numpy as np

from fastnn.data.dataset import Table, as_features
from fastnn.data.reading import expansion_limit, opened, read_up_to
from fastnn.errors import DataError

# X, x_train, X_test, train_images, test_labels, ... in lower case.
KEY = re.compile(
    r"(?:(train|test)_?)?(?:(?P<features>x|images?|data|features?)|(?P<labels>y|labels?|targets?))(?:_?(train|test))?"
)
KINDS = {"features": "biuf", "labels": "biufUS"}  # NumPy's codes of element types: bool, integers, floats, text
HEADERS: dict[tuple[int, int], Any] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}

Role = tuple[str, str]  # ("train" or "test", "features" or "labels")


def read(path: str | os.PathLike[str]) -> list[Table]:
    """Read the training and, if it is there, the test set of an NPZ file.

    Parameters
    ----------
    path : path-like
        An archive with the arrays ``X`` and ``y``, or ``x_train``, ``y_train``, ``x_test`` and ``y_test``; images,
        data, features and labels, target are understood too, in any case. Other arrays are not read.

    Returns
    -------
    [train] or [train, test] : list of Table

    Raises
    ------
    DataError
        The file is missing, damaged or no archive; an array is missing, of a type that cannot be learnt from, or not
        of the size that its header says; features and labels are not equally many.
    """
    arrays = _arrays(path, KINDS)
    parts = ["train", "test"] if any(part == "test" for part, _ in arrays) else ["train"]
    _demand(path, arrays, [(part, role) for part in parts for role in KINDS])
    return [_table(path, part, arrays[part, "features"], arrays[part, "labels"]) for part in parts]


def read_features(path: str | os.PathLike[str]) -> np.ndarray:
    """Read the features alone, those of the test set if there are two: array (N, I); names and errors as of `read`."""
    arrays = _arrays(path, ["features"])
    part = "test" if ("test", "features") in arrays else "train"
    _demand(path, arrays, [(part, "features")])
    return as_features(arrays[part, "features"], f"{path}, {part} features")


def _arrays(path: str | os.PathLike[str], kinds: Iterable[str]) -> dict[Role, np.ndarray]:
    """The arrays of an archive that are features or labels, as `kinds` wants them."""
    with opened(path) as (file, _):
        try:
            with zipfile.ZipFile(file) as archive:
                roles = {role: info for role, info in _roles(path, archive).items() if role[1] in kinds}
                return {role: _array(path, archive, info, KINDS[role[1]]) for role, info in roles.items()}
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error) as error:
            raise DataError(f"{path} is damaged or no NPZ file; save it with numpy.savez") from error


def _roles(path: str | os.PathLike[str], archive: zipfile.ZipFile) -> dict[Role, zipfile.ZipInfo]:
    roles: dict[Role, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        if match := KEY.fullmatch(info.filename.lower().removesuffix(".npy")):
            role = ("test" if "test" in match.groups() else "train", "features" if match["features"] else "labels")
            if role in roles:
                raise DataError(
                    f"{path}: both {roles[role].filename} and {info.filename} could be the {' '.join(role)}; leave one"
                )
            roles[role] = info
    return roles


def _demand(path: str | os.PathLike[str], arrays: Container[Role], wanted: list[Role]) -> None:
    if lacking := [" ".join(role) for role in wanted if role not in arrays]:
        raise DataError(
            f"{path} has no {', no '.join(lacking)}; name the arrays X and y, or x_train, y_train, x_test and y_test"
        )


def _array(path: str | os.PathLike[str], archive: zipfile.ZipFile, info: zipfile.ZipInfo, kinds: str) -> np.ndarray:
    where = f"{path}: {info.filename}"
    if info.file_size > expansion_limit(info.compress_size):
        raise DataError(f"{where} claims to expand from {info.compress_size} to {info.file_size} bytes; it is refused")
    with archive.open(info) as member:
        try:
            shape, fortran, dtype = HEADERS[np.lib.format.read_magic(member)](member)
        except Exception as error:  # NumPy's parser has many ways to fail on junk
            raise DataError(f"{where} is damaged or no NumPy array; save it with numpy.savez") from error
        if dtype.kind not in kinds or dtype.itemsize == 0:
            raise DataError(f"{where} holds elements of type {dtype}; save numbers{' or text' * ('U' in kinds)}")
        promised = math.prod(shape) * dtype.itemsize
        real = info.file_size - member.tell()
        if promised != real or min(shape, default=1) < 0:
            raise DataError(f"{where}: its header promises {shape} of {dtype}, {promised} bytes, but {real} follow")
        if promised == 0:
            raise DataError(f"{where} is empty (shape {shape})")
        content = read_up_to(member, promised)
    if len(content) < promised:
        raise DataError(f"{where} is cut short: {len(content)} of {promised} bytes; save it again")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


def _table(path: str | os.PathLike[str], part: str, X: np.ndarray, labels: np.ndarray) -> Table:
    if not 1 <= labels.ndim <= 2 or X.shape[:1] != labels.shape[:1]:
        raise DataError(f"{path}: {part} features of shape {X.shape} and labels of shape {labels.shape} do not match")
    if labels.dtype.kind in "SU":
        labels = _text(f"{path}, {part} labels", labels)
    image = (X.shape[1], X.shape[2]) if X.ndim == 3 else None
    return Table(as_features(X, f"{path}, {part} features"), labels, f"{path}, {part} labels", image)


def _text(where: str, labels: np.ndarray) -> np.ndarray:
    if labels.size != len(labels):
        raise DataError(f"{where}: text in {labels.shape[1]} columns; one is needed")
    try:
        if labels.dtype.kind == "S":
            return np.char.decode(labels, "utf-8")
        np.char.encode(labels, "utf-8")  # fails where a number is no character
        return labels
    except (ValueError, SystemError) as error:
        raise DataError(f"{where}: they are not valid text; save them as str or as UTF-8") from error
