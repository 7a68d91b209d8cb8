"""Narrow nets: samples side by side instead of units, for one thread. `job` are the job's words, `w` a layer's.

A vector holds what 16 samples have of one unit, so no lane is wasted where layers have few units; all outputs of a
layer are in one panel. Sixteen samples are a *group*: a row of 16 floats for each unit, groups next to each other
but for a gap between pieces: samples are told by their places. Tiles take groups as they do panels, two at once. An
input has a row for each unit and one of ones, which a bias is the weight of; deltas, and Z of the outputs, have 16
rows. Inputs are transposed when they are taken, and a gradient is summed over samples in lanes, which are added up at
the end of a piece. Epochs of 24-8-2, tanh, batch 200, 100,000 rows: 6.3 ms by units and 3.6 by samples on one thread.
"""

import numpy as np

from fastnn.kernels.compiling import part
from fastnn.kernels.dense import at_most, tile_size
from fastnn.kernels.inputs import row_bytes
from fastnn.kernels.lanes import SUMMED, tile_by_lanes
from fastnn.kernels.panels import TO_WRITE, fetch_panel
from fastnn.kernels.phases import FLOAT, WORD, activate_group, finish_outputs, layer_of, number_of
from fastnn.kernels.plan import (
    ARGUMENT,
    AT_DELTAS,
    AT_INPUTS,
    AT_OUTPUTS,
    AT_PIECES,
    AT_SCALE,
    AT_SHIFT,
    AT_W,
    AT_X,
    BLOCK,
    INPUT,
    INPUTS,
    LAYERS,
    OFFSET,
    OUTPUTS,
    PIECES,
    SIZE,
)
from fastnn.kernels.reading import turn
from fastnn.kernels.share import GRADIENT
from fastnn.kernels.simd import MOST_FEW, NONE, WIDTH, few_by_samples, few_by_units
from fastnn.layers import LANES as PANEL

F = np.float32


