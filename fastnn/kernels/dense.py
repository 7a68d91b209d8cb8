"""Dense layers in panels: forward, the way back, and rows of the gradient, for one thread. `w` are a layer's words.

Samples are shared out in tiles of nearly equal height, which are the fewest that do. Each number is one sum in the
order of its index, whatever the tiles: so neither tiles nor threads change a bit.
"""

import numpy as np

from fastnn.kernels.compiling import part
from fastnn.kernels.panels import copy_panel, fetch_panel, transpose_panel
from fastnn.kernels.plan import (
    AT_DELTAS,
    AT_W,
    BLOCK,
    DEPTH,
    INPUTS,
    OUTPUTS,
    PACKED,
    PANEL_STEP,
    ROW,
    ROW_STEP,
    STRIDE,
    TILE,
)
from fastnn.kernels.simd import (
    FETCHING_ROWS,
    FETCHING_TILES,
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
# Rows of W are read in place by few tiles; more of them pay for a copy whose rows lie next to each other. But not where
# all of W stays in a first-level cache: 32-64-64-4, batch 256, two threads: 21.6 ms with copies, and 20.9 without.
TILES_WORTH_A_COPY, FLOATS_WORTH_A_COPY = 4, 2**12


@part
def clear(at, count):  # type: ignore[no-untyped-def]
    """Set `count` floats to zero."""
    values = floats(at)
    for j in range(count):
        values[j] = F(0)


@part
def tile_size(rows, panels):  # type: ignore[no-untyped-def]
    """The size of a tile (kernels/simd.py) of so many rows and panels, one or two."""
    return rows + PANEL * (panels - 1)


@part
def tiles_of(rows, panels, wide):  # type: ignore[no-untyped-def]
    """How many tiles `rows` rows of some panels take: of two panels, a tile has no more than `wide` of them."""
    most = TILE_ROWS if panels == 1 else wide
    return (rows + most - 1) // most


@part
def packed(scratch, q):  # type: ignore[no-untyped-def]
    """Where panel q of a tile's weights is copied to."""
    return scratch[PACKED] + FLOAT * PANEL * DEPTH * q


@part
def forward(w, inputs, jump, first, last, begin, end, out, scratch):  # type: ignore[no-untyped-def]
    """Z of samples first..last and panels begin..end of the units, in panels at `out`; of the inputs at `inputs`."""
    depth, step, across = w[INPUTS], w[ROW_STEP], w[PANEL_STEP]
    samples = last - first
    for k in range(0, depth, DEPTH):
        rows = min(DEPTH, depth - k)
        for p in range(begin, end, WIDTH):
            panels, weights = min(WIDTH, end - p), w[AT_W] + FLOAT * p * across
            tiles = tiles_of(samples, panels, WIDE_ROWS)
            right, right_step, right_jump = weights + FLOAT * k * step, step, across
            if tiles >= TILES_WORTH_A_COPY and step > PANEL and depth * step > FLOATS_WORTH_A_COPY:
                for q in range(panels):
                    copy_panel(1, right + FLOAT * q * across, step, rows, packed(scratch, q))
                right, right_step, right_jump = scratch[PACKED], PANEL, PANEL * DEPTH
            later = min(WIDTH, end - p - panels)  # panels, of which each tile fetches a part
            for tile in range(tiles):
                i, stop = first + samples * tile // tiles, first + samples * (tile + 1) // tiles
                z = out + FLOAT * (p * jump + PANEL * i)
                start, apart, start_jump = weights + FLOAT * depth * step, 0, across
                if k > 0:
                    start, apart, start_jump = z, PANEL, jump
                left, size = inputs + FLOAT * (k // PANEL * jump + PANEL * i), tile_size(stop - i, panels)
                coming = weights + FLOAT * ((k + rows * tile // tiles) * step + panels * across)
                side_by_side = later == WIDTH and across == PANEL
                if side_by_side and tiles >= FETCHING_TILES and stop - i >= FETCHING_ROWS:
                    tile_fetching(size, left, jump, right, right_step, right_jump, rows, start, apart, start_jump, z,
                                  jump, coming, step)  # fmt: skip
                    continue
                for q in range(later):
                    fetch_panel(1, coming + FLOAT * q * across, step, rows // tiles)
                tile_by_samples(
                    size, left, jump, right, right_step, right_jump, rows, start, apart, start_jump, z, jump
                )


@part
def backward(w, jump, first, last, below, scratch):  # type: ignore[no-untyped-def]
    """The deltas of the layer below, in panels at `below`: what stands there, times delta W^T."""
    inputs, outputs, stride = w[INPUTS], w[OUTPUTS], w[STRIDE]
    samples, end = last - first, (inputs + PANEL - 1) // PANEL
    clear(scratch[ROW], PANEL)
    for p in range(0, end, WIDTH):
        panels = min(WIDTH, end - p)
        tiles = tiles_of(samples, panels, WIDE_ROWS)
        for o in range(0, outputs, DEPTH):
            columns = min(DEPTH, outputs - o)
            for q in range(panels):
                k = PANEL * (p + q)
                transpose_panel(1, w[AT_W] + FLOAT * (stride * k + o), stride, inputs - k, columns, packed(scratch, q))
            # of the block of weights that comes next, each tile fetches some lines of its 16 or 32 rows
            next_p, next_o = (p, o + DEPTH) if o + DEPTH < outputs else (p + WIDTH, np.int64(0))
            lines = (min(DEPTH, outputs - next_o) + PANEL - 1) // PANEL
            for tile in range(tiles):
                for line in range(lines * tile // tiles, lines * (tile + 1) // tiles):
                    for k in range(PANEL * next_p, PANEL * min(next_p + WIDTH, end), PANEL):
                        place = stride * k + next_o + PANEL * line
                        fetch_panel(1, w[AT_W] + FLOAT * place, stride, min(PANEL, inputs - k))
                i, stop = samples * tile // tiles, samples * (tile + 1) // tiles
                sums = scratch[TILE] + FLOAT * PANEL * i
                start, apart, start_jump = scratch[ROW], 0, 0
                if o > 0:
                    start, apart, start_jump = sums, PANEL, PANEL * BLOCK
                left = w[AT_DELTAS] + FLOAT * (o // PANEL * jump + PANEL * (first + i))
                size = tile_size(stop - i, panels)
                tile_by_samples(size, left, jump, scratch[PACKED], PANEL, PANEL * DEPTH, columns, start, apart,
                                start_jump, sums, PANEL * BLOCK)  # fmt: skip
        for q in range(panels):
            factor = floats(below + FLOAT * ((p + q) * jump + PANEL * first))
            sums_of = floats(scratch[TILE] + FLOAT * PANEL * BLOCK * q)
            for j in range(PANEL * samples):
                factor[j] *= sums_of[j]


@part
def add_gradient(w, inputs, jump, first, samples, k, end, p, panels, out):  # type: ignore[no-untyped-def]
    """Add what `samples` samples from `first` on give to rows k..end of the gradient, and the panels from p on.

    The rows are all in one panel of inputs, which are at `inputs`. Those of `panels` panels of the outputs, no more
    than WIDTH, follow each other at `out`: 16 floats a row.
    """
    tiles = tiles_of(end - k, panels, WIDE_UNITS)
    for i in range(0, samples, AT_ONCE):
        left = inputs + FLOAT * (k // PANEL * jump + k % PANEL + PANEL * (first + i))
        right = w[AT_DELTAS] + FLOAT * (p * jump + PANEL * (first + i))
        for tile in range(tiles):
            row, stop = (end - k) * tile // tiles, (end - k) * (tile + 1) // tiles
            tile_by_units(tile_size(stop - row, panels), left + FLOAT * row, right, jump, min(AT_ONCE, samples - i),
                          out + FLOAT * PANEL * row, PANEL * (end - k))  # fmt: skip


@part
def descend(w, inputs, jump, samples, k, p, panels, rate, scratch):  # type: ignore[no-untyped-def]
    """Take `rate` times the gradient, summed over all `samples`, from W: rows k..k + 16, and `panels` panels from p."""
    last = (samples - 1) // AT_ONCE * AT_ONCE  # the samples before, which come in tiles of their own
    clear(scratch[TILE], PANEL * (PANEL * panels if last else 1))
    if last:
        add_gradient(w, inputs, jump, np.int64(0), last, k, k + PANEL, p, panels, scratch[TILE])
    step = PANEL if last else 0  # of the sums that it starts from
    tiles = tiles_of(np.int64(PANEL), panels, WIDE_UNITS)
    for row in range(0, PANEL, PANEL // tiles):
        left = inputs + FLOAT * (k // PANEL * jump + PANEL * last + row)
        right = w[AT_DELTAS] + FLOAT * (p * jump + PANEL * last)
        weights = w[AT_W] + FLOAT * (w[ROW_STEP] * (k + row) + w[PANEL_STEP] * p)
        size, start = tile_size(PANEL // tiles, panels), scratch[TILE] + FLOAT * step * row
        tile_descent(size, left, right, jump, samples - last, start, step, PANEL * step, weights, w[ROW_STEP],
                     w[PANEL_STEP], rate)  # fmt: skip
