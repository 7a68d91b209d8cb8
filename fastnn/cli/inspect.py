"""Say what is in a data set: how many rows, which classes, what ranges; and show some of it, or write it as CSV."""

import argparse
from collections.abc import Iterable

import numpy as np

from fastnn.cli.console import make_console
from fastnn.cli.options import add_options, given_options
from fastnn.data import Dataset, csv, load
from fastnn.errors import ConfigError, DataError

EACH, MOST = 6, 20  # samples of a class, and classes, that the picture shows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options of ``fastnn inspect``."""
    parser.usage = f"{parser.prog} DATA [options]"
    parser.add_argument("source", metavar="DATA", help="mnist, a folder of IDX or CSV files, a CSV, an NPZ")
    parser.add_argument("--picture", metavar="FILE", help="draw some samples of each class as PNG")
    parser.add_argument("--csv", metavar="FILE", help="write the training rows as CSV: label,pixel0,pixel1,...")
    add_options(parser, ["data.rows", "data.label", "data.task", "data.image"])


def run(options: argparse.Namespace) -> int:
    """Carry out ``fastnn inspect``."""
    given = {name.removeprefix("data."): value for name, value in given_options(options).items()}
    rows = given.pop("rows", 0)
    train, test = load(options.source, **given)
    if rows > len(train):
        raise DataError(f"{options.source} has {len(train):,} training rows, not {rows:,}: give fewer --rows")
    train = train.take(slice(rows or None))
    parts = {"training": train, "test": test}
    _print_parts({name: part for name, part in parts.items() if part is not None})
    if options.csv is not None:
        csv.write(options.csv, train)
        print(f"{len(train):,} rows are in {options.csv}")
    if options.picture is not None:
        _draw(options.source, train, options.picture)
        print(f"samples are in {options.picture}")
    return 0


def _print_parts(parts: dict[str, Dataset]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    console = make_console()
    table = Table("", *parts, box=SIMPLE_HEAD)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, words in _facts(parts.values()):
        table.add_row(name, *words)
    console.print(table)
    classes = next(iter(parts.values())).classes
    if classes is None:
        return
    table = Table("class", *parts, box=SIMPLE_HEAD)
    for column in table.columns[1:]:
        column.justify = "right"
    counts = [np.bincount(part.y, minlength=len(classes)) for part in parts.values()]
    for index, name in enumerate(classes):
        table.add_row(name, *(f"{count[index]:,}" for count in counts))
    console.print(table)


def _facts(parts: Iterable[Dataset]) -> Iterable[tuple[str, list[str]]]:
    parts = list(parts)
    yield "rows", [f"{len(part):,}" for part in parts]
    yield "features", [f"{part.X.shape[1]:,}" for part in parts]
    if parts[0].image is not None:
        yield "image", ["{} x {}".format(*part.image or ()) for part in parts]
    yield "values", [f"{part.X.dtype} from {part.X.min():g} to {part.X.max():g}" for part in parts]
    yield "mean, deviation", [f"{part.X.mean():.4g}, {part.X.std(dtype=np.float64):.4g}" for part in parts]
    yield "zero", [f"{(part.X == 0).mean():.1%}" for part in parts]
    yield "constant features", [f"{int((np.ptp(part.X, axis=0) == 0).sum()):,}" for part in parts]
    if parts[0].classes is None:
        count = parts[0].y.shape[1]
        words = f"{count} target{'s' * (count > 1)}"
        yield "regression", [f"{words}, from {part.y.min():g} to {part.y.max():g}" for part in parts]
    else:
        yield "classes", [f"{len(part.classes or ())}" for part in parts]


def _draw(source: str, data: Dataset, path: str) -> None:
    from fastnn import pictures

    if data.image is None:
        raise ConfigError(f"{source} does not say that its rows are images: name height and width by --image")
    heading = f"{source}: {len(data):,} training images"
    if data.classes is None:
        labels = [f"{value[0]:g}" for value in data.y[: EACH * EACH]]
        footing = "the first images, each with its target" + ("" if data.y.shape[1] == 1 else ", of several the first")
        pictures.samples(data.X[: EACH * EACH], data.image, labels, path, heading, footing)
        return
    of_class = [np.flatnonzero(data.y == index)[:EACH] for index in range(len(data.classes))]
    of_class = [rows for rows in of_class if len(rows)]
    footing = "one column a class" + (f", the first {MOST} of {len(of_class)}" if len(of_class) > MOST else "")
    of_class = of_class[:MOST]
    deep = max(len(rows) for rows in of_class)
    chosen = np.concatenate([[rows[k % len(rows)] for rows in of_class] for k in range(deep)])
    labels = [data.classes[index] for index in data.y[chosen]]
    pictures.samples(data.X[chosen], data.image, labels, path, heading, footing, len(of_class))
