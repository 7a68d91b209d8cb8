"""The cost of growth as a picture: a panel an axis, for a README that shows it 900 pixels wide."""

import math
import os
from io import BytesIO
from itertools import cycle
from typing import TYPE_CHECKING, Any

from benchmarks.growth.measure import BENT, bent
from fastnn.errors import MissingExtraError
from fastnn.files import write_atomically
from fastnn.plots import BLUE, MUTED, ORANGE, STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Of each line: a colour of Okabe & Ito's palette, a mark, and how far above its point the label stands.
LOOKS = ((BLUE, "o", 4), (ORANGE, "s", -10), ("#009e73", "D", 13), ("#cc79a7", "v", -18))
COLUMNS, WIDTH, HEIGHT, DPI = 3, 9.0, 6.4, 200
TICKS = 7  # of a logarithmic axis, at most
MIB = 2**20


def draw(found: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Draw what `benchmarks.growth` stored.

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
    with style.context(["default", STYLE]):
        figure = Figure((WIDTH, HEIGHT), layout="constrained")
        panels = figure.subplots(-(-(len(found["axes"]) + 1) // COLUMNS), COLUMNS).ravel()
        for axes, axis in zip(panels, found["axes"].values(), strict=False):
            (_shares if axis["title"] == "Threads" else _times)(axes, axis)
        _memory(panels[len(found["axes"])], found["memory"])
        figure.suptitle("The cost of growth", size=12, weight="bold")
        figure.supxlabel(_caption(found["machine"]), size=8, color=MUTED)
        png = BytesIO()
        figure.savefig(png, format="png", dpi=DPI)
    write_atomically(path, png.getvalue())


def _times(axes: "Axes", axis: dict[str, Any]) -> None:
    """Seconds of an epoch over what grows."""
    for line, look in zip(axis["lines"], cycle(LOOKS)):
        _line(axes, line["name"], line["points"], look)
    values = [point["value"] for point in axis["lines"][0]["points"]]
    if axis["logarithmic"]:
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(values[:: -(-len(values) // TICKS)])
        axes.minorticks_off()
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    else:
        axes.set_ylim(bottom=0)
        axes.set_xticks(values)
    axes.xaxis.set_major_formatter(lambda value, _: _count(value))
    corner = "upper right" if axis["lines"][0]["exponent"] < 0 else "upper left"
    _frame(axes, axis["title"], axis["net"], axis["unit"], "seconds of an epoch", corner)


def _line(axes: "Axes", name: str, points: list[dict[str, Any]], look: tuple[str, str, int], by: float = 1.0) -> None:
    """The fastest epochs with bars up to the medians, and theory; what theory does not explain is hollow.

    The furthest of these is labelled with its ratio.
    """
    values, (color, mark, above) = [point["value"] for point in points], look
    axes.plot(values, [point["theory"] / by for point in points], color=color, linewidth=1, linestyle="dotted")
    axes.plot(values, [point["fastest"] / by for point in points], color=color, linewidth=1.3)
    axes.plot([], [], color=color, marker=mark, linewidth=1.3, label=name)
    for point in points:
        place, ends = point["value"], [point["fastest"] / by, point["median"] / by]
        axes.plot([place, place], ends, color=color, linewidth=0.7)
        axes.plot(place, ends[0], color=color, marker=mark, markerfacecolor="white" if bent(point) else color)
    far = max(points, key=lambda point: abs(math.log(point["ratio"])))
    if bent(far):
        place = (far["value"], far["fastest"] / by)
        legible = {"facecolor": "white", "edgecolor": "none", "pad": 0.4, "alpha": 0.85}
        text = f"{far['ratio']:.2g}×"
        axes.annotate(text, place, (7, above), textcoords="offset points", size=7, color=color, bbox=legible, zorder=4)


def _shares(axes: "Axes", axis: dict[str, Any]) -> None:
    """The time of an epoch by that of one thread, for each net."""
    for line, look in zip(axis["lines"], cycle(LOOKS)):
        _line(axes, line["name"], line["points"], look, by=line["points"][0]["fastest"])
    values = [point["value"] for point in axis["lines"][0]["points"]]
    axes.set_xticks(values)
    axes.set_xlim(values[0] - 0.1, values[-1] + 0.25)
    axes.set_ylim(bottom=0)
    _frame(axes, axis["title"], axis["net"], axis["unit"], "time, one thread = 1", "lower left")


def _memory(axes: "Axes", memory: dict[str, Any]) -> None:
    """Peaks over the size of the raw data; theory is that the raw bytes come on top of the smallest peak."""
    for line, (color, mark, _) in zip(memory["lines"], cycle(LOOKS)):
        raw, peaks = ([point[what] / MIB for point in line["points"]] for what in ("raw", "peak"))
        axes.plot(raw, [peaks[0] + size - raw[0] for size in raw], color=color, linewidth=1, linestyle="dotted")
        axes.plot(raw, peaks, color=color, marker=mark, linewidth=1.3, label=f"{line['name']}: {line['slope']:.2f}")
    axes.set_ylim(bottom=0)
    title, note = "Peak of memory", "MNIST over and over; bytes for each raw byte"
    _frame(axes, title, note, "MiB of raw data", "MiB", "lower right")


def _frame(axes: "Axes", title: str, net: str, x: str, y: str, place: str) -> None:
    axes.set_title(title, size=10, pad=18)
    axes.text(0, 1.03, net, transform=axes.transAxes, size=7.2, color=MUTED, va="bottom")
    axes.set_xlabel(x, size=8)
    axes.set_ylabel(y, size=8)
    axes.tick_params(labelsize=7.5)
    axes.legend(frameon=False, fontsize=7, loc=place)


def _count(value: float) -> str:
    """A count in few signs: 600k."""
    return f"{value / 1000:g}k" if value >= 10_000 else f"{value:g}"


def _caption(machine: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    return (
        f"{machine['cpu']}, {machine['threads']} threads; {versions}\n"
        "marks: fastest epoch, with a bar up to the median; dotted: theory, the time is the useful arithmetic shared "
        "by the threads;\nhollow: off theory by more than "
        f"{BENT:.0%}, the furthest of each line with its share of it; memory, dotted: one byte for each raw byte"
    )
