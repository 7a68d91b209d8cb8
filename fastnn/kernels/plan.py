"""A job as a table of numbers: what the compiled step reads, and the memory that it works in.

The step takes addresses of tables of words (int64) and of numbers (float64), nothing else: no array has an owner to be
counted, nothing depends on an argument's type, and a call costs what its few words cost. Who calls keeps the arrays.
Letters: B samples of a batch, I inputs and O outputs of a layer, L dense layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, pairwise, product
from typing import Any

import numpy as np

from fastnn.data.compressed import Compressed
from fastnn.kernels import cost
from fastnn.kernels.apart import Apart
from fastnn.kernels.barrier import state_words
from fastnn.kernels.buffers import address_of, panels_of, write_ones
from fastnn.kernels.job import Job
from fastnn.kernels.listing import halves_of
from fastnn.kernels.losses import LOSS_CODES, LOSSES
from fastnn.kernels.reading import ALIKE, BYTES
from fastnn.kernels.rows import ACTIVATION_CODES, UPDATE_CODES
from fastnn.kernels.simd import IN_TWO_WAYS, MOST_PANELS, PANELS_APART, PANELS_AT_ONCE, WIDTH
from fastnn.kernels.skipping import ABREAST, SKIPPING
from fastnn.kernels.sparsity import input_of, room, sparse
from fastnn.kernels.threads import is_narrow, shares_units
from fastnn.kernels.threads import pieces as pieces_of
from fastnn.layers import LANES as PANEL
from fastnn.layers import Architecture, aligned_zeros
from fastnn.rng import drop_threshold

# ---------------------------------------------------------------- the tables

_place, JOB_WORDS = count(), 58
# The job's words. AT_: an address; 0 where there is nothing. Those up to AT_FIRST_STATE_2 may differ from call to call.
(
    AT_X,  # of lists their values, float32; then int32 columns, and int64 starts (N + 1,)
    AT_X_COLUMNS,
    AT_X_STARTS,
    AT_LABELS,  # int32 (N,)
    AT_TARGETS,  # float32 (N, O)
    AT_WEIGHTS,  # float32 (N,)
    INPUT,  # BYTES, FLOATS or LISTS
    LISTED,  # the same, or ALIKE: bytes that all have one scale
    UPDATE,  # code
    SEED,
    AT_GROUPS,  # int64 (GROUPS, GROUP_WORDS): where their columns of W, and of the optimiser's state, stand
    AT_PARAMETERS,
    AT_STATE,
    AT_STATE_2,
    AT_FIRST,  # what the places of the groups are counted from
    AT_FIRST_STATE,
    AT_FIRST_STATE_2,
    LAYERS,  # L
    AT_LAYERS,  # L rows of LAYER_WORDS words
    AT_NUMBERS,  # the job's numbers
    AT_BARRIER,
    JUMP,  # floats from panel to panel
    AT_SCALE,  # float32 (I,)
    AT_SHIFT,
    SPARSE,  # whether the first layer reads only what is not zero
    SCATTERED,  # whether its gradient is summed sample by sample
    IN_PLACE,  # and, where it descends the gradient, right onto W
    GROUPS,  # of the first layer's panels, which threads, if there are as many, share out; 0: they share out samples
    PAIRS_BELOW,  # WIDTH panels each, of the first layer, whose deltas who shares out its units makes; 0: by samples
    ROOM,  # values that the lists of a batch can hold
    AT_EDGES,  # int64 (BLOCKS + 1,): the columns at which blocks of columns begin
    BLOCKS,  # where the gradient is scattered, two: halves, whose sums are kept apart
    FAR,  # whether a batch is so large that columns are summed few panels at a time, in two ways
    AHEAD,  # how many places behind the present row that one stands which is fetched, but for narrow nets
    FINEST,  # samples that a thread claims at least
    PIECES,  # of a batch, whose gradients are summed apart, and added up; 0: none
    AT_PIECES,  # float32 (PIECES, SIZE): their gradients
    AT_PIECE_TOTALS,  # float64 (PIECES, 8): the sums of their losses and hits, on cache lines of their own
    NARROW,  # whether samples lie side by side (kernels/narrow.py)
    SIZE,  # of the flat buffer of parameters
    AT_GRANULES,  # int64 (GRANULES, GRANULE_WORDS): all rows of parameters, in pieces that threads claim
    GRANULES,
    AT_SCRATCH,  # words (threads, SCRATCH_WORDS)
    LOSS,  # code
    ACTIVATED,  # whether the loss takes outputs, not Z
    AT_OUTPUTS,  # Z, then A of the last layer, in panels
    AT_LOSSES,  # float32, of each sample of the batch at its place, or of all
    AT_HITS,
    AT_TOTALS,  # float64 (3,)
    AT_PREDICTIONS,  # float32 (N, O)
    AT_GRADIENT,  # float32 (size,)
    AT_SQUARES,  # float64 (SQUARES,): sums of squares of parts of the gradient
    SQUARES,
    AT_FIRST_Z,  # where units of the first layer put its Z, perhaps rectified; or halves of its columns theirs
    AT_REPLICAS,  # of each thread two tables of its own of all these words, for a call; 0: none (kernels/replicas.py)
    STEPS_DONE,  # of a call, by a thread in the first of whose tables it is
    AT_ABOVE,  # the parameters that it has for itself, and their state: float32 (ABOVE,)
    ABOVE,
) = (next(_place) for _ in range(JOB_WORDS))

# The job's numbers.
FIRST, SECOND, WEIGHT_DECAY, CLIP_NORM, SMOOTHING, SMOOTHING_CLASSES, JOB_NUMBERS = range(7)
# Behind them, the numbers of each layer: the activation's argument, and 1 / (1 - rate) of the dropout on its input.
ARGUMENT, KEPT, LAYER_NUMBERS = range(3)

# A layer's words.
(
    INPUTS,  # I
    OUTPUTS,  # O
    PANELS,  # that its O units take: STRIDE / 16
    STRIDE,  # floats from one row of W to the next, in the flat buffer
    OFFSET,  # where W begins in it; b stands behind its I rows
    AT_W,  # where the step reads it, and the floats there from row to row, and from panel to panel
    ROW_STEP,
    PANEL_STEP,
    ACTIVATION,  # code
    AT_INPUTS,  # its input in panels; unit I is always 1: so row I of the gradient is that of b
    AT_DELTAS,  # dLoss/dZ in panels; perhaps where the next layer's input stands
    THRESHOLD,  # of the dropout on its input; 0: none
    IN_LANES,  # whether Z is summed in all lanes
    BY_OUTPUTS,  # whether a piece's gradient has a row for each output: W's, turned, panel of inputs by panel
    RECTIFIED,  # whether it is a hidden ReLU without dropout behind it: its derivative is told by what it has made
    SKIPS,  # whether sums over its input may skip zeros, as a ReLU has made it; on CPUs where that pays
    SKIPS_BACK,  # whether those over its deltas may, as it is one
) = range(17)
LAYER_WORDS = 17

# A group's words: where its columns of row 0 begin, and the floats from there to those of the next row.
GROUP_BEGIN, GROUP_STRIDE = range(2)
GROUP_WORDS = 2

# A granule's words: its layer, its rows (row I is that of b), its panels of units, the rows, whole ones, that it takes
# where a stored gradient is applied, the number of its first sum of squares, and its group of the first layer.
OF_LAYER, BEGIN, END, FROM_PANEL, OF_PANELS, APPLY_BEGIN, APPLY_END, FIRST_SQUARE, OF_GROUP = range(9)
GRANULE_WORDS = 9

# A thread's scratch: addresses.
PACKED, TILE, ROW, DELTA, TARGETS, SHARES, SUMS = range(7)
FIRST_INPUTS = 7  # the first layer's input in panels, unless it reads only what is not zero: then
PAIRS = 8  # (ROOM, 2): int32 columns, and behind each its float32 value, sample by sample
STARTS = 9  # int32 (B, BLOCKS + 1): where each block of columns begins in them
SORTED = 10  # (ROOM, 2): the same by columns, the sample and behind it the value
BOUNDS = 11  # int32 (I + 1,): where each column begins in them; and the end
SCRATCH_WORDS = 12

DEPTH = 384 // WIDTH  # rows of weights that tiles multiply at once: 24 KiB, what a first-level cache has to spare
COLUMNS = 16  # of sparse input, whose rows of the gradient are applied together
RANGES = 4  # of columns: a group's gradient is claimed in so many parts
GRANULES_ABREAST = 8  # of a gradient that skips zeros, while the deltas of some samples stay near
ROWS_ABREAST = PANEL * GRANULES_ABREAST + 1  # at most: the last granule may have the row of b, too
HALVES = 2  # of a batch, in which a panel of units of a dense first layer is claimed
# Places, whole groups, between samples of pieces, or of threads: who writes line after line fetches some beyond them,
# which another core writes. Epochs on two, and so: 24-8-2, batch 200, 3.6 and 2.6 ms; 32-64-64-4, 256, 25.9 and 20.2.
PIECES_APART = 64
BLOCK = 128  # samples that go through all layers together: their activations stay in the second-level cache


@dataclass
class Plan:
    """The tables of a job, and all that they point to.

    Parameters
    ----------
    key : tuple
        What the plan was made for: batch, threads and the like.
    words : int64 array
        The address of the first is all that the step needs.
    state : int32 array
        The barrier's.
    """

    key: tuple[Any, ...]
    words: np.ndarray
    numbers: np.ndarray
    state: np.ndarray
    totals: np.ndarray
    losses: np.ndarray
    hits: np.ndarray
    predictions: np.ndarray
    gradient: np.ndarray
    layers: np.ndarray  # the table of their words
    granules: np.ndarray
    edges: np.ndarray  # of the blocks of columns
    places: np.ndarray  # of the groups, in the flat buffers
    alike: bool  # whether all inputs have one scale
    apart: Apart | None
    replicas: Any  # kernels/replicas.py
    at_words: int
    at_places: int
    kept: list[np.ndarray]  # alive as long as the plan
    given: list[np.ndarray]  # alive for a call


def prepare(job: Job, batch: int, everything: bool) -> Plan:
    """The plan for batches of `batch` samples: made at the first call, and kept with the job.

    `everything`: with room for the predictions and losses of all N, instead of one for the gradient.
    """
    examples = job.examples
    samples, slots = len(examples) if everything else 0, len(job.state)
    # in training augmented images may be more or less dense from epoch to epoch, and go one way all the same
    way = everything and sparse(job, batch)
    key = (batch, job.threads, everything, samples, input_of(examples.X), way, job.clip_norm > 0, slots)
    plan: Plan | None = job.workspace if isinstance(job.workspace, Plan) else None
    if plan is None or plan.key != key or (plan.words[SPARSE] and plan.words[ROOM] < room(job, batch)):
        plan = job.workspace = allocate(job, batch, everything, key)
    _fill_in(plan, job)
    return plan


def edges_of(inputs: int, panels: int) -> np.ndarray:
    """Where blocks of columns begin (BLOCKS + 1,): a block of W by the panels of a group stays in a near cache."""
    blocks = max(1, -(-inputs * panels * PANEL * 4 // cost.BLOCK_BYTES))
    edges = inputs * np.arange(blocks + 1) // blocks // 8 * 8  # so many columns are listed at a time, or 64
    edges[-1] = inputs
    return edges


def groups_of(panels: int, threads: int) -> int:
    """How many groups of panels a first layer on sparse input has: as few as can be, for each thread as many."""
    most = PANELS_APART if panels <= PANELS_APART else PANELS_AT_ONCE
    return min(panels, -(-panels // most // threads) * threads)


def cut(panels: int, groups: int, group: int) -> tuple[int, int]:
    """The panels of a group: from which to which."""
    return panels * group // groups, panels * (group + 1) // groups


def granules_of(widths: Sequence[int], threads: int, groups: int, scattered: bool) -> tuple[np.ndarray, int]:
    """The granules of all layers' rows (GRANULES, GRANULE_WORDS), in the order of the threads' shares; and SQUARES.

    A granule is a panel of inputs, all units of it; or, where the first layer has groups of units, such a group, and a
    range of inputs, all of them if the gradient is scattered. The last rows have that of b too. A row's
    work differs from layer to layer, so each share has its part of every layer: granules are dealt out by how far down
    their layer they stand. Of a share those of a dense layer follow each other, with no row between them.
    """
    rows, squares = [], 0
    for layer, inputs in enumerate(widths[:-1]):
        panels, here = panels_of(widths[layer + 1]), []
        if layer == 0 and groups:
            cuts = np.unique(inputs * np.arange(1 if scattered else RANGES) // RANGES // PANEL * PANEL).tolist()
            cuts.append(inputs + 1)
            for group, (number, (begin, end)) in product(range(groups), enumerate(pairwise(cuts))):
                first, last = cut(panels, groups, group)
                apply = (begin + (end - begin) * part // groups for part in (group, group + 1))
                here.append((begin, end, first, last - first, *apply, squares + number * panels + first, group))
            squares += (len(cuts) - 1) * panels
        else:
            cuts = [*range(0, inputs, PANEL), inputs + 1]
            here = [(begin, end, 0, panels, begin, end, squares + begin, 0) for begin, end in pairwise(cuts)]
            squares += inputs + 1
        rows += [((number + 0.5) / len(here), layer, *granule) for number, granule in enumerate(here)]
    dealt = np.array([row[1:] for row in sorted(rows)], np.int64)
    for thread in range(threads):
        share = dealt[len(dealt) * thread // threads : len(dealt) * (thread + 1) // threads]
        share[:] = share[np.argsort(share[:, OF_LAYER], kind="stable")]
    return dealt, squares


def layer_table(net: Architecture, address: np.ndarray, batch: int, in_place: bool) -> np.ndarray:
    """The words of all layers, for a batch; at `address` stand all inputs, then all deltas.

    `in_place`: deltas of a ReLU of whole panels, which hold no bias's 1, take the place of what it has made.
    """
    widths, layers = net.widths, len(net.strides)
    table = np.zeros((layers, LAYER_WORDS), np.int64)
    for layer, (row, shape) in enumerate(zip(table, pairwise(widths), strict=True)):
        row[[INPUTS, OUTPUTS]] = shape
        row[[PANELS, STRIDE]] = panels_of(widths[layer + 1]), net.strides[layer]
        row[[OFFSET, AT_INPUTS, AT_DELTAS]] = net.weight_offsets[layer], address[layer], address[layers + layer]
        row[[ROW_STEP, PANEL_STEP]] = net.strides[layer], PANEL
        row[[ACTIVATION, THRESHOLD]] = ACTIVATION_CODES[net.activations[layer]], drop_threshold(net.dropout[layer])
        row[[IN_LANES, BY_OUTPUTS]] = cost.lanes_pay(*shape, batch), cost.turning_pays(*shape)
        if SKIPPING and layer > 0:
            row[SKIPS], row[SKIPS_BACK] = (net.activations[at] == "relu" for at in (layer - 1, layer))
        hidden = layer < layers - 1 and not drop_threshold(net.dropout[layer + 1])
        row[RECTIFIED] = hidden and net.activations[layer] == "relu"
        if in_place and row[RECTIFIED] and row[OUTPUTS] % PANEL == 0:
            row[AT_DELTAS] = address[layer + 1]
    return table


def allocate(job: Job, batch: int, everything: bool, key: tuple[Any, ...]) -> Plan:
    """Buffers and tables for batches of `batch` samples."""
    net, threads, examples, is_sparse = job.architecture, job.threads, job.examples, sparse(job, batch)
    widths, layers = net.widths, len(net.strides)
    pieces = 0 if everything else pieces_of(net, batch, is_sparse)
    narrow = pieces > 0 and not is_sparse and is_narrow(net, batch)
    rows = batch  # samples that there is place for between the layers
    if pieces:
        rows = batch + PIECES_APART * (pieces - 1) if narrow else threads * (BLOCK + PIECES_APART)
    # an odd number of cache lines: a power of two would put all panels in the same sets; but whole groups of samples
    jump = PANEL * PANEL * panels_of(rows) if narrow else PANEL * (rows | 1)
    scattered = is_sparse and cost.scatter_pays(widths[1])
    groups = groups_of(panels_of(widths[1]), threads) if is_sparse else 0
    if not (is_sparse or everything) and shares_units(net, batch):
        groups = panels_of(widths[1])  # of one panel each
    own_inputs = not is_sparse and 1 < threads <= groups
    parts = [cut(panels_of(widths[1]), groups, group) for group in range(groups)]
    most_panels = max((end - begin for begin, end in parts), default=0) if is_sparse else 0
    edges = halves_of(widths[0]) if scattered else edges_of(widths[0], most_panels)
    granules, squares_of = granules_of(widths, threads, 0 if pieces else groups, scattered)
    blocks, most = len(edges) - 1, room(job, batch) if is_sparse else 0
    widest, in_lanes = max(net.strides), cost.TURNED if everything else batch  # no prediction depends on their number
    few = max([i for i, o in pairwise(widths) if cost.lanes_pay(i, o, in_lanes)], default=0)
    own = {
        PACKED: PANEL * max(WIDTH * DEPTH, PANEL + few),
        TILE: PANEL * max(ABREAST * max(BLOCK, ROWS_ABREAST), COLUMNS * PANELS_AT_ONCE, widest if pieces else 0),
        ROW: widest,
        DELTA: widest,
        TARGETS: max(widest, PANEL * BLOCK),
        SHARES: BLOCK + PANEL,
        SUMS: widths[0] * PANEL * MOST_PANELS if scattered else 0,
        FIRST_INPUTS: panels_of(widths[0] + 1) * jump if own_inputs else 0,
        PAIRS: 2 * most,
        STARTS: rows * (blocks + 1) if is_sparse else 0,
        SORTED: 0 if scattered else 2 * most,
        BOUNDS: widths[0] + 1 if is_sparse else 0,
    }
    # unit I of an input is 1, and has a panel of its own where I is a multiple of 16
    sizes = [panels_of(width + 1) * jump for width in widths[:-1]]
    if is_sparse or own_inputs:
        sizes[0] = 0
    sizes += [panels_of(width) * jump for width in widths[1:]] + [panels_of(widths[-1]) * jump]
    # each buffer on cache lines of its own; 32-bit words
    places = np.cumsum([0] + [-(-size // PANEL) * PANEL + PANEL for size in [*sizes, *[*own.values()] * threads]])
    memory = aligned_zeros(int(places[-1]))
    address = memory.ctypes.data + 4 * places
    scratch = np.zeros((threads, SCRATCH_WORDS), np.int64)
    scratch[:, list(own)] = address[len(sizes) : -1].reshape(threads, len(own))
    inputs = list(zip(widths, sizes, address.tolist(), strict=False))[:layers]
    if own_inputs:
        inputs += [(widths[0], own[FIRST_INPUTS], at) for at in scratch[:, FIRST_INPUTS].tolist()]
    elif not is_sparse:
        scratch[:, FIRST_INPUTS] = address[0]
    for width, size, at in inputs:
        if size:
            write_ones(memory[(at - memory.ctypes.data) // 4 :], width, rows, jump, narrow)
    table = layer_table(net, address, in_lanes, pieces > 0 and not narrow)
    table[0, BY_OUTPUTS] &= not is_sparse
    state = aligned_zeros(state_words(threads), np.int32)
    samples = max(len(examples), 1) if everything else max(batch, rows)
    words = np.zeros(JOB_WORDS, np.int64)
    group_places = np.zeros((groups, GROUP_WORDS), np.int64)
    group_places[:, GROUP_BEGIN] = [PANEL * begin for begin, _ in parts]
    group_places[:, GROUP_STRIDE] = net.strides[0]
    plan = Plan(
        key,
        words,
        np.concatenate([np.zeros(JOB_NUMBERS), *np.column_stack([net.arguments, 1 / (1 - np.array(net.dropout))])]),
        state,
        np.zeros(3),
        aligned_zeros(samples),
        aligned_zeros(samples),
        np.zeros((samples if everything else 0, widths[-1]), np.float32),
        aligned_zeros(0 if everything else net.size),
        table,
        granules,
        edges,
        group_places,
        not np.ptp(net.scale),
        None,
        None,
        words.ctypes.data,
        group_places.ctypes.data,
        [],
        [],
    )
    squares = np.zeros(squares_of)
    sums, piece_totals = aligned_zeros(pieces * net.size), aligned_zeros(16 * pieces)
    scale, shift = (
        np.ascontiguousarray(np.broadcast_to(np.asarray(values, np.float32), widths[0])).copy()
        for values in (net.scale, net.shift)
    )
    # not for a stored gradient: that is applied by whole rows
    worth_it = threads > 1 if is_sparse else groups > 1 and widths[0] * net.strides[0] <= cost.MOVED
    if threads <= groups and not everything and job.clip_norm == 0 and worth_it:
        plan.apart = Apart.of([PANEL * (end - begin) for begin, end in parts], widths[0] + 1, 1 + len(job.state))
    plan.kept += [table, scratch, squares, scale, shift, edges, granules, sums, piece_totals, memory]
    words[[LAYERS, AT_LAYERS, JUMP, AT_NUMBERS]] = layers, table.ctypes.data, jump, plan.numbers.ctypes.data
    words[[AT_BARRIER, AT_SCALE, AT_SHIFT]] = state.ctypes.data, scale.ctypes.data, shift.ctypes.data
    words[[SPARSE, SCATTERED, IN_PLACE]] = is_sparse, scattered, scattered and batch <= cost.IN_PLACE
    pairs = -(-int(table[0, PANELS]) // WIDTH)
    kept = table[0, RECTIFIED] and not scattered and pairs >= 2 * threads  # no factors come from who has the samples
    words[PAIRS_BELOW] = pairs if kept and batch * widths[1] <= cost.KEPT_DELTAS else 0
    words[FAR] = batch > cost.FAR and IN_TWO_WAYS > 0
    words[[ROOM, BLOCKS, GROUPS, GRANULES, SQUARES]] = most, blocks, groups, len(granules), squares_of
    row_bytes = widths[0] * (1 if input_of(examples.X) == BYTES else 4)
    words[FINEST], words[AHEAD] = cost.finest(net.size), cost.places_ahead(row_bytes, batch if pieces else 0)
    words[[PIECES, AT_PIECES, SIZE, NARROW]] = pieces, sums.ctypes.data, net.size, narrow
    words[AT_PIECE_TOTALS] = piece_totals.ctypes.data
    words[[AT_EDGES, AT_SCRATCH, AT_GRANULES]] = edges.ctypes.data, scratch.ctypes.data, granules.ctypes.data
    words[AT_OUTPUTS], words[AT_FIRST_Z] = address[2 * layers], address[1 if layers > 1 else 2 * layers]
    words[[AT_LOSSES, AT_HITS, AT_TOTALS]] = plan.losses.ctypes.data, plan.hits.ctypes.data, plan.totals.ctypes.data
    words[[AT_PREDICTIONS, AT_GRADIENT]] = plan.predictions.ctypes.data, plan.gradient.ctypes.data
    words[[AT_SQUARES, LOSS, ACTIVATED]] = squares.ctypes.data, LOSS_CODES[net.loss], LOSSES[net.loss].activated
    return plan


def take_apart(plan: Plan) -> None:
    """Let the step work where the groups of the first layer's units are apart, until the plan is prepared again."""
    assert plan.apart is not None
    plan.words[AT_GROUPS] = plan.apart.places.ctypes.data
    plan.words[AT_FIRST : AT_FIRST_STATE_2 + 1] = [*[own.ctypes.data for own in plan.apart.room], 0, 0][:3]
    if not plan.words[SPARSE]:
        row = plan.layers[0]
        row[[AT_W, ROW_STEP, PANEL_STEP]] = plan.words[AT_FIRST], PANEL, PANEL * (row[INPUTS] + 1)


