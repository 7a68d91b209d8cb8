"""CSV files: a row a sample, commas between the columns, one of them the label; a header line is recognised."""

import csv
import io
import math
import os
import reprlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, count, islice
from pathlib import Path

import numpy as np

from fastnn.data.dataset import Dataset, Table, finite_float32
from fastnn.data.labels import is_number
from fastnn.data.reading import opened
from fastnn.errors import DataError
from fastnn.files import write_atomically

VALUES = 2**20  # parsed at a time
LONGEST_LINE = 2**24  # characters

Line = tuple[int, str]  # number (from 1) and text


@dataclass(frozen=True)
class Layout:
    """The columns of a file: their names if it has a header, their number, and which of them is the label, if any."""

    names: list[str] | None
    columns: int
    label: int | None

    @property
    def features(self) -> tuple[str, ...] | None:
        """The names of all columns but the label's."""
        if self.names is None:
            return None
        return tuple(name for column, name in enumerate(self.names) if column != self.label)

    @property
    def image(self) -> tuple[int, int] | None:
        """Height and width of a square picture whose pixels the header numbers, from 0 or 1: ``pixel0,pixel1,...``."""
        features = list(self.features or ())
        side = math.isqrt(len(features))
        numbered = [[f"pixel{first + index}" for index in range(len(features))] for first in (0, 1)]
        return (side, side) if side > 1 and side * side == len(features) and features in numbered else None


def read(path: str | os.PathLike[str], label: int | str = 0) -> Table:
    """Read one CSV file, plain or gzip-compressed, in UTF-8.

    Parameters
    ----------
    path : path-like
    label : int or str
        The column of the labels: its index (from 0; negative from the end), or its name in the header.

    Returns
    -------
    Table
        X uint8 if all features are whole numbers 0..255, otherwise float32; labels as text (an object array).

    Raises
    ------
    DataError
        The file is missing, unreadable, no text, empty or only a header; the label's column does not exist; a row
        has too few or too many columns; a feature is no number, NaN, infinite or beyond float32.
    """
    return _read(path, label)[0]


def read_features(path: str | os.PathLike[str]) -> Table:
    """Read a CSV file of which every column is a feature: a table without labels; type and errors as of `read`."""
    return _read(path, None)[0]


def write(path: str | os.PathLike[str], data: Dataset) -> None:
    """Write examples in Kaggle's form of MNIST: ``label,pixel0,pixel1,...``, a row each.

    Features that have names keep them; those that are no pixels are ``x0,x1,...``.

    Parameters
    ----------
    path : path-like
    data : Dataset
        Of classes, or of one target.

    Raises
    ------
    DataError
        A regression with several targets, which this form has no place for.
    OutputError
        The file cannot be written.
    """
    if data.classes is None and data.y.shape[1] > 1:
        raise DataError(f"a CSV file has one label a row, but these data have {data.y.shape[1]} targets")
    labels = data.y[:, 0].tolist() if data.classes is None else [data.classes[index] for index in data.y]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    kind = "x" if data.image is None else "pixel"
    writer.writerow(["label", *(data.names or (f"{kind}{index}" for index in range(data.X.shape[1])))])
    writer.writerows([label, *row.tolist()] for label, row in zip(labels, data.X, strict=True))
    write_atomically(path, text.getvalue())


def find(folder: str | os.PathLike[str], part: str) -> Path | None:
    """``part.csv`` or ``part.csv.gz`` in the folder, if it is there."""
    paths = (Path(folder, part + suffix) for suffix in (".csv", ".csv.gz"))
    return next((path for path in paths if os.path.exists(path)), None)


def read_folder(folder: str | os.PathLike[str], label: int | str = 0) -> list[Table]:
    """Read ``train.csv`` and, if it is there, ``test.csv`` of a folder; either may be compressed (``.csv.gz``).

    Returns
    -------
    [train] or [train, test] : list of Table

    Raises
    ------
    DataError
        As `read`; or there is no ``train.csv``, or the columns of the two differ.
    """
    train, test = find(folder, "train"), find(folder, "test")
    if train is None:
        raise DataError(f"{folder} holds no train.csv")
    table, layout = _read(train, label)
    if test is None:
        return [table]
    test_table, test_layout = _read(test, label)
    renamed = layout.names and test_layout.names and layout.names != test_layout.names
    if renamed or layout.columns != test_layout.columns:
        raise DataError(
            f"{test}: its columns are not those of {train.name}, label included; mend it, or give {train} alone"
        )
    return [table, test_table]


