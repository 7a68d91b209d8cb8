"""The losses of the fused kernels: what a sample's Z and targets give. Each a row in a table.

The formulas and their sources stand in kernels/functions.py. Each is written once and serves two orders of the numbers:
units side by side, where there are many, and samples side by side, where their outputs fit a panel.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from llvmlite import ir

from fastnn.kernels.elementary import exp, log, sigmoid, softplus
from fastnn.kernels.families import family
from fastnn.kernels.rows import one_if, vector_at
from fastnn.kernels.vectors import (
    F32,
    I32,
    INTS,
    LANES,
    VECTOR,
    WORD,
    Mask,
    Vector,
    at,
    broadcast,
    function,
    joined,
    lanes_from,
    load,
    load_some,
    maximum,
    number,
    repeat,
    row_of,
    store,
    store_some,
    transposed,
    where,
    word,
)
from fastnn.layers import LANES as PANEL

# ---------------------------------------------------------------- targets


def _mark(b: Any, _: int, at_int_labels: Any, at_order: Any, samples: Any, units: Any, at_t: Any) -> None:
    order, some, wide = b.bitcast(at_order, WORD.as_pointer()), ir.VectorType(I32, LANES), ir.VectorType(WORD, LANES)
    bits, pointers = ir.VectorType(ir.IntType(1), LANES), ir.VectorType(INTS, LANES)
    numbers, every = ir.Constant(wide, list(range(LANES))), ir.Constant(bits, [1] * LANES)
    stand_in = broadcast(b, b.load(at(b, order, b.sub(samples, word(1)))), wide)
    kinds = [pointers, I32, bits, some]
    begin = broadcast(b, b.ptrtoint(at_int_labels, WORD), wide)
    gather = function(b, f"llvm.masked.gather.v{LANES}i32.v{LANES}p0", some, kinds)

    def group(i: Any, _: list[Any]) -> list[Any]:
        labels = []
        for first in range(0, PANEL, LANES):
            place = b.add(i, word(first))
            there = b.icmp_signed("<", numbers, broadcast(b, b.sub(samples, place), wide))
            rows = load_some(b, b.bitcast(at(b, order, place), wide.as_pointer()), 8, there)
            bytes_on = b.shl(b.select(there, rows, stand_in), ir.Constant(wide, [2] * LANES))
            places = b.inttoptr(b.add(begin, bytes_on), pointers)
            labels.append(b.call(gather, [places, ir.Constant(I32, 4), every, ir.Constant(some, None)]))

        def unit(o: Any, inside: list[Any]) -> list[Any]:
            (t,) = inside
            this = broadcast(b, b.trunc(o, I32), some)
            store(b, [b.uitofp(b.icmp_signed("==", label, this), VECTOR) for label in labels], row_of(b, t))
            return [at(b, t, PANEL)]

        repeat(b, units, 1, [at(b, at_t, b.mul(i, units))], unit)
        return []

    repeat(b, samples, PANEL, [], group)


# (1, labels, order, samples, units, t): 1 for the label of each of `samples` rows whose numbers are at `order`, 0 for
# all other units: unit by unit, 16 samples side by side. The last sample stands in for those that the last 16 lack. One
# by one the targets of 112 samples took 430 cycles, and so 240.
mark = family("at_int_labels at_order samples units at_t", [1], _mark)

# ---------------------------------------------------------------- losses: z, t -> the loss; z = a, d = dLoss/dz


class Row:
    """A sample's Z (or A), its targets t and its deltas d, vector by vector of units; `units` of them count.

    Label smoothing makes a target t * keep + add.
    """

    step = LANES  # units of a vector

    def __init__(self, b: Any, units: Any, z: Any, t: Any, d: Any, keep: Vector, add: Vector):
        self.b, self.units, self.z, self.t, self.d = b, units, z, t, d
        self.keep, self.add = keep, add

    def vector_of(self, pointer: Any, q: Any) -> Any:
        """Where the vector of unit q (and those after it) stands."""
        return vector_at(self.b, pointer, q)

    def place(self, q: Any) -> Vector:
        """The numbers of the units of the vector of unit q."""
        return lanes_from(self.b, q)

    def valid(self, q: Any) -> Mask:
        """Which lanes are units that count."""
        return self.place(q) < number(self.b, self.b.sitofp(self.units, F32))

    def over_units(self, v: Vector, combine: Callable[[Vector], Vector]) -> Vector:
        """What a fold holds, one for each lane, combined to one for each sample."""
        return combine(v)

    def total(self, v: Vector) -> Vector:
        """The sum over all units."""
        return self.over_units(v, Vector.total)

    def largest(self, v: Vector) -> Vector:
        """The largest of all units."""
        return self.over_units(v, Vector.largest)

    def smallest(self, v: Vector) -> Vector:
        """The smallest of all units."""
        return self.over_units(v, Vector.smallest)

    def fold(self, start: Sequence[float], turn: Callable[..., list[Vector]], raw: bool = False) -> list[Vector]:
        """``held = turn(q, valid, held, z, t)`` for each vector in turn; the last `held`. Targets smoothed or `raw`."""
        b = self.b
        held = [ir.Constant(VECTOR, [float(value)] * LANES) for value in start]

        def step(q: Any, inside: list[Any]) -> list[Any]:
            z, t = (Vector(b, v) for v in load(b, [self.vector_of(pointer, q) for pointer in (self.z, self.t)]))
            valid = self.valid(q)
            t = t if raw else where(valid, t * self.keep + self.add, 0.0)
            return [v.value for v in turn(q, valid, [Vector(b, v) for v in inside], z, t)]

        return [Vector(b, v) for v in repeat(b, self.units, self.step, held, step)]

    def write(self, q: Any, a: Vector, d: Vector | None = None) -> None:
        """Store outputs (and deltas) of the vector of unit q."""
        store(self.b, [a.value], [self.vector_of(self.z, q)])
        if d is not None:
            store(self.b, [d.value], [self.vector_of(self.d, q)])

    def factor(self, q: Any) -> Vector:
        """What stands in the deltas of the vector of unit q."""
        return Vector(self.b, self.b.load(self.vector_of(self.d, q), align=4))


class Columns(Row):
    """As many samples at once as a vector has lanes: unit by unit, so that no lane is padding or added to another.

    Units are 16 floats apart. With two outputs a batch of 200 took 11 us by samples.
    """

    step = 1

    def vector_of(self, pointer: Any, q: Any) -> Any:
        """Where the values of unit q stand."""
        return vector_at(self.b, pointer, self.b.mul(q, word(PANEL)))

    def place(self, q: Any) -> Vector:
        """The number of the unit."""
        return number(self.b, self.b.sitofp(q, F32))

    def valid(self, q: Any) -> Mask:
        """All lanes count."""
        return Mask(self.b, ir.Constant(ir.VectorType(ir.IntType(1), LANES), [1] * LANES))

    def over_units(self, v: Vector, combine: Callable[[Vector], Vector]) -> Vector:
        """What a fold holds: each lane is a sample."""
        return v


QUAD = 4  # units of a row that are fewer to turn than all


def _quads_turned(b: Any, found: Sequence[Any], panel: Any, tile: Any, back: bool) -> None:
    """`_turned` for no more than QUAD units: four vectors, in which the rows' quads are side by side."""
    quad = ir.VectorType(F32, QUAD)
    rows = [b.bitcast(at(b, panel, b.load(offset)), quad.as_pointer()) for offset in found]
    columns = [vector_at(b, tile, word(PANEL * m)) for m in range(QUAD)]
    if not back:
        runs = [[b.load(row, align=4) for row in rows[m::QUAD]] for m in range(QUAD)]
        store(b, transposed(b, [joined(b, run) for run in runs]), columns)
        return
    for m, vector in enumerate(transposed(b, load(b, columns))):
        for first, row in zip(range(0, LANES, QUAD), rows[m::QUAD], strict=True):
            lanes = ir.Constant(ir.VectorType(I32, QUAD), list(range(first, first + QUAD)))
            b.store(b.shuffle_vector(vector, vector, lanes), row, align=4)


