import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastnn.data import Dataset, fit_scale, one_hot, shuffle, split, split_rows
from fastnn.data.split import SLICE
from fastnn.errors import ConfigError, DataError
from fastnn.layers import Input


def numbered(count):
    rows = np.arange(count)
    return Dataset(np.stack([rows, rows % 7], axis=1).astype(np.uint8), rows % 3, ("a", "b", "c"), (1, 2))


@given(count=st.integers(2, 200), fraction=st.floats(0.001, 0.999), seed=st.integers(0, 2**64 - 1))
def test_split_divides_the_rows(count, fraction, seed):
    rest, part = split_rows(count, fraction, seed)
    np.testing.assert_array_equal(np.sort(np.concatenate([rest, part])), np.arange(count))
    np.testing.assert_array_equal(rest, np.sort(rest))
    np.testing.assert_array_equal(part, np.sort(part))
    assert len(rest) >= 1
    assert len(part) >= 1
    assert abs(len(part) - count * fraction) <= 1


def test_split_keeps_type_classes_and_picture():
    rest, part = split(numbered(100), 0.25, 3)
    assert (len(rest), len(part)) == (75, 25)
    for dataset in (rest, part):
        assert dataset.X.dtype == np.uint8
        assert dataset.X.flags.c_contiguous
        assert dataset.classes == ("a", "b", "c")
        assert dataset.image == (1, 2)
        np.testing.assert_array_equal(dataset.X[:, 0] % 3, dataset.y)


def test_split_depends_on_the_seed_alone():
    parts = [split(numbered(100), 0.25, seed)[1].X[:, 0].tolist() for seed in (3, 3, 4)]
    assert parts[0] == parts[1] != parts[2]
    assert parts[0] != list(range(25))


@pytest.mark.parametrize("count", [2, 100, 3 * SLICE // 2])  # the last is moved in several pieces
def test_split_may_reuse_the_memory(count):
    data, kept = numbered(count), split(numbered(count), 0.25, 3)
    for found, expected in zip(split(data, 0.25, 3, reuse=True), kept, strict=True):
        np.testing.assert_array_equal(found.X, expected.X)
        np.testing.assert_array_equal(found.y, expected.y)
        assert (found.X.flags.c_contiguous, found.classes, found.image) == (True, expected.classes, expected.image)
    assert np.shares_memory(split(data, 0.25, 3, reuse=True)[0].X, data.X)


def test_split_copies_what_cannot_be_written_to_and_what_it_may_not_spoil():
    data = numbered(100)
    assert not np.shares_memory(split(data, 0.25, 3)[0].X, data.X)
    data.X.flags.writeable = False
    np.testing.assert_array_equal(split(data, 0.25, 3, reuse=True)[0].X, split(data, 0.25, 3)[0].X)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_split_refuses_a_fraction_that_leaves_nothing(fraction):
    with pytest.raises(ConfigError, match="between 0 and 1"):
        split(numbered(10), fraction, 0)


def test_a_single_row_cannot_be_split():
    with pytest.raises(DataError, match="1 rows cannot be divided"):
        split(numbered(1), 0.5, 0)


def test_shuffle():
    data = numbered(100)
    one, two, other = shuffle(data, 0), shuffle(data, 0), shuffle(data, 1)
    assert one.X[:, 0].tolist() == two.X[:, 0].tolist() != other.X[:, 0].tolist()
    assert sorted(one.X[:, 0].tolist()) == list(range(100)) != one.X[:, 0].tolist()
    np.testing.assert_array_equal(one.X[:, 0] % 3, one.y)


def test_one_hot():
    np.testing.assert_array_equal(one_hot(np.array([2, 0]), 3), [[0, 0, 1], [1, 0, 0]])
    assert one_hot(np.array([1]), 2).dtype == np.float32
    assert one_hot(np.array([1]), 2, np.float64).dtype == np.float64
    assert one_hot(np.array([], int), 2).shape == (0, 2)
    for y in ([0, 3], [-1, 0]):
        with pytest.raises(DataError, match=r"0\.\.2"):
            one_hot(np.array(y), 3)


BYTES = np.array([[0, 7, 100], [10, 7, 200], [20, 7, 255]], np.uint8)
FLOATS = np.array([[0, 0.1, -5], [1, 0.1, 1e6], [2, 0.1, 3]], np.float32)


@pytest.mark.parametrize(
    ("X", "how", "expected"),
    [
        (BYTES, "auto", (1 / 255, 0)),
        (BYTES, "none", (1, 0)),
        (FLOATS, "255", (1 / 255, 0)),
        (FLOATS[:, :1] / 2, "auto", (1, 0)),
        (BYTES % 2, "auto", (1, 0)),  # bytes, but no pixels
    ],
)
def test_one_scale_for_all(X, how, expected):
    assert fit_scale(X, how) == expected


def test_bytes_that_are_no_pixels_are_standardised():
    counts = np.array([[1, 0], [3, 20]], np.uint8)
    scale, shift = fit_scale(counts, "auto")
    np.testing.assert_allclose(counts * scale + shift, [[-1, -1], [1, 1]])


@pytest.mark.parametrize("X", [BYTES, FLOATS, np.tile(FLOATS, (1000, 1))])
def test_minmax(X):
    scale, shift = fit_scale(X, "minmax")
    scaled = X * scale + shift
    np.testing.assert_allclose(scaled.min(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(scaled.max(axis=0), [1, 0, 1])
    assert Input(3, scale, shift).scale == tuple(scale)


@pytest.mark.parametrize("how", ["standard", "auto"])
@pytest.mark.parametrize("X", [FLOATS, FLOATS / 1e7, np.tile(FLOATS, (1000, 1)) + np.float32(10)])
def test_standard(X, how):
    scale, shift = fit_scale(X, how)
    scaled = X * scale + shift
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(scaled.std(axis=0), [1, 0, 1], atol=1e-9)
    assert Input(3, scale, shift).shift == tuple(shift)


@pytest.mark.parametrize("how", ["standard", "minmax"])
@pytest.mark.parametrize("value", [0, 0.1, -3e38, 1e-40])
def test_a_constant_feature_is_silenced(how, value):
    for dtype in (np.float32, np.float64):  # in float64 the mean of a constant is rounded
        scale, shift = fit_scale(np.full((1001, 1), value, dtype), how)
        assert scale.tolist() == shift.tolist() == [0]


@pytest.mark.parametrize("how", ["standard", "minmax"])
def test_scales_are_float32(how):
    scale, shift = fit_scale(np.array([[0, 3e38], [1e-45, -3e38]], np.float32), how)
    assert np.isfinite(scale.astype(np.float32)).all()
    assert np.isfinite(shift.astype(np.float32)).all()


def test_scaling_is_fitted_in_slices():
    X = np.arange(2**24, dtype=np.uint8).reshape(-1, 64)
    expected = 1 / X[:, 0].std()
    tracemalloc.start()
    try:
        scale, _ = fit_scale(X, "standard")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * 8 * 2**20  # float64 slices of 2**20 values, while all of X would be 128 MB
    np.testing.assert_allclose(scale[0], expected)


def test_an_unknown_scale():
    with pytest.raises(ConfigError, match="choose one of auto, none, 255, minmax, standard"):
        fit_scale(BYTES, "log")
