"""Threads that end together whatever happens to one, on CPUs of their own."""

import os
import threading

import numpy as np
import pytest
from numba import njit

from fastnn.kernels import team
from fastnn.kernels.barrier import finish, state_words, wait
from fastnn.layers import aligned_zeros


@njit(nogil=True)
def meet(state, thread, threads, phases):
    """Each thread does one of the granules of each phase, so that all must wait for each other."""
    for phase in range(phases):
        finish(state, thread, threads, phase, 1, threads)
        if wait(state, threads, phase, threads):
            return True
    return False


def fresh(threads: int) -> np.ndarray:
    return aligned_zeros(state_words(threads), np.int32)


class Kernel:
    """Stands for the compiled step: thread `bad` fails at once, the others meet for ever."""

    def __init__(self, bad: int, error: BaseException):
        self.bad, self.error, self.state = bad, error, fresh(4)
        self.begun: list[int] = []
        self.ended: list[int] = []

    def __call__(self, thread: int, threads: int) -> None:
        self.begun.append(thread)
        if thread == self.bad:
            raise self.error
        assert meet(self.state.ctypes.data, thread, threads, 2**31 - 2)
        self.ended.append(thread)


@pytest.mark.parametrize("error", [MemoryError("no room"), KeyboardInterrupt(), SystemExit(3)])
@pytest.mark.parametrize("bad", [0, 1, 3])
def test_what_stops_one_thread_ends_the_others(bad, error):
    kernel = Kernel(bad, error)
    with pytest.raises(type(error)):
        team.in_threads(kernel, 4, (), kernel.state)
    assert sorted([*kernel.ended, bad]) == sorted(kernel.begun)
    assert bad == 0 or len(kernel.begun) > 1


def test_a_thread_that_cannot_start_ends_the_others(monkeypatch):
    kernel, given, take = Kernel(99, ValueError()), [], team._helper

    def refuse_third() -> team.Helper:
        if len(given) == 2:
            raise RuntimeError("can't start new thread")
        given.append(take())
        return given[-1]

    monkeypatch.setattr(team, "_helper", refuse_third)
    with pytest.raises(RuntimeError, match="start new thread"):
        team.in_threads(kernel, 4, (), kernel.state)
    assert set(kernel.begun) <= {1, 2}
    assert sorted(kernel.ended) == sorted(kernel.begun)


def test_an_interrupt_while_waiting_waits_for_the_others(monkeypatch):
    """They work in memory that the caller may free: the interrupt comes out only when they have ended."""
    wait_for, interrupts = team.Part.give_up_or_wait, []

    def interrupted(self: team.Part) -> None:
        if not interrupts:
            interrupts.append(self)
            raise KeyboardInterrupt
        release.set()  # only who waits once more sees the other end
        wait_for(self)

    ended = []
    entered, release = threading.Event(), threading.Event()

    def kernel(thread: int, threads: int) -> None:
        if thread:
            entered.set()
            release.wait(30)
            ended.append(thread)
        else:
            entered.wait(30)

    monkeypatch.setattr(team.Part, "give_up_or_wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        team.in_threads(kernel, 2, (), fresh(2))
    assert ended == [1]
    assert interrupts


def test_who_is_late_does_nothing(monkeypatch):
    """The caller has done all the work, or was interrupted: what the other would work on is gone."""
    late, entered = team.Helper(), []
    monkeypatch.setattr(team, "_helper", lambda: late)
    team.in_threads(lambda thread, threads: entered.append(thread), 2, (), fresh(2))
    monkeypatch.setattr(team, "LINGER", 0)
    late.start()
    late.join()
    assert entered == [0]


def test_a_part_is_done_by_who_claims_it_first():
    part, helper = team.Part(lambda: None), object()
    assert part.claim(helper)
    assert part.claim(helper)  # an interrupt may make it ask again
    assert not part.claim(object())


def test_a_thread_serves_one_call_after_the_other_and_ends_when_none_comes(monkeypatch):
    monkeypatch.setattr(team, "_idle", [])
    seen = []

    def kernel(thread: int, threads: int) -> None:
        seen.append(threading.current_thread())
        assert not meet(state.ctypes.data, thread, threads, 3)

    for _ in range(3):
        state = fresh(2)
        team.in_threads(kernel, 2, (), state)
    (helper,) = set(seen) - {threading.current_thread()}
    assert len(seen) == 6
    monkeypatch.setattr(team, "LINGER", 0)
    state = fresh(2)
    team.in_threads(kernel, 2, (), state)
    helper.join(30)
    assert not helper.is_alive()
    assert team._idle == []


def test_a_thread_that_was_taken_and_given_nothing_ends(monkeypatch):
    """An interrupt between the two."""
    monkeypatch.setattr(team, "_idle", [])
    monkeypatch.setattr(team, "LINGER", 0.01)
    helper = team._helper()
    helper.join(30)
    assert not helper.is_alive()


def test_calls_side_by_side_have_threads_of_their_own():
    met = []

    def call() -> None:
        state = fresh(3)
        team.in_threads(lambda thread, threads: met.append(meet(state.ctypes.data, thread, threads, 200)), 3, (), state)

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert met == [False] * 12


# ---------------------------------------------------------------- CPUs

placing = pytest.mark.skipif(team._current_cpu is None, reason="the system does not place threads")


@placing
def test_each_thread_keeps_a_cpu_of_its_own_where_it_is_if_that_is_free(monkeypatch):
    """The second and the third wake where the first is, the fourth alone; there is no room for a fifth."""
    moves, on = [], iter([5, 5, 5, 7, 5])
    monkeypatch.setattr(team, "_current_cpu", lambda: next(on))
    monkeypatch.setattr(os, "sched_getaffinity", lambda thread: {5, 6, 7, 8})
    monkeypatch.setattr(os, "sched_setaffinity", lambda thread, cpus: moves.append((thread, set(cpus))))
    places = team.Places(5)
    places.keep()
    places.send(11)
    for _ in range(4):
        places.keep()
    places.send(12)
    places.restore()
    own = [(0, {5}), (11, {6, 7, 8}), (0, {6}), (0, {7}), (0, {8})]
    assert moves == [*own, (12, {5, 6, 7, 8}), (0, {5, 6, 7, 8})]


@placing
def test_a_thread_that_has_ended_is_no_error():
    ended = threading.Thread(target=int)
    ended.start()
    ended.join()
    team.Places(2).send(ended.native_id)


@placing
def test_the_caller_may_go_where_it_could_before():
    before, during, state = os.sched_getaffinity(0), {}, fresh(2)

    def kernel(thread: int, threads: int) -> None:
        during[thread] = os.sched_getaffinity(0)
        assert not meet(state.ctypes.data, thread, threads, 1)

    team.in_threads(kernel, 2, (), state)
    assert os.sched_getaffinity(0) == before
    assert len(before) == 1 or (during[0].isdisjoint(during[1]) and len(during[0]) == len(during[1]) == 1)
