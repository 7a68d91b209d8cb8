"""The reference kernels against finite differences, and against each formula stated once more in another way."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fastnn.kernels import functions, reference
from fastnn.kernels.job import Job, Totals
from fastnn.layers import ACTIVATIONS, LOSSES
from fastnn.optimizers import OPTIMIZERS
from tests import bounds
from tests.cases import OUTPUTS, Case, copied

HIDDEN = [*(name for name in ACTIVATIONS if name != "softmax"), "leaky_relu(0.3)", "elu(0.5)"]
STEP = 2.0**-17  # the cube root of float64's unit roundoff: truncation and rounding are then both about 1e-10


def exact(case: Case) -> Job:
    return copied(case.job(), np.float64)


def finite_differences(job: Job, objective: Callable[[Job], float]) -> np.ndarray:
    """Central differences of the objective by each parameter: (f(p + h) - f(p - h)) / 2h, flat as the parameters."""
    inside, found = np.zeros(job.parameters.size, bool), np.zeros(job.parameters.size)
    for W, b in job.architecture.views(inside):
        W[:], b[:] = True, True
    for k in np.flatnonzero(inside):
        p = job.parameters[k]
        sides = []
        for job.parameters[k] in (p + STEP, p - STEP):
            sides.append(objective(job))
        job.parameters[k] = p
        found[k] = (sides[0] - sides[1]) / (2 * STEP)
    return found


def mean_loss(job: Job) -> float:
    totals, _ = reference.gradients(job, np.arange(len(job.examples)), 1)
    return totals.loss / totals.weight


def assert_is_gradient(gradient: np.ndarray, job: Job, objective: Callable[[Job], float]) -> None:
    # 50 for third derivatives above 1 and for the roundings inside the objective
    bound = 50 * (STEP**2 / 6 + 2.0**-53 / STEP) * max(1.0, objective(job))
    assert np.abs(gradient - finite_differences(job, objective)).max() < bound


@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize(("output", "loss"), OUTPUTS)
def test_the_gradient_of_each_activation_and_loss(output: str, loss: str, hidden: str) -> None:
    job = exact(Case((3, 4, 5, 3), (hidden, hidden), output, loss, samples=7, labels=loss != "quadratic"))
    gradient = reference.gradients(job, np.arange(7), 1)[1]
    assert np.abs(gradient).max() > 1e-3
    assert_is_gradient(gradient, job, mean_loss)


VARIANTS = {
    "one layer": {"widths": (4, 3), "hidden": ()},
    "four layers": {"widths": (3, 4, 5, 4, 3), "hidden": ("gelu", "elu", "softplus")},
    "dropout": {"dropout": (0.3, 0.5), "widths": (6, 8, 3)},
    "sample weights": {"weighted": True},
    "label smoothing": {"label_smoothing": 0.2},
    "label smoothing of two classes": {
        "label_smoothing": 0.2,
        "output": "sigmoid",
        "loss": "binary_cross_entropy",
        "labels": False,
    },
    "scaled bytes": {"real": False, "scaling": "each"},
    "target rows": {"labels": False},
    "targets that do not sum to 1": {"labels": False, "seed": 3},
    "all together": {
        "dropout": (0.2, 0.2),
        "weighted": True,
        "label_smoothing": 0.1,
        "scaling": "each",
        "labels": False,
    },
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_gradient_of_each_variant(variant: str) -> None:
    job = exact(Case(**VARIANTS[variant]))
    if variant == "targets that do not sum to 1":
        assert job.examples.targets is not None
        job.examples.targets *= np.linspace(0.5, 2, 9, dtype=np.float32)[:, None]
    gradient = reference.gradients(job, np.arange(9), 1)[1]
    assert_is_gradient(gradient, job, mean_loss)


def step_taken(case: Case) -> tuple[Job, np.ndarray]:
    """A job, and the gradient that one step of gradient descent with rate 1 went down."""
    job, after = exact(case), exact(case)
    reference.train(after, np.arange(case.samples), 1, 0, np.array([[1.0, 0.0, 0.0]]))
    return job, job.parameters - after.parameters


def test_weight_decay_is_the_gradient_of_half_the_squared_weights() -> None:
    job, gradient = step_taken(Case(weight_decay=0.3))

    def objective(job: Job) -> float:
        return mean_loss(job) + 0.15 * sum(float((W**2).sum()) for W, _ in job.architecture.views(job.parameters))

    assert_is_gradient(gradient, job, objective)


@pytest.mark.parametrize("share", [0.5, 2.0])
def test_clipping_shortens_the_loss_gradient_alone(share: float) -> None:
    case = Case()
    whole = reference.gradients(exact(case), np.arange(9), 1)[1]
    limit = share * float(np.linalg.norm(whole))
    _, gradient = step_taken(replace(case, clip_norm=limit))
    assert np.allclose(gradient, whole * min(1, share), rtol=1e-9, atol=1e-15)
    # decay comes after: it is not clipped
    job, decayed = step_taken(replace(case, clip_norm=limit, weight_decay=0.3))
    for (dW, db), (W, _), (g, h) in zip(*map(job.architecture.views, (decayed, job.parameters, whole)), strict=True):
        assert np.allclose(dW, g * min(1, share) + 0.3 * W, rtol=1e-9, atol=1e-15)
        assert np.allclose(db, h * min(1, share), rtol=1e-9, atol=1e-15)


def test_clipping_a_zero_gradient_leaves_it_zero() -> None:
    case = Case(clip_norm=1.0, weighted=True)
    job = exact(case)
    assert job.examples.weights is not None
    job.examples.weights[:] = 0
    before = job.parameters.copy()
    reference.train(job, case.order(), 0, 0, case.steps(1))
    assert np.array_equal(job.parameters, before)


# ---------------------------------------------------------------- each formula once more, plainly

Z = np.linspace(-6, 6, 49).astype(np.longdouble)
erf = np.frompyfunc(math.erf, 1, 1)
PLAIN: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "identity": lambda z, alpha: 1 * z,
    "relu": lambda z, alpha: (z + np.abs(z)) / 2,
    "leaky_relu": lambda z, alpha: (z + np.abs(z)) / 2 + alpha * (z - np.abs(z)) / 2,
    "elu": lambda z, alpha: np.where(z > 0, z, alpha * (np.exp(z) - 1)),
    "sigmoid": lambda z, alpha: 1 / (1 + np.exp(-z)),
    "tanh": lambda z, alpha: (np.exp(2 * z) - 1) / (np.exp(2 * z) + 1),
    "softplus": lambda z, alpha: np.log(1 + np.exp(z)),
    "gelu": lambda z, alpha: z * (1 + erf(z.astype(float) / 2**0.5).astype(float)) / 2,
    "silu": lambda z, alpha: z / (1 + np.exp(-z)),
    "softmax": lambda z, alpha: np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_is_its_plain_formula(name: str) -> None:
    found = functions.ACTIVATIONS[name][0](Z.astype(np.float64), 0.3)
    # gelu's plain form cancels below zero: an absolute error of the size of float64's roundoff
    assert np.allclose(found, PLAIN[name](Z, 0.3).astype(np.float64), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize(
    ("name", "z", "value"),
    [
        ("sigmoid", -40, math.exp(-40)),
        ("softplus", -40, math.exp(-40)),
        ("silu", -40, -40 * math.exp(-40)),
        ("gelu", -20, -10 * math.erfc(20 / math.sqrt(2))),
        ("elu", -1e-12, 0.3 * math.expm1(-1e-12)),
    ],
)
def test_small_values_keep_their_digits(name: str, z: float, value: float) -> None:
    assert np.allclose(functions.ACTIVATIONS[name][0](np.array([float(z)]), 0.3), value, rtol=1e-13, atol=0)


def log_likelihood(z: np.ndarray, t: np.ndarray, a: np.ndarray) -> np.ndarray:
    return -(t * np.log(np.exp(z) / np.exp(z).sum(axis=1, keepdims=True))).sum(axis=1)


def binary_log_likelihood(z: np.ndarray, t: np.ndarray, a: np.ndarray) -> np.ndarray:
    s = 1 / (1 + np.exp(-z))
    return -(t * np.log(s) + (1 - t) * np.log(1 - s)).sum(axis=1)


PLAIN_LOSSES: dict[str, Callable[..., np.ndarray]] = {
    "cross_entropy": log_likelihood,
    "binary_cross_entropy": binary_log_likelihood,
    "quadratic": lambda z, t, a: np.array([sum((x - y) * (x - y) for x, y in zip(*rows)) / 2 for rows in zip(a, t)]),  # noqa: B905
}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_is_its_plain_formula(loss: str) -> None:
    rng = np.random.default_rng(0)
    z, t, a = 3 * rng.normal(size=(20, 4)), rng.random((20, 4)), rng.normal(size=(20, 4))
    plain = PLAIN_LOSSES[loss](*(array.astype(np.longdouble) for array in (z, t, a)))
    assert np.allclose(functions.LOSS_FUNCTIONS[loss](z, t, a), plain.astype(float), rtol=1e-13)


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_losses_far_out_are_finite_and_right(loss: str, dtype: type) -> None:
    """By hand: log(1 + exp(1e4)) is 1e4, and exp(-1e4) is nothing beside it."""
    z, t = np.array([[1e4, -1e4]], dtype), np.array([[0, 1]], dtype)
    assert functions.LOSS_FUNCTIONS[loss](z, t, z) == 2e4
    assert functions.LOSS_FUNCTIONS[loss](z, 1 - t, z) == 0


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_activation_keeps_nan_and_dtype_and_does_not_overflow(name: str, dtype: type) -> None:
    f, derivative = functions.ACTIVATIONS[name]
    z = np.array([[-1e4, -1.0, 0.0, 1.0, 1e4]], dtype)
    for result in (f(z, 0.3), derivative(z, 0.3)):
        assert result.dtype == dtype
        assert np.isfinite(result).all()
    z[0, 2] = np.nan
    assert np.isnan(f(z, 0.3)[0, 2])


def test_smoothing_keeps_the_sum_of_the_targets() -> None:
    t = np.eye(4)[:2]
    assert np.allclose(functions.smooth(t, 0.2, "cross_entropy")[0], [0.85, 0.05, 0.05, 0.05])
    assert np.allclose(functions.smooth(t, 0.2, "binary_cross_entropy")[0], [0.9, 0.1, 0.1, 0.1])


def test_hits() -> None:
    assert functions.hits(np.array([[0.1, 0.3, 0.2]] * 2), np.eye(3)[1:]).tolist() == [True, False]
    one = functions.hits(np.array([[0.2], [0.2], [-0.2], [-0.2]]), np.array([[1.0], [0.0], [1.0], [0.0]]))
    assert one.tolist() == [True, False, False, True]


# ---------------------------------------------------------------- optimisers, as their papers write them

RATE, STEPS, DECAY = 0.1, 6, 0.02


def slope(p: np.ndarray) -> np.ndarray:
    """The gradient of a bowl."""
    return np.array([1.0, 10.0, 0.1]) * p


def classical(p: np.ndarray) -> np.ndarray:
    v = np.zeros(3)
    for _ in range(STEPS):
        v = 0.9 * v - RATE * slope(p)
        p = p + v
    return p


def looking_ahead(p: np.ndarray) -> np.ndarray:
    """Sutskever's equations 3 and 4; what fastnn keeps are the points p + mu v at which the gradient is taken."""
    v = np.zeros(3)
    for _ in range(STEPS):
        v = 0.9 * v - RATE * slope(p + 0.9 * v)
        p = p + v
    return p + 0.9 * v


