"""What this machine can do at most: multiply-adds, bytes read from a cache, bytes to and from memory.

These are the ceilings of a roofline; and the clock at which a core does some work. Each is measured by a compiled loop
that does nothing else, in as many ordinary threads as asked for; the best of several short runs counts, for whatever
else the machine does can only slow one down. GFLOP/s count a multiply-add as two; GB/s are 10^9 bytes. Nothing is
compiled before the first measurement.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from fastnn.errors import ConfigError
from fastnn.kernels import compiling, cpu, launch
from fastnn.kernels.simd import TILE_ROWS, WIDE_ROWS, WIDTH
from fastnn.kernels.vectors import PARTS, broadcast
from fastnn.layers import aligned_zeros

LANES = cpu.lanes()
# Two units that each take four cycles to a multiply-add are busy from eight chains on, and more leave some to spare.
# A quarter of the registers is left for the factors, which are then not read from memory.
CHAINS = 3 * cpu.registers() // 4
# Of CHAINS multiply-adds those that a number is read for, as by the largest dense tile, by samples: for each of its
# rows a factor, for each panel a row of vectors. The tile by units reads more, 10 for 16 multiply-adds (AVX-512).
SUMS = (WIDE_ROWS or TILE_ROWS) * WIDTH * PARTS
READING = -(-CHAINS * ((WIDE_ROWS or TILE_ROWS) + WIDTH * PARTS) // SUMS)
CACHE_LINE = 16  # float32
FACTORS = 64 * CACHE_LINE  # to read: 4 KiB, which lie in a first-level cache
STEPS, LATENCY = 16, 3  # multiplications of a turn of the loop that tells a core's clock, and the cycles of each
STREAMS = 8  # vectors that are read at once, each added to a sum of its own
LINE = STREAMS * LANES  # floats that one turn of a loop over memory covers

RUN_SECONDS = 0.005  # of a run: short, so that some fall between what else the machine does
SECONDS = 0.25  # of all runs
FAR = 4  # how many times the last cache an array must be to be sure to lie in memory
LEAST_FAR, MOST_FAR = 2**27, 2**30  # bytes: where the cache is small, unknown, or very large

F32 = ir.FloatType()
WORD = ir.IntType(64)
VECTOR = ir.VectorType(F32, LANES)

# ---------------------------------------------------------------- loops


def _at(builder: Any, address: Any, place: Any) -> Any:
    """A pointer to vector number `place` (an int, or a value of the loop) from an address on."""
    first = builder.inttoptr(address, VECTOR.as_pointer())
    return builder.gep(first, [ir.Constant(WORD, place) if isinstance(place, int) else place])


def _repeat(builder: Any, times: Any, held: Sequence[Any], turn: Callable[[Any, list[Any]], list[Any]]) -> list[Any]:
    """``for i in range(times): held = turn(i, held)``, at least once, with the values kept in registers; their last."""
    entry, loop, done = builder.block, builder.append_basic_block("loop"), builder.append_basic_block("done")
    builder.branch(loop)
    builder.position_at_end(loop)
    i = builder.phi(WORD)
    phis = [builder.phi(value.type) for value in held]
    later = turn(i, phis)
    following = builder.add(i, ir.Constant(WORD, 1))
    builder.cbranch(builder.icmp_signed("<", following, times), loop, done)
    for phi, before, after in zip([i, *phis], [ir.Constant(WORD, 0), *held], [following, *later], strict=True):
        phi.add_incoming(before, entry)
        phi.add_incoming(after, loop)
    builder.position_at_end(done)
    return later


def _make_multiply_add(reading: int) -> Any:
    """CHAINS times: x = x * factor + summand, `times` over, each chain on its own in a register.

    At the address `values` stand the factor, the summand, and the chains, a vector each. The first `reading` chains
    read a factor of their own each time, a number for all lanes, from FACTORS numbers and a few more at `factors`, from
    one cache line each turn. `fmuladd` is a fused multiply-add where the CPU has one, else the two of them.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        values, factors, times = args
        name = f"llvm.fmuladd.v{LANES}f32"  # llvmlite's declare_intrinsic knows no vectors
        fma = builder.module.globals.get(name) or ir.Function(
            builder.module, ir.FunctionType(VECTOR, [VECTOR] * 3), name
        )
        factor, summand, *chains = (builder.load(_at(builder, values, place), align=4) for place in range(2 + CHAINS))

        def turn(i: Any, held: list[Any]) -> list[Any]:
            numbers = builder.inttoptr(factors, F32.as_pointer())
            begin = builder.and_(builder.mul(i, ir.Constant(WORD, CACHE_LINE)), ir.Constant(WORD, FACTORS - 1))
            found = [builder.load(builder.gep(numbers, [builder.add(begin, ir.Constant(WORD, chain))]))
                     for chain in range(reading)]  # fmt: skip
            own = [*[broadcast(builder, number) for number in found], *[factor] * (CHAINS - reading)]
            return [builder.call(fma, [each, mine, summand]) for each, mine in zip(held, own, strict=True)]

        for place, chain in enumerate(_repeat(builder, times, chains, turn), 2):
            builder.store(chain, _at(builder, values, place), align=4)
        return context.get_dummy_value()

    made = types.void(types.intp, types.intp, types.intp), generate
    return compiling.intrinsic(lambda context, values, factors, times: made)


