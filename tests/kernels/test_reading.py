"""Lists of the values that are not zero: each form of `list_values` against NumPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from fastnn.kernels.families import whole
from fastnn.kernels.reading import ALIKE, BYTES, CHUNK, FLOATS, list_values


@pytest.fixture(scope="module")
def run():
    @njit
    def call(kind: int, x: int, scale: int, first: int, last: int, index: int, value: int, start: int) -> None:
        whole()
        list_values(kind, x, x, scale, first, last, index, value, start)

    return call


@pytest.mark.parametrize("kind", [BYTES, FLOATS, ALIKE])
@given(
    st.one_of(st.integers(1, 200), st.integers(CHUNK - 70, CHUNK + 70)),
    st.floats(0, 1),
    st.integers(0, 2**32 - 1),
    st.data(),
)
@settings(max_examples=60, deadline=None)
def test_values_are_listed_with_their_columns(run, kind, inputs, density, seed, data):
    rng = np.random.default_rng(seed)
    row = rng.integers(1, 256, inputs) * (rng.random(inputs) < density)
    x = row.astype(np.float32 if kind == FLOATS else np.uint8)
    scale = np.full(inputs + 1, 0.3, np.float32) if kind == ALIKE else rng.random(inputs, np.float32)
    first = data.draw(st.integers(0, inputs))
    last = data.draw(st.integers(first, inputs))
    before, room = 3, np.count_nonzero(row) + 64
    index, value = np.full(room, -1, np.int32), np.full(room, -1, np.float32)
    start = np.array([before, -1], np.int32)
    run(kind, *(a.ctypes.data for a in (x, scale)), first, last, *(a.ctypes.data for a in (index, value, start)))
    columns = first + np.flatnonzero(row[first:last])
    assert start.tolist() == [before, before + len(columns)]
    np.testing.assert_array_equal(index[before : start[1]], columns)
    np.testing.assert_array_equal(value[before : start[1]], row[columns].astype(np.float32) * scale[columns])
    for listed in (index, value):
        assert (listed[:before] == -1).all()
        assert (listed[start[1] + 16 :] == -1).all()


@pytest.mark.parametrize("kind", [BYTES, ALIKE])
def test_nothing_behind_the_last_row_is_read_into_the_lists(run, kind):
    """What follows a row in memory are the next one's values."""
    x, scale = np.full(300, 9, np.uint8), np.ones(70, np.float32)
    index, value, start = np.zeros(90, np.int32), np.zeros(90, np.float32), np.zeros(2, np.int32)
    run(kind, *(a.ctypes.data for a in (x, scale)), 0, 70, *(a.ctypes.data for a in (index, value, start)))
    assert start[1] == 70
