"""Dense layers on what ReLUs have made: forward, the way back and gradients that skip zeros, for one thread.

Twins of those in kernels/dense.py, of ABREAST panels at once, with the same sums in the same order: see skipping.py. Of
each block of samples, or rows of a gradient, some values tell whether they are faster.
"""

import numpy as np

from fastnn.kernels.compiling import part
from fastnn.kernels.cost import NEAR_FLOATS, NOT_ZERO, SAMPLED, WORTH_SKIPPING
from fastnn.kernels.panels import TO_READ, copy_panel, fetch_panel, transpose_panel
from fastnn.kernels.plan import (
    AT_DELTAS,
    AT_INPUTS,
    AT_W,
    BLOCK,
    INPUTS,
    OUTPUTS,
    PACKED,
    RECTIFIED,
    STRIDE,
    TILE,
)
from fastnn.kernels.simd import NONE, floats
from fastnn.kernels.skipping import ABREAST, BITS, skip_by_samples, skip_by_units
from fastnn.layers import LANES as PANEL

F = np.float32
FLOAT = 4  # bytes
ACROSS = PANEL * BITS  # floats from panel to panel of a block of W, or of its columns, that has been copied
# Samples between fetches of the weights that come next, all of which at once kept what is read itself waiting: an epoch
# of 784-2500-2000-..., batch 256, on two threads took 1.65 s without them, and 1.61 so (an AMD server).
FETCHING = 32


@part
def abreast(skips, panels):  # type: ignore[no-untyped-def]
    """How many of some panels are made ABREAST, if any: where zeros may be skipped."""
    return panels // ABREAST * ABREAST if skips else 0