def _turned(b: Any, units: Any, found: Sequence[Any], panel: Any, tile: Any, back: bool = False) -> None:
    """Rows of a panel, at the offsets that are `found` there, become columns of a tile; or `back`."""
    with b.if_else(b.icmp_signed("<=", units, word(QUAD))) as (few, many):
        with few:
            _quads_turned(b, found, panel, tile, back)
        with many:
            for first in range(0, PANEL, LANES):
                with b.if_then(b.icmp_signed(">", units, word(first))):
                    rows = [vector_at(b, panel, b.add(b.load(offset), word(first))) for offset in found]
                    columns = [vector_at(b, tile, word(PANEL * (first + m))) for m in range(LANES)]
                    source, target = (columns, rows) if back else (rows, columns)
                    store(b, transposed(b, load(b, source)), target)


def _for_samples(b: Any, units: Any, samples: Any, z: Any, t: Any, d: Any, smoothing: tuple[Vector, Vector],
                 turn: Callable[..., None], reads: bool, shown: Any, turned: Any) -> None:  # fmt: skip
    """``turn(i, row)`` for all samples: by Columns if their units fit a panel, else there is one, a Row.

    `reads`: deltas, if any, are read before they are written. `shown`: outputs are asked for; else only deltas are
    turned back. `turned`: Z and deltas are columns already; else they are transposed before, and back.
    In the last group the last sample stands in for those that are not there: what it does twice, it does alike.
    """
    tiles = [b.alloca(F32, PANEL * PANEL) for _ in range(2)]
    last, by_rows = b.sub(samples, word(1)), b.icmp_signed("==", turned, word(0))

    def no_padding() -> None:
        """The deltas of units beyond the last one are zero."""

        def clear(q: Any, _: list[Any]) -> list[Any]:
            place = b.mul(b.add(units, q), word(PANEL))
            store(b, [ir.Constant(VECTOR, None)], [vector_at(b, tiles[1], place)])
            return []

        repeat(b, b.sub(word(PANEL), units), 1, [], clear)

    # where each sample's row begins, found only where rows are turned
    rows = [b.alloca(WORD) for _ in range(LANES)]

    def find_rows(i: Any) -> None:
        for m, row in enumerate(rows):
            place = b.add(i, word(m))
            b.store(b.mul(b.select(b.icmp_signed("<", place, last), place, last), word(PANEL)), row)

    def group(i: Any, _: list[Any]) -> list[Any]:
        many, more = b.and_(i, word(-PANEL)), b.and_(i, word(PANEL - 1))
        here = b.add(b.mul(many, word(PANEL)), more)
        there = (at(b, pointer, here) for pointer in (z, z if d is None else d))
        columns = [b.select(by_rows, tile, pointer) for tile, pointer in zip(tiles, there, strict=True)]
        with b.if_then(by_rows):
            find_rows(i)
            _turned(b, units, rows, z, tiles[0])
            if reads:
                _turned(b, units, rows, d, tiles[1])
                no_padding()
        targets = at(b, t, b.add(b.mul(many, units), more))
        turn(i, Columns(b, units, columns[0], targets, columns[1], *smoothing))
        with b.if_then(b.and_(by_rows, b.icmp_signed("!=", shown, word(0)))):
            _turned(b, units, rows, z, tiles[0], back=True)
        if d is not None:
            with b.if_then(by_rows):
                _turned(b, units, rows, d, tiles[1], back=True)
        return []

    with b.if_else(b.icmp_signed("<=", units, word(PANEL))) as (fits, wide):
        with fits:
            if d is not None:
                no_padding()
            whole = b.and_(b.add(samples, word(PANEL - 1)), word(-PANEL))  # of columns none is left as it was
            repeat(b, b.select(by_rows, samples, whole), LANES, [], group)
        with wide:
            turn(word(0), Row(b, units, z, t, d, *smoothing))


