"""Vectors of float32 in LLVM's IR, written as formulas: the building blocks of the explicit SIMD.

Numba has no vector type, so vectors live inside intrinsics (`fastnn.kernels.families`). They are as long as the CPU's
(`fastnn.kernels.cpu`); without any, LLVM lowers the same code to what there is.

A `Vector` is a value of the program that is being built: ``p * r + 1.5`` emits the instructions. A product and a sum
may be contracted to one multiply-add, and nothing else: reassociation would undo range reductions, and a NaN stays one.
"""

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from fastnn.kernels import cpu
from fastnn.layers import LANES as PANEL

F32 = ir.FloatType()
I32 = ir.IntType(32)
WORD = ir.IntType(64)
FLOATS = F32.as_pointer()
INTS = I32.as_pointer()

LANES = cpu.lanes()
REGISTERS = cpu.registers()
FUSED = bool(cpu.features() & {"fma", "avx512f", "neon"})  # without, a * b + c is rounded twice: as the CPU can
VECTOR = ir.VectorType(F32, LANES)
PARTS = PANEL // LANES  # vectors of a panel's row

# ---------------------------------------------------------------- building blocks


def word(value: int) -> ir.Constant:
    """A constant of the program."""
    return ir.Constant(WORD, value)


def function(builder: Any, name: str, result: Any, kinds: Sequence[Any]) -> Any:
    """LLVM's own function of this name: llvmlite's declare_intrinsic knows no vectors."""
    return builder.module.globals.get(name) or ir.Function(builder.module, ir.FunctionType(result, kinds), name)


def fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c."""
    if not FUSED:
        return builder.fadd(builder.fmul(a, b), c)
    return builder.call(function(builder, f"llvm.fma.v{LANES}f32", VECTOR, [VECTOR] * 3), [a, b, c])


def broadcast(builder: Any, scalar: Any, kind: Any = VECTOR) -> Any:
    """A number in all lanes."""
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(I32, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(I32, kind.count), [0] * kind.count))


def at(builder: Any, pointer: Any, place: Any) -> Any:
    """The pointer `place` elements further on: a number, or a word of the program."""
    return builder.gep(pointer, [word(place) if isinstance(place, int) else place])


def row_of(builder: Any, pointer: Any) -> list[Any]:
    """Pointers to the vectors of a panel's row."""
    kind = VECTOR.as_pointer()
    return [builder.bitcast(at(builder, pointer, part * LANES), kind) for part in range(PARTS)]


def load(builder: Any, pointers: Sequence[Any]) -> list[Any]:
    """The vectors at some pointers."""
    return [builder.load(pointer, align=4) for pointer in pointers]


def store(builder: Any, values: Sequence[Any], pointers: Sequence[Any]) -> None:
    """Store each vector at its pointer."""
    for value, pointer in zip(values, pointers, strict=True):
        builder.store(value, pointer, align=4)


def load_some(builder: Any, pointer: Any, align: int, there: Any) -> Any:
    """The lanes of a vector that are there, zero in the others, whose memory is not touched."""
    kind = pointer.type.pointee
    name = f"llvm.masked.load.v{kind.count}{'f32' if kind.element is F32 else kind.element}.p0"
    masked = function(builder, name, kind, [pointer.type, I32, there.type, kind])
    return builder.call(masked, [pointer, ir.Constant(I32, align), there, ir.Constant(kind, None)])


def store_some(builder: Any, value: Any, pointer: Any, there: Any) -> None:
    """Store the lanes of a vector that are there; the memory of the others is not touched."""
    kinds = [VECTOR, pointer.type, I32, there.type]
    masked = function(builder, f"llvm.masked.store.v{LANES}f32.p0", ir.VoidType(), kinds)
    builder.call(masked, [value, pointer, ir.Constant(I32, 4), there])


def repeat(
    builder: Any, count: Any, step: int, held: Sequence[Any], turn: Callable[[Any, list[Any]], list[Any]]
) -> list[Any]:
    """``for q in range(0, count, step): held = turn(q, held)``, with the values kept in registers; their last."""
    entry = builder.block
    loop, done = builder.append_basic_block("loop"), builder.append_basic_block("done")
    builder.cbranch(builder.icmp_signed(">", count, word(0)), loop, done)
    builder.position_at_end(loop)
    q = builder.phi(WORD)
    inside = [builder.phi(value.type) for value in held]
    later = turn(q, inside)
    following, end = builder.add(q, word(step)), builder.block
    builder.cbranch(builder.icmp_signed("<", following, count), loop, done)
    for phi, before, after in zip([q, *inside], [word(0), *held], [following, *later], strict=True):
        phi.add_incoming(before, entry)
        phi.add_incoming(after, end)
    builder.position_at_end(done)
    results = [builder.phi(value.type) for value in held]
    for phi, before, after in zip(results, held, later, strict=True):
        phi.add_incoming(before, entry)
        phi.add_incoming(after, end)
    return results


