"""The loops that the machine's limits are measured by do the very work that is counted; no time is judged here."""

import os
import platform
import re
import subprocess
import sys

import numpy as np
import pytest

from fastnn.errors import ConfigError
from fastnn.kernels import cpu, limits, probes


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


def test_chains_that_read_are_multiplied_by_what_they_read():
    """Each by the number at its place on the turn's cache line; the others by what the registers hold."""
    values, turns = np.zeros((2 + limits.CHAINS, limits.LANES), np.float32), 64 + 2
    factors = np.random.default_rng(0).choice([-1.0, 1.0], limits.FACTORS + limits.READING).astype(np.float32)
    values[1] = 1  # whole numbers: no rounding
    limits.kernel(limits.make_multiply_add_reading)(values, factors, turns)
    expected = np.zeros(limits.CHAINS)
    for turn in range(turns):
        line = factors[limits.CACHE_LINE * turn % limits.FACTORS :][: limits.READING]
        expected = expected * np.append(line, np.zeros(limits.CHAINS - limits.READING)) + 1
    np.testing.assert_array_equal(values[2:], np.repeat(expected[:, None], limits.LANES, axis=1))


def loop_of(kernel, operands):
    """The instructions of a kernel's loop over all chains."""
    program = (
        f"from fastnn.kernels import limits; kernel = limits.{kernel}(0, False); kernel({operands}, 1);"
        "print(*kernel.inspect_asm().values())"
    )
    code = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    labels = re.split(r"^\.?L\w+:", code, flags=re.M)
    (loop, *_) = (part for part in labels if len(re.findall("vfmadd", part)) >= limits.CHAINS)
    return loop[: re.search(r"^\s+j", loop, flags=re.M).start()]


@pytest.mark.skipif(cpu.lanes() == 4, reason="the registers of these CPUs have other names")
def test_as_many_numbers_are_read_as_by_a_tile():
    rows, panels = probes.TILES["tile by samples"]
    vectors = panels * probes.PANEL // limits.LANES
    loop = loop_of("make_multiply_add_reading", "limits._chains(), limits._factors()")
    multiply_adds, read = len(re.findall(r"^\s+vfmadd", loop, flags=re.M)), len(re.findall(r"\(%r", loop))
    assert multiply_adds % limits.CHAINS == 0
    assert read / multiply_adds == pytest.approx((rows + vectors) / (rows * vectors), abs=1 / limits.CHAINS)


@pytest.mark.skipif(cpu.lanes() == 4, reason="the registers of these CPUs have other names")
def test_the_loop_is_multiply_adds_on_registers_alone():
    loop = loop_of("make_multiply_add", "limits._chains()")
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
    limits.tile_peak(threads)
    limits.cache_bandwidth(2**15, threads)
    monkeypatch.setattr(cpu, "cache_sizes", lambda: {1: 2**10, 3: 2**20})
    monkeypatch.setattr(limits, "LEAST_FAR", 2**16)
    limits.bandwidth(threads)
    (chains, flops), (reading, reading_flops), (read, read_bytes), (moved, moved_bytes) = seen
    assert {len(operands) for operands, _ in seen} == {threads}
    assert flops == 2 * sum(values[2:].size for (values,) in chains)
    assert reading_flops == 2 * sum(values[2:].size for values, _ in reading)
    assert read_bytes == threads * 2**15 == sum(values.nbytes for values, _ in read)
    assert moved_bytes == 2 * 4 * 2**20 == 2 * sum(values.nbytes for (values,) in moved)


def test_they_are_measured(quick):
    for threads in (1, 2):
        found = [limit(threads) for limit in (limits.fma_peak, limits.tile_peak, limits.bandwidth)]
        found.append(limits.cache_bandwidth(2**12, threads))
        assert all(np.isfinite(figure) and figure > 0 for figure in found)


@pytest.mark.parametrize("threads", [0, -1, 1.5, True, "auto"])
def test_no_threads_no_limit(threads):
    by_size = lambda threads: limits.cache_bandwidth(2**12, threads)  # noqa: E731
    for limit in (limits.fma_peak, limits.tile_peak, limits.bandwidth, by_size):
        with pytest.raises(ConfigError, match="threads must be a whole number"):
            limit(threads)


def test_nothing_is_compiled_at_import():
    code = "from fastnn.kernels import cores, launch, limits; print(launch._kernels)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout == "{}\n"


def test_the_loop_that_tells_the_clock_is_as_long_as_is_counted():
    values = np.array([3, 5, -7])
    expected = [pow(int(value), 2 ** (3 * limits.STEPS), 2**64) for value in values]
    limits.kernel(limits.make_wait_in_line)(values, 3)
    assert [int(value) % 2**64 for value in values] == expected


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="other CPUs have other instructions")
def test_each_instruction_of_that_loop_waits_for_the_last():
    """On one register alone, but for what counts the turns."""
    program = (
        "from fastnn.kernels import limits; make = limits.make_wait_in_line;"
        "kernel = make(0, False); kernel(*limits.LEAST[make]()); print(*kernel.inspect_asm().values())"
    )
    code = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    loop = max(re.split(r"^\.?L\w+:", code, flags=re.M), key=lambda part: part.count("imul"))
    loop = loop[: re.search(r"^\s+j", loop, flags=re.M).start()]
    multiplications = re.findall(r"imulq\s+(%\w+), (%\w+)", loop)
    assert len(multiplications) in range(limits.STEPS, 100, limits.STEPS)
    assert len({register for pair in multiplications for register in pair}) == 1
    assert "mov" not in loop


def test_a_clock_is_told_by_what_a_longer_loop_takes_more(monkeypatch):
    """Of a machine of 2 GHz that does nothing but run its loops, and takes a while to call them."""
    now = [0.0]

    def wait(values, times):
        now[0] += 1e-6 + limits.LATENCY * limits.STEPS * times / 2e9

    def work(mine, times):
        now[0] += 1e-8 * times

    monkeypatch.setattr(limits.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(limits, "kernel", lambda make: wait)
    assert limits.clock(work, (0,)) == pytest.approx((2, 20))  # 10 ns of work


def test_a_clock_is_measured(quick, monkeypatch):
    monkeypatch.setattr(limits, "CALLS", 100)
    assert min(limits.clock(limits.kernel(limits.make_multiply_add), (limits._chains(),))) > 0
