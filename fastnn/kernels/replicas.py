"""The layers above a first one that threads share by units: each thread does all of them for itself, if they are small.

To share out little work takes longer than to do all of it: two phases more, and deltas and weights for the cores to
hand over. So a step is one phase, whose granules are the groups of units of the first layer: their rows of W, then Z of
the next batch. Who claims one first takes the batch through the layers above, and updates them: in buffers of its own,
with weights and an optimiser's state of its own. They are the same in all threads, to the last bit. Who has been late
takes them over from another thread: what stood before a step stays until that step is over.

`job` are the job's words, `own` those of one thread (kernels/plan.py).
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from fastnn.kernels import cost
from fastnn.kernels.apart import bring_back
from fastnn.kernels.barrier import load_long, store_long
from fastnn.kernels.buffers import panels_of, write_ones
from fastnn.kernels.compiling import part
from fastnn.kernels.gradients import over_rows
from fastnn.kernels.job import Job
from fastnn.kernels.phases import FLOAT, WORD, layer_of, over_samples
from fastnn.kernels.plan import (
    ABOVE,
    AT_ABOVE,
    AT_DELTAS,
    AT_FIRST_Z,
    AT_GRANULES,
    AT_HITS,
    AT_INPUTS,
    AT_LAYERS,
    AT_LOSSES,
    AT_OUTPUTS,
    AT_PARAMETERS,
    AT_REPLICAS,
    AT_W,
    GRANULES,
    GROUPS,
    JOB_WORDS,
    JUMP,
    LAYERS,
    OF_LAYER,
    OFFSET,
    PANELS,
    PIECES,
    SCATTERED,
    STEPS_DONE,
    Plan,
)
from fastnn.kernels.share import TRAIN
from fastnn.kernels.simd import copy_panel, words
from fastnn.layers import LANES as PANEL
from fastnn.layers import aligned_zeros

TABLE_WORDS = -(-JOB_WORDS // 8) * 8  # from one thread's words to the next: on cache lines of their own


@part
def table_of(job, thread, step):  # type: ignore[no-untyped-def]
    """The words of a thread's own layers, with what their weights are before a step of the call."""
    return words(job[AT_REPLICAS] + WORD * TABLE_WORDS * (2 * thread + step % 2))


@part
def steps_of(job, thread):  # type: ignore[no-untyped-def]
    """The address of how many steps of the call a thread has made: what it has written before is there by then."""
    return job[AT_REPLICAS] + WORD * (2 * TABLE_WORDS * thread + STEPS_DONE)


