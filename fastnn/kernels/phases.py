"""The phases of a fused step, for one thread: over samples, then over rows of weights (see kernels/fused.py).

Everything here becomes part of one compiled function: a call would copy the tuples that describe the work, which costs
more than most rows. Letters: B samples of a batch, I inputs and O outputs of a layer, L dense layers. Rows of floats
are padded to whole vectors (`strides`), and the padding of every delta is kept zero, so that that of the weights is.
"""

import numpy as np

from fastnn.kernels.rows import activate, drop, hit, inlined, judge, update
from fastnn.kernels.simd import accumulate_dense, accumulate_sparse, floats, integers, octets
from fastnn.kernels.workspace import (
    AMOUNTS,
    COLUMN,
    COLUMNS,
    CURSOR,
    DENSE_BYTES,
    OUTPUT,
    ROW,
    SAMPLES,
    SPARSE_BYTES,
    TARGET,
    VALUES,
)

F = np.float32
BLOCK = 64  # samples that go through all layers together: their activations stay in the second-level cache

PREDICT, SCORE, GRADIENT, TRAIN = 0, 1, 2, 3  # what a call of the compiled function does

# ---------------------------------------------------------------- phase 1: over samples


@inlined
def expand(net, data, r, x):  # type: ignore[no-untyped-def]
    """x (I,) = scale * row r of a dense input + shift."""
    inputs = net.widths[0]
    if data.form == DENSE_BYTES:
        raw = octets(data.values + r * inputs, inputs)
        for k in range(inputs):
            x[k] = F(raw[k]) * net.scale[k] + net.shift[k]
    else:
        real = floats(data.values + 4 * r * inputs, inputs)
        for k in range(inputs):
            x[k] = real[k] * net.scale[k] + net.shift[k]


@inlined
def unpack(net, data, begin, end, columns, values):  # type: ignore[no-untyped-def]
    """Non-zero values begin..end of a sparse input, scaled, with their columns as int32, to two addresses."""
    columns, values = integers(columns, end - begin), floats(values, end - begin)
    if data.form == SPARSE_BYTES:
        raw = octets(data.values + begin, end - begin)
        for q in range(end - begin):
            column = data.columns[begin + q]
            columns[q] = column
            values[q] = F(raw[q]) * net.scale[column]
    else:
        real = floats(data.values + 4 * begin, end - begin)
        for q in range(end - begin):
            column = data.columns[begin + q]
            columns[q] = column
            values[q] = real[q] * net.scale[column]


@inlined
def sparse_input(form):  # type: ignore[no-untyped-def]
    """Whether only the non-zero values of the input are stored."""
    return form >= SPARSE_BYTES


@inlined
def forward_layer(thread, layer, r, i, net, data, params, work):  # type: ignore[no-untyped-def]
    """Z of sample i (row r of the data) in layer `layer`: written to the next layer's input, or to the outputs."""
    inputs, stride = net.widths[layer], net.strides[layer]
    last = layer == net.strides.size - 1
    out = work.outputs + 4 * stride * i if last else work.inputs[layer + 1] + 4 * stride * i
    weights = params + 4 * net.weight_at[layer]
    z, b = floats(out, stride), floats(weights + 4 * stride * inputs, stride)
    for o in range(stride):
        z[o] = b[o]
    if layer == 0 and sparse_input(data.form):
        columns, values = work.scratch[thread, COLUMNS], work.scratch[thread, VALUES]
        begin, end = data.starts[r], data.starts[r + 1]
        unpack(net, data, begin, end, columns, values)
        accumulate_sparse(columns, values, end - begin, weights, stride, out)
        return
    a = work.inputs[layer] + 4 * work.input_strides[layer] * i
    if layer == 0:  # in the order of a sparse input, so that the form changes no bit
        accumulate_sparse(work.counting.ctypes.data, a, inputs, weights, stride, out)
    else:
        accumulate_dense(a, inputs, weights, stride, out)


