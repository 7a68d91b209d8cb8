"""What the fused kernels do to runs of floats: activations, losses, updates, dropout. Each a row in a table.

The formulas and their sources stand in kernels/reference.py. Each row is a formula on vectors, and becomes a loop of
its own; the code of a row picks it at run time, so a network is data and everything is compiled once. Runs are whole
vectors: what lies beyond the last unit is padding.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir

from fastnn import rng
from fastnn.kernels.compiling import part
from fastnn.kernels.elementary import exp, log, normal, sigmoid, softplus, tanh
from fastnn.kernels.simd import floats
from fastnn.kernels.vectors import (
    F32,
    I32,
    LANES,
    VECTOR,
    Mask,
    Vector,
    at,
    family,
    lanes_from,
    load,
    maximum,
    number,
    repeat,
    store,
    where,
)
from fastnn.layers import LANES as PANEL

F = np.float32
POINTER = VECTOR.as_pointer()


def _vector(b: Any, pointer: Any, place: Any) -> Any:
    """A pointer to the vector that begins `place` floats further on."""
    return b.bitcast(at(b, pointer, place), POINTER)


# ---------------------------------------------------------------- activations: z, alpha -> f(z), f'(z)

Pair = tuple[Vector, Vector]


def _one_if(mask: Mask) -> Vector:
    return where(mask, Vector(mask.builder, ir.Constant(VECTOR, [1.0] * LANES)), 0.0)


def _identity(z: Vector, alpha: Vector) -> Pair:
    return z, where(z < 0.0, 1.0, 1.0)


def _relu(z: Vector, alpha: Vector) -> Pair:
    return where(z <= 0.0, 0.0, z), _one_if(z > 0.0)


def _leaky_relu(z: Vector, alpha: Vector) -> Pair:
    return where(z > 0.0, z, alpha * z), where(z > 0.0, 1.0, alpha)


def _elu(z: Vector, alpha: Vector) -> Pair:
    e = exp(where(z > 0.0, 0.0, z))
    # near 0, exp(z) - 1 cancels; there expm1(z) = tanh(z / 2) (exp(z) + 1)
    below = tanh(0.5 * z) * (e + 1.0)
    return where(z > 0.0, z, alpha * below), where(z > 0.0, 1.0, alpha * e)


def _sigmoid(z: Vector, alpha: Vector) -> Pair:
    e = exp(-abs(z))  # s(-|z|) = e / (1 + e): both s(z) and s(-z) from one exponential, neither by cancellation
    large = 1.0 / (1.0 + e)
    small = e * large
    return where(z < 0.0, small, where(z <= 0.0, large, where(z > 0.0, large, z))), large * small


def _tanh(z: Vector, alpha: Vector) -> Pair:
    a = tanh(z)
    return a, (1.0 - a) * (1.0 + a)


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
    function, alpha = list(ACTIVATIONS.values())[code], number(b, x_alpha)

    def row(_: Any, inside: list[Any]) -> list[Any]:
        def turn(q: Any, _: list[Any]) -> list[Any]:
            z = _vector(b, inside[0], q)
            a, d = function(Vector(b, b.load(z, align=4)), alpha)
            store(b, [a.value, d.value], [z, _vector(b, inside[1], q)])
            return []

        repeat(b, count, LANES, [], turn)
        return [at(b, pointer, PANEL) for pointer in inside]

    repeat(b, rows, 1, [at_a, at_d], row)


# (code, rows, count, a, d, alpha): a[:count] = f(a), d[:count] = f'(a), for `rows` rows of a panel
activate = family("rows count at_a at_d x_alpha", range(len(ACTIVATIONS)), _activate)


# ---------------------------------------------------------------- losses: z, t -> the loss; z = a, d = dLoss/dz


class Row:
    """A sample's Z (or A), its targets t and its deltas d, vector by vector; `units` of them count."""

    def __init__(self, b: Any, units: Any, z: Any, t: Any, d: Any):
        self.b, self.units, self.z, self.t, self.d = b, units, z, t, d

    def fold(self, start: Sequence[Vector | float], turn: Callable[..., list[Vector]]) -> list[Vector]:
        """``held = turn(place, valid, held, z, t)`` for each vector in turn; the last `held`."""
        b = self.b
        held = [s.value if isinstance(s, Vector) else ir.Constant(VECTOR, [float(s)] * LANES) for s in start]

        def step(q: Any, inside: list[Any]) -> list[Any]:
            valid = self.place(q) < number(b, b.sitofp(self.units, F32))
            z, t = (Vector(b, v) for v in load(b, [_vector(b, self.z, q), _vector(b, self.t, q)]))
            return [v.value for v in turn(q, valid, [Vector(b, v) for v in inside], z, t)]

        return [Vector(b, v) for v in repeat(b, self.units, LANES, held, step)]

    def place(self, q: Any) -> Vector:
        """The numbers of the units of the vector that begins at unit q."""
        return lanes_from(self.b, q)

    def write(self, q: Any, a: Vector, d: Vector | None = None) -> None:
        """Store outputs (and deltas) of the vector that begins at unit q."""
        store(self.b, [a.value], [_vector(self.b, self.z, q)])
        if d is not None:
            store(self.b, [d.value], [_vector(self.b, self.d, q)])

    def factor(self, q: Any) -> Vector:
        """What stands in the deltas of the vector that begins at unit q."""
        return Vector(self.b, self.b.load(_vector(self.b, self.d, q), align=4))