@part
def pays(panels, depth, at, jump, width, samples):  # type: ignore[no-untyped-def]
    """Whether `panels` panels, if there are any, of sums of `depth` values are faster made by skipping zeros.

    Of the values, at `at`, of `width` units, some tell: those of the first samples and units.
    """
    if panels == 0 or depth < WORTH_SKIPPING:
        return False
    count, taken, looked_at = 0, PANEL * min(samples, SAMPLED), max(1, min(ABREAST, width // PANEL))
    for p in range(looked_at):
        values = floats(at + FLOAT * p * jump)
        for j in range(taken):
            count += values[j] != F(0)
    return count <= NOT_ZERO * taken * looked_at


@part
def fetch_some(at, stride, rows, lines, i, samples):  # type: ignore[no-untyped-def]
    """Fetch what the samples from i on have to, of `lines` cache lines of each of `rows` rows of W."""
    first, last = rows * i // samples, rows * min(i + FETCHING, samples) // samples
    for line in range(lines):
        fetch_panel(TO_READ, at + FLOAT * (stride * first + PANEL * line), stride, last - first)


@part
def forward(w, inputs, jump, first, last, begin, end, out, scratch):  # type: ignore[no-untyped-def]
    """Panels begin..end, ABREAST at a time, of what `dense.forward` makes; W is in the flat buffer."""
    depth, stride, samples = w[INPUTS], w[STRIDE], last - first
    copied = depth * stride > NEAR_FLOATS
    for p in range(begin, end, ABREAST):
        weights, z = w[AT_W] + FLOAT * PANEL * p, out + FLOAT * (p * jump + PANEL * first)
        for k in range(0, depth, BITS):
            rows = min(BITS, depth - k)
            least = F(0) if w[RECTIFIED] and k + rows == depth else NONE
            right, step, across = weights + FLOAT * stride * k, stride, np.int64(PANEL)
            if copied:
                for q in range(ABREAST):
                    copy_panel(1, right + FLOAT * PANEL * q, stride, rows, scratch[PACKED] + FLOAT * ACROSS * q)
                right, step, across = scratch[PACKED], np.int64(PANEL), np.int64(ACROSS)
            start, apart, start_jump = weights + FLOAT * stride * depth, 0, np.int64(PANEL)
            if k > 0:
                start, apart, start_jump = z, PANEL, jump
            next_p, next_k = (p, k + rows) if k + rows < depth else (p + ABREAST, np.int64(0))
            coming = w[AT_W] + FLOAT * (PANEL * next_p + stride * next_k)
            to_come = min(BITS, depth - next_k) if copied and next_p < end else np.int64(0)
            for i in range(0, samples, FETCHING):
                fetch_some(coming, stride, to_come, np.int64(ABREAST), i, samples)
                left = inputs + FLOAT * (k // PANEL * jump + PANEL * (first + i))
                skip_by_samples(1, left, jump, right, step, across, rows, start + FLOAT * apart * i, apart, start_jump,
                                min(FETCHING, samples - i), z + FLOAT * PANEL * i, jump, np.int64(0),
                                least)  # fmt: skip


@part
def clear_beyond(at, rows, columns):  # type: ignore[no-untyped-def]
    """Of a panel of `rows` inputs of W, transposed, what follows them becomes zero: there is a 1 that no ReLU made."""
    if rows < PANEL:
        for column in range(columns):
            floats(at)[PANEL * column + rows] = F(0)


@part
def backward(w, jump, first, last, begin, end, below, scratch):  # type: ignore[no-untyped-def]
    """The same of what `dense.backward` makes."""
    told_by, told = (w[AT_INPUTS], F(0)) if below[RECTIFIED] else (below[AT_DELTAS], NONE)
    inputs, outputs, stride, samples = w[INPUTS], w[OUTPUTS], w[STRIDE], last - first
    for p in range(begin, end, ABREAST):
        for o in range(0, outputs, BITS):
            columns = min(BITS, outputs - o)
            for q in range(ABREAST):
                k, turned = PANEL * (p + q), scratch[PACKED] + FLOAT * ACROSS * q
                transpose_panel(1, w[AT_W] + FLOAT * (stride * k + o), stride, inputs - k, columns, turned)
                clear_beyond(turned, inputs - k, columns)
            start, apart, out, out_jump = np.int64(0), 0, scratch[TILE], np.int64(PANEL * BLOCK)
            if o > 0:
                start, apart = scratch[TILE], PANEL
            factors, factor, least = np.int64(0), 0, NONE
            if o + columns == outputs:
                place = FLOAT * (p * jump + PANEL * first)
                out, out_jump, factors, factor, least = below[AT_DELTAS] + place, jump, told_by + place, PANEL, told
            next_p, next_o = (p, o + columns) if o + columns < outputs else (p + ABREAST, np.int64(0))
            to_come = min(PANEL * ABREAST, inputs - PANEL * next_p) if next_p < end else np.int64(0)
            coming = w[AT_W] + FLOAT * (stride * PANEL * next_p + next_o)
            lines = (min(BITS, outputs - next_o) + PANEL - 1) // PANEL
            for i in range(0, samples, FETCHING):
                fetch_some(coming, stride, to_come, lines, i, samples)
                left = w[AT_DELTAS] + FLOAT * (o // PANEL * jump + PANEL * (first + i))
                skip_by_samples(1, left, jump, scratch[PACKED], np.int64(PANEL), np.int64(ACROSS), columns,
                                start + FLOAT * apart * i, apart, np.int64(PANEL * BLOCK), min(FETCHING, samples - i),
                                out + FLOAT * PANEL * i, out_jump, factors + FLOAT * factor * i, least)  # fmt: skip


@part
def products(at_rows, at_panels, jump, first, samples, rows, panels, fresh, out, step):  # type: ignore[no-untyped-def]
    """As `dense.products`, of the first `panels` panels, and of all `rows` units, one panel behind the other.

    Those of out stand next to each other. Some samples of ABREAST panels stay in a first-level cache meanwhile.
    """
    across = np.int64(PANEL)
    for p in range(0, panels, ABREAST):
        for i in range(first, first + samples, BITS):
            right, depth = at_panels + FLOAT * (p * jump + PANEL * i), min(BITS, first + samples - i)
            for k in range(0, rows, PANEL):
                left, c = at_rows + FLOAT * (k // PANEL * jump + PANEL * i), out + FLOAT * (step * k + PANEL * p)
                start = np.int64(0) if fresh and i == first else c
                skip_by_units(1, left, right, jump, depth, min(PANEL, rows - k), start, c, step, across)
