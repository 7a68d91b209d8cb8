"""Gradients, for one thread: the phases over rows of weights, and pieces of a batch. Updates are in updates.py.

`job` are the job's words, `w` a layer's, `granule` a granule's (kernels/plan.py).
"""

import numpy as np

from fastnn.kernels import active, dense, narrow, sparse
from fastnn.kernels.compiling import fast, part
from fastnn.kernels.cost import DELTA_BYTES
from fastnn.kernels.panels import TO_READ, fetch_panel, transpose_panel
from fastnn.kernels.phases import FLOAT, LINE, WORD, inputs_of, layer_of, over_samples, scratch_of
from fastnn.kernels.plan import (
    APPLY_BEGIN,
    APPLY_END,
    AT_DELTAS,
    AT_GRADIENT,
    AT_HITS,
    AT_INPUTS,
    AT_LOSSES,
    AT_NUMBERS,
    AT_PARAMETERS,
    AT_PIECE_TOTALS,
    AT_PIECES,
    AT_SQUARES,
    AT_TOTALS,
    AT_W,
    AT_WEIGHTS,
    BEGIN,
    BLOCK,
    BY_OUTPUTS,
    CLIP_NORM,
    COLUMNS,
    END,
    FIRST_SQUARE,
    FROM_PANEL,
    GRANULES_ABREAST,
    GROUPS,
    IN_PLACE,
    INPUTS,
    JUMP,
    LAYERS,
    NARROW,
    OF_GROUP,
    OF_LAYER,
    OF_PANELS,
    OFFSET,
    OUTPUTS,
    PACKED,
    PANEL_STEP,
    PANELS,
    PIECES,
    PIECES_APART,
    ROW,
    ROW_STEP,
    SCATTERED,
    SIZE,
    SKIPS,
    SPARSE,
    SQUARES,
    STRIDE,
    SUMS,
    TILE,
)
from fastnn.kernels.rows import SOME, WHOLE, add_rows, descend_sums, sum_apart
from fastnn.kernels.share import BOTH, GRADIENT, granule_of
from fastnn.kernels.simd import MOST_PANELS, TILE_ROWS, WIDTH, doubles, floats, words
from fastnn.kernels.skipping import ABREAST
from fastnn.kernels.updates import RATE, apply_flat, descends, pass_on, pass_on_group
from fastnn.layers import LANES as PANEL

F = np.float32


@part
def totals_of(job, number):  # type: ignore[no-untyped-def]
    """The sums of a piece's losses and hits."""
    return doubles(job[AT_PIECE_TOTALS] + LINE * number)


@part
def add_bias(job, w, first, samples, at, fresh, scratch):  # type: ignore[no-untyped-def]
    """Add the deltas of samples, the row of b in a gradient, to that at `at`, or write them if it is `fresh`."""
    for p in range(0, w[PANELS], MOST_PANELS):
        panels, row = min(MOST_PANELS, w[PANELS] - p), at + FLOAT * PANEL * p
        out = row if fresh else scratch[ROW]
        add_rows(panels, w[AT_DELTAS] + FLOAT * (p * job[JUMP] + PANEL * first), job[JUMP], samples, out)
        if not fresh:
            dense.add(row, out, PANEL * panels, row)


@part
def add_gradient(job, layer, first, samples, sums, fresh, scratch):  # type: ignore[no-untyped-def]
    """Add what `samples` samples from `first` on, a block, give to a layer's gradient to that of a piece, at `sums`.

    That of a piece's first block is `fresh`: nothing is there to be added to.
    """
    w, listed = layer_of(job, layer), layer == 0 and job[SPARSE] != 0
    at, rows, panels = sums + FLOAT * w[OFFSET], w[INPUTS], w[PANELS]
    step, across = w[STRIDE], np.int64(PANEL)  # floats from row to row, and from panel to panel
    left, right = inputs_of(job, layer, scratch), w[AT_DELTAS]
    if w[BY_OUTPUTS]:
        left, right, rows, panels = right, left, w[OUTPUTS], dense.inputs_panels(w)
        step, across = np.int64(PANEL), PANEL * rows
    else:
        add_bias(job, w, first, samples, at + FLOAT * step * rows, fresh, scratch)
    if listed:
        if fresh:
            dense.clear(at, PANEL * rows)
        sparse.scatter_gradient(job, w, np.int64(0), np.int64(1), first, samples, np.int64(BOTH), at, np.int64(PANEL),
                                F(1), scratch)  # fmt: skip
        return
    skipping = active.abreast(w[SKIPS], w[PANELS])  # none of few outputs, whose rows and panels have changed places
    if active.pays(skipping, samples, left + FLOAT * PANEL * first, job[JUMP], rows, samples):
        active.products(left, right, job[JUMP], first, samples, rows, skipping, fresh, at, step)
    else:
        skipping = 0
    for k in range(0, rows, PANEL):
        end = min(k + PANEL, rows)
        for p in range(skipping, panels, WIDTH):
            out, several = at + FLOAT * (step * k + across * p), min(WIDTH, panels - p)
            dense.products(left, right, job[JUMP], first, samples, k, end, p, several, fresh, out, step, across)