FAR_BELOW = -1e30  # stands for the Z of a unit that is not there


def _cross_entropy(row: Row, share: Vector) -> Vector:
    (top,) = row.fold([FAR_BELOW], lambda q, valid, held, z, t: [maximum(held[0], where(valid, z, FAR_BELOW))])
    top = top.largest()

    def exponentials(q: Any, valid: Mask, held: list[Vector], z: Vector, t: Vector) -> list[Vector]:
        total, weight, loss = held
        z = where(valid, z - top, 0.0)  # of padding too the exponential is taken: not of what would be denormal
        e = where(valid, exp(z), 0.0)
        row.write(q, e)
        return [total + e, weight + t, loss - t * z]

    total, weight, loss = (v.total() for v in row.fold([0.0, 0.0, 0.0], exponentials))
    part_of = 1.0 / total

    def outputs(q: Any, valid: Mask, held: list[Vector], e: Vector, t: Vector) -> list[Vector]:
        a = e * part_of
        row.write(q, a, (a * weight - t) * share)
        return []

    row.fold([], outputs)
    return loss + weight * log(total)


def _binary_cross_entropy(row: Row, share: Vector) -> Vector:
    def turn(q: Any, valid: Mask, held: list[Vector], z: Vector, t: Vector) -> list[Vector]:
        loss = t * softplus(-z) + (1.0 - t) * softplus(z)
        a = sigmoid(z)
        row.write(q, a, where(valid, (a - t) * share, 0.0))
        return [held[0] + where(valid, loss, 0.0)]

    return row.fold([0.0], turn)[0].total()


def _quadratic(row: Row, share: Vector) -> Vector:
    def turn(q: Any, valid: Mask, held: list[Vector], a: Vector, t: Vector) -> list[Vector]:
        error = a - t
        row.write(q, a, where(valid, error * row.factor(q) * share, 0.0))
        return [held[0] + where(valid, 0.5 * error * error, 0.0)]

    return row.fold([0.0], turn)[0].total()


class Loss(NamedTuple):
    """A loss, and whether it takes outputs with f' in their deltas, or Z as it is (it then knows its activation)."""

    function: Callable[[Row, Vector], Vector]
    activated: bool = False


LOSSES = {
    "cross_entropy": Loss(_cross_entropy),
    "binary_cross_entropy": Loss(_binary_cross_entropy),
    "quadratic": Loss(_quadratic, activated=True),
}
LOSS_CODES = {name: code for code, name in enumerate(LOSSES)}


def _first(b: Any, value: Vector) -> Any:
    return b.extract_element(value.value, ir.Constant(I32, 0))


