"""Both backends in float32 against the reference in float64, each number within its own bound (tests/bounds.py)."""

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn import kernels
from fastnn.kernels import BACKENDS, KERNELS, cost, plan, reference
from fastnn.kernels.job import Job, Totals
from fastnn.layers import ACTIVATIONS, LANES
from fastnn.optimizers import OPTIMIZERS
from fastnn.rng import dropout_mask
from tests import bounds
from tests.cases import OUTPUTS, Case, copied

HIDDEN = [*(name for name in ACTIVATIONS if name != "softmax"), "leaky_relu(0.3)", "elu(0.5)"]
WIDTHS = [1, 2, 3, 7, LANES - 1, LANES, LANES + 1, 2 * LANES, 37]
parametrize_backend = pytest.mark.parametrize("backend", BACKENDS)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    depth = draw(st.integers(1, 4))
    widths = [draw(st.sampled_from(WIDTHS)) for _ in range(depth + 1)]
    output, loss = draw(st.sampled_from(OUTPUTS))
    if output == "softmax":
        widths[-1] = max(widths[-1], 2)
    samples = draw(st.sampled_from([1, 2, 5, 16, 19]))
    return Case(
        tuple(widths),
        tuple(draw(st.sampled_from(HIDDEN)) for _ in range(depth - 1)),
        output,
        loss,
        tuple(draw(st.sampled_from([0.0, 0.0, 0.1, 0.5])) for _ in range(depth)),
        samples,
        draw(st.sampled_from([1, 4, samples, samples + 3])),
        draw(st.booleans()),
        draw(st.sampled_from([1.0, 0.2, 0.0])),
        draw(st.sampled_from(["none", "scale", "each"])),
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.sampled_from(list(OPTIMIZERS))),
        draw(st.sampled_from([0.01, 0.3])),
        draw(st.sampled_from([0.0, 0.1])),
        draw(st.sampled_from([0.0, 0.05, 100.0])),
        draw(st.sampled_from([0.0, 0.1])),
        draw(st.sampled_from([1, 2])),
        draw(st.integers(0, 3)),
    )


def same_totals(found: Totals, true: Totals, bound: Totals) -> None:
    for name, f, t, b in zip(Totals._fields, found, true, bound, strict=True):
        assert abs(f - t) <= b + 1e-12 * abs(t), name


def check_predict(backend: ModuleType, case: Case) -> None:
    job = case.job()
    found = np.full((case.samples, case.widths[-1]), np.nan, np.float32)
    backend.predict(job, found)
    assert bounds.predict(job).admits(found)


def check_score(backend: ModuleType, case: Case) -> None:
    job = case.job()
    same_totals(backend.score(job), *bounds.score(job))


def check_gradients(backend: ModuleType, case: Case) -> None:
    job, rows = case.job(), case.order()[: case.batch_size]
    totals, gradient = backend.gradients(job, rows, 3)
    true, bound, bounded = bounds.gradients(job, rows, 3)
    same_totals(totals, true, bound)
    assert gradient.dtype == np.float32
    assert bounded.admits(gradient)


