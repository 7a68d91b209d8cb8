"""Features without labels, for a model to predict from."""

import os
from collections.abc import Sequence

import numpy as np

from fastnn.data import csv, frames, idx, npz
from fastnn.data.dataset import Table, as_features, same_features
from fastnn.errors import DataError


def load_features(
    path: str | os.PathLike[str], width: int, label: int | str | None = None, names: Sequence[str] | None = None
) -> np.ndarray:
    """Read the inputs of a model.

    Parameters
    ----------
    path : path-like
        A CSV file (``.csv``, ``.csv.gz``; with or without header), an NPZ file with an array ``X`` (or ``x_test``, if
        it has that), a Parquet file, or an IDX file of images, plain or gzip-compressed.
    width : int
        How many features the model takes.
    label : int or str, optional
        CSV and Parquet only: a column to leave out, in a CSV if there is one too many, by index or by its name.
    names : sequence of str, optional
        What the model calls its features.

    Returns
    -------
    uint8 or float32 array (N, width)

    Raises
    ------
    DataError
        The file cannot be used, or has not `width` features, or others than `names`.
    """
    name = os.fspath(path).lower()
    found = None
    if name.endswith((".csv", ".csv.gz")):
        table = _of_csv(path, width, label)
        X, found = table.X, table.names
    elif name.endswith(".npz"):
        X = npz.read_features(path)
    elif name.endswith(".parquet"):
        table = frames.read_features(path, label)
        X, found = table.X, table.names
    else:
        X = as_features(idx.read(path), str(path))
    if X.shape[1] != width:
        hint = "; if one of them is the label, name it by --label" if X.shape[1] == width + 1 and label is None else ""
        raise DataError(f"{path} has {X.shape[1]} features, but the model takes {width}{hint}")
    same_features(found, names, str(path))
    return X


def _of_csv(path: str | os.PathLike[str], width: int, label: int | str | None) -> Table:
    if label is not None:
        table = csv.read(path, label)
        if table.X.shape[1] != width - 1:  # else the file has no label: no column is one too many
            return table
    return csv.read_features(path)
