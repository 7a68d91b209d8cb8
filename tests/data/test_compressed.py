"""Sparse matrices: kept as they are, and trained on, predicted from and judged as the same values in an array."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn import MLP, Augment, Dense, Dropout, Input
from fastnn.data.compressed import Compressed
from fastnn.errors import DataError

sparse = pytest.importorskip("scipy.sparse")


def matrix(rows, columns, density, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.random((rows, columns)) * (rng.random((rows, columns)) < density)).astype(np.float32)


@pytest.mark.parametrize("form", ["csr_array", "csr_matrix", "csc_array", "coo_array", "lil_array"])
def test_any_form_becomes_rows(form):
    X = matrix(20, 7, 0.3)
    rows = Compressed.of(getattr(sparse, form)(X))
    np.testing.assert_array_equal(rows.dense(), X)
    assert (rows.shape, rows.dtype, len(rows)) == (X.shape, np.float32, 20)
    assert rows.density == pytest.approx((X != 0).mean())
    assert rows.longest == (X != 0).sum(axis=1).max()


def test_values_of_one_place_are_added_and_the_matrix_stays_as_it_was():
    given = sparse.csr_array((np.float32([1, 2, 4]), [3, 1, 3], [0, 3]), shape=(1, 5))
    assert Compressed.of(given).dense().tolist() == [[0, 2, 0, 5, 0]]
    assert given.indices.tolist() == [3, 1, 3]


@given(st.integers(0, 12), st.integers(1, 9), st.floats(0, 1), st.integers(0, 2**31), st.data())
@settings(max_examples=80)
def test_chosen_rows_are_those_rows(rows, columns, density, seed, data):
    X = matrix(rows, columns, density, seed)
    found, chosen = Compressed.of(sparse.csr_array(X)), slice(None, None, 2)
    if rows:
        chosen = np.array(data.draw(st.lists(st.integers(0, rows - 1), max_size=15)), np.int64)
    np.testing.assert_array_equal(found[chosen].dense(), X[chosen])
    np.testing.assert_array_equal(found.take(chosen), X[chosen])
    if found.values.size:
        assert X[found.row_of(0)].any()


@pytest.mark.parametrize("widths", [(700, 16, 3), (700, 200, 3), (40, 5, 2)])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_fit_on_it_is_the_fit_on_the_array_to_the_bit(widths, threads):
    X, y = matrix(300, widths[0], 0.05), np.arange(300) % widths[-1]
    nets = [
        MLP(
            [
                Input(widths[0], scale=np.linspace(1, 2, widths[0]).tolist()),
                *map(Dense, widths[1:-1]),
                Dense(widths[-1], "softmax"),
            ]
        )
        for _ in range(2)
    ]
    for net, data in zip(nets, (X, sparse.csr_array(X)), strict=True):
        net.fit(data, y, epochs=2, batch_size=32, threads=threads, optimizer="adam", validation=(data, y))
    np.testing.assert_array_equal(nets[0].flat, nets[1].flat)
    np.testing.assert_array_equal(nets[0].predict_proba(X), nets[1].predict_proba(sparse.csr_array(X)))
    assert nets[0].evaluate(X, y) == nets[1].evaluate(sparse.csr_array(X), y)


@pytest.mark.parametrize("backend", ["fused", "reference"])
def test_gradients_are_those_of_the_array_even_if_nothing_is_zero(backend):
    X, y = matrix(90, 30, 1.0), np.arange(90) % 4
    net = MLP.from_sizes([30, 20, 4])
    for found, exact in zip(
        net.gradients(sparse.csr_array(X), y, backend=backend), net.gradients(X, y, backend="reference"), strict=True
    ):
        for one, other in zip(found, exact, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)  # sums of 90 products below 1


def test_a_matrix_too_wide_for_an_array_is_trained_on():
    rows, width = 2000, 200_000
    rng = np.random.default_rng(0)
    columns = rng.integers(0, width, (rows, 20))
    y = columns.min(axis=1) < width // 40
    starts = np.arange(0, 20 * rows + 1, 20)
    X = sparse.csr_array((np.ones(20 * rows, np.float32), columns.ravel(), starts), shape=(rows, width))
    net = MLP([Input(width), Dense(8, "relu"), Dense(2, "softmax")])
    history = net.fit(X, y.astype(int), epochs=8, batch_size=50, optimizer="adam")
    assert history["loss"][-1] < 0.5 * history["loss"][0]


@pytest.mark.parametrize(
    "layers", [[Input(9, shift=0.5), Dense(2, "softmax")], [Input(9), Dropout(0.2), Dense(2, "softmax")]]
)
def test_where_zeros_do_not_stay_zeros_all_values_are_taken(layers):
    X, y = matrix(50, 9, 0.3), np.arange(50) % 2
    nets = [MLP(layers) for _ in range(2)]
    for net, data in zip(nets, (X, sparse.csr_array(X)), strict=True):
        net.fit(data, y, epochs=1)
    np.testing.assert_array_equal(nets[0].flat, nets[1].flat)


def test_what_cannot_be_used_is_named():
    net, X = MLP.from_sizes([4, 2]), sparse.csr_array(np.float32([[0, 0, 1, 0], [0, np.nan, 0, 1]]))
    with pytest.raises(DataError, match="X holds nan at row 1, column 1"):
        net.predict(X)
    with pytest.raises(DataError, match=r"X has the shape \(2, 3\); this network takes \(N, 4\)"):
        net.predict(X[:, :3])
    with pytest.raises(DataError, match="cannot be augmented"):
        net.fit(X[:1], [0], augment=Augment(noise=1.0))


@pytest.mark.parametrize("column", [-1, -(2**30), 4, 2**40])
@pytest.mark.parametrize("backend", ["fused", "reference"])
def test_columns_that_are_not_there_are_refused(column, backend):
    X = sparse.csr_array(np.float32([[0, 0, 1, 0], [0, 2, 0, 1]]))
    X.indices = X.indices.astype(np.int64)
    X.indices[1] = column
    with pytest.raises(DataError, match="damaged sparse matrix"):
        MLP.from_sizes([4, 2]).outputs(X, backend)


def test_complex_values_are_refused():
    with pytest.raises(DataError, match="complex"):
        MLP.from_sizes([4, 2]).predict(sparse.csr_array(np.ones((2, 4), complex)))


def test_a_prediction_does_not_depend_on_those_before():
    net, full, few = MLP.from_sizes([500, 64, 3]), matrix(300, 500, 1.0), matrix(300, 500, 0.02)
    before = net.predict_proba(full)
    net.predict_proba(few)
    np.testing.assert_array_equal(net.predict_proba(full), before)
