"""Turns a job into what the compiled step reads: the network as numbers, the input packed, and buffers to work in."""

from typing import Any, NamedTuple

import numpy as np

from fastnn.kernels.barrier import STATE_WORDS
from fastnn.kernels.job import Examples, Job
from fastnn.kernels.rows import ACTIVATION_CODES, LOSS_CODES, UPDATE_CODES
from fastnn.layers import LANES, Architecture, aligned_zeros
from fastnn.rng import drop_threshold

# How the input is stored: rows as they are, or only their non-zero values with 16-bit column numbers.
DENSE_BYTES, DENSE_FLOATS, SPARSE_BYTES, SPARSE_FLOATS = 0, 1, 2, 3

# Measured on 784-H-10, batch 100, two threads: with half of the values non-zero, an epoch on sparse rows takes 0.64
# (H = 300) and 0.94 (H = 30) of the time that it takes on dense ones; with 60%, 0.69 and 1.04.
SPARSE_BELOW = 0.5
SPARSE_COLUMNS = 2**16
# A delta goes back through W by dot products with its rows. Rows of few vectors cost more in adding up each product
# than in multiplying: there a transposed copy, which each update writes to, turns the sums by 90 degrees.
MIRROR_UP_TO = 64
SLICE = 2**22  # values packed at a time, in whole rows: bounds the memory that it takes
SAMPLE = 2048  # rows that density and column counts are judged by

# The buffers of each thread: places in a row of Work.scratch, which holds their addresses.
COLUMNS, VALUES, CURSOR, SAMPLES, AMOUNTS, COLUMN, ROW, TARGET, OUTPUT = range(9)


class Net(NamedTuple):
    """An architecture as numbers (all int64 but where said)."""

    widths: np.ndarray  # (L + 1,)
    strides: np.ndarray  # (L,) floats from one row of W to the next
    weight_at: np.ndarray  # (L,) where W begins in the flat buffer; b stands behind its I rows
    row_at: np.ndarray  # (L,) number of the first row of W among all rows of parameters
    activations: np.ndarray  # (L,) codes
    arguments: np.ndarray  # float32 (L,)
    loss: int
    thresholds: np.ndarray  # uint64 (L,) of the dropout on a layer's input; 0: none
    kept: np.ndarray  # float32 (L,) 1 / (1 - rate)
    scale: np.ndarray  # float32 (I,)
    shift: np.ndarray  # float32 (I,)


class Data(NamedTuple):
    """Examples as the step reads them; an empty array (or address 0) where there is nothing."""

    form: int
    values: int  # address: X itself (N, I), or its non-zero values
    starts: np.ndarray  # int64 (N + 1,) where a row's non-zero values begin
    columns: np.ndarray  # uint16, the columns of the non-zero values
    labels: np.ndarray  # int32 (N,)
    targets: int  # address of float32 (N, O)
    weights: np.ndarray  # float32 (N,)


class Settings(NamedTuple):
    """What the step needs to know of the training."""

    update: int
    first: float
    second: float
    weight_decay: np.float32
    clip_norm: float
    smoothing: np.float32
    smoothing_classes: np.float32
    seed: np.uint64


class Work(NamedTuple):
    """Buffers. Those of the batch are addresses (L,); sample i of layer l stands at ``inputs[l] + 4 stride i``."""

    barrier: int  # address of `state`
    state: np.ndarray  # int32, the barrier's
    inputs: np.ndarray
    input_strides: np.ndarray
    deltas: np.ndarray
    mirrors: np.ndarray  # (L,) of W transposed (O, I padded), kept up to date by the step; 0 where there is none
    outputs: int
    losses: np.ndarray  # float32, of each sample of the batch, or of all
    hits: np.ndarray  # float32
    totals: np.ndarray  # float64 (3,)
    predictions: np.ndarray  # float32 (N, O)
    gradient: np.ndarray  # float32 (size,)
    squares: np.ndarray  # float64, the sum of squares of each gradient row
    counting: np.ndarray  # int32: 0, 1, 2 ...
    bounds: np.ndarray  # (threads + 1,) which columns of a sparse input each thread takes
    capacity: int  # non-zero values of a batch that a thread has room for
    scratch: np.ndarray  # (threads, 9) addresses
    memory: np.ndarray  # what the addresses point into


