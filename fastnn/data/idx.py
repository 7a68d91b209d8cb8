"""IDX files, the form that MNIST comes in: a header, then the elements, big-endian, last axis fastest.

The header: two zero bytes, the code of the element type, the number of dimensions, and the size of each as a
big-endian uint32. Source: the description on MNIST's home page (LeCun, Cortes, Burges), section "file formats".
"""

import hashlib
import math
import os
import re
from pathlib import Path

import numpy as np

from fastnn.data.dataset import Table, as_features
from fastnn.data.reading import opened, read_up_to
from fastnn.errors import DataError

ELEMENT_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
DIMENSIONS = range(1, 9)
NAME = re.compile(r"(?P<part>train|t10k|test)-(?P<role>images|labels)[-.]idx\d-\w+(\.gz)?")


def read(path: str | os.PathLike[str], sha256: str | None = None) -> np.ndarray:
    """Read one file, plain or gzip-compressed; nothing is allocated that a header merely promises.

    Parameters
    ----------
    path : path-like
    sha256 : str, optional
        What the SHA-256 of the uncompressed file must be, as hexadecimal digits.

    Returns
    -------
    array
        Of the element type and the dimensions that the header names.

    Raises
    ------
    DataError
        The file is missing or unreadable, no IDX file, shorter or longer than its header says, or another than
        `sha256` promises.
    """
    with opened(path) as (file, limit):
        magic = file.read(4)
        if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in ELEMENT_TYPES or magic[3] not in DIMENSIONS:
            raise DataError(f"{path} is not an IDX file: it begins with {magic.hex(' ') or 'nothing'}")
        sizes = file.read(4 * magic[3])
        if len(sizes) < 4 * magic[3]:
            raise DataError(f"{path} ends inside its IDX header; fetch it again")
        shape = tuple(np.frombuffer(sizes, ">u4").tolist())
        dtype = np.dtype(ELEMENT_TYPES[magic[2]])
        header = magic + sizes
        promised = math.prod(shape) * dtype.itemsize
        claim = f"its IDX header promises {' x '.join(map(str, shape))} elements, {promised} bytes"
        if promised == 0:
            raise DataError(f"{path}: {claim}; there is nothing to learn from")
        if len(header) + promised > limit:
            raise DataError(f"{path}: {claim}, more than the file can hold; it is cut short or damaged")
        content = read_up_to(file, promised)
        if len(content) < promised:
            raise DataError(f"{path}: {claim}, but only {len(content)} follow; it is cut short or damaged")
        if file.read(1):
            raise DataError(f"{path}: {claim}, but more follow; it is damaged")
    if sha256 is not None:
        digest = hashlib.sha256(header)
        digest.update(content)
        if digest.hexdigest() != sha256:
            raise DataError(f"{path} is not the original file (its SHA-256 differs); install the package again")
    return np.frombuffer(content, dtype).reshape(shape)


def read_pair(
    images: str | os.PathLike[str], labels: str | os.PathLike[str], sha256: tuple[str | None, str | None] = (None, None)
) -> Table:
    """Read a file of images (or of other features) and the file of their labels.

    Raises
    ------
    DataError
        As `read`, or the two do not hold equally many.
    """
    X, y = read(images, sha256[0]), read(labels, sha256[1])
    if y.ndim != 1:
        raise DataError(f"{labels} holds {y.ndim} dimensions where labels have one; is it the right file?")
    if len(X) != len(y):
        raise DataError(f"{images} holds {len(X)} images, but {labels} {len(y)} labels; they belong to different sets")
    image = (X.shape[1], X.shape[2]) if X.ndim == 3 else None
    return Table(as_features(X, str(images)), y, str(labels), image)


def find(folder: str | os.PathLike[str]) -> dict[tuple[str, str], Path]:
    """The IDX files of a folder by ("train" or "test", "images" or "labels"); a plain file goes before its gzip."""
    try:
        paths = sorted(Path(folder).iterdir())  # "name" before "name.gz"
    except OSError as error:
        raise DataError(f"cannot read the folder {folder}: {error.strerror or error}") from error
    found: dict[tuple[str, str], Path] = {}
    for path in paths:
        if (match := NAME.fullmatch(path.name)) and path.is_file():
            found.setdefault(("train" if match["part"] == "train" else "test", match["role"]), path)
    return found


def read_folder(folder: str | os.PathLike[str]) -> list[Table]:
    """Read the training pair of a folder and, if it is there, the test pair.

    Parameters
    ----------
    folder : path-like
        Files named as MNIST's: ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, ``t10k-...``; a dot for the
        second hyphen and ``.gz`` are accepted.

    Raises
    ------
    DataError
        A file of a pair is missing, or one cannot be read.
    """
    files = find(folder)
    tables = []
    for part in ("train", "test"):
        images, labels = files.get((part, "images")), files.get((part, "labels"))
        if images is not None and labels is not None:
            tables.append(read_pair(images, labels))
        elif part == "train" or images is not labels:
            lacking = "images" if images is None else "labels"
            raise DataError(f"{folder} lacks the {part}-{lacking} file, such as {part}-{lacking}-idx1-ubyte.gz")
    return tables
