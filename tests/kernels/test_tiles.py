"""Dense tiles of each size, one panel wide and two, against NumPy: every stride is another; with a start or none."""

import numpy as np
import pytest
from numba import njit

from fastnn.kernels.cost import FEW_OUTPUTS
from fastnn.kernels.dense import next_height, tile_size
from fastnn.kernels.families import whole
from fastnn.kernels.lanes import dots
from fastnn.kernels.simd import (
    FETCHING_ROWS,
    TILE_ROWS,
    WIDE_ROWS,
    WIDE_UNITS,
    WIDTH,
    heights,
    tile_by_samples,
    tile_by_units,
    tile_descent,
    tile_fetching,
    wide_heights,
)
from fastnn.layers import LANES as PANEL

DEPTHS = [1, 16, 37]
STARTED = pytest.mark.parametrize("started", [True, False])
ROOM = 2**13


@pytest.fixture(scope="module")
def run():
    @njit
    def call(kind, rows, panels, a, jump, w, stride, across, depth, start, step, start_jump, c, c_jump, f, rate):
        whole()
        size = tile_size(rows, panels)
        if kind == "samples":
            tile_by_samples(size, a, jump, w, stride, across, depth, start, step, start_jump, c, c_jump, f, rate)
        elif kind == "fetching":  # what it fetches is W itself
            tile_fetching(size, a, jump, w, stride, across, depth, start, step, start_jump, c, c_jump, f, rate, w,
                          stride)  # fmt: skip
        elif kind == "units":
            tile_by_units(size, a, w, across, depth, start, step, start_jump, c, stride, c_jump)
        else:
            tile_descent(size, a, w, across, depth, start, step, start_jump, c, stride, c_jump, rate)

    return call


@pytest.fixture(scope="module")
def run_lanes():
    @njit
    def call(outputs, a, jump, w, panels, samples, c):
        whole()
        dots(outputs, a, jump, w, panels, samples, c)

    return call


BY_SAMPLES = [*((rows, 1) for rows in heights(TILE_ROWS)), *((rows, 2) for rows in wide_heights(WIDE_ROWS))]


def rows_at(buffer, rows, step, panels, jump):
    """Rows of 16 floats, `step` apart, of panels `jump` apart (panels, rows, 16), as they stand in a buffer."""
    shape = panels, rows, PANEL
    return np.lib.stride_tricks.as_strided(buffer, shape, (4 * jump, 4 * step, 4))


def addresses(*arrays, started=True):
    """Where arrays begin, the third of which is a start; 0 for it if there is none. It then is zeros, for NumPy."""
    found = [array.ctypes.data for array in arrays]
    if not started:
        arrays[2][:] = found[2] = 0
    return found


def close(found, expected, depth):
    # sums of depth + 1 terms below 1, each rounded by half a unit in the last place of at most depth + 1
    np.testing.assert_allclose(found, expected, rtol=0, atol=2.0**-24 * (depth + 1) ** 2)


@pytest.fixture
def memory():
    rng = np.random.default_rng(0)
    return [rng.random(ROOM, np.float32) for _ in range(4)]


