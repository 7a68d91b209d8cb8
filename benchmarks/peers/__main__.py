"""Hold the contest, show it, and store it; see the README."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rich.status import Status

from benchmarks.peers import chart, machine, report
from benchmarks.peers.contest import contest, strays
from benchmarks.peers.contestants import CONTESTANTS, refusal
from benchmarks.peers.rows import ROWS
from fastnn.cli.console import make_console
from fastnn.errors import ConfigError, FastnnError, MissingExtraError
from fastnn.files import write_atomically
from fastnn.kernels.threads import available

STORE = Path(__file__).parents[2] / "bench_results" / "peers" / "peers.json"
PART = STORE.with_name("part.json")  # a part of the contest must not take the place of a whole one


def parser() -> argparse.ArgumentParser:
    """The options."""
    found = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description="Train the same nets from the same weights on the same batches by fastnn and by its peers.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    found.add_argument("--rows", default=",".join(ROWS), help="which rows, parted by commas")
    found.add_argument("--contestants", default=",".join(CONTESTANTS), help="who takes part, parted by commas")
    found.add_argument("--threads", type=int, default=available(), help="threads, the same number for all")
    found.add_argument("--rounds", type=int, default=5, help="turns of each contestant that are counted")
    found.add_argument(
        "--json",
        type=Path,
        default=argparse.SUPPRESS,
        help=f"where to store the figures, a chart beside them (default: {STORE.name}; of a part of it {PART.name})",
    )
    return found


def chosen(words: str, table: dict[str, Any], what: str) -> list[str]:
    """The names in a list parted by commas, in the order of their table."""
    names = {word.strip() for word in words.split(",")}
    unknown = sorted(names - table.keys())
    if unknown:
        raise ConfigError(f"unknown {what} {', '.join(unknown)}; choose from {', '.join(table)}")
    return [name for name in table if name in names]


def main(words: list[str] | None = None) -> int:
    """Run the command; 0 done, 1 a contestant did not do the same work, 2 bad options, 130 Ctrl-C."""
    options = parser().parse_args(words)
    console = make_console()
    if not console.is_terminal:
        console.width = max(console.width, 120)  # a file has room for the whole table
    try:
        return run(options, console)
    except FastnnError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def run(options: argparse.Namespace, console: Any) -> int:
    """Hold the contest that the options ask for."""
    rows = [ROWS[name] for name in chosen(options.rows, ROWS, "row")]
    names = chosen(options.contestants, CONTESTANTS, "contestant")
    whole = len(rows) == len(ROWS) and len(names) == len(CONTESTANTS)
    store = getattr(options, "json", STORE if whole else PART)
    if options.rounds < 1 or not 1 <= options.threads <= available():
        raise ConfigError(f"--rounds must be at least 1, and --threads from 1 to {available()}")
    for name in [name for name in names if CONTESTANTS[name].missing]:
        names.remove(name)
        console.print(f"{name} is not installed and left out: pip install '.[peers]'")
    cpus = machine.cpus_for(options.threads)
    store.parent.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {"machine": machine.describe(options.threads) | {"rounds": options.rounds}, "rows": []}
    for row in rows:
        with Status(row.name, console=console) as status:
            result = contest(
                row, names, cpus, options.rounds, lambda word, row=row: status.update(f"{row.name}: {word}")
            )
        found["rows"].append(result)
        write_atomically(store, json.dumps(found, indent=2) + "\n")  # what there is, should the next row fail
        console.print(report.table(result, found["machine"]))
        for name in names:
            if refusal(name, row):
                console.print(f"{name} is left out: {refusal(name, row)}")
    failed = [f"{result['row']}: {', '.join(strays(result))}" for result in found["rows"] if strays(result)]
    console.print(f"stored in {store}")
    try:
        chart.draw(found, store.with_suffix(".png"))
    except MissingExtraError as error:
        console.print(f"no chart: {error}")
    if failed:
        print(
            f"not the same work, the loss differs by more than rounding explains: {'; '.join(failed)}", file=sys.stderr
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
