"""The barrier: nobody passes early, sleepers wake, an abort ends every wait."""

import threading

import numpy as np
import pytest
from numba import njit

from fastnn.kernels.barrier import ABORTED, COUNT, GENERATION, SLEEPERS, STATE_WORDS, wait
from fastnn.layers import aligned_zeros


@njit(nogil=True)
def rounds(thread, threads, state, steps, counts):
    """Each round every thread counts, meets the others, and looks at all counts. Returns how many it found behind."""
    behind = 0
    for step in range(steps):
        counts[thread] += 1
        if wait(state, threads):
            return -1
        for other in range(threads):
            if counts[other] != step + 1:
                behind += 1
        if wait(state, threads):
            return -1
    return behind


def run(threads: int, steps: int) -> tuple[list[int], np.ndarray]:
    state, counts = aligned_zeros(STATE_WORDS, np.int32), np.zeros(threads, np.int64)
    found = [-2] * threads

    def work(thread: int) -> None:
        found[thread] = rounds(thread, threads, state.ctypes.data, steps, counts)

    workers = [threading.Thread(target=work, args=(thread,)) for thread in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return found, state


@pytest.mark.parametrize("threads", [1, 2, 3, 8])  # more than there are cores: some must sleep
def test_nobody_passes_before_all_have_come(threads):
    found, state = run(threads, 300)
    assert found == [0] * threads
    assert state[COUNT] == state[SLEEPERS] == state[ABORTED] == 0
    assert state[GENERATION] == (600 if threads > 1 else 0)


def asleep(threads: int) -> tuple[threading.Thread, np.ndarray, list[int]]:
    """A thread that waits for others, and by now sleeps."""
    state, counts, found = aligned_zeros(STATE_WORDS, np.int32), np.zeros(threads, np.int64), []
    waiter = threading.Thread(target=lambda: found.append(rounds(0, threads, state.ctypes.data, 1, counts)))
    waiter.start()
    while state[SLEEPERS] == 0:
        pass
    return waiter, state, found


def test_an_abort_wakes_who_sleeps():
    waiter, state, found = asleep(2)
    state[ABORTED] = 1
    waiter.join(30)
    assert found == [-1]


def test_who_comes_late_wakes_who_sleeps():
    waiter, state, found = asleep(2)
    counts = np.array([1, 0])
    rounds(1, 2, state.ctypes.data, 1, counts)
    waiter.join(30)
    assert len(found) == 1
    assert state[SLEEPERS] == 0


def test_after_an_abort_nobody_waits():
    state, counts = aligned_zeros(STATE_WORDS, np.int32), np.zeros(3, np.int64)
    state[ABORTED] = 1
    assert rounds(0, 3, state.ctypes.data, 5, counts) == -1
    assert rounds(0, 1, state.ctypes.data, 5, counts) == -1
