"""Say what a model makes of the rows of a file, as CSV: row (from 1), label, probability."""

import argparse
import csv
import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from fastnn.cli.options import add_options, given_options
from fastnn.data.features import load_features
from fastnn.errors import ConfigError
from fastnn.files import write_atomically
from fastnn.model import MLP, load
from fastnn.runs import class_names, feature_names, finite


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options of ``fastnn predict``."""
    parser.usage = f"{parser.prog} MODEL FILE [options]"
    parser.add_argument("model", metavar="MODEL", help="a .safetensors file, such as a run's model.safetensors")
    parser.add_argument("file", metavar="FILE", help="inputs without labels: a CSV, an NPZ or an IDX file of images")
    parser.add_argument("--all", action="store_true", help="add the probability of each class")
    parser.add_argument("--kaggle", action="store_true", help="write ImageId,Label as Kaggle's contest takes it")
    parser.add_argument("--out", metavar="FILE", help="write to this file instead of the standard output")
    add_options(parser, ["data.label", "training.backend", "training.threads"])


def run(options: argparse.Namespace) -> int:
    """Carry out ``fastnn predict``."""
    given = given_options(options)
    model = load(options.model)
    inputs, label = model.architecture.widths[0], given.pop("data.label", None)
    X = load_features(options.file, inputs, label, feature_names(model))
    how = {name.removeprefix("training."): value for name, value in given.items()}
    names = class_names(model)
    if options.kaggle and (names is None or options.all):
        raise ConfigError("--kaggle is for classes alone" if names is None else "--kaggle has no place for --all")
    if options.kaggle:
        rows = _submission(names or (), model.predict(X, **how))
    else:
        rows = _values(model, X, how) if names is None else _classes(model, names, X, options.all, how)
    if options.out is None:
        csv.writer(sys.stdout, lineterminator="\n").writerows(rows)
    else:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        write_atomically(options.out, text.getvalue())
    return 0


def _classes(model: MLP, names: Sequence[str], X: Any, every: bool, how: dict[str, Any]) -> Iterator[Iterable[Any]]:
    probabilities = finite(model.predict_proba(X, **how), "output")
    yield ["row", "label", "probability", *(names if every else [])]
    for row, values in enumerate(probabilities, 1):
        best = values.argmax()
        yield [row, names[best], values[best], *(values if every else [])]


def _submission(names: Sequence[str], predicted: Iterable[int]) -> Iterator[Iterable[Any]]:
    yield ["ImageId", "Label"]
    for row, index in enumerate(predicted, 1):
        yield [row, names[index]]


def _values(model: MLP, X: Any, how: dict[str, Any]) -> Iterator[Iterable[Any]]:
    outputs = finite(model.outputs(X, **how), "output")
    several = outputs.shape[1] > 1
    yield ["row", *(f"value_{index + 1}" if several else "value" for index in range(outputs.shape[1]))]
    for row, values in enumerate(outputs, 1):
        yield [row, *values]
