"""Claims and the barrier: each granule is done once, nobody passes early, who is late does no harm, sleepers wake."""

import threading

import numpy as np
import pytest
from numba import njit

from fastnn.kernels.barrier import (
    ABORTED,
    EACH,
    ENDED,
    GONE,
    SLEEPERS,
    claim,
    finish,
    is_over,
    state_words,
    swap_long,
    wait,
)
from fastnn.layers import aligned_zeros

COUNTS = np.array([1, 2, 3, 7, 40, 1, 5, 4, 13] * 40)  # granules of each phase


@njit(nogil=True)
def take(state, owner, threads, phase, count):
    return claim(state, owner, threads, phase, count)


@njit(nogil=True)
def end(state, thread, threads, phase, done, count):
    finish(state, thread, threads, phase, done, count)
    return wait(state, threads, phase, count)


@njit(nogil=True)
def over(state, threads, phase, count):
    return is_over(state, threads, phase, count)


@njit(nogil=True)
def swap(at, expected, value):
    return swap_long(at, expected, value)


@njit(nogil=True)
def work(thread, threads, state, counts, did):
    """Count granules in did[thread], by phases. Returns how many were missing when a phase was over; -1: abort."""
    missing = 0
    for phase in range(len(counts)):
        done = 0
        for turn in range(threads):
            while True:
                first, last = claim(state, (thread + turn) % threads, threads, phase, counts[phase])
                if last == 0:
                    break
                did[thread, phase, first:last] += 1
                done += last - first
            if finish(state, thread, threads, phase, done, counts[phase]):
                break
        if wait(state, threads, phase, counts[phase]):
            return -1
        missing += counts[phase] - did[:, phase].sum()
    return missing


class Crew:
    """Threads, what each did in each phase, and what each found missing."""

    def __init__(self, threads: int, counts: np.ndarray = COUNTS):
        self.threads, self.counts = threads, counts
        self.state = aligned_zeros(state_words(threads), np.int32)
        self.at = self.state.ctypes.data
        self.did = np.zeros((threads, len(counts), counts.max()), np.int64)
        self.found = [-2] * threads

    def work(self, thread: int) -> None:
        self.found[thread] = work(thread, self.threads, self.at, self.counts, self.did)

    def start(self, thread: int) -> threading.Thread:
        started = threading.Thread(target=self.work, args=(thread,), daemon=True)
        started.start()
        return started

    def asleep(self, thread: int) -> threading.Thread:
        """A thread that has begun, and by now waits for the others and sleeps."""
        started = self.start(thread)
        while self.state[SLEEPERS] == 0:
            pass
        return started

    def check(self) -> None:
        """All is done once, and nobody went on before."""
        assert self.found == [0] * self.threads
        np.testing.assert_array_equal(self.did.sum(axis=0), np.arange(self.counts.max()) < self.counts[:, None])
        assert self.state[SLEEPERS] == self.state[ABORTED] == 0
        last = len(self.counts) - 1
        assert self.threads == 1 or over(self.at, self.threads, last, self.counts[last])


@pytest.mark.parametrize("threads", [1, 2, 3, 4, 8])  # more than there are cores: some must sleep
def test_each_granule_is_done_once_and_nobody_passes_before_all_are(threads):
    crew = Crew(threads)
    for started in [crew.start(thread) for thread in range(threads)]:
        started.join(60)
    crew.check()


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]])
def test_who_is_not_there_is_not_waited_for(order):
    crew = Crew(3)
    for thread in order:
        crew.work(thread)
    crew.check()
    assert crew.did[order[0]].sum() == COUNTS.sum()


def test_who_comes_late_catches_up():
    """Thread 1 holds a granule of phase 60, so thread 0 cannot go on; only then does thread 2 begin, with phase 0."""
    crew = Crew(3)
    ahead = Crew(3, COUNTS[:60])
    ahead.state, ahead.at, ahead.did = crew.state, crew.at, crew.did
    ahead.work(1)
    first, last = take(crew.at, 1, 3, 60, COUNTS[60])
    assert first < last
    started = [crew.asleep(0), crew.start(2)]
    started[1].join(0.05)
    assert not over(crew.at, 3, 60, COUNTS[60])
    crew.did[1, 60, first:last] += 1
    assert not end(crew.at, 1, 3, 60, last - first, COUNTS[60])
    for thread in started:
        thread.join(60)
    crew.found[1] = ahead.found[1]
    crew.check()
    assert crew.did[2, :60].sum() == 0


