"""The first layer on the non-zero values of its input, for one thread. `job` are the job's words, `w` the layer's.

A sample's values are listed with their columns once a step, block of columns by block. Forward, a list picks rows of W;
back, the lists of a batch either scatter the deltas into rows of the gradient, or are sorted by column first, and each
column's samples pick rows of the deltas.
"""

import numpy as np

from fastnn.kernels.compiling import part
from fastnn.kernels.plan import (
    AT_COLUMN_SAMPLES,
    AT_COLUMN_VALUES,
    AT_CURSOR,
    AT_DELTAS,
    AT_EDGES,
    AT_INDEX,
    AT_SCALE,
    AT_STARTS,
    AT_VALUE,
    AT_X,
    BLOCKS,
    BYTES,
    INPUT,
    INPUTS,
    JUMP,
    OFFSET,
    ROOM,
    SCATTERED,
    STRIDE,
    SUMS,
)
from fastnn.kernels.simd import PANELS_AT_ONCE, accumulate, accumulate_apart, floats, ints, list_values, scatter, words
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
    jump, blocks, stride, room = job[JUMP], job[BLOCKS], w[STRIDE], job[ROOM]
    weights = parameters + FLOAT * w[OFFSET]
    bias = weights + FLOAT * w[INPUTS] * stride
    if job[SCATTERED]:  # a narrow layer: the whole list at once, on sums kept apart
        for i in range(first, last):
            count = ints(job[AT_STARTS] + FLOAT * i * (blocks + 1))[blocks]
            index, value = job[AT_INDEX] + FLOAT * i * room, job[AT_VALUE] + FLOAT * i * room
            z = out + FLOAT * PANEL * i
            start = z
            target = floats(z)
            for p in range(stride // PANEL):
                b = floats(bias + FLOAT * PANEL * p)
                for o in range(PANEL):
                    target[p * jump + o] = b[o]
            if stride // PANEL * 2 <= PANELS_AT_ONCE:
                accumulate_apart(stride // PANEL, index, value, count, weights, stride, PANEL, start, z, jump)
            else:
                accumulate(stride // PANEL, index, value, count, weights, stride, PANEL, start, z, jump)
        return
    for p in range(0, stride // PANEL, PANELS_AT_ONCE):
        panels = min(PANELS_AT_ONCE, stride // PANEL - p)
        for i in range(first, last):
            for q in range(p, p + panels):
                target, b = floats(out + FLOAT * (q * jump + PANEL * i)), floats(bias + FLOAT * PANEL * q)
                for o in range(PANEL):
                    target[o] = b[o]
        for block in range(blocks):
            for i in range(first, last):
                starts = ints(job[AT_STARTS] + FLOAT * i * (blocks + 1))
                at = FLOAT * (i * room + starts[block])
                z = out + FLOAT * (p * jump + PANEL * i)
                accumulate(panels, job[AT_INDEX] + at, job[AT_VALUE] + at, starts[block + 1] - starts[block],
                           weights + FLOAT * PANEL * p, stride, PANEL, z, z, jump)  # fmt: skip


@part
def scatter_gradient(job, w, first, last, samples, scratch):  # type: ignore[no-untyped-def]
    """Sum the rows of the gradient in blocks first..last of columns, at their places in scratch[SUMS]."""
    edges, blocks, stride = words(job[AT_EDGES]), job[BLOCKS], w[STRIDE]
    sums = floats(scratch[SUMS])
    for k in range(edges[first] * stride, edges[last] * stride):
        sums[k] = F(0)
    for i in range(samples):
        starts = ints(job[AT_STARTS] + FLOAT * i * (blocks + 1))
        at = FLOAT * (i * job[ROOM] + starts[first])
        delta = w[AT_DELTAS] + FLOAT * PANEL * i
        scatter(stride // PANEL, job[AT_INDEX] + at, job[AT_VALUE] + at, starts[last] - starts[first], delta,
                job[JUMP], scratch[SUMS], stride)  # fmt: skip


@part
def sort_by_column(job, first, last, samples):  # type: ignore[no-untyped-def]
    """The batch's lists by columns, in blocks first..last of columns: a counting sort (Knuth, TAOCP 3, 5.2).

    Afterwards the values of column k end at ``cursor[k]``; they begin where those of the column before end, which may
    be in a block that another thread sorts.
    """
    edges, blocks, cursor = words(job[AT_EDGES]), job[BLOCKS], ints(job[AT_CURSOR])
    to_sample, to_value = ints(job[AT_COLUMN_SAMPLES]), floats(job[AT_COLUMN_VALUES])
    for k in range(edges[first], edges[last]):
        cursor[k] = 0
    before = 0
    for i in range(samples):
        starts, index = ints(job[AT_STARTS] + FLOAT * i * (blocks + 1)), ints(job[AT_INDEX] + FLOAT * i * job[ROOM])
        before += starts[first]
        for q in range(starts[first], starts[last]):
            cursor[index[q]] += 1
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


@part
def column_gradient(job, w, begin, end, p, panels, zeros, out):  # type: ignore[no-untyped-def]
    """A row of the gradient, from the sorted values begin..end of its column: `panels` panels from p on, at `out`."""
    at = FLOAT * begin
    deltas = w[AT_DELTAS] + FLOAT * p * job[JUMP]
    accumulate(panels, job[AT_COLUMN_SAMPLES] + at, job[AT_COLUMN_VALUES] + at, end - begin, deltas, PANEL, job[JUMP],
               zeros, out, PANEL)  # fmt: skip