@inlined
def finish_hidden(layer, r, i, epoch, training, net, settings, work):  # type: ignore[no-untyped-def]
    """Z of a hidden layer becomes the next layer's input A; what its delta will be multiplied by goes to the delta."""
    units, stride = net.widths[layer + 1], net.strides[layer]
    a = floats(work.inputs[layer + 1] + 4 * stride * i, stride)
    factor = floats(work.deltas[layer] + 4 * stride * i, stride)
    activate(net.activations[layer], a, a, factor, net.arguments[layer])
    if training and net.thresholds[layer + 1]:
        drop(a, factor, settings.seed, layer + 1, epoch, r, net.thresholds[layer + 1], net.kept[layer + 1])
    for o in range(units, stride):
        factor[o] = F(0)


@inlined
def finish_output(thread, r, i, slot, share, training, net, data, settings, work):  # type: ignore[no-untyped-def]
    """The output's activation, the sample's loss and hit, and the output's delta times the sample's share."""
    layer = net.strides.size - 1
    units, stride = net.widths[layer + 1], net.strides[layer]
    z = floats(work.outputs + 4 * stride * i, units)
    delta = floats(work.deltas[layer] + 4 * stride * i, units)
    t, a = floats(work.scratch[thread, TARGET], units), floats(work.scratch[thread, OUTPUT], units)
    for o in range(units):
        t[o] = F(0)
    if data.labels.size:
        t[data.labels[r]] = F(1)
    elif data.targets:
        rows = floats(data.targets + 4 * units * r, units)
        for o in range(units):
            t[o] = rows[o]
    right = hit(z, t)
    if training and settings.smoothing > F(0):
        for o in range(units):
            t[o] = t[o] * (F(1) - settings.smoothing) + settings.smoothing / settings.smoothing_classes
    work.losses[slot] = judge(net.loss, z, t, a, delta, net.activations[layer], net.arguments[layer])
    work.hits[slot] = right
    for o in range(units):
        delta[o] = delta[o] * share
        z[o] = a[o]


@inlined
def backward_layer(thread, layer, i, net, params, work):  # type: ignore[no-untyped-def]
    """Delta of the layer below: delta W^T, times the factor that the forward pass left there."""
    inputs, stride, stride_below = net.widths[layer], net.strides[layer], net.strides[layer - 1]
    delta = floats(work.deltas[layer] + 4 * stride * i, stride)
    below = floats(work.deltas[layer - 1] + 4 * stride_below * i, stride_below)
    if work.mirrors[layer]:
        sums = floats(work.scratch[thread, ROW], stride_below)
        for k in range(stride_below):
            sums[k] = F(0)
        accumulate_dense(delta.ctypes.data, net.widths[layer + 1], work.mirrors[layer], stride_below, sums.ctypes.data)
        for k in range(stride_below):
            below[k] *= sums[k]
        return
    weights = params + 4 * net.weight_at[layer]
    for k in range(inputs):
        w = floats(weights + 4 * stride * k, stride)
        total = F(0)
        for o in range(stride):
            total += delta[o] * w[o]
        below[k] *= total


