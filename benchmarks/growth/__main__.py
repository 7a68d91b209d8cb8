"""Measure what growth costs, show it, and store it; see the README."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.growth import chart, measure, memory
from benchmarks.growth.axes import AXES
from fastnn.cli.console import make_console
from fastnn.doctor import examine
from fastnn.errors import DataError, FastnnError, MissingExtraError
from fastnn.files import write_atomically
from fastnn.formats.description import versions
from fastnn.kernels.threads import available

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

STORE = Path(__file__).parents[2] / "bench_results" / "growth" / "growth.json"
MIB = 2**20


def main(words: list[str] | None = None) -> int:
    """Run the command; 0 done, 2 bad options or a file that cannot be written, 130 Ctrl-C."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    options.add_argument("--json", type=Path, default=STORE, help="where to store the figures; a chart beside them")
    options.add_argument("--draw", action="store_true", help="measure nothing: show and draw what is stored")
    chosen = options.parse_args(words)
    console = make_console()
    if not console.is_terminal:
        console.width = max(console.width, 120)  # a file has room for the whole table
    try:
        found = stored(chosen.json) if chosen.draw else measured(console)
        show(found, console)
        if not chosen.draw:
            chosen.json.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(chosen.json, json.dumps(found, indent=2) + "\n")
        chart.draw(found, chosen.json.with_suffix(".png"))
    except MissingExtraError as error:
        console.print(f"no chart: {error}")
    except FastnnError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def stored(path: Path) -> dict[str, Any]:
    """What an earlier command measured."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} holds no figures ({error}); measure first, without --draw") from None


def measured(console: "Console") -> dict[str, Any]:
    """Measure all."""
    facts = examine()
    with console.status("") as status:
        found = {"memory": memory.measure(status.update)}
        found["axes"] = {name: measure.measure(axis, status.update) for name, axis in AXES.items()}
    machine = {"cpu": facts["cpu"]["model"], "threads": available(), "load": facts["threads"]["load"]}
    machine["versions"] = versions()
    return {"machine": machine, **found}


def show(found: dict[str, Any], console: "Console") -> None:
    """Print the tables, then whatever is not as theory has it, and how busy the machine was before."""
    for axis in found["axes"].values():
        console.print(table(axis))
    console.print(table_of_memory(found["memory"]))
    kept = found["memory"]
    console.print(
        f"fastnn train on MNIST: {kept['command'] / MIB:.0f} MiB; {kept['compiling'] / MIB:.0f} MiB when it compiles"
    )
    odd = [*memory.excesses(kept), *(words for axis in found["axes"].values() for words in measure.bends(axis))]
    console.print("\n".join([f"off theory by more than {measure.BENT:.0%}, or more than promised:", *odd]))
    console.print(f"load of the machine before it began: {found['machine']['load']}")


def table(axis: dict[str, Any]) -> "Table":
    """The figures of an axis: a row a point."""
    from rich.table import Table

    made = Table("line", axis["unit"], "fastest, s", "median", "slowest", "epochs", "theory", "fastest / theory")
    made.title = f"{axis['title']}: {axis['net']}"
    for line in axis["lines"]:
        for point in line["points"]:
            times = (f"{point[what]:.4f}" for what in ("fastest", "median", "slowest"))
            ratio = f"{point['ratio']:.2f}" + (" !" if measure.bent(point) else "")
            made.add_row(
                line["name"], f"{point['value']:,}", *times, str(point["epochs"]), f"{point['theory']:.4f}", ratio
            )
        exponent = line["exponent"]
        made.add_row("", "", "" if exponent is None else f"exponent {exponent:.2f}", end_section=True)
    return made


def table_of_memory(found: dict[str, Any]) -> "Table":
    """The peaks: a row a number of samples."""
    from rich.table import Table

    made = Table("samples", "raw MiB", *[f"{line['name']}, MiB" for line in found["lines"]], title="Peak of memory")
    for number, point in enumerate(found["lines"][0]["points"]):
        peaks = (line["points"][number]["peak"] for line in found["lines"])
        made.add_row(f"{point['value']:,}", f"{point['raw'] / MIB:.0f}", *(f"{peak / MIB:.0f}" for peak in peaks))
    made.add_row("bytes for each", "raw byte", *(f"{line['slope']:.2f}" for line in found["lines"]))
    return made


if __name__ == "__main__":
    sys.exit(main())
