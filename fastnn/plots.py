"""Plots: how a run went, what it confuses, and the machine's roofline. Grids of images: pictures.py.

Letters: N samples. Matplotlib is an extra, imported only when a picture is drawn. Figures are made without
pyplot, so nothing here touches windows, global figures or a backend that the caller has chosen.
"""

import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.errors import MissingExtraError
from fastnn.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 150
INK, MUTED, RULE = "#222222", "#6b6b6b", "#e3e3e3"
BLUE, ORANGE = "#0072b2", "#d55e00"  # of Okabe & Ito's palette, which colour-blind readers can tell apart

STYLE: dict[str, Any] = {
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,  # a class may be named "$5"
    "axes.edgecolor": MUTED,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelcolor": MUTED,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "figure.constrained_layout.h_pad": 0.1,
    "figure.constrained_layout.w_pad": 0.1,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.8,
    "lines.markersize": 4,
    "lines.solid_capstyle": "round",
    "xtick.color": MUTED,
    "ytick.color": MUTED,
}


@contextmanager
def picture(path: str | os.PathLike[str] | BytesIO, width: float, height: float) -> "Iterator[Figure]":
    """A blank figure, its size in inches; what is drawn on it becomes the PNG file `path`, or goes to a `BytesIO`."""
    try:
        from matplotlib import style
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("pictures need matplotlib: pip install 'fastnn-cpu[plot]'") from None
    with style.context(["default", STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # a class named in a script that the font lacks
        figure = Figure((width, height), layout="constrained")
        yield figure
        png = path if isinstance(path, BytesIO) else BytesIO()
        figure.savefig(png, format="png", dpi=DPI)
    if not isinstance(path, BytesIO):
        write_atomically(path, png.getvalue())


def caption(figure: "Figure", title: str, note: str) -> None:
    """A title above a figure, and words below it."""
    figure.suptitle(title, size=12, weight="bold")
    figure.supxlabel(note, size=9, color=MUTED)


def shorten(name: str, length: int) -> str:
    """A name of at most so many letters."""
    return name if len(name) <= length else name[: length - 1] + "…"


# ---------------------------------------------------------------- curves.png

# Each panel: the lines in it, and the keys of history.jsonl that they show.
PANELS = {
    "Loss": {"training": "loss", "validation": "val_loss"},
    "Accuracy": {"training": "accuracy", "validation": "val_accuracy"},
    "Learning rate": {"rate": "learning_rate"},
}
COLORS = {"training": ORANGE, "validation": BLUE, "rate": MUTED}


def curves(
    records: Sequence[Mapping[str, Any]], path: str | os.PathLike[str] | BytesIO, best: int | None = None
) -> None:
    """Draw loss, accuracy and learning rate over the epochs, and mark the best epoch by validation.

    Parameters
    ----------
    records : sequence of mappings
        The lines of ``history.jsonl``. A value that is absent, None or not finite leaves a gap; a panel in which there
        would be nothing to see (no accuracy, a constant learning rate) is left out.
    path : path-like
        The PNG file to write.
    best : int, optional
        Index of the best epoch; by default by accuracy, then loss, on the validation set.

    Raises
    ------
    MissingExtraError
        Matplotlib is not installed.
    OutputError
        The file cannot be written.
    """
    epochs = [record["epoch"] for record in records]
    panels = {title: _lines(records, keys) for title, keys in PANELS.items()}
    rates = panels["Learning rate"].get("rate", np.empty(0))
    if np.unique(rates[np.isfinite(rates)]).size < 2:
        del panels["Learning rate"]
    if not panels["Accuracy"]:
        del panels["Accuracy"]
    best = _best(records) if best is None else best
    widths = [3.0 if title == "Learning rate" else 4.4 for title in panels]
    with picture(path, sum(widths), 3.6) as figure:
        row = figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0]
        for axes, (title, lines) in zip(row, panels.items(), strict=True):
            for name, values in lines.items():
                axes.plot(epochs, values, color=COLORS[name], label=name, marker="o" if len(epochs) <= 40 else "")
            if best is not None and "validation" in lines:
                _ring(axes, epochs[best], lines["validation"][best])
            if lines and title != "Learning rate":
                axes.legend(frameon=False)
            axes.set_title(title)
            axes.set_xlabel("epoch")
            axes.grid(False, axis="x")
            axes.locator_params(axis="x", integer=True, min_n_ticks=1)
            axes.set_xlim(min(epochs, default=1) - 0.5, max(epochs, default=1) + 0.5)
            _set_scale(axes, title, lines)


def _lines(records: Sequence[Mapping[str, Any]], keys: Mapping[str, str]) -> dict[str, np.ndarray]:
    """The lines that have a finite value, each a float64 array with NaN where it has none."""
    lines = {}
    for name, key in keys.items():
        values = np.array([record.get(key) for record in records], dtype=np.float64)  # None becomes NaN
        values[np.isinf(values)] = math.nan
        if not np.isnan(values).all():
            lines[name] = values
    return lines


def _best(records: Sequence[Mapping[str, Any]]) -> int | None:
    """Which record is the best by validation, as `callbacks.History` says: highest accuracy, then lowest loss."""
    found = _lines(records, {"accuracy": "val_accuracy", "loss": "val_loss"})
    merits = [np.nan_to_num(values if key == "accuracy" else -values, nan=-math.inf) for key, values in found.items()]
    return max(range(len(records)), key=lambda index: [merit[index] for merit in merits]) if found else None


def _ring(axes: "Axes", epoch: int, value: float) -> None:
    axes.axvline(epoch, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    axes.plot(epoch, value, "o", color=BLUE, fillstyle="none", markersize=9, label=f"best: epoch {epoch}")


def _set_scale(axes: "Axes", title: str, lines: Mapping[str, np.ndarray]) -> None:
    """Accuracies in percent, learning rates from zero, and a loss that falls far on a logarithmic scale."""
    if title == "Learning rate":
        axes.set_ylim(bottom=0)
    if title == "Loss" and lines:
        values = np.concatenate(list(lines.values()))
        axes.set_yscale("log" if 0 < 30 * np.nanmin(values) < np.nanmax(values) else "linear")
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g}%" if title == "Accuracy" else f"{value:.4g}")


# ---------------------------------------------------------------- confusion.png

COUNTED = 30  # classes up to which each cell shows its count
NAMED = 120  # classes up to which each row is named


def confusion(true: np.ndarray, predicted: np.ndarray, classes: Sequence[str], path: str | os.PathLike[str]) -> None:
    """Draw how often each class was taken for each: counts, coloured by their share of the true class.

    Parameters
    ----------
    true, predicted : int array (N,)
        Indices into `classes`.
    classes : sequence of str
        Names by index.
    path : path-like
        The PNG file to write.

    Raises
    ------
    MissingExtraError
        Matplotlib is not installed.
    OutputError
        The file cannot be written.
    """
    n = len(classes)
    cells = np.asarray(true, dtype=np.int64) * n + np.asarray(predicted)
    counts = np.bincount(cells, minlength=n * n).reshape(n, n)
    shares = np.ma.masked_equal(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), 0)
    right = np.eye(n, dtype=bool)
    worst = float(shares[~right].max()) if shares[~right].count() else 0.0
    names = [shorten(str(name), 16) for name in classes]
    side, label = min(max(0.5 * n, 2.6), 10.0), 0.08 * max(map(len, names))  # inches: the matrix, the longest name
    with picture(path, side + label + 1.2, side + label + 1.4) as figure:
        axes = figure.subplots()
        # neither colour map is used up to its darkest end, on which no count could be read
        axes.imshow(np.ma.masked_where(~right, shares), cmap="Blues", vmin=0, vmax=1.2)
        axes.imshow(np.ma.masked_where(right, shares), cmap="Oranges", vmin=0, vmax=1.8 * max(worst, 0.01))
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        axes.tick_params(which="both", length=0)
        axes.spines[:].set_visible(False)
        axes.grid(False)
        size = min(9.0, 550 / n)  # points; a hundred names fit beside ten inches
        ticks = range(0, n, -(-n // NAMED))
        axes.set_yticks(ticks, names[:: ticks.step], size=size)
        axes.set_xticks(ticks, names[:: ticks.step], size=size, rotation=90 if label > side / n else 0)
        if n <= COUNTED:
            _count_cells(axes, counts, shares.filled(0))
        note = f"blue: right\norange: wrong, at most {100 * worst:.2g}% of a true class in one cell"
        caption(figure, f"{counts.trace():,} of {counts.sum():,} right", note)


def _count_cells(axes: "Axes", counts: np.ndarray, shares: np.ndarray) -> None:
    """Each cell's count, white lines between the cells, and beside each row how much of it is right."""
    n = len(counts)
    for row, column in np.argwhere(counts).tolist():
        color = "white" if row == column and shares[row, column] > 0.6 else INK
        axes.text(column, row, str(counts[row, column]), color=color, size=8, ha="center", va="center")
    axes.set_xticks(np.arange(n + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(n + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.2)
    shown = axes.secondary_yaxis("right")
    found = [f"{100 * shares[row, row]:.1f}%" if counts[row].any() else "none" for row in range(n)]
    shown.set_yticks(range(n), found, size=8)
    shown.set_ylabel("share right")
    shown.tick_params(length=0)
    shown.spines[:].set_visible(False)


# ---------------------------------------------------------------- several runs

SERIES = (BLUE, ORANGE, "#009e73", "#cc79a7", "#56b4e9", "#e69f00")  # Okabe & Ito


def several_curves(runs: Mapping[str, Sequence[Mapping[str, Any]]], path: str | os.PathLike[str], title: str) -> None:
    """Draw loss and accuracy of several runs over the epochs, in one picture.

    Parameters
    ----------
    runs : mapping of name to the lines of a ``history.jsonl``
    path : path-like
        The PNG file to write.
    title : str

    Raises
    ------
    MissingExtraError
        Matplotlib is not installed.
    OutputError
        The file cannot be written.
    """
    with picture(path, 8.8, 3.9) as figure:
        for axes, (name, key) in zip(
            figure.subplots(1, 2), (("Training loss", "loss"), ("Training accuracy", "accuracy")), strict=True
        ):
            for (run, records), color in zip(runs.items(), cycle(SERIES)):
                axes.plot([record["epoch"] for record in records], [record[key] for record in records], color=color,
                          label=run)  # fmt: skip
            axes.set_title(name)
            axes.set_xlabel("epoch")
            if key == "loss":
                axes.set_yscale("log")
                axes.set_yticks([tick for tick in (0.1, 0.2, 0.5, 1, 2, 5) if tick <= axes.get_ylim()[1]])
                axes.minorticks_off()
                axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            else:
                axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
                axes.legend(frameon=False, fontsize=8)
        figure.suptitle(title, size=12, weight="bold")


def by_size(rows: Sequence[Mapping[str, Any]], path: str | os.PathLike[str], title: str) -> None:
    """Draw test accuracy by hidden units, with dropout and without: the mean over seeds, and how far they lie apart.

    Parameters
    ----------
    rows : sequence of mappings with ``units``, and the accuracies ``with`` and ``without``, one a seed
    path, title
        As for `several_curves`; errors too.
    """
    with picture(path, 5.4, 3.8) as figure:
        axes = figure.subplots()
        units = [row["units"] for row in rows]
        for name, color in (("without", ORANGE), ("with", BLUE)):
            means = [sum(row[name]) / len(row[name]) for row in rows]
            axes.plot(units, means, "o-", color=color, label=f"{name} dropout")
            low, high = [min(row[name]) for row in rows], [max(row[name]) for row in rows]
            axes.fill_between(units, low, high, color=color, alpha=0.15, linewidth=0)
        axes.set_xscale("log", base=2)
        axes.set_xticks(units, [str(value) for value in units])
        axes.minorticks_off()
        axes.set_xlabel("units of each hidden layer")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.1%}")
        axes.set_title(title)
        axes.set_ylabel("test accuracy")
        axes.legend(frameon=False)


def sizes(rows: Sequence[Mapping[str, Any]], chosen: int, path: str | os.PathLike[str], classes: bool = True) -> None:
    """Draw what a search found: how good networks are, and how long they train, by the multiply-adds of a sample.

    Parameters
    ----------
    rows : sequence of mappings with ``number``, ``state``, ``cost``, ``value`` and ``seconds``
        See `fastnn.search.Row`.
    chosen : int
        The number of the one that is marked.
    path : path-like
        The PNG file to write; errors as of `several_curves`.
    classes : bool
        The values are accuracies; otherwise losses with a minus before them.
    """
    judged = "Validation accuracy" if classes else "Validation loss"
    with picture(path, 8.8, 4.0) as figure:
        left, right = figure.subplots(1, 2)
        for axes, title, key, sign in (
            (left, judged, "value", 1 if classes else -1),
            (right, "Seconds of a trial", "seconds", 1),
        ):
            for state, color, size in (("pruned", MUTED, 12), ("complete", BLUE, 26)):
                shown = [row for row in rows if row["state"] == state and row["value"] is not None]
                places = [row["cost"] for row in shown], [sign * row[key] for row in shown]
                axes.scatter(*places, size, color, label=state)
            best = next(row for row in rows if row["number"] == chosen)
            place = [best["cost"]], [sign * best[key]]
            axes.scatter(*place, 90, "none", edgecolors=ORANGE, linewidths=1.8, label="chosen")
            axes.set_xscale("log", subs=[])
            costs = [row["cost"] for row in rows]
            axes.xaxis.get_major_locator().set_params(subs=(1,) if max(costs) > 30 * min(costs) else (1, 2, 5))
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            axes.set_xlabel("multiply-adds of a sample, forward")
            axes.set_title(title)
        left.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g}%" if classes else f"{value:.4g}")
        marks = left.get_legend_handles_labels()
        figure.legend(*marks, loc="outside lower center", ncols=3, frameon=False)


# ---------------------------------------------------------------- roofline.png

DASHES = ("solid", "dashed", "dashdot", "dotted")  # of the roofs: the nearest cache first, memory last


AROUND = ((8, 6), (8, -7), (-8, 7), (-8, -7), (0, 10), (0, -11))  # a mark, in points: where its number can stand


def roofline(reports: Sequence[Mapping[str, Any]], path: str | os.PathLike[str]) -> None:
    """Draw the machine's roofs and the kernels under them, a panel for each number of threads.

    Parameters
    ----------
    reports : sequence of mappings
        As `fastnn.roofline.measure` returns them.
    path : path-like
        The PNG file to write.

    Raises
    ------
    MissingExtraError
        Matplotlib is not installed.
    OutputError
        The file cannot be written.
    """
    kernels = [kernel for report in reports for kernel in report["kernels"]]
    ends = [kernel["intensity"] for kernel in kernels]
    ends += [report["peak"] / speed for report in reports for speed in report["bandwidths"].values()]
    across = np.geomspace(min(ends) / 2, max(ends) * 2, 200)
    lines = max(len(report["kernels"]) + len(report["bandwidths"]) + 1 for report in reports)  # of the legend
    with picture(path, 5.4 * len(reports), 4.4 + 0.2 * lines) as figure:
        row = figure.subplots(1, len(reports), sharey=True, squeeze=False)[0]
        for axes, report in zip(row, reports, strict=True):
            for (level, speed), dashes in zip(report["bandwidths"].items(), cycle(DASHES)):
                roof = np.minimum(speed * across, report["peak"])
                axes.plot(across, roof, color=MUTED, linewidth=1, linestyle=dashes, label=f"{level}: {speed:.0f} GB/s")
            label = f"with the reads of a tile: {report['tile_peak']:.0f} GFLOP/s"
            axes.axhline(report["tile_peak"], color=MUTED, linewidth=0.5, label=label)
            for number, kernel in enumerate(report["kernels"], 1):
                label = f"{number} {kernel['name']}: {kernel['share']:.0%} of its roof"
                axes.plot(kernel["intensity"], kernel["gflops"], "o", color=BLUE, label=label)
                place = (kernel["intensity"], kernel["gflops"])
                before = ((other["intensity"], other["gflops"]) for other in report["kernels"][: number - 1])
                near = sum(bool(np.abs(np.log2(np.divide(place, other))).max() < 0.6) for other in before)
                offset = AROUND[near % len(AROUND)]
                axes.annotate(str(number), place, offset, textcoords="offset points", size=8, ha="center", va="center")
            axes.set_xscale("log", base=2)
            axes.set_yscale("log", base=2)
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.set_xlabel("useful FLOP per byte")
            threads = report["threads"]
            axes.set_title(f"{threads} thread{'s' * (threads > 1)}: {report['peak']:.0f} GFLOP/s")
            axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.12))
        row[0].set_ylabel("useful GFLOP/s")
