"""Show what a fit's speed depends on (versions, CPU, threads, cache of kernels), and the traps that are seen."""

import argparse
import json
from typing import Any

from fastnn.cli.console import make_console
from fastnn.doctor import Facts, examine, find_traps

SHOWN = ("versions", "cpu", "threads", "cache", "numpy", "settings")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options of ``fastnn doctor``."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(options: argparse.Namespace) -> int:
    """Carry out ``fastnn doctor``: 0, whatever traps it sees, or 1 if the fused backend cannot work at all."""
    facts = examine()
    traps = find_traps(facts)
    if options.json:
        print(json.dumps({**facts, "traps": traps}, indent=2))
    else:
        _print_tables(facts, traps)
    return 0 if facts["fused"]["works"] else 1


def _print_tables(facts: Facts, traps: list[dict[str, str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    console = make_console()
    for section in SHOWN:
        rows = {name: _words(name, value) for name, value in facts[section].items()}
        rows = {name: words for name, words in rows.items() if words}
        if not rows:
            continue
        table = Table(section, "", box=SIMPLE_HEAD)
        table.columns[1].overflow = "fold"  # a path is shown whole
        for name, words in rows.items():
            table.add_row(name.replace("_", " ") if name.islower() else name, words)
        console.print(table)
    for trap in traps:
        console.print(f"trap: {trap['what']}\n      {trap['do']}", soft_wrap=True)
    if not traps:
        console.print("no traps seen")


def _words(name: str, value: Any) -> str:
    """A fact for people; empty if there is nothing to say."""
    if value is None or value is False:
        return ""
    if name == "bytes":
        return _size(value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_size(size)}" for key, size in value.items())
    return ", ".join(value) if isinstance(value, list) else "yes" if value is True else str(value) or "none"


def _size(count: int) -> str:
    """A number of bytes in the largest unit of which there is at least one."""
    for unit, size in (("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:.4g} {unit}"
    return f"{count} bytes"
