"""The fused kernels: the maths of kernels/reference.py in one compiled function for all architectures.

A step has two phases and two barriers, whatever the depth:

1. over samples: each thread takes its share of the batch through forward, loss and all the deltas;
2. over rows of weights: each thread forms its share of every gradient row and applies the optimiser to it at once.

Each output element is summed by one thread in a fixed order, so no result depends on the number of threads. Clipping
needs the whole gradient's norm first: its rows are stored, and a third phase applies them. Letters: B samples of a
batch, I inputs and O outputs of a layer, L dense layers. Rows of floats are padded to whole vectors (`strides`), and
the padding of every delta is kept zero, so that the padding of the weights stays zero.
"""

import numpy as np
from numba import njit

from fastnn.kernels import launch
from fastnn.kernels.barrier import wait
from fastnn.kernels.job import NOTHING, Examples, Job, Totals
from fastnn.kernels.rows import FAST, activate, drop, fast, hit, judge, update
from fastnn.kernels.simd import accumulate_rows, floats, integers, octets
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
    Data,
    Net,
    Settings,
    Work,
    prepare,
)
from fastnn.layers import Architecture, Dense, Input, aligned_zeros

F = np.float32
BLOCK = 64  # samples that go through all layers together: their activations stay in the second-level cache

PREDICT, SCORE, GRADIENT, TRAIN = 0, 1, 2, 3  # what a call of the compiled function does

# ---------------------------------------------------------------- phase 1: over samples


@fast
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


@njit(nogil=True)
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


@njit(nogil=True)
def sparse_input(form):  # type: ignore[no-untyped-def]
    """Whether only the non-zero values of the input are stored."""
    return form >= SPARSE_BYTES


@njit(nogil=True)
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
        accumulate_rows(columns, values, end - begin, weights, stride, out)
    else:
        a = work.inputs[layer] + 4 * work.input_strides[layer] * i
        accumulate_rows(work.counting.ctypes.data, a, inputs, weights, stride, out)


@njit(nogil=True)
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


@njit(nogil=True)
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


@fast
def backward_layer(layer, i, net, params, work):  # type: ignore[no-untyped-def]
    """Delta of the layer below: delta W^T, times the factor that the forward pass left there."""
    inputs, stride = net.widths[layer], net.strides[layer]
    delta = floats(work.deltas[layer] + 4 * stride * i, stride)
    below = floats(work.deltas[layer - 1] + 4 * net.strides[layer - 1] * i, inputs)
    weights = params + 4 * net.weight_at[layer]
    for k in range(inputs):
        w = floats(weights + 4 * stride * k, stride)
        total = F(0)
        for o in range(stride):
            total += delta[o] * w[o]
        below[k] *= total


@njit(nogil=True)
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
                    backward_layer(layer, i, net, params, work)


@njit(nogil=True)
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
        q += np.searchsorted(data.columns[q:end], first)
        while q < end and data.columns[q] < last:
            cursor[data.columns[q]] += 1
            q += 1
    before = 0
    for k in range(first, last):
        count = cursor[k]
        cursor[k] = before
        before += count
    for i in range(size):
        q, end = data.starts[order[begin + i]], data.starts[order[begin + i] + 1]
        q += np.searchsorted(data.columns[q:end], first)
        stop = q
        while stop < end and data.columns[stop] < last:
            stop += 1
        unpack(net, data, q, stop, work.scratch[thread, COLUMNS], work.scratch[thread, VALUES])
        for j in range(stop - q):
            place = cursor[columns[j]]
            samples[place] = i
            amounts[place] = values[j]
            cursor[columns[j]] = place + 1


# ---------------------------------------------------------------- phases 2 and 3: over rows of weights


