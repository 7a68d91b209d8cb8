"""Measure how near the kernels come to this machine's limits, with one thread and with all."""

import argparse
import json
from typing import Any

from fastnn import plots
from fastnn.cli.console import make_console
from fastnn.cli.options import add_options, given_options
from fastnn.doctor import fused_fault
from fastnn.errors import ConfigError
from fastnn.files import write_atomically
from fastnn.kernels.threads import available


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options of ``fastnn roofline``."""
    parser.add_argument("--plot", metavar="FILE", help="draw the roofs and the kernels under them (PNG)")
    parser.add_argument("--json", metavar="FILE", help="write all figures to this file")
    add_options(parser, ["training.threads"])


def run(options: argparse.Namespace) -> int:
    """Carry out ``fastnn roofline``."""
    if fault := fused_fault():
        raise ConfigError(f"there are no fused kernels to measure: {fault}")
    from fastnn.roofline import LEGEND, measure

    wanted = given_options(options).get("training.threads")
    counts = sorted({1, available()}) if wanted is None else [available() if wanted == "auto" else wanted]
    reports = []
    for threads in counts:
        reports.append(measure(threads))
        _print_table(reports[-1])
    make_console().print(LEGEND)
    if options.json is not None:
        write_atomically(options.json, json.dumps(reports, indent=2) + "\n")
    if options.plot is not None:
        plots.roofline(reports, options.plot)
    return 0


def _print_table(report: dict[str, Any]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    console = make_console()
    threads = report["threads"]
    levels = ", ".join(f"{level} {speed:.0f}" for level, speed in report["bandwidths"].items())
    peaks = f"{report['peak']:.0f} GFLOP/s, {report['tile_peak']:.0f} with the reads of a tile"
    console.print(f"{threads} thread{'s' * (threads > 1)}: {peaks}; GB/s: {levels}")
    if report["round_trip"]:
        console.print(f"from core to core and back: {report['round_trip']:.0f} ns")
    table = Table("kernel", box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in ("GFLOP/s", "FLOP/B", "roof", "share"):
        table.add_column(name, justify="right")
    table.add_column("by")
    for row in report["kernels"]:
        figures = f"{row['gflops']:.1f}", f"{row['intensity']:.2f}", f"{row['roof']:.0f}", f"{row['share']:.0%}"
        table.add_row(row["name"], *figures, row["bound"])
    console.print(table, end="\n\n")
