"""What each thread does for itself, with weights of its own: where to share it out takes longer than to do all of it.

A phase more costs time, and so do the deltas and weights that cores then hand over. So a step is one phase, of either

- halves of the columns of a sparse first layer, where little is above it: who claims one first adds up their Z and
  takes the batch through the layers above; a half's rows of W come then, and what it gives to Z of the next batch. The
  layers above are updated when all that others wait for is done, if there are others: an epoch of 784-30-10, batch 10,
  took 27.8 ms on two threads, and 29.5 when they came first. Of a half its values alone are listed; by groups of units
  each thread lists all, and took 28.5 ms at batch 10, where halves took 26.5, and 23.0 and 20.8 at batch 100; or
- pieces of a batch, whose gradients are few: who claims one first adds up those of the step before, and updates all
  weights.

The weights and the optimiser's state that each thread so has for itself are the same in all threads, to the last bit.
There are two sets of them, used by turns: what stood before a step stays until that step is over. So who has been late
takes them over from another thread.

`job` are the job's words, `own` those of one thread (kernels/plan.py).
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from fastnn.kernels import cost, sparse
from fastnn.kernels.apart import bring_back
from fastnn.kernels.barrier import load_long, store_long
from fastnn.kernels.buffers import panels_of, write_ones
from fastnn.kernels.compiling import part
from fastnn.kernels.dense import add
from fastnn.kernels.gradients import add_up, over_rows, weight_of
from fastnn.kernels.job import Job
from fastnn.kernels.panels import TO_READ, copy_panel, fetch_panel
from fastnn.kernels.phases import FLOAT, WORD, layer_of, over_samples, scratch_of
from fastnn.kernels.plan import (
    ABOVE,
    AT_ABOVE,
    AT_DELTAS,
    AT_FIRST,
    AT_FIRST_Z,
    AT_GRANULES,
    AT_HITS,
    AT_INPUTS,
    AT_LAYERS,
    AT_LOSSES,
    AT_OUTPUTS,
    AT_PARAMETERS,
    AT_PIECE_TOTALS,
    AT_PIECES,
    AT_REPLICAS,
    AT_W,
    BEGIN,
    BLOCKS,
    END,
    GRANULE_WORDS,
    GRANULES,
    GROUPS,
    JOB_WORDS,
    JUMP,
    LAYERS,
    OF_LAYER,
    OF_PANELS,
    OFFSET,
    PANELS,
    PIECES,
    SCATTERED,
    SIZE,
    STEPS_DONE,
    Plan,
)
from fastnn.kernels.share import TRAIN
from fastnn.kernels.simd import words
from fastnn.kernels.updates import descends
from fastnn.layers import LANES as PANEL
from fastnn.layers import aligned_zeros

TABLE_WORDS = -(-JOB_WORDS // 8) * 8  # from one thread's words to the next: on cache lines of their own


@part
def table_of(job, thread, step):  # type: ignore[no-untyped-def]
    """The words of a thread, with what its own weights are before a step of the call."""
    return words(job[AT_REPLICAS] + WORD * TABLE_WORDS * (2 * thread + step % 2))


@part
def steps_of(job, thread):  # type: ignore[no-untyped-def]
    """The address of how many steps of the call a thread has made: what it has written before is there by then."""
    return job[AT_REPLICAS] + WORD * (2 * TABLE_WORDS * thread + STEPS_DONE)


@part
def copy_above(own, other):  # type: ignore[no-untyped-def]
    """A thread's own weights, and their state, become those of other words."""
    copy_panel(1, own[AT_ABOVE], PANEL, own[ABOVE] // PANEL, other[AT_ABOVE])


@part
def catch_up(job, thread, threads, step):  # type: ignore[no-untyped-def]
    """Have what stands before a step of the call: if not of its own, of a thread that has made the step before.

    Some thread has, or is about to. It may have made this one too: but not the next, which waits for this thread.
    """
    other = thread
    while True:
        done = load_long(steps_of(job, other))
        if done == step or done == step + 1:
            break
        other = (other + 1) % threads
    if other != thread:
        copy_above(table_of(job, other, step), table_of(job, thread, step))


@part
def forward_halves(own, thread, halves, size):  # type: ignore[no-untyped-def]
    """What some halves of the columns give to Z of the first layer: this thread has listed their values."""
    w, scratch = layer_of(own, 0), scratch_of(own, thread)
    for half in range(own[BLOCKS]):
        if halves >> half & 1:
            out = own[AT_FIRST_Z] + FLOAT * half * w[PANELS] * own[JUMP]
            sparse.forward_half(own, w, size, half, out, scratch)


@part
def pass_above(job, thread, threads, step, size, begin, end, epoch, weight, at_order):  # type: ignore[no-untyped-def]
    """Take the batch, whose Z of the first layer is there, through the layers above, and back."""
    own = table_of(job, thread, step)
    catch_up(job, thread, threads, step)
    z = own[AT_OUTPUTS] if own[LAYERS] == 1 else layer_of(own, 1)[AT_INPUTS]
    panels = layer_of(own, 0)[PANELS]
    for p in range(panels):
        place, other = FLOAT * p * own[JUMP], FLOAT * panels * own[JUMP]
        add(own[AT_FIRST_Z] + place + other, own[AT_FIRST_Z] + place, PANEL * size, z + place)
    over_samples(own, thread, np.int64(TRAIN), np.int64(0), size, begin, end, epoch, weight, at_order, np.bool_(True),
                 np.int64(0))  # fmt: skip


@part
def update_above(job, thread, step, size, hyper):  # type: ignore[no-untyped-def]
    """Update the layers above the first, after `pass_above`."""
    own, after = table_of(job, thread, step), table_of(job, thread, step + 1)
    copy_above(own, after)
    over_rows(after, thread, own[BLOCKS], own[GRANULES], size, np.bool_(False), hyper)  # behind those of the halves
    store_long(steps_of(job, thread), step + 1)


@part
def update_own(job, thread, threads, step, size, hyper):  # type: ignore[no-untyped-def]
    """Update all weights by the gradients of the batch's pieces."""
    own, after = table_of(job, thread, step), table_of(job, thread, step + 1)
    catch_up(job, thread, threads, step)
    if not descends(job, np.bool_(False), hyper):  # which reads the weights of one set, and writes those of the other
        copy_above(own, after)
    over_rows(own, thread, np.int64(0), own[GRANULES], size, np.bool_(False), hyper)
    store_long(steps_of(job, thread), step + 1)


@part
def fetch_pieces(own):  # type: ignore[no-untyped-def]
    """The gradients of all pieces, most of which other threads have made, will be read soon."""
    fetch_panel(TO_READ, own[AT_PIECES], PANEL, own[PIECES] * own[SIZE] // PANEL)


@part
def add_up_pieces(job, thread, step, size, at_order):  # type: ignore[no-untyped-def]
    """Add the losses and hits of a step's batch to the totals, when all its pieces are done."""
    add_up(table_of(job, thread, step), size, weight_of(job, size, at_order), at_order)


@dataclass
class Replicas:
    """What each thread has of its own.

    Parameters
    ----------
    words : int64 array (threads, 2, TABLE_WORDS)
        The job's words; two of each thread, by turns: before a step and after it.
    layers : int64 array (threads, 2, L, LAYER_WORDS)
        Their layers'.
    begin : int
        Where the weights that each thread has for itself begin in a flat buffer; they go to its end.
    above : float32 array (threads, 2, 1 + slots, n)
        Those weights, and the optimiser's state.
    places : dict
        Which of the words differ from the job's: what they are, mostly addresses, broadcasts to (threads, 2).
    places_of_layers : dict
        The same of the layers' words, of the last k of them: addresses that broadcast to (threads, 2, k).
    kept : list
        What the addresses are of.
    """

    words: np.ndarray
    layers: np.ndarray
    begin: int
    above: np.ndarray
    places: dict[int, np.ndarray]
    places_of_layers: dict[int, np.ndarray]
    kept: list[np.ndarray]
    at_words: int
    tables: tuple[bytes, bytes] | None = None

    @classmethod
    def of(cls, plan: Plan, job: Job, batch: int) -> "Replicas":
        """Those of a job for batches of `batch` samples."""
        of_pieces, slots = bool(plan.words[PIECES]), 1 + len(job.state)
        begin = 0 if of_pieces else above_first(job)
        words = aligned_zeros(job.threads * 2 * TABLE_WORDS, np.int64).reshape(job.threads, 2, -1)
        layers = np.zeros((job.threads, 2, *plan.layers.shape), np.int64)
        count = job.architecture.size - begin
        above = aligned_zeros(job.threads * 2 * slots * count).reshape(job.threads, 2, slots, count)
        made = cls(words, layers, begin, above, {AT_LAYERS: _addresses(layers, 2)}, {}, [], words.ctypes.data)
        at = _addresses(above, 2)
        own = plan.layers[plan.layers[:, OFFSET] >= begin]
        made.places_of_layers[AT_W] = at[..., None] + FLOAT * (own[:, OFFSET] - begin)
        made.places |= {AT_ABOVE: at, ABOVE: np.array(slots * count)}
        # the gradient of pieces is that of the step before, and its update goes to where this step's weights are
        after = at[:, ::-1] if of_pieces else at
        made.places |= {AT_PARAMETERS + slot: after + FLOAT * (slot * count - begin) for slot in range(slots)}
        if of_pieces:
            made._add_pieces(plan, job)
        else:
            made._add_layers(plan, job, batch)
        return made

    def _add_pieces(self, plan: Plan, job: Job) -> None:
        """Gradients of pieces, and their totals, by turns: those of the step before are still read."""
        self.places[AT_FIRST] = self.places[AT_ABOVE]
        pieces = int(plan.words[PIECES])
        for word, size in ((AT_PIECES, pieces * job.architecture.size), (AT_PIECE_TOTALS, 16 * pieces)):
            size = PANEL * panels_of(size)
            self.kept.append(aligned_zeros(2 * size))
            self.places[word] = _addresses(self.kept[-1].reshape(2, size), 1)

    def _add_layers(self, plan: Plan, job: Job, batch: int) -> None:
        """What stands between the layers above the first: each thread has its own; and Z of the first, by turns.

        The granules of the halves come first.
        """
        widths, jump, threads = job.architecture.widths, int(plan.words[JUMP]), job.threads
        inputs = [panels_of(width + 1) * jump for width in widths[1:-1]]
        sizes = [*inputs, *[panels_of(width) * jump for width in [*widths[1:], widths[-1]]], batch, batch]
        begins = np.cumsum([0] + [PANEL * (panels_of(size) + 1) for size in sizes])
        between = aligned_zeros(threads * int(begins[-1])).reshape(threads, -1)
        for (width, begin), row in ((each, row) for row in between for each in zip(widths[1:-1], begins, strict=False)):
            write_ones(row[begin:], width, batch, jump, False)
        at = _addresses(between, 1)[:, None, None] + FLOAT * begins[:-1]
        self.places_of_layers |= {AT_INPUTS: at[..., : len(inputs)], AT_DELTAS: at[..., len(inputs) : -3]}
        self.places |= {word: at[..., place] for word, place in ((AT_OUTPUTS, -3), (AT_LOSSES, -2), (AT_HITS, -1))}
        edges = plan.edges
        halves = np.zeros((len(edges) - 1, GRANULE_WORDS), np.int64)  # of the first layer's rows: the last has the bias
        halves[:, BEGIN], halves[:, END], halves[:, OF_PANELS] = edges[:-1], edges[1:], panels_of(widths[1])
        halves[-1, END] += 1
        z = aligned_zeros(2 * len(halves) * panels_of(widths[1]) * jump).reshape(2, -1)
        self.places[AT_FIRST_Z] = _addresses(z, 1)
        granules = np.concatenate([halves, plan.granules[plan.granules[:, OF_LAYER] > 0]])
        self.places |= {AT_GRANULES: np.array(granules.ctypes.data), GRANULES: np.array(len(granules))}
        self.kept += [between, z, granules]

    @contextmanager
    def used(self, plan: Plan, job: Job) -> Iterator[None]:
        """Let the step work so for a while; whatever happens, what it made of the parameters is back in the end."""
        flat = [values[self.begin :] for values in (job.parameters, *job.state)]
        for slot, values in enumerate(flat):
            self.above[:, 0, slot] = values
        tables = plan.words.tobytes(), plan.layers.tobytes()
        if tables != self.tables:
            self.tables = None  # should an interrupt leave them half written
            self.words[..., :JOB_WORDS], self.layers[...] = plan.words, plan.layers
            for word, places in self.places.items():
                self.words[..., word] = places
            for word, places in self.places_of_layers.items():
                self.layers[..., self.layers.shape[2] - places.shape[-1] :, word] = places
            self.tables = tables
        self.words[..., STEPS_DONE] = 0
        plan.words[AT_REPLICAS] = self.at_words
        try:
            yield
        finally:
            done = self.words[:, 0, STEPS_DONE].tolist()  # numbers: NumPy's `argmax` and `max` took 0.1 ms here
            last = self.above[done.index(max(done)), max(done) % 2]
            bring_back(list(zip(last, flat, strict=True)))


def _addresses(array: np.ndarray, axes: int) -> np.ndarray:
    """Where the parts of an array begin that its first axes count."""
    counts = array.shape[:axes]
    found: np.ndarray = array.ctypes.data + array.nbytes // math.prod(counts) * np.arange(math.prod(counts))
    return found.reshape(counts)


def above_first(job: Job) -> int:
    """Where the parameters above the first layer begin in a flat buffer."""
    net = job.architecture
    return net.weight_offsets[1] if len(net.strides) > 1 else net.size


def pay(plan: Plan, job: Job, batch: int) -> bool:
    """Whether a step of training is one phase, in which threads have weights of their own.

    There is no norm of a gradient to be known first, and a call should have more than one step. Halves of the columns
    are work for two threads, where threads can share units too (one panel alone was not tried).
    """
    net, words = job.architecture, plan.words
    if job.threads == 1 or job.clip_norm:
        return False
    if words[PIECES]:
        return cost.updating_pays(net.size, int(words[PIECES]))
    by_halves = words[SCATTERED] and job.threads <= min(words[GROUPS], words[BLOCKS])
    return bool(by_halves) and cost.repeating_pays(net.widths[1:], batch)
