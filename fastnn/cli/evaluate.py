"""Judge a model on labelled data: loss, accuracy, and how well each class is found."""

import argparse
import json
import math
from typing import Any

from fastnn.cli.console import make_console
from fastnn.cli.options import add_options, given_options
from fastnn.errors import ConfigError
from fastnn.metrics import per_class
from fastnn.model import load
from fastnn.runs import class_names, feature_names, judge, load_for, trained_label


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options of ``fastnn evaluate``."""
    parser.usage = f"{parser.prog} MODEL --data SOURCE [options]"
    parser.add_argument("model", metavar="MODEL", help="a .safetensors file, such as a run's model.safetensors")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    add_options(parser, ["data.source", "data.label", "training.backend", "training.threads"])


def run(options: argparse.Namespace) -> int:
    """Carry out ``fastnn evaluate``."""
    given = given_options(options)
    if "data.source" not in given:
        raise ConfigError("evaluate needs data to judge the model on: give them by --data")
    how = {name.removeprefix("training."): value for name, value in given.items() if name.startswith("training.")}
    model = load(options.model)
    names = class_names(model)
    label = given.get("data.label", trained_label(model))
    inputs = model.architecture.widths[0]
    data = load_for(given["data.source"], label, names, inputs, names=feature_names(model))
    report: dict[str, Any] = {"samples": len(data), **judge(model, data, **how)}
    if names is not None:
        found = per_class(data.y, model.predict(data.X, **how), len(names))
        report["classes"] = [
            {
                "class": name,
                "precision": _known(precision),
                "recall": _known(recall),
                "f1": _known(f1),
                "samples": int(samples),
            }
            for name, precision, recall, f1, samples in zip(names, *found, strict=True)
        ]
    print(json.dumps(report, indent=2)) if options.json else _print_tables(report)
    return 0


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _print_tables(report: dict[str, Any]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    console = make_console()
    figures = Table.grid(padding=(0, 2))
    for name, form in (("samples", "{:,}"), ("loss", "{:.4f}"), ("accuracy", "{:.2%}")):
        if report[name] is not None:
            figures.add_row(name, form.format(report[name]))
    console.print(figures)
    if "classes" not in report:
        return
    table = Table("class", box=SIMPLE_HEAD)
    for name in ("precision", "recall", "F1", "samples"):
        table.add_column(name, justify="right")
    for row in report["classes"]:
        shares = ["-" if row[name] is None else f"{row[name]:.2%}" for name in ("precision", "recall", "f1")]
        table.add_row(row["class"], *shares, f"{row['samples']:,}")
    console.print(table)