def _fill_in(plan: Plan, job: Job) -> None:
    """What may differ from call to call: examples, settings, parameters, state."""
    examples, kind = job.examples, input_of(job.examples.X)
    X: list[np.ndarray | None]
    if isinstance(examples.X, Compressed):
        X = [examples.X.values, examples.X.columns, examples.X.starts]
    else:
        X = [np.ascontiguousarray(examples.X), None, None]
    labels = None if examples.labels is None else np.ascontiguousarray(examples.labels, np.int32)
    given = [*X, labels, examples.targets, examples.weights]
    listed = ALIKE if kind == BYTES and plan.alike else kind
    parameters, slots = address_of(job.parameters), [*map(address_of, job.state), 0, 0][:2]
    seed = job.seed - (job.seed >> 63 << 64)  # as a word has it
    kept = parameters, *slots
    plan.words[: AT_FIRST_STATE_2 + 1] = [
        *(*map(address_of, given), kind, listed, UPDATE_CODES[job.optimizer], seed, plan.at_places),
        *kept,
        *kept,
    ]
    plan.words[AT_REPLICAS] = 0  # which an interrupt may have left
    plan.layers[:, AT_W] = parameters + 4 * plan.layers[:, OFFSET]
    plan.layers[0, ROW_STEP], plan.layers[0, PANEL_STEP] = plan.layers[0, STRIDE], PANEL
    classes = 2 if job.architecture.loss == "binary_cross_entropy" else job.architecture.widths[-1]
    plan.numbers[:JOB_NUMBERS] = job.first, job.second, job.weight_decay, job.clip_norm, job.label_smoothing, classes
    plan.given[:] = [part for part in given if part is not None]
