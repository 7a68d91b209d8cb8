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
    return hasattr(type(source), "columns") and hasattr(type(source), "shape")


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


def read_features(path: str | os.PathLike[str], label: int | str | None = None) -> Table:
    """Read a Parquet file of features: no labels; `label` is a column to leave out. Errors as of `read`."""
    frame = _frame(_parquet(path), str(path))
    place = None if label is None else _place(frame, label, str(path))
    X = _features(frame, place, str(path))
    return Table(X, np.empty((len(X), 0)), str(path), names=_others(frame, place))


def table(frame: Any, label: int | str = 0, path: str = "the frame") -> Table:
    """Bring a data frame into the form that files come in; parameters and errors as of `read`."""
    known = _frame(frame, path)
    place = _place(known, label, path)
    labels, name = known[:, place], _names(known)[place]
    if missing := int(labels.null_count()):
        raise DataError(f"{path}: the label {name!r} is missing in {missing} rows; drop them")
    if labels.dtype.is_nested():
        raise DataError(f"{path}: the label {name!r} is of the type {labels.dtype}, neither a number nor a word")
    values = labels.to_numpy() if _is_number(labels.dtype) else _words(labels)
    return Table(_features(known, place, path), values, path, names=_others(known, place))


def _parquet(path: str | os.PathLike[str]) -> Any:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise MissingExtraError(f"Parquet files need pyarrow: {HINT}") from None
    with opened(path) as (file, size):
        try:
            schema, limit = parquet.ParquetFile(file).schema_arrow, expansion_limit(size)
            nested = [field.name for field in schema if pyarrow.types.is_nested(field.type)]
            if nested:
                raise DataError(f"{path}: the column {nested[0]!r} holds lists or structures, not numbers; drop it")
            # words that come again are kept once: as many of them as you like fit into a small file
            words = [field.name for field in schema if not pyarrow.types.is_primitive(field.type)]
            content, batches, taken = parquet.ParquetFile(file, read_dictionary=words), [], 0
            too_large = DataError(f"{path} expands from {size} to more than {limit} bytes; it is refused")
            groups = map(content.metadata.row_group, range(content.metadata.num_row_groups))
            if sum(group.total_byte_size for group in groups) > limit:  # a single batch of long words may be
                raise too_large
            for batch in content.iter_batches():
                batches.append(batch)
                taken += batch.nbytes
                if taken > limit:
                    raise too_large
            return pyarrow.Table.from_batches(batches, content.schema_arrow)
        except (pyarrow.ArrowException, OSError, ValueError) as error:
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
    except Exception as error:  # whatever narwhals and the library below raise of what is no plain frame
        words = " ".join(str(error).split())[:200]
        raise DataError(f"{path} is no frame of pandas, polars or Arrow with named columns ({words})") from None


def _names(frame: Any) -> list[str]:
    return [str(name) for name in frame.columns]


def _others(frame: Any, label: int | None) -> tuple[str, ...]:
    """The names of all columns but the label's."""
    return tuple(name for place, name in enumerate(_names(frame)) if place != label)


def _place(frame: Any, label: int | str, path: str) -> int:
    """The number of the label's column."""
    names = _names(frame)
    if isinstance(label, str):
        if label not in names:
            raise DataError(f"{path} has no column {label!r}; it has {', '.join(names[:20])}")
        return names.index(label)
    if not -len(names) <= label < len(names):
        raise DataError(f"{path} has {len(names)} columns, and no column {label}")
    return int(label) % len(names)  # a frame takes no integer of NumPy


def _is_number(dtype: Any) -> bool:
    return bool(dtype.is_numeric()) or str(dtype) == "Boolean"


def _words(column: Any) -> np.ndarray:
    """A column as text: an object array of which equal rows share one string, so that a row costs a pointer."""
    native = column.to_native()
    if hasattr(native, "dictionary_encode") and len(native):  # Arrow, a file too: numbered words, never text per row
        coded = native.dictionary_encode().unify_dictionaries()
        words = [str(word) for word in coded.chunk(0).dictionary.to_pylist()]
        codes = np.concatenate([chunk.indices.to_numpy() for chunk in coded.chunks])
        return np.take(np.array(words, object), codes)
    known: dict[str, str] = {}
    return np.fromiter((known.setdefault(word, word) for word in map(str, column)), object, len(column))


def _features(frame: Any, label: int | None, path: str) -> np.ndarray:
    """All columns but the label's."""
    found = []
    # one pass: frame[:, place] makes a frame anew, or looks through all names, for each column
    for place, (name, column) in enumerate(zip(_names(frame), frame.iter_columns(), strict=True)):
        if place == label:
            continue
        if not _is_number(column.dtype):
            kind = column.dtype
            raise DataError(f"{path}: the column {name!r} is of the type {kind}, not a number; encode or drop it")
        if missing := int(column.null_count()):
            raise DataError(f"{path}: the column {name!r} is missing in {missing} rows; fill or drop them")
        found.append(column.to_numpy())
    if not found:
        raise DataError(f"{path} has no columns of features")
    return as_features(np.column_stack(found), path)
