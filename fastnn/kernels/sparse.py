"""The first layer on the non-zero values of its input, for one thread. `job` are the job's words, `w` the layer's.

A sample's values are listed with their columns, block of columns by block, by each thread for itself: that takes less
than waiting for another core's lists. Forward, a list picks rows of W; back, the lists of a batch either scatter the
deltas into rows of the gradient, or its values are sorted by column, and each column's samples pick rows of the deltas.
In training threads share out the units, or halves of the columns: so a core's part of W stays in its cache.
"""

import numpy as np

from fastnn.kernels.compiling import part
from fastnn.kernels.cost import FAR_PANELS, WORTH_A_RUN
from fastnn.kernels.inputs import later, row_at
from fastnn.kernels.listing import COMPRESSED, MANY, MOST_SORTED, list_values, sort_columns
from fastnn.kernels.plan import (
    AT_DELTAS,
    AT_EDGES,
    AT_FIRST,
    AT_GROUPS,
    AT_SCALE,
    AT_X,
    AT_X_COLUMNS,
    AT_X_STARTS,
    BLOCKS,
    BOUNDS,
    FAR,
    GROUP_BEGIN,
    GROUP_STRIDE,
    GROUP_WORDS,
    GROUPS,
    INPUT,
    INPUTS,
    JUMP,
    LISTED,
    PAIRS,
    PANELS,
    RECTIFIED,
    ROW,
    SCATTERED,
    SORTED,
    STARTS,
)
from fastnn.kernels.reading import ALIKE, LISTS
from fastnn.kernels.simd import (
    NONE,
    PANELS_APART,
    column_descent,
    column_sums,
    floats,
    gather,
    gather_apart,
    ints,
    scatter,
    words,
)
from fastnn.layers import LANES as PANEL

F = np.float32
FLOAT, WORD = 4, 8  # bytes
COLUMN = 2**32 - 1  # the bits of a pair that are its column


@part
def copy_list(job, row, starts, scratch, first, last):  # type: ignore[no-untyped-def]
    """List a row of the data that is a list already, scaled, of blocks first..last of columns."""
    edges, begins, scale, start = words(job[AT_EDGES]), words(job[AT_X_STARTS]), floats(job[AT_SCALE]), ints(starts)
    columns, values, pairs = ints(job[AT_X_COLUMNS]), floats(job[AT_X]), scratch[PAIRS]
    place, q, end = np.int64(start[first]), begins[row], begins[row + 1]
    while first > 0 and q < end and columns[q] < edges[first]:
        q += 1
    for block in range(first, last):
        while q < end and columns[q] < edges[block + 1]:
            pair = pairs + WORD * place
            ints(pair)[0], floats(pair)[1] = columns[q], values[q] * scale[columns[q]]
            place += 1
            q += 1
        start[block + 1] = place


@part
def blocks_of(job, halves):  # type: ignore[no-untyped-def]
    """The blocks of columns, from which to which, that are some halves of them."""
    return np.int64(0 if halves & 1 else 1), job[BLOCKS] if halves & 2 else np.int64(1)


@part
def unpack(job, origin, first, last, begin, end, at_order, scratch, halves):  # type: ignore[no-untyped-def]
    """List the values that are not zero, scaled, of samples first..last of the batch that begins at `begin`.

    The lists, of some halves of the columns, follow each other from that of sample `origin` on. Rows to come are
    fetched, up to place `end` of the order.
    """
    edges, blocks = words(job[AT_EDGES]), job[BLOCKS]
    from_block, to_block = blocks_of(job, halves)
    for i in range(first, last):
        starts = scratch[STARTS] + FLOAT * i * (blocks + 1)
        ints(starts)[from_block] = ints(starts)[to_block - blocks - 1] if i > origin else 0
        if job[INPUT] == LISTS:
            copy_list(job, words(at_order)[begin + i], starts, scratch, from_block, to_block)
            continue
        inputs = edges[blocks]
        x = row_at(job, inputs, at_order, begin + i)
        fetched = row_at(job, inputs, at_order, later(job, begin + i, end))
        for block in range(from_block, to_block):
            list_values(job[LISTED], x, fetched, job[AT_SCALE], edges[block], edges[block + 1], scratch[PAIRS],
                        starts + FLOAT * block)  # fmt: skip