@fast
def apply(at, bias, g, scale, hyper, net, settings, layer, params, state):  # type: ignore[no-untyped-def]
    """Apply the optimiser to the row of parameters at place `at` of the flat buffer; its gradient is scale times g."""
    stride = net.strides[layer]
    p = floats(params + 4 * at, stride)
    if scale != F(1):
        for o in range(stride):
            g[o] = g[o] * scale
    if not bias:
        if settings.weight_decay != F(0):
            for o in range(stride):
                g[o] = g[o] + settings.weight_decay * p[o]
        if hyper[2] != 0.0:
            keep = F(1.0 - hyper[2])
            for o in range(stride):
                p[o] = p[o] * keep
    s, u = floats(state[0] + 4 * at, stride), floats(state[1] + 4 * at, stride)
    update(settings.update, p, g, s, u, F(hyper[0]), F(hyper[1]), settings.first, settings.second)


@njit(nogil=True)
def form(thread, layer, k, size, net, data, work, g):  # type: ignore[no-untyped-def]
    """g = row k of the gradient of a layer's W, summed over the batch in order; k = I is the bias."""
    inputs, stride = net.widths[layer], net.strides[layer]
    for o in range(stride):
        g[o] = F(0)
    samples, amounts, count = work.counting.ctypes.data, work.scratch[thread, COLUMN], size
    if k < inputs and layer == 0 and sparse_input(data.form):
        cursor = integers(work.scratch[thread, CURSOR], inputs)
        begin = np.int64(cursor[k - 1]) if k > work.bounds[thread] else 0
        count = np.int64(cursor[k]) - begin
        samples, amounts = work.scratch[thread, SAMPLES] + 4 * begin, work.scratch[thread, AMOUNTS] + 4 * begin
    else:
        column, step = floats(amounts, size), work.input_strides[layer]
        a = floats(work.inputs[layer] + 4 * k, step * size)
        for i in range(size):
            column[i] = F(1) if k == inputs else a[i * step]
    accumulate_rows(samples, amounts, count, work.deltas[layer], stride, g.ctypes.data)


@njit(nogil=True)
def share_of_rows(thread, threads, layer, net, data, work):  # type: ignore[no-untyped-def]
    """Which rows of a layer this thread takes; the bias is row I. No result depends on it."""
    rows = net.widths[layer]
    if layer == 0 and sparse_input(data.form):
        first, last = work.bounds[thread], work.bounds[thread + 1]
    else:
        first, last = rows * thread // threads, rows * (thread + 1) // threads
    return first, last + 1 if thread == threads - 1 else last


@fast
def square_sum(g):  # type: ignore[no-untyped-def]
    """The sum of the squares of a row, in float64."""
    total = 0.0
    for o in range(g.size):
        total += np.float64(g[o]) * np.float64(g[o])
    return total


@njit(nogil=True)
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
                apply(at, k == net.widths[layer], g, F(1), hyper, net, settings, layer, params, state)


@njit(nogil=True)
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
            apply(at, k == net.widths[layer], g, F(scale), hyper, net, settings, layer, params, state)


# ---------------------------------------------------------------- the one compiled function


