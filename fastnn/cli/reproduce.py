"""Run the experiments of five from-scratch projects (A to E): what each claims, and what comes of it here."""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import mean

from fastnn.callbacks import Record
from fastnn.cli.console import make_console
from fastnn.cli.options import add_options, given_options
from fastnn.config import Values
from fastnn.errors import ConfigError, MissingExtraError, OutputError
from fastnn.files import write_atomically
from fastnn.kernels import backend
from fastnn.reproduce import PROJECTS, STUDIES, Data, Outcome, claims_of, identity_of, reproduce
from fastnn.settings import nearest

HEAD = ("recipe", "claimed", "least", "reached", "seeds", "s each", "claim")


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
    report = _report(folder, projects, changes)
    rows = [Outcome.of(row) for row in report["rows"]]
    _print_table(report)
    short = [row for row in rows if not row.reached]
    print(f"figures, table and pictures are in {folder}")
    if short:
        print(f"{len(short)} of {len(rows)} rows fall short: {', '.join(row.claim.recipe for row in short)}")
    return 1 if short else 0


def _report(folder: Path, projects: Sequence[str], changes: Values) -> Record:
    """Run what is asked for, but for what an interrupted run of the same has done, and store it."""
    unfinished, identity = folder / "unfinished.json", identity_of(projects, changes)
    report: Record = {"identity": identity, "seconds": 0.0, "rows": []}
    with suppress(OSError, ValueError):
        kept = json.loads(unfinished.read_text())
        if isinstance(kept, dict) and report.keys() <= kept.keys() and kept["identity"] == identity:
            report = kept
            print(f"going on with an interrupted run, of which {len(kept['rows'])} rows are done")
    start, data = time.perf_counter() - report["seconds"], Data()

    def keep() -> None:
        report["seconds"] = time.perf_counter() - start
        write_atomically(unfinished, json.dumps(report, indent=2) + "\n")

    try:
        for claim in claims_of(projects)[len(report["rows"]) :]:
            many = f", {claim.seeds} seeds" if claim.seeds > 1 else ""
            print(f"{claim.recipe}{many} ... ", end="", flush=True)
            outcome = reproduce(claim, changes, data)
            print(f"{outcome.accuracy:.2%} in {outcome.seconds:.1f} s{' each' if many else ''}", flush=True)
            report["rows"].append(outcome.row())
            keep()
        for name, study in ((name, study) for project in projects for name, study in STUDIES.get(project, {}).items()):
            if name not in report:
                print(f"{name} ... ", end="", flush=True)
                report[name] = study(changes)
                print("done", flush=True)
                keep()
    except KeyboardInterrupt:
        print()
        raise KeyboardInterrupt("interrupted; the same command goes on with the row that was not finished") from None
    _store(folder, report)
    unfinished.unlink(missing_ok=True)
    return report


def _words(outcome: Outcome) -> tuple[str, ...]:
    claim, verdict = outcome.claim, "ok" if outcome.claim.holds else "wrong"
    figures = f"{claim.least:.1%}", f"{outcome.accuracy:.2%}", str(claim.seeds), f"{outcome.seconds:.1f}"
    return claim.recipe, claim.claimed, *figures, verdict if outcome.reached else "FALLS SHORT"


def _print_table(report: Record) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(*HEAD, box=SIMPLE_HEAD)
    for column in table.columns[2:6]:
        column.justify = "right"
    for row in report["rows"]:
        table.add_row(*_words(Outcome.of(row)))
    console = make_console()
    console.print(table)
    for note in _notes(report):
        console.print(note)


def _notes(report: Record) -> Iterator[str]:
    for outcome in map(Outcome.of, report["rows"]):
        if outcome.claim.finding:
            yield f"{outcome.claim.recipe}: {outcome.claim.finding}"
        if outcome.claim.by == "median":
            yield f"{outcome.claim.recipe}: the mean of all seeds is {mean(outcome.accuracies):.2%}"
        if outcome.rival:
            ours = f"{mean(outcome.accuracies):.2%}, loss {outcome.loss:.4f}"
            yield f"{outcome.claim.recipe}: {ours}; {outcome.claim.rival} {{:.2%}}, loss {{:.4f}}".format(
                *outcome.rival
            )
    for row in report.get("by_rate", ()):
        yield f"by_rate: {row['units']} units, rate {row['learning_rate']}: {_spread(row['accuracies'])}"
    for row in report.get("dropout_by_size", ()):
        both = f"with dropout {_spread(row['with'])}, without {_spread(row['without'])}"
        yield f"dropout_by_size: {row['units']} units: {both}"


def _spread(accuracies: Sequence[float]) -> str:
    return f"{mean(accuracies):.1%} ({min(accuracies):.1%} to {max(accuracies):.1%})"


def _store(folder: Path, report: Record) -> None:
    write_atomically(folder / "reproduce.json", json.dumps(report, indent=2) + "\n")
    outcomes = [Outcome.of(row) for row in report["rows"]]
    lines = [HEAD, tuple("---" for _ in HEAD), *(_words(outcome) for outcome in outcomes)]
    notes = [f"- {note}" for note in _notes(report)]
    text = "\n".join(["| " + " | ".join(line) + " |" for line in lines] + ["", *notes])
    write_atomically(folder / "reproduce.md", text + "\n")
    try:
        from fastnn import plots

        architectures = {outcome.claim.recipe.removeprefix("e-"): outcome.history
                         for outcome in outcomes if outcome.claim.project == "E"}  # fmt: skip
        if architectures:
            plots.several_curves(architectures, folder / "architectures.png", "E: four architectures, full batch")
        if report.get("dropout_by_size"):
            plots.by_size(report["dropout_by_size"], folder / "dropout.png", "A: dropout by hidden size")
    except MissingExtraError as error:
        print(error)
