"""Sums in all lanes of a vector, which are added up in the end, by explicit SIMD: where layers have few units."""

from typing import Any

from llvmlite import ir

from fastnn.kernels.cost import FEW_OUTPUTS
from fastnn.kernels.families import family
from fastnn.kernels.vectors import (
    FUSED,
    I32,
    LANES,
    PARTS,
    REGISTERS,
    VECTOR,
    at,
    fma,
    lane_sums,
    load,
    repeat,
    row_of,
    store,
    word,
)
from fastnn.layers import LANES as PANEL

SUMMED = min(8, LANES)  # units whose sums over lanes a tile makes: more would only be more to compile


def _tile_by_lanes(b: Any, size: int, at_a: Any, jump_a: Any, at_d: Any, jump_d: Any, groups: Any, rows: Any,
                   at_c: Any, step: Any) -> None:  # fmt: skip
    # rows: they, their sums and a factor stay in registers; and a product, where it is not added at once
    together = max(1, min(4, (REGISTERS - 1 - (not FUSED)) // (size + 1)))
    kept = ir.Constant(ir.VectorType(I32, SUMMED), list(range(SUMMED)))

    def block(k: Any, together: int) -> list[Any]:
        def group(_: Any, inside: list[Any]) -> list[Any]:
            a, d, *held = inside
            for samples in range(PARTS):
                left = load(b, [row_of(b, at(b, a, PANEL * m))[samples] for m in range(together)])
                for o in range(size):
                    (right,) = load(b, [row_of(b, at(b, d, PANEL * o))[samples]])
                    for m, row in enumerate(left):
                        held[m * size + o] = fma(b, row, right, held[m * size + o])
            return [at(b, a, jump_a), at(b, d, jump_d), *held]

        start = [at(b, at_a, b.mul(k, word(PANEL))), at_d, *[ir.Constant(VECTOR, None)] * (together * size)]
        held = repeat(b, groups, 1, start, group)[2:]
        for m in range(together):
            sums = lane_sums(b, held[m * size : (m + 1) * size])
            sums = b.shuffle_vector(sums, sums, kept)
            out = at(b, at_c, b.mul(b.add(k, word(m)), step))
            b.store(sums, b.bitcast(out, sums.type.as_pointer()), align=4)
        return []

    whole = b.sub(rows, b.urem(rows, word(together)))
    repeat(b, whole, together, [], lambda k, _: block(k, together))
    repeat(b, b.sub(rows, whole), 1, [], lambda k, _: block(b.add(k, whole), 1))


# (size, a, jump_a, d, jump_d, groups, rows, c, step): where samples lie side by side, in `groups` of 16, the sums over
# all of them: row k < rows of c, `step` floats from row to row, begins with those of row k of a times each row m < size
# of d, and zeros up to SUMMED, which the next row may overwrite.
tile_by_lanes = family("at_a jump_a at_d jump_d groups rows at_c step", range(1, SUMMED + 1), _tile_by_lanes)


def _dots(b: Any, size: int, at_a: Any, jump: Any, at_w: Any, panels: Any, samples: Any, at_c: Any) -> None:
    many, last = max(1, min(LANES, REGISTERS - 4) // size), b.sub(samples, word(1))
    zero = ir.Constant(VECTOR, None)

    def group(i: Any, _: list[Any]) -> list[Any]:
        numbers = [b.add(i, word(m)) for m in range(many)]  # the last sample stands in for those that lack
        places = [b.mul(b.select(b.icmp_signed("<", m, last), m, last), word(PANEL)) for m in numbers]

        def panel(_: Any, inside: list[Any]) -> list[Any]:
            a, w, *sums = inside
            for part in range(PARTS):
                right = load(b, [row_of(b, at(b, w, PANEL * o))[part] for o in range(size)])
                for m, place in enumerate(places):
                    (left,) = load(b, [row_of(b, at(b, a, place))[part]])
                    for o, vector in enumerate(right):
                        sums[m * size + o] = fma(b, left, vector, sums[m * size + o])
            return [at(b, a, jump), at(b, w, PANEL * PANEL), *sums]

        sums = lane_sums(b, repeat(b, panels, 1, [at_a, at_w, *[zero] * (many * size)], panel)[2:])
        for m, place in enumerate(places):
            mine = [m * size + o if o < size else LANES for o in range(LANES)]
            row = b.shuffle_vector(sums, zero, ir.Constant(ir.VectorType(I32, LANES), mine))
            store(b, [row, *[zero] * (PARTS - 1)], row_of(b, at(b, at_c, place)))
        return []

    repeat(b, samples, many, [], group)


# (size, a, jump, w, panels, samples, c): rows c of 16 floats, one for each of `samples` samples: for each of `size`
# outputs the sum over all units of the sample's value in a times the output's weight; then zeros. Weights of output o,
# for the 16 units of a panel, stand at o * 16 in w, 256 floats from panel to panel. A sum has all lanes, which are
# added up in the end: with a lane for each output most would be empty. Epochs of 32-64-64-4, batch 256, one thread:
# 28.9 ms, and 28.1 so.
dots = family("at_a jump at_w panels samples at_c", range(1, FEW_OUTPUTS + 1), _dots)
