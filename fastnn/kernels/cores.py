"""What it takes two cores to tell each other something: a word, cache lines with it, a phase of a step.

Each is measured by a compiled loop that does nothing else, in two ordinary threads, each on a CPU of its own; the best
of several runs counts, for whatever else the machine does can only slow one down. Nothing is compiled before the first
measurement.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn.kernels import compiling, launch, team
from fastnn.kernels.barrier import ABORTED, ENDED, claim, finish, load_word, state_words, store_word, wait
from fastnn.kernels.calls import ARGUMENTS, MISSED, THREAD, THREADS, leave, may_begin
from fastnn.kernels.limits import CACHE_LINE
from fastnn.kernels.simd import floats, words
from fastnn.kernels.threads import available
from fastnn.layers import aligned_zeros

TURNS, TRIES = 100_000, 5

# ---------------------------------------------------------------- kernels: each does its work `times` over


@compiling.part
def pass_on(thread, threads, state, values, size, times):  # type: ignore[no-untyped-def]
    """In turn, threads add 1 to each of `size` values, and say so by a count in a word of a barrier's state."""
    for turn in range(times):
        wanted = threads * turn + thread
        while load_word(state + 4 * ENDED) != wanted:
            if load_word(state + 4 * ABORTED) != 0:
                return
        for i in range(size):
            values[i] += np.float32(1)
        store_word(state + 4 * ENDED, np.int32(wanted + 1))


@compiling.part
def share_out(thread, threads, state, count, times):  # type: ignore[no-untyped-def]
    """Phases of `count` granules each, with nothing to do in them."""
    for phase in range(times):
        mine = 0
        for turn in range(threads):  # as in the step (kernels/fused.py)
            while True:
                first, last = claim(state, (thread + turn) % threads, threads, phase, count)
                if last == 0:
                    break
                mine += last - first
            if finish(state, thread, threads, phase, mine, count):
                break
        if wait(state, threads, phase, count):
            return


def make_pass(stamp: int, cache: bool) -> Any:
    """A kernel (kernels/calls.py) of (state, values, size, times): `pass_on`."""

    @compiling.kernel(cache)
    def run(at_call: int, number: int) -> int:
        if not may_begin(at_call, number):
            return MISSED
        call, given = words(at_call), words(at_call + 8 * ARGUMENTS)
        pass_on(call[THREAD], call[THREADS], given[0], floats(given[1]), given[2], given[3])
        leave(at_call)
        return stamp

    return run


def make_phases(stamp: int, cache: bool) -> Any:
    """A kernel (kernels/calls.py) of (state, count, times): `share_out`."""

    @compiling.kernel(cache)
    def run(at_call: int, number: int) -> int:
        if not may_begin(at_call, number):
            return MISSED
        call, given = words(at_call), words(at_call + 8 * ARGUMENTS)
        share_out(call[THREAD], call[THREADS], given[0], given[1], given[2])
        leave(at_call)
        return stamp

    return run


# ---------------------------------------------------------------- measurements


def round_trip() -> float:
    """Nanoseconds that a word takes from one thread to another and back, at best, each on a CPU of its own.

    On one kind of machine this can change from minute to minute: on two CPUs of a virtual one, which its host moves
    about, it was 55 or 325. 0.0 where there is no second CPU.
    """
    return 2 * handover(0)


def handover(lines: int) -> float:
    """Nanoseconds from a thread's word until another one has read and changed what the first had changed, at best.

    Parameters
    ----------
    lines : int
        Of 64 bytes, at least 0. Each thread has a CPU of its own; 0.0 where there is no second one.
    """
    if available() < 2:
        return 0.0
    values, turns = aligned_zeros(CACHE_LINE * lines), max(TURNS // (1 + lines // 8), 10)
    return _best_time(make_pass, turns, values.ctypes.data, values.size) / turns / 2


def phase(granules: int) -> float:
    """Nanoseconds of a phase in which two threads share out so many granules and have nothing to do, at best.

    Parameters
    ----------
    granules : int
        At least 1. Each thread has a CPU of its own; 0.0 where there is no second one.
    """
    return _best_time(make_phases, TURNS, granules) / TURNS if available() > 1 else 0.0


def _best_time(make: Callable[[int, bool], Any], times: int, *operands: int) -> float:
    """Nanoseconds that two threads take for a kernel that goes by a barrier's state; the best of TRIES."""
    run = launch.compiled(make, lambda kernel: team.alone(kernel, 0, 1, ()))[0]
    state, best = aligned_zeros(state_words(2), np.int32), float("inf")
    for _ in range(TRIES):
        start = time.perf_counter()
        team.in_threads(run, 2, (state.ctypes.data, *operands, times), state)
        best = min(best, time.perf_counter() - start)
    return best * 1e9