def describe(architecture: Architecture) -> Net:
    """The architecture as numbers."""
    net, rows = architecture, [0]
    for inputs in net.widths[:-2]:
        rows.append(rows[-1] + inputs + 1)
    inputs = net.widths[0]
    return Net(
        np.array(net.widths, np.int64),
        np.array(net.strides, np.int64),
        np.array(net.weight_offsets, np.int64),
        np.array(rows, np.int64),
        np.array([ACTIVATION_CODES[name] for name in net.activations], np.int64),
        np.array(net.arguments, np.float32),
        LOSS_CODES[net.loss],
        np.array([drop_threshold(rate) for rate in net.dropout], np.uint64),
        np.array([1 / (1 - rate) for rate in net.dropout], np.float32),
        np.ascontiguousarray(np.broadcast_to(np.asarray(net.scale, np.float32), inputs)).copy(),
        np.ascontiguousarray(np.broadcast_to(np.asarray(net.shift, np.float32), inputs)).copy(),
    )


def settle(job: Job) -> Settings:
    """The training's settings as numbers."""
    binary = job.architecture.loss == "binary_cross_entropy"
    return Settings(
        UPDATE_CODES[job.optimizer],
        float(job.first),
        float(job.second),
        np.float32(job.weight_decay),
        float(job.clip_norm),
        np.float32(job.label_smoothing),
        np.float32(2 if binary else job.architecture.widths[-1]),
        np.uint64(job.seed),
    )


class Packed(NamedTuple):
    """The input in the form that makes the first layer fastest."""

    form: int
    values: np.ndarray
    starts: np.ndarray
    columns: np.ndarray
    longest: int  # most non-zero values of a row
    shares: np.ndarray  # float64 (I + 1,): share of the work on columns below k