@part
def way_back(job, first, samples, sums, fresh, scratch):  # type: ignore[no-untyped-def]
    """Layer by layer a block's gradient, and the deltas below: they may take the place of what a ReLU has made."""
    for layer in range(job[LAYERS] - 1, -1, -1):
        add_gradient(job, layer, first, samples, sums, fresh, scratch)
        if layer:
            w, below = layer_of(job, layer), layer_of(job, layer - 1)
            dense.backward(w, job[JUMP], first, first + samples, np.int64(0), below[PANELS], below, scratch)


@part
def over_pieces(job, thread, mode, first, last, count, size, begin, left, epoch, weight, at_order, ready, lowest):  # type: ignore[no-untyped-def]
    """Granules first..last, of `count`, of a batch's samples (see `over_samples`), and the gradients of its pieces.

    A piece goes block by block, whose place is the thread's own: what stands between the layers stays in a near cache.
    `left` more samples follow the batch.
    """
    pieces, scratch = mode >= GRADIENT and job[PIECES] > 0, scratch_of(job, thread)
    for piece in range(first, last if pieces else first + 1):
        totals = totals_of(job, piece)
        if pieces:
            totals[0] = totals[1] = 0.0
        if pieces and job[NARROW]:
            here, there = narrow.samples_of(job, piece, size)
            gap = PIECES_APART * piece
            place, stop, order_begin = here + gap, there + gap, begin - gap
            narrow.fetch_gradient(job, piece)
            narrow.over_samples(job, place, stop, size, order_begin, left + gap, weight, at_order, scratch)
            narrow.gradient(job, piece, place, stop)
            add_losses(job, place, stop, at_order + WORD * order_begin, totals)
            continue
        here, there = size * piece // count, size * (piece + 1 if pieces else last) // count
        sums, step = job[AT_PIECES] + FLOAT * piece * job[SIZE], np.int64(BLOCK) if pieces else there - here
        if pieces and here == there:  # of a batch that has fewer samples than pieces
            dense.clear(sums, job[SIZE])
        for start in range(here, there, max(step, 1)):
            samples, place = min(step, there - start), (BLOCK + PIECES_APART) * thread if pieces else start
            order_begin = begin + start - place  # where a sample at place 0 would stand in the order
            over_samples(job, thread, mode, place, place + samples, order_begin, begin + size + left, epoch, weight,
                         at_order, ready, lowest)  # fmt: skip
            if pieces:
                way_back(job, place, samples, sums, start == here, scratch)
                add_losses(job, place, place + samples, at_order + WORD * order_begin, totals)


@part
def add_pieces(job, layer, k, rows, out, scratch):  # type: ignore[no-untyped-def]
    """Of rows k..k + rows of a layer's gradient the sums over the pieces of the batch, in their order, at `out`."""
    w, at, apart = layer_of(job, layer), job[AT_PIECES], FLOAT * job[SIZE]
    if job[NARROW]:
        step = narrow.row_step(w)
        sum_apart(1, at + FLOAT * (w[OFFSET] + k * step), job[SIZE], job[PIECES], rows, step, out)
        return
    turned = w[BY_OUTPUTS] != 0
    sums, count = (scratch[PACKED], PANEL * w[OUTPUTS]) if turned else (out, rows * w[STRIDE])
    at += FLOAT * (w[OFFSET] + k * (w[OUTPUTS] if turned else w[STRIDE]))
    dense.add(at, at + apart, count, sums)
    for piece in range(2, job[PIECES]):
        dense.add(sums, at + apart * piece, count, sums)
    if turned:
        dense.clear(sums + FLOAT * count, PANEL * PANEL - count)
        transpose_panel(1, sums, np.int64(PANEL), np.int64(PANEL), rows, out)