@pytest.mark.parametrize("owner", [0, 1, 2])
@pytest.mark.parametrize("begun", [False, True])
def test_a_claim_in_a_phase_that_is_over_takes_nothing_of_the_present_one(owner, begun):
    """Whether or not anyone has claimed of the share in the present phase: until then its line is of the last one."""
    crew = Crew(3, np.array([9, 9]))
    for phase in range(2):
        for other in range(3):
            while take(crew.at, other, 3, phase, 9)[1]:
                pass
        assert not end(crew.at, 0, 3, phase, 9, 9)
    if begun:
        assert take(crew.at, owner, 3, 2, 9)[1] > 0
    before = crew.state.copy()
    for phase in range(2):
        assert take(crew.at, owner, 3, phase, 9) == (0, 0)
        assert not end(crew.at, 1, 3, phase, 0, 9)
    np.testing.assert_array_equal(crew.state, before)
    assert take(crew.at, owner, 3, 2, 9)[1] > 0


def test_who_comes_late_does_not_end_the_present_phase():
    """Three granules are accounted for: as many as the phase had that the late thread comes from."""
    crew = Crew(2, np.array([3, 4]))
    assert not end(crew.at, 0, 2, 0, 3, 3)
    held = take(crew.at, 1, 2, 1, 4)
    assert held == (2, 3)
    waiter = threading.Thread(target=lambda: crew.found.append(end(crew.at, 0, 2, 1, 3, 4)))
    waiter.start()
    while crew.state[SLEEPERS] == 0:
        pass
    assert not end(crew.at, 1, 2, 0, 0, 3)
    assert not over(crew.at, 2, 1, 4)
    assert not end(crew.at, 1, 2, 1, 1, 4)
    waiter.join(60)
    assert crew.found[-1] == 0
    assert over(crew.at, 2, 1, 4)


def test_granules_of_an_earlier_phase_do_not_count():
    """Thread 0 has done one of phase 0, thread 1 the other two; in phase 1 only thread 1 has done anything yet."""
    crew = Crew(2)
    assert [end(crew.at, 1, 2, 0, 2, 2), end(crew.at, 0, 2, 0, 1, 1)] == [0, 0]
    assert over(crew.at, 2, 0, 3)
    assert not over(crew.at, 2, 0, 4)
    assert not end(crew.at, 1, 2, 1, 2, 2)
    assert over(crew.at, 2, 0, 4), "who is in phase 1 has seen phase 0 end"
    assert not over(crew.at, 2, 1, 3)


def test_half_of_what_is_left_is_taken():
    state = aligned_zeros(state_words(2), np.int32)
    assert [take(state.ctypes.data, 1, 2, 0, 10) for _ in range(4)] == [(5, 8), (8, 9), (9, 10), (0, 0)]
    assert [take(state.ctypes.data, 0, 2, 0, 10) for _ in range(4)] == [(0, 3), (3, 4), (4, 5), (0, 0)]
    assert list(state[GONE::EACH]) == [5, 5]


def test_a_share_of_nothing_is_left_alone():
    state = aligned_zeros(state_words(2), np.int32)
    assert take(state.ctypes.data, 0, 2, 0, 1) == (0, 0)
    assert take(state.ctypes.data, 1, 2, 0, 1) == (0, 1)
    assert list(state[GONE::EACH]) == [0, 1]


def test_a_claim_by_what_was_read_before_another_one_fails():
    word = aligned_zeros(1, np.int64)
    word[0] = (5 << 32) + 2
    assert not swap(word.ctypes.data, (5 << 32) + 1, (5 << 32) + 3)
    assert not swap(word.ctypes.data, (4 << 32) + 2, (4 << 32) + 3)
    assert word[0] == (5 << 32) + 2
    assert swap(word.ctypes.data, (5 << 32) + 2, (5 << 32) + 3)
    assert word[0] == (5 << 32) + 3


def test_an_abort_wakes_who_sleeps():
    crew = Crew(2)
    take(crew.at, 1, 2, 0, COUNTS[0])
    waiter = crew.asleep(0)
    crew.state[ABORTED] = 1
    waiter.join(30)
    assert crew.found == [-1, -2]


def test_who_is_done_wakes_who_sleeps():
    crew = Crew(2, COUNTS[:1])
    take(crew.at, 1, 2, 0, 1)
    waiter = crew.asleep(0)
    crew.did[1, 0, 0] += 1
    assert not end(crew.at, 1, 2, 0, 1, 1)
    assert crew.state[ENDED] == 1, "who sleeps would only wake when its patience ends"
    waiter.join(30)
    assert crew.found[0] == 0
    assert crew.state[SLEEPERS] == 0


@pytest.mark.parametrize("threads", [1, 3])
def test_after_an_abort_nobody_goes_on(threads):
    crew = Crew(threads)
    crew.state[ABORTED] = 1
    crew.work(0)
    assert crew.found[0] == -1
    assert crew.did[:, 1:].sum() == 0
