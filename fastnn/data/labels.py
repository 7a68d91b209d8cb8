"""From the labels in a file to what a network learns: class indices, or the targets of a regression.

Letters as in layers.py: N samples, O outputs (targets); and K classes.
"""

import reprlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fastnn.data.dataset import Table
from fastnn.errors import ConfigError, DataError

TASKS = ("auto", "classification", "regression")
# A class without an example costs an output; more of them than this, and the labels are hardly class indices.
UNUSED_CLASSES = 1000
REGRESSION_HINT = 'for quantities to predict, choose the task "regression"'

Targets = tuple[np.ndarray, tuple[str, ...] | None]  # y and the names of the classes, as in Dataset


def targets(table: Table, task: str = "auto", classes: Sequence[str] | None = None) -> Targets:
    """Turn the labels of a table into what is learnt.

    Parameters
    ----------
    table : Table
        Its labels: whole numbers 0..K-1 are class indices, text becomes classes sorted by name, rows of several
        numbers are one-hot classes or the targets of a regression.
    task : "auto", "classification" or "regression"
        "auto": a regression if a label has a fractional part, or a row has several that are not one-hot.
    classes : sequence of str, optional
        The only classes that may occur, by index (those that a model knows); by default they are found.

    Returns
    -------
    (y, classes)
        int64 (N,) and the names of the classes, or float32 (N, O) and None.

    Raises
    ------
    DataError
        Labels that are missing, NaN, negative, beyond the classes, all the same, or no numbers in a regression.
    ConfigError
        An unknown task.
    """
    if task not in TASKS:
        raise ConfigError(f"unknown task {task!r}; choose one of {', '.join(TASKS)}")
    labels = table.labels
    if labels.dtype.kind in "OU":
        labels = labels.reshape(len(labels)).astype(object, copy=False)
        table = replace(table, labels=labels)
        if task != "regression" and _are_names(labels, classes):
            return _by_name(table, classes)
        labels = _numbers(table)
    with np.errstate(over="ignore"):
        values = labels.reshape(len(labels), -1).astype(np.float32)
    infinite = np.logical_or.reduce(~np.isfinite(values), axis=1)
    if infinite.any():
        raise DataError(f"{table.place(infinite)}: a label is not a finite float32; mend or drop this row")
    if task == "regression":
        return values, None
    if values.shape[1] > 1 and np.isin(values, (0, 1)).all() and (values.sum(axis=1) == 1).all():
        labels = values.argmax(axis=1)
    if labels.size != len(labels) or (labels % 1 != 0).any():
        if task == "auto" and classes is None:
            return values, None
        several = "several in a row" if labels.size != len(labels) else "one with a fractional part"
        raise DataError(f"{table.path}: the labels are no class indices ({several}); {REGRESSION_HINT}")
    return _by_index(table, labels.ravel(), classes)


def is_number(text: str) -> bool:
    """Whether `text` reads as a number (NaN and infinity included)."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _are_names(labels: np.ndarray, classes: Sequence[str] | None) -> bool:
    found = set(labels)
    return found <= set(classes or ()) or not all(map(is_number, found))


def _numbers(table: Table) -> np.ndarray:
    wrong = np.fromiter((not is_number(text) for text in table.labels), bool, len(table.labels))
    if wrong.any():
        label = reprlib.repr(table.labels[wrong.argmax()])
        raise DataError(f"{table.place(wrong)}: the label {label} is not a number, as a regression needs")
    return np.fromiter(map(float, table.labels), np.float64, len(table.labels))


def _by_name(table: Table, classes: Sequence[str] | None) -> Targets:
    names = table.labels  # gone through one by one: a list for each step costs more than the labels
    missing = table.labels == ""
    if missing.any():
        raise DataError(f"{table.place(missing)}: the label is missing; mend or drop this row")
    if classes is None:
        classes = sorted(set(names))
        _check_several(table, len(classes))
    index = {name: position for position, name in enumerate(classes)}
    unknown = np.fromiter((name not in index for name in names), bool, len(names))
    if unknown.any():
        label, known = reprlib.repr(names[unknown.argmax()]), ", ".join(map(reprlib.repr, classes[:10]))
        raise DataError(
            f"{table.place(unknown)}: the label {label} is none of the {len(classes)} classes learnt ({known}"
            f"{', ...' if len(classes) > 10 else ''})"
        )
    return np.fromiter((index[name] for name in names), np.int64, len(names)), tuple(classes)


def _by_index(table: Table, labels: np.ndarray, classes: Sequence[str] | None) -> Targets:
    negative = labels < 0
    if negative.any():
        label = int(labels[negative.argmax()])
        raise DataError(
            f"{table.place(negative)}: the label {label} is negative; number classes from 0; {REGRESSION_HINT}"
        )
    if classes is None:
        used, count = np.unique(labels).size, int(labels.max()) + 1
        _check_several(table, used)
        if count - used > UNUSED_CLASSES:
            raise DataError(
                f"{table.path}: labels go up to {count - 1}, but only {used} different ones occur; "
                f"number classes from 0 without gaps; {REGRESSION_HINT}"
            )
        classes = [str(label) for label in range(count)]
    beyond = labels >= len(classes)
    if beyond.any():
        label = int(labels[beyond.argmax()])
        raise DataError(
            f"{table.place(beyond)}: the label {label} is beyond the classes learnt, 0 to {len(classes) - 1}"
        )
    return labels.astype(np.int64), tuple(classes)


def _check_several(table: Table, used: int) -> None:
    if used < 2:
        raise DataError(f"{table.path}: all labels are the same; a classifier needs examples of two classes or more")
