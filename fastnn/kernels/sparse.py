"""The first layer on the non-zero values of its input, for one thread. `job` are the job's words, `w` the layer's.

A sample's values are listed with their columns, block of columns by block, by each thread for itself: that takes less
than waiting for another core's lists. Forward, a list picks rows of W; back, the lists of a batch either scatter the
deltas into rows of the gradient, or are sorted by column first, and each column's samples pick rows of the deltas.
In training threads share out the units: so a core's part of W stays in its cache.
"""

import numpy as np

from fastnn.kernels.compiling import part
from fastnn.kernels.plan import (
    AT_DELTAS,
    AT_EDGES,
    AT_PARAMETERS,
    AT_SCALE,
    AT_X,
    BLOCKS,
    BOUNDS,
    BYTES,
    COLUMN_SAMPLES,
    COLUMN_VALUES,
    GROUPS,
    INDEX,
    INPUT,
    INPUTS,
    JUMP,
    LISTED,
    OFFSET,
    PANELS,
    STARTS,
    STRIDE,
    VALUE,
)
from fastnn.kernels.simd import (
    PANELS_APART,
    column_descent,
    column_sums,
    fetch_panel,
    floats,
    gather,
    gather_apart,
    ints,
    list_values,
    scatter,
    words,
)
from fastnn.layers import LANES as PANEL

F = np.float32
FLOAT, LINE = 4, 64  # bytes; of a cache line
AHEAD = (
    2  # samples: their rows are fetched while another one is listed; 784-30-10, batch 10, shuffled: 49 ms, 41 with it
)


@part
def unpack(job, origin, first, last, begin, at_order, scratch):  # type: ignore[no-untyped-def]
    """List the values that are not zero, scaled, of samples first..last of the batch that begins at `begin`.

    The lists follow each other, from that of sample `origin` on.
    """
    edges, blocks, order = words(job[AT_EDGES]), job[BLOCKS], words(at_order)
    inputs = edges[blocks]
    row = inputs * (1 if job[INPUT] == BYTES else FLOAT)
    for i in range(first, last):
        fetch_panel(
            1, job[AT_X] + order[begin + min(i + AHEAD, last - 1)] * row, LINE // FLOAT, (row + LINE - 1) // LINE
        )
        starts = scratch[STARTS] + FLOAT * i * (blocks + 1)
        ints(starts)[0] = ints(starts)[-1] if i > origin else 0
        x = job[AT_X] + order[begin + i] * row
        for block in range(blocks):
            list_values(job[LISTED], x, job[AT_SCALE], edges[block], edges[block + 1], scratch[INDEX], scratch[VALUE],
                        starts + FLOAT * block)  # fmt: skip


@part
def group_of(job, w, group):  # type: ignore[no-untyped-def]
    """The first panel of a group of the first layer's, and how many it has."""
    panels, groups = w[PANELS], job[GROUPS]
    return panels * group // groups, panels * (group + 1) // groups - panels * group // groups


@part
def forward(job, w, first, last, begin_group, end_group, out, scratch):  # type: ignore[no-untyped-def]
    """Z of samples first..last, which have been listed, for some groups of units; in panels at `out`."""
    jump, blocks, stride, inputs = job[JUMP], job[BLOCKS], w[STRIDE], w[INPUTS]
    weights = job[AT_PARAMETERS] + FLOAT * w[OFFSET]
    starts = scratch[STARTS] + FLOAT * first * (blocks + 1)
    for group in range(begin_group, end_group):
        p, panels = group_of(job, w, group)
        z, columns = out + FLOAT * (p * jump + PANEL * first), weights + FLOAT * PANEL * p
        for block in range(blocks):
            begin, step, apart = columns + FLOAT * inputs * stride, 0, PANEL  # the bias, then what is there already
            if block:
                begin, step, apart = z, PANEL, jump
            here = starts + FLOAT * block
            if w[PANELS] <= PANELS_APART:
                gather_apart(panels, scratch[INDEX], scratch[VALUE], here, here + FLOAT, blocks + 1, last - first,
                             columns, stride, begin, step, apart, z, jump)  # fmt: skip
            else:
                gather(panels, scratch[INDEX], scratch[VALUE], here, here + FLOAT, blocks + 1, last - first, columns,
                       stride, begin, step, apart, z, jump)  # fmt: skip


@part
def scatter_gradient(job, w, p, panels, samples, matrix, stride, scale, scratch):  # type: ignore[no-untyped-def]
    """Add `scale` times the gradient, of `panels` panels from p on, to the rows of a matrix."""
    deltas, starts = w[AT_DELTAS] + FLOAT * p * job[JUMP], scratch[STARTS]
    scatter(panels, scratch[INDEX], scratch[VALUE], starts, starts + FLOAT * job[BLOCKS], job[BLOCKS] + 1, samples,
            deltas, job[JUMP], matrix, stride, scale)  # fmt: skip


@part
def sort_by_column(w, samples, blocks, scratch):  # type: ignore[no-untyped-def]
    """The batch's lists by columns: a counting sort (Knuth, TAOCP 3, 5.2).

    Afterwards the values of column k lie between ``bounds[k]`` and ``bounds[k + 1]``.
    """
    bounds, cursor = ints(scratch[BOUNDS]), ints(scratch[BOUNDS] + FLOAT)  # where a column ends, the next one begins
    index, value = ints(scratch[INDEX]), floats(scratch[VALUE])
    to_sample, to_value = ints(scratch[COLUMN_SAMPLES]), floats(scratch[COLUMN_VALUES])
    starts = ints(scratch[STARTS])
    for k in range(w[INPUTS] + 1):
        bounds[k] = 0
    for q in range(starts[samples * (blocks + 1) - 1]):
        cursor[index[q]] += 1
    before = 0
    for k in range(w[INPUTS]):
        n = cursor[k]
        cursor[k] = before
        before += n
    for i in range(samples):
        for q in range(starts[i * (blocks + 1)], starts[i * (blocks + 1) + blocks]):
            place = cursor[index[q]]
            to_sample[place] = i
            to_value[place] = value[q]
            cursor[index[q]] = place + 1


@part
def sum_columns(job, w, first, last, p, panels, out, scratch):  # type: ignore[no-untyped-def]
    """The gradient's rows of sorted columns first..last: `panels` panels from p on, at `out`, next to each other."""
    deltas, bounds = w[AT_DELTAS] + FLOAT * p * job[JUMP], scratch[BOUNDS] + FLOAT * first
    column_sums(panels, scratch[COLUMN_SAMPLES], scratch[COLUMN_VALUES], bounds, last - first, deltas, job[JUMP], out,
                PANEL * panels, F(1))  # fmt: skip


@part
def descend_columns(job, w, first, last, p, panels, rate, scratch):  # type: ignore[no-untyped-def]
    """Take `rate` times these rows of the gradient from W."""
    deltas, bounds = w[AT_DELTAS] + FLOAT * p * job[JUMP], scratch[BOUNDS] + FLOAT * first
    weights = job[AT_PARAMETERS] + FLOAT * (w[OFFSET] + w[STRIDE] * first + PANEL * p)
    column_descent(panels, scratch[COLUMN_SAMPLES], scratch[COLUMN_VALUES], bounds, last - first, deltas, job[JUMP],
                   weights, w[STRIDE], rate)  # fmt: skip