@part
def samples_of(job, number, size):  # type: ignore[no-untyped-def]
    """The samples of piece `number` of a batch of `size`: whole groups, but for the last one."""
    groups, pieces = (size + PANEL - 1) // PANEL, job[PIECES]
    return PANEL * (groups * number // pieces), min(size, PANEL * (groups * (number + 1) // pieces))


@part
def take_inputs(job, i, last, at_order, later):  # type: ignore[no-untyped-def]
    """The inputs of the group at places i..last; `at_order` is that of place 0, and those `later` there are fetched."""
    w = layer_of(job, 0)
    turn(job[INPUT], job[AT_X], row_bytes(job, w[INPUTS]), at_order + WORD * i, last - i, later, job[AT_SCALE],
         job[AT_SHIFT], w[INPUTS], w[AT_INPUTS] + FLOAT * i * (w[INPUTS] + 1))  # fmt: skip


@part
def forward(job, first, last, at_order, size, left):  # type: ignore[no-untyped-def]
    """Z of the outputs of samples at places first..last of a batch of `size`; up to place `left` others follow it."""
    layers = job[LAYERS]
    for i in range(first, last, WIDTH * PANEL):
        groups = min(WIDTH, (last - i + PANEL - 1) // PANEL)
        for here in range(i, i + PANEL * groups, PANEL):
            end = min(here + PANEL, last)
            take_inputs(job, here, end, at_order, size if end <= left else np.int64(0))
        for layer in range(layers):
            w, hidden = layer_of(job, layer), layer < layers - 1
            rows, outputs = w[INPUTS] + 1, w[OUTPUTS]
            out, jump = job[AT_OUTPUTS] + FLOAT * PANEL * i, PANEL * PANEL
            if hidden:
                out, jump = layer_of(job, layer + 1)[AT_INPUTS] + FLOAT * i * (outputs + 1), PANEL * (outputs + 1)
            o = 0
            while o < outputs:
                few = at_most(outputs - o, MOST_FEW)
                few_by_units(tile_size(few, groups), w[AT_W] + FLOAT * o, w[AT_INPUTS] + FLOAT * i * rows,
                             PANEL * rows, rows, np.int64(0), np.int64(0), np.int64(0), out + FLOAT * PANEL * o,
                             np.int64(PANEL), jump)  # fmt: skip
                o += few
            if hidden:
                for g in range(groups):
                    activate_group(w, out + FLOAT * jump * g, w[AT_DELTAS] + FLOAT * PANEL * (i + PANEL * g),
                                   number_of(job, layer, ARGUMENT))  # fmt: skip


@part
def backward(job, first, last):  # type: ignore[no-untyped-def]
    """The deltas of the hidden layers: what stands there times W delta."""
    jump = np.int64(PANEL * PANEL)
    for i in range(first, last, WIDTH * PANEL):
        groups = min(WIDTH, (last - i + PANEL - 1) // PANEL)
        for layer in range(job[LAYERS] - 1, 0, -1):
            w, deltas = layer_of(job, layer), layer_of(job, layer - 1)[AT_DELTAS] + FLOAT * PANEL * i
            inputs, outputs, k = w[INPUTS], w[OUTPUTS], 0
            while k < inputs:
                few, below = at_most(inputs - k, MOST_FEW), deltas + FLOAT * PANEL * k
                few_by_samples(tile_size(few, groups), w[AT_W] + FLOAT * PANEL * k, jump,
                               w[AT_DELTAS] + FLOAT * PANEL * i, PANEL, jump, outputs, np.int64(0), np.int64(0),
                               np.int64(0), below, jump, below, NONE)  # fmt: skip
                k += few


@part
def over_samples(job, first, last, size, begin, left, weight, at_order, scratch):  # type: ignore[no-untyped-def]
    """Losses and deltas of samples at places first..last, whole groups, of a batch of `size`.

    Place 0 stands for number `begin` of the order; up to place `left` other samples follow the batch.
    """
    for start in range(first, last, BLOCK):
        stop = min(start + BLOCK, last)
        forward(job, start, stop, at_order + WORD * begin, size, left)
        finish_outputs(job, start, stop, begin, weight, np.int64(GRADIENT), at_order, scratch)
        backward(job, start, stop)


@part
def row_step(w):  # type: ignore[no-untyped-def]
    """The floats from row to row of a layer's gradient of a piece: few to spare, so that cores exchange few lines."""
    return w[OUTPUTS] if w[OUTPUTS] <= SUMMED else np.int64(PANEL)


@part
def fetch_gradient(job, number):  # type: ignore[no-untyped-def]
    """The gradient of piece `number` will be written, where other cores have read one (see `panels.fetch_panel`)."""
    for layer in range(job[LAYERS]):
        w = layer_of(job, layer)
        lines = ((w[INPUTS] + 1) * row_step(w) + PANEL - 1) // PANEL
        fetch_panel(TO_WRITE, job[AT_PIECES] + FLOAT * (number * job[SIZE] + w[OFFSET]), np.int64(PANEL), lines)


@part
def gradient(job, number, first, last):  # type: ignore[no-untyped-def]
    """What samples at places first..last, piece `number` of the batch, give to all gradients."""
    groups, jump = (last - first + PANEL - 1) // PANEL, np.int64(PANEL * PANEL)
    for layer in range(job[LAYERS]):
        w, rows = layer_of(job, layer), layer_of(job, layer)[INPUTS] + 1
        out = job[AT_PIECES] + FLOAT * (number * job[SIZE] + w[OFFSET])
        for o in range(0, w[OUTPUTS], SUMMED):
            tile_by_lanes(min(SUMMED, w[OUTPUTS] - o), w[AT_INPUTS] + FLOAT * first * rows, PANEL * rows,
                          w[AT_DELTAS] + FLOAT * PANEL * (first + o), jump, groups, rows, out + FLOAT * o,
                          row_step(w))  # fmt: skip
