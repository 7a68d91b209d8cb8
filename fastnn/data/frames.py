"""Data frames (pandas, polars, Arrow) and Parquet files: numbers in columns, one of which is the label."""

import os
from typing import Any

import numpy as np

from fastnn.data.dataset import Table, as_features
from fastnn.data.reading import expansion_limit, opened
from fastnn.errors import DataError, MissingExtraError

HINT = "pip install 'fastnn-cpu[frames]'"


def is_frame(source: Any) -> bool:
    """Whether a source is a data frame, not a name of a file."""
    return hasattr(source, "columns") and hasattr(source, "shape")


def read(path: str | os.PathLike[str], label: int | str = 0) -> Table:
    """Read one Parquet file.

    Parameters
    ----------
    path : path-like
    label : int or str
        The column of the labels, by its name or its index (from 0; negative from the end).

    Returns
    -------
    Table
        X uint8 if all features are whole numbers 0..255, otherwise float32.

    Raises
    ------
    DataError
        The file is missing, damaged or too large, or its columns cannot be learnt from.
    MissingExtraError
        pyarrow or narwhals is not installed.
    """
    return table(_parquet(path), label, str(path))


def read_features(path: str | os.PathLike[str], label: int | str | None = None) -> np.ndarray:
    """Read a Parquet file of features: array (N, I); `label` is a column to leave out. Errors as of `read`."""
    frame = _frame(_parquet(path), str(path))
    columns = frame.columns if label is None else _without(frame.columns, label, str(path))
    return _features(frame, columns, str(path))


def table(frame: Any, label: int | str = 0, path: str = "the frame") -> Table:
    """Bring a data frame into the form that files come in; parameters and errors as of `read`."""
    known = _frame(frame, path)
    others = _without(known.columns, label, path)
    (name,) = set(known.columns) - set(others)
    labels = known[name]
    if missing := int(labels.null_count()):
        raise DataError(f"{path}: the label {name!r} is missing in {missing} rows; drop them")
    values = labels.to_numpy()
    if not (labels.dtype.is_numeric() or values.dtype.kind == "b"):
        values = np.array([str(value) for value in labels.to_list()], object)
    return Table(_features(known, others, path), values, path)


def _parquet(path: str | os.PathLike[str]) -> Any:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise MissingExtraError(f"Parquet files need pyarrow: {HINT}") from None
    with opened(path) as (file, size):
        try:
            content = parquet.ParquetFile(file)
            promised = content.metadata.num_rows * content.metadata.num_columns * 4
            if promised > expansion_limit(size):
                raise DataError(f"{path} claims to expand from {size} to {promised} bytes; it is refused")
            return content.read()
        except (ArrowException, OSError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{path} is damaged or no Parquet file ({str(error).splitlines()[0]})") from None


def _frame(frame: Any, path: str) -> Any:
    try:
        import narwhals as nw
    except ImportError:
        raise MissingExtraError(f"data frames need narwhals: {HINT}") from None
    try:
        return nw.from_native(frame, eager_only=True)
    except TypeError:
        raise DataError(
            f"{path} is of the type {type(frame).__name__}; give a frame of pandas, polars or Arrow"
        ) from None


def _without(columns: list[str], label: int | str, path: str) -> list[str]:
    """All columns but the label's."""
    if isinstance(label, str):
        if label not in columns:
            raise DataError(f"{path} has no column {label!r}; it has {', '.join(columns[:20])}")
    elif not -len(columns) <= label < len(columns):
        raise DataError(f"{path} has {len(columns)} columns, and no column {label}")
    else:
        label = columns[label]
    return [name for name in columns if name != label]


def _features(frame: Any, columns: list[str], path: str) -> np.ndarray:
    found = []
    for name in columns:
        column = frame[name]
        if not (column.dtype.is_numeric() or str(column.dtype) == "Boolean"):
            raise DataError(
                f"{path}: the column {name!r} is of the type {column.dtype}, not a number; encode or drop it"
            )
        if missing := int(column.null_count()):
            raise DataError(f"{path}: the column {name!r} is missing in {missing} rows; fill or drop them")
        found.append(column.to_numpy())
    if not found:
        raise DataError(f"{path} has no columns of features")
    return as_features(np.column_stack(found), path)
