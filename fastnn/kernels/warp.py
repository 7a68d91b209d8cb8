"""Augmented pictures by the fused backend: shifted, turned, scaled, sheared and warped, in threads.

The twin of the plain NumPy in augment.py, which names the sources: the same random words, and the same roundings but in
the sums of the smoothing. h rows and w columns of an image; scratch rows are padded to whole vectors.
"""

from typing import Any

import numpy as np
from numba import types

from fastnn.kernels import launch, team
from fastnn.kernels.barrier import claim, state_words
from fastnn.kernels.calls import ARGUMENTS, MISSED, THREAD, THREADS, leave, may_begin
from fastnn.kernels.compiling import fast, intrinsic, kernel, part
from fastnn.kernels.rows import philox
from fastnn.kernels.simd import doubles, floats, words
from fastnn.layers import LANES, aligned_zeros

F = np.float32
FLOAT = 4  # bytes
LOW, SHIFT = np.uint64(0xFFFFFFFF), np.uint64(32)


@intrinsic
def octets(typing_context: Any, address: Any) -> Any:
    """An address as a pointer to uint8."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.uint8)(types.intp), generate


@part
def draw(field, count, sample, epoch, purpose, seed):  # type: ignore[no-untyped-def]
    """`count` numbers from -1 to 1, and up to three more."""
    field, k0, k1 = floats(field), seed & LOW, seed >> SHIFT
    for block in range((count + 3) // 4):
        a, b, c, d = philox(np.uint64(block), sample, epoch, purpose, k0, k1)
        field[4 * block] = F(np.uint32(a)) * F(2**-31) - F(1)
        field[4 * block + 1] = F(np.uint32(b)) * F(2**-31) - F(1)
        field[4 * block + 2] = F(np.uint32(c)) * F(2**-31) - F(1)
        field[4 * block + 3] = F(np.uint32(d)) * F(2**-31) - F(1)


@fast
def smooth(field, h, w, step, along_rows, along_columns, half, places):  # type: ignore[no-untyped-def]
    """Add to h rows of places, `step` floats apart, what stands at `field` (h, w), smoothed along both axes."""
    field, rows, columns = floats(field), floats(along_rows), floats(along_columns)
    half, places = floats(half), floats(places)
    for i in range(h):
        for j in range(step):
            half[j] = F(0)
        for k in range(h):
            weight = rows[h * i + k]
            for j in range(w):
                half[j] += weight * field[w * k + j]
        for k in range(w):
            value = half[k]
            for j in range(step):
                places[step * i + j] += value * columns[step * k + j]


@part
def read_places(image, across, rows, columns, h, w, out, begin, to_bytes):  # type: ignore[no-untyped-def]
    """Bilinear interpolation in an image with a border of zeros; a row of `w` values of `out` from `begin` on."""
    image, rows, columns, values, small = floats(image), floats(rows), floats(columns), floats(out), octets(out)
    for j in range(w):
        r = min(max(rows[j], F(-1)), F(h)) + F(1)
        c = min(max(columns[j], F(-1)), F(w)) + F(1)
        whole_r, whole_c = np.int32(r), np.int32(c)
        down, right = r - F(whole_r), c - F(whole_c)
        at = whole_r * across + whole_c
        above = (image[at + 1] - image[at]) * right + image[at]
        below = (image[at + across + 1] - image[at + across]) * right + image[at + across]
        value = (below - above) * down + above
        if to_bytes:
            small[begin + j] = np.uint8(min(max(np.rint(value), F(0)), F(255)))
        else:
            values[begin + j] = value


@part
def move(i, at_x, from_bytes, at_out, to_bytes, h, w, sample, at_map, elastic, at_rows, at_columns,  # type: ignore[no-untyped-def]
         seed, epoch, purpose, scratch):  # fmt: skip
    """Image i of x becomes that of `out`. `at_map`: a matrix by rows, and an offset."""
    step, across, m, x, small = (w + LANES - 1) // LANES * LANES, w + 3, doubles(at_map), floats(at_x), octets(at_x)
    half = scratch + FLOAT * (2 * h * w + 4)
    rows = half + FLOAT * step
    columns = rows + FLOAT * h * step
    padded = columns + FLOAT * h * step
    row, column, bordered = floats(rows), floats(columns), floats(padded)
    for r in range(h):
        y = r - (h - 1) / 2
        down, right = F(m[0] * y + (m[4] + (h - 1) / 2)), F(m[2] * y + (m[5] + (w - 1) / 2))
        for c in range(w):
            at = (i * h + r) * w + c
            bordered[(r + 1) * across + c + 1] = F(small[at]) if from_bytes else x[at]
            row[step * r + c] = down + F(m[1] * (c - (w - 1) / 2))
            column[step * r + c] = right + F(m[3] * (c - (w - 1) / 2))
    if elastic:
        draw(scratch, 2 * h * w, np.uint64(sample), np.uint64(epoch), np.uint64(purpose), np.uint64(seed))
        smooth(scratch, h, w, step, at_rows, at_columns, half, rows)
        smooth(scratch + FLOAT * h * w, h, w, step, at_rows, at_columns, half, columns)
    for r in range(h):
        at = FLOAT * step * r
        read_places(padded, across, rows + at, columns + at, h, w, at_out, (i * h + r) * w, to_bytes)


@part
def move_some(thread, threads, at_state, count, at_x, from_bytes, at_out, to_bytes, h, w, at_samples, at_maps,  # type: ignore[no-untyped-def]
              elastic, at_rows, at_columns, seed, epoch, purpose, at_scratch, room):  # fmt: skip
    """Thread `thread` of `threads` moves some of `count` images."""
    samples, scratch = words(at_samples), at_scratch + FLOAT * room * thread
    for turn in range(threads):
        while True:
            first, last = claim(at_state, (thread + turn) % threads, threads, np.int64(0), count)
            if last == 0:
                break
            for i in range(first, last):
                move(i, at_x, from_bytes, at_out, to_bytes, h, w, samples[i], at_maps + 8 * 6 * i, elastic, at_rows,
                     at_columns, seed, epoch, purpose, scratch)  # fmt: skip


def make(stamp: int, cache: bool):  # type: ignore[no-untyped-def]
    """Compile the kernel; see `fastnn.kernels.fused.make`."""

    @kernel(cache)
    def run(at_call: int, number: int) -> int:
        """A thread's part of a call (kernels/calls.py): of `move_some`."""
        if not may_begin(at_call, number):
            return MISSED
        call, given = words(at_call), words(at_call + 8 * ARGUMENTS)
        move_some(call[THREAD], call[THREADS], given[0], given[1], given[2], given[3], given[4], given[5], given[6],
                  given[7], given[8], given[9], given[10], given[11], given[12], given[13], given[14], given[15],
                  given[16], given[17])  # fmt: skip
        leave(at_call)
        return stamp

    return run


