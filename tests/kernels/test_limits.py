"""The loops that the machine's limits are measured by do the very work that is counted; no time is judged here."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest

from fastnn.errors import ConfigError
from fastnn.kernels import cpu, limits, team
from fastnn.kernels.barrier import ABORTED, ENDED, state_words
from fastnn.layers import aligned_zeros


@pytest.fixture
def quick(monkeypatch):
    """Measurements that are too short to be good."""
    monkeypatch.setattr(limits, "RUN_SECONDS", 1e-5)
    monkeypatch.setattr(limits, "SECONDS", 0)
    monkeypatch.setattr(limits, "LEAST_FAR", 2**16)
    monkeypatch.setattr(limits, "MOST_FAR", 2**16)


def test_each_chain_is_multiplied_and_added_to_as_often_as_is_counted():
    values = np.zeros((2 + limits.CHAINS, limits.LANES), np.float32)
    values[0], values[1] = -1, 0.5
    values[2:] = np.arange(limits.CHAINS * limits.LANES).reshape(-1, limits.LANES)
    start = values.copy()
    limits.kernel(limits.make_multiply_add)(values, 10_001)  # an odd number: x -> 0.5 - x
    np.testing.assert_array_equal(values, [*start[:2], *(0.5 - start[2:])])
    values[0], values[1], values[2:] = 1, 1, 0
    limits.kernel(limits.make_multiply_add)(values, 12_345)
    assert (values[2:] == 12_345).all()


def test_the_chains_stay_ordinary_numbers():
    values = limits._chains()
    limits.kernel(limits.make_multiply_add)(values, 1000)
    assert (values[2:] == 2).all()


@pytest.mark.skipif(cpu.lanes() == 4, reason="the registers of these CPUs have other names")
def test_the_loop_is_multiply_adds_on_registers_alone():
    program = (
        "from fastnn.kernels import limits;"
        "kernel = limits.make_multiply_add(0, False); kernel(limits._chains(), 1);"
        "print(*kernel.inspect_asm().values())"
    )
    code = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    labels = re.split(r"^\.?L\w+:", code, flags=re.M)
    (loop, *_) = (part for part in labels if len(re.findall("vfmadd", part)) >= limits.CHAINS)
    loop = loop[: re.search(r"^\s+j", loop, flags=re.M).start()]
    multiply_adds = re.findall(r"^\s+vfmadd\w+ps\s+(.*)$", loop, flags=re.M)
    assert len(multiply_adds) % limits.CHAINS == 0
    assert all(re.fullmatch(r"(%[yz]mm\d+(, )?){3}", operands) for operands in multiply_adds)
    assert len(re.findall(r"^\s+v\w+", loop, flags=re.M)) == len(multiply_adds)
    assert "(" not in loop  # no address


def test_everything_is_read_as_often_as_is_counted():
    values = np.random.default_rng(0).integers(0, 100, 7 * limits.LINE).astype(np.float32)
    sums = np.zeros(limits.LINE, np.float32)
    limits.kernel(limits.make_read)(values, sums, 3)
    np.testing.assert_array_equal(sums, 3 * values.reshape(7, -1).sum(axis=0))


def test_everything_is_updated_as_often_as_is_counted():
    values = np.arange(1000, dtype=np.float32)
    limits.kernel(limits.make_update)(values, 3)
    np.testing.assert_array_equal(values, np.arange(1000) + 3)


@pytest.mark.parametrize("threads", [1, 3])
def test_rates_count_the_work_of_all_threads(monkeypatch, threads):
    """A clock that runs a second each time it is read, and a kernel that keeps a log."""
    now, log = iter(range(1000)), []
    monkeypatch.setattr(limits.time, "perf_counter", lambda: next(now))
    monkeypatch.setattr(limits, "RUN_SECONDS", 1)
    rate = limits.rate(lambda mine, times: log.append((mine, times)), [(mine,) for mine in range(threads)], 5e9)
    assert rate == 5
    assert sorted(set(log)) == [(mine, 1) for mine in range(threads)]


@pytest.mark.parametrize("threads", [1, 2])
def test_what_each_limit_counts(monkeypatch, threads):
    seen = []
    monkeypatch.setattr(limits, "rate", lambda kernel, operands, work: seen.append((operands, work)))
    limits.fma_peak(threads)
    limits.cache_bandwidth(2**15, threads)
    monkeypatch.setattr(cpu, "cache_sizes", lambda: {1: 2**10, 3: 2**20})
    monkeypatch.setattr(limits, "LEAST_FAR", 2**16)
    limits.bandwidth(threads)
    (chains, flops), (read, read_bytes), (moved, moved_bytes) = seen
    assert {len(operands) for operands, _ in seen} == {threads}
    assert flops == 2 * sum(values[2:].size for (values,) in chains)
    assert read_bytes == threads * 2**15 == sum(values.nbytes for values, _ in read)
    assert moved_bytes == 2 * 4 * 2**20 == 2 * sum(values.nbytes for (values,) in moved)


def test_they_are_measured(quick):
    for threads in (1, 2):
        found = limits.fma_peak(threads), limits.bandwidth(threads), limits.cache_bandwidth(2**12, threads)
        assert all(np.isfinite(figure) and figure > 0 for figure in found)


@pytest.mark.parametrize("threads", [0, -1, 1.5, True, "auto"])
def test_no_threads_no_limit(threads):
    for limit in (limits.fma_peak, limits.bandwidth, lambda threads: limits.cache_bandwidth(2**12, threads)):
        with pytest.raises(ConfigError, match="threads must be a whole number"):
            limit(threads)


def test_nothing_is_compiled_at_import():
    code = "from fastnn.kernels import launch, limits; print(launch._kernels)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout == "{}\n"


@pytest.mark.parametrize("lines", [0, 3])
def test_a_word_goes_from_thread_to_thread_as_often_as_is_counted(lines):
    """And what lies on the lines with it: each thread adds to each number once a turn."""
    run, state = limits.kernel(limits.make_pass), aligned_zeros(state_words(2), np.int32)
    values = aligned_zeros(limits.CACHE_LINE * lines)
    team.in_threads(run, 2, (state.ctypes.data, values, 321), state)
    assert state[ENDED] == 2 * 321
    np.testing.assert_array_equal(values, 2 * 321)
    state[ABORTED] = 1
    run(0, 2, state.ctypes.data, values, 1)  # it is not this thread's turn, and never will be


def test_a_round_trip_takes_two_cpus(monkeypatch):
    monkeypatch.setattr(limits, "TURNS", 10)
    monkeypatch.setattr(limits, "available", lambda: 2)
    assert limits.round_trip() > 0
    assert limits.handover(2) > 0
    monkeypatch.setattr(limits, "available", lambda: 1)
    assert limits.round_trip() == limits.handover(2) == 0


def test_a_handover_is_one_of_two_turns(monkeypatch):
    """A clock that runs a second from call to call: of so many turns of both threads, each takes this share of it."""
    now, seen = iter(range(100)), []
    monkeypatch.setattr(limits, "available", lambda: 2)
    monkeypatch.setattr(limits.time, "perf_counter", lambda: next(now))
    monkeypatch.setattr(team, "in_threads", lambda kernel, threads, arguments, state: seen.append(arguments))
    assert limits.handover(80) == 1e9 / (2 * seen[0][2])
    assert all(values.nbytes == 80 * 64 for _, values, _ in seen)
