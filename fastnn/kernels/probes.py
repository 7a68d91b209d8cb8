"""The kernels of the step one by one, each called over and over by one thread, so that it can be measured.

A kernel works on the layer of a job as a step has left it: its inputs, weights, lists and deltas are those of real
work. It is given the address of the job's words (kernels/plan.py), and it goes through the layer as the step does.
Nothing is compiled before it is asked for.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn.kernels import dense, launch, sparse
from fastnn.kernels.compiling import kernel
from fastnn.kernels.families import whole
from fastnn.kernels.gradients import over_rows
from fastnn.kernels.phases import FLOAT, layer_of, over_samples, scratch_of, take_batch
from fastnn.kernels.plan import (
    AT_DELTAS,
    AT_INPUTS,
    AT_OUTPUTS,
    BLOCK,
    COLUMNS,
    GRANULES,
    GROUPS,
    INPUTS,
    JUMP,
    LAYERS,
    OF_LAYER,
    PANELS,
    SCATTERED,
    SPARSE,
    SUMS,
    TILE,
)
from fastnn.kernels.share import BOTH, TRAIN, granule_of
from fastnn.kernels.simd import (
    NONE,
    TILE_ROWS,
    WIDE_ROWS,
    WIDE_UNITS,
    WIDTH,
    doubles,
    tile_by_samples,
    tile_by_units,
    words,
)
from fastnn.kernels.skipping import ABREAST, BITS, skip_by_samples, skip_by_units
from fastnn.layers import LANES as PANEL

__all__ = ["ABREAST", "BITS", "PANEL", "PROBES", "TILES", "probe"]

# ---------------------------------------------------------------- the last layer, on dense inputs
# run(job, samples, times): addresses and counts are integers. Nothing is read before the first of the times.


def make_forward(stamp: int, cache: bool) -> Any:
    """Z of the last layer, a block of samples at a time."""

    @kernel(cache)
    def run(at_job: int, samples: int, times: int) -> int:
        whole()
        for _ in range(times):
            job, scratch = words(at_job), scratch_of(words(at_job), 0)
            w = layer_of(job, job[LAYERS] - 1)
            for first in range(0, samples, BLOCK):
                last = min(first + BLOCK, samples)
                end, out = w[PANELS], job[AT_OUTPUTS]
                dense.forward(w, w[AT_INPUTS], job[JUMP], first, last, np.int64(0), end, out, scratch)
        return stamp

    return run


def make_backward(stamp: int, cache: bool) -> Any:
    """The deltas of the last layer but one, a block of samples at a time.

    What stands there is multiplied each time, so it soon is zero, as fast a factor as any; of a ReLU nothing is read.
    """

    @kernel(cache)
    def run(at_job: int, samples: int, times: int) -> int:
        whole()
        for _ in range(times):
            job, scratch = words(at_job), scratch_of(words(at_job), 0)
            w, below = layer_of(job, job[LAYERS] - 1), layer_of(job, job[LAYERS] - 2)
            for first in range(0, samples, BLOCK):
                last = min(first + BLOCK, samples)
                dense.backward(w, job[JUMP], first, last, np.int64(0), below[PANELS], below, scratch)
        return stamp

    return run


def make_gradient(stamp: int, cache: bool) -> Any:
    """The gradient of the last layer's W, 16 rows by WIDTH panels at a time; each part overwrites the one before."""

    @kernel(cache)
    def run(at_job: int, samples: int, times: int) -> int:
        whole()
        for _ in range(times):
            job, scratch = words(at_job), scratch_of(words(at_job), 0)
            w = layer_of(job, job[LAYERS] - 1)
            for k in range(0, w[INPUTS], PANEL):
                for p in range(0, w[PANELS], WIDTH):
                    end, panels, out = min(k + PANEL, w[INPUTS]), min(WIDTH, w[PANELS] - p), scratch[TILE]
                    dense.products(w[AT_INPUTS], w[AT_DELTAS], job[JUMP], np.int64(0), samples, k, end, p, panels,
                                   np.bool_(True), out, np.int64(PANEL), PANEL * (end - k))  # fmt: skip
        return stamp

    return run


