"""The fused kernels: the maths of kernels/reference.py in one compiled function for all architectures.

A step has two phases, whatever the depth:

1. over samples: a range of the batch goes through forward, loss and all the deltas;
2. over rows of weights: each gradient row is formed, and the optimiser applied to it at once.

The threads claim a phase's work piece by piece, and the next phase begins when all of it is done (kernels/barrier.py).
Each sum has a fixed order, so no result depends on who did what, as long as all is finite (see kernels/skipping.py).
Where parameters are few, 1 forms the gradients of fixed pieces of the batch too, and 2 adds them up: cores then
exchange less. Three more phases are there for some jobs only. Where there are several threads, they mostly share out
the units of the first layer, before 1, and if these are not too many, their deltas as well, after it. Clipping needs
the whole gradient's norm first: its rows are stored, and a last phase applies them. Where a net is small, each thread
does a part of the work for itself, and a step is one phase (kernels/replicas.py).

Letters: B samples of a batch, I inputs and O outputs of a layer, L dense layers. Rows of floats are padded to whole
vectors (`strides`), and the padding of every delta is kept zero, so that the padding of the weights stays zero.
"""

import contextlib
from typing import Any

import numpy as np

from fastnn.kernels import launch, sparse, team
from fastnn.kernels.barrier import claim, finish, wait
from fastnn.kernels.buffers import address_of
from fastnn.kernels.calls import ARGUMENTS, MISSED, THREAD, THREADS, again, may_begin
from fastnn.kernels.compiling import kernel, part
from fastnn.kernels.denormals import as_before, as_zero
from fastnn.kernels.families import whole
from fastnn.kernels.gradients import add_up, clip_scale, over_pieces, over_rows, over_stored, weight_of
from fastnn.kernels.job import NOTHING, Examples, Job, Totals
from fastnn.kernels.phases import layer_of, over_below, over_units, scratch_of, take_batch
from fastnn.kernels.plan import (
    AT_BARRIER,
    BLOCK,
    NARROW,
    OF_LAYER,
    PIECES,
    SCATTERED,
    SPARSE,
    Plan,
    prepare,
    take_apart,
)
from fastnn.kernels.replicas import (
    Replicas,
    add_up_pieces,
    fetch_pieces,
    forward_halves,
    pass_above,
    pay,
    table_of,
    update_above,
    update_own,
)
from fastnn.kernels.share import (
    BELOW,
    BOTH,
    GRADIENT,
    KINDS,
    PREDICT,
    ROWS,
    SAMPLES,
    SCORE,
    TRAIN,
    UNITS,
    at_once,
    by_units,
    granule_of,
    granules,
    granules_at_once,
    stores,
)
from fastnn.kernels.simd import doubles, words
from fastnn.layers import Architecture, Dense, Input, aligned_zeros

F = np.float32

# ---------------------------------------------------------------- the one compiled function