@part
def descend_pieces(job, layer, k, rows, rate, scratch):  # type: ignore[no-untyped-def]
    """Take `rate` times the sums over the pieces from rows k..k + rows of W; what that makes goes to the parameters.

    They may be others: see kernels/replicas.py.
    """
    w, g, apart, many = layer_of(job, layer), scratch[TILE], job[SIZE], job[PIECES]
    begin, count, step, whole = FLOAT * w[STRIDE] * k, rows * w[STRIDE] // PANEL, np.int64(PANEL), np.int64(WHOLE)
    if job[NARROW]:
        step, whole = narrow.row_step(w), np.int64(SOME)
        g = job[AT_PIECES] + FLOAT * (w[OFFSET] + k * step)
    elif w[BY_OUTPUTS]:
        add_pieces(job, layer, k, rows, g, scratch)
        many = np.int64(1)
    else:
        g = job[AT_PIECES] + FLOAT * w[OFFSET] + begin
    descend_sums(whole, g, apart, many, count, step, w[AT_W] + begin, job[AT_PARAMETERS] + FLOAT * w[OFFSET] + begin,
                 rate)  # fmt: skip


@part
def dense_rows(job, granule, first, stop, size, store, hyper, scratch):  # type: ignore[no-untyped-def]
    """Of panels first..stop a granule of the rows of a dense layer's gradient; it begins with a panel of inputs."""
    layer, last = granule[OF_LAYER], granule[END]
    first, stop = max(first, granule[FROM_PANEL]), min(stop, granule[FROM_PANEL] + granule[OF_PANELS])
    w, inputs = layer_of(job, layer), inputs_of(job, layer, scratch)
    plain, width = descends(job, store, hyper), w[PANELS] if job[PIECES] else WIDTH
    for k in range(granule[BEGIN], last, PANEL):
        rows = min(PANEL, last - k)
        for p in range(first, stop, width):
            panels, weights = min(width, stop - p), w[AT_W] + FLOAT * (w[ROW_STEP] * k + w[PANEL_STEP] * p)
            parts, n = panels, np.int64(PANEL)  # of the rows, which are applied one by one: columns of each
            if job[PIECES] and plain:
                descend_pieces(job, layer, k, rows, F(hyper[RATE]), scratch)
                continue
            if job[PIECES]:
                add_pieces(job, layer, k, rows, scratch[TILE], scratch)
                parts, n = np.int64(1), w[STRIDE]
            else:
                for q in range(panels):
                    fetch_panel(TO_READ, weights + FLOAT * w[PANEL_STEP] * q, w[ROW_STEP], rows)
                if plain and TILE_ROWS == PANEL and rows == PANEL:
                    dense.descend(w, inputs, job[JUMP], size, k, p, panels, F(hyper[RATE]), scratch)
                    continue
                dense.products(inputs, w[AT_DELTAS], job[JUMP], np.int64(0), size, k, k + rows, p, panels,
                               np.bool_(True), scratch[TILE], np.int64(PANEL), PANEL * rows)  # fmt: skip
            for q in range(parts):
                g = scratch[TILE] + FLOAT * n * rows * q
                if layer == 0 and job[GROUPS] and not job[PIECES]:  # a group is one panel here
                    pass_on_group(job, granule, k, rows, g, store, hyper)
                else:
                    pass_on(job, w, k, rows, PANEL * (p + q), n, g, store, hyper)


