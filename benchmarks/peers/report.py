"""What is shown of a contest: a table for each row."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

# Each column: its heading, and what stands in it, from a contestant's figures and those of its row and machine.
COLUMNS = {
    "median s": lambda mine, row, machine: f"{mine['median_s']:.4f}",
    "min": lambda mine, row, machine: f"{mine['min_s']:.4f}",
    "max": lambda mine, row, machine: f"{mine['max_s']:.4f}",
    "/ best": lambda mine, row, machine: times(mine, row),
    "GFLOP/s": lambda mine, row, machine: f"{mine['gflops']:.1f}",
    "of peak": lambda mine, row, machine: f"{mine['gflops'] / machine['fma_peak_gflops']:.0%}",
    "first s": lambda mine, row, machine: f"{mine['first_s']:.2f}",
    "data s": lambda mine, row, machine: f"{mine['prepare_s']:.2f}",
    "loss-float64": lambda mine, row, machine: f"{mine['loss_difference']:+.1e}",
}


def times(mine: dict[str, Any], row: dict[str, Any]) -> str:
    """A contestant's time as a multiple of the best peer's."""
    if row["best_peer"] is None:
        return ""
    return f"{mine['median_s'] / row['contestants'][row['best_peer']]['median_s']:.2f}"


def table(row: dict[str, Any], machine: dict[str, Any]) -> "Table":
    """One row of the contest as a table, the fastest contestant first."""
    from rich.table import Table

    ratio = row["ratio_to_best_peer"]
    won = "" if ratio is None else f"; fastnn {ratio:.2f} times as fast as {row['best_peer']}"
    trips = ", ".join(f"{ns:.0f}" for ns in row["round_trips_ns"] if ns)
    between = f"; from core to core and back in {trips} ns" if trips else ""
    found = Table(
        title=f"{row['row']}: {row['net']}{won}",
        caption=f"loss {row['loss_before']:.4f} -> {row['loss_float64']:.6f}, give or take {row['loss_tolerance']:.1e}"
        + between,
        title_justify="left",
        caption_justify="left",
    )
    found.add_column("", no_wrap=True)
    for heading in COLUMNS:
        found.add_column(heading, justify="right", no_wrap=True)
    for name, mine in sorted(row["contestants"].items(), key=lambda item: item[1]["median_s"]):
        found.add_row(name, *(cell(mine, row, machine) for cell in COLUMNS.values()))
    return found
