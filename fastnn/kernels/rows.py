"""What the fused kernels do to runs of floats: activations and updates, each a row in a table; sums, and dropout.

The formulas and their sources stand in kernels/functions.py and reference.py. A row is a formula on vectors, and
becomes a loop of its own; the code of a row picks it at run time, so a network is data and everything is compiled once.
Runs are whole vectors: what lies beyond the last unit is padding.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir

from fastnn import rng
from fastnn.kernels.compiling import part
from fastnn.kernels.elementary import exp, expm1, normal, sigmoid, softplus, tanh
from fastnn.kernels.families import family
from fastnn.kernels.simd import MOST_PANELS, floats
from fastnn.kernels.vectors import (
    F32,
    I32,
    LANES,
    PARTS,
    VECTOR,
    Mask,
    Vector,
    at,
    broadcast,
    load,
    load_some,
    number,
    repeat,
    row_of,
    store,
    where,
    word,
)
from fastnn.layers import LANES as PANEL

F = np.float32
POINTER = VECTOR.as_pointer()
# Two vectors, whose instructions LLVM mixes: one alone waits for itself. tanh of 100 vectors took 0.9 us, and so 0.77.
TWO = ir.VectorType(F32, 2 * LANES)


def vector_at(b: Any, pointer: Any, place: Any) -> Any:
    """Find the pointer to the vector that begins `place` floats further on."""
    return b.bitcast(at(b, pointer, place), POINTER)


# ---------------------------------------------------------------- activations: z, alpha -> f(z), f'(z)

Pair = tuple[Vector, Vector]


def one_if(mask: Mask) -> Vector:
    """1 where it holds, else 0."""
    return where(mask, 1.0, 0.0)


def _identity(z: Vector, alpha: Vector) -> Pair:
    return z, where(z < 0.0, 1.0, 1.0)


def _relu(z: Vector, alpha: Vector) -> Pair:
    return where(z <= 0.0, 0.0, z), one_if(z > 0.0)


def _leaky_relu(z: Vector, alpha: Vector) -> Pair:
    return where(z > 0.0, z, alpha * z), where(z > 0.0, 1.0, alpha)


def _elu(z: Vector, alpha: Vector) -> Pair:
    below = where(z > 0.0, 0.0, where(z < -80.0, -80.0, z))
    e = exp(where(z > 0.0, 0.0, z))
    return where(z > 0.0, z, alpha * expm1(below)), where(z > 0.0, 1.0, alpha * e)


def _sigmoid(z: Vector, alpha: Vector) -> Pair:
    e = exp(-abs(z))  # s(-|z|) = e / (1 + e): both s(z) and s(-z) from one exponential, neither by cancellation
    large = 1.0 / (1.0 + e)
    small = e * large
    return where(z < 0.0, small, large), large * small


def _tanh(z: Vector, alpha: Vector) -> Pair:
    a = tanh(z)
    return a, 1.0 - a * a


def _softplus(z: Vector, alpha: Vector) -> Pair:
    return softplus(z), sigmoid(z)


def _gelu(z: Vector, alpha: Vector) -> Pair:
    below, density = normal(z)
    return z * below, below + z * density


def _silu(z: Vector, alpha: Vector) -> Pair:
    s = sigmoid(z)
    return z * s, s * (1.0 + z * sigmoid(-z))


# softmax stands only at the output, where its loss below takes its place
ACTIVATIONS: dict[str, Callable[[Vector, Vector], Pair]] = {
    "identity": _identity,
    "relu": _relu,
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "softplus": _softplus,
    "gelu": _gelu,
    "silu": _silu,
    "softmax": _identity,
}
ACTIVATION_CODES = {name: code for code, name in enumerate(ACTIVATIONS)}


def _activate(b: Any, code: int, rows: Any, count: Any, at_a: Any, at_d: Any, x_alpha: Any) -> None:
    function = list(ACTIVATIONS.values())[code]

    def run(kind: Any, q: Any) -> list[Any]:
        """A vector of the rows, which follow each other, at place q."""
        lanes, alpha = ir.VectorType(I32, kind.count), number(b, x_alpha, kind)
        unit, end = ir.Constant(lanes, [lane % PANEL for lane in range(kind.count)]), b.trunc(count, I32)
        if kind.count < PANEL:
            unit = b.add(unit, broadcast(b, b.trunc(b.and_(q, word(PANEL - 1)), I32), lanes))
        there, first = (Mask(b, b.icmp_signed(sign, unit, broadcast(b, end, lanes))) for sign in ("<", "=="))
        pointers = [b.bitcast(at(b, pointer, q), kind.as_pointer()) for pointer in (at_a, at_d)]
        a, d = function(Vector(b, b.load(pointers[0], align=4)), alpha)
        store(b, [where(there, a, one_if(first)).value, where(there, d, 0.0).value], pointers)
        return []

    length = b.mul(rows, word(PANEL))
    pairs = b.and_(length, word(-TWO.count))
    repeat(b, pairs, TWO.count, [], lambda q, _: run(TWO, q))
    if PANEL % TWO.count:
        repeat(b, b.sub(length, pairs), LANES, [], lambda q, _: run(VECTOR, b.add(q, pairs)))


# (code, rows, count, a, d, alpha): a = f(a), d = f'(a) for `count` units, at most 16, of each of `rows` rows of a
# panel. In the rest of each row, if any, the first of a is 1, the input that a bias is the weight of, and all else is
# zero.
activate = family("rows count at_a at_d x_alpha", range(len(ACTIVATIONS)), _activate)


# ---------------------------------------------------------------- updates: p, g, state, settings -> p, state


class Settings(NamedTuple):
    """A step's numbers in all lanes; `take` is 1 - `keep`, formed before rounding: else 1 - 0.999 is off by 1e-5."""

    rate: Vector
    epsilon: Vector
    keep: Vector
    take: Vector
    keep2: Vector
    take2: Vector