# ---------------------------------------------------------------- the first layer, on the lists of sparse inputs


def make_sparse_forward(stamp: int, cache: bool) -> Any:
    """Z of the first layer, a block of samples at a time; the job's inputs must be sparse."""

    @kernel(cache)
    def run(at_job: int, samples: int, times: int) -> int:
        whole()
        for _ in range(times):
            job = words(at_job)
            w, out, scratch = layer_of(job, 0), layer_of(job, 1)[AT_INPUTS], scratch_of(job, 0)
            for first in range(0, samples, BLOCK):
                last = min(first + BLOCK, samples)
                sparse.forward(job, w, first, last, np.int64(0), job[GROUPS], out, scratch)
        return stamp

    return run


def make_sparse_gradient(stamp: int, cache: bool) -> Any:
    """The gradient of the first layer's W, by the way that the job's plan has chosen; its inputs must be sparse.

    The batch is the first of the order, whose address stands before the times. Sample by sample the gradient is kept;
    by columns, each 16 of them overwrite those before.
    """

    @kernel(cache)
    def run(at_job: int, samples: int, at_order: int, times: int) -> int:
        whole()
        for _ in range(times):
            job, scratch = words(at_job), scratch_of(words(at_job), 0)
            w = layer_of(job, 0)
            if not job[SCATTERED]:
                sparse.sort_by_column(job, w, samples, np.int64(0), at_order, scratch)
            for group in range(job[GROUPS]):
                p, n = sparse.group_of(job, w, group)
                if job[SCATTERED]:
                    dense.clear(scratch[SUMS], w[INPUTS] * PANEL * n)
                    sparse.scatter_gradient(job, w, p, n, np.int64(0), samples, np.int64(BOTH), scratch[SUMS],
                                            PANEL * n, np.float32(1), scratch)  # fmt: skip
                    continue
                for k in range(0, w[INPUTS], COLUMNS):
                    sparse.sum_columns(job, w, k, min(k + COLUMNS, w[INPUTS]), p, n, scratch[TILE], scratch)
        return stamp

    return run


def make_take(stamp: int, cache: bool) -> Any:
    """What each thread does for itself where threads share units of the first layer, which it needs all inputs for.

    It takes the batch, the first of the order, whose address stands before the times; and where the gradient of sparse
    inputs is summed by columns, it sorts them.
    """

    @kernel(cache)
    def run(at_job: int, samples: int, at_order: int, times: int) -> int:
        whole()
        for _ in range(times):
            job, scratch = words(at_job), scratch_of(words(at_job), 0)
            take_batch(job, samples, np.int64(0), samples, np.int64(0), at_order, scratch, np.int64(BOTH))
            if job[SPARSE] and not job[SCATTERED]:
                sparse.sort_by_column(job, layer_of(job, 0), samples, np.int64(0), at_order, scratch)
        return stamp

    return run


# ---------------------------------------------------------------- what is above the first layer


def make_above(stamp: int, cache: bool) -> Any:
    """All layers above the first, and plain gradient descent at a rate of 0, for samples 0..samples of the order."""

    @kernel(cache)
    def run(at_job: int, samples: int, at_order: int, at_steps: int, times: int) -> int:
        whole()
        for _ in range(times):
            job, start = words(at_job), np.int64(0)
            weight = float(samples)
            over_samples(job, start, np.int64(TRAIN), start, samples, start, samples, start, weight, at_order, True,
                         start)  # fmt: skip
            for number in range(job[GRANULES]):
                if granule_of(job, number)[OF_LAYER] > 0:
                    over_rows(job, start, number, number + 1, samples, False, doubles(at_steps))
        return stamp

    return run


def make_update(stamp: int, cache: bool) -> Any:
    """The gradients of a batch's pieces added up, and plain gradient descent of all weights, at a rate of 0."""

    @kernel(cache)
    def run(at_job: int, samples: int, at_steps: int, times: int) -> int:
        whole()
        for _ in range(times):
            job = words(at_job)
            over_rows(job, np.int64(0), np.int64(0), job[GRANULES], samples, False, doubles(at_steps))
        return stamp

    return run


