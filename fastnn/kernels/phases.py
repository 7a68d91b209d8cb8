"""The phases of a fused step over samples, and over units of the first layer, for one thread (kernels/fused.py).

`job` are the job's words, `w` a layer's (kernels/plan.py). Letters: B samples of a batch, I inputs and O outputs of a
layer, L dense layers. The padding of every delta is kept zero, so that that of the weights is.
"""

import numpy as np

from fastnn.kernels import dense, sparse
from fastnn.kernels.compiling import fast, part
from fastnn.kernels.inputs import row_bytes
from fastnn.kernels.losses import hits, judge, mark
from fastnn.kernels.plan import (
    ACTIVATED,
    ACTIVATION,
    AHEAD,
    ARGUMENT,
    AT_DELTAS,
    AT_FIRST_Z,
    AT_HITS,
    AT_INPUTS,
    AT_LABELS,
    AT_LAYERS,
    AT_LOSSES,
    AT_NUMBERS,
    AT_OUTPUTS,
    AT_PREDICTIONS,
    AT_SCALE,
    AT_SCRATCH,
    AT_SHIFT,
    AT_TARGETS,
    AT_WEIGHTS,
    AT_X,
    BLOCK,
    DELTA,
    FIRST_INPUTS,
    GROUPS,
    HALVES,
    INPUT,
    INPUTS,
    JOB_NUMBERS,
    JUMP,
    KEPT,
    LAYER_NUMBERS,
    LAYER_WORDS,
    LAYERS,
    LOSS,
    NARROW,
    OUTPUTS,
    PANELS,
    PIECES,
    RECTIFIED,
    ROW,
    SCATTERED,
    SCRATCH_WORDS,
    SEED,
    SHARES,
    SMOOTHING,
    SMOOTHING_CLASSES,
    SPARSE,
    TARGETS,
    THRESHOLD,
    TILE,
)
from fastnn.kernels.reading import spread
from fastnn.kernels.rows import activate, drop
from fastnn.kernels.share import BOTH, GRADIENT, PREDICT
from fastnn.kernels.simd import WIDTH, doubles, floats, ints, words
from fastnn.layers import LANES as PANEL

F = np.float32
FLOAT, WORD, LINE = 4, 8, 64  # bytes; of a cache line
PANEL_BITS = PANEL.bit_length() - 1


@part
def layer_of(job, layer):  # type: ignore[no-untyped-def]
    """The words of a layer."""
    return words(job[AT_LAYERS] + WORD * LAYER_WORDS * layer)


@part
def scratch_of(job, thread):  # type: ignore[no-untyped-def]
    """The addresses of a thread's scratch."""
    return words(job[AT_SCRATCH] + WORD * SCRATCH_WORDS * thread)


@part
def number_of(job, layer, place):  # type: ignore[no-untyped-def]
    """A number of a layer, as float32."""
    return F(doubles(job[AT_NUMBERS])[JOB_NUMBERS + LAYER_NUMBERS * layer + place])


# ---------------------------------------------------------------- over samples


