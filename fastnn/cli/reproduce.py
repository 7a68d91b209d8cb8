"""Run the experiments of five from-scratch projects (A to E): what each claims, and what comes of it here."""

import argparse
import json
import time
from pathlib import Path
from typing import Any

from fastnn.cli.console import make_console
from fastnn.cli.options import add_options, given_options
from fastnn.errors import ConfigError, MissingExtraError, OutputError
from fastnn.files import write_atomically
from fastnn.kernels import backend
from fastnn.reproduce import PROJECTS, Outcome, by_rate, dropout_by_size, reproduce
from fastnn.settings import nearest

HEAD = ("project", "recipe", "claimed", "must reach", "reached", "seconds", "")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options of ``fastnn reproduce``."""
    parser.usage = f"{parser.prog} [{'|'.join(PROJECTS)}|all] ... [options]"
    parser.add_argument("projects", nargs="*", metavar="PROJECT", help="A, B, C, D, E or all (default: all)")
    parser.add_argument("--out", metavar="DIR", default="bench_results/reproduce",
                        help="folder of all that comes of it (default: bench_results/reproduce)")  # fmt: skip
    add_options(parser, ["training.backend", "training.threads", "training.seed"])


def run(options: argparse.Namespace) -> int:
    """Carry out ``fastnn reproduce``: 1 if a row falls short."""
    changes, folder = given_options(options), Path(options.out)
    for name in options.projects:
        if name not in (*PROJECTS, "all"):
            hint = nearest(name.upper(), PROJECTS)
            raise ConfigError(f"there is no project {name!r}; the projects are {', '.join(PROJECTS)}, or all{hint}")
    everything = not options.projects or "all" in options.projects
    projects = PROJECTS if everything else tuple(options.projects)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror or error}") from error
    backend(changes.get("training.backend", "fused")).warm()
    start, outcomes = time.perf_counter(), []
    for outcome in reproduce(projects, changes):
        outcomes.append(outcome)
        print(f"{outcome.claim.recipe}: {outcome.accuracy:.2%} in {outcome.seconds:.1f} s", flush=True)
    about_a = {"by_rate": by_rate(changes), "dropout_by_size": dropout_by_size(changes)} if "A" in projects else {}
    _store(folder, outcomes, about_a, time.perf_counter() - start)
    rows = [_words(outcome) for outcome in outcomes]
    _print_table(rows, outcomes)
    short = [outcome for outcome in outcomes if not outcome.reached]
    print(f"figures, table and pictures are in {folder}")
    if short:
        print(f"{len(short)} of {len(outcomes)} rows fall short: {', '.join(row.claim.recipe for row in short)}")
    return 1 if short else 0


def _words(outcome: Outcome) -> tuple[str, ...]:
    claim = outcome.claim
    least = f"{claim.least:.1%}" + (
        "" if outcome.faulty is None else f", loss {outcome.loss:.4f} < {outcome.faulty[1]:.4f}"
    )
    reached, verdict = f"{outcome.accuracy:.2%}", "ok" if outcome.reached else "FALLS SHORT"
    return claim.project, claim.recipe, claim.claimed, least, reached, f"{outcome.seconds:.1f}", verdict


def _print_table(rows: list[tuple[str, ...]], outcomes: list[Outcome]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(*HEAD, box=SIMPLE_HEAD)
    for column in table.columns[3:6]:
        column.justify = "right"
    for row in rows:
        table.add_row(*row)
    console = make_console()
    console.print(table)
    for outcome in outcomes:
        if outcome.claim.finding:
            console.print(f"{outcome.claim.recipe}: {outcome.claim.finding}")


def _store(folder: Path, outcomes: list[Outcome], about_a: dict[str, list[dict[str, Any]]], seconds: float) -> None:
    report = {"seconds": seconds, "rows": [outcome.row() for outcome in outcomes], **about_a}
    write_atomically(folder / "reproduce.json", json.dumps(report, indent=2) + "\n")
    lines = [HEAD, tuple("---" for _ in HEAD), *(_words(outcome) for outcome in outcomes)]
    notes = [f"- {outcome.claim.recipe}: {outcome.claim.finding}" for outcome in outcomes if outcome.claim.finding]
    text = "\n".join(["| " + " | ".join(line) + " |" for line in lines] + ["", *notes])
    write_atomically(folder / "reproduce.md", text + "\n")
    try:
        from fastnn import plots

        architectures = {outcome.claim.recipe.removeprefix("e-"): outcome.history.records
                         for outcome in outcomes if outcome.claim.project == "E"}  # fmt: skip
        if architectures:
            plots.several_curves(architectures, folder / "architectures.png", "E: four architectures, full batch")
        if about_a.get("dropout_by_size"):
            plots.by_size(about_a["dropout_by_size"], folder / "dropout.png", "A: dropout by hidden size")
    except MissingExtraError as error:
        print(error)
