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
        whose = f"{row.comparison}, {row.optimizer}" if row.optimizer else row.comparison
        print(f"{whose}, {_array(row)}[{_place(row)}]: {row.found:.9g}, but {row.expected:.9g} is expected")
    failed = sum(not row.passed for row in rows)
    unchecked = sum(not row.checked for row in rows)
    if failed:
        print(f"{failed} of {len(rows)} checks failed")
        return 1
    apart = f"; {unchecked} could not be made: every difference crosses a kink" if unchecked else ""
    print(f"all {len(rows) - unchecked} checks passed{apart}")
    return 0


def _array(row: Row) -> str:
    return f"layers.{row.layer}.{row.parameter}"


def _place(row: Row) -> str:
    return ", ".join(map(str, row.place))


def _verdict(row: Row) -> str:
    if not row.checked:
        return "not checked"
    return "ok" if row.passed else "FAILED"


def _print_table(comparison: str, rows: Iterable[Row]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table("", title=comparison, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 0, 0, 1))
    table.columns[0].no_wrap = True
    for name in ("worst at", "is\ntrue", "checked", "differs", "bound", ""):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        name, place = (row.optimizer, f"{_array(row)}\n{_place(row)}") if row.optimizer else (_array(row), _place(row))
        values = f"{row.found:#.9g}\n{row.expected:#.9g}"  # one above the other: where they part is seen
        table.add_row(
            name, place, values, f"{row.checked:,}", f"{row.difference:.1e}", f"{row.bound:.1e}", _verdict(row)
        )
    make_console().print(table)
