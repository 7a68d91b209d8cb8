"""The work of a phase, claimed chunk by chunk, and a barrier that opens the next phase when all of it is done.

A phase has a number of granules. Each thread has a share of them, and takes from it one half of what is left at a time;
who has nothing left takes from the others in the same way. The barrier counts finished granules, not arrivals: a thread
that the system has put aside, or not yet begun, holds up nobody unless amid a chunk, and a slower core gets less work.
Who has accounted for its granules may do something for itself before it waits. Which thread does a granule changes no
result.

Who waits spins for a moment, then sleeps in the kernel: a table row for each system (Linux: futex(2); macOS:
__ulock_wait, as its C++ library uses; Windows: WaitOnAddress). Each sleep ends by itself after `PATIENCE`, so that not
even a lost wake-up could hang a fit. With 784-300-10 on two cores that two other programs kept busy, an epoch on two
threads took 0.67 to 1.23 of the time on one (`python -m benchmarks.load`); with fixed shares and a barrier that counted
arrivals, 1.65 times as long.
"""

import ctypes
import platform
import sys
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastnn.kernels.compiling import intrinsic, part

I32 = ir.IntType(32)
WORD = ir.IntType(64)

# int32 words of the state, a cache line apart. `ENDED` counts the phases that ended while someone slept: who sleeps
# waits for it to change.
ENDED, ABORTED, SLEEPERS = 0, 16, 32
# From here on two lines for each thread, with one int64 each, (phase << 32) + granules: those that are gone from its
# share, and those that it has done itself. In one word, so that who comes from a phase that is over can neither take a
# granule of another, nor account for one. It is of an earlier phase until there is something to say of this one: so
# nobody has to write to another's line to open a phase, and a phase takes 0.14 us. With one count for all, and a word
# that told the present phase, it took 0.56.
GONE, DONE = 48, 64
EACH = 32


def state_words(threads: int) -> int:
    """How many int32 words the state of so many threads has. They are zero before the first phase, number 0."""
    return GONE + EACH * threads


SPINS = 2000  # 50 us on a Zen 4: longer than the threads of a balanced step are apart
PATIENCE = 50_000_000  # nanoseconds of one sleep


def _call(builder: Any, name: str, result: Any, args: list[Any], variadic: bool = False) -> Any:
    kind = ir.FunctionType(result, [WORD] if variadic else [a.type for a in args], var_arg=variadic)
    function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    return builder.call(function, args)


def _number(value: int, kind: Any = WORD) -> ir.Constant:
    return ir.Constant(kind, value)


FUTEX = {"x86_64": 202, "aarch64": 98}.get(platform.machine(), 0)  # the system call's number; 0 where it is not known


def _linux_wait(builder: Any, word: Any, expected: Any) -> None:
    """syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, &timeout)."""
    timeout = cgutils.alloca_once(builder, WORD, 2)
    builder.store(_number(0), timeout)
    builder.store(_number(PATIENCE), builder.gep(timeout, [_number(1)]))
    args = [_number(FUTEX), word, _number(128), builder.sext(expected, WORD), builder.ptrtoint(timeout, WORD)]
    _call(builder, "syscall", WORD, args, variadic=True)


def _linux_wake(builder: Any, word: Any) -> None:
    """syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, all)."""
    _call(builder, "syscall", WORD, [_number(FUTEX), word, _number(129), _number(2**31 - 1)], variadic=True)