@part
def take_steps(thread, threads, mode, at_job, at_order, samples, batch, epoch, step, at_steps, steps):  # type: ignore[no-untyped-def]
    """Thread `thread` of `threads`, for `steps` steps from `step` on; each has a row of three at `at_steps`."""
    held = as_zero(mode >= GRADIENT)
    job, phase = words(at_job), np.int64(0)
    barrier, store = job[AT_BARRIER], stores(job, mode)
    # the step whose batch this thread has taken for itself, and which halves of its columns, if it is sparse; that
    # whose values it has sorted, and that for which it has updated weights of its own
    shared, taken, listed, sorted_ = by_units(job, mode, threads), -1, np.int64(0), -1
    once, updated = at_once(job, mode, threads), -1
    by_lists = job[SPARSE] and not job[PIECES]
    by_columns = by_lists and not job[SCATTERED]
    for s in range(steps):
        begin, hyper, scale, scaled = (step + s) * batch, doubles(at_steps + 24 * s), F(1), False
        size = min(batch, samples - begin)
        weight = weight_of(job, size, at_order + 8 * begin)
        next_size, own, after = min(batch, samples - begin - size), job, job
        below = not once and granules(job, np.int64(BELOW), mode, size, threads) > 0
        if once:
            own, after = table_of(job, thread, s), table_of(job, thread, s + 1)
        for kind in range(KINDS):
            count = granules_at_once(job, kind, s) if once else granules(job, kind, mode, size, threads)
            if count < 1:
                continue
            mine, halves = np.int64(0), np.int64(0)
            for turn in range(threads):  # its own share, then what others have left
                while True:
                    first, last = claim(barrier, (thread + turn) % threads, threads, phase, count)
                    if last == 0:
                        break
                    of_first = kind == ROWS and granule_of(own, first)[OF_LAYER] == 0
                    needed = of_first and (shared or (by_lists and threads > 1))
                    wanted = (1 << last) - (1 << first) if once else BOTH
                    if (kind == UNITS or needed) and (taken != s or wanted & ~listed):
                        listed = np.int64(wanted)
                        take_batch(job, size, begin, samples, epoch, at_order, scratch_of(job, thread), listed)
                        taken = s
                    if kind == UNITS and once:
                        forward_halves(own, thread, wanted, size)
                    elif kind == UNITS:
                        over_units(own, thread, first, last, size)
                    elif kind == SAMPLES:
                        left, before = samples - begin - size, begin - batch
                        if once and updated < s and s > 0:
                            update_own(job, thread, threads, s - 1, batch, doubles(at_steps + 24 * (s - 1)))
                            updated = s
                        if once and first == 0 and s > 0:
                            add_up_pieces(job, thread, s - 1, batch, at_order + 8 * before)
                        over_pieces(own, thread, mode, first, last, count, size, begin, left, epoch, weight,
                                    at_order, shared, np.int64(below))  # fmt: skip
                    elif kind == BELOW:
                        over_below(job, thread, first, last, size)
                    elif kind == ROWS:
                        if once and updated < s:
                            pass_above(job, thread, threads, s, size, begin, samples, epoch, weight, at_order)
                            updated = s
                        if first == 0:
                            add_up(own, size, weight, at_order + 8 * begin)
                        if of_first and by_columns and sorted_ < s:
                            sparse.sort_by_column(job, layer_of(job, 0), size, begin, at_order, scratch_of(job, thread))
                            sorted_ = s
                        over_rows(own, thread, first, last, size, store, hyper)
                        if once:
                            halves |= wanted
                    else:
                        if not scaled:
                            scale, scaled = clip_scale(job), True
                        over_stored(job, first, last, scale, hyper)
                    mine += last - first
                if once and kind == ROWS:
                    if turn < threads - 1:
                        continue
                    if halves and s + 1 < steps:  # before it accounts for them
                        take_batch(job, next_size, begin + size, samples, epoch, at_order, scratch_of(job, thread),
                                   halves)  # fmt: skip
                        taken, listed = s + 1, halves
                        forward_halves(after, thread, halves, next_size)
                    if mine == count:  # who is late will need it of this thread
                        update_above(job, thread, s, size, hyper)
                if finish(barrier, thread, threads, phase, mine, count):
                    break
            if once and kind == ROWS and 0 < mine < count:  # while the others work
                update_above(job, thread, s, size, hyper)
            # what this thread will need of its own, it makes while the others work: an epoch of 784-30-10, batch
            # 10, in three phases a step, took 29.3 ms, so 28.2. Not if it is late: there may be no need of it.
            if shared and kind == SAMPLES and by_columns and taken == s:
                sparse.sort_by_column(job, layer_of(job, 0), size, begin, at_order, scratch_of(job, thread))
                sorted_ = s
            if shared and not once and kind == ROWS and mine > 0 and s + 1 < steps:
                take_batch(job, next_size, begin + size, samples, epoch, at_order, scratch_of(job, thread),
                           np.int64(BOTH))  # fmt: skip
                taken, listed = s + 1, np.int64(BOTH)
            if wait(barrier, threads, phase, count):
                as_before(held)
                return
            phase += 1
            if once and job[NARROW]:  # before it claims: 24-8-2, batch 200, took 2.10 ms an epoch, and 2.01 so
                fetch_pieces(own)
    if once and job[PIECES] and thread == 0:  # which others do when they begin with the next step
        begin = (step + steps - 1) * batch
        size = min(batch, samples - begin)
        update_own(job, thread, threads, steps - 1, size, doubles(at_steps + 24 * (steps - 1)))
        add_up_pieces(job, thread, steps - 1, size, at_order + 8 * begin)
    as_before(held)