# ---------------------------------------------------------------- the bare tiles
# run(a, b, c, depth, times): at b the panels of TILES, `depth` rows of 16 floats each, and at c those of its sums.

# Rows and panels of the largest tile of each kind.
TILES = {
    "tile by samples": (WIDE_ROWS or TILE_ROWS, WIDTH),
    "tile by units": (WIDE_UNITS or TILE_ROWS, WIDTH),
}


def make_tile_by_samples(stamp: int, cache: bool) -> Any:
    """c = d + A B; A's samples in panels, next to each other, at a. d is a row behind c, the same in all panels."""
    rows, panels = TILES["tile by samples"]

    @kernel(cache)
    def run(at_a: int, at_b: int, at_c: int, depth: int, times: int) -> int:
        whole()
        for _ in range(times):
            size, start = dense.tile_size(rows, panels), at_c + FLOAT * PANEL * rows * panels
            tile_by_samples(size, at_a, PANEL * rows, at_b, PANEL, PANEL * depth, depth, start, 0, 0, at_c,
                            PANEL * rows, 0, NONE)  # fmt: skip
        return stamp

    return run


def make_tile_by_units(stamp: int, cache: bool) -> Any:
    """c += A^T B; of A's `depth` rows of 16 floats the first columns, at a."""
    rows, panels = TILES["tile by units"]

    @kernel(cache)
    def run(at_a: int, at_b: int, at_c: int, depth: int, times: int) -> int:
        whole()
        for _ in range(times):
            tile_by_units(dense.tile_size(rows, panels), at_a, at_b, PANEL * depth, depth, at_c, np.int64(PANEL),
                          PANEL * rows, at_c, np.int64(PANEL), PANEL * rows)  # fmt: skip
        return stamp

    return run


# ---------------------------------------------------------------- tiles that skip zeros
# run(a, b, c, count, times): all sums begin with zeros.


def make_skip_by_samples(stamp: int, cache: bool) -> Any:
    """c = A B, of `count` samples with BITS units in panels at a, and ABREAST panels at b."""

    @kernel(cache)
    def run(at_a: int, at_b: int, at_c: int, count: int, times: int) -> int:
        whole()
        for _ in range(times):
            skip_by_samples(1, at_a, PANEL * count, at_b, PANEL, PANEL * BITS, BITS, 0, 0, 0, count, at_c,
                            PANEL * count, 0, NONE)  # fmt: skip
        return stamp

    return run


def make_skip_by_units(stamp: int, cache: bool) -> Any:
    """c = A^T B, of BITS samples with `count` units, no more than a panel, at a, and ABREAST panels at b."""

    @kernel(cache)
    def run(at_a: int, at_b: int, at_c: int, count: int, times: int) -> int:
        whole()
        for _ in range(times):
            skip_by_units(1, at_a, at_b, PANEL * BITS, BITS, count, 0, at_c, PANEL, PANEL * count)
        return stamp

    return run


# ---------------------------------------------------------------- by name

# Each with the number of its integers.
PROBES: dict[str, tuple[Callable[[int, bool], Any], int]] = {
    "forward": (make_forward, 3),
    "backward": (make_backward, 3),
    "gradient": (make_gradient, 3),
    "sparse forward": (make_sparse_forward, 3),
    "sparse gradient": (make_sparse_gradient, 4),
    "take": (make_take, 4),
    "above": (make_above, 5),
    "update": (make_update, 4),
    "tile by samples": (make_tile_by_samples, 5),
    "tile by units": (make_tile_by_units, 5),
    "tile by samples, zeros": (make_skip_by_samples, 5),
    "tile by units, zeros": (make_skip_by_units, 5),
}


def probe(name: str) -> Any:
    """The compiled probe of a name of `PROBES`: compiled now, or found in the cache."""
    make, integers = PROBES[name]
    return launch.compiled(make, lambda kernel: kernel(*[0] * integers))[0]