def _macos_wait(builder: Any, word: Any, expected: Any) -> None:
    """__ulock_wait(UL_COMPARE_AND_WAIT | ULF_NO_ERRNO, word, expected, microseconds)."""
    args = [_number(0x01000001, I32), word, builder.sext(expected, WORD), _number(PATIENCE // 1000, I32)]
    _call(builder, "__ulock_wait", I32, args)


def _macos_wake(builder: Any, word: Any) -> None:
    """__ulock_wake(UL_COMPARE_AND_WAIT | ULF_WAKE_ALL | ULF_NO_ERRNO, word, 0)."""
    _call(builder, "__ulock_wake", I32, [_number(0x01000101, I32), word, _number(0)])


def _windows_wait(builder: Any, word: Any, expected: Any) -> None:
    """WaitOnAddress(word, &expected, 4, milliseconds)."""
    compared = cgutils.alloca_once(builder, I32)
    builder.store(expected, compared)
    args = [word, builder.ptrtoint(compared, WORD), _number(4), _number(PATIENCE // 1_000_000, I32)]
    _call(builder, "WaitOnAddress", I32, args)


def _windows_wake(builder: Any, word: Any) -> None:
    _call(builder, "WakeByAddressAll", I32, [word])


def _yield_wait(builder: Any, word: Any, expected: Any) -> None:
    """sched_yield(): the fallback for systems that are not in the table."""
    _call(builder, "sched_yield", I32, [])


def _no_wake(builder: Any, word: Any) -> None:
    """Nothing sleeps where waiting is only yielding."""


_WAITS: dict[str, tuple[Callable[..., None], Callable[..., None]]] = {
    "darwin": (_macos_wait, _macos_wake),
    "win32": (_windows_wait, _windows_wake),
}
if FUTEX:
    _WAITS["linux"] = (_linux_wait, _linux_wake)
_emit_wait, _emit_wake = _WAITS.get(sys.platform, (_yield_wait, _no_wake))

if sys.platform == "win32":  # LLVM finds the symbols of libc by itself, but not those of this library
    _library = ctypes.WinDLL("api-ms-win-core-synch-l1-2-0")
    for _name in ("WaitOnAddress", "WakeByAddressAll"):
        llvm.add_symbol(_name, ctypes.cast(getattr(_library, _name), ctypes.c_void_p).value)


def _make(result: Any, kind: Any, values: int, emit: Callable[..., Any]) -> Callable[..., Any]:
    """An intrinsic on the address of a word, and up to two values, all of Numba's type `kind`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = builder.inttoptr(args[0], context.get_value_type(kind).as_pointer())
        value = emit(builder, word, *args)
        return context.get_dummy_value() if result == types.void else value

    made = result(types.intp, *[kind] * values), generate
    # Numba wants each argument of an intrinsic named
    forms: list[Callable[..., Any]] = [
        lambda context, address: made,
        lambda context, address, value: made,
        lambda context, address, expected, value: made,
    ]
    return intrinsic(forms[values])


def _emit_swap(builder: Any, word: Any, _: Any, expected: Any, value: Any) -> Any:
    return builder.extract_value(builder.cmpxchg(word, expected, value, "seq_cst", "seq_cst"), 1)


def _emit_pause(builder: Any, *_: Any) -> None:
    if platform.machine().lower() in ("x86_64", "amd64"):
        _call(builder, "llvm.x86.sse2.pause", ir.VoidType(), [])


INT, LONG, NONE = types.int32, types.int64, types.void
load_word = _make(INT, INT, 0, lambda builder, word, *_: builder.load_atomic(word, "seq_cst", 4))
store_word = _make(NONE, INT, 1, lambda builder, word, _, value: builder.store_atomic(value, word, "seq_cst", 4))
_add = _make(INT, INT, 1, lambda builder, word, _, value: builder.atomic_rmw("add", word, value, "seq_cst"))
load_long = _make(LONG, LONG, 0, lambda builder, word, *_: builder.load_atomic(word, "seq_cst", 8))
store_long = _make(NONE, LONG, 1, lambda builder, word, _, value: builder.store_atomic(value, word, "seq_cst", 8))
swap_long = _make(types.boolean, LONG, 2, _emit_swap)  # whether the word held what was expected, and holds `value` now
sleep_while = _make(NONE, INT, 1, lambda builder, _, address, value: _emit_wait(builder, address, value))
wake_all = _make(NONE, INT, 0, lambda builder, _, address: _emit_wake(builder, address))
pause = _make(NONE, INT, 0, _emit_pause)
ONE = np.int32(1)


@part
def claim(state, owner, threads, phase, count):  # type: ignore[no-untyped-def]
    """Take some of the granules of a phase.

    Parameters
    ----------
    state : intp
        Address of an int32 array (state_words(threads),), on a cache line, zeroed before the first phase.
    owner, threads : int
        Of which thread's share, of how many: who claims, claims of its own share first.
    phase : int
        Its number; no further than the present one, but it may be over.
    count : int
        Its granules. The share of thread t is ``count * t // threads .. count * (t + 1) // threads``.

    Returns
    -------
    first, last : int
        The granules first..last are the caller's now; last is 0 if the share has none left, or the phase is over. With
        one thread all of a phase at once, which its lists of sparse input rely on.
    """
    first, last = count * owner // threads, count * (owner + 1) // threads
    if first == last:
        return 0, 0
    at = state + 4 * (GONE + EACH * owner)
    gone = load_long(at)
    # of an earlier phase: nobody has claimed of this share yet, which has granules, so this phase cannot be over
    while gone >> 32 <= phase:
        left = first if gone >> 32 < phase else first + (gone & 0xFFFFFFFF)
        if left == last:
            break
        taken = last - left
        if threads > 1:
            taken = (taken + 1) // 2
        if swap_long(at, gone, (phase << 32) + left - first + taken):
            return left, left + taken
        gone = load_long(at)
    return 0, 0


@part
def is_over(state, threads, phase, count):  # type: ignore[no-untyped-def]
    """Whether all granules of a phase are done."""
    done = np.int64(0)
    for thread in range(threads):
        word = load_long(state + 4 * (DONE + EACH * thread))
        if word >> 32 > phase:
            return True
        if word >> 32 == phase:
            done += word & 0xFFFFFFFF
    return done >= count


@part
def finish(state, thread, threads, phase, done, count):  # type: ignore[no-untyped-def]
    """Account for `done` granules, when a share has nothing left to claim.

    Parameters
    ----------
    state, threads, phase, count
        As for `claim`; `count` is at least 1.
    thread : int
        Whose granules they are.
    done : int
        How many of the phase it has claimed and done in all.

    Returns
    -------
    bool
        Whether the phase is over.
    """
    if threads == 1:
        return True
    at, word = state + 4 * (DONE + EACH * thread), (phase << 32) + done
    told = done > 0 and load_long(at) != word
    if told:
        store_long(at, word)
    over = is_over(state, threads, phase, count)
    if told and over and load_word(state + 4 * SLEEPERS) > 0:  # who is about to sleep has either seen it, or is seen
        _add(state + 4 * ENDED, ONE)
        wake_all(state + 4 * ENDED)
    return over


@part
def wait(state, threads, phase, count):  # type: ignore[no-untyped-def]
    """Wait until all of a phase is done, after `finish`.

    Parameters
    ----------
    state, threads, phase, count
        As for `claim`.

    Returns
    -------
    bool
        True if the work is aborted: whoever sees it must return at once.
    """
    spins, asleep = 0, False
    while threads > 1:
        ended = load_word(state + 4 * ENDED)
        if is_over(state, threads, phase, count):
            break
        spins += 1
        if spins < SPINS:
            pause(state)
        elif load_word(state + 4 * ABORTED) != 0:
            break
        elif asleep:
            sleep_while(state + 4 * ENDED, ended)
        else:  # look once more, now that who ends the phase will see it
            _add(state + 4 * SLEEPERS, ONE)
            asleep = True
    if asleep:
        _add(state + 4 * SLEEPERS, np.int32(-1))
    return load_word(state + 4 * ABORTED) != 0
