"""Rows of which only the values that are not zero are kept: what a sparse matrix is to a network.

Letters: N samples, I features, Z values that are kept.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np


@dataclass(frozen=True, eq=False)
class Compressed:
    """Compressed sparse rows.

    Parameters
    ----------
    values : float32 array (Z,)
    columns : int32 array (Z,)
        Of each value; ascending within a row.
    starts : int64 array (N + 1,)
        Where each row begins, and the last one ends.
    width : int
        I.
    """

    values: np.ndarray
    columns: np.ndarray
    starts: np.ndarray
    width: int

    @classmethod
    def of(cls, matrix: Any) -> Self:
        """The rows of a sparse matrix or array of scipy's, whichever form it has; it is not changed."""
        rows = matrix.tocsr()
        given = cls(rows.data, rows.indices, rows.indptr, rows.shape[1])
        if not given.sound:  # scipy itself would read what is not there
            return given
        if not rows.has_canonical_format:
            rows = rows.copy()
            rows.sum_duplicates()
        with np.errstate(over="ignore"):  # what overflows is infinite, and found as that
            values = np.ascontiguousarray(rows.data, np.float32)
        return cls(values, np.ascontiguousarray(rows.indices, np.int32), rows.indptr.astype(np.int64), rows.shape[1])

    @property
    def shape(self) -> tuple[int, int]:
        """N and I."""
        return len(self), self.width

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values."""
        return self.values.dtype

    @property
    def density(self) -> float:
        """Z / (N I)."""
        return len(self.values) / max(1, len(self) * self.width)

    @property
    def sound(self) -> bool:
        """Whether all columns are there, and the rows follow each other: nobody checks that of a sparse matrix."""
        inside = not self.columns.size or (self.columns.min() >= 0 and self.columns.max() < self.width)
        ends = self.starts[0] == 0 and self.starts[-1] == len(self.values) == len(self.columns)
        return bool(inside and ends and (np.diff(self.starts) >= 0).all())

    @property
    def longest(self) -> int:
        """The most values that a row has."""
        return int(np.diff(self.starts).max(initial=0))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, rows: Any) -> Self:
        chosen = np.arange(len(self))[rows]
        lengths = np.diff(self.starts)[chosen]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        places = np.arange(starts[-1]) + np.repeat(self.starts[chosen] - starts[:-1], lengths)
        return type(self)(self.values[places], self.columns[places], starts, self.width)

    def take(self, rows: Any, axis: int = 0) -> np.ndarray:
        """All values of some rows, as NumPy's `take`: float32 array (B, I)."""
        return self[rows].dense()

    def dense(self) -> np.ndarray:
        """All values: float32 array (N, I)."""
        found = np.zeros(self.shape, np.float32)
        found[np.repeat(np.arange(len(self)), np.diff(self.starts)), self.columns] = self.values
        return found

    def row_of(self, place: int) -> int:
        """The row that holds a value."""
        return int(np.searchsorted(self.starts, place, side="right")) - 1
