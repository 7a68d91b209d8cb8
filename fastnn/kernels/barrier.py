"""A barrier for threads inside one compiled function: it spins for a moment, then sleeps in the kernel.

Measured with earlier kernels and 784-300-10 on two cores that two other programs kept busy: an epoch took 0.9 s with
this barrier, and 1.1 to 2.8 s with one that only spins (0.22 s on idle cores with either). The wait is a table row for
each system (Linux: futex(2); macOS: __ulock_wait, as its C++ library uses; Windows: WaitOnAddress). Each sleep ends by
itself after `PATIENCE`, so that not even a lost wake-up could hang a fit.
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
from numba.extending import intrinsic

from fastnn.kernels.compiling import part

I32 = ir.IntType(32)
WORD = ir.IntType(64)

# int32 words of the barrier's state, a cache line apart: who waits reads `GENERATION` alone.
COUNT, GENERATION, ABORTED, SLEEPERS = 0, 16, 32, 48
STATE_WORDS = 64

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


def _make(result: Any, arguments: int, emit: Callable[..., Any]) -> Callable[..., Any]:
    """An intrinsic on the address of an int32 word, and up to one int32."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = builder.inttoptr(args[0], I32.as_pointer())
        value = emit(builder, word, *args)
        return context.get_dummy_value() if result == types.void else value

    if arguments == 1:

        @intrinsic
        def operation(typing_context: Any, address: Any) -> Any:
            return result(types.intp), generate
    else:

        @intrinsic
        def operation(typing_context: Any, address: Any, value: Any) -> Any:
            return result(types.intp, types.int32), generate

    return operation


_load = _make(types.int32, 1, lambda builder, word, *_: builder.load_atomic(word, "seq_cst", 4))
_store = _make(types.void, 2, lambda builder, word, _, value: builder.store_atomic(value, word, "seq_cst", 4))
_add = _make(types.int32, 2, lambda builder, word, _, value: builder.atomic_rmw("add", word, value, "seq_cst"))
_wait = _make(types.void, 2, lambda builder, _, address, value: _emit_wait(builder, address, value))
_wake = _make(types.void, 1, lambda builder, _, address: _emit_wake(builder, address))


def _emit_pause(builder: Any, *_: Any) -> None:
    if platform.machine().lower() in ("x86_64", "amd64"):
        _call(builder, "llvm.x86.sse2.pause", ir.VoidType(), [])


_pause = _make(types.void, 1, _emit_pause)
ONE = np.int32(1)


@part
def wait(state, threads):  # type: ignore[no-untyped-def]
    """Wait until all threads have come here, or one has aborted.

    Parameters
    ----------
    state : intp
        Address of an int32 array (STATE_WORDS,), zeroed before the first use.
    threads : int
        How many threads meet.

    Returns
    -------
    bool
        True if the work is aborted: whoever sees it must return at once.
    """
    if threads == 1:
        return _load(state + 4 * ABORTED) != 0
    generation = _load(state + 4 * GENERATION)
    if _add(state + 4 * COUNT, ONE) + ONE == threads:
        _store(state + 4 * COUNT, np.int32(0))
        _add(state + 4 * GENERATION, ONE)
        if _load(state + 4 * SLEEPERS) > 0:
            _wake(state + 4 * GENERATION)
    else:
        spins = 0
        while spins < SPINS and _load(state + 4 * GENERATION) == generation:
            _pause(state)
            spins += 1
        if spins == SPINS:
            _add(state + 4 * SLEEPERS, ONE)
            while _load(state + 4 * GENERATION) == generation and _load(state + 4 * ABORTED) == 0:
                _wait(state + 4 * GENERATION, generation)
            _add(state + 4 * SLEEPERS, np.int32(-1))
    return _load(state + 4 * ABORTED) != 0


@part
def aborted(state):  # type: ignore[no-untyped-def]
    """Whether a thread has aborted the work."""
    return _load(state + 4 * ABORTED) != 0