def mean_square(p: np.ndarray) -> np.ndarray:
    r = np.zeros(3)
    for _ in range(STEPS):
        r = 0.9 * r + 0.1 * slope(p) ** 2
        p = p - RATE * slope(p) / (np.sqrt(r) + 1e-7)
    return p


def moments(p: np.ndarray, decay: float = 0.0) -> np.ndarray:
    m, v = np.zeros(3), np.zeros(3)
    for t in range(1, STEPS + 1):
        m, v = 0.9 * m + 0.1 * slope(p), 0.999 * v + 0.001 * slope(p) ** 2
        corrected = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        p = p - RATE * (corrected + decay * p)
    return p


def descent(p: np.ndarray) -> np.ndarray:
    for _ in range(STEPS):
        p = p - RATE * slope(p)
    return p


PAPERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sgd": descent,
    "momentum": classical,
    "nesterov": looking_ahead,
    "rmsprop": mean_square,
    "adam": moments,
    "adamw": lambda p: moments(p, DECAY),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimiser_is_that_of_its_paper(name: str) -> None:
    rule = OPTIMIZERS[name](learning_rate=RATE)
    start = np.array([1.0, -2.0, 3.0])
    p, state = start.copy(), np.zeros((rule.slots, 3))
    for rate, epsilon in rule.coefficients(np.full(STEPS, RATE), 0):
        gradient = slope(p)
        if rule.decoupled:
            p *= 1 - RATE * DECAY
        reference.UPDATES[name](p, gradient, state, rate, epsilon, rule.first, rule.second)
    assert np.allclose(p, PAPERS[name](start), rtol=1e-12)