@part
def rows_skipping(job, first, last, size, store, hyper, scratch):  # type: ignore[no-untyped-def]
    """Of granules first..last, one behind the other, of a layer's rows the panels that skip zeros; how many, if any."""
    w, jump = layer_of(job, granule_of(job, first)[OF_LAYER]), job[JUMP]
    panels, n, sums = active.abreast(w[SKIPS], w[PANELS]), np.int64(PANEL * ABREAST), scratch[TILE]
    inputs = w[AT_INPUTS] + FLOAT * (granule_of(job, first)[BEGIN] // PANEL * jump)
    if not active.pays(panels, size, inputs, jump, np.int64(PANEL), size):
        return np.int64(0)
    for here in range(first, last, GRANULES_ABREAST):
        begin, end = granule_of(job, here)[BEGIN], granule_of(job, min(here + GRANULES_ABREAST, last) - 1)[END]
        left, rows = w[AT_INPUTS] + FLOAT * (begin // PANEL * jump), end - begin
        for p in range(0, panels, ABREAST):
            weights, right = w[AT_W] + FLOAT * (w[STRIDE] * begin + PANEL * p), w[AT_DELTAS] + FLOAT * p * jump
            for q in range(ABREAST):
                fetch_panel(TO_READ, weights + FLOAT * PANEL * q, w[STRIDE], rows)
            active.products(left, right, jump, np.int64(0), size, rows, np.int64(ABREAST), np.bool_(True), sums, n)
            pass_on(job, w, begin, rows, PANEL * p, n, sums, store, hyper)
    return panels


@part
def sparse_rows(job, granule, size, store, hyper, scratch):  # type: ignore[no-untyped-def]
    """A granule of the gradient of a first layer that reads sparse input; this thread has its lists."""
    w, plain, inputs = layer_of(job, 0), descends(job, store, hyper), layer_of(job, 0)[INPUTS]
    first, last, p, n = granule[BEGIN], min(granule[END], inputs), granule[FROM_PANEL], granule[OF_PANELS]
    weights, stride = sparse.weights_of(job, granule[OF_GROUP]), sparse.stride_of(job, granule[OF_GROUP])
    # of a scattered gradient a granule has all rows, or those of a half of the columns, the last of which has the bias
    halves = (1 if first == 0 else 0) + (2 if granule[END] > inputs else 0)
    if job[SCATTERED] and plain and job[IN_PLACE]:
        sparse.scatter_gradient(job, w, p, n, np.int64(0), size, halves, weights, stride, F(-hyper[RATE]), scratch)
    elif job[SCATTERED]:
        sums = scratch[SUMS] + FLOAT * first * PANEL * n
        dense.clear(sums, (last - first) * PANEL * n)
        sparse.scatter_gradient(job, w, p, n, np.int64(0), size, halves, scratch[SUMS], PANEL * n, F(1), scratch)
        pass_on_group(job, granule, first, last - first, sums, store, hyper)
    elif plain:
        weights += FLOAT * stride * first
        sparse.descend_columns(job, w, first, last, p, n, weights, stride, F(hyper[RATE]), scratch)
    else:
        for k in range(first, last, COLUMNS):
            columns = min(COLUMNS, last - k)
            sparse.sum_columns(job, w, k, k + columns, p, n, scratch[TILE], scratch)
            pass_on_group(job, granule, k, columns, scratch[TILE], store, hyper)
    if granule[END] > inputs:
        add_rows(n, w[AT_DELTAS] + FLOAT * p * job[JUMP], job[JUMP], size, scratch[ROW])
        pass_on_group(job, granule, inputs, np.int64(1), scratch[ROW], store, hyper)


@part
def square_sums(job, granule):  # type: ignore[no-untyped-def]
    """The sums of the squares of a stored part of the gradient, in float64: by rows; in the first layer, by panels.

    Those of a panel are never cut by threads, who claim whole panels there.
    """
    w, squares = layer_of(job, granule[OF_LAYER]), doubles(job[AT_SQUARES] + WORD * granule[FIRST_SQUARE])
    begin, end, panels, gradient = granule[BEGIN], granule[END], granule[OF_PANELS], job[AT_GRADIENT]
    by_panels = granule[OF_LAYER] == 0 and job[GROUPS] > 0
    for number in range(panels if by_panels else end - begin):
        total = 0.0
        for other in range(end - begin if by_panels else panels):
            k, p = (other, number) if by_panels else (number, other)
            g = floats(gradient + FLOAT * (w[OFFSET] + w[STRIDE] * (begin + k) + PANEL * (granule[FROM_PANEL] + p)))
            for o in range(PANEL):
                total += np.float64(g[o]) * np.float64(g[o])
        squares[number] = total


@part
def weight_of(job, size, at_order):  # type: ignore[no-untyped-def]
    """The sum of the weights of a batch's samples, which begin at `at_order`."""
    if job[AT_WEIGHTS] == 0:
        return float(size)
    order, weights, total = words(at_order), floats(job[AT_WEIGHTS]), 0.0
    for i in range(size):
        total += weights[order[i]]
    return total


@fast
def add_losses(job, first, last, at_order, totals):  # type: ignore[no-untyped-def]
    """Add the losses and hits of samples first..last of the batch at `at_order` to two totals."""
    order, weights = words(at_order), floats(job[AT_WEIGHTS])
    losses, hits = floats(job[AT_LOSSES]), floats(job[AT_HITS])
    loss = hit = 0.0
    if job[AT_WEIGHTS]:
        for i in range(first, last):
            loss += np.float64(weights[order[i]]) * losses[i]
            hit += np.float64(weights[order[i]]) * hits[i]
    else:
        for i in range(first, last):
            loss += losses[i]
            hit += hits[i]
    totals[0] += loss
    totals[1] += hit


@part
def add_up(job, size, weight, at_order):  # type: ignore[no-untyped-def]
    """Add the losses and hits of a batch to the totals; its samples begin at `at_order`."""
    totals = doubles(job[AT_TOTALS])
    if job[PIECES]:
        for number in range(job[PIECES]):
            of_piece = totals_of(job, number)
            totals[0] += of_piece[0]
            totals[1] += of_piece[1]
    else:
        add_losses(job, np.int64(0), size, at_order, totals)
    totals[2] += weight


@part
def over_rows(job, thread, begin, end, size, store, hyper):  # type: ignore[no-untyped-def]
    """Granules begin..end of the rows of the gradients: applied at once, or stored with the sums of their squares."""
    scratch, near = scratch_of(job, thread), max(DELTA_BYTES // (FLOAT * PANEL * size * WIDTH), 1) * WIDTH
    first = begin
    while first < end:
        layer, last = granule_of(job, first)[OF_LAYER], first + 1
        while last < end and granule_of(job, last)[OF_LAYER] == layer:
            last += 1
        if layer == 0 and job[SPARSE] and not job[PIECES]:
            for number in range(first, last):
                sparse_rows(job, granule_of(job, number), size, store, hyper, scratch)
        else:  # of all these rows so many panels that their deltas stay in a near cache, then the next ones
            panels = layer_of(job, layer)[PANELS]
            together, skipped = panels, np.int64(0)
            if not job[PIECES]:
                together, skipped = near, rows_skipping(job, first, last, size, store, hyper, scratch)
            for p in range(skipped, panels, together):
                for number in range(first, last):
                    dense_rows(job, granule_of(job, number), p, p + together, size, store, hyper, scratch)
        first = last
    for number in range(begin, end if store else begin):
        square_sums(job, granule_of(job, number))


@part
def clip_scale(job):  # type: ignore[no-untyped-def]
    """What the stored gradient must be multiplied by, so that its norm is within the limit: the same in all threads."""
    squares, limit, total = doubles(job[AT_SQUARES]), doubles(job[AT_NUMBERS])[CLIP_NORM], 0.0
    for number in range(job[SQUARES]):
        total += squares[number]
    norm = np.sqrt(total)
    if norm > limit:
        return F(limit / norm)
    return F(norm) if norm != norm else F(1)  # NaN must go on, not be taken for a small norm


@part
def over_stored(job, begin, end, scale, hyper):  # type: ignore[no-untyped-def]
    """With clipping: apply the rows of granules begin..end of the stored gradient, times scale."""
    for number in range(begin, end):
        granule = granule_of(job, number)
        w, first = layer_of(job, granule[OF_LAYER]), granule[APPLY_BEGIN]
        g = job[AT_GRADIENT] + FLOAT * (w[OFFSET] + w[STRIDE] * first)
        apply_flat(job, w, first, granule[APPLY_END] - first, np.int64(0), w[STRIDE], g, scale, hyper)
