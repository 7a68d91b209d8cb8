"""One door to all the forms that data come in."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn.data import csv, frames, idx, mnist, npz
from fastnn.data.dataset import Dataset, Table
from fastnn.data.fetch import fetch, is_url
from fastnn.data.labels import targets
from fastnn.errors import ConfigError, DataError
from fastnn.settings import nearest


def load(
    source: Any,
    label: int | str = 0,
    image: tuple[int, int] | None = None,
    task: str = "auto",
    classes: Sequence[str] | None = None,
) -> tuple[Dataset, Dataset | None]:
    """Read a data set.

    Parameters
    ----------
    source : str, path-like or data frame
        ``"mnist"`` (embedded; no network); a folder of IDX files, or one with ``train.csv`` and maybe ``test.csv``; a
        CSV file (``.csv``, ``.csv.gz``; with or without header, Kaggle's form of MNIST too); an NPZ or Parquet file; a
        URL of one of these files (see `fastnn.data.fetch`); a frame of pandas, polars or Arrow.
    label : int or str
        CSV, Parquet and frames only: the column of the labels, by index (negative from the end) or by its name.
    image : (int, int), optional
        Height and width of the picture that a row is; IDX and NPZ files with three dimensions say it themselves,
        and so does a CSV file whose header numbers the pixels of a square: ``pixel0,pixel1,...``.
    task : "auto", "classification" or "regression"
        "auto": a regression if labels have a fractional part.
    classes : sequence of str, optional
        The classes of a model that is to judge these data, by index; by default they are found in the labels.

    Returns
    -------
    (train, test) : (Dataset, Dataset or None)
        X uint8 (N, I) where all features are whole numbers 0..255, otherwise float32; y int64 (N,) class indices, or
        float32 (N, O) in a regression. The second is None if the source has no test set of its own.

    Raises
    ------
    DataError
        A file or its content cannot be used; the message is one line: the file, what is wrong, where, what to do.
    ConfigError
        An unknown task, or a label that is neither an index nor a name.
    """
    if isinstance(label, (bool, np.bool)) or not isinstance(label, (int, np.integer, str)):
        raise ConfigError(f"the label {label!r} is no column; give its index, as 0 or -1, or its name")
    tables = _tables(source, label)
    dtype = np.result_type(*(table.X for table in tables))
    datasets: list[Dataset] = []
    for table in tables:  # what the training labels are, the test labels must be too
        y, classes = targets(table, task, classes)
        task = "regression" if classes is None else "classification"
        datasets.append(Dataset(table.X.astype(dtype, copy=False), y, classes, image or table.image, table.names))
        if datasets[0].X.shape[1] != table.X.shape[1] or datasets[0].y.shape[1:] != y.shape[1:]:
            raise DataError(f"{table.path}: the test set has not as many features and targets as the training set")
    return datasets[0], datasets[1] if len(datasets) > 1 else None


def absent(source: str | os.PathLike[str]) -> str:
    """Words for a source that is not there."""
    hint = nearest(os.path.basename(source), ["mnist"])
    return f'{os.fspath(source)} does not exist{hint}; give a file, a folder, or "mnist" for the embedded data'


def _tables(source: Any, label: int | str) -> list[Table]:
    """The training table of a source and, if it has one, the test table."""
    if frames.is_frame(source):
        return [frames.table(source, label)]
    if not isinstance(source, (str, os.PathLike)):
        raise DataError(f'data come from a file, a folder, a URL, a frame or "mnist", not from {type(source).__name__}')
    if source == "mnist":
        return mnist.read()
    if is_url(source):
        source = fetch(str(source))
    name = os.fspath(source).lower()
    if os.path.isdir(source):
        if idx.find(source):
            return idx.read_folder(source)
        if csv.find(source, "train"):
            return csv.read_folder(source, label)
        raise DataError(f"the folder {source} holds neither train-images-idx3-ubyte[.gz] nor train.csv")
    if not os.path.exists(source):
        raise DataError(absent(source))
    if name.endswith(".npz"):
        return npz.read(source)
    if name.endswith((".csv", ".csv.gz")):
        return [csv.read(source, label)]
    if name.endswith(".parquet"):
        return [frames.read(source, label)]
    raise DataError(
        f"{source} is of an unknown kind; give a .csv, .csv.gz, .npz or .parquet file, or a folder of IDX files"
    )