def test_decoupled_decay_shrinks_weights_and_not_biases() -> None:
    case = Case(weighted=True)
    job = exact(case)
    assert job.examples.weights is not None
    job.examples.weights[:] = 0  # no gradient: only the decay is left
    before = copied(job, np.float64)
    reference.train(job, case.order(), 0, 0, np.array([[0.1, 0.0, 0.25]]))
    views = zip(*(one.architecture.views(one.parameters) for one in (before, job)), strict=True)
    for (W, b), (V, c) in views:
        assert np.allclose(V, 0.75 * W)
        assert np.array_equal(b, c)


# ---------------------------------------------------------------- the kernels


@pytest.mark.parametrize("real", [True, False])
def test_the_input_is_scaled_and_shifted_by_feature(real: bool) -> None:
    job = exact(Case((5, 3), (), "identity", "quadratic", scaling="each", real=real))
    net = job.architecture
    outputs = np.zeros((9, 3))
    reference.predict(job, outputs)
    ((W, b),) = net.views(job.parameters)
    rows = [[s * float(x) + o for s, x, o in zip(net.scale, row, net.shift, strict=True)] for row in job.examples.X]
    assert np.allclose(outputs, np.array(rows) @ W + b, rtol=1e-12)


@pytest.mark.parametrize("scaling", ["none", "each"])
@pytest.mark.parametrize("real", [True, False])
def test_rows_in_a_row_are_as_any_others_and_stay_as_they_are(scaling: str, real: bool) -> None:
    job = Case((5, 3), (), "identity", "quadratic", scaling=scaling, real=real).job()
    before, rows, part = job.examples.X.copy(), np.arange(3, 8), slice(1, 4)
    shuffled = reference.inputs_of(job, rows[::-1])(part)
    assert np.array_equal(reference.inputs_of(job, rows)(part), shuffled[::-1])
    assert np.array_equal(job.examples.X, before)