def pack(X: np.ndarray, sparse_allowed: bool) -> Packed:
    """Store X as rows of non-zero values where few are, and as it is otherwise.

    A zero adds exactly nothing to a sum, so the form changes no result.
    """
    rows, inputs = X.shape
    real = int(X.dtype != np.uint8)
    sample = X[:: -(-rows // SAMPLE)] != 0 if rows else np.zeros((1, inputs), bool)
    # two rows' worth of work for the update itself
    cost = sample.mean(axis=0) * 100 + 2
    shares = np.concatenate([[0.0], np.cumsum(cost) / cost.sum()])
    if not sparse_allowed or inputs > SPARSE_COLUMNS or sample.mean() >= SPARSE_BELOW:
        return Packed(DENSE_BYTES + real, X, np.zeros(1, np.int64), np.zeros(0, np.uint16), 0, shares)
    starts, some = np.zeros(rows + 1, np.int64), max(1, SLICE // inputs)
    for at in range(0, rows, some):
        starts[at + 1 : at + 1 + some] = np.count_nonzero(X[at : at + some], axis=1)
    longest = int(starts.max(initial=0))
    np.cumsum(starts, out=starts)
    columns, values = np.empty(starts[-1], np.uint16), np.empty(starts[-1], X.dtype)
    for at in range(0, rows, some):
        block = X[at : at + some]
        present = block != 0
        part = slice(starts[at], starts[min(at + some, rows)])
        columns[part] = np.nonzero(present)[1]
        values[part] = block[present]
    return Packed(SPARSE_BYTES + real, values, starts, columns, longest, shares)


def packed(job: Job) -> Packed:
    """The job's input, packed at the first call and kept with the examples."""
    examples, net = job.examples, job.architecture
    # a shift turns zeros into other numbers, and dropout on the input draws for each value: both want dense rows
    sparse_allowed = not np.any(net.shift) and not drop_threshold(net.dropout[0])
    form: Packed | None = examples.packed
    if form is None or (form.form >= SPARSE_BYTES and not sparse_allowed):
        form = examples.packed = pack(np.ascontiguousarray(examples.X), sparse_allowed)
    return form


def read(examples: Examples, form: Packed) -> Data:
    """The examples with their packed input, as the step reads them."""
    none = np.zeros(0, np.float32)
    return Data(
        form.form,
        form.values.ctypes.data,
        form.starts,
        form.columns,
        np.zeros(0, np.int32) if examples.labels is None else np.require(examples.labels, np.int32, ["C", "W"]),
        0 if examples.targets is None else examples.targets.ctypes.data,
        none if examples.weights is None else np.require(examples.weights, np.float32, ["C", "W"]),
    )


def mirrored(architecture: Architecture) -> np.ndarray:
    """Which layers keep their W transposed too, for the way back: bool (L,)."""
    return np.array([layer > 0 and stride <= MIRROR_UP_TO for layer, stride in enumerate(architecture.strides)])


def allocate(job: Job, form: Packed, batch: int, capacity: int, everything: bool) -> Work:
    """Buffers for batches of `batch` samples with `capacity` non-zero values.

    `everything`: with room for the predictions and losses of all N, instead of one for the gradient.
    """
    net, threads = job.architecture, job.threads
    inputs, outputs = net.widths[0], net.widths[-1]
    first = 0 if form.form >= SPARSE_BYTES else -(-inputs // LANES) * LANES
    input_strides = [first, *net.strides[:-1]]
    widest = max(*net.strides, *input_strides)
    own = [inputs, inputs, inputs, capacity, capacity, batch, widest, outputs, outputs]
    sizes = [batch * s for s in input_strides] + [batch * s for s in net.strides]
    sizes += [o * s * kept for o, s, kept in zip(net.widths[1:], input_strides, mirrored(net).tolist(), strict=True)]
    sizes += [batch * net.strides[-1]]
    # each buffer on cache lines of its own; 32-bit words
    places = np.cumsum([0] + [-(-s // LANES) * LANES + LANES for s in sizes + own * threads])
    memory = aligned_zeros(int(places[-1]))
    address = memory.ctypes.data + 4 * places
    layers = len(net.strides)
    state = aligned_zeros(STATE_WORDS, np.int32)
    samples = max(len(job.examples), 1) if everything else batch
    rows = sum(width + 1 for width in net.widths[:-1])
    return Work(
        state.ctypes.data,
        state,
        address[:layers].copy(),
        np.array(input_strides, np.int64),
        address[layers : 2 * layers].copy(),
        np.where(mirrored(net), address[2 * layers : 3 * layers], 0),
        int(address[3 * layers]),
        np.zeros(samples, np.float32),
        np.zeros(samples, np.float32),
        np.zeros(3),
        np.zeros((samples if everything else 0, outputs), np.float32),
        aligned_zeros(0 if everything else net.size),
        np.zeros(rows),
        np.arange(max(batch, inputs), dtype=np.int32),
        np.searchsorted(form.shares, np.arange(threads + 1) / threads).astype(np.int64).clip(0, inputs),
        capacity,
        address[3 * layers + 1 : -1].reshape(threads, len(own)).copy(),
        memory,
    )


def prepare(job: Job, order: np.ndarray, batch: int, everything: bool) -> tuple[Net, Data, Settings, Work, Any]:
    """All that the compiled step needs to do the samples in `order` in batches, `everything` as for `allocate`.

    The buffers are made at the first call and kept with the job. A sample may stand in the order more than once.
    """
    form = packed(job)
    needed = 0
    if form.form >= SPARSE_BYTES and order.size:
        lengths = form.starts[order + 1] - form.starts[order]
        needed = int(np.add.reduceat(lengths, np.arange(0, order.size, batch)).max())
    key = (batch, job.threads, form.form, everything, len(job.examples) if everything else 0)
    if job.workspace is None or job.workspace[0] != key or job.workspace[2].capacity < needed:
        room = min(needed + needed // 8, batch * form.longest)  # the next order's fullest batch will be another
        job.workspace = key, describe(job.architecture), allocate(job, form, batch, room, everything)
    _, net, work = job.workspace
    for layer in np.flatnonzero(work.mirrors):
        W = job.architecture.views(job.parameters)[layer][0]
        place = (int(work.mirrors[layer]) - work.memory.ctypes.data) // work.memory.itemsize
        stride = job.architecture.strides[layer - 1]
        work.memory[place : place + W.shape[1] * stride].reshape(-1, stride)[:, : len(W)] = W.T
    work.totals[:] = 0
    slots = [row.ctypes.data for row in job.state]
    state = (slots[0] if slots else 0, slots[1] if len(slots) > 1 else 0)
    return net, read(job.examples, form), settle(job), work, state
