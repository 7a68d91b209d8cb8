"""Threads that end together whatever happens to one, on CPUs of their own."""

import ctypes
import os
import threading
import time

import numpy as np
import pytest
from numba import njit

from fastnn.kernels import team
from fastnn.kernels.barrier import finish, load_long, pause, state_words, wait
from fastnn.kernels.calls import (
    ARGUMENTS,
    AT_OTHERS,
    AWAY,
    CALL_WORDS,
    CALLED,
    LOOKING,
    LOOKS,
    MISSED,
    OTHERS,
    OVER,
    SENT,
    SLEEPER,
    STATE,
    THREAD,
    THREADS,
    WORKING,
    again,
    leave,
    may_begin,
    state_word,
)
from fastnn.kernels.simd import words
from fastnn.kernels.threads import available
from fastnn.layers import aligned_zeros

EVER = 2**31 - 2  # phases


@njit(nogil=True)
def meet(state, thread, threads, phases):
    """Each thread does one of the granules of each phase, so that all must wait for each other."""
    for phase in range(phases):
        finish(state, thread, threads, phase, 1, threads)
        if wait(state, threads, phase, threads):
            return True
    return False


@njit(nogil=True)
def meeting(at, number):
    """A kernel of (state, phases, seen): threads `meet`, and each counts in `seen` that it did, or was told to end."""
    if not may_begin(at, number):
        return MISSED
    call, given = words(at), words(at + 8 * ARGUMENTS)
    while True:
        ended = meet(given[0], call[THREAD], call[THREADS], given[1])
        words(given[2])[call[THREAD]] += 100 if ended else 1
        if not again(at):
            return 0


def fresh(threads: int) -> np.ndarray:
    return aligned_zeros(state_words(threads), np.int32)


def arguments(state: np.ndarray, phases: int, seen: np.ndarray) -> tuple[int, ...]:
    return state.ctypes.data, phases, seen.ctypes.data


def words_at(at: int) -> np.ndarray:
    """A thread's words, by their address."""
    return np.ctypeslib.as_array((ctypes.c_int64 * CALL_WORDS).from_address(at))


def addresses(call: np.ndarray) -> list[int]:
    """Of the others' words, by those of the caller."""
    return words_at(int(call[AT_OTHERS]))[: call[OTHERS]].tolist()


@pytest.fixture(autouse=True, scope="module")
def compiled():
    """Before a thread waits for the call."""
    team.alone(meeting, 0, 1, arguments(fresh(1), 0, np.zeros(1, np.int64)))
    team.alone(held, 0, 1, ())


@pytest.fixture(autouse=True)
def nobody_idle(monkeypatch):
    """Each test has threads of its own, which end soon after it."""
    monkeypatch.setattr(team, "_idle", [])


class Kernel:
    """A kernel in Python around a compiled one: the caller goes on when the others work, or fails then."""

    def __init__(self, compiled, error: BaseException | None = None):
        self.compiled, self.error, self.calls = compiled, error, 0
        self.others: list[np.ndarray] = []

    def __call__(self, at: int, number: int) -> int:
        call = words_at(at)
        if call[THREAD] == 0 and not call[OVER]:
            self.calls += 1
            if self.calls == 2:  # those who could not be called in memory have been sent the call
                self.others = [words_at(int(at)) for at in addresses(call)]
                while any(other[STATE] != state_word(number, WORKING) for other in self.others):
                    time.sleep(0)
                if self.error is not None:
                    raise self.error
        return self.compiled(at, number)


@pytest.mark.parametrize("error", [MemoryError("no room"), KeyboardInterrupt(), SystemExit(3)])
def test_what_stops_the_caller_ends_the_others(error):
    state, seen = fresh(4), np.zeros(4, np.int64)
    with pytest.raises(type(error)):
        team.in_threads(Kernel(meeting, error), 4, arguments(state, EVER, seen), state)
    assert seen.tolist() == [0, 100, 100, 100]