_multiply_add, _multiply_add_reading = _make_multiply_add(0), _make_multiply_add(READING)


@compiling.intrinsic
def _read(typing_context: Any, values: Any, lines: Any, sums: Any) -> Any:
    """Add `lines` lines of floats to the STREAMS vectors at the address `sums`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        values, lines, sums = args

        def turn(line: Any, held: list[Any]) -> list[Any]:
            start = builder.add(values, builder.mul(line, ir.Constant(WORD, 4 * LINE)))
            return [builder.fadd(x, builder.load(_at(builder, start, place), align=4)) for place, x in enumerate(held)]

        held = [builder.load(_at(builder, sums, place), align=4) for place in range(STREAMS)]
        for place, x in enumerate(_repeat(builder, lines, held, turn)):
            builder.store(x, _at(builder, sums, place), align=4)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), generate


@compiling.intrinsic
def _wait_in_line(typing_context: Any, value: Any, times: Any) -> Any:
    """STEPS times x = x * x, `times` over: each waits for the last one, on Intel's and AMD's CPUs LATENCY cycles."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def turn(i: Any, held: list[Any]) -> list[Any]:
            (x,) = held
            for _ in range(STEPS):
                x = builder.mul(x, x)
            return [x]

        (found,) = _repeat(builder, args[1], [args[0]], turn)
        return found

    return types.int64(types.int64, types.intp), generate


# ---------------------------------------------------------------- kernels: each does its work `times` over


def make_multiply_add(stamp: int, cache: bool) -> Any:
    """``run(values, times)``: the chains of `_make_multiply_add`; values float32 (2 + CHAINS, LANES), changed."""

    @compiling.kernel(cache)
    def run(values: np.ndarray, times: int) -> int:
        _multiply_add(values.ctypes.data, 0, times)
        return stamp

    return run


def make_multiply_add_reading(stamp: int, cache: bool) -> Any:
    """``run(values, factors, times)``: the same, where READING of them read `factors` (FACTORS + READING,)."""

    @compiling.kernel(cache)
    def run(values: np.ndarray, factors: np.ndarray, times: int) -> int:
        _multiply_add_reading(values.ctypes.data, factors.ctypes.data, times)
        return stamp

    return run


