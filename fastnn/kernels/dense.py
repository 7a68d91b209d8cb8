"""Dense layers in panels: forward, the way back, and rows of the gradient, for one thread. `w` are a layer's words.

Samples are shared out in tiles: those of two panels are the fewest that do, of nearly equal height, unless there are
too few samples for that. Each number is one sum in the order of its index, or one in each lane of a vector where a
layer has few outputs, whatever the tiles: so neither tiles nor threads change a bit.
"""

import numpy as np

from fastnn.kernels import active
from fastnn.kernels.compiling import part
from fastnn.kernels.cost import NEAR_FLOATS
from fastnn.kernels.lanes import dots
from fastnn.kernels.panels import TO_READ, copy_panel, fetch_panel, transpose_panel
from fastnn.kernels.plan import (
    AT_DELTAS,
    AT_INPUTS,
    AT_W,
    BLOCK,
    DEPTH,
    IN_LANES,
    INPUTS,
    OUTPUTS,
    PACKED,
    PANEL_STEP,
    PANELS,
    RECTIFIED,
    ROW_STEP,
    SKIPS,
    SKIPS_BACK,
    STRIDE,
    TILE,
)
from fastnn.kernels.simd import (
    FETCHING_ROWS,
    FETCHING_TILES,
    NONE,
    TILE_ROWS,
    WIDE_ROWS,
    WIDE_UNITS,
    WIDTH,
    floats,
    tile_by_samples,
    tile_by_units,
    tile_descent,
    tile_fetching,
)
from fastnn.layers import LANES as PANEL

F = np.float32
FLOAT = 4  # bytes
AT_ONCE = 128  # samples of a gradient's tile: their rows of three panels, 24 KiB, stay in a first-level cache
TILES_WORTH_A_COPY = 4  # rows of W are read in place by few tiles; more of them pay for a copy of rows side by side


@part
def clear(at, count):  # type: ignore[no-untyped-def]
    """Set `count` floats to zero."""
    values = floats(at)
    for j in range(count):
        values[j] = F(0)


@part
def add(first, second, count, out):  # type: ignore[no-untyped-def]
    """The sums of `count` floats at two addresses, at a third."""
    left, right, sums = floats(first), floats(second), floats(out)
    for j in range(count):
        sums[j] = left[j] + right[j]


@part
def tile_size(rows, panels):  # type: ignore[no-untyped-def]
    """The size of a tile (kernels/simd.py) of so many rows and panels, one or two."""
    return rows + PANEL * (panels - 1)


@part
def tiles_of(rows, panels, wide):  # type: ignore[no-untyped-def]
    """How many tiles `rows` rows of some panels take at least: of two, a tile has no more than `wide` of them."""
    most = TILE_ROWS if panels == 1 else wide
    return (rows + most - 1) // most