def test_a_thread_that_cannot_start_lets_none_begin(monkeypatch):
    state, seen, given, take = fresh(4), np.zeros(4, np.int64), [], team._helper

    def refuse_third(kernel) -> team.Helper:
        if len(given) == 2:
            raise RuntimeError("can't start new thread")
        given.append(take(kernel))
        return given[-1]

    monkeypatch.setattr(team, "_helper", refuse_third)
    with pytest.raises(RuntimeError, match="start new thread"):
        team.in_threads(meeting, 4, arguments(state, EVER, seen), state)
    assert not seen.any()
    assert team._idle == given


def test_an_interrupt_while_waiting_waits_for_the_others():
    """They work in memory that the caller may free: the interrupt comes out only when they have ended."""
    state, seen, interrupts = fresh(2), np.zeros(2, np.int64), []

    def kernel(at: int, number: int) -> int:
        if words_at(at)[OVER] and not interrupts:
            interrupts.append(number)
            raise KeyboardInterrupt
        return meeting(at, number)

    with pytest.raises(KeyboardInterrupt):
        team.in_threads(kernel, 2, arguments(state, 3, seen), state)
    assert seen.tolist() == [1, 1]
    assert interrupts
    assert team._idle[0].state()[1] != WORKING


def test_who_is_late_does_nothing(monkeypatch):
    """The caller has done all the work, or was interrupted: what the other would work on is gone."""
    late, state, seen = team.Helper(), fresh(2), np.zeros(2, np.int64)
    monkeypatch.setattr(team, "_helper", lambda kernel: late)
    team.in_threads(meeting, 2, arguments(state, 0, seen), state)
    assert late.state()[1] == AWAY
    monkeypatch.setattr(team, "LINGER", 0)
    late.start()
    late.join(30)
    assert seen.tolist() == [1, 0]


def test_a_thread_serves_one_call_after_the_other_and_ends_when_none_comes(monkeypatch):
    seen = np.zeros(2, np.int64)
    for _ in range(3):
        state = fresh(2)
        team.in_threads(meeting, 2, arguments(state, 3, seen), state)
    (helper,) = team._idle
    assert seen.tolist() == [3, 3]
    monkeypatch.setattr(team, "LINGER", 0)
    helper.sent.put((meeting, 0, team.Places(1)))  # of a call that is over: it only looks at the clock again
    helper.join(30)
    assert not helper.is_alive()
    assert team._idle == []
    assert seen.tolist() == [3, 3]


def spied_on(monkeypatch, owner, name):
    """What a method is called with."""
    calls, method = [], getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *given: (calls.append(given), method(*given))[1])
    return calls


enough = pytest.mark.skipif(available() < 2, reason="who has no CPU for itself does not look for calls")


@enough
def test_a_thread_that_looks_for_the_next_call_takes_it_from_memory(monkeypatch):
    sent, settled, seen = spied_on(monkeypatch, team.Helper, "send"), spied_on(monkeypatch, team.Places, "settle"), []
    for looks in (2**40, 2**40, 0):
        monkeypatch.setattr(team, "LOOKS", looks)
        state, seen = fresh(2), np.zeros(2, np.int64)
        team.in_threads(meeting, 2, arguments(state, 3, seen), state)
        (helper,) = team._idle
        assert looks == 0 or helper.state()[1] == LOOKING
        assert seen.tolist() == [1, 1]
    assert [given[0] for given in sent] == [helper]
    assert [given[1] for given in settled] == [helper, helper]
    if team._current_cpu is not None:
        assert os.sched_getaffinity(helper.native_id) == {helper.cpu}


@enough
def test_only_who_does_not_look_is_woken(monkeypatch):
    monkeypatch.setattr(team, "LOOKS", 2**40)
    state, seen = fresh(2), np.zeros(3, np.int64)
    team.in_threads(meeting, 2, arguments(state, 3, seen), state)
    monkeypatch.setattr(team, "LOOKS", 0)
    sent, (first,) = spied_on(monkeypatch, team.Helper, "send"), team._idle
    state = fresh(3)
    team.in_threads(meeting, 3, arguments(state, 3, seen), state)
    assert seen.tolist() == [2, 2, 1]
    assert [given[0] for given in sent] == [helper for helper in team._idle if helper is not first]