@part
def copy_above(own, other):  # type: ignore[no-untyped-def]
    """All weights above the first layer, and their state, become those of other words."""
    copy_panel(1, own[AT_ABOVE], PANEL, own[ABOVE] // PANEL, other[AT_ABOVE])


@part
def catch_up(job, thread, threads, step):  # type: ignore[no-untyped-def]
    """Have what stands before a step of the call: if not of its own, of a thread that has made the step before.

    Some thread has. It may have made this one too: but not the next, which waits for this thread.
    """
    if load_long(steps_of(job, thread)) == step:
        return
    for other in range(threads):
        done = load_long(steps_of(job, other))
        if done == step or done == step + 1:
            copy_above(table_of(job, other, step), table_of(job, thread, step))
            return


@part
def step_above(job, thread, threads, step, size, begin, end, epoch, weight, at_order, hyper):  # type: ignore[no-untyped-def]
    """Take the batch, whose Z of the first layer is there, through the layers above, and update them."""
    own, after = table_of(job, thread, step), table_of(job, thread, step + 1)
    catch_up(job, thread, threads, step)
    z = own[AT_OUTPUTS] if own[LAYERS] == 1 else layer_of(own, 1)[AT_INPUTS]
    for p in range(layer_of(own, 0)[PANELS]):
        place = FLOAT * p * own[JUMP]
        copy_panel(1, own[AT_FIRST_Z] + place, PANEL, size, z + place)
    over_samples(own, thread, np.int64(TRAIN), np.int64(0), size, begin, end, epoch, weight, at_order, True)
    copy_above(own, after)
    over_rows(after, thread, own[GROUPS], own[GRANULES], size, False, hyper)  # behind those of the groups
    store_long(steps_of(job, thread), step + 1)


@dataclass
class Replicas:
    """Each thread's own layers above the first.

    Parameters
    ----------
    words : int64 array (threads, 2, TABLE_WORDS)
        The job's words; two of each thread, by turns: before a step and after it.
    layers : int64 array (threads, 2, L, LAYER_WORDS)
        Their layers'.
    between : float32 array (threads, n)
        Inputs, deltas, outputs, losses and hits; `places` (n,) tells where in a row each begins.
    above : float32 array (threads, 2, 1 + slots, n)
        The weights, and the optimiser's state.
    z : float32 array (2, n)
        Z of the first layer, by turns.
    granules : int64 array (GRANULES, GRANULE_WORDS)
        Those of the groups come first.
    """

    words: np.ndarray
    layers: np.ndarray
    between: np.ndarray
    places: np.ndarray
    above: np.ndarray
    z: np.ndarray
    granules: np.ndarray

    @classmethod
    def of(cls, plan: Plan, job: Job, batch: int) -> "Replicas":
        """The buffers for batches of `batch` samples."""
        threads, widths, jump = job.threads, job.architecture.widths, int(plan.words[JUMP])
        inputs = [panels_of(width + 1) * jump for width in widths[1:-1]]
        sizes = [*inputs, *[panels_of(width) * jump for width in [*widths[1:], widths[-1]]], batch, batch]
        places = np.cumsum([0] + [PANEL * (panels_of(size) + 1) for size in sizes])
        between = aligned_zeros(threads * int(places[-1])).reshape(threads, -1)
        for (width, place), row in ((each, row) for row in between for each in zip(widths[1:-1], places, strict=False)):
            write_ones(row[place:], width, batch, jump, False)
        slots, upper = 1 + len(job.state), job.architecture.size - above_first(job)
        granules = plan.granules[np.argsort(plan.granules[:, OF_LAYER], kind="stable")]
        return cls(
            aligned_zeros(threads * 2 * TABLE_WORDS, np.int64).reshape(threads, 2, -1),
            np.zeros((threads, 2, *plan.layers.shape), np.int64),
            between,
            places[:-1],
            aligned_zeros(threads * 2 * slots * upper).reshape(threads, 2, slots, upper),
            aligned_zeros(2 * panels_of(widths[1]) * jump).reshape(2, -1),
            granules,
        )

    @contextmanager
    def used(self, plan: Plan, job: Job) -> Iterator[None]:
        """Let the step work so for a while; whatever happens, what it made of the parameters is back in the end."""
        count, begin = len(plan.layers), above_first(job)
        flat = [values[begin:] for values in (job.parameters, *job.state)]
        self.above[:, 0] = flat
        self.words[..., :JOB_WORDS], self.layers[...] = plan.words, plan.layers
        own = self.between.ctypes.data + 4 * (self.between.shape[1] * np.arange(len(self.words))[:, None] + self.places)
        self.layers[:, :, 1:, AT_INPUTS] = own[:, None, : count - 1]
        self.layers[..., AT_DELTAS] = own[:, None, count - 1 : 2 * count - 1]
        self.words[..., [AT_OUTPUTS, AT_LOSSES, AT_HITS]] = own[:, None, 2 * count - 1 :]
        above = _addresses(self.above, 2)
        self.layers[:, :, 1:, AT_W] = above[..., None] + 4 * (plan.layers[1:, OFFSET] - begin)
        for slot in range(len(flat)):  # the words of the state follow
            self.words[..., AT_PARAMETERS + slot] = above + 4 * (slot * flat[0].size - begin)
        self.words[..., AT_ABOVE], self.words[..., ABOVE] = above, len(flat) * flat[0].size
        self.words[..., AT_LAYERS], self.words[..., AT_FIRST_Z] = _addresses(self.layers, 2), _addresses(self.z, 1)
        self.words[..., AT_GRANULES], self.words[..., STEPS_DONE] = self.granules.ctypes.data, 0
        plan.words[AT_REPLICAS] = self.words.ctypes.data
        done = self.words[:, 0, STEPS_DONE]
        pairs = [[list(zip(made, flat, strict=True)) for made in by_turns] for by_turns in self.above]
        try:
            yield
        finally:
            bring_back(pairs[done.argmax()][done.max() % 2])
            plan.words[AT_REPLICAS] = 0


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
    """Whether threads train so: whoever claims a group has all of its rows of W, and what is above is little.

    A call should have more than one step: its first has two phases.
    """
    net, words = job.architecture, plan.words
    by_groups = words[SCATTERED] and not words[PIECES] and 1 < job.threads <= words[GROUPS] and job.clip_norm == 0
    return bool(by_groups) and cost.repeating_pays(net.widths[1:], batch)
