"""The loops in which two threads tell each other something do what is counted; no time is judged here."""

import numpy as np
import pytest

from fastnn.kernels import cores, team
from fastnn.kernels.barrier import ABORTED, DONE, EACH, ENDED, GONE, state_words
from fastnn.layers import aligned_zeros


def kernel_of(make):
    run = make(0, False)
    team.alone(run, 0, 1, ())
    return run


@pytest.mark.parametrize("lines", [0, 3])
def test_a_word_goes_from_thread_to_thread_as_often_as_is_counted(lines):
    """And what lies on the lines with it: each thread adds to each number once a turn."""
    run, state = kernel_of(cores.make_pass), aligned_zeros(state_words(2), np.int32)
    values = aligned_zeros(cores.CACHE_LINE * lines)
    given = state.ctypes.data, values.ctypes.data, values.size
    team.in_threads(run, 2, (*given, 321), state)
    assert state[ENDED] == 2 * 321
    np.testing.assert_array_equal(values, 2 * 321)
    state[ABORTED] = 1
    team.alone(run, 0, 2, (*given, 1))  # it is not this thread's turn, and never will be


@pytest.mark.parametrize("granules", [1, 2, 7])
def test_as_many_phases_end_as_are_counted(granules):
    run, state = kernel_of(cores.make_phases), aligned_zeros(state_words(2), np.int32)
    team.in_threads(run, 2, (state.ctypes.data, granules, 321), state)
    done = [int(state[at : at + 2].view(np.int64)[0]) for at in (DONE, DONE + EACH)]
    gone = [int(state[at : at + 2].view(np.int64)[0]) for at in (GONE, GONE + EACH)]
    assert sum(word & 0xFFFFFFFF for word in done if word >> 32 == 320) == granules
    assert sum(word & 0xFFFFFFFF for word in gone if word >> 32 == 320) == granules
    state[:] = 0
    state[ABORTED] = 1
    team.alone(run, 0, 2, (state.ctypes.data, granules, 5))
    assert int(state[DONE : DONE + 2].view(np.int64)[0]) == granules  # of phase 0, after which it is told to end


def test_a_round_trip_takes_two_cpus(monkeypatch):
    monkeypatch.setattr(cores, "TURNS", 10)
    monkeypatch.setattr(cores, "available", lambda: 2)
    assert cores.round_trip() > 0
    assert cores.handover(2) > 0
    assert cores.phase(3) > 0
    monkeypatch.setattr(cores, "available", lambda: 1)
    assert cores.round_trip() == cores.handover(2) == cores.phase(3) == 0


def test_a_handover_is_one_of_two_turns(monkeypatch):
    """A clock that runs a second from call to call: of so many turns of both threads, each takes this share of it."""
    now, seen = iter(range(100)), []
    monkeypatch.setattr(cores, "available", lambda: 2)
    monkeypatch.setattr(cores.time, "perf_counter", lambda: next(now))
    monkeypatch.setattr(team, "in_threads", lambda kernel, threads, arguments, state: seen.append(arguments))
    assert cores.handover(80) == 1e9 / (2 * seen[0][3])
    assert all(4 * size == 80 * 64 for _, _, size, _ in seen)
    seen.clear()
    assert cores.phase(9) == 1e9 / seen[0][2]
    assert all(count == 9 for _, count, _ in seen)