def _sgd(p: Vector, g: Vector, h: Settings) -> tuple[Vector, ...]:
    return (p - h.rate * g,)


def _momentum(p: Vector, g: Vector, h: Settings, v: Vector) -> tuple[Vector, ...]:
    v = h.keep * v - h.rate * g
    return p + v, v


def _nesterov(p: Vector, g: Vector, h: Settings, v: Vector) -> tuple[Vector, ...]:
    step = h.rate * g
    v = h.keep * v - step
    return p + (h.keep * v - step), v


def _rmsprop(p: Vector, g: Vector, h: Settings, s: Vector) -> tuple[Vector, ...]:
    s = h.keep * s + h.take * g * g
    return p - h.rate * g / (s.root() + h.epsilon), s


def _adam(p: Vector, g: Vector, h: Settings, s: Vector, u: Vector) -> tuple[Vector, ...]:
    s, u = h.keep * s + h.take * g, h.keep2 * u + h.take2 * g * g
    return p - h.rate * s / (u.root() + h.epsilon), s, u


UPDATES: dict[str, Callable[..., tuple[Vector, ...]]] = {
    "sgd": _sgd,
    "momentum": _momentum,
    "nesterov": _nesterov,
    "rmsprop": _rmsprop,
    "adam": _adam,
    "adamw": _adam,
}
UPDATE_CODES = {name: code for code, name in enumerate(UPDATES)}


def _update(b: Any, code: int, rows: Any, count: Any, stride: Any, at_p: Any, at_g: Any, at_s: Any, at_u: Any,
            *x_settings: Any) -> None:  # fmt: skip
    function = list(UPDATES.values())[code]
    slots, settings = function.__code__.co_argcount - 3, Settings(*(number(b, x) for x in x_settings))

    def row(_: Any, bases: list[Any]) -> list[Any]:
        p, g, *state = bases

        def turn(q: Any, _: list[Any]) -> list[Any]:
            places = [vector_at(b, base, q) for base in (p, *state)]
            parameter, *memory = (Vector(b, value) for value in load(b, places))
            gradient = Vector(b, b.load(vector_at(b, g, q), align=4))
            store(b, [v.value for v in function(parameter, gradient, settings, *memory)], places)
            return []

        repeat(b, count, LANES, [], turn)
        return [at(b, p, stride), at(b, g, count), *(at(b, base, stride) for base in state)]

    repeat(b, rows, 1, [at_p, at_g, *[at_s, at_u][:slots]], row)