def _judge(b: Any, code: int, units: Any, samples: Any, at_z: Any, at_t: Any, at_d: Any, at_share: Any,
           at_loss: Any) -> None:  # fmt: skip
    def sample(i: Any, inside: list[Any]) -> list[Any]:
        share = number(b, b.load(at(b, at_share, i)))
        loss = list(LOSSES.values())[code].function(Row(b, units, *inside), share)
        b.store(_first(b, loss), at(b, at_loss, i))
        return [at(b, pointer, PANEL) for pointer in inside]

    repeat(b, samples, 1, [at_z, at_t, at_d], sample)


# (code, units, samples, z, t, d, share, loss): the loss of each sample; z becomes the output, d the delta times the
# sample's share. Rows of samples are 16 floats apart: one sample at a time, where there are more outputs.
judge = family("units samples at_z at_t at_d at_share at_loss", range(len(LOSSES)), _judge)


def _right(row: Row) -> Vector:
    """1 where the first largest output is the first largest target, else 0."""

    def largest(q: Any, valid: Mask, held: list[Vector], z: Vector, t: Vector) -> list[Vector]:
        return [maximum(h, where(valid, v, FAR_BELOW)) for h, v in zip(held, (z, t), strict=True)]

    tops = [v.largest() for v in row.fold([FAR_BELOW, FAR_BELOW], largest)]

    def first(q: Any, valid: Mask, held: list[Vector], z: Vector, t: Vector) -> list[Vector]:
        place, found = row.place(q), []
        for h, v, top in zip(held, (z, t), tops, strict=True):
            here = where(v.same(top) & valid, place, -FAR_BELOW)
            found.append(where(here < h, here, h))
        return found

    said, true = (v.smallest() for v in row.fold([-FAR_BELOW, -FAR_BELOW], first))
    return _one_if(said.same(true))


def _right_alone(row: Row) -> Vector:
    """1 where one output is on the target's side of a half, that is its Z on that side of 0, else 0."""
    z, t = (Vector(row.b, row.b.load(_vector(row.b, pointer, 0), align=4)) for pointer in (row.z, row.t))
    return _one_if((_one_if(z > 0.0) - _one_if(t > 0.5)).same(0.0))


def _hits(b: Any, alone: int, units: Any, samples: Any, at_z: Any, at_t: Any, at_hit: Any) -> None:
    def sample(i: Any, inside: list[Any]) -> list[Any]:
        z, t = inside
        row = Row(b, units, z, t, t)
        b.store(_first(b, _right_alone(row) if alone else _right(row)), at(b, at_hit, i))
        return [at(b, pointer, PANEL) for pointer in inside]

    repeat(b, samples, 1, [at_z, at_t], sample)


# (alone, units, samples, z, t, hit): 1 or 0, whether each sample is classified right (see reference.hits); `alone`: by
# its only output
hits = family("units samples at_z at_t at_hit", range(2), _hits)


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
            places = [_vector(b, base, q) for base in (p, *state)]
            parameter, *memory = (Vector(b, value) for value in load(b, places))
            gradient = Vector(b, b.load(_vector(b, g, q), align=4))
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


# ---------------------------------------------------------------- dropout: the twin of fastnn.rng, value by value

LOW, SHIFT = np.uint64(0xFFFFFFFF), np.uint64(32)
M0, M1 = (np.uint64(m) for m in rng.MULTIPLIERS)
W0, W1 = (np.uint64(w) for w in rng.WEYL)
ROUNDS = rng.ROUNDS
PURPOSE = np.uint64(rng.PURPOSES["dropout"] << 16)


@part
def _philox(c0, c1, c2, c3, k0, k1):  # type: ignore[no-untyped-def]
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
        words = _philox(np.uint64(first // 4 + block), np.uint64(sample), np.uint64(epoch), purpose, k0, k1)
        for j in range(4):
            scale = kept if words[j] >= threshold else F(0)
            a[4 * block + j] = a[4 * block + j] * scale
            factor[4 * block + j] = factor[4 * block + j] * scale
