"""Dividing, shuffling and scaling data sets.

Letters as in layers.py: N samples, I inputs (features).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from fastnn.data.dataset import Dataset
from fastnn.errors import ConfigError, DataError
from fastnn.rng import generator

SLICE = 2**20  # values that are expanded to float64, or moved, at a time

Scale = tuple[float | np.ndarray, float | np.ndarray]  # scale and shift: one for all features, or (I,)


def split(dataset: Dataset, fraction: float, seed: int, reuse: bool = False) -> tuple[Dataset, Dataset]:
    """Divide a data set at random. Raises as of `split_rows`.

    Parameters
    ----------
    dataset : Dataset
        Of N rows.
    fraction, seed : as for `split_rows`
    reuse : bool
        Whether `rest` may take the memory of `dataset`, which is spoilt by it: so large data need not fit twice.

    Returns
    -------
    (rest, part) : (Dataset, Dataset)
        Both in the order of `dataset`, with all of its classes.
    """
    rest, part = split_rows(len(dataset), fraction, seed)
    taken = dataset.take(part)
    return (_close_up(dataset, rest) if reuse and dataset.X.flags.writeable else dataset.take(rest)), taken


def _close_up(dataset: Dataset, rows: np.ndarray) -> Dataset:
    """The chosen rows, ascending, moved to the front of the memory that they are in."""
    X, step = dataset.X, max(1, SLICE // dataset.X.shape[1])
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        X[start : start + len(some)] = X[
            some
        ]  # copied first; what is overwritten lies before all that is still to come
    return replace(dataset, X=X[: len(rows)], y=dataset.y[rows])


def split_rows(count: int, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide row numbers at random.

    Parameters
    ----------
    count : int
        N, at least 2.
    fraction : float
        Between 0 and 1: the share of rows that goes to `part`, rounded, but at least one row on each side.
    seed : int
        The same seed divides the same way.

    Returns
    -------
    (rest, part) : int64 arrays (N - P,) and (P,)
        Row numbers 0..N-1, ascending; each is in one of the two.

    Raises
    ------
    ConfigError
        A fraction or seed out of range.
    DataError
        A single row cannot be divided.
    """
    if not 0 < fraction < 1:
        raise ConfigError(f"a fraction to split off must lie between 0 and 1, not be {fraction!r}")
    if count < 2:
        raise DataError(f"a data set of {count} rows cannot be divided; give more rows")
    size = min(max(round(count * fraction), 1), count - 1)
    rows = generator(seed, "split").permutation(count)
    return np.sort(rows[size:]), np.sort(rows[:size])


def shuffle(dataset: Dataset, seed: int) -> Dataset:
    """The rows in a random order, the same for the same seed.

    Parameters
    ----------
    dataset : Dataset
    seed : int
        From 0 to 2**64 - 1.

    Returns
    -------
    Dataset
        A copy.

    Raises
    ------
    ConfigError
        A seed out of range.
    """
    return dataset.take(generator(seed, "shuffle").permutation(len(dataset)))


def one_hot(y: np.ndarray, classes: int, dtype: Any = np.float32) -> np.ndarray:
    """Class indices as rows with a single one.

    Parameters
    ----------
    y : int array (N,)
    classes : int
        K, the number of classes.
    dtype : dtype

    Returns
    -------
    array (N, K)

    Raises
    ------
    DataError
        An index that is negative or not below K.
    """
    y = np.asarray(y)
    if y.size and not 0 <= y.min() <= y.max() < classes:
        raise DataError(f"class indices must lie in 0..{classes - 1}, but they reach from {y.min()} to {y.max()}")
    rows = np.zeros((len(y), classes), dtype)
    rows[np.arange(len(y)), y] = 1
    return rows


BRIGHT = 127  # bytes that stay below are counts or codes, not pixels


def fit_scale(X: np.ndarray, how: str = "auto") -> Scale:
    """Find the scale and shift that bring features to a range that a network learns well from.

    Parameters
    ----------
    X : uint8 or float array (N, I)
        The features of the training rows, raw.
    how : str
        "none": leave them; "255": divide by 255; "minmax": each feature to 0..1; "standard": each feature to mean 0
        and standard deviation 1 (that of the rows given, not an estimate for more); "auto": "255" for uint8 that
        reaches above 127 (pixels), "none" for what lies in 0..1 already, otherwise "standard".

    Returns
    -------
    (scale, shift) : (float, float) or (float64 array (I,), float64 array (I,))
        For ``scale * x + shift``, as `Input` takes them. A feature that is constant gets scale and shift 0: nothing
        can be learnt about it, and another value of it, met later, must not reach the network unscaled.

    Raises
    ------
    ConfigError
        An unknown `how`.
    """
    if how not in SCALES:
        raise ConfigError(f"unknown scale {how!r}; choose one of {', '.join(SCALES)}")
    return SCALES[how](X)


def _auto(X: np.ndarray) -> Scale:
    if X.dtype == np.uint8 and X.max() > BRIGHT:
        return _bytes(X)
    return _none(X) if X.min() >= 0 and X.max() <= 1 else _standard(X)


def _none(X: np.ndarray) -> Scale:
    return 1.0, 0.0


def _bytes(X: np.ndarray) -> Scale:
    return 1 / 255, 0.0


def _minmax(X: np.ndarray) -> Scale:
    lowest, spread = _range(X)
    scale = _inverse(spread, spread)
    return scale, 0.0 - scale * lowest


def _standard(X: np.ndarray) -> Scale:
    mean = X.mean(axis=0, dtype=np.float64)
    squares = np.zeros_like(mean)
    step = max(1, SLICE // X.shape[1])
    for start in range(0, len(X), step):  # squares of deviations, because sums of raw squares would cancel
        squares += ((X[start : start + step] - mean) ** 2).sum(axis=0)
    scale = _inverse(np.sqrt(squares / len(X)), _range(X)[1])
    return scale, 0.0 - scale * mean


def _range(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lowest value of each feature, and how far above it the highest lies."""
    lowest = X.min(axis=0).astype(np.float64)
    return lowest, X.max(axis=0) - lowest


def _inverse(size: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """1 / size, but 0 where a feature is constant, or varies so little that this would be no float32."""
    varies = (spread > 0) & (size > np.finfo(np.float32).tiny)  # rounding gives a constant a size above 0
    inverse: np.ndarray = np.divide(1.0, size, out=np.zeros_like(size), where=varies)
    return inverse


SCALES: dict[str, Callable[[np.ndarray], Scale]] = {
    "auto": _auto,
    "none": _none,
    "255": _bytes,
    "minmax": _minmax,
    "standard": _standard,
}