@part
def stride_of(job, group):  # type: ignore[no-untyped-def]
    """Floats from one row of a group's columns of W to the next."""
    return words(job[AT_GROUPS] + WORD * GROUP_WORDS * group)[GROUP_STRIDE]


@part
def weights_of(job, group):  # type: ignore[no-untyped-def]
    """The address of a group's columns of W, row 0."""
    return job[AT_FIRST] + FLOAT * words(job[AT_GROUPS] + WORD * GROUP_WORDS * group)[GROUP_BEGIN]


@part
def group_of(job, w, group):  # type: ignore[no-untyped-def]
    """The first panel of a group of the first layer's, and how many it has."""
    panels, groups = w[PANELS], job[GROUPS]
    return panels * group // groups, panels * (group + 1) // groups - panels * group // groups


@part
def gather_size(w, panels):  # type: ignore[no-untyped-def]
    """The size of `gather_apart` for some panels: how their sums are kept apart depends on all that a layer has."""
    return panels if w[PANELS] <= PANELS_APART else PANEL + panels


@part
def forward(job, w, first, last, begin_group, end_group, out, scratch):  # type: ignore[no-untyped-def]
    """Z of samples first..last, which have been listed, for some groups of units; in panels at `out`.

    Of a layer that is `RECTIFIED` what its ReLU makes of Z, unless its gradient is `SCATTERED`.
    """
    jump, blocks, inputs = job[JUMP], job[BLOCKS], w[INPUTS]
    starts = scratch[STARTS] + FLOAT * first * (blocks + 1)
    for group in range(begin_group, end_group):
        p, panels = group_of(job, w, group)
        z, columns, stride = out + FLOAT * (p * jump + PANEL * first), weights_of(job, group), stride_of(job, group)
        for turn in range(blocks):
            least = F(0) if w[RECTIFIED] and turn == blocks - 1 else NONE
            block = blocks - 1 - turn if job[SCATTERED] else turn  # of two halves the last one has the bias
            begin, step, apart = columns + FLOAT * inputs * stride, 0, PANEL  # the bias, then what is there already
            if turn:
                begin, step, apart = z, PANEL, jump
            here = starts + FLOAT * block
            if job[SCATTERED]:
                gather_apart(gather_size(w, panels), scratch[PAIRS], here, here + FLOAT, blocks + 1, last - first,
                             columns, stride, begin, step, apart, z, jump)  # fmt: skip
            else:
                gather(panels, scratch[PAIRS], here, here + FLOAT, blocks + 1, last - first, columns, stride, begin,
                       step, apart, z, jump, least)  # fmt: skip


@part
def forward_half(job, w, samples, half, out, scratch):  # type: ignore[no-untyped-def]
    """What a half of the columns gives to Z of a batch's samples, in panels at `out`; the last one with the bias."""
    blocks, stride, columns = job[BLOCKS], stride_of(job, 0), weights_of(job, 0)
    starts, begin, apart = scratch[STARTS] + FLOAT * half, columns + FLOAT * w[INPUTS] * stride, PANEL
    if half < blocks - 1:
        begin, apart = scratch[ROW], 0
        for j in range(PANEL):
            floats(begin)[j] = F(0)
    gather_apart(gather_size(w, w[PANELS]), scratch[PAIRS], starts, starts + FLOAT, blocks + 1, samples, columns,
                 stride, begin, 0, apart, out, job[JUMP])  # fmt: skip


@part
def scatter_gradient(job, w, p, panels, first, samples, halves, matrix, stride, scale, scratch):  # type: ignore[no-untyped-def]
    """Add `scale` times what `samples` samples from `first` on give to the gradient to the rows of a matrix.

    Of `panels` panels from p on, and some halves of the columns.
    """
    from_block, to_block = blocks_of(job, halves)
    deltas = w[AT_DELTAS] + FLOAT * (p * job[JUMP] + PANEL * first)
    starts = scratch[STARTS] + FLOAT * first * (job[BLOCKS] + 1)
    scatter(panels, scratch[PAIRS], starts + FLOAT * from_block, starts + FLOAT * to_block, job[BLOCKS] + 1, samples,
            deltas, job[JUMP], matrix, stride, scale)  # fmt: skip


