"""What is made to grow, and what theory says that an epoch then takes.

Theory is one sentence: the time is the useful arithmetic, shared by the threads. So it is proportional to samples and
width, a straight line over depth, the same for every batch, and half of it for twice the threads.

Letters: N samples, B samples of a batch, I inputs and O outputs of a layer.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np

from benchmarks.peers.rows import gaussian
from benchmarks.peers.work import useful_flops
from fastnn.data import load
from fastnn.kernels.threads import available


@dataclass(frozen=True)
class Case:
    """One net at work.

    Parameters
    ----------
    sizes : tuple of int
        From the inputs to the classes; the hidden layers are ReLU.
    batch, samples, threads : int
    rows : str
        Key of `ROWS`.
    """

    sizes: tuple[int, ...] = (784, 300, 10)
    batch: int = 100
    samples: int = 60_000
    threads: int = available()
    rows: str = "mnist"

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """X (N, I) and the class of each sample (N,)."""
        return rows(self.rows, self.samples, self.sizes[0], self.sizes[-1])

    @property
    def scale(self) -> float:
        """Of the inputs."""
        return 1 / 255 if self.rows == "mnist" else 1.0

    def work(self) -> float:
        """The useful floating point operations of an epoch that fall to each thread."""
        X, _ = self.data()
        return useful_flops(self.sizes, self.samples, int(np.count_nonzero(X))) / self.threads


def mnist_rows(samples: int, inputs: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """The training images of MNIST, over and over: bytes, of which a fifth are not zero."""
    train, _ = load("mnist")
    X, y = np.empty((samples, inputs), np.uint8), np.empty(samples, np.int32)
    for start in range(0, samples, len(train)):
        piece = slice(start, start + len(train))
        X[piece], y[piece] = train.X[: samples - start], train.y[: samples - start]
    return X, y


ROWS: dict[str, Callable[[int, int, int], tuple[np.ndarray, np.ndarray]]] = {"mnist": mnist_rows, "dense": gaussian}


@lru_cache(maxsize=1)
def rows(kind: str, samples: int, inputs: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """X (N, I) and classes (N,) of a kind of `ROWS`; the last are kept, for the next point often has the same."""
    return ROWS[kind](samples, inputs, classes)


@dataclass(frozen=True)
class Axis:
    """One way to grow.

    Parameters
    ----------
    title, unit : str
        Of the panel, and what the values count.
    values : tuple of int
        Ascending.
    standard : int
        The value at which the line of theory is laid through the measurement.
    net : str
        What stays the same, in words.
    cases : dict
        By the name of the line, the case of a value.
    few : tuple of int
        Those of the values that asv watches.
    logarithmic : bool
        Whether the values grow by factors, and are drawn so.
    """

    title: str
    unit: str
    values: tuple[int, ...]
    standard: int
    net: str
    cases: dict[str, Callable[[int], Case]]
    few: tuple[int, ...]
    logarithmic: bool = True


def _vary(name: str, value: Any, **fixed: Any) -> Case:
    return replace(Case(**fixed), **{name: value})


def _wide(units: int, **fixed: Any) -> Case:
    return Case((784, units, 10), **fixed)


def _deep(layers: int, **fixed: Any) -> Case:
    return Case((256, *[256] * layers, 10), **fixed)


PER_EPOCH = 8_000  # samples of an epoch, where they are not what grows
POWER_OF_TWO = 8_192  # the same for batches, which then divide it
THREADS = tuple(range(1, available() + 1))

AXES = {
    "samples": Axis(
        "Samples",
        "samples",
        (6_000, 20_000, 60_000, 200_000, 600_000),
        60_000,
        "784-300-10, batch 100, MNIST over and over",
        {"MNIST": partial(_vary, "samples")},
        (6_000, 60_000, 200_000),
    ),
    "width": Axis(
        "Width",
        "hidden units H",
        tuple(2**power for power in range(4, 13)),
        512,
        f"784-H-10, batch 100, {PER_EPOCH:,} samples",
        {kind: partial(_wide, samples=PER_EPOCH, rows=rows) for kind, rows in (("MNIST", "mnist"), ("dense", "dense"))},
        (16, 256, 4096),
    ),
    "depth": Axis(
        "Depth",
        "hidden layers",
        tuple(range(1, 9)),
        4,
        f"256-(256 each)-10, batch 100, {PER_EPOCH:,} samples",
        {"dense": partial(_deep, samples=PER_EPOCH, rows="dense")},
        (1, 4, 8),
        logarithmic=False,
    ),
    "batch": Axis(
        "Batch",
        "samples of a batch",
        tuple(2**power for power in range(13)),
        256,
        f"784-300-10, {POWER_OF_TWO:,} samples",
        {
            kind: partial(_vary, "batch", samples=POWER_OF_TWO, rows=rows)
            for kind, rows in (("MNIST", "mnist"), ("dense", "dense"))
        },
        (1, 16, 256, 4096),
    ),
    "threads": Axis(
        "Threads",
        "threads",
        THREADS,
        1,
        "batch 100, if not named",
        {
            "784-300-10, MNIST": partial(_vary, "threads"),
            "784-30-10, batch 10, MNIST": partial(_vary, "threads", sizes=(784, 30, 10), batch=10),
            "784-300-10, dense": partial(_vary, "threads", samples=PER_EPOCH, rows="dense"),
            "256-(4 of 256)-10, dense": partial(
                _vary, "threads", sizes=(256, *[256] * 4, 10), samples=PER_EPOCH, rows="dense"
            ),
        },
        THREADS[:2],
        logarithmic=False,
    ),
}