# (code, rows, count, stride, p, g, s, u, *Settings): update `count` parameters of each of `rows` rows at p, and their
# state at s and u, by the gradient at g. Rows lie `stride` floats apart, those of g next to each other.
update = family(
    "rows count stride at_p at_g at_s at_u x_rate x_epsilon x_keep x_take x_keep2 x_take2", range(len(UPDATES)), _update
)


# ---------------------------------------------------------------- sums of gradients


def _add_rows(b: Any, size: int, at_from: Any, jump: Any, count: Any, at_out: Any) -> None:
    columns = [at(b, at_from, b.mul(jump, word(p))) for p in range(size)]

    def add(i: Any, old: list[Any]) -> list[Any]:
        place = b.mul(i, word(PANEL))
        rows = [vector for column in columns for vector in load(b, row_of(b, at(b, column, place)))]
        return [b.fadd(o, row) for o, row in zip(old, rows, strict=True)]

    sums = repeat(b, count, 1, [ir.Constant(VECTOR, None)] * (size * PARTS), add)
    store(b, sums, [pointer for p in range(size) for pointer in row_of(b, at(b, at_out, PANEL * p))])


# (size, source, jump, count, out): the sum of `count` rows, of `size` panels `jump` apart; those of out stand next to
# each other.
add_rows = family("at_from jump count at_out", range(1, MOST_PANELS + 1), _add_rows)


def _sum_apart(b: Any, size: int, at_from: Any, apart: Any, many: Any, count: Any, step: Any, at_to: Any) -> None:
    lanes = ir.VectorType(I32, LANES)
    numbers = [ir.Constant(lanes, list(range(part * LANES, part * LANES + LANES))) for part in range(PARTS)]
    there = [b.icmp_signed("<", each, broadcast(b, b.trunc(step, I32), lanes)) for each in numbers]

    def row(_: Any, inside: list[Any]) -> list[Any]:
        source, target = inside

        def add(_: Any, inside: list[Any]) -> list[Any]:
            pointer, *sums = inside
            values = [load_some(b, part, 4, some) for part, some in zip(row_of(b, pointer), there, strict=True)]
            return [at(b, pointer, apart), *(b.fadd(o, value) for o, value in zip(sums, values, strict=True))]

        sums = repeat(b, many, 1, [source, *[ir.Constant(VECTOR, None)] * PARTS], add)[1:]
        store(b, sums, row_of(b, target))
        return [at(b, source, step), at(b, target, PANEL)]

    repeat(b, count, 1, [at_from, at_to], row)


# (1, source, apart, many, count, step, out): the sum of `many` matrices, in their order, that begin `apart` floats from
# each other. They have `count` rows of `step` floats, at most 16, one behind the other; those of out have 16, the rest
# of them zeros.
sum_apart = family("at_from apart many count step at_to", [1], _sum_apart)


SOME, WHOLE = 0, 1  # of the 16 floats of a row
TOGETHER = 4  # rows, each a sum that waits for what it is of