@part
def sort_by_column(job, w, samples, begin, at_order, scratch):  # type: ignore[no-untyped-def]
    """The batch that begins at `begin`, of which there are lists, by columns: many bytes at once, by transposing them.

    Else its lists, by a counting sort (Knuth, TAOCP 3, 5.2). Afterwards the values of column k lie between
    ``bounds[k]`` and ``bounds[k + 1]``.
    """
    # a value is moved as the bits that it is, together with its sample: 20 us for 15,000 of them, apart 27
    listed, starts = words(scratch[PAIRS]), ints(scratch[STARTS])
    blocks = job[BLOCKS]
    count, runs = starts[samples * (blocks + 1) - 1], w[INPUTS] * ((samples + MANY - 1) // MANY)
    if COMPRESSED and job[LISTED] == ALIKE and samples <= MOST_SORTED and count >= WORTH_A_RUN * runs:
        sort_columns(1, job[AT_X], at_order + WORD * begin, samples, job[AT_SCALE], w[INPUTS], scratch[SORTED],
                     scratch[BOUNDS])  # fmt: skip
        return
    bounds, cursor = ints(scratch[BOUNDS]), ints(scratch[BOUNDS] + FLOAT)  # where a column ends, the next one begins
    ordered = words(scratch[SORTED])
    for k in range(w[INPUTS] + 1):
        bounds[k] = 0
    for q in range(count):
        cursor[listed[q] & COLUMN] += 1
    before = 0
    for k in range(w[INPUTS]):
        n = cursor[k]
        cursor[k] = before
        before += n
    for i in range(samples):
        for q in range(starts[i * (blocks + 1)], starts[i * (blocks + 1) + blocks]):
            column = listed[q] & COLUMN
            place = cursor[column]
            ordered[place] = np.int64(i) | listed[q] & ~COLUMN
            cursor[column] = place + 1


@part
def columns_size(job, panels):  # type: ignore[no-untyped-def]
    """The size of `column_sums` and `column_descent` for some panels."""
    return panels if job[FAR] else PANEL + panels


@part
def column_parts(job, panels):  # type: ignore[no-untyped-def]
    """How many parts some panels are summed in, so that their deltas stay near."""
    return (panels + FAR_PANELS - 1) // FAR_PANELS if job[FAR] else 1


@part
def sum_columns(job, w, first, last, p, panels, out, scratch):  # type: ignore[no-untyped-def]
    """The gradient's rows of sorted columns first..last: `panels` panels from p on, at `out`, next to each other."""
    jump, bounds, parts = job[JUMP], scratch[BOUNDS] + FLOAT * first, column_parts(job, panels)
    for number in range(parts):
        q, end = panels * number // parts, panels * (number + 1) // parts
        column_sums(columns_size(job, end - q), scratch[SORTED], bounds, last - first,
                    w[AT_DELTAS] + FLOAT * (p + q) * jump, jump, out + FLOAT * PANEL * q, PANEL * panels,
                    F(1))  # fmt: skip


@part
def descend_columns(job, w, first, last, p, panels, weights, stride, rate, scratch):  # type: ignore[no-untyped-def]
    """Take `rate` times these rows of the gradient from those at `weights`, `stride` apart."""
    jump, bounds, parts = job[JUMP], scratch[BOUNDS] + FLOAT * first, column_parts(job, panels)
    for number in range(parts):
        q, end = panels * number // parts, panels * (number + 1) // parts
        column_descent(columns_size(job, end - q), scratch[SORTED], bounds, last - first,
                       w[AT_DELTAS] + FLOAT * (p + q) * jump, jump, weights + FLOAT * PANEL * q, stride,
                       rate)  # fmt: skip
