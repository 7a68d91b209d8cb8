"""Dense layers in panels: forward, the way back, and rows of the gradient, for one thread. `w` are a layer's words.

Samples are shared out in tiles of nearly equal height, which are the fewest that do. Each number is one sum in the
order of its index, whatever the tiles: so neither tiles nor threads change a bit.
"""

import numpy as np

from fastnn.kernels.compiling import part
from fastnn.kernels.plan import (
    AT_DELTAS,
    AT_W,
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
    TILE_ROWS,
    copy_panel,
    fetch_panel,
    floats,
    tile_by_samples,
    tile_by_units,
    tile_descent,
    transpose_panel,
)
from fastnn.layers import LANES as PANEL

F = np.float32
FLOAT = 4  # bytes
AT_ONCE = 128  # samples of a gradient's tile: their rows of two panels stay in the first-level cache
# Rows of W are read in place by few tiles; more of them pay for a copy whose rows lie next to each other.
TILES_WORTH_A_COPY = 4


@part
def clear(at, count):  # type: ignore[no-untyped-def]
    """Set `count` floats to zero."""
    values = floats(at)
    for j in range(count):
        values[j] = F(0)


@part
def forward(w, inputs, jump, first, last, begin, end, out, scratch):  # type: ignore[no-untyped-def]
    """Z of samples first..last and panels begin..end of the units, in panels at `out`; of the inputs at `inputs`."""
    depth, step, across = w[INPUTS], w[ROW_STEP], w[PANEL_STEP]
    samples = last - first
    tiles = (samples + TILE_ROWS - 1) // TILE_ROWS
    for k in range(0, depth, DEPTH):
        rows = min(DEPTH, depth - k)
        for p in range(begin, end):
            weights = w[AT_W] + FLOAT * p * across
            right, right_step = weights + FLOAT * k * step, step
            if tiles >= TILES_WORTH_A_COPY and step > PANEL:
                copy_panel(1, right, step, rows, scratch[PACKED])
                right, right_step = scratch[PACKED], PANEL
            fetched = rows // tiles if p + 1 < end else 0
            for tile in range(tiles):
                fetch_panel(1, weights + FLOAT * ((k + fetched * tile) * step + across), step, fetched)
                i, stop = first + samples * tile // tiles, first + samples * (tile + 1) // tiles
                z = out + FLOAT * (p * jump + PANEL * i)
                start, apart = (weights + FLOAT * depth * step, 0) if k == 0 else (z, PANEL)
                left = inputs + FLOAT * (k // PANEL * jump + PANEL * i)
                tile_by_samples(stop - i, left, jump, right, right_step, rows, start, apart, z)


@part
def backward(w, jump, first, last, below, scratch):  # type: ignore[no-untyped-def]
    """The deltas of the layer below, in panels at `below`: what stands there, times delta W^T."""
    inputs, outputs, stride = w[INPUTS], w[OUTPUTS], w[STRIDE]
    samples = last - first
    tiles = (samples + TILE_ROWS - 1) // TILE_ROWS
    clear(scratch[ROW], PANEL)
    for p in range((inputs + PANEL - 1) // PANEL):
        for o in range(0, outputs, DEPTH):
            columns = min(DEPTH, outputs - o)
            weights = w[AT_W] + FLOAT * (stride * PANEL * p + o)
            transpose_panel(1, weights, stride, inputs - PANEL * p, columns, scratch[PACKED])
            for tile in range(tiles):
                i, end = samples * tile // tiles, samples * (tile + 1) // tiles
                sums = scratch[TILE] + FLOAT * PANEL * i
                start, apart = (scratch[ROW], 0) if o == 0 else (sums, PANEL)
                left = w[AT_DELTAS] + FLOAT * (o // PANEL * jump + PANEL * (first + i))
                tile_by_samples(end - i, left, jump, scratch[PACKED], PANEL, columns, start, apart, sums)
        factor, sums = floats(below + FLOAT * (p * jump + PANEL * first)), floats(scratch[TILE])
        for j in range(PANEL * samples):
            factor[j] *= sums[j]


@part
def add_gradient(w, inputs, jump, first, samples, k, end, p, out):  # type: ignore[no-untyped-def]
    """Add what `samples` samples from `first` on give to rows k..end of the gradient: 16 floats a row, at `out`.

    The rows are all in one panel of inputs, which are at `inputs`, and p is a panel of the outputs.
    """
    tiles = (end - k + TILE_ROWS - 1) // TILE_ROWS
    for i in range(0, samples, AT_ONCE):
        left = inputs + FLOAT * (k // PANEL * jump + k % PANEL + PANEL * (first + i))
        right = w[AT_DELTAS] + FLOAT * (p * jump + PANEL * (first + i))
        for tile in range(tiles):
            row, stop = (end - k) * tile // tiles, (end - k) * (tile + 1) // tiles
            tile_by_units(stop - row, left + FLOAT * row, right, min(AT_ONCE, samples - i), out + FLOAT * PANEL * row)


@part
def descend(w, inputs, jump, samples, k, p, rate, scratch):  # type: ignore[no-untyped-def]
    """Take `rate` times the gradient, summed over all `samples`, from W: a panel of inputs, from k on, and panel p."""
    last, step = (samples - 1) // AT_ONCE * AT_ONCE, np.int64(0)  # the samples before, which come in tiles of their own
    clear(scratch[TILE], PANEL * (PANEL if last else 1))
    if last:
        add_gradient(w, inputs, jump, np.int64(0), last, k, k + PANEL, p, scratch[TILE])
        step = np.int64(PANEL)
    left, right = inputs + FLOAT * (k // PANEL * jump + PANEL * last), w[AT_DELTAS] + FLOAT * (p * jump + PANEL * last)
    weights = w[AT_W] + FLOAT * (w[ROW_STEP] * k + w[PANEL_STEP] * p)
    tile_descent(PANEL, left, right, samples - last, scratch[TILE], step, weights, w[ROW_STEP], rate)
