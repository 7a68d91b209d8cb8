"""Numbers so small that float32 holds fewer digits of them, *denormal* ones: taken as zero while a net is trained.

Many CPUs are slow with them, Intel's a hundred times, and a well-trained net is full of them: the probability that it
gives to a wrong class is next to nothing, and deltas are products of such. 32-64-64-4, batch 256, two threads: epoch 20
took 21 ms, epoch 60 74 and epoch 160 179, as zero 21 to 22 each. JAX takes them as zero too.

Each thread has a register for that; what else runs in the thread must find it as it was.
"""

import platform
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types

from fastnn.kernels.compiling import intrinsic
from fastnn.kernels.vectors import I32, WORD, function

BYTES = ir.IntType(8).as_pointer()
ZERO_X86 = 1 << 15 | 1 << 6  # of results, and of operands
ZERO_ARM = 1 << 24


def _read_x86(b: Any) -> Any:
    place = b.alloca(I32)
    b.call(function(b, "llvm.x86.sse.stmxcsr", ir.VoidType(), [BYTES]), [b.bitcast(place, BYTES)])
    return b.zext(b.load(place), WORD)


def _write_x86(b: Any, value: Any) -> None:
    place = b.alloca(I32)
    b.store(b.trunc(value, I32), place)
    b.call(function(b, "llvm.x86.sse.ldmxcsr", ir.VoidType(), [BYTES]), [b.bitcast(place, BYTES)])


def _read_arm(b: Any) -> Any:
    return b.call(function(b, "llvm.aarch64.get.fpcr", WORD, []), [])


def _write_arm(b: Any, value: Any) -> None:
    b.call(function(b, "llvm.aarch64.set.fpcr", ir.VoidType(), [WORD]), [value])


# by the CPU's architecture: read the register, write it, and the bits of it
Register = tuple[Callable[[Any], Any], Callable[[Any, Any], None], int]
_X86: Register = _read_x86, _write_x86, ZERO_X86
_ARM: Register = _read_arm, _write_arm, ZERO_ARM
_REGISTERS = {"x86_64": _X86, "amd64": _X86, "aarch64": _ARM, "arm64": _ARM}
REGISTER = _REGISTERS.get(platform.machine().lower())  # None: there such numbers stay as they are


@intrinsic
def as_zero(context, wanted):  # type: ignore[no-untyped-def]
    """Take them as zero from now on, in this thread, if that is `wanted`; what the register has held."""

    def generate(context: Any, b: Any, signature: Any, args: Any) -> Any:
        if REGISTER is None:
            return ir.Constant(WORD, 0)
        read, write, bits = REGISTER
        held = read(b)
        write(b, b.or_(held, b.select(args[0], ir.Constant(WORD, bits), ir.Constant(WORD, 0))))
        return held

    return types.int64(types.boolean), generate


@intrinsic
def as_before(context, held):  # type: ignore[no-untyped-def]
    """Take them again as they were taken when the register held this."""

    def generate(context: Any, b: Any, signature: Any, args: Any) -> Any:
        if REGISTER is not None:
            REGISTER[1](b, args[0])
        return context.get_dummy_value()

    return types.void(types.int64), generate