def test_examples_are_passed_in_slices_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    job = exact(Case(samples=11, weighted=True))
    outputs = [np.zeros((11, 3)), np.zeros((11, 3))]
    reference.predict(job, outputs[0])
    totals = reference.score(job)
    monkeypatch.setattr(reference, "SLICE", 4)
    reference.predict(job, outputs[1])
    assert np.allclose(outputs[0], outputs[1], rtol=1e-14)
    assert np.allclose(totals, reference.score(job), rtol=1e-14)


def test_score_weighs_the_loss_and_hits_of_each_sample() -> None:
    job = exact(Case(samples=11, weighted=True, label_smoothing=0.3, dropout=(0.5, 0.5)))
    weights, labels = job.examples.weights, job.examples.labels
    assert weights is not None
    assert labels is not None
    outputs = np.zeros((11, 3))
    reference.predict(job, outputs)  # neither dropout nor smoothing comes in
    losses = -np.log(outputs[np.arange(11), labels])
    right = outputs.argmax(axis=1) == labels
    assert np.allclose(reference.score(job), (losses @ weights, right @ weights, weights.sum()))


def test_training_counts_what_it_has_seen() -> None:
    case = Case(samples=9, batch_size=4, weighted=True)
    job = exact(case)
    totals = reference.train(job, case.order(), 0, 0, case.steps(3) * [0, 1, 1])  # a rate of zero: nothing moves
    assert np.allclose(totals, reference.score(job))


def test_two_totals_add_up() -> None:
    assert Totals(1.0, 2.0, 3.0) + Totals(10.0, 20.0, 30.0) == Totals(11.0, 22.0, 33.0)


@pytest.mark.parametrize(
    ("names", "table", "where"),
    [
        (ACTIVATIONS, functions.ACTIVATIONS, "functions.ACTIVATIONS"),
        (LOSSES, functions.LOSS_FUNCTIONS, "functions.LOSS_FUNCTIONS"),
        (OPTIMIZERS, reference.UPDATES, "reference.UPDATES"),
        (OPTIMIZERS, PAPERS, "PAPERS in this test"),
        (ACTIVATIONS, PLAIN, "PLAIN in this test"),
        (LOSSES, PLAIN_LOSSES, "PLAIN_LOSSES in this test"),
        (ACTIVATIONS, {**bounds.BEHAVIOUR, "softmax": None}, "tests.bounds.BEHAVIOUR"),
        (LOSSES, bounds.LOSSES, "tests.bounds.LOSSES"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_tables_have_the_same_rows(names: dict[str, object], table: dict[str, object], where: str) -> None:
    assert not names.keys() - table.keys(), f"{where} lacks rows"
    assert not table.keys() - names.keys(), f"{where} has rows that fastnn.layers or fastnn.optimizers lacks"


def test_the_fused_tables_have_the_same_rows() -> None:
    for name, names, where in (
        ("rows", ACTIVATIONS, "ACTIVATIONS"),
        ("losses", LOSSES, "LOSSES"),
        ("rows", OPTIMIZERS, "UPDATES"),
    ):
        table = getattr(pytest.importorskip(f"fastnn.kernels.{name}"), where)
        assert names.keys() == table.keys(), f"{name}.{where}"
