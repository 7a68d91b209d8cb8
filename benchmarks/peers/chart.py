"""The contest as a picture: a panel a row, a bar a contestant, for a README that shows it 900 pixels wide."""

import math
import os
from io import BytesIO
from typing import TYPE_CHECKING, Any

from fastnn.errors import MissingExtraError
from fastnn.files import write_atomically
from fastnn.plots import BLUE, INK, MUTED, STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Each contestant: what it is called, and its colour; in this order from the top.
BARS = {
    "fastnn-fused": ("fastnn", BLUE),
    "fastnn-reference": ("fastnn, reference", "#8fbfdc"),
    "jax": ("JAX", "#b9b9b9"),
    "pytorch": ("PyTorch", "#b9b9b9"),
    "scikit-learn": ("scikit-learn", "#b9b9b9"),
    "numpy": ("NumPy", "#b9b9b9"),
}
COLUMNS = 3
WIDTH, HEIGHT = 9.0, 2.15  # inches: of the picture, and of a line of panels
DPI = 200


def draw(found: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Draw what `benchmarks.peers` stored.

    Raises
    ------
    MissingExtraError
        Matplotlib is not installed.
    OutputError
        The file cannot be written.
    """
    try:
        from matplotlib import style
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("the chart needs matplotlib: pip install 'fastnn-cpu[plot]'") from None
    rows = found["rows"]
    names = [name for name in BARS if any(name in row["contestants"] for row in rows)]
    lines = -(-len(rows) // COLUMNS)
    with style.context(["default", STYLE]):
        figure = Figure((WIDTH, HEIGHT * lines + 1.0), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.04, h_pad=0.06, wspace=0.02, hspace=0.03)
        panels = figure.subplots(lines, COLUMNS, squeeze=False)
        for axes in panels.ravel()[len(rows) :]:
            axes.set_axis_off()
        for place, (axes, row) in enumerate(zip(panels.ravel(), rows, strict=False)):
            panel(axes, row, names, first=place % COLUMNS == 0)
        figure.suptitle("Seconds for an epoch of the same work: shorter is faster", size=12, weight="bold")
        figure.supxlabel(caption(found["machine"]), size=8, color=MUTED)
        png = BytesIO()
        figure.savefig(png, format="png", dpi=DPI)
    write_atomically(path, png.getvalue())


def panel(axes: "Axes", row: dict[str, Any], names: list[str], first: bool) -> None:
    """One row: bars as long as the median, with a line back to the fastest round.

    The slowest round is not drawn: where something else kept a CPU busy it would dwarf all bars.
    """
    longest = max(mine["median_s"] for mine in row["contestants"].values())
    fused = row["contestants"].get("fastnn-fused")
    for place, name in enumerate(names):
        mine = row["contestants"].get(name)
        if mine is None:
            axes.text(0.02 * longest, place, "cannot do this", size=7.5, color=MUTED, va="center")
            continue
        middle = mine["median_s"]
        axes.barh(place, middle, height=0.72, color=BARS[name][1])
        axes.plot([mine["min_s"], middle], [place, place], color=INK, linewidth=0.9, solid_capstyle="butt")
        others = fused is not None and mine is not fused
        times = f"  {two_digits(middle / fused['median_s'])}×" if others else ""
        axes.text(
            middle + 0.02 * longest,
            place,
            f"{two_digits(middle)} s{times}",
            size=8,
            va="center",
            weight="bold" if mine is fused else "normal",
        )
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, 1.5 * longest)
    axes.set_yticks(range(len(names)), [BARS[name][0] for name in names] if first else [], size=8.5, color=INK)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[["bottom"]].set_visible(False)
    axes.grid(False)
    axes.set_title(row["row"], size=9.5, pad=16)
    axes.text(0, 1.02, row["net"], transform=axes.transAxes, size=7.5, color=MUTED, va="bottom")


def two_digits(value: float) -> str:
    """A number above 0 to two digits: ``0.080``, ``0.37``, ``2.1``, ``13``."""
    digits = 1 - math.floor(math.log10(value))
    return f"{value:.{max(digits, 0)}f}"


def caption(machine: dict[str, Any]) -> str:
    """How it was measured, on which machine, and the versions."""
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    return (
        f"Bars: median of {machine['rounds']} rounds in which all take turns. Line in a bar: back to the fastest. "
        "×: times as long as fastnn.\n"
        f"Float32, plain SGD, the same weights and batches for all. {machine['threads']} threads of: {machine['cpu']}, "
        f"{machine['system']}.\nPython {machine['python']}, {versions}"
    )