def _read(path: str | os.PathLike[str], label: int | str | None) -> tuple[Table, Layout]:
    codes: dict[str, int] = {}  # each different label, numbered as it first occurs
    features, labels, numbers = [], [], []
    with opened(path) as (file, limit), io.TextIOWrapper(file, encoding="utf-8-sig") as text:
        lines = _lines(path, text, limit)
        first = list(islice(lines, 2))
        layout = _layout(path, first, label)
        rows = chain(first if layout.names is None else first[1:], lines)
        while block := list(islice(rows, max(1, VALUES // layout.columns))):
            values = _values(path, block, layout, codes)
            numbers.append(np.array([number for number, _ in block]))
            single = finite_float32(values, str(path), numbers[-1])
            if layout.label is not None:
                labels.append(values[:, layout.label].astype(np.int64))
                single = np.delete(single, layout.label, axis=1)
            features.append(_smallest(single))
    if not features:
        raise DataError(f"{path} has a header but no rows")
    X = np.concatenate(features, dtype=np.result_type(*features))
    names = np.array(list(codes), dtype=object)
    found = names[np.concatenate(labels)] if labels else np.empty((len(X), 0))
    return Table(X, found, str(path), layout.image, np.concatenate(numbers), layout.features), layout


def _lines(path: str | os.PathLike[str], text: io.TextIOWrapper, limit: int) -> Iterator[Line]:
    """The lines that are not blank; at most `limit` characters in all."""
    size = 0
    for number in count(1):
        try:
            line = text.readline(LONGEST_LINE)
        except UnicodeDecodeError:
            raise DataError(f"{path} is not UTF-8 text (seen near line {number}); is it a CSV file?") from None
        size += len(line)
        if size > limit:
            raise DataError(
                f"{path} expands to more than {limit} bytes; it is refused, unpack it yourself if you trust it"
            )
        if len(line) == LONGEST_LINE:
            raise DataError(f"{path}, line {number} has more than {LONGEST_LINE} characters; is it a CSV file?")
        if not line:
            return
        if not line.isspace():
            yield number, line


def _fields(path: str | os.PathLike[str], line: Line) -> list[str]:
    try:
        return [field.strip() for field in next(csv.reader([line[1]]))]
    except csv.Error as error:
        raise DataError(f"{path}, line {line[0]} cannot be read ({error}); is it a CSV file?") from None


def _layout(path: str | os.PathLike[str], first: list[Line], label: int | str | None) -> Layout:
    if not first:
        raise DataError(f"{path} is empty")
    head, *second = (_fields(path, line) for line in first)
    columns = len(head)
    if label is None:
        return Layout(None if any(map(is_number, head)) else head, columns, None)
    if columns < 2:
        raise DataError(f"{path} has a single column; a label and its features are needed, with commas between them")
    if isinstance(label, str):
        if label not in head:
            raise DataError(f"{path} has no column named {label!r}; its first line reads {reprlib.repr(head)}")
        return Layout(head, columns, head.index(label))
    if not -columns <= label < columns:
        raise DataError(f"{path} has no column {label} for the label, only 0 to {columns - 1}")
    label %= columns
    features = head[:label] + head[label + 1 :]
    words = any(features) and not any(map(is_number, features))
    # Columns may be named by numbers ("label,0,1,2"): then a word stands over labels that are numbers.
    titled = not is_number(head[label]) and any(is_number(row[label]) for row in second if len(row) == columns)
    return Layout(head if words or titled else None, columns, label)


def _values(path: str | os.PathLike[str], block: list[Line], layout: Layout, codes: dict[str, int]) -> np.ndarray:
    """The rows of some lines as float64 (N, columns), with the code of its label in each label's place."""
    try:
        values = np.loadtxt(
            [text for _, text in block],
            delimiter=",",
            comments=None,
            quotechar='"',
            converters=_coded(layout.label, codes),
            ndmin=2,
        )
        if values.shape != (len(block), layout.columns):
            raise ValueError("rows of another length, or a quotation mark without its twin")
    except ValueError as error:
        raise _culprit(path, block, layout, error) from None
    return values


def _coded(label: int | None, codes: dict[str, int]) -> dict[int | str, Callable[[str], float]] | None:
    if label is None:
        return None
    return {label: lambda text: codes.setdefault(text.strip(), len(codes))}


def _culprit(path: str | os.PathLike[str], block: list[Line], layout: Layout, error: ValueError) -> DataError:
    """Name the line and column that NumPy could not read."""
    for line in block:
        fields = _fields(path, line)
        if len(fields) != layout.columns:
            return DataError(
                f"{path}, line {line[0]} has {len(fields)} columns where the first line has {layout.columns}; "
                "mend or drop it"
            )
        for column, field in enumerate(fields):
            if column != layout.label and not is_number(field):
                name = f" ({reprlib.repr(layout.names[column])})" if layout.names else ""
                what = f"{reprlib.repr(field)} is not a number" if field else "the value is missing"
                return DataError(f"{path}, line {line[0]}, column {column + 1}{name}: {what}; mend or drop this line")
    return DataError(f"{path}, lines {block[0][0]} to {block[-1][0]} cannot be read: {error}")


def _smallest(values: np.ndarray) -> np.ndarray:
    """As uint8 if nothing is lost."""
    with np.errstate(invalid="ignore"):  # a value outside 0..255 turns into one that differs from it
        small = values.astype(np.uint8)
    return small if np.array_equal(small, values) else values
