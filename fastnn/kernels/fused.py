"""The fused kernels: the maths of kernels/reference.py in one compiled function for all architectures.

A step has two phases and two barriers, whatever the depth:

1. over samples: each thread takes its share of the batch through forward, loss and all the deltas;
2. over rows of weights: each thread forms its share of every gradient row and applies the optimiser to it at once.

Each output element is summed by one thread in a fixed order, so no result depends on the number of threads. Clipping
needs the whole gradient's norm first: its rows are stored, and a third phase applies them. Letters: B samples of a
batch, I inputs and O outputs of a layer, L dense layers. Rows of floats are padded to whole vectors (`strides`), and
the padding of every delta is kept zero, so that the padding of the weights stays zero.
"""

from typing import Any

import numpy as np
from numba import njit

from fastnn.kernels import launch
from fastnn.kernels.barrier import wait
from fastnn.kernels.job import NOTHING, Examples, Job, Totals
from fastnn.kernels.phases import (
    BLOCK,
    GRADIENT,
    PREDICT,
    SCORE,
    TRAIN,
    by_columns,
    over_rows,
    over_samples,
    over_stored,
    sparse_input,
)
from fastnn.kernels.rows import FAST
from fastnn.kernels.simd import unowned
from fastnn.kernels.workspace import Data, Net, Settings, Work, prepare
from fastnn.layers import Architecture, Dense, Input, aligned_zeros

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
        order, hyper, totals = unowned((order, hyper, totals))
        net, data, work = unowned(net), unowned(data), unowned(work)
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


def _call(
    kernel: Any, job: Job, mode: int, order: np.ndarray, epoch: int, step: int, hyper: np.ndarray, batch: int, sums: Any
) -> Work:
    # an array that may not be written to is another type to Numba: it would compile everything once more
    order, hyper = np.require(order, np.int64, ["C", "W"]), np.require(hyper, np.float64, ["C", "W"])
    net, data, settings, work, state = prepare(job, order, batch, mode < GRADIENT)
    work.totals[:] = sums
    params = job.parameters.ctypes.data
    arguments = (mode, order, batch, epoch, step, hyper, net, data, settings, params, state, work, work.totals)
    launch.in_threads(kernel, job.threads, arguments, work.state)
    return work


def _first_call(kernel: Any) -> None:
    """The least work there is, on arguments of the types that all calls have."""
    architecture = Architecture.of([Input(1), Dense(1)])
    job = Job(architecture, aligned_zeros(architecture.size), Examples(np.ones((1, 1), np.float32)))
    _call(kernel, job, PREDICT, np.zeros(1, np.int64), 0, 0, NO_STEPS, 1, NOTHING)


def _run(
    job: Job, mode: int, order: np.ndarray, epoch: int, step: int, hyper: np.ndarray, batch: int, sums: Totals = NOTHING
) -> Work:
    kernel, _ = launch.compiled(make, _first_call)
    return _call(kernel, job, mode, order, epoch, step, hyper, batch, sums)


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
    return launch.compiled(make, _first_call)[1]
