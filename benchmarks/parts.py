"""Where the cycles of a small net's step go: ``python -m benchmarks.parts`` (a minute; an idle machine).

For the two nets of the contest with the smallest steps, 24-8-2 and 784-30-10 at batch 10, on one thread: each part of
a step over and over by itself, on what a step has left in its buffers. Cycles are those in which the core does a vector
of multiply-adds; beside them, how many of these the part cannot do without. The last rows are the whole step as an
epoch has it, and what comes besides the parts: they wait for each other, for data out of further caches, and for Python
between epochs.

Stores bench_results/parts.json.
"""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import described
from benchmarks.epochs import Training
from benchmarks.peers.machine import describe
from benchmarks.peers.rows import ROWS, Task
from benchmarks.peers.work import flops
from fastnn.files import write_atomically
from fastnn.kernels import dense, gradients, limits, narrow, phases, sparse
from fastnn.kernels.compiling import kernel, part
from fastnn.kernels.cpu import lanes
from fastnn.kernels.families import whole
from fastnn.kernels.plan import (
    AT_INPUTS,
    AT_OUTPUTS,
    GRANULES,
    GROUPS,
    JUMP,
    PANELS,
    PIECES,
    prepare,
)
from fastnn.kernels.share import BOTH, GRADIENT
from fastnn.kernels.simd import doubles, words
from fastnn.layers import LANES as PANEL

STORE = Path(__file__).parents[1] / "bench_results" / "parts.json"
EPOCHS = 30
NOTHING = np.int64(0)

# ---------------------------------------------------------------- parts: (job, scratch, size, at_order, at_steps)
# of a step by a job of one thread, whose first `size` samples of the order are the batch


@part
def _narrow_inputs(job, scratch, size, at_order, at_steps):  # type: ignore[no-untyped-def]
    for piece in range(job[PIECES]):
        here, there = narrow.samples_of(job, piece, size)
        for i in range(here, there, PANEL):
            narrow.take_inputs(job, i, min(i + PANEL, there), at_order, NOTHING)


@part
def _narrow_forward(job, scratch, size, at_order, at_steps):  # type: ignore[no-untyped-def]
    for piece in range(job[PIECES]):
        here, there = narrow.samples_of(job, piece, size)
        narrow.forward(job, here, there, at_order, size, NOTHING)


@part
def _narrow_outputs(job, scratch, size, at_order, at_steps):  # type: ignore[no-untyped-def]
    for piece in range(job[PIECES]):
        here, there = narrow.samples_of(job, piece, size)
        phases.finish_outputs(job, here, there, NOTHING, float(size), np.int64(GRADIENT), at_order, scratch)


@part
def _narrow_backward(job, scratch, size, at_order, at_steps):  # type: ignore[no-untyped-def]
    for piece in range(job[PIECES]):
        here, there = narrow.samples_of(job, piece, size)
        narrow.backward(job, here, there)


@part
def _narrow_gradient(job, scratch, size, at_order, at_steps):  # type: ignore[no-untyped-def]
    for piece in range(job[PIECES]):
        here, there = narrow.samples_of(job, piece, size)
        narrow.fetch_gradient(job, piece)
        narrow.gradient(job, piece, here, there)
        gradients.add_losses(job, here, there, at_order, gradients.totals_of(job, piece))


@part
def _update(job, scratch, size, at_order, at_steps):  # type: ignore[no-untyped-def]
    gradients.add_up(job, size, float(size), at_order)
    gradients.over_rows(job, NOTHING, NOTHING, job[GRANULES], size, False, doubles(at_steps))


@part
def _lists(job, scratch, size, at_order, at_steps):  # type: ignore[no-untyped-def]
    sparse.unpack(job, NOTHING, NOTHING, size, NOTHING, size, at_order, scratch, np.int64(BOTH))


@part
def _first_layer(job, scratch, size, at_order, at_steps):  # type: ignore[no-untyped-def]
    out = phases.layer_of(job, 1)[AT_INPUTS]
    sparse.forward(job, phases.layer_of(job, 0), NOTHING, size, NOTHING, job[GROUPS], out, scratch)


@part
def _hidden(job, scratch, size, at_order, at_steps):  # type: ignore[no-untyped-def]
    phases.finish_hidden(job, NOTHING, NOTHING, phases.layer_of(job, NOTHING)[PANELS], NOTHING, size, NOTHING, NOTHING,
                         True, words(at_order))  # fmt: skip


@part
def _second_layer(job, scratch, size, at_order, at_steps):  # type: ignore[no-untyped-def]
    w = phases.layer_of(job, 1)
    dense.forward(w, w[AT_INPUTS], job[JUMP], NOTHING, size, NOTHING, w[PANELS], job[AT_OUTPUTS], scratch)