@part
def at_most(rows, most):  # type: ignore[no-untyped-def]
    """The rows of the largest tile that is no higher than so many: `most`, or a power of two."""
    if rows >= most:
        return np.int64(most)
    height = np.int64(PANEL // 2)
    while height > rows:
        height //= 2
    return height


@part
def next_height(rows, panels):  # type: ignore[no-untyped-def]
    """Of `rows` samples that are left, those of the next tile by some panels: of two, an equal share of the rest.

    A share of a half tile or less is put together from powers of two, as the last samples by one panel are.
    """
    if panels == 1:
        return at_most(rows, TILE_ROWS)
    tiles = tiles_of(rows, panels, WIDE_ROWS)
    height = (rows + tiles - 1) // tiles
    return height if height > WIDE_ROWS // 2 else at_most(rows, WIDE_ROWS // 2)


@part
def packed(scratch, q):  # type: ignore[no-untyped-def]
    """Where panel q of a tile's weights is copied to."""
    return scratch[PACKED] + FLOAT * PANEL * DEPTH * q


@part
def inputs_panels(w):  # type: ignore[no-untyped-def]
    """The panels that a layer's inputs take, with the 1 that a bias is the weight of."""
    return w[INPUTS] // PANEL + 1


@part
def panels_together(w):  # type: ignore[no-untyped-def]
    """Panels of units whose Z is best made before they are activated: few, as it is still near then.

    But all, where weights of the panels that come next must be fetched meanwhile, or zeros may be skipped. 32-64-64-4,
    batch 256, one thread, all at once and so: 29.2 and 28.8 ms.
    """
    return WIDTH if w[INPUTS] * w[STRIDE] <= NEAR_FLOATS and not w[SKIPS] else w[PANELS]


@part
def forward(w, inputs, jump, first, last, begin, end, out, scratch):  # type: ignore[no-untyped-def]
    """Z of samples first..last and panels begin..end of the units, in panels at `out`; of the inputs at `inputs`.

    Of a layer that is `RECTIFIED` not Z, but what its ReLU makes of that. Where Z is summed in all lanes, there is one
    panel.
    """
    depth, step, across = w[INPUTS], w[ROW_STEP], w[PANEL_STEP]
    samples = last - first
    if w[IN_LANES]:
        panels = inputs_panels(w)
        for p in range(panels):
            k = PANEL * p
            weights, packed_there = w[AT_W] + FLOAT * step * k, scratch[PACKED] + FLOAT * PANEL * k
            transpose_panel(1, weights, step, min(PANEL, depth + 1 - k), w[OUTPUTS], packed_there)
        place = FLOAT * PANEL * first
        dots(w[OUTPUTS], inputs + place, jump, scratch[PACKED], panels, samples, out + place)
        return
    skipping = active.abreast(w[SKIPS], end - begin)
    if active.pays(skipping, depth, inputs + FLOAT * PANEL * first, jump, depth, samples):
        active.forward(w, inputs, jump, first, last, begin, begin + skipping, out, scratch)
        begin += skipping
    for k in range(0, depth, DEPTH):
        rows = min(DEPTH, depth - k)
        least = F(0) if w[RECTIFIED] and k + rows == depth else NONE
        for p in range(begin, end, WIDTH):
            panels, weights = min(WIDTH, end - p), w[AT_W] + FLOAT * p * across
            tiles = tiles_of(samples, panels, WIDE_ROWS)
            right, right_step, right_jump = weights + FLOAT * k * step, step, across
            if tiles >= TILES_WORTH_A_COPY and step > PANEL and depth * step > NEAR_FLOATS:
                for q in range(panels):
                    copy_panel(1, right + FLOAT * q * across, step, rows, packed(scratch, q))
                right, right_step, right_jump = scratch[PACKED], PANEL, PANEL * DEPTH
            later = min(WIDTH, end - p - panels)  # panels, of which each tile fetches a part
            i = first
            while i < last:
                height = next_height(last - i, panels)
                z = out + FLOAT * (p * jump + PANEL * i)
                start, apart, start_jump = weights + FLOAT * depth * step, 0, across
                if k > 0:
                    start, apart, start_jump = z, PANEL, jump
                left, size = inputs + FLOAT * (k // PANEL * jump + PANEL * i), tile_size(height, panels)
                coming = weights + FLOAT * ((k + rows * (i - first) // samples) * step + panels * across)
                side_by_side = later == WIDTH and across == PANEL
                i += height
                if side_by_side and tiles >= FETCHING_TILES and height >= FETCHING_ROWS:
                    tile_fetching(size, left, jump, right, right_step, right_jump, rows, start, apart, start_jump, z,
                                  jump, np.int64(0), least, coming, step)  # fmt: skip
                    continue
                for q in range(later):
                    fetch_panel(TO_READ, coming + FLOAT * q * across, step, rows * height // samples)
                tile_by_samples(size, left, jump, right, right_step, right_jump, rows, start, apart, start_jump, z,
                                jump, np.int64(0), least)  # fmt: skip


@part
def backward(w, jump, first, last, begin, end, below, scratch):  # type: ignore[no-untyped-def]
    """The deltas of samples first..last in panels begin..end of the layer `below`: a factor each, times delta W^T.

    The factor is what stands there, or what its ReLU's outputs tell.
    """
    told_by, told = (w[AT_INPUTS], F(0)) if below[RECTIFIED] else (below[AT_DELTAS], NONE)
    inputs, outputs, stride = w[INPUTS], w[OUTPUTS], w[STRIDE]
    samples, skipping = last - first, active.abreast(w[SKIPS_BACK], end - begin)
    if active.pays(skipping, outputs, w[AT_DELTAS] + FLOAT * PANEL * first, jump, outputs, samples):
        active.backward(w, jump, first, last, begin, begin + skipping, below, scratch)
        begin += skipping
    for p in range(begin, end, WIDTH):
        panels = min(WIDTH, end - p)
        for o in range(0, outputs, DEPTH):
            columns = min(DEPTH, outputs - o)
            for q in range(panels):
                k = PANEL * (p + q)
                transpose_panel(1, w[AT_W] + FLOAT * (stride * k + o), stride, inputs - k, columns, packed(scratch, q))
                active.clear_beyond(packed(scratch, q), inputs - k, columns)
            # of the block of weights that comes next, each tile fetches some lines of its 16 or 32 rows
            next_p, next_o = (p, o + DEPTH) if o + DEPTH < outputs else (p + WIDTH, np.int64(0))
            lines = (min(DEPTH, outputs - next_o) + PANEL - 1) // PANEL
            i = np.int64(0)
            while i < samples:
                height = next_height(samples - i, panels)
                for line in range(lines * i // samples, lines * (i + height) // samples):
                    for k in range(PANEL * next_p, PANEL * min(next_p + WIDTH, end), PANEL):
                        place = stride * k + next_o + PANEL * line
                        fetch_panel(TO_READ, w[AT_W] + FLOAT * place, stride, min(PANEL, inputs - k))
                sums = scratch[TILE] + FLOAT * PANEL * i
                start, apart, start_jump, out, out_jump = np.int64(0), 0, 0, sums, PANEL * BLOCK
                if o > 0:
                    start, apart, start_jump = sums, PANEL, PANEL * BLOCK
                factors, least = np.int64(0), NONE
                if o + DEPTH >= outputs:
                    place = FLOAT * (p * jump + PANEL * (first + i))
                    out, out_jump, factors, least = below[AT_DELTAS] + place, jump, told_by + place, told
                left = w[AT_DELTAS] + FLOAT * (o // PANEL * jump + PANEL * (first + i))
                tile_by_samples(tile_size(height, panels), left, jump, scratch[PACKED], PANEL, PANEL * DEPTH, columns,
                                start, apart, start_jump, out, out_jump, factors, least)  # fmt: skip
                i += height


@part
def products(at_rows, at_panels, jump, first, samples, k, end, p, panels, fresh, out, step, across):  # type: ignore[no-untyped-def]
    """Sums over `samples` samples from `first` on: of units k..end at `at_rows` times panels from p at `at_panels`.

    Of inputs and deltas that is a part of the gradient. The rows are all in one panel; at `out` they are `step`
    floats apart, and those of `panels` panels, no more than WIDTH, `across`. Unless they are `fresh`, they are added
    to what stands there.
    """
    start, start_step, start_across = (np.int64(0), np.int64(0), np.int64(0)) if fresh else (out, step, across)
    most = TILE_ROWS if panels == 1 else WIDE_UNITS
    for i in range(0, samples, AT_ONCE):
        left = at_rows + FLOAT * (k // PANEL * jump + k % PANEL + PANEL * (first + i))
        right, depth = at_panels + FLOAT * (p * jump + PANEL * (first + i)), min(AT_ONCE, samples - i)
        row = np.int64(0)
        while row < end - k:
            height = at_most(end - k - row, most)
            tile_by_units(tile_size(height, panels), left + FLOAT * row, right, jump, depth,
                          start + FLOAT * start_step * row, start_step, start_across, out + FLOAT * step * row, step,
                          across)  # fmt: skip
            row += height
        start, start_step, start_across = out, step, across


@part
def descend(w, inputs, jump, samples, k, p, panels, rate, scratch):  # type: ignore[no-untyped-def]
    """Take `rate` times the gradient, summed over all `samples`, from W: rows k..k + 16, and `panels` panels from p."""
    last = (samples - 1) // AT_ONCE * AT_ONCE  # the samples before, which come in tiles of their own
    start, step = np.int64(0), np.int64(0)  # the sums that it starts from, if any
    if last:
        start, step = scratch[TILE], np.int64(PANEL)
        products(inputs, w[AT_DELTAS], jump, np.int64(0), last, k, k + PANEL, p, panels, np.bool_(True), start,
                 step, np.int64(PANEL * PANEL))  # fmt: skip
    tiles = tiles_of(np.int64(PANEL), panels, WIDE_UNITS)
    for row in range(0, PANEL, PANEL // tiles):
        left = inputs + FLOAT * (k // PANEL * jump + PANEL * last + row)
        right = w[AT_DELTAS] + FLOAT * (p * jump + PANEL * last)
        weights = w[AT_W] + FLOAT * (w[ROW_STEP] * (k + row) + w[PANEL_STEP] * p)
        tile_descent(tile_size(PANEL // tiles, panels), left, right, jump, samples - last, start + FLOAT * step * row,
                     step, PANEL * step, weights, w[ROW_STEP], w[PANEL_STEP], rate)  # fmt: skip