def _first_call(kernel: Any) -> None:
    state = aligned_zeros(state_words(1), np.int32)
    team.alone(kernel, 0, 1, (state.ctypes.data, *([0] * 17)))


def warm() -> launch.Compilation:
    """Compile the kernel, or fetch it from the cache; at once if this process has it already."""
    return launch.compiled(make, _first_call)[1]


def warp(
    X: np.ndarray,
    out: np.ndarray,
    samples: np.ndarray,
    image: tuple[int, int],
    maps: np.ndarray,
    smoothing: tuple[np.ndarray, np.ndarray] | None,
    seed: int,
    epoch: int,
    purpose: int,
    threads: int,
) -> None:
    """Move the pixels of images.

    Parameters
    ----------
    X : uint8 or float32 array (B, I), C-contiguous
    out : uint8 or float32 array (B, I), C-contiguous
        Where the images go; bytes are rounded.
    samples : int array (B,)
    image : (int, int)
        h and w.
    maps : float64 array (B, 6)
        Of coordinates from the centre: where each place comes from, a matrix by rows, and an offset.
    smoothing : (float32 array (h, h), float32 array (w, w)) or None
        What the random displacements are multiplied by from the left and from the right; None: there are none.
    seed, epoch, purpose : int
        What the draw depends on.
    threads : int
    """
    kernel, _ = launch.compiled(make, _first_call)
    (h, w), step = image, -(-image[1] // LANES) * LANES
    along_rows, along_columns = (np.zeros((h, h)), np.zeros((w, w))) if smoothing is None else smoothing
    rows = np.ascontiguousarray(along_rows, np.float32)
    columns = np.zeros((w, step), np.float32)
    columns[:, :w] = along_columns
    room = -(-(2 * h * w + 4 + step + 2 * h * step + (h + 3) * (w + 3)) // LANES) * LANES + LANES
    scratch = aligned_zeros(threads * room)
    samples, maps = np.ascontiguousarray(samples, np.int64), np.ascontiguousarray(maps, np.float64)
    state = aligned_zeros(state_words(threads), np.int32)
    arguments = (
        *(state.ctypes.data, len(X), X.ctypes.data, X.dtype == np.uint8, out.ctypes.data, out.dtype == np.uint8, h, w),
        *(samples.ctypes.data, maps.ctypes.data, smoothing is not None, rows.ctypes.data, columns.ctypes.data),
        *(int(np.uint64(seed).view(np.int64)), epoch, purpose, scratch.ctypes.data, room),
    )
    team.in_threads(kernel, threads, tuple(int(argument) for argument in arguments), state)