def transposed(builder: Any, held: Sequence[Any]) -> list[Any]:
    """Vectors as the rows of a matrix; its columns. By swaps of ever smaller corners.

    Of fewer vectors than they have lanes, a power of two, each run of so many lanes is a matrix of its own.
    """
    found, lanes = list(held), range(held[0].type.count)
    for step in (2**bit for bit in reversed(range(len(held).bit_length() - 1))):
        low = [lane if not lane & step else len(lanes) + lane - step for lane in lanes]
        high = [lane + step if not lane & step else len(lanes) + lane for lane in lanes]
        masks = [ir.Constant(ir.VectorType(I32, len(lanes)), places) for places in (low, high)]
        for i in (i for i in range(len(held)) if not i & step):
            pair = found[i], found[i + step]
            found[i], found[i + step] = (builder.shuffle_vector(*pair, mask) for mask in masks)
    return found


def joined(builder: Any, held: Sequence[Any]) -> Any:
    """Vectors behind each other in one, a power of two of them."""
    found = list(held)
    while len(found) > 1:
        lanes = ir.Constant(ir.VectorType(I32, 2 * found[0].type.count), list(range(2 * found[0].type.count)))
        found = [builder.shuffle_vector(*pair, lanes) for pair in zip(found[::2], found[1::2], strict=True)]
    return found[0]


def lane_sums(builder: Any, held: Sequence[Any]) -> Any:
    """A vector whose lane m is the sum of the lanes of vector m, of no more than LANES; 0 where there is none.

    As `transposed`, but the corners are added; the small ones first, which leaves less to do where vectors lack.
    """
    found = [*held, *[None] * (LANES - len(held))]
    zero = ir.Constant(VECTOR, None)
    for step in (2**bit for bit in range(LANES.bit_length() - 1)):
        low = [lane if not lane & step else LANES + lane - step for lane in range(LANES)]
        high = [lane + step if not lane & step else LANES + lane for lane in range(LANES)]
        masks = [ir.Constant(ir.VectorType(I32, LANES), lanes) for lanes in (low, high)]
        for i in (i for i in range(0, LANES, 2 * step) if found[i]):
            pair = found[i], found[i + step] or zero
            found[i] = builder.fadd(*(builder.shuffle_vector(*pair, mask) for mask in masks))
    return found[0] or zero


# ---------------------------------------------------------------- formulas

CONTRACT = ("contract",)
INTEGERS = ir.VectorType(I32, LANES)


def all_lanes(kind: Any, value: float) -> ir.Constant:
    """A number in all lanes of a vector."""
    return ir.Constant(kind, [value] * kind.count)


def alike(element: Any, value: Any) -> ir.VectorType:
    """A vector of as many lanes as a value has."""
    return ir.VectorType(element, value.type.count)


class Mask:
    """Yes or no for each lane."""

    def __init__(self, builder: Any, value: Any):
        self.builder, self.value = builder, value

    def __and__(self, other: "Mask") -> "Mask":
        return Mask(self.builder, self.builder.and_(self.value, other.value))

    def __invert__(self) -> "Mask":
        return Mask(self.builder, self.builder.not_(self.value))