def _store_each(row: Row, value: Vector, pointer: Any, i: Any, samples: Any) -> None:
    """A number for each sample from i on: as many as a vector has, if there are; for one if its units fill vectors."""
    b, there = row.b, lanes_from(row.b, word(0))
    left = number(b, b.sitofp(b.sub(samples, i), F32)) if isinstance(row, Columns) else number(b, ir.Constant(F32, 1))
    store_some(b, value.value, vector_at(b, pointer, i), (there < left).value)


FAR_BELOW = -1e30  # stands for the Z of a unit that is not there


def _cross_entropy(row: Row, share: Vector) -> Vector:
    (top,) = row.fold([FAR_BELOW], lambda q, valid, held, z, t: [maximum(held[0], where(valid, z, FAR_BELOW))])
    top = row.largest(top)

    def exponentials(q: Any, valid: Mask, held: list[Vector], z: Vector, t: Vector) -> list[Vector]:
        total, weight, loss = held
        z = where(valid, z - top, 0.0)  # of padding too the exponential is taken: not of what would be denormal
        e = where(valid, exp(z), 0.0)
        row.write(q, e)
        return [total + e, weight + t, loss - t * z]

    total, weight, loss = (row.total(v) for v in row.fold([0.0, 0.0, 0.0], exponentials))
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

    return row.total(row.fold([0.0], turn)[0])


