"""The first layer on the non-zero values of its input, for one thread. `job` are the job's words, `w` the layer's.

A sample's values are listed with their columns once a step, block of columns by block. Forward, a list picks rows of W;
back, the lists of a batch either scatter the deltas into rows of the gradient, or are sorted by column first, and each
column's samples pick rows of the deltas.
"""

import numpy as np

from fastnn.kernels.compiling import part, spliced
from fastnn.kernels.plan import (
    AT_BOUNDS,
    AT_COLUMN_SAMPLES,
    AT_COLUMN_VALUES,
    AT_DELTAS,
    AT_EDGES,
    AT_INDEX,
    AT_PARAMETERS,
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
)
from fastnn.kernels.simd import (
    PANELS_AT_ONCE,
    column_descent,
    column_sums,
    floats,
    gather,
    ints,
    list_values,
    scatter,
    words,
)
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


@spliced
def groups_of(w):  # type: ignore[no-untyped-def]
    """How many groups of panels, as equal as can be, the sparse loops go through."""
    return (w[STRIDE] // PANEL + PANELS_AT_ONCE - 1) // PANELS_AT_ONCE


@spliced
def group_of(w, group):  # type: ignore[no-untyped-def]
    """The first panel of a group, and how many it has."""
    panels, groups = w[STRIDE] // PANEL, groups_of(w)
    return panels * group // groups, panels * (group + 1) // groups - panels * group // groups


@part
def forward(job, w, first, last, parameters, out):  # type: ignore[no-untyped-def]
    """Z of samples first..last, in panels at `out`."""
    jump, blocks, stride, room, inputs = job[JUMP], job[BLOCKS], w[STRIDE], job[ROOM], w[INPUTS]
    weights, starts = parameters + FLOAT * w[OFFSET], job[AT_STARTS] + FLOAT * first * (blocks + 1)
    at_once = blocks if job[SCATTERED] else 1  # a narrow layer takes the whole lists at once
    for group in range(groups_of(w)):
        p, panels = group_of(w, group)
        z, columns = out + FLOAT * (p * jump + PANEL * first), weights + FLOAT * PANEL * p
        for block in range(0, blocks, at_once):
            begin, step, apart = columns + FLOAT * inputs * stride, 0, PANEL  # the bias, then what is there already
            if block:
                begin, step, apart = z, PANEL, jump
            gather(panels, job[AT_INDEX] + FLOAT * first * room, job[AT_VALUE] + FLOAT * first * room,
                   starts + FLOAT * block, starts + FLOAT * (block + at_once), blocks + 1, room, last - first,
                   columns, stride, begin, step, apart, z, jump)  # fmt: skip


@part
def scatter_gradient(job, w, begin, end, samples, sums, scale):  # type: ignore[no-untyped-def]
    """Add `scale` times the gradient's rows of blocks begin..end of columns to those of the matrix at `sums`."""
    blocks, starts = job[BLOCKS], job[AT_STARTS]
    for group in range(groups_of(w)):
        p, panels = group_of(w, group)
        scatter(panels, job[AT_INDEX], job[AT_VALUE], starts + FLOAT * begin,
                starts + FLOAT * end, blocks + 1, job[ROOM], samples, w[AT_DELTAS] + FLOAT * p * job[JUMP], job[JUMP],
                sums + FLOAT * PANEL * p, w[STRIDE], scale)  # fmt: skip


@part
def sort_by_column(job, first, last, samples):  # type: ignore[no-untyped-def]
    """The batch's lists by columns, in blocks first..last of columns: a counting sort (Knuth, TAOCP 3, 5.2).

    Afterwards the values of column k lie between ``bounds[k]`` and ``bounds[k + 1]``.
    """
    edges, blocks = words(job[AT_EDGES]), job[BLOCKS]
    cursor = ints(job[AT_BOUNDS] + FLOAT)  # where a column ends, the next one begins; the first one at 0
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
def sum_columns(job, w, first, last, p, panels, out):  # type: ignore[no-untyped-def]
    """The gradient's rows of sorted columns first..last: `panels` panels from p on, at `out`, next to each other."""
    deltas, bounds = w[AT_DELTAS] + FLOAT * p * job[JUMP], job[AT_BOUNDS] + FLOAT * first
    column_sums(panels, job[AT_COLUMN_SAMPLES], job[AT_COLUMN_VALUES], bounds, last - first, deltas, job[JUMP], out,
                PANEL * panels, F(1))  # fmt: skip


@part
def descend_columns(job, w, first, last, p, panels, rate):  # type: ignore[no-untyped-def]
    """Take `rate` times these rows of the gradient from W."""
    deltas, bounds = w[AT_DELTAS] + FLOAT * p * job[JUMP], job[AT_BOUNDS] + FLOAT * first
    weights = job[AT_PARAMETERS] + FLOAT * (w[OFFSET] + w[STRIDE] * first + PANEL * p)
    column_descent(panels, job[AT_COLUMN_SAMPLES], job[AT_COLUMN_VALUES], bounds, last - first, deltas, job[JUMP],
                   weights, w[STRIDE], rate)  # fmt: skip