def check_train(backend: ModuleType, case: Case) -> None:
    """Each step of an epoch, from where the backend itself stands."""
    job, order = case.job(), case.order()
    for index, step in enumerate(case.steps(-(-case.samples // case.batch_size))):
        rows = order[index * case.batch_size : (index + 1) * case.batch_size]
        true, bound, parameters, state = bounds.train(job, rows, 2, step)
        same_totals(backend.train(job, order, 2, index, step[None]), true, bound)
        assert parameters.admits(job.parameters)
        assert state.admits(job.state)


CHECKS: dict[str, Callable[[ModuleType, Case], None]] = {
    "predict": check_predict,
    "score": check_score,
    "gradients": check_gradients,
    "train": check_train,
}


def test_every_kernel_has_its_check_and_every_backend_its_kernels() -> None:
    assert tuple(CHECKS) == KERNELS
    for name in BACKENDS:
        assert all(callable(getattr(kernels.backend(name), kernel, None)) for kernel in KERNELS), name


@pytest.mark.parametrize("kernel", KERNELS)
@parametrize_backend
@settings(max_examples=200)
@given(case=cases())
def test_a_backend_is_within_the_bounds_of_float32(backend: str, kernel: str, case: Case) -> None:
    CHECKS[kernel](kernels.backend(backend), case)


LARGE = Case(
    (205, 130, 70, 10),
    ("relu", "tanh"),
    dropout=(0.0, 0.2, 0.2),
    samples=300,
    batch_size=160,
    weighted=True,
    optimizer="adam",
    label_smoothing=0.1,
    threads=2,
)
FORMS: dict[str, dict[str, Any]] = {
    "dense": {},
    "dense bytes": {"real": False, "scaling": "each"},
    "sparse": {"density": 0.2},
    "sparse bytes": {"density": 0.2, "real": False, "scaling": "scale"},
    "sparse bytes of many scales": {"density": 0.2, "real": False, "scaling": "scales"},
    "dropout on the input": {"dropout": (0.2, 0.2)},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kernel", KERNELS)
@parametrize_backend
def test_layers_and_batches_beyond_a_block(backend: str, kernel: str, form: str) -> None:
    """Wider than 4 and than 8 vectors, and batches of which several threads take parts."""
    CHECKS[kernel](kernels.backend(backend), replace(LARGE, **FORMS[form]))


# The ways to the gradient of a first layer, and the words of the plan that tell them. Units of a group stand apart: on
# sparse input where there are several threads, which share them out.
WORDS = [plan.SPARSE, plan.SCATTERED, plan.IN_PLACE, plan.PIECES, plan.GROUPS, plan.NARROW]
WAYS: dict[str, tuple[dict[str, Any], tuple[bool, ...]]] = {
    "by columns": ({"widths": (205, 150, 10), "density": 0.1, "batch_size": 40}, (1, 0, 0, 0, 1, 0)),
    "scattered": ({"widths": (205, 20, 10), "density": 0.1, "batch_size": 40}, (1, 1, 0, 0, 1, 0)),
    "in place": ({"widths": (205, 20, 10), "density": 0.1, "batch_size": 20}, (1, 1, 1, 0, 1, 0)),
    "pieces on sparse input": ({"widths": (40, 12, 5), "density": 0.1, "batch_size": 280, "samples": 281},
                               (1, 1, 0, 1, 1, 0)),
    "pieces on sparse input, one layer": ({"widths": (205, 5), "hidden": (), "density": 0.1, "batch_size": 270,
                                           "samples": 300}, (1, 1, 0, 1, 1, 0)),
    "pieces of several blocks on sparse input": ({"widths": (40, 9, 3), "density": 0.1, "batch_size": 1200,
                                                  "samples": 1290, "dropout": (0.0, 0.3), "weighted": True},
                                                 (1, 1, 0, 1, 1, 0)),
    "pieces of several blocks": ({"widths": (20, 40, 3), "batch_size": 1200, "samples": 1290}, (0, 0, 0, 1, 0, 0)),
    "pieces": ({"widths": (24, 40, 3), "batch_size": 280, "samples": 281}, (0, 0, 0, 1, 0, 0)),
    "pieces of more": ({"widths": (32, 64, 4), "batch_size": 280, "samples": 300}, (0, 0, 0, 1, 0, 0)),
    "narrow": ({"widths": (24, 8, 3), "batch_size": 140, "samples": 330}, (0, 0, 0, 1, 0, 1)),
    "narrow, few samples": ({"widths": (13, 5, 2), "batch_size": 20}, (0, 0, 0, 1, 0, 1)),
    "narrow, many inputs": ({"widths": (205, 6, 10), "batch_size": 140, "samples": 300}, (0, 0, 0, 1, 0, 1)),
    "narrow, deep": ({"widths": (16, 3, 16, 9, 4), "hidden": ("tanh", "relu", "elu"), "batch_size": 70},
                     (0, 0, 0, 1, 0, 1)),
    "by units": ({"widths": (205, 75, 10), "batch_size": 40}, (0, 0, 0, 0, 1, 0)),
    "by units, more samples than a tile": ({"widths": (205, 260, 40), "batch_size": 150, "samples": 200},
                                           (0, 0, 0, 0, 1, 0)),
    "by units of one panel": ({"widths": (32, 16, 17), "batch_size": 33}, (0, 0, 0, 0, 1, 0)),
    "by samples": ({"widths": (205, 75, 10), "batch_size": 40, "dropout": (0.3, 0.0)}, (0,) * 6),
}  # fmt: skip
WAY = Case(hidden=("relu",), samples=103, real=False, scaling="scale")


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("way", WAYS)
@parametrize_backend
def test_each_way_to_the_first_gradient(backend: str, way: str, threads: int, optimizer: str) -> None:
    settings, words = WAYS[way]
    case = replace(WAY, **settings, threads=threads, optimizer=optimizer)
    check_train(kernels.backend(backend), case)
    if backend == "fused":
        job = case.job()
        kernels.backend(backend).train(job, case.order(), 0, 0, case.steps(1))
        found = job.workspace.words
        assert tuple(found[WORDS] > 0) == words
        worth_it = threads > 1 if found[plan.SPARSE] else found[plan.GROUPS] > 1
        assert (job.workspace.apart is not None) == (worth_it and threads <= found[plan.GROUPS])


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_units_of_a_layer_too_large_to_be_moved(monkeypatch: pytest.MonkeyPatch, optimizer: str) -> None:
    case = replace(WAY, **WAYS["by units"][0], threads=2, optimizer=optimizer)
    moved = trained("fused", case)
    monkeypatch.setattr(cost, "MOVED", 0)
    check_train(kernels.backend("fused"), case)
    for one, other in zip(moved, trained("fused", case), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("way", ["by columns", "by units"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_gradient_between_two_steps_is_that_of_the_flat_parameters(optimizer: str, way: str) -> None:
    """Training on two threads moves the first layer apart; what comes after sees it where it was, and changed."""
    case = replace(WAY, **WAYS[way][0], threads=2, optimizer=optimizer)
    fused, job, steps, rows = kernels.backend("fused"), case.job(), case.steps(2), np.arange(case.batch_size)
    fused.train(job, case.order(), 0, 0, steps[:1])
    assert job.workspace.apart is not None
    _, gradient = fused.gradients(job, rows)
    np.testing.assert_array_equal(gradient, fused.gradients(copied(job), rows)[1])
    again = copied(job)
    for either in (job, again):
        fused.train(either, case.order(), 0, 1, steps[1:])
    np.testing.assert_array_equal(job.parameters, again.parameters)
    np.testing.assert_array_equal(job.state, again.state)


# ---------------------------------------------------------------- many steps

TRACE = Case((12, 20, 4), ("tanh",), samples=40, batch_size=8, learning_rate=0.02)


def losses(train: Callable[..., Totals], job: Job, case: Case) -> np.ndarray:
    """The mean loss of each of 20 steps, in 4 epochs of 5."""
    found = []
    for index, step in enumerate(case.steps(20)):
        epoch, first = divmod(index, 5)
        found.append(train(job, case.order(epoch), epoch, first, step[None]))
    return np.array([totals.loss / totals.weight for totals in found])


def noisy(draws: np.random.Generator) -> Callable[..., Totals]:
    """A training in float64 whose every gradient is as wrong as float32 may make it, in random directions."""

    def train(job: Job, order: np.ndarray, epoch: int, first: int, steps: np.ndarray) -> Totals:
        rows = order[first * job.batch_size : (first + 1) * job.batch_size]
        totals, _, (g, E_g) = bounds.gradients(job, rows, epoch)
        signs = draws.choice([-1, 1], (2, g.size))
        reference.UPDATES[job.optimizer](
            job.parameters, g + signs[0] * E_g, job.state, *steps[0, :2], job.first, job.second
        )
        job.parameters *= 1 + bounds.U * signs[1]
        return totals

    return train


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@parametrize_backend
def test_the_losses_of_20_steps(backend: str, optimizer: str) -> None:
    """A float32 trace may leave the true one as far as four true ones with noise as large as float32's bounds do."""
    case = replace(TRACE, optimizer=optimizer)
    true = losses(reference.train, copied(case.job(), np.float64), case)
    noise = [losses(noisy(np.random.default_rng(k)), copied(case.job(), np.float64), case) for k in range(4)]
    bound = np.maximum.accumulate(np.abs(noise - true).max(axis=0)) + bounds.gamma(64) * true
    assert (bound < 1e-3 * true).all()
    found = losses(kernels.backend(backend).train, case.job(), case)
    assert (np.abs(found - true) <= bound).all()
    assert true[-5:].mean() < true[:5].mean() - 20 * bound.max()  # it learns more than noise


@parametrize_backend
@pytest.mark.parametrize("clip_norm", [0.0, 0.05])
def test_many_steps_in_a_call_are_as_many_calls_of_one(backend: str, clip_norm: float) -> None:
    case = replace(TRACE, optimizer="adam", samples=37, clip_norm=clip_norm)
    train, steps, order = kernels.backend(backend).train, case.steps(5), case.order()
    whole, parts = case.job(), case.job()
    totals = train(whole, order, 1, 0, steps)
    single = [train(parts, order, 1, index, steps[index : index + 1]) for index in range(5)]
    assert np.array_equal(whole.parameters, parts.parameters)
    assert np.array_equal(whole.state, parts.state)
    assert np.allclose(totals, np.sum(single, axis=0), rtol=1e-12)


# ---------------------------------------------------------------- the same for any number of threads, and each time

WIDE = Case((45, 33, 17, 10), ("relu", "gelu"), dropout=(0.0, 0.2, 0.3), samples=103, batch_size=25, weighted=True)


def trained(backend: str, case: Case) -> list[np.ndarray]:
    """All that two epochs and the kernels after them return."""
    job, kernel = case.job(), kernels.backend(backend)
    steps = -(-case.samples // case.batch_size)
    totals = [kernel.train(job, case.order(epoch), epoch, 0, case.steps(steps)) for epoch in range(2)]
    outputs = np.zeros((case.samples, case.widths[-1]), np.float32)
    kernel.predict(job, outputs)
    batch, gradient = kernel.gradients(job, case.order()[:30], 0)
    return [job.parameters, job.state, outputs, gradient, np.array([*totals, batch, kernel.score(job)])]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("clip_norm", [0.0, 0.1])
@parametrize_backend
def test_bit_for_bit_the_same_for_any_number_of_threads_and_each_time(
    backend: str, clip_norm: float, form: str
) -> None:
    case = replace(WIDE, optimizer="adam", clip_norm=clip_norm, **FORMS[form])
    first = trained(backend, case)
    for threads in (1, 2, 3, 4):
        for one, other in zip(first, trained(backend, replace(case, threads=threads)), strict=True):
            assert np.array_equal(one, other)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("clip_norm", [0.0, 0.1])
@pytest.mark.parametrize("way", WAYS)
@parametrize_backend
def test_bits_of_each_way_to_the_first_gradient(backend: str, way: str, clip_norm: float, optimizer: str) -> None:
    case = replace(WAY, **WAYS[way][0], clip_norm=clip_norm, optimizer=optimizer)
    first = trained(backend, case)
    for threads in (2, 3, 4):
        for one, other in zip(first, trained(backend, replace(case, threads=threads)), strict=True):
            assert np.array_equal(one, other)


@parametrize_backend
def test_more_threads_than_samples_or_columns(backend: str) -> None:
    case = replace(WIDE, widths=(2, 3, 1, 2), samples=3, batch_size=2, density=0.3)
    for one, other in zip(trained(backend, case), trained(backend, replace(case, threads=4)), strict=True):
        assert np.array_equal(one, other)


# ---------------------------------------------------------------- single properties


@parametrize_backend
def test_two_dropout_layers_draw_the_masks_of_their_own(backend: str) -> None:
    """A dropped value leaves its row of dW zero; nothing else does in this network."""
    case = Case((24, 24, 24, 3), ("identity", "identity"), dropout=(0.5, 0.5, 0.5), samples=6, seed=5)
    job = case.job()
    seen = []
    for epoch in (0, 1):
        for sample in (2, 5):
            _, gradient = kernels.backend(backend).gradients(job, np.array([sample]), epoch)
            for layer, (dW, _) in enumerate(job.architecture.views(gradient)):
                kept = dW.any(axis=1)
                assert np.array_equal(kept, dropout_mask(5, layer, epoch, np.array([sample]), 24, 0.5)[0])
                seen.append(tuple(kept))
    assert len(set(seen)) == len(seen)


@parametrize_backend
@pytest.mark.parametrize("where", ["input", "sparse input", "first weights", "last weights", "bias"])
@pytest.mark.parametrize("activation", HIDDEN)
def test_a_nan_reaches_the_loss(backend: str, where: str, activation: str) -> None:
    kernel = kernels.backend(backend)
    job = Case((20, 17, 5), (activation,), samples=4, density=0.3 if where == "sparse input" else 1.0).job()
    (W, b), (V, _) = job.architecture.views(job.parameters)
    {"first weights": W, "last weights": V, "bias": b[None]}.get(where, job.examples.X)[0, 3] = np.nan
    assert np.isnan(kernel.score(job).loss)
    totals, gradient = kernel.gradients(job, np.arange(4), 0)
    assert np.isnan(totals.loss)
    assert np.isnan(gradient).any()
    outputs = np.zeros((4, 5), np.float32)
    kernel.predict(job, outputs)
    assert np.isnan(outputs).any()


@pytest.mark.parametrize("where", ["input", "first weights", "last weights"])
def test_relus_pass_a_nan_on_as_in_the_reference(where: str) -> None:
    job = Case((20, 17, 32, 5), ("relu", "relu"), samples=4).job()
    (W, _), _, (V, _) = job.architecture.views(job.parameters)
    {"first weights": W, "last weights": V}.get(where, job.examples.X)[0, 3] = np.nan
    gradients = []
    for backend in ("fused", "reference"):
        _, gradient = kernels.backend(backend).gradients(replace(job, workspace=None), np.arange(4), 0)
        gradients.append([np.isnan(part) for pair in job.architecture.views(gradient) for part in pair])
    for found, expected in zip(*gradients, strict=True):
        np.testing.assert_array_equal(found, expected)


@parametrize_backend
@pytest.mark.parametrize("output", [pair for pair in OUTPUTS if pair[1] != "quadratic" or pair[0] == "relu"])
def test_a_nan_in_the_output_layer_reaches_the_loss(backend: str, output: tuple[str, str]) -> None:
    job = Case((4, 3), (), *output, samples=2).job()
    job.parameters[0] = np.nan
    assert np.isnan(kernels.backend(backend).score(job).loss)


@parametrize_backend
def test_a_nan_gradient_is_not_clipped_away(backend: str) -> None:
    case = Case(clip_norm=1.0)
    job = case.job()
    job.examples.X[0, 0] = np.nan
    kernels.backend(backend).train(job, case.order(), 0, 0, case.steps(1))
    assert np.isnan(job.parameters).any()


@parametrize_backend
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_padding_stays_zero(backend: str, optimizer: str) -> None:
    padding_is_zero(backend, replace(WIDE, optimizer=optimizer, weight_decay=0.1, dropout=(0.1,) * 3, clip_norm=1.0))


@pytest.mark.parametrize("way", WAYS)
@parametrize_backend
def test_padding_stays_zero_on_each_way(backend: str, way: str) -> None:
    padding_is_zero(backend, replace(WAY, **WAYS[way][0]))


def padding_is_zero(backend: str, case: Case) -> None:
    job = case.job()
    kernels.backend(backend).train(job, case.order(), 0, 0, case.steps(2))
    padding = np.ones(job.parameters.size, bool)
    for W, b in job.architecture.views(padding):
        W[:], b[:] = False, False
    assert padding.any()
    for flat in (job.parameters, *job.state):
        assert not flat[padding].any()


@parametrize_backend
@pytest.mark.parametrize("z", [-1e4, 1e4])
@pytest.mark.parametrize(("output", "loss"), OUTPUTS)
def test_large_pre_activations_do_not_overflow(backend: str, output: str, loss: str, z: float) -> None:
    job = Case((3, 4), (), output, loss, samples=5).job()
    for W, b in job.architecture.views(job.parameters):
        W[:], b[:] = 0, [z, 0, -z, 1]
    totals, gradient = kernels.backend(backend).gradients(job, np.arange(5), 0)
    assert np.isfinite(totals).all()
    assert np.isfinite(gradient).all()


@parametrize_backend
def test_a_batch_of_no_weight_teaches_nothing(backend: str) -> None:
    case = Case(weighted=True)
    job = case.job()
    assert job.examples.weights is not None
    job.examples.weights[:] = 0
    before = job.parameters.copy()
    totals = kernels.backend(backend).train(job, case.order(), 0, 0, case.steps(1))
    assert totals == Totals(0.0, 0.0, 0.0)
    assert np.array_equal(job.parameters, before)


@parametrize_backend
@pytest.mark.parametrize("density", [1.0, 0.2])
def test_a_sample_may_come_more_than_once(backend: str, density: float) -> None:
    job, rows = Case((30, 8, 3), samples=4, density=density).job(), np.array([3, 1, 1, 3, 3, 0] * 40)
    _, gradient = kernels.backend(backend).gradients(job, rows, 0)
    assert bounds.gradients(job, rows, 0)[2].admits(gradient)
