"""gradcheck must pass what is right, and fail what is wrong in either backend."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fastnn import gradcheck, kernels
from fastnn.errors import DataError
from fastnn.kernels import functions, reference
from fastnn.layers import Dense, Dropout, Input
from fastnn.network import Network
from fastnn.optimizers import OPTIMIZERS
from tests.cases import OUTPUTS

DIFFERENCES, FUSED = "reference against differences", "fused against reference"
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(50, 6)).astype(np.float32), RNG.integers(3, size=50)


def network(hidden: str = "tanh", output: str = "softmax", loss: str = "cross_entropy", **settings: Any) -> Network:
    return Network([Input(6, 0.5, 0.1), Dense(9, hidden), Dropout(0.25), Dense(3, output)], loss, **settings)


def check(net: Network, **settings: Any) -> list[gradcheck.Row]:
    return gradcheck.check(net, X, Y, samples=12, parameters=20, threads=1, **settings)


@pytest.mark.parametrize("hidden", ["identity", "relu", "leaky_relu", "elu", "elu(0.4)", "gelu", "softplus"])
@pytest.mark.parametrize(("output", "loss"), OUTPUTS)
def test_right_gradients_pass(output: str, loss: str, hidden: str) -> None:
    rows = check(network(hidden, output, loss), label_smoothing=0.1)
    names = [(row.comparison, row.layer, row.parameter) for row in rows]
    assert names == [(c, n, p) for c in (DIFFERENCES, FUSED) for n in (0, 1) for p in ("weight", "bias")]
    for row in rows:
        assert row.passed, row
        assert row.bound < (1e-5 if row.comparison == FUSED else 1e-6)  # else it would pass anything
        assert row.checked >= 3
    assert sum(row.checked for row in rows if row.comparison == FUSED) == 6 * 9 + 9 + 9 * 3 + 3


def test_sample_weights_and_raw_bytes_pass() -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(256, size=(50, 6)).astype(np.uint8)
    net = Network([Input(6), Dropout(0.2), Dense(9, "sigmoid"), Dense(3, "softmax")])  # not even scaled
    assert all(row.passed for row in gradcheck.check(net, pixels, Y, rng.integers(3, size=50), threads=2))


@pytest.mark.parametrize("scale", [1 - 1e-3, 1 + 1e-4])
@pytest.mark.parametrize(("layer", "parameter"), [(0, "weight"), (0, "bias"), (1, "weight"), (1, "bias")])
@pytest.mark.parametrize("comparison", [DIFFERENCES, FUSED])
def test_a_wrong_gradient_fails_where_it_is_wrong(
    monkeypatch: pytest.MonkeyPatch, comparison: str, layer: int, parameter: str, scale: float
) -> None:
    backend = reference if comparison == DIFFERENCES else kernels.backend("fused")
    net, right = network(), backend.gradients

    def wrong(job: Any, rows: np.ndarray, epoch: int = 0) -> Any:
        totals, gradient = right(job, rows, epoch)
        net.architecture.views(gradient)[layer][parameter == "bias"][...] *= scale
        return totals, gradient

    monkeypatch.setattr(backend, "gradients", wrong)
    failed = [(row.comparison, row.layer, row.parameter) for row in check(net) if not row.passed]
    assert (comparison, layer, parameter) in failed
    assert {(n, p) for _, n, p in failed} == {(layer, parameter)}


@pytest.mark.parametrize(
    "mistake",
    [
        lambda z, alpha: 1 - np.tanh(z),  # forgets the square
        lambda z, alpha: np.ones_like(z),  # forgets the derivative
    ],
)
def test_a_wrong_derivative_fails(monkeypatch: pytest.MonkeyPatch, mistake: Callable[..., np.ndarray]) -> None:
    monkeypatch.setitem(functions.ACTIVATIONS, "tanh", (lambda z, alpha: np.tanh(z), mistake))
    passed = {(row.comparison, row.layer): row.passed for row in check(network("tanh")) if row.parameter == "weight"}
    assert not passed[DIFFERENCES, 0]
    assert passed[DIFFERENCES, 1]  # the layer above does not use it


def test_kinks_are_kept_away_from() -> None:
    """All-zero samples and zero biases: half of the data stand exactly where relu has no derivative."""
    data = X.copy()
    data[::2] = 0
    net = Network([Input(6), Dense(40, "relu"), Dense(40, "leaky_relu"), Dense(3, "softmax")])
    rows = gradcheck.check(net, data, Y, samples=50, threads=1)
    assert all(row.passed for row in rows)
    assert all(row.checked > 0 for row in rows)


def test_only_kinks_leaves_nothing_for_differences_to_check_but_the_rest() -> None:
    net = Network([Input(6), Dense(4, "relu"), Dense(3, "softmax")])
    checked = {(r.layer, r.parameter): r.checked for r in gradcheck.check(net, 0 * X, Y, threads=1)[:4]}
    assert checked[0, "bias"] == 0  # each step of a bias crosses
    assert checked[1, "bias"] == 3


def test_it_changes_nothing_and_depends_on_the_seed_alone() -> None:
    net = network("gelu", seed=4)
    before = net.flat.copy()
    first, second, other = check(net, seed=1), check(net, seed=1), check(net, seed=2)
    assert np.array_equal(net.flat, before)
    assert first == second
    assert first != other


def test_a_nan_fails() -> None:
    net = network()
    net.parameters()[0][0][2, 3] = np.nan
    assert not any(row.passed for row in check(net))


def test_no_sample_with_a_weight_is_refused() -> None:
    with pytest.raises(DataError, match="weight"):
        gradcheck.check(network(), X[:0], Y[:0])


def test_bad_examples_are_refused() -> None:
    with pytest.raises(DataError, match="shape"):
        gradcheck.check(network(), X[:, :4], Y)


def test_a_row_passes_up_to_its_bound_and_not_with_nan() -> None:
    row = gradcheck.Row(FUSED, 0, "bias", 3, 1e-6, 1e-6)
    assert row.passed
    assert not replace(row, difference=2e-6).passed
    assert not replace(row, difference=float("nan")).passed


def steps(net: Network) -> list[gradcheck.Row]:
    return gradcheck.check_steps(net, X, Y, samples=12, threads=1)


def test_a_right_step_of_each_optimiser_passes() -> None:
    rows = steps(network("relu"))
    assert [row.optimizer for row in rows] == list(OPTIMIZERS)
    assert {row.checked for row in rows} == {6 * 9 + 9 + 9 * 3 + 3}  # no padding
    assert all(row.passed and row.bound < 1e-5 for row in rows), rows


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_wrong_step_fails(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    right = reference.UPDATES[name]

    def wrong(p: np.ndarray, g: np.ndarray, state: np.ndarray, rate: float, *rest: Any) -> None:
        right(p, g, state, rate * 1.001, *rest)

    monkeypatch.setitem(reference.UPDATES, name, wrong)
    assert [row.optimizer for row in steps(network()) if not row.passed] == [name]


@pytest.mark.parametrize(
    ("layer", "parameter", "place"),
    [(0, "weight", (5, 8)), (0, "bias", (3,)), (1, "weight", (8, 0)), (1, "bias", (2,))],
)
def test_the_worst_parameter_of_a_step_is_named(
    monkeypatch: pytest.MonkeyPatch, layer: int, parameter: str, place: tuple[int, ...]
) -> None:
    fused = kernels.backend("fused")
    right = fused.train

    def wrong(job: Any, *how: Any) -> Any:
        totals = right(job, *how)
        job.architecture.views(job.parameters)[layer][parameter == "bias"][place] += 1
        return totals

    monkeypatch.setattr(fused, "train", wrong)
    for row in steps(network()):
        assert not row.passed
        assert (row.layer, row.parameter, row.place) == (layer, parameter, place)
        assert row.found - row.expected == pytest.approx(1, abs=1e-5)


def test_a_step_to_nan_fails() -> None:
    net = network()
    net.parameters()[1][1][2] = np.nan
    assert not any(row.passed for row in steps(net))


def test_the_worst_place_and_its_values_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    fused = kernels.backend("fused")
    net, right = network(), fused.gradients

    def wrong(job: Any, rows: np.ndarray, epoch: int = 0) -> Any:
        totals, gradient = right(job, rows, epoch)
        job.architecture.views(gradient)[0][0][2, 5] += 1
        return totals, gradient

    monkeypatch.setattr(fused, "gradients", wrong)
    (row,) = (row for row in check(net) if not row.passed)
    assert (row.comparison, row.layer, row.parameter, row.place) == (FUSED, 0, "weight", (2, 5))
    assert row.found - row.expected == pytest.approx(1, abs=1e-5)
