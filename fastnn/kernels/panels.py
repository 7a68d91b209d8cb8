"""Panels of 16 floats a row, moved by explicit SIMD: copied, transposed, or fetched before they are needed."""

from typing import Any

from llvmlite import ir

from fastnn.kernels.families import family
from fastnn.kernels.vectors import (
    I32,
    LANES,
    PARTS,
    VECTOR,
    at,
    function,
    load,
    repeat,
    row_of,
    store,
    transposed,
    word,
)
from fastnn.layers import LANES as PANEL

BYTE = ir.IntType(8)


def _copy(b: Any, size: int, at_from: Any, stride: Any, count: Any, at_to: Any) -> None:
    def turn(_: Any, inside: list[Any]) -> list[Any]:
        source, target = inside
        for p in range(size):
            store(b, load(b, row_of(b, at(b, source, PANEL * p))), row_of(b, at(b, target, PANEL * p)))
        return [at(b, source, stride), at(b, target, PANEL * size)]

    repeat(b, count, 1, [at_from, at_to], turn)


# (1, source, stride, count, target): 16 floats of each of `count` rows, next to each other.
copy_panel = family("at_from stride count at_to", [1], _copy)


def fetch(b: Any, pointer: Any, to_write: bool = False) -> None:
    """The cache line at a pointer will be read soon, or written.

    A second-level cache takes what is read, as the first has what is used now. Epochs of 784-800-800-10, two threads:
    1.13 s, and with what the way back reads 1.10. What is written becomes this core's own, in its first-level cache.
    """
    byte = BYTE.as_pointer()
    prefetch = function(b, "llvm.prefetch.p0", ir.VoidType(), [byte, I32, I32, I32])
    write, level, data = (ir.Constant(I32, value) for value in ((1, 3, 1) if to_write else (0, 2, 1)))
    b.call(prefetch, [b.bitcast(pointer, byte), write, level, data])


TO_READ, TO_WRITE = 1, 2


def _fetch(b: Any, size: int, at_from: Any, stride: Any, count: Any) -> None:
    def turn(_: Any, inside: list[Any]) -> list[Any]:
        fetch(b, inside[0], size == TO_WRITE)
        return [at(b, inside[0], stride)]

    repeat(b, count, 1, [at_from], turn)


# (TO_READ, source, stride, count): the panel's rows of a matrix will be read soon. A row may be a page from the next
# one, which no CPU foresees: 784-2500-2000-..., batch 256: gradient and update at 77 GFLOP/s without it, and at 82 so.
# TO_WRITE: they will be written, and mostly another core has read what stands there: a store would wait for that core.
# That pays where little is written: epochs of 24-8-2, batch 200, on two threads took 1.50 ms, and 1.48 so. A step of
# 32-64-64-4, batch 256, took as long so, and 61 us instead of 59 while cores were far from each other (an AMD server).
fetch_panel = family("at_from stride count", [TO_READ, TO_WRITE], _fetch)


def _transpose(b: Any, size: int, at_from: Any, stride: Any, rows: Any, count: Any, at_to: Any) -> None:
    last, sources = b.sub(rows, word(1)), []
    for m in range(PANEL):
        number = b.select(b.icmp_signed("<", word(m), rows), word(m), last)
        sources.append(at(b, at_from, b.mul(number, stride)))

    def block(o: Any, inside: list[Any]) -> list[Any]:
        (target,) = inside
        for part in range(PARTS):
            lines = sources[part * LANES : (part + 1) * LANES]
            held = [b.load(b.bitcast(at(b, line, o), VECTOR.as_pointer()), align=4) for line in lines]
            held = transposed(b, held)
            for column, value in enumerate(held):
                store(b, [value], [row_of(b, at(b, target, PANEL * column))[part]])
        return [at(b, target, PANEL * LANES)]

    repeat(b, count, LANES, [at_to], block)


# (1, source, stride, rows, count, target): `count` columns of 16 rows of a matrix, transposed: 16 floats a column. Of
# fewer `rows` the last stands in for those that are not there. Whole vectors of columns are read and written.
transpose_panel = family("at_from stride rows count at_to", [1], _transpose)