def test_who_has_no_cpu_for_itself_does_not_look_for_calls():
    threads = 1 + (os.cpu_count() or 1)
    state, seen = fresh(threads), np.zeros(threads, np.int64)
    team.in_threads(meeting, threads, arguments(state, 3, seen), state)
    assert seen.tolist() == [1] * threads
    assert [helper.words[LOOKS] for helper in team._idle] == [0] * (threads - 1)


def test_who_looks_in_another_kernel_is_not_called(monkeypatch):
    other, helper = object(), team._helper(meeting)
    helper.kernel, helper.words[STATE] = other, state_word(7, LOOKING)
    team._idle.append(helper)
    assert team._helper(meeting) is not helper
    assert team._helper(other) is helper
    team._idle.append(helper)
    helper.words[STATE] = state_word(7, AWAY)
    assert team._helper(meeting) is helper


def test_a_thread_that_has_ended_is_not_called(monkeypatch):
    monkeypatch.setattr(team, "LINGER", 0)
    ended = team._helper(meeting)
    ended.join(30)
    team._idle.append(ended)
    assert team._helper(meeting) is not ended


def test_a_thread_that_was_taken_and_given_nothing_ends(monkeypatch):
    """An interrupt between the two."""
    monkeypatch.setattr(team, "LINGER", 0.01)
    helper = team._helper(meeting)
    helper.join(30)
    assert not helper.is_alive()


def test_calls_side_by_side_have_threads_of_their_own():
    seen = np.zeros((4, 3), np.int64)

    def call(mine: np.ndarray) -> None:
        for _ in range(5):
            state = fresh(3)
            team.in_threads(meeting, 3, arguments(state, 200, mine), state)

    callers = [threading.Thread(target=call, args=(mine,)) for mine in seen]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    np.testing.assert_array_equal(seen, 5)


# ---------------------------------------------------------------- the states of a thread


@pytest.mark.parametrize(("state", "after"), [(SENT, AWAY), (CALLED, LOOKING), (AWAY, AWAY), (LOOKING, LOOKING)])
def test_who_has_not_begun_when_a_call_is_over_will_not(state, after):
    helper, mine, others = (np.zeros(CALL_WORDS, np.int64) for _ in range(3))
    helper[STATE], others[0] = state_word(5, state), helper.ctypes.data
    mine[[AT_OTHERS, OTHERS, OVER, THREADS]] = others.ctypes.data, 1, 1, 2
    meeting(mine.ctypes.data, 5)
    assert helper[STATE] == state_word(5, after)


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        (state_word(4, LOOKING), state_word(5, CALLED), True),
        (state_word(4, AWAY), state_word(4, AWAY), False),
        # of this call: it has been called, or has done its part
        *[(state_word(5, state), state_word(5, state), True) for state in range(5)],
    ],
)
def test_a_call_is_seen_by_who_looks_for_it_and_once(before, after, found):
    helper, mine, others, state = (np.zeros(CALL_WORDS, np.int64) for _ in range(4))
    helper[STATE], others[0] = before, helper.ctypes.data
    mine[[AT_OTHERS, OTHERS, THREADS]] = others.ctypes.data, 1, 2
    mine[ARGUMENTS : ARGUMENTS + 3] = state.ctypes.data, 0, state.ctypes.data  # no phases
    assert (meeting(mine.ctypes.data, 5) != MISSED) == found
    assert helper[STATE] == after
    assert state[0] == found


def test_a_call_that_is_over_is_not_done():
    mine, seen = np.zeros(CALL_WORDS, np.int64), np.zeros(2, np.int64)
    mine[[STATE, THREAD]] = state_word(6, SENT), 1
    assert meeting(mine.ctypes.data, 5) == MISSED
    assert mine[STATE] == state_word(6, SENT)
    mine[ARGUMENTS : ARGUMENTS + 3] = seen.ctypes.data, 0, seen.ctypes.data
    assert meeting(mine.ctypes.data, 6) == 0
    assert mine[STATE] == state_word(6, AWAY)
    assert seen.tolist() == [0, 1]


