"""Measuring the axes: the seconds of an epoch at each point of a line, in turn, and what theory says beside them."""

import math
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from benchmarks.epochs import Training, in_turn
from benchmarks.growth.axes import Axis, Case

RATE = 0.001  # small enough for every net here: none diverges, and the time depends on no weight
BENT = 0.2  # a point bends the line if it is further from theory than this share of it


def training_of(case: Case) -> Training:
    """A case at work, by the fused kernels."""
    X, y = case.data()
    return Training(case.sizes, "relu", X, y, scale=case.scale, batch=case.batch, rate=RATE, threads=case.threads)


def measure(axis: Axis, tell: Callable[[str], None] = lambda word: None) -> dict[str, Any]:
    """Measure an axis.

    Returns
    -------
    dict
        As JSON holds it: `title`, `unit`, `standard`, `net`, `logarithmic`, and `lines`, each with its `name`,
        `exponent` and `points`: `value`, `median`, `fastest`, `slowest` (seconds), `epochs`, `theory` (seconds),
        `ratio` (the fastest epoch by theory).
    """
    lines = []
    for name, case_of in axis.cases.items():
        tell(f"{axis.title.lower()}, {name}")
        cases = [case_of(value) for value in axis.values]
        trainings, works = zip(*((training_of(case), case.work()) for case in cases), strict=True)
        points = [
            {
                "value": value,
                "median": median(taken),
                "fastest": min(taken),
                "slowest": max(taken),
                "epochs": len(taken),
            }
            for value, taken in zip(axis.values, in_turn(trainings), strict=True)
        ]
        lines.append(against_theory(name, points, works, axis.values.index(axis.standard)))
    kept = {name: getattr(axis, name) for name in ("title", "unit", "standard", "net", "logarithmic")}
    return {**kept, "lines": lines}


def against_theory(name: str, points: list[dict[str, Any]], works: Sequence[float], standard: int) -> dict[str, Any]:
    """A line of points, each with what theory says of its fastest epoch.

    Whatever else the machine does can only slow an epoch down, and did so by half for seconds on end; so the fastest
    shows the kernels, and the median what a user of that machine meets.

    Parameters
    ----------
    name : str
    points : list of dict
        With `value` and `fastest`; `theory` and `ratio` are added.
    works : sequence of float
        The useful work of each point: theory's seconds are proportional to it.
    standard : int
        Number of the point at which theory's seconds are those measured.

    Returns
    -------
    dict
        `name`, `exponent` (the slope of the fastest over values, both as logarithms) and `points`.
    """
    pace = points[standard]["fastest"] / works[standard]
    for point, work in zip(points, works, strict=True):
        point["theory"] = pace * work
        point["ratio"] = point["fastest"] / point["theory"]
    logs = [[math.log(point[what]) for point in points] for what in ("value", "fastest")]
    return {"name": name, "exponent": slope(*logs), "points": points}


def slope(x: Sequence[float], y: Sequence[float]) -> float | None:
    """The slope of the straight line that fits best (least squares); None of a single point."""
    middle, height = sum(x) / len(x), sum(y) / len(y)
    spread = sum((a - middle) ** 2 for a in x)
    return sum((a - middle) * (b - height) for a, b in zip(x, y, strict=True)) / spread if spread else None


def bends(found: dict[str, Any]) -> list[str]:
    """The points of a measured axis that theory does not explain, in words."""
    return [
        f"{found['title'].lower()} {point['value']:,} ({line['name']}): {point['ratio']:.2f} of theory"
        for line in found["lines"]
        for point in line["points"]
        if bent(point)
    ]


def bent(point: dict[str, Any]) -> bool:
    """Whether a point lies off the line of theory."""
    return abs(point["ratio"] - 1) > BENT