@inlined
def over_samples(thread, mode, first, last, begin, epoch, weight, order, net, data, settings, params, work):  # type: ignore[no-untyped-def]
    """Phase 1 for samples first..last of the batch that begins at `begin` of the order; `weight` is the batch's."""
    training, layers = mode >= GRADIENT, net.strides.size
    for start in range(first, last, BLOCK):
        stop = min(start + BLOCK, last)
        for layer in range(layers):
            for i in range(start, stop):
                r = order[begin + i]
                if layer == 0 and not sparse_input(data.form):
                    x = floats(work.inputs[0] + 4 * work.input_strides[0] * i, work.input_strides[0])
                    expand(net, data, r, x)
                    if training and net.thresholds[0]:
                        unused = floats(work.scratch[thread, ROW], x.size)
                        drop(x, unused, settings.seed, 0, epoch, r, net.thresholds[0], net.kept[0])
                forward_layer(thread, layer, r, i, net, data, params, work)
                if layer < layers - 1:
                    finish_hidden(layer, r, i, epoch, training, net, settings, work)
                else:
                    share = (data.weights[r] if data.weights.size else 1.0) / weight if weight > 0 else 0.0
                    slot = i if training else begin + i
                    finish_output(thread, r, i, slot, F(share), training, net, data, settings, work)
                    if mode == PREDICT:
                        units = net.widths[layers]
                        said = floats(work.outputs + 4 * net.strides[layer] * i, units)
                        for o in range(units):
                            work.predictions[begin + i, o] = said[o]
        if training:
            for layer in range(layers - 1, 0, -1):
                for i in range(start, stop):
                    backward_layer(thread, layer, i, net, params, work)


@inlined
def by_columns(thread, begin, size, order, net, data, work):  # type: ignore[no-untyped-def]
    """The batch's sparse input by columns, for this thread's columns only: a counting sort (Knuth, TAOCP 3, 5.2).

    Afterwards `cursor[k]` is where column k ends in `samples` and `amounts`; it begins where the one before ends.
    """
    first, last = work.bounds[thread], work.bounds[thread + 1]
    cursor = integers(work.scratch[thread, CURSOR], net.widths[0])
    samples = integers(work.scratch[thread, SAMPLES], work.capacity)
    amounts = floats(work.scratch[thread, AMOUNTS], work.capacity)
    columns = integers(work.scratch[thread, COLUMNS], net.widths[0])
    values = floats(work.scratch[thread, VALUES], net.widths[0])
    for k in range(first, last):
        cursor[k] = 0
    for i in range(size):
        q, end = data.starts[order[begin + i]], data.starts[order[begin + i] + 1]
        stop = q + np.searchsorted(data.columns[q:end], last)
        q += np.searchsorted(data.columns[q:end], first)
        for j in range(q, stop):
            cursor[data.columns[j]] += 1
    before = 0
    for k in range(first, last):
        count = cursor[k]
        cursor[k] = before
        before += count
    for i in range(size):
        q, end = data.starts[order[begin + i]], data.starts[order[begin + i] + 1]
        stop = q + np.searchsorted(data.columns[q:end], last)
        q += np.searchsorted(data.columns[q:end], first)
        unpack(net, data, q, stop, work.scratch[thread, COLUMNS], work.scratch[thread, VALUES])
        for j in range(stop - q):
            place = cursor[columns[j]]
            samples[place] = i
            amounts[place] = values[j]
            cursor[columns[j]] = place + 1


# ---------------------------------------------------------------- phases 2 and 3: over rows of weights


@inlined
def apply(layer, k, g, scale, hyper, net, settings, params, state, work):  # type: ignore[no-untyped-def]
    """Apply the optimiser to row k of a layer's W, or its b where k = I; the row's gradient is scale times g."""
    inputs, stride = net.widths[layer], net.strides[layer]
    at = net.weight_at[layer] + stride * k
    p = floats(params + 4 * at, stride)
    if scale != F(1):
        for o in range(stride):
            g[o] = g[o] * scale
    if k < inputs:
        if settings.weight_decay != F(0):
            for o in range(stride):
                g[o] = g[o] + settings.weight_decay * p[o]
        if hyper[2] != 0.0:
            keep = F(1.0 - hyper[2])
            for o in range(stride):
                p[o] = p[o] * keep
    s, u = floats(state[0] + 4 * at, stride), floats(state[1] + 4 * at, stride)
    update(settings.update, p, g, s, u, F(hyper[0]), F(hyper[1]), settings.first, settings.second)
    if work.mirrors[layer] and k < inputs:
        stride_below = net.strides[layer - 1]
        mirror = floats(work.mirrors[layer] + 4 * k, stride_below * net.widths[layer + 1])
        for o in range(net.widths[layer + 1]):
            mirror[stride_below * o] = p[o]


