"""What a data set is, and the raw table that a file gives before it becomes one.

Letters as in layers.py: N samples, I inputs (features), O outputs (targets).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from fastnn.errors import DataError


@dataclass(frozen=True, eq=False)
class Dataset:
    """Examples to train or judge a network on.

    Parameters
    ----------
    X : uint8 or float32 array (N, I)
        Features, raw (not scaled), C-contiguous.
    y : int64 array (N,), or float32 array (N, O)
        Class indices, or the targets of a regression.
    classes : tuple of str, optional
        The name of each class, by index; None: a regression.
    image : (int, int), optional
        Height and width, where a row of `X` is a picture.
    names : tuple of str, optional
        The name of each feature.

    Raises
    ------
    DataError
        Shapes that do not go together.
    """

    X: np.ndarray
    y: np.ndarray
    classes: tuple[str, ...] | None = None
    image: tuple[int, int] | None = None
    names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.X.ndim != 2 or len(self.X) != len(self.y):
            raise DataError(f"X of shape {self.X.shape} and y of shape {self.y.shape} do not go together")
        if self.image is not None:
            height, width = self.image
            if min(height, width) < 1 or height * width != self.X.shape[1]:
                raise DataError(
                    f"an image of {height} x {width} pixels does not fit {self.X.shape[1]} features; "
                    "give the height and width whose product this is"
                )

    def __len__(self) -> int:
        return len(self.X)

    def take(self, rows: np.ndarray | slice) -> Self:
        """The chosen rows, with all classes kept.

        Parameters
        ----------
        rows : int array, bool array (N,) or slice

        Returns
        -------
        Dataset
        """
        return type(self)(np.ascontiguousarray(self.X[rows]), self.y[rows], self.classes, self.image, self.names)


@dataclass(frozen=True, eq=False)
class Table:
    """Features and labels as a file gave them.

    Parameters
    ----------
    X : uint8 or float32 array (N, I)
    labels : array (N,) of numbers or text, or (N, O) of numbers
    path : str
        The file that holds the labels, for messages.
    image : (int, int), optional
    lines : int array (N,), optional
        The line of each row in the file; without it messages count rows.
    names : tuple of str, optional
        The name of each feature.
    """

    X: np.ndarray
    labels: np.ndarray
    path: str
    image: tuple[int, int] | None = None
    lines: np.ndarray | None = None
    names: tuple[str, ...] | None = None

    def place(self, bad: np.ndarray) -> str:
        """Where the first row that is marked in `bad` (N,) stands in the file."""
        row = int(np.argmax(bad))
        return f"{self.path}, row {row + 1}" if self.lines is None else f"{self.path}, line {self.lines[row]}"


def same_features(found: Sequence[str] | None, known: Sequence[str] | None, path: str) -> None:
    """See whether features are those that a network was trained with, in the same order, as far as both have names.

    Parameters
    ----------
    found, known : sequence of str, or None
    path : str
        The file that `found` come from, for messages.

    Raises
    ------
    DataError
        They are not: each would be taken for another.
    """
    for place, (mine, other) in enumerate(zip(found or (), known or (), strict=False), start=1):
        if mine != other:
            raise DataError(
                f"{path}: feature {place} is {mine!r}, where the network was trained with {other!r}; "
                "bring the columns into that order, or rename them"
            )


def as_features(values: np.ndarray, path: str) -> np.ndarray:
    """Check features, and give them the type that they are kept in.

    Parameters
    ----------
    values : array (N, ...) of bool, any integer or any float
    path : str
        The file that they come from, for messages.

    Returns
    -------
    array (N, I)
        C-contiguous: uint8 if `values` are whole by type and lie in 0..255, otherwise float32.

    Raises
    ------
    DataError
        No rows, no columns, NaN, infinity, or a number beyond float32.
    """
    if values.ndim < 2 or values.size == 0:
        raise DataError(f"{path}: features of shape {values.shape}; at least one row and one column are needed")
    values = values.reshape(len(values), -1)
    if values.dtype.kind in "iu" and values.min() >= 0 and values.max() <= 255:
        return np.ascontiguousarray(values, dtype=np.uint8)
    if values.dtype.kind == "b":
        return np.ascontiguousarray(values, dtype=np.uint8)
    return finite_float32(values, path)


def finite_float32(values: np.ndarray, path: str, rows: np.ndarray | None = None) -> np.ndarray:
    """Numbers as float32, refused if one is NaN, infinite or too large for it.

    Parameters
    ----------
    values : array (N, I)
    path : str
        The file that they come from, for messages.
    rows : int array (N,), optional
        The line of each row in the file; without it messages count rows.

    Returns
    -------
    float32 array (N, I), C-contiguous
    """
    with np.errstate(over="ignore"):
        single = np.ascontiguousarray(values, dtype=np.float32)
    if not np.isfinite([single.min(), single.max()]).all():  # both pass a NaN on, and need no memory
        row, column = np.argwhere(~np.isfinite(single))[0].tolist()
        place = f"row {row + 1}" if rows is None else f"line {rows[row]}"
        raise DataError(
            f"{path}, {place}, column {column + 1}: {values[row, column]} is not a finite float32; mend or drop it"
        )
    return single