def make_read(stamp: int, cache: bool) -> Any:
    """``run(values, sums, times)``: add each LINE floats of `values` (N LINE,), N at least 1, to `sums` (LINE,)."""

    @compiling.kernel(cache)
    def run(values: np.ndarray, sums: np.ndarray, times: int) -> int:
        for _ in range(times):
            _read(values.ctypes.data, values.size // LINE, sums.ctypes.data)
        return stamp

    return run


def make_update(stamp: int, cache: bool) -> Any:
    """``run(values, times)``: add 1 to each of `values` (N,): every byte is read and written, as by an optimiser."""

    @compiling.kernel(cache)
    def run(values: np.ndarray, times: int) -> int:
        for _ in range(times):
            for i in range(values.size):
                values[i] += np.float32(1)
        return stamp

    return run


def make_wait_in_line(stamp: int, cache: bool) -> Any:
    """``run(values, times)``: what becomes of each of `values` int64 (N,) in `times` turns of `_wait_in_line`."""

    @compiling.kernel(cache)
    def run(values: np.ndarray, times: int) -> int:
        for i in range(values.size):
            values[i] = _wait_in_line(values[i], times)
        return stamp

    return run


# What the first call of each kernel is given: the least that it takes.
LEAST: dict[Callable[[int, bool], Any], Callable[[], tuple[Any, ...]]] = {
    make_multiply_add: lambda: (_chains(), 1),
    make_read: lambda: (aligned_zeros(LINE), aligned_zeros(LINE), 1),
    make_update: lambda: (aligned_zeros(LINE), 1),
    make_multiply_add_reading: lambda: (_chains(), _factors(), 1),
    make_wait_in_line: lambda: (np.full(1, 3, np.int64), 1),
}


def kernel(make: Callable[[int, bool], Any]) -> Any:
    """The compiled loop that one of the functions above makes: compiled now, or found in the cache."""
    return launch.compiled(make, lambda kernel: kernel(*LEAST[make]()))[0]


def _chains() -> np.ndarray:
    """The values of `make_multiply_add`: each chain goes from 0 towards 2, through ordinary numbers alone."""
    values = aligned_zeros((2 + CHAINS) * LANES).reshape(2 + CHAINS, LANES)
    values[0], values[1] = 0.5, 1
    return values


def _factors() -> np.ndarray:
    """The factors of `make_multiply_add_reading`: with them the chains go the same way."""
    factors = aligned_zeros(FACTORS + READING)
    factors[:] = 0.5
    return factors


# ---------------------------------------------------------------- measurements


def rate(kernel: Any, operands: Sequence[tuple[Any, ...]], work: float) -> float:
    """Work done in 10^-9 seconds, at best.

    Parameters
    ----------
    kernel : callable
        ``kernel(*operands, times)``; holds no GIL.
    operands : sequence of tuples
        Those of each thread.
    work : float
        What all threads together do at each of the `times`.
    """

    def seconds(times: int) -> float:
        start = time.perf_counter()
        for _ in pool.map(lambda mine: kernel(*mine, times), operands):
            pass
        return time.perf_counter() - start

    with ThreadPoolExecutor(len(operands)) as pool:
        times = 1
        while (taken := min(seconds(times) for _ in range(3))) < RUN_SECONDS / 2:
            times *= 2 if taken < RUN_SECONDS / 20 else round(RUN_SECONDS / taken)
        best, end = taken, time.perf_counter() + SECONDS
        while time.perf_counter() < end:
            best = min(best, seconds(times))
    return work * times / best / 1e9


def _checked(threads: int) -> int:
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise ConfigError(f"threads must be a whole number of at least 1, not {threads!r}")
    return threads


def _ones(size: int) -> np.ndarray:
    """About `size` bytes of float32, in whole lines; written to, so that they are memory of their own."""
    values = aligned_zeros(max(1, size // (4 * LINE)) * LINE)
    values[:] = 1
    return values


def fma_peak(threads: int = 1) -> float:
    """The most float32 arithmetic that threads do: GFLOP/s of multiply-adds on registers alone.

    Raises
    ------
    ConfigError
        `threads` is no whole number of at least 1.
    """
    operands = [(_chains(),) for _ in range(_checked(threads))]
    return rate(kernel(make_multiply_add), operands, 2.0 * LANES * CHAINS * threads)


def tile_peak(threads: int = 1) -> float:
    """GFLOP/s of multiply-adds that read as often as the largest dense tile: what it could do at most.

    Single numbers, from the first-level cache, by addresses that cost nothing; and no sums are begun or stored.

    Raises
    ------
    ConfigError
        `threads` is no whole number of at least 1.
    """
    operands = [(_chains(), _factors()) for _ in range(_checked(threads))]
    return rate(kernel(make_multiply_add_reading), operands, 2.0 * LANES * CHAINS * threads)


def bandwidth(threads: int = 1) -> float:
    """GB/s moved between the threads and memory, read and written alike, by adding 1 to arrays that no cache can hold.

    Counted are the bytes read and the bytes written: 8 for each float32. The arrays of all threads together are
    four times the last cache, and at least 128 MiB.

    Raises
    ------
    ConfigError
        `threads` is no whole number of at least 1.
    """
    size = min(max(FAR * max(cpu.cache_sizes().values(), default=0), LEAST_FAR), MOST_FAR)
    operands = [(_ones(size // threads),) for _ in range(_checked(threads))]
    return rate(kernel(make_update), operands, 2.0 * sum(mine.nbytes for (mine,) in operands))


def cache_bandwidth(size: int, threads: int = 1) -> float:
    """GB/s that threads read, each from an array of its own of about `size` bytes, over and over.

    Up to the size of a cache (of a core's share of it, where cores share it) that is what the cache delivers.

    Raises
    ------
    ConfigError
        `threads` is no whole number of at least 1.
    """
    operands = [(_ones(size), aligned_zeros(LINE)) for _ in range(_checked(threads))]
    return rate(kernel(make_read), operands, float(sum(mine.nbytes for mine, _ in operands)))


BEFORE = 5e-5  # seconds of work, at least, before the loop that tells the clock: what a call takes is little beside it
AFTER = 80  # turns of that loop, 1.3 us at 3 GHz, or twice as many: 3 us later the clock is another one
CALLS = 1000  # of each


def clock(work: Any, operands: tuple[Any, ...]) -> tuple[float, float]:
    """At how many GHz a core does some work, which can be less for work that needs more power; and in how many cycles.

    Told by a loop of instructions that wait for each other, right after a part of the work, again and again. What
    twice as many take longer counts, by the medians: so no call does.

    Parameters
    ----------
    work : callable
        ``work(*operands, times)``. Once must be short: after milliseconds of work it is no longer its clock that is
        found.

    Returns
    -------
    gigahertz, cycles : float
        The cycles of one of the `times`.
    """

    def seconds(run: Any, *given: Any) -> float:
        start = time.perf_counter()
        run(*given)
        return time.perf_counter() - start

    wait, values, times = kernel(make_wait_in_line), np.full(1, 3, np.int64), 1
    while min(seconds(work, *operands, times) for _ in range(3)) < BEFORE:
        times *= 2
    worked, waited = list[float](), (list[float](), list[float]())
    for call in range(2 * CALLS):
        worked.append(seconds(work, *operands, times))
        waited[call % 2].append(seconds(wait, values, AFTER * (1 + call % 2)))
    once, twice = map(median, waited)
    gigahertz = LATENCY * STEPS * AFTER / (twice - once) / 1e9
    return gigahertz, median(worked) / times * gigahertz * 1e9