def _quadratic(row: Row, share: Vector) -> Vector:
    def turn(q: Any, valid: Mask, held: list[Vector], a: Vector, t: Vector) -> list[Vector]:
        error = a - t
        row.write(q, a, where(valid, error * row.factor(q) * share, 0.0))
        return [held[0] + where(valid, 0.5 * error * error, 0.0)]

    return row.total(row.fold([0.0], turn)[0])


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


def _right(row: Row) -> Vector:
    """1 where the first largest output is the first largest target, else 0.

    One output alone is right on the target's side of a half, that is with its Z on that side of 0.
    """
    b = row.b

    def largest(q: Any, valid: Mask, held: list[Vector], z: Vector, t: Vector) -> list[Vector]:
        return [maximum(h, where(valid, v, FAR_BELOW)) for h, v in zip(held, (z, t), strict=True)]

    tops = [row.largest(v) for v in row.fold([FAR_BELOW, FAR_BELOW], largest, raw=True)]

    def first(q: Any, valid: Mask, held: list[Vector], z: Vector, t: Vector) -> list[Vector]:
        place, found = row.place(q), []
        for h, v, top in zip(held, (z, t), tops, strict=True):
            here = where(v.same(top) & valid, place, -FAR_BELOW)
            found.append(where(here < h, here, h))
        return found

    said, true = (row.smallest(v) for v in row.fold([-FAR_BELOW, -FAR_BELOW], first, raw=True))
    z, t = (Vector(b, b.load(row.vector_of(pointer, word(0)), align=4)) for pointer in (row.z, row.t))
    same_side = (one_if(z > 0.0) - one_if(t > 0.5)).same(0.0)
    alone = b.icmp_signed("==", row.units, word(1))
    return Vector(b, b.select(alone, one_if(same_side).value, one_if(said.same(true)).value))


def _judge(b: Any, code: int, units: Any, samples: Any, at_z: Any, at_t: Any, at_d: Any, at_share: Any, at_loss: Any,
           at_hit: Any, shown: Any, turned: Any, x_keep: Any, x_add: Any) -> None:  # fmt: skip
    function, activated = list(LOSSES.values())[code]

    def turn(i: Any, row: Row) -> None:
        several = isinstance(row, Columns)
        share = Vector(b, b.load(vector_at(b, at_share, i), align=4)) if several else number(b, b.load(at_share))
        if not activated:
            _store_each(row, _right(row), at_hit, i, samples)
        _store_each(row, function(row, share), at_loss, i, samples)

    smoothing = number(b, x_keep), number(b, x_add)
    _for_samples(b, units, samples, at_z, at_t, at_d, smoothing, turn, activated, shown, turned)


# (code, units, samples, z, t, d, share, loss, hit, shown, turned, keep, add): the loss of each sample, and 1 or 0,
# whether it is classified right (see functions.hits), unless the loss takes outputs, which no longer tell: there `hits`
# comes first. d becomes the delta times the sample's share, z the output if it is `shown`. Label smoothing makes a
# target t * keep + add. Rows of samples are 16 floats apart, and targets stand unit by unit, of 16 samples side by
# side; so do z and d if they are `turned`, 256 floats for each 16 samples. Where there are more outputs it is one
# sample at a time, its units side by side, and z is the output in any case. Shares and targets are read in whole
# vectors: those beyond the last sample must be as its own; but its shares 0 where z is turned, and has sums over all
# columns.
judge = family(
    "units samples at_z at_t at_d at_share at_loss at_hit shown turned x_keep x_add", range(len(LOSSES)), _judge
)


def _hits(b: Any, _: int, units: Any, samples: Any, at_z: Any, at_t: Any, at_hit: Any, turned: Any) -> None:
    def turn(i: Any, row: Row) -> None:
        _store_each(row, _right(row), at_hit, i, samples)

    nothing = Vector(b, ir.Constant(VECTOR, None))
    _for_samples(b, units, samples, at_z, at_t, None, (nothing, nothing), turn, False, word(0), turned)


# (0, units, samples, z, t, hit, turned): whether each sample is classified right, as in `judge`
hits = family("units samples at_z at_t at_hit turned", [0], _hits)
