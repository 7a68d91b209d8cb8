"""The values that are not zero, row by row and by columns: each form against NumPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from fastnn.kernels.families import whole
from fastnn.kernels.listing import CHUNK, COMPRESSED, MOST_SORTED, list_values, sort_columns
from fastnn.kernels.reading import ALIKE, BYTES, FLOATS


@pytest.fixture(scope="module")
def run():
    @njit
    def call(kind: int, x: int, scale: int, first: int, last: int, pairs: int, start: int) -> None:
        whole()
        list_values(kind, x, x, scale, first, last, pairs, start)

    return call


@pytest.mark.parametrize("kind", [BYTES, FLOATS, ALIKE])
@given(
    st.one_of(st.integers(1, 200), st.integers(CHUNK - 70, CHUNK + 70)),
    st.floats(0, 1),
    st.integers(0, 2**32 - 1),
    st.data(),
)
@settings(max_examples=60)
def test_values_are_listed_with_their_columns(run, kind, inputs, density, seed, data):
    rng = np.random.default_rng(seed)
    row = rng.integers(1, 256, inputs) * (rng.random(inputs) < density)
    x = row.astype(np.float32 if kind == FLOATS else np.uint8)
    scale = np.full(inputs + 1, 0.3, np.float32) if kind == ALIKE else rng.random(inputs, np.float32)
    first = data.draw(st.integers(0, inputs))
    last = data.draw(st.integers(first, inputs))
    before, room = 3, np.count_nonzero(row) + 64
    pairs, start = np.full((room, 2), -1, np.int32), np.array([before, -1], np.int32)
    run(kind, *(a.ctypes.data for a in (x, scale)), first, last, *(a.ctypes.data for a in (pairs, start)))
    columns = first + np.flatnonzero(row[first:last])
    assert start.tolist() == [before, before + len(columns)]
    index, value = pairs[before : start[1]].T
    np.testing.assert_array_equal(index, columns)
    np.testing.assert_array_equal(value.copy().view(np.float32), row[columns].astype(np.float32) * scale[columns])
    assert (pairs[:before] == -1).all()
    assert (pairs[start[1] + 16 :] == -1).all()


@pytest.mark.parametrize("kind", [BYTES, ALIKE])
def test_nothing_behind_the_last_row_is_read_into_the_lists(run, kind):
    """What follows a row in memory are the next one's values."""
    x, scale = np.full(300, 9, np.uint8), np.ones(70, np.float32)
    pairs, start = np.zeros((90, 2), np.int32), np.zeros(2, np.int32)
    run(kind, *(a.ctypes.data for a in (x, scale)), 0, 70, *(a.ctypes.data for a in (pairs, start)))
    assert start[1] == 70


@pytest.fixture(scope="module")
def sort():
    @njit
    def call(x: int, order: int, samples: int, scale: int, inputs: int, pairs: int, bounds: int) -> None:
        whole()
        sort_columns(1, x, order, samples, scale, inputs, pairs, bounds)

    return call


@pytest.mark.skipif(not COMPRESSED, reason="this CPU does not move the bytes that a mask names: lists are sorted")
@given(
    st.one_of(st.integers(1, 40), st.sampled_from([63, 64, 65, 100, MOST_SORTED - 1, MOST_SORTED])),
    st.integers(1, 200),
    st.floats(0, 1),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=60)
def test_values_of_a_batch_are_sorted_by_columns(sort, samples, inputs, density, seed):
    rng = np.random.default_rng(seed)
    x = (rng.integers(1, 256, (300, inputs)) * (rng.random((300, inputs)) < density)).astype(np.uint8)
    order, scale = rng.permutation(300)[:samples], np.full(inputs, 0.3, np.float32)
    batch = x[order]
    total = np.count_nonzero(batch)
    pairs, bounds = np.full((total + 64, 2), -1, np.int32), np.full(inputs + 2, -1, np.int32)
    sort(x.ctypes.data, order.ctypes.data, samples, scale.ctypes.data, inputs, pairs.ctypes.data, bounds.ctypes.data)
    assert bounds.tolist() == [0, *np.count_nonzero(batch, axis=0).cumsum().tolist(), -1]
    column, sample = np.nonzero(batch.T)
    np.testing.assert_array_equal(pairs[:total, 0], sample)
    values = pairs[:total, 1].copy().view(np.float32)
    np.testing.assert_array_equal(values, batch[sample, column].astype(np.float32) * scale[0])
    assert (pairs[total + 16 :] == -1).all()
