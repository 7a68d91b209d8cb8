"""Check the gradients of your own layers on your own data: plain maths, finite differences and fused kernels agree."""

import argparse
from collections.abc import Iterable
from itertools import groupby

from fastnn.cli.console import make_console
from fastnn.cli.options import add_options, add_source, config_of
from fastnn.config import LEAVES
from fastnn.gradcheck import Row, check, check_steps
from fastnn.runs import Parts, build

SETTINGS = [
    *(name for name, leaf in LEAVES.items() if leaf.section in ("data", "network")),
    "training.seed",
    "training.threads",
    "training.label_smoothing",
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options of ``fastnn gradcheck``."""
    parser.usage = f"{parser.prog} [--recipe NAME | --config FILE] [options]"
    add_source(parser)
    add_options(parser, SETTINGS)


def run(options: argparse.Namespace) -> int:
    """Carry out ``fastnn gradcheck``."""
    config = config_of(options)
    parts = Parts.of(config)
    network = build(config, parts)
    print(network)
    training = config.training
    rows = check(
        network,
        parts.train.X,
        parts.train.y,
        label_smoothing=training.label_smoothing,
        seed=training.seed,
        threads=training.threads,
    )
    rows += check_steps(network, parts.train.X, parts.train.y, seed=training.seed, threads=training.threads)
    for comparison, same in groupby(rows, key=lambda row: row.comparison):
        _print_table(comparison, same)
    for row in (row for row in rows if not row.passed):
        at = ", ".join(map(str, row.place))
        print(f"{row.comparison}, {_name(row)}[{at}]: {row.found:.9g}, but {row.expected:.9g} is expected")
    failed = sum(not row.passed for row in rows)
    unchecked = sum(not row.checked for row in rows)
    if failed:
        print(f"{failed} of {len(rows)} checks failed")
        return 1
    apart = f"; {unchecked} could not be made: every difference crosses a kink" if unchecked else ""
    print(f"all {len(rows) - unchecked} checks passed{apart}")
    return 0


def _name(row: Row) -> str:
    """An array of parameters, or an optimiser."""
    return f"layers.{row.layer}.{row.parameter}" if row.parameter in ("weight", "bias") else row.parameter


def _verdict(row: Row) -> str:
    if not row.checked:
        return "not checked"
    return "ok" if row.passed else "FAILED"


def _print_table(comparison: str, rows: Iterable[Row]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table("", title=comparison, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 0, 0, 1))
    table.columns[0].no_wrap = True
    table.columns[0].min_width = len("layers.0.weight")
    for name in ("worst at", "is", "true", "checked", "differs", "bound", ""):
        table.add_column(name, justify="right")
    for row in rows:
        figures = f"{row.checked:,}", f"{row.difference:.1e}", f"{row.bound:.1e}", _verdict(row)
        table.add_row(_name(row), ", ".join(map(str, row.place)), f"{row.found:.3g}", f"{row.expected:.3g}", *figures)
    make_console().print(table)