@fast
def drop_inputs(job, first, last, begin, epoch, order, scratch):  # type: ignore[no-untyped-def]
    """Dropout on the inputs of samples first..last of the batch that begins at `begin`, in this thread's panels."""
    w, jump = layer_of(job, 0), job[JUMP]
    inputs, kept, threshold = w[INPUTS], number_of(job, 0, KEPT), np.uint64(w[THRESHOLD])
    for i in range(first, last):
        a, r = scratch[FIRST_INPUTS] + FLOAT * PANEL * i, order[begin + i]
        for p in range((inputs + PANEL - 1) // PANEL):
            drop(PANEL, a + FLOAT * p * jump, scratch[TILE], np.uint64(job[SEED]), np.int64(0), epoch, r, PANEL * p,
                 threshold, kept)  # fmt: skip
        if inputs % PANEL:
            floats(a + FLOAT * (inputs // PANEL * jump + inputs % PANEL))[0] = F(1)


@fast
def rectify(at, count):  # type: ignore[no-untyped-def]
    """Set those of `count` floats that are below zero to zero."""
    values = floats(at)
    for j in range(count):
        values[j] = F(0) if values[j] < F(0) else values[j]


@fast
def finish_hidden(job, layer, panel, stop, first, last, begin, epoch, training, order):  # type: ignore[no-untyped-def]
    """Z of panels panel..stop of a hidden layer becomes the next layer's input A.

    What its delta will be multiplied by goes to the delta, unless A tells it.
    Whole panels of a ReLU mostly are A already.
    """
    made = layer > 0 or not (job[SPARSE] and job[SCATTERED])  # where a ReLU is part of what made Z
    w, above, jump = layer_of(job, layer), layer_of(job, layer + 1), job[JUMP]
    units, samples = w[OUTPUTS], last - first
    kept, threshold = number_of(job, layer + 1, KEPT), np.uint64(above[THRESHOLD])
    for p in range(panel, stop):
        at = FLOAT * (p * jump + PANEL * first)
        a, factor = above[AT_INPUTS] + at, w[AT_DELTAS] + at
        n = min(units - PANEL * p, PANEL)
        if w[RECTIFIED] and n == PANEL:
            if not made:
                rectify(a, PANEL * samples)
            continue
        activate(w[ACTIVATION], samples, n, a, factor, number_of(job, layer, ARGUMENT))
        if training and threshold:
            for i in range(samples):
                r, here = order[begin + first + i], FLOAT * PANEL * i
                drop(PANEL, a + here, factor + here, np.uint64(job[SEED]), layer + 1, epoch, r, PANEL * p,
                     threshold, kept)  # fmt: skip
                if n < PANEL:
                    floats(a + here)[n] = F(1)


@fast
def take_targets(job, at_rows, samples, bits, units, at_t):  # type: ignore[no-untyped-def]
    """The targets of rows of the data, whose numbers are at `at_rows`: unit by unit, 2**bits samples side by side.

    That is a panel of them, or one alone. The last sample stands in for those that the last group of samples lacks.
    """
    rows, t, labels, targets = words(at_rows), floats(at_t), ints(job[AT_LABELS]), floats(job[AT_TARGETS])
    side_by_side, given, labelled = 1 << bits, job[AT_TARGETS] != 0, job[AT_LABELS] != 0
    places = (samples + side_by_side - 1) >> bits << bits
    if given:
        for i in range(places):
            row, at = rows[min(i, samples - 1)], (i >> bits << bits) * units + (i & (side_by_side - 1))
            for o in range(units):
                t[at + side_by_side * o] = targets[units * row + o]
    elif labelled and bits > 0:
        mark(1, job[AT_LABELS], at_rows, samples, units, at_t)
    else:
        for j in range(units * places):
            t[j] = F(0)
        if labelled:
            t[labels[rows[0]]] = F(1)


@part
def activate_group(w, a, d, alpha):  # type: ignore[no-untyped-def]
    """Z at `a` becomes f(Z), and d f'(Z), where 16 samples lie side by side."""
    activate(w[ACTIVATION], w[OUTPUTS], PANEL, a, d, alpha)


@part
def judge_samples(job, w, alpha, samples, slot, mode, z, t, d, share):  # type: ignore[no-untyped-def]
    """Hits, losses, outputs and deltas of samples of one panel, or of one alone."""
    units, numbers, smoothing, here = w[OUTPUTS], doubles(job[AT_NUMBERS]), 0.0, FLOAT * slot
    if mode >= GRADIENT:
        smoothing = numbers[SMOOTHING]
    if job[ACTIVATED]:
        hits(0, units, samples, z, t, job[AT_HITS] + here, job[NARROW])
        if job[NARROW]:
            for i in range(0, samples, PANEL):
                activate_group(w, z + FLOAT * PANEL * i, d + FLOAT * PANEL * i, alpha)
        else:
            for o in range(0, units, PANEL):  # panels of one sample, if there are several
                activate(w[ACTIVATION], samples, min(units - o, PANEL), z + FLOAT * o, d + FLOAT * o, alpha)
    judge(job[LOSS], units, samples, z, t, d, share, job[AT_LOSSES] + here, job[AT_HITS] + here, mode == PREDICT,
          job[NARROW], F(1.0 - smoothing), F(smoothing / numbers[SMOOTHING_CLASSES]))  # fmt: skip


@fast
def finish_outputs(job, first, last, begin, weight, mode, at_order, scratch):  # type: ignore[no-untyped-def]
    """The outputs' activation, losses and hits of samples first..last, and the deltas times each sample's share."""
    layer = job[LAYERS] - 1
    w, jump, alpha = layer_of(job, layer), job[JUMP], number_of(job, layer, ARGUMENT)
    units, panels, weights = w[OUTPUTS], w[PANELS], floats(job[AT_WEIGHTS])
    share, t, slot = floats(scratch[SHARES]), scratch[TARGETS], first if mode >= GRADIENT else begin + first
    rows, each = words(at_order + WORD * (begin + first)), 1.0 / weight if weight > 0 else 0.0
    weighted = job[AT_WEIGHTS] != 0
    for i in range(last - first):
        share[i] = F(weights[rows[i]] * each) if weighted else F(each)
    beyond = F(0) if job[NARROW] else share[last - first - 1]
    for i in range(last - first, last - first + PANEL):  # `judge` reads whole vectors
        share[i] = beyond
    z, d = job[AT_OUTPUTS] + FLOAT * PANEL * first, w[AT_DELTAS] + FLOAT * PANEL * first
    if panels == 1:
        take_targets(job, at_order + WORD * (begin + first), last - first, np.int64(PANEL_BITS), units, t)
        judge_samples(job, w, alpha, last - first, slot, mode, z, t, d, scratch[SHARES])
        return
    row, delta = floats(scratch[ROW]), floats(scratch[DELTA])
    for i in range(last - first):  # a sample's panels side by side for a while
        take_targets(job, at_order + WORD * (begin + first + i), np.int64(1), np.int64(0), units, t)
        for p in range(panels):
            source = floats(z + FLOAT * (p * jump + PANEL * i))
            for j in range(PANEL):
                row[PANEL * p + j], delta[PANEL * p + j] = source[j], F(0)
        judge_samples(job, w, alpha, np.int64(1), slot + i, mode, scratch[ROW], t, scratch[DELTA],
                      scratch[SHARES] + FLOAT * i)  # fmt: skip
        for p in range(panels):
            outputs, deltas = floats(z + FLOAT * (p * jump + PANEL * i)), floats(d + FLOAT * (p * jump + PANEL * i))
            for j in range(PANEL):
                outputs[j], deltas[j] = row[PANEL * p + j], delta[PANEL * p + j]


@part
def say(job, i, slot):  # type: ignore[no-untyped-def]
    """The outputs of sample i become a row of the predictions."""
    units = layer_of(job, job[LAYERS] - 1)[OUTPUTS]
    row = floats(job[AT_PREDICTIONS] + FLOAT * units * slot)
    for o in range(units):
        row[o] = floats(job[AT_OUTPUTS] + FLOAT * (o // PANEL * job[JUMP] + PANEL * i))[o % PANEL]


@part
def inputs_of(job, layer, scratch):  # type: ignore[no-untyped-def]
    """Where this thread finds a layer's input in panels."""
    return layer_of(job, layer)[AT_INPUTS] if layer > 0 else scratch[FIRST_INPUTS]


@part
def expand_all(job, first, last, begin, end, epoch, training, at_order, scratch):  # type: ignore[no-untyped-def]
    """The inputs of samples first..last of the batch that begins at `begin`, in this thread's panels.

    Rows to come are fetched, up to place `end` of the order.
    """
    w, size = layer_of(job, 0), row_bytes(job, layer_of(job, 0)[INPUTS])
    fetching = max(first, min(last, end - begin - job[AHEAD]))  # up to here, a row that comes so much later is there
    for i, stop, later in ((first, fetching, job[AHEAD]), (fetching, last, np.int64(0))):
        spread(job[INPUT], job[AT_X], size, at_order + WORD * (begin + i), stop - i, later, job[AT_SCALE],
               job[AT_SHIFT], w[INPUTS], scratch[FIRST_INPUTS] + FLOAT * PANEL * i, job[JUMP])  # fmt: skip
    if training and w[THRESHOLD]:
        drop_inputs(job, first, last, begin, epoch, words(at_order), scratch)


@part
def take_batch(job, size, begin, end, epoch, at_order, scratch, halves):  # type: ignore[no-untyped-def]
    """The inputs of a batch, as this thread needs them for its units of the first layer, or its columns.

    Of the order's `end` places those from `begin` on are the batch; rows behind it are fetched. Of sparse inputs it
    takes some halves of the columns.
    """
    if job[SPARSE]:
        sparse.unpack(job, np.int64(0), np.int64(0), size, begin, end, at_order, scratch, halves)
    else:
        expand_all(job, np.int64(0), size, begin, end, epoch, np.bool_(True), at_order, scratch)


@part
def over_units(job, thread, first, last, size):  # type: ignore[no-untyped-def]
    """Z of the first layer for granules first..last of its units, of all samples: this thread has taken the batch.

    Or what its ReLU makes of Z (see `dense.forward` and `sparse.forward`).
    """
    out, scratch = job[AT_FIRST_Z], scratch_of(job, thread)
    if job[SPARSE]:
        for start in range(0, size, BLOCK):  # their Z stays in a near cache from block to block of columns
            stop = min(start + BLOCK, size)
            sparse.forward(job, layer_of(job, 0), start, stop, first, last, out, scratch)
        return
    while first < last:  # a granule is a panel for a half of the samples
        p, half, panels = first // HALVES, first % HALVES, (last - first) // HALVES
        here, there, taken = np.int64(0), size, HALVES * panels
        if half or panels == 0:
            here, there, panels, taken = size * half // HALVES, size * (half + 1) // HALVES, 1, 1
        dense.forward(layer_of(job, 0), scratch[FIRST_INPUTS], job[JUMP], here, there, p, p + panels, out, scratch)
        first += taken


@part
def over_samples(job, thread, mode, first, last, begin, end, epoch, weight, at_order, ready, lowest):  # type: ignore[no-untyped-def]
    """Samples first..last of the batch that begins at `begin` of the order, whose weight is `weight`.

    Rows to come are fetched, up to place `end` of the order. `ready`: what `over_units` makes is there. The way back of
    pieces is left to `gradients.way_back`; else it ends with the deltas of layer `lowest`.
    """
    training, layers, jump, scratch = mode >= GRADIENT, job[LAYERS], job[JUMP], scratch_of(job, thread)
    order = words(at_order)
    for start in range(first, last, BLOCK):
        stop = min(start + BLOCK, last)
        for layer in range(layers):
            w = layer_of(job, layer)
            out = job[AT_OUTPUTS] if layer == layers - 1 else layer_of(job, layer + 1)[AT_INPUTS]
            made, hidden = layer == 0 and (ready or job[SPARSE] != 0), layer < layers - 1
            if layer == 0 and not ready and job[SPARSE]:
                sparse.unpack(job, first, start, stop, begin, end, at_order, scratch, np.int64(BOTH))
                sparse.forward(job, w, start, stop, np.int64(0), job[GROUPS], out, scratch)
            elif layer == 0 and not ready:
                expand_all(job, start, stop, begin, end, epoch, training, at_order, scratch)
            together = w[PANELS] if made else dense.panels_together(w)
            for p in range(0, w[PANELS], together):
                panels = min(p + together, w[PANELS])
                if not made:
                    dense.forward(w, inputs_of(job, layer, scratch), jump, start, stop, p, panels, out, scratch)
                if hidden:
                    finish_hidden(job, layer, p, panels, start, stop, begin, epoch, training, order)
        finish_outputs(job, start, stop, begin, weight, mode, at_order, scratch)
        if mode == PREDICT:
            for i in range(start, stop):
                say(job, i, begin + i)
        if training and not job[PIECES]:
            for layer in range(layers - 1, lowest, -1):
                w, below = layer_of(job, layer), layer_of(job, layer - 1)
                dense.backward(w, jump, start, stop, np.int64(0), below[PANELS], below, scratch)


@part
def over_below(job, thread, first, last, size):  # type: ignore[no-untyped-def]
    """The deltas of the first layer for granules first..last of its units, WIDTH panels each, of all samples.

    Who has made these units, ReLUs, has what they were, and needs their deltas: neither goes to another core.
    """
    w, below, scratch = layer_of(job, 1), layer_of(job, 0), scratch_of(job, thread)
    for start in range(0, size, BLOCK):
        stop = min(start + BLOCK, size)
        dense.backward(w, job[JUMP], start, stop, WIDTH * first, min(WIDTH * last, below[PANELS]), below, scratch)
