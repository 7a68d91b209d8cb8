"""How near each kernel comes to the machine's limits: the roofline of Williams, Waterman and Patterson (2009).

A kernel does some multiply-adds for each byte that it reads or writes. So it can be no faster than the multiply-adds
allow (a flat roof), nor than its bytes come from where its data lie (a slanting one): the lower of the two is its own
roof. Counted is useful work alone: no padding; of sparse inputs, and of what bare tiles skip, the values that are not
zero. But in whole steps and passes the zeros that hidden ReLUs make count, skipped or not, as they come and go with the
weights: so these may come to more than their roof.

A further kernel is one more row of `ROWS`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from fastnn.kernels import backend, cores, cpu, limits, probes
from fastnn.kernels.job import Job
from fastnn.kernels.plan import PIECES, prepare
from fastnn.layers import Dense, Input, aligned_zeros
from fastnn.network import Network

# ---------------------------------------------------------------- what is measured


class Work(NamedTuple):
    """A kernel with data to work on.

    Parameters
    ----------
    kernel : callable
        ``kernel(*operands, times)`` does its work `times` over; holds no GIL, at least not for long.
    operands : list of tuples
        Those of each thread that calls it; one alone if it has threads of its own.
    flops, bytes : float
        What all of them do at each time: useful arithmetic (a multiply-add is two), bytes read and written.
    resident : int
        Bytes that a thread goes through again and again: they decide in which cache they lie.
    kept : tuple
        What the addresses among the operands point into: it must live as long as they are used.
    """

    kernel: Callable[..., Any]
    operands: list[tuple[Any, ...]]
    flops: float
    bytes: float
    resident: int
    kept: tuple[Any, ...] = ()


LONGEST_NAME = 30  # so that a line of the table fits in 80
LEGEND = "B: samples of a batch; %: of its inputs that are not zero, where few are"


class Row(NamedTuple):
    """A kernel of the roofline.

    Parameters
    ----------
    name, limit : str
        What it is, in up to `LONGEST_NAME` characters, and what is expected to limit it.
    prepare : callable
        ``prepare(threads)`` returns the `Work` for so many threads.
    """

    name: str
    limit: str
    prepare: Callable[[int], Work]


class Shape(NamedTuple):
    """A network at work: units from the input on, samples of a batch, and the share of inputs that are not zero."""

    widths: tuple[int, ...]
    batch: int
    density: float = 1.0

    def __str__(self) -> str:
        sparse = f", {self.density:.0%}" if self.density < 1 else ""
        return f"{'-'.join(map(str, self.widths))}, B {self.batch}{sparse}"


class Load(NamedTuple):
    """What a batch is, counted."""

    forward: float  # multiply-adds of one pass forward
    deltas: float  # and of one back
    weights: int
    first: int  # of these, the first layer's, which no delta goes through
    values: float  # of the batch's inputs that are not zero
    units: int  # of all layers behind the input, times the batch


BATCHES = 32  # of an epoch, which is what a whole step's kernel does at a time


def _network(shape: Shape, threads: int, activation: str = "relu") -> tuple[Job, Load]:
    """Random data of this shape, a network for it at work on them, and what one of its batches takes on average."""
    rng = np.random.default_rng(0)
    samples, (inputs, *widths) = BATCHES * shape.batch, shape.widths
    if shape.density < 1:
        X = rng.integers(1, 256, (samples, inputs), np.uint8)
        X[rng.random(X.shape) >= shape.density] = 0
    else:
        X = rng.normal(size=(samples, inputs)).astype(np.float32)
    hidden = [Dense(units, activation) for units in widths[:-1]]
    network = Network([Input(inputs, 1 / 255 if shape.density < 1 else 1.0), *hidden, Dense(widths[-1], "softmax")])
    job = network.job(network.examples(X, rng.integers(widths[-1], size=samples)), shape.batch, threads)
    values = np.count_nonzero(X) / BATCHES
    weights = [one * two for one, two in pairwise(shape.widths)]
    deltas = float(shape.batch * sum(weights[1:]))
    units = shape.batch * sum(widths)
    return job, Load(values * widths[0] + deltas, deltas, sum(weights), weights[0], values, units)


def _resident(load: Load) -> int:
    return 4 * (load.weights + 2 * load.units)  # weights, and each layer's outputs and deltas


def _train(shape: Shape, threads: int) -> Work:
    """Whole steps of SGD. The gradients are as many multiply-adds as the pass forward; the update is one a weight.

    Bytes, each operand once in a phase: weights forward, back (not the first layer's), and read and written in the
    update; inputs forward and for the gradients; each layer's outputs and deltas written and read.
    """
    job, load = _network(shape, threads)
    steps = np.tile([1e-4, 0.0, 0.0], (BATCHES, 1))
    order = np.arange(len(job.examples))

    def run(times: int) -> None:
        for _ in range(times):
            backend("fused").train(job, order, 0, 0, steps)

    flops = 2 * (2 * load.forward + load.deltas + load.weights)
    moved = 4 * (4 * load.weights - load.first + 4 * load.units) + 2 * job.examples.X.dtype.itemsize * load.values
    return Work(run, [()], BATCHES * flops, BATCHES * moved, _resident(load))


def _predict(shape: Shape, threads: int) -> Work:
    """Whole passes forward, over all samples: the kernel takes batches of its own."""
    job, load = _network(shape, threads)
    outputs = np.zeros((len(job.examples), shape.widths[-1]), np.float32)

    def run(times: int) -> None:
        for _ in range(times):
            backend("fused").predict(job, outputs)

    moved = 4 * (load.weights + 2 * load.units) + job.examples.X.dtype.itemsize * load.values
    return Work(run, [()], BATCHES * 2 * load.forward, BATCHES * moved, _resident(load))


# ---------------------------------------------------------------- kernels of one layer


def _after_a_step(shape: Shape, activation: str, threads: int) -> list[Job]:
    """A job of each thread's own, of one thread, that has taken a step: its buffers hold what the step left there."""
    jobs = [_network(shape, 1, activation)[0] for _ in range(threads)]
    for job in jobs:
        backend("fused").train(job, np.arange(len(job.examples)), 0, 0, np.array([[1e-4, 0.0, 0.0]]))
    return jobs


def _layer(name: str, shape: Shape, jobs: list[Job], values: int, read: int) -> Work:
    """A probe at work on one layer of each job: a multiply-add for each of its `values` and each output.

    Bytes: the I O weights or their gradient, the B O outputs or deltas, and `read` floats besides, each once.
    """
    (inputs, outputs), samples, threads = shape.widths, shape.batch, len(jobs)
    plans = [prepare(job, samples, False) for job in jobs]
    assert not any(plan.words[PIECES] for plan in plans), "a batch in pieces leaves but its last blocks"
    operands = [(int(plan.words.ctypes.data), samples) for plan in plans]
    size = 4 * (inputs * outputs + samples * outputs + read)
    flops = 2.0 * values * outputs
    return Work(probes.probe(name), operands, threads * flops, float(threads * size), size, tuple(jobs))


BELOW = 16  # inputs of the layer under the one that is measured, whose deltas the way back is to form


def _dense(name: str, shape: Shape, threads: int) -> Work:
    """One kernel of a dense layer. Besides: its inputs are read; on the way back, deltas below read and written."""
    # the identity leaves no zeros among the inputs
    jobs = _after_a_step(Shape((BELOW, *shape.widths), shape.batch), "identity", threads)
    values = shape.batch * shape.widths[0]
    return _layer(name, shape, jobs, values, 2 * values if name == "backward" else values)


CLASSES = 10  # outputs of the layer above one that reads sparse inputs


def _sparse(name: str, shape: Shape, threads: int) -> Work:
    """One kernel of a first layer on sparse inputs. Read besides: each value and its column, or its sample."""
    jobs = _after_a_step(Shape((*shape.widths, CLASSES), shape.batch, shape.density), "relu", threads)
    order = np.arange(shape.batch)  # the step's; all threads have the same
    values = int(np.count_nonzero(jobs[0].examples.X.take(order, axis=0)))
    work = _layer(name, shape, jobs, values, 2 * values)
    if name == "sparse gradient":
        operands = [(*each, int(order.ctypes.data)) for each in work.operands]
        work = work._replace(operands=operands, kept=(*work.kept, order))
    return work


TILE_DEPTH = 128  # what both sides of a tile take, up to 24 KiB, stays in a first-level cache of 32 KiB


def _tile(name: str, threads: int) -> Work:
    """A bare tile of `probes.TILES`. Bytes: both sides read, the sums written, and read as well or begun."""
    (rows, panels), panel = probes.TILES[name], probes.PANEL
    kept, operands = [], []
    rng = np.random.default_rng(0)
    for _ in range(threads):
        # as many floats for the left side as either kind takes; behind the sums a row that they begin with
        sizes = panel * TILE_DEPTH, panel * panels * TILE_DEPTH, panel * (rows * panels + 1)
        sides = [aligned_zeros(size) for size in sizes]
        for side in sides[:2]:
            side[:] = rng.normal(size=side.size)
        kept.append(sides)
        operands.append((*(int(side.ctypes.data) for side in sides), TILE_DEPTH))
    width = panels * panel
    flops, floats = 2.0 * rows * width * TILE_DEPTH, TILE_DEPTH * (rows + width) + 2 * rows * width
    return Work(probes.probe(name), operands, threads * flops, threads * 4.0 * floats, 4 * floats, tuple(kept))


SAMPLES = 16  # of a tile that skips zeros: what it reads and writes stays in a first-level cache


def _skipping(name: str, threads: int) -> Work:
    """A bare tile that skips zeros, of a half of its left side. Bytes: both sides read, the sums written, each once."""
    count, bits, width = SAMPLES, probes.BITS, probes.PANEL * probes.ABREAST
    kept, operands, values = [], [], 0
    rng = np.random.default_rng(0)
    for _ in range(threads):
        sides = [aligned_zeros(size) for size in (count * bits, width * bits, count * width)]
        for side in sides[:2]:
            side[:] = rng.normal(size=side.size)
        sides[0][rng.random(sides[0].size) < 0.5] = 0
        values += int(np.count_nonzero(sides[0]))
        kept.append(sides)
        operands.append((*(int(side.ctypes.data) for side in sides), count))
    floats = sum(map(len, kept[0]))
    return Work(probes.probe(name), operands, 2.0 * values * width, threads * 4.0 * floats, 4 * floats, tuple(kept))


# ---------------------------------------------------------------- the table

MNIST, DENSE = Shape((784, 300, 10), 100, 0.19), Shape((784, 300, 10), 100)
DEEP, SMALL = Shape((256, 256, 256, 10), 256), Shape((784, 30, 10), 10, 0.19)
WIDE, SQUARE = Shape((784, 300), 256), Shape((800, 800), 256)
LISTS, NARROW = Shape((784, 300), 100, 0.19), Shape((784, 30), 100, 0.19)


def _layer_rows(shape: Shape) -> tuple[Row, ...]:
    """The three kernels of a dense layer."""
    what = f"{shape.widths[0]} x {shape.widths[1]}, B {shape.batch}"
    return (
        Row(f"forward {what}", "multiply-adds, copies of W", partial(_dense, "forward", shape)),
        Row(f"way back {what}", "multiply-adds, W transposed", partial(_dense, "backward", shape)),
        Row(f"gradient {what}", "multiply-adds", partial(_dense, "gradient", shape)),
    )


ROWS = (
    Row(f"train {MNIST}", "rows of W1 for each value", partial(_train, MNIST)),
    Row(f"train {DENSE}", "multiply-adds", partial(_train, DENSE)),
    Row(f"train {DEEP}", "multiply-adds", partial(_train, DEEP)),
    Row(f"train {SMALL}", "barriers and calls", partial(_train, SMALL)),
    Row(f"predict {MNIST}", "rows of W1 for each value", partial(_predict, MNIST)),
    Row(f"predict {DEEP}", "multiply-adds", partial(_predict, DEEP)),
    *_layer_rows(WIDE),
    *_layer_rows(SQUARE),
    Row("tile by samples", "multiply-adds", partial(_tile, "tile by samples")),
    Row("tile by units", "multiply-adds", partial(_tile, "tile by units")),
    Row("tile by samples, zeros", "a row of W for each value", partial(_skipping, "tile by samples, zeros")),
    Row("tile by units, zeros", "a row of deltas for each value", partial(_skipping, "tile by units, zeros")),
    Row(f"forward {LISTS}", "a row of W for each value", partial(_sparse, "sparse forward", LISTS)),
    Row(f"gradient {LISTS}", "a row of deltas for each value", partial(_sparse, "sparse gradient", LISTS)),
    Row(f"forward {NARROW}", "short rows: calls, starts", partial(_sparse, "sparse forward", NARROW)),
    Row(f"gradient {NARROW}", "sums read and stored", partial(_sparse, "sparse gradient", NARROW)),
)


# ---------------------------------------------------------------- roofs

USUAL_CACHES = {1: 2**15, 2: 2**18, 3: 2**22}  # where the system does not tell: what most CPUs have at least
MEMORY, ARITHMETIC = "memory", "multiply-adds"


class Roofs(NamedTuple):
    """What bounds all kernels: GFLOP/s of multiply-adds; GB/s by level ("L1" ... "memory"), and each cache's bytes."""

    peak: float
    bandwidths: dict[str, float]
    caches: dict[str, int]

    def over(self, work: Work) -> tuple[float, str, str]:
        """A kernel's own roof in GFLOP/s, which of the two it is, and the level that its data lie in."""
        level = next((name for name, size in self.caches.items() if work.resident <= size), MEMORY)
        slanting = self.bandwidths[level] * work.flops / work.bytes
        return (slanting, level, level) if slanting < self.peak else (self.peak, ARITHMETIC, level)


def roofs(threads: int) -> Roofs:
    """Measure the roofs for a number of threads; about two seconds. The last cache is taken to be shared by all.

    A cache is read from an array of a quarter of its size, which surely lies in it, and not in one before it.
    """
    sizes = cpu.cache_sizes() or USUAL_CACHES
    caches = {f"L{level}": size // (threads if level == max(sizes) else 1) for level, size in sorted(sizes.items())}
    bandwidths = {name: limits.cache_bandwidth(size // 4, threads) for name, size in caches.items()}
    return Roofs(limits.fma_peak(threads), {**bandwidths, MEMORY: limits.bandwidth(threads)}, caches)


def measure(threads: int, rows: Sequence[Row] = ROWS) -> dict[str, Any]:
    """Measure the roofs and each kernel, for a number of threads.

    Returns
    -------
    dict
        As JSON holds it: `threads`, `peak` (GFLOP/s), `tile_peak` (where as much is read as by a dense tile),
        `bandwidths` (GB/s by level), `round_trip` (ns between two cores; 0 with one thread), and `kernels`, each with
        its `name`, `limit` (what is expected to limit it), `gflops`, `intensity` (FLOP/byte), `level` (where its data
        lie), `roof` (GFLOP/s), `bound` (which roof that is) and `share` of it.
    """
    backend("fused").warm()
    above = roofs(threads)
    kernels = []
    for row in rows:
        work = row.prepare(threads)
        gflops = limits.rate(work.kernel, work.operands, work.flops)
        roof, bound, level = above.over(work)
        kernels.append(
            {
                "name": row.name,
                "limit": row.limit,
                "gflops": gflops,
                "intensity": work.flops / work.bytes,
                "level": level,
                "roof": roof,
                "bound": bound,
                "share": gflops / roof,
            }
        )
    return {
        "threads": threads,
        "peak": above.peak,
        "tile_peak": limits.tile_peak(threads),
        "bandwidths": above.bandwidths,
        "round_trip": cores.round_trip() if threads > 1 else 0.0,
        "kernels": kernels,
    }
