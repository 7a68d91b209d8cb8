"""What becomes of a part of the gradient: it is stored, or the optimiser is applied to its parameters at once.

`job` are the job's words, `w` a layer's, `granule` a granule's (kernels/plan.py).
"""

import numpy as np

from fastnn.kernels import sparse
from fastnn.kernels.compiling import fast, part
from fastnn.kernels.phases import FLOAT, layer_of
from fastnn.kernels.plan import (
    AT_FIRST,
    AT_FIRST_STATE,
    AT_FIRST_STATE_2,
    AT_GRADIENT,
    AT_NUMBERS,
    AT_PARAMETERS,
    AT_STATE,
    AT_STATE_2,
    FIRST,
    FROM_PANEL,
    INPUTS,
    OF_GROUP,
    OF_PANELS,
    OFFSET,
    SECOND,
    STRIDE,
    UPDATE,
    WEIGHT_DECAY,
)
from fastnn.kernels.rows import UPDATE_CODES, update
from fastnn.kernels.simd import doubles, floats
from fastnn.layers import LANES as PANEL

F = np.float32
RATE, EPSILON, DECAY = 0, 1, 2  # columns of `steps`
SGD = UPDATE_CODES["sgd"]


@fast
def apply(job, weights, rows, n, stride, parameters, state, more, g, scale, hyper):  # type: ignore[no-untyped-def]
    """Apply the optimiser to n columns of some rows, `stride` apart, the first `weights` of which are no bias.

    They begin at `parameters`, and their state, if any, at `state` and `more`; their gradient is scale g.
    """
    numbers = doubles(job[AT_NUMBERS])
    if scale != F(1):
        values = floats(g)
        for j in range(rows * n):
            values[j] = values[j] * scale
    decay, keep = F(numbers[WEIGHT_DECAY]), F(1.0 - hyper[DECAY])
    if decay != F(0) or keep != F(1):
        for row in range(min(rows, weights)):
            p, values = floats(parameters + FLOAT * stride * row), floats(g + FLOAT * n * row)
            for o in range(n):
                values[o] = values[o] + decay * p[o]
                p[o] = p[o] * keep
    rate, epsilon = F(hyper[RATE]), F(hyper[EPSILON])
    first, second = numbers[FIRST], numbers[SECOND]
    update(job[UPDATE], rows, n, stride, parameters, g, state, more, rate, epsilon, F(first), F(1.0 - first), F(second),
           F(1.0 - second))  # fmt: skip


@part
def keep(job, w, k, rows, column, n, g):  # type: ignore[no-untyped-def]
    """Store a part of the gradient: n columns of rows k..k + rows."""
    values = floats(g)
    for row in range(rows):
        stored = floats(job[AT_GRADIENT] + FLOAT * (w[OFFSET] + w[STRIDE] * (k + row) + column))
        for o in range(n):
            stored[o] = values[n * row + o]


@part
def apply_flat(job, w, k, rows, column, n, g, scale, hyper):  # type: ignore[no-untyped-def]
    """Apply the optimiser to n columns of rows k..k + rows of a layer's W (row I is b), in the flat buffers."""
    at = FLOAT * (w[OFFSET] + w[STRIDE] * k + column)
    apply(job, w[INPUTS] - k, rows, n, w[STRIDE], job[AT_PARAMETERS] + at, job[AT_STATE] + at, job[AT_STATE_2] + at, g,
          scale, hyper)  # fmt: skip


@part
def pass_on(job, w, k, rows, column, n, g, store, hyper):  # type: ignore[no-untyped-def]
    """Store a part of the gradient, or apply it."""
    if store:
        keep(job, w, k, rows, column, n, g)
    else:
        apply_flat(job, w, k, rows, column, n, g, F(1), hyper)


@part
def pass_on_group(job, granule, k, rows, g, store, hyper):  # type: ignore[no-untyped-def]
    """The same for all columns of a group of the first layer's units."""
    w, group, n = layer_of(job, 0), granule[OF_GROUP], PANEL * granule[OF_PANELS]
    if store:
        keep(job, w, k, rows, PANEL * granule[FROM_PANEL], n, g)
    else:
        weights, stride = sparse.weights_of(job, group), sparse.stride_of(job, group)
        at = FLOAT * stride * k
        there = weights - job[AT_FIRST] + at
        apply(job, w[INPUTS] - k, rows, n, stride, weights + at, job[AT_FIRST_STATE] + there,
              job[AT_FIRST_STATE_2] + there, g, F(1), hyper)  # fmt: skip


@part
def descends(job, store, hyper):  # type: ignore[no-untyped-def]
    """Whether the update is plain gradient descent: W - rate times the gradient, and nothing else."""
    return not store and job[UPDATE] == SGD and doubles(job[AT_NUMBERS])[WEIGHT_DECAY] == 0 and hyper[DECAY] == 0