def make(stamp: int, cache: bool):  # type: ignore[no-untyped-def]
    """Compile the step. `stamp` is a hash of the kernels' sources: Numba's cache sees closures, but no other files."""

    @kernel(cache)
    def run(at_call: int, number: int) -> int:
        """A thread's part of a call, and of what it sees called next (kernels/calls.py): of `take_steps`."""
        whole()
        if not may_begin(at_call, number):
            return MISSED
        call, given = words(at_call), words(at_call + 8 * ARGUMENTS)
        while True:
            take_steps(call[THREAD], call[THREADS], given[0], given[1], given[2], given[3], given[4], given[5],
                       given[6], given[7], given[8])  # fmt: skip
            if not again(at_call):
                return stamp

    return run


# ---------------------------------------------------------------- the kernels (see reference.py)

NO_STEPS = np.zeros((1, 3))
AT_HOME = contextlib.nullcontext(False)  # where no layer is moved apart


def _replicas(plan: Plan, job: Job, batch: int) -> Replicas:
    """Those of a plan: made when they are first needed."""
    found: Replicas | None = plan.replicas
    if found is None:
        found = plan.replicas = Replicas.of(plan, job, batch)
    return found


def _call(
    kernel: Any, job: Job, mode: int, order: np.ndarray, epoch: int, step: int, hyper: np.ndarray, batch: int, sums: Any
) -> Plan:
    order, hyper = np.ascontiguousarray(order, np.int64), np.ascontiguousarray(hyper, np.float64)
    plan = prepare(job, batch, mode < GRADIENT)
    plan.totals[:] = sums
    places = address_of(order), address_of(hyper)
    arguments = (mode, plan.at_words, places[0], order.size, batch, epoch, step, places[1], len(hyper))
    once = mode == TRAIN and len(hyper) > 1 and pay(plan, job, batch)
    with plan.apart.moved(job) if mode == TRAIN and plan.apart is not None and not once else AT_HOME as moved:
        if moved:
            take_apart(plan)
        with _replicas(plan, job, batch).used(plan, job) if once else AT_HOME:
            team.in_threads(kernel, job.threads, arguments, plan.state)
    plan.given.clear()  # who waits for its next call must not keep the data of another epoch
    return plan


def _first_call(kernel: Any) -> None:
    """The least work there is."""
    architecture = Architecture.of([Input(1), Dense(1)])
    job = Job(architecture, aligned_zeros(architecture.size), Examples(np.ones((1, 1), np.float32)))
    _call(kernel, job, PREDICT, np.zeros(1, np.int64), 0, 0, NO_STEPS, 1, NOTHING)


def _run(
    job: Job, mode: int, order: np.ndarray, epoch: int, step: int, hyper: np.ndarray, batch: int, sums: Totals = NOTHING
) -> Plan:
    kernel, _ = launch.compiled(make, _first_call)
    return _call(kernel, job, mode, order, epoch, step, hyper, batch, sums)


def _pass(job: Job, mode: int) -> Plan:
    """One pass over all examples in their order."""
    batch = min(BLOCK * job.threads, max(len(job.examples), 1))
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
    """Take S optimiser steps."""
    work = _run(job, TRAIN, order, epoch, first, steps, job.batch_size, totals)
    return Totals(*work.totals.tolist())


def warm() -> launch.Compilation:
    """Compile the step, or fetch it from the cache; at once if this process has it already."""
    return launch.compiled(make, _first_call)[1]