def make(stamp: int, cache: bool):  # type: ignore[no-untyped-def]
    """Compile the step. `stamp` is a hash of the kernels' sources: Numba's cache sees closures, but no other files."""

    @njit(nogil=True, cache=cache, fastmath=FAST, error_model="numpy")
    def run(
        thread: int,
        threads: int,
        mode: int,
        order: np.ndarray,
        batch_size: int,
        epoch: int,
        step: int,
        hyper: np.ndarray,
        net: Net,
        data: Data,
        settings: Settings,
        params: int,
        state: tuple[int, int],
        work: Work,
        totals: np.ndarray,
    ) -> int:
        """Thread `thread` of `threads`, for len(hyper) steps from `step` on; hyper (S, 3) is `train`'s `steps`."""
        for s in range(hyper.shape[0]):
            begin = (step + s) * batch_size
            size = min(batch_size, order.size - begin)
            weight = 0.0
            for i in range(size):
                weight += data.weights[order[begin + i]] if data.weights.size else 1.0
            # without barriers a thread may be a batch ahead: there its place in the buffers must not depend on the size
            shared = size if mode >= GRADIENT else batch_size
            first, last = min(size, shared * thread // threads), min(size, shared * (thread + 1) // threads)
            over_samples(thread, mode, first, last, begin, epoch, weight, order, net, data, settings, params, work)
            if mode < GRADIENT:
                continue
            if sparse_input(data.form):
                by_columns(thread, begin, size, order, net, data, work)
            if wait(work.barrier, threads):
                break
            if thread == 0:
                for i in range(size):
                    w = data.weights[order[begin + i]] if data.weights.size else 1.0
                    totals[0] += w * work.losses[i]
                    totals[1] += w * work.hits[i]
                totals[2] += weight
            store = mode == GRADIENT or settings.clip_norm > 0
            over_rows(thread, threads, size, store, hyper[s], net, data, settings, params, state, work)
            if mode == TRAIN and store:
                if wait(work.barrier, threads):
                    break
                over_stored(thread, threads, hyper[s], net, data, settings, params, state, work)
            if wait(work.barrier, threads):
                break
        return stamp

    return run


# ---------------------------------------------------------------- the kernels (see fastnn.kernels)

NO_STEPS = np.zeros((1, 3))


def _run(
    job: Job, mode: int, order: np.ndarray, epoch: int, step: int, hyper: np.ndarray, batch: int, sums: Totals = NOTHING
) -> Work:
    order = np.ascontiguousarray(order, np.int64)
    net, data, settings, work, state = prepare(job, order, batch, mode < GRADIENT)
    work.totals[:] = sums
    params = job.parameters.ctypes.data
    arguments = (mode, order, batch, epoch, step, hyper, net, data, settings, params, state, work, work.totals)
    launch.in_threads(launch.compiled(make), job.threads, arguments, work.state)
    return work


def _pass(job: Job, mode: int) -> Work:
    """One pass over all examples in their order."""
    batch = min(4 * BLOCK * job.threads, max(len(job.examples), 1))
    hyper = np.zeros((-(-len(job.examples) // batch), 3))
    return _run(job, mode, np.arange(len(job.examples)), 0, 0, hyper, batch)


def predict(job: Job, outputs: np.ndarray) -> None:
    """Write the network's outputs for all examples to `outputs` (N, O) float32."""
    outputs[...] = _pass(job, PREDICT).predictions


def score(job: Job) -> Totals:
    """Loss and hits over all examples, without dropout or label smoothing."""
    work, weights = _pass(job, SCORE), job.examples.weights
    share = np.ones(len(job.examples)) if weights is None else weights.astype(np.float64)
    return Totals(float((work.losses * share).sum()), float((work.hits * share).sum()), float(share.sum()))


def gradients(job: Job, rows: np.ndarray, epoch: int = 0) -> tuple[Totals, np.ndarray]:
    """The gradient of the mean loss over the samples `rows` (B,), as a flat buffer like the parameters."""
    work = _run(job, GRADIENT, rows, epoch, 0, NO_STEPS, len(rows))
    return Totals(*work.totals.tolist()), work.gradient.copy()


def train(job: Job, order: np.ndarray, epoch: int, first: int, steps: np.ndarray, totals: Totals = NOTHING) -> Totals:
    """Take ``len(steps)`` optimiser steps; see `fastnn.kernels`."""
    work = _run(job, TRAIN, order, epoch, first, steps, job.batch_size, totals)
    return Totals(*work.totals.tolist())


def warm() -> launch.Compilation:
    """Compile the step, or fetch it from the cache; at once if this process has it already."""
    architecture = Architecture.of([Input(1), Dense(1)])
    job = Job(architecture, aligned_zeros(architecture.size), Examples(np.ones((1, 1), np.float32)))
    return launch.timed(lambda: launch.compiled(make), lambda: predict(job, np.empty((1, 1), np.float32)))
