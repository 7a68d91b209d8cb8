"""List the recipes that come with fastnn: what each shows, and what to expect of it."""

import argparse

from fastnn import recipes
from fastnn.cli.console import make_console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options of ``fastnn recipes``."""
    parser.usage = f"{parser.prog} [options]"


def run(options: argparse.Namespace) -> int:
    """Carry out ``fastnn recipes``."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table("recipe", "what it is", box=SIMPLE_HEAD)
    for name in ("test accuracy", "seconds"):
        table.add_column(name, justify="right")
    for name, config in recipes.configs():
        report = config.report
        accuracy = "-" if report.expect_accuracy is None else f"{report.expect_accuracy:.2%}"
        seconds = "-" if report.expect_seconds is None else f"{report.expect_seconds:.1f}"
        table.add_row(name, report.claim or "", accuracy, seconds)
    console = make_console()
    console.print(table)
    console.print("train one by: fastnn train --recipe NAME")
    return 0