def _descend_sums(b: Any, whole: int, at_from: Any, apart: Any, many: Any, count: Any, step: Any, at_w: Any,
                  at_to: Any, x_rate: Any) -> None:  # fmt: skip
    lanes, settings = ir.VectorType(I32, LANES), [number(b, x_rate)] * len(Settings._fields)
    numbers = [ir.Constant(lanes, list(range(part * LANES, part * LANES + LANES))) for part in range(PARTS)]
    there = [b.icmp_signed("<", each, broadcast(b, b.trunc(step, I32), lanes)) for each in numbers]

    def values(pointer: Any, rows: int) -> list[Any]:
        if whole:
            return [value for m in range(rows) for value in load(b, row_of(b, at(b, pointer, PANEL * m)))]
        starts = [row_of(b, at(b, pointer, b.mul(step, word(m)))) for m in range(rows)]
        return [load_some(b, part, 4, some) for row in starts for part, some in zip(row, there, strict=True)]

    def block(q: Any, rows: int) -> list[Any]:
        def add(_: Any, inside: list[Any]) -> list[Any]:
            pointer, *sums = inside
            more = [b.fadd(o, value) for o, value in zip(sums, values(pointer, rows), strict=True)]
            return [at(b, pointer, apart), *more]

        first, place = at(b, at_from, b.mul(q, step)), b.mul(q, word(PANEL))
        sums = repeat(b, b.sub(many, word(1)), 1, [at(b, first, apart), *values(first, rows)], add)[1:]
        weights, after = (
            [part for m in range(rows) for part in row_of(b, at(b, start, b.add(place, word(PANEL * m))))]
            for start in (at_w, at_to)
        )
        pairs = zip(load(b, weights), sums, strict=True)
        found = [_sgd(Vector(b, w), Vector(b, g), Settings(*settings))[0].value for w, g in pairs]
        store(b, found, after)
        return []

    all_ = b.and_(count, word(-TOGETHER))
    repeat(b, all_, TOGETHER, [], lambda q, _: block(q, TOGETHER))
    repeat(b, b.sub(count, all_), 1, [], lambda q, _: block(b.add(q, all_), 1))


# (SOME or WHOLE, source, apart, many, count, step, w, to, rate): a step of gradient descent, by gradients that are the
# sums of `many` matrices, as in `sum_apart`, for `count` rows of 16 weights at w: what they become is at `to`. Rows of
# the gradients that are WHOLE have 16 floats. In one pass, where sums were stored, and weights copied and then updated:
# epochs on two threads of 24-8-2, batch 200, and 32-64-64-4, batch 256: 1.98 and 17.9 ms, and 1.88 and 17.5 so.
descend_sums = family("at_from apart many count step at_w at_to x_rate", [SOME, WHOLE], _descend_sums)


# ---------------------------------------------------------------- dropout: the twin of fastnn.rng, value by value

LOW, SHIFT = np.uint64(0xFFFFFFFF), np.uint64(32)
M0, M1 = (np.uint64(m) for m in rng.MULTIPLIERS)
W0, W1 = (np.uint64(w) for w in rng.WEYL)
ROUNDS = rng.ROUNDS
PURPOSE = np.uint64(rng.PURPOSES["dropout"] << 16)


@part
def philox(c0, c1, c2, c3, k0, k1):  # type: ignore[no-untyped-def]
    """Philox4x32-10: four words of counter and two of key in, four random words out."""
    for _ in range(ROUNDS):
        first, second = M0 * c0, M1 * c2
        c0, c1, c2, c3 = (second >> SHIFT) ^ c1 ^ k0, second & LOW, (first >> SHIFT) ^ c3 ^ k1, first & LOW
        k0, k1 = (k0 + W0) & LOW, (k1 + W1) & LOW
    return c0, c1, c2, c3


@part
def drop(n, a, factor, seed, layer, epoch, sample, first, threshold, kept):  # type: ignore[no-untyped-def]
    """Apply inverted dropout to values first..first + n of a sample, at `a`, and to their derivatives, in place.

    Word u of the sample is below `threshold` where value u is dropped; the others are multiplied by `kept`.
    `first` and n are multiples of 4.
    """
    a, factor = floats(a), floats(factor)
    k0, k1, purpose = seed & LOW, seed >> SHIFT, PURPOSE | np.uint64(layer)
    for block in range(n // 4):
        words = philox(np.uint64(first // 4 + block), np.uint64(sample), np.uint64(epoch), purpose, k0, k1)
        for j in range(4):
            scale = kept if words[j] >= threshold else F(0)
            a[4 * block + j] = a[4 * block + j] * scale
            factor[4 * block + j] = factor[4 * block + j] * scale