class Vector:
    """Float32 lanes, LANES or more: LLVM cuts longer ones. Comparisons are false for NaN."""

    def __init__(self, builder: Any, value: Any):
        self.builder, self.value = builder, value

    def of(self, other: Any) -> Any:
        """A vector's value, or a number in all lanes."""
        return other.value if isinstance(other, Vector) else all_lanes(self.value.type, float(other))

    def _do(self, name: str, *operands: Any) -> "Vector":
        return Vector(self.builder, getattr(self.builder, name)(*operands, flags=CONTRACT))

    def __add__(self, other: Any) -> "Vector":
        return self._do("fadd", self.value, self.of(other))

    def __radd__(self, other: Any) -> "Vector":
        return self._do("fadd", self.of(other), self.value)

    def __sub__(self, other: Any) -> "Vector":
        return self._do("fsub", self.value, self.of(other))

    def __rsub__(self, other: Any) -> "Vector":
        return self._do("fsub", self.of(other), self.value)

    def __mul__(self, other: Any) -> "Vector":
        return self._do("fmul", self.value, self.of(other))

    def __rmul__(self, other: Any) -> "Vector":
        return self._do("fmul", self.of(other), self.value)

    def __truediv__(self, other: Any) -> "Vector":
        return self._do("fdiv", self.value, self.of(other))

    def __rtruediv__(self, other: Any) -> "Vector":
        return self._do("fdiv", self.of(other), self.value)

    def __neg__(self) -> "Vector":
        return self._do("fneg", self.value)

    def _compare(self, sign: str, other: Any) -> Mask:
        return Mask(self.builder, self.builder.fcmp_ordered(sign, self.value, self.of(other)))

    def __lt__(self, other: Any) -> Mask:
        return self._compare("<", other)

    def __le__(self, other: Any) -> Mask:
        return self._compare("<=", other)

    def __gt__(self, other: Any) -> Mask:
        return self._compare(">", other)

    def same(self, other: Any) -> Mask:
        """Where the lanes are equal."""
        return self._compare("==", other)

    def __abs__(self) -> "Vector":
        return (self.bits() & 0x7FFFFFFF).floats()

    def bits(self) -> "Bits":
        """The bits of each lane."""
        return Bits(self.builder, self.builder.bitcast(self.value, alike(I32, self.value)))

    def root(self) -> "Vector":
        """The square root of each lane."""
        root = function(self.builder, f"llvm.sqrt.v{LANES}f32", VECTOR, [VECTOR])
        return Vector(self.builder, self.builder.call(root, [self.value]))

    def _fold(self, combine: Callable[["Vector", "Vector"], "Vector"]) -> "Vector":
        """All lanes combined, in all lanes: halves crosswise, then quarters, ..."""
        found, step = self, LANES // 2
        while step:
            crossed = ir.Constant(INTEGERS, [lane ^ step for lane in range(LANES)])
            found = combine(found, Vector(self.builder, self.builder.shuffle_vector(found.value, found.value, crossed)))
            step //= 2
        return found

    def total(self) -> "Vector":
        """The sum of the lanes, in all lanes; in the same order on each CPU of a kind."""
        return self._fold(lambda a, b: a + b)

    def largest(self) -> "Vector":
        """The largest lane, in all lanes."""
        return self._fold(maximum)

    def smallest(self) -> "Vector":
        """The smallest lane, in all lanes."""
        return self._fold(lambda a, b: where(a < b, a, b))


class Bits:
    """Int32 lanes."""

    def __init__(self, builder: Any, value: Any):
        self.builder, self.value = builder, value

    def _do(self, name: str, other: "Bits | int") -> "Bits":
        right = other.value if isinstance(other, Bits) else all_lanes(self.value.type, other)
        return Bits(self.builder, getattr(self.builder, name)(self.value, right))

    def __add__(self, other: "Bits | int") -> "Bits":
        return self._do("add", other)

    def __sub__(self, other: "Bits | int") -> "Bits":
        return self._do("sub", other)

    def __and__(self, other: "Bits | int") -> "Bits":
        return self._do("and_", other)

    def __or__(self, other: "Bits | int") -> "Bits":
        return self._do("or_", other)

    def __lshift__(self, places: int) -> "Bits":
        return self._do("shl", places)

    def __rshift__(self, places: int) -> "Bits":
        return self._do("ashr", places)

    def floats(self) -> Vector:
        """What the bits stand for."""
        return Vector(self.builder, self.builder.bitcast(self.value, alike(F32, self.value)))

    def converted(self) -> Vector:
        """Each whole number as a float32."""
        return Vector(self.builder, self.builder.sitofp(self.value, alike(F32, self.value)))


def where(mask: Mask, yes: Any, no: Any) -> Vector:
    """Lane by lane `yes` or `no`: vectors or numbers."""
    kind = alike(F32, mask.value)
    values = [v.value if isinstance(v, Vector) else all_lanes(kind, float(v)) for v in (yes, no)]
    return Vector(mask.builder, mask.builder.select(mask.value, *values))


def maximum(a: Vector, b: Vector) -> Vector:
    """Lane by lane the larger one; a NaN in `b` is kept."""
    return where(a > b, a, b)


def number(builder: Any, scalar: Any, kind: Any = VECTOR) -> Vector:
    """A float32 of the program in all lanes."""
    return Vector(builder, broadcast(builder, scalar, kind))


def lanes_from(builder: Any, first: Any) -> Vector:
    """first, first + 1, ... as float32; `first` is a word."""
    start = builder.sitofp(first, F32)
    return number(builder, start) + Vector(builder, ir.Constant(VECTOR, [float(lane) for lane in range(LANES)]))
