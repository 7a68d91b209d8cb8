"""The first layer on the non-zero values of its input, for one thread. `job` are the job's words, `w` the layer's.

A sample's values are listed with their columns once a step, block of columns by block. Forward, a list picks rows of W;
back, the lists of a batch either scatter the deltas into rows of the gradient, or are sorted by column first, and each
column's samples pick rows of the deltas.
"""

import numpy as np

from fastnn.kernels.compiling import part
from fastnn.kernels.plan import (
    AT_DELTAS,
    AT_EDGES,
    AT_INDEX,
    AT_SCALE,
    AT_SHARES,
    AT_STARTS,
    AT_VALUE,
    AT_X,
    BLOCKS,
    BOUNDS,
    BYTES,
    COLUMN_SAMPLES,
    COLUMN_VALUES,
    INPUT,
    INPUTS,
    JUMP,
    OFFSET,
    ROOM,
    SCATTERED,
    STRIDE,
)
from fastnn.kernels.simd import PANELS_AT_ONCE, floats, gather, ints, list_values, scatter, words
from fastnn.layers import LANES as PANEL

F = np.float32
FLOAT = 4  # bytes
WORD = 8


@part
def unpack(job, r, i):  # type: ignore[no-untyped-def]
    """List the values of row r of the input that are not zero, scaled, as sample i of the batch."""
    edges, blocks, inputs = words(job[AT_EDGES]), job[BLOCKS], words(job[AT_EDGES])[job[BLOCKS]]
    at = FLOAT * i * job[ROOM]
    starts = job[AT_STARTS] + FLOAT * i * (blocks + 1)
    ints(starts)[0] = 0
    x = job[AT_X] + r * inputs * (1 if job[INPUT] == BYTES else FLOAT)
    for block in range(blocks):
        list_values(job[INPUT], x, job[AT_SCALE], edges[block], edges[block + 1], job[AT_INDEX] + at,
                    job[AT_VALUE] + at, starts + FLOAT * block)  # fmt: skip


@part
def forward(job, w, first, last, parameters, out):  # type: ignore[no-untyped-def]
    """Z of samples first..last, in panels at `out`."""
    jump, blocks, stride, room, inputs = job[JUMP], job[BLOCKS], w[STRIDE], job[ROOM], w[INPUTS]
    weights, starts = parameters + FLOAT * w[OFFSET], job[AT_STARTS] + FLOAT * first * (blocks + 1)
    panels, at_once = stride // PANEL, blocks if job[SCATTERED] else 1  # a narrow layer takes the whole lists at once
    groups = (panels + PANELS_AT_ONCE - 1) // PANELS_AT_ONCE
    for group in range(groups):
        p, end = panels * group // groups, panels * (group + 1) // groups
        z, columns = out + FLOAT * (p * jump + PANEL * first), weights + FLOAT * PANEL * p
        for block in range(0, blocks, at_once):
            begin, step, apart = columns + FLOAT * inputs * stride, 0, PANEL  # the bias, then what is there already
            if block:
                begin, step, apart = z, PANEL, jump
            gather(end - p, job[AT_INDEX] + FLOAT * first * room, job[AT_VALUE] + FLOAT * first * room,
                   starts + FLOAT * block, starts + FLOAT * (block + at_once), blocks + 1, room, last - first,
                   columns, stride, begin, step, apart, z, jump)  # fmt: skip


@part
def scatter_gradient(job, w, begin, end, samples, sums, scale):  # type: ignore[no-untyped-def]
    """Add `scale` times the gradient's rows of blocks begin..end of columns to those of the matrix at `sums`."""
    blocks, stride = job[BLOCKS], w[STRIDE]
    panels, starts = stride // PANEL, job[AT_STARTS]
    for p in range(0, panels, PANELS_AT_ONCE):
        scatter(min(PANELS_AT_ONCE, panels - p), job[AT_INDEX], job[AT_VALUE], starts + FLOAT * begin,
                starts + FLOAT * end, blocks + 1, job[ROOM], samples, w[AT_DELTAS] + FLOAT * p * job[JUMP], job[JUMP],
                sums + FLOAT * PANEL * p, stride, scale)  # fmt: skip


@part
def sort_by_column(job, thread, samples, scratch):  # type: ignore[no-untyped-def]
    """The batch's lists by columns, for this thread's columns only: a counting sort (Knuth, TAOCP 3, 5.2).

    Afterwards the values of column k lie between ``bounds[k]`` and ``bounds[k + 1]``.
    """
    edges, shares, blocks = words(job[AT_EDGES]), words(job[AT_SHARES]), job[BLOCKS]
    first, last = shares[thread], shares[thread + 1]
    ints(scratch[BOUNDS])[edges[first]] = 0
    cursor = ints(scratch[BOUNDS] + FLOAT)  # where a column ends, the next one begins
    to_sample, to_value = ints(scratch[COLUMN_SAMPLES]), floats(scratch[COLUMN_VALUES])
    for k in range(edges[first], edges[last]):
        cursor[k] = 0
    for i in range(samples):
        starts, index = ints(job[AT_STARTS] + FLOAT * i * (blocks + 1)), ints(job[AT_INDEX] + FLOAT * i * job[ROOM])
        for q in range(starts[first], starts[last]):
            cursor[index[q]] += 1
    before = 0
    for k in range(edges[first], edges[last]):
        n = cursor[k]
        cursor[k] = before
        before += n
    for i in range(samples):
        starts, index = ints(job[AT_STARTS] + FLOAT * i * (blocks + 1)), ints(job[AT_INDEX] + FLOAT * i * job[ROOM])
        value = floats(job[AT_VALUE] + FLOAT * i * job[ROOM])
        for q in range(starts[first], starts[last]):
            place = cursor[index[q]]
            to_sample[place] = i
            to_value[place] = value[q]
            cursor[index[q]] = place + 1