@part
def _outputs(job, scratch, size, at_order, at_steps):  # type: ignore[no-untyped-def]
    phases.finish_outputs(job, NOTHING, size, NOTHING, float(size), np.int64(GRADIENT), at_order, scratch)


@part
def _backward(job, scratch, size, at_order, at_steps):  # type: ignore[no-untyped-def]
    below = phases.layer_of(job, 0)
    dense.backward(phases.layer_of(job, 1), job[JUMP], NOTHING, size, NOTHING, below[PANELS], below, scratch)


# ---------------------------------------------------------------- the table


class Part(NamedTuple):
    """A part of a step.

    Parameters
    ----------
    name : str
    work : callable
        One of the functions above.
    first, above : int
        How often it goes through the first layer's weights for each input that is not zero, and through all others
        for each sample, with a multiply-add for each.
    within : bool
        Whether the part before it holds it: it is not added up.
    """

    name: str
    work: Callable[..., None]
    first: int = 0
    above: int = 0
    within: bool = False


PARTS = {
    "tiny": (
        Part("forward", _narrow_forward, 1, 1),
        Part("of it, inputs turned", _narrow_inputs, within=True),
        Part("losses and deltas", _narrow_outputs),
        Part("way back", _narrow_backward, 0, 1),
        Part("gradients of pieces", _narrow_gradient, 1, 1),
        Part("sums of pieces, update", _update),
    ),
    "mnist-30": (
        Part("lists of the inputs", _lists),
        Part("forward, first layer", _first_layer, 1, 0),
        Part("sigmoid", _hidden),
        Part("forward, second layer", _second_layer, 0, 1),
        Part("losses and deltas", _outputs),
        Part("way back", _backward, 0, 1),
        Part("gradients and update", _update, 1, 1),
    ),
}


def repeated(work: Callable[..., None]) -> Any:
    """A compiled loop that does a part of a step `times` over."""

    @kernel(False)
    def run(at_job: int, size: int, at_order: int, at_steps: int, times: int) -> None:
        whole()
        for _ in range(times):
            work(words(at_job), phases.scratch_of(words(at_job), NOTHING), size, at_order, at_steps)

    run(0, 0, 0, 0, 0)  # compiles it
    return run


def training_of(name: str) -> tuple[Task, Training]:
    """A net of the contest on one thread, which has trained for an epoch."""
    row, task = ROWS[name], Task(ROWS[name])
    settings: dict[str, Any] = {"scale": task.scale, "batch": row.batch, "rate": row.rate, "shuffle": False}
    training = Training(row.sizes, row.activation, task.raw, task.labels, threads=1, **settings)
    training.epoch()
    return task, training


def main() -> None:
    """Measure, print and store."""
    peak = limits.fma_peak(1)
    cycle = 2 * lanes() / peak  # ns
    found: dict[str, Any] = {}
    for name, parts in PARTS.items():
        task, training = training_of(name)
        row, job = task.row, training.fit.job
        steps, values = -(-len(task.raw) // row.batch), np.count_nonzero(task.raw) / len(task.raw)
        first = row.batch * values * row.sizes[1]
        above = row.batch * sum(below * units for below, units in pairwise(row.sizes[1:]))
        order, still = np.arange(row.batch), np.zeros((1, 3))  # at a rate of 0 all stays as it is
        operands = prepare(job, row.batch, False).at_words, row.batch, order.ctypes.data, still.ctypes.data
        print(f"{name:<26}{'cycles':>8}{'useful':>8}")
        mine = found[name] = {}
        for each in parts:
            taken = 1 / limits.rate(repeated(each.work), [operands], 1.0) / cycle
            useful = (each.first * first + each.above * above) / lanes()
            mine[each.name] = {"cycles": taken, "useful": useful}
            print(f"{each.name:<26}{taken:>8,.0f}{useful:>8,.0f}", flush=True)
        together = sum(mine[each.name]["cycles"] for each in parts if not each.within)
        whole_step = 1e9 * min(training.epoch() for _ in range(EPOCHS)) / steps / cycle
        mine["step of an epoch"] = {"cycles": whole_step, "useful": flops(task) / 2 / lanes() / steps}
        print(f"{'besides':<26}{whole_step - together:>8,.0f}")
        print(f"{'step of an epoch':<26}{whole_step:>8,.0f}{mine['step of an epoch']['useful']:>8,.0f}\n")
    machine = describe(1) | {"ns_of_a_cycle": cycle}
    write_atomically(STORE, json.dumps({"machine": machine, "cycles": found}, indent=2) + "\n")
    print(f"stored in {STORE}")


if __name__ == "__main__":
    described(__doc__).parse_args()
    main()