@njit(nogil=True)
def held(at, number):
    """A kernel of (flag,): the others wait until it is raised."""
    if not may_begin(at, number):
        return MISSED
    if words(at)[THREAD]:
        while load_long(words(at + 8 * ARGUMENTS)[0]) == 0:
            pause(at)
    leave(at)
    return 0


def test_who_waits_long_for_the_end_sleeps_and_is_woken():
    flag, kernel = np.zeros(1, np.int64), Kernel(held)
    caller = threading.Thread(target=team.in_threads, args=(kernel, 2, (flag.ctypes.data,), fresh(2)))
    caller.start()
    while not (kernel.others and kernel.others[0][SLEEPER]):
        time.sleep(0)
    flag[0] = 1
    caller.join(30)
    assert not caller.is_alive()
    assert team._idle[0].state()[1] == AWAY


# ---------------------------------------------------------------- CPUs

placing = pytest.mark.skipif(team._current_cpu is None, reason="the system does not place threads")


class Elsewhere:
    """Stands for a thread that is to come, or looks for calls on a CPU."""

    def __init__(self, native_id: int, cpu: int | None = None):
        self.native_id, self.cpu = native_id, cpu


@pytest.fixture
def moves(monkeypatch):
    """Which thread is sent where; the calling one is on CPUs 5, 5, 5, 7 and 5 by turns."""
    found, on = [], iter([5, 5, 5, 7, 5])
    monkeypatch.setattr(team, "_current_cpu", lambda: next(on))
    monkeypatch.setattr(os, "sched_getaffinity", lambda thread: {5, 6, 7, 8})
    monkeypatch.setattr(os, "sched_setaffinity", lambda thread, cpus: found.append((thread, set(cpus))))
    return found


@placing
def test_each_thread_keeps_a_cpu_of_its_own_where_it_is_if_that_is_free(moves):
    """The second and the third wake where the first is, the fourth alone; there is no room for a fifth."""
    places = team.Places(5)
    kept = [places.keep()]
    places.send(Elsewhere(11))
    kept += [places.keep() for _ in range(4)]
    places.send(Elsewhere(12))
    places.restore()
    own = [(0, {5}), (11, {6, 7, 8}), (0, {6}), (0, {7}), (0, {8})]
    assert moves == [*own, (12, {5, 6, 7, 8}), (0, {5, 6, 7, 8})]
    assert kept == [5, 6, 7, 8, None]
    assert not places.enough


@placing
def test_who_looks_for_calls_stays_on_its_cpu_if_nobody_else_is_there(moves):
    stays, goes, lost, places = Elsewhere(11, 6), Elsewhere(12, 5), Elsewhere(13, 6), team.Places(4)
    places.keep()
    places.settle(stays)
    assert moves == [(0, {5})]
    places.settle(goes)
    places.settle(lost)
    assert moves[1:] == [(12, {7}), (13, {8})]
    places.settle(Elsewhere(14, 8))
    assert moves[3:] == [(14, {5, 6, 7, 8})]
    places.send(goes)  # it does not look any more: its CPU is free again
    assert moves[4:] == [(12, {7})]
    assert places.enough


@placing
def test_a_thread_that_has_ended_is_no_error():
    ended = threading.Thread(target=int)
    ended.start()
    ended.join()
    team.Places(2).send(Elsewhere(ended.native_id))


@placing
def test_the_caller_may_go_where_it_could_before():
    before, during = os.sched_getaffinity(0), {}

    def kernel(at: int, number: int) -> int:
        during[int(words_at(at)[THREAD])] = os.sched_getaffinity(0)
        return meeting(at, number)

    state, seen = fresh(2), np.zeros(2, np.int64)
    team.in_threads(kernel, 2, arguments(state, 1, seen), state)
    assert os.sched_getaffinity(0) == before
    assert len(before) == 1 or (during[0].isdisjoint(during[1]) and len(during[0]) == len(during[1]) == 1)