@inlined
def form(thread, layer, k, size, net, data, work, g):  # type: ignore[no-untyped-def]
    """g = row k of the gradient of a layer's W, summed over the batch in order; k = I is the bias."""
    inputs, stride = net.widths[layer], net.strides[layer]
    for o in range(stride):
        g[o] = F(0)
    if k < inputs and layer == 0 and sparse_input(data.form):
        cursor = integers(work.scratch[thread, CURSOR], inputs)
        begin = np.int64(cursor[k - 1]) if k > work.bounds[thread] else 0
        count = np.int64(cursor[k]) - begin
        samples, amounts = work.scratch[thread, SAMPLES] + 4 * begin, work.scratch[thread, AMOUNTS] + 4 * begin
        accumulate_sparse(samples, amounts, count, work.deltas[layer], stride, g.ctypes.data)
        return
    amounts, step = work.scratch[thread, COLUMN], work.input_strides[layer]
    column, a = floats(amounts, size), floats(work.inputs[layer] + 4 * k, step * size)
    for i in range(size):
        column[i] = F(1) if k == inputs else a[i * step]
    if layer == 0:
        accumulate_sparse(work.counting.ctypes.data, amounts, size, work.deltas[layer], stride, g.ctypes.data)
    else:
        accumulate_dense(amounts, size, work.deltas[layer], stride, g.ctypes.data)


@inlined
def share_of_rows(thread, threads, layer, net, data, work):  # type: ignore[no-untyped-def]
    """Which rows of a layer this thread takes; the bias is row I. No result depends on it."""
    rows = net.widths[layer]
    if layer == 0 and sparse_input(data.form):
        first, last = work.bounds[thread], work.bounds[thread + 1]
    else:
        first, last = rows * thread // threads, rows * (thread + 1) // threads
    return first, last + 1 if thread == threads - 1 else last


@inlined
def square_sum(g):  # type: ignore[no-untyped-def]
    """The sum of the squares of a row, in float64."""
    total = 0.0
    for o in range(g.size):
        total += np.float64(g[o]) * np.float64(g[o])
    return total


@inlined
def over_rows(thread, threads, size, store, hyper, net, data, settings, params, state, work):  # type: ignore[no-untyped-def]
    """Phase 2: this thread's rows of every gradient, applied at once, or stored with the sum of their squares."""
    for layer in range(net.strides.size):
        stride = net.strides[layer]
        first, last = share_of_rows(thread, threads, layer, net, data, work)
        for k in range(first, last):
            at, row = net.weight_at[layer] + stride * k, net.row_at[layer] + k
            if store:
                g = floats(work.gradient.ctypes.data + 4 * at, stride)
                form(thread, layer, k, size, net, data, work, g)
                work.squares[row] = square_sum(g)
            else:
                g = floats(work.scratch[thread, ROW], stride)
                form(thread, layer, k, size, net, data, work, g)
                apply(layer, k, g, F(1), hyper, net, settings, params, state, work)


@inlined
def over_stored(thread, threads, hyper, net, data, settings, params, state, work):  # type: ignore[no-untyped-def]
    """Phase 3, with clipping: scale the stored gradient by its norm and apply it. Every thread sums the same norm."""
    total = 0.0
    for row in range(work.squares.size):
        total += work.squares[row]
    norm, scale = np.sqrt(total), 1.0
    if norm > settings.clip_norm:
        scale = settings.clip_norm / norm
    elif norm != norm:  # NaN must go on, not be taken for a small norm
        scale = norm
    for layer in range(net.strides.size):
        first, last = share_of_rows(thread, threads, layer, net, data, work)
        for k in range(first, last):
            at = net.weight_at[layer] + net.strides[layer] * k
            g = floats(work.gradient.ctypes.data + 4 * at, net.strides[layer])
            apply(layer, k, g, F(scale), hyper, net, settings, params, state, work)