FETCHING = [(rows, WIDTH) for rows in range(FETCHING_ROWS, (WIDE_ROWS or TILE_ROWS) + 1)]


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("kind", ["samples", "fetching"])
@pytest.mark.parametrize("least", [-np.inf, 3.0])
@STARTED
def test_tiles_by_samples(run, memory, kind, least, depth, started):
    for rows, panels in BY_SAMPLES if kind == "samples" else FETCHING:
        a, w, start, c = (array.copy() for array in memory)
        jump, stride, across, step, start_jump, c_jump = 400, 48, 2000, 19, 700, 900
        at = addresses(a, w, start, c, started=started)
        run(kind, rows, panels, at[0], jump, at[1], stride, across, depth, at[2], step, start_jump, at[3], c_jump, 0,
            np.float32(least))  # fmt: skip
        k = np.arange(depth)
        left = a[k // PANEL * jump + k % PANEL + PANEL * np.arange(rows)[:, None]]  # (rows, depth)
        expected = rows_at(start, rows, step, panels, start_jump) + left @ rows_at(w, depth, stride, panels, across)
        others = memory[3].copy()
        rows_at(others, rows, PANEL, panels, c_jump)[:] = rows_at(c, rows, PANEL, panels, c_jump)
        close(rows_at(c, rows, PANEL, panels, c_jump), np.maximum(expected, least), depth)
        np.testing.assert_array_equal(c, others)


@pytest.mark.parametrize("panels", range(1, WIDTH + 1))
def test_any_number_of_samples_is_shared_out_in_tiles_that_there_are(panels):
    @njit
    def following(rows, panels):
        return next_height(rows, panels)

    found = {rows for rows, other in BY_SAMPLES if other == panels}
    for samples in range(1, 100):
        left, taken = samples, []
        while left > 0:
            taken.append(following(left, panels))
            left -= taken[-1]
        assert left == 0
        assert set(taken) <= found
        most = max(found)
        if panels == 2 and samples > WIDE_ROWS // 2:  # the fewest that can be, and nearly as high as each other
            assert len(taken) == -(-samples // most)
            assert max(taken) - min(taken) <= 1
        else:  # besides the highest no two of a height
            assert taken == sorted(taken, reverse=True)
            assert len([height for height in taken if height < most]) == len({*taken} - {most})


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("rectified", [True, False])
@STARTED
def test_factors_on_the_way_back(run, memory, rectified, in_place, started):
    for rows, panels in BY_SAMPLES:
        a, w, start, c = (array.copy() for array in memory)
        factors = c if in_place else start.copy()
        factors[::3] *= -1
        factors[::7] = 0
        before, depth, c_jump = rows_at(factors, rows, PANEL, panels, 900).copy(), 37, 900
        others = c.copy()
        at = addresses(a, w, start, c, started=started)
        run("samples", rows, panels, at[0], 400, at[1], 48, 2000, depth, at[2], 19, 700, at[3], c_jump,
            factors.ctypes.data, np.float32(0 if rectified else -np.inf))  # fmt: skip
        k = np.arange(depth)
        left = a[k // PANEL * 400 + k % PANEL + PANEL * np.arange(rows)[:, None]]
        sums = rows_at(start, rows, 19, panels, 700) + left @ rows_at(w, depth, 48, panels, 2000)
        # a factor below 1 adds no more to the error than one rounding
        close(rows_at(c, rows, PANEL, panels, c_jump), sums * (before > 0 if rectified else before), depth + 1)
        rows_at(others, rows, PANEL, panels, c_jump)[:] = rows_at(c, rows, PANEL, panels, c_jump)
        np.testing.assert_array_equal(c, others)


@pytest.mark.parametrize("factors", [None, 0.0, 1.0])
def test_a_tile_hides_no_nan(run, memory, factors):
    a, w, start, c = (array.copy() for array in memory)
    start[0] = np.nan
    f = np.full(ROOM, factors, np.float32)
    run("samples", 2, 1, a.ctypes.data, 400, w.ctypes.data, 48, 2000, 1, start.ctypes.data, 16, 0, c.ctypes.data, 0,
        0 if factors is None else f.ctypes.data, np.float32(0))  # fmt: skip
    assert np.isnan(c[0])
    assert np.isfinite(c[1:]).all()


@pytest.mark.parametrize("depth", DEPTHS)
@STARTED
def test_tiles_by_units(run, memory, depth, started):
    for rows, panels in [*((m, 1) for m in heights(TILE_ROWS)), *((m, 2) for m in heights(WIDE_UNITS))]:
        a, d, start, c = (array.copy() for array in memory)
        at = addresses(a, d, start, c, started=started)
        jump, step, start_jump, c_step, c_jump = 1000, 19, 700, 33, 900
        run("units", rows, panels, at[0], 0, at[1], c_step, jump, depth, at[2], step, start_jump, at[3], c_jump, 0,
            np.float32(0))  # fmt: skip
        left = a[: PANEL * depth].reshape(depth, PANEL)[:, :rows].T
        before = rows_at(start, rows, step, panels, start_jump)
        others = memory[3].copy()
        rows_at(others, rows, c_step, panels, c_jump)[:] = rows_at(c, rows, c_step, panels, c_jump)
        close(rows_at(c, rows, c_step, panels, c_jump), before + left @ rows_at(d, depth, PANEL, panels, jump), depth)
        np.testing.assert_array_equal(c, others)


@pytest.mark.parametrize("outputs", range(1, FEW_OUTPUTS + 1))
def test_sums_in_lanes(run_lanes, memory, outputs):
    """Of any number of samples, whose rows alone are written; and each is the same in whatever company."""
    a, w, _, whole = (array.copy() for array in memory)
    jump, panels = 400, 3
    left = np.concatenate([a[p * jump :][: PANEL * 20].reshape(20, PANEL) for p in range(panels)], axis=1)
    weights = w[: panels * PANEL * PANEL].reshape(panels, PANEL, PANEL)[:, :outputs]
    expected = left @ weights.transpose(0, 2, 1).reshape(panels * PANEL, outputs)
    run_lanes(outputs, a.ctypes.data, jump, w.ctypes.data, panels, 20, whole.ctypes.data)
    for samples in range(1, 20):
        c = memory[3].copy()
        run_lanes(outputs, a.ctypes.data, jump, w.ctypes.data, panels, samples, c.ctypes.data)
        rows = c[: PANEL * samples].reshape(samples, PANEL)
        close(rows[:, :outputs], expected[:samples], panels * PANEL)
        assert not rows[:, outputs:].any()
        np.testing.assert_array_equal(c[: PANEL * samples], whole[: PANEL * samples])
        np.testing.assert_array_equal(c[PANEL * samples :], memory[3][PANEL * samples :])


@pytest.mark.skipif(TILE_ROWS < PANEL, reason="no tile has a whole panel of units")
@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("panels", range(1, WIDTH + 1))
@STARTED
def test_tiles_that_descend(run, memory, panels, depth, started):
    rows, rate = PANEL if panels == 1 else WIDE_UNITS, 0.25
    a, d, start, w = (array.copy() for array in memory)
    at = addresses(a, d, start, w, started=started)
    jump, step, start_jump, stride, across = 1000, 21, 500, 50, 3000
    run("descent", rows, panels, at[0], 0, at[1], stride, jump, depth, at[2], step, start_jump, at[3], across, 0,
        np.float32(rate))  # fmt: skip
    left = a[: PANEL * depth].reshape(depth, PANEL)[:, :rows].T
    sums = rows_at(start, rows, step, panels, start_jump) + left @ rows_at(d, depth, PANEL, panels, jump)
    others = memory[3].copy()
    rows_at(others, rows, stride, panels, across)[:] = rows_at(w, rows, stride, panels, across)
    before = rows_at(memory[3], rows, stride, panels, across)
    close(rows_at(w, rows, stride, panels, across), before - rate * sums, depth)
    np.testing.assert_array_equal(w, others)
