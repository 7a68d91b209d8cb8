"""The bounds must be wide enough for float32 (test_equivalence.py shows it), and too narrow for any real mistake."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fastnn.kernels import functions, reference
from fastnn.kernels.job import Job
from tests import bounds
from tests.cases import Case, copied

CASE = Case(
    (20, 17, 9, 4), ("relu", "tanh"), dropout=(0.2, 0.3), samples=33, weighted=True, label_smoothing=0.1, batch_size=33
)
ROWS = np.arange(33)
Mistake = Callable[[pytest.MonkeyPatch, Job], None]


def wrong(name: str, change: Callable[..., object]) -> Mistake:
    """A function of the reference kernels, its result changed."""

    def make(patch: pytest.MonkeyPatch, job: Job) -> None:
        where = reference if hasattr(reference, name) else functions
        right = getattr(where, name)
        patch.setattr(where, name, lambda *arguments: change(right(*arguments), *arguments))

    return make


def wrong_update(name: str, p_first: Callable[..., None]) -> Mistake:
    return lambda patch, job: patch.setitem(reference.UPDATES, name, p_first)


def half_precision(patch: pytest.MonkeyPatch, job: Job) -> None:
    job.parameters[:] = job.parameters.astype(np.float16)


def one_weight(patch: pytest.MonkeyPatch, job: Job) -> None:
    W = job.architecture.views(job.parameters)[1][0]
    W[3, 4] *= 1 + 2.0**-12


def flip_one(mask: np.ndarray, *_: object) -> np.ndarray:
    mask = mask.copy()
    mask[5, 2] ^= True
    return mask


def smooth_wrong(t: np.ndarray, before: np.ndarray, epsilon: float, loss: str) -> np.ndarray:
    return before * (1 - epsilon) + epsilon / (before.shape[1] - 1)


def last_sample_lost(
    right: None, net: object, p: object, A: list, Z: list, delta: np.ndarray, gradient: list, *_: object
) -> None:
    gradient[-1][1][:] -= delta[-1]


GRADIENT_MISTAKES: dict[str, Mistake] = {
    "weights in half precision": half_precision,
    "one weight off by 2**-12": one_weight,
    "the mean is over B + 1": wrong("shares", lambda share, *_: share * 33 / 34),
    "sample weights ignored": wrong("sample_weights", lambda weights, *_: np.ones_like(weights)),
    "one unit of one sample not dropped": wrong("dropout_mask", flip_one),
    "masks of another epoch": lambda patch, job: patch.setattr(job, "seed", 1),
    "smoothed over the other classes": wrong("smooth", smooth_wrong),
    "labels not smoothed": lambda patch, job: patch.setattr(job, "label_smoothing", 0.0),
    "a bias without its last sample": wrong("backward", last_sample_lost),
    "an exponential with 12 bits": wrong("softmax", lambda a, *_: a.astype(np.float16).astype(a.dtype)),
    "tanh' = 1 - tanh": lambda patch, job: patch.setitem(
        functions.ACTIVATIONS, "tanh", (lambda z, alpha: np.tanh(z), lambda z, alpha: 1 - np.tanh(z))
    ),
}


def test_no_mistake_is_admitted() -> None:
    job = CASE.job()
    assert bounds.gradients(job, ROWS, 0)[2].admits(reference.gradients(job, ROWS, 0)[1])


@pytest.mark.parametrize("mistake", GRADIENT_MISTAKES)
def test_mistakes_in_the_gradient_are_caught(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    job = CASE.job()
    bound = bounds.gradients(job, ROWS, 0)[2]
    GRADIENT_MISTAKES[mistake](monkeypatch, job)
    assert not bound.admits(reference.gradients(job, ROWS, 0)[1])


def epsilon_inside(p, g, s, rate, epsilon, first, second):  # type: ignore[no-untyped-def]
    s[0][:] = first * s[0] + (1 - first) * g
    s[1][:] = second * s[1] + (1 - second) * g * g
    p -= rate * s[0] / np.sqrt(s[1] + epsilon)


def decayed_biases(patch: pytest.MonkeyPatch, job: Job) -> None:
    for _, b in job.architecture.views(job.parameters):
        b *= 1 - 0.05 * 0.1  # rate * lambda


STEP_MISTAKES: dict[str, tuple[str, Mistake]] = {
    "nesterov taken for momentum": ("nesterov", wrong_update("nesterov", reference.momentum)),
    "momentum taken for nesterov": ("momentum", wrong_update("momentum", reference.nesterov)),
    "epsilon inside the root": ("adam", wrong_update("adam", epsilon_inside)),
    "rho off by 1e-5": ("rmsprop", lambda patch, job: patch.setattr(job, "first", 0.90001)),
    "1 - beta2 off by 1e-5 of itself": ("adam", lambda patch, job: patch.setattr(job, "second", 0.99899999)),
    "decay of the biases": ("sgd", decayed_biases),
    "decay in the gradient of adamw": ("adamw", lambda patch, job: patch.setattr(job, "weight_decay", 0.1)),
    "a clip 1 in 1000 too wide": ("sgd", lambda patch, job: patch.setattr(job, "clip_norm", 0.01001)),
    "no clip": ("sgd", lambda patch, job: patch.setattr(job, "clip_norm", 0.0)),
}


@pytest.mark.parametrize("mistake", STEP_MISTAKES)
def test_mistakes_in_a_step_are_caught(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    optimizer, make = STEP_MISTAKES[mistake]
    case = replace(CASE, optimizer=optimizer, weight_decay=0.1, clip_norm=0.01 if "clip" in mistake else 0.0)
    job, steps = case.job(), case.steps(2)
    reference.train(job, ROWS, 0, 0, steps[:1])  # so that the state is not zero
    bound = bounds.train(job, ROWS, 1, steps[1])[2:]

    def admitted(job: Job) -> bool:
        reference.train(job, ROWS, 1, 0, steps[1:])
        return bound[0].admits(job.parameters) and bound[1].admits(job.state)

    assert admitted(copied(job))
    make(monkeypatch, job)
    assert not admitted(job)


@pytest.mark.parametrize("optimizer", ["rmsprop", "adam"])
def test_the_range_of_an_update_holds_for_every_gradient_within_its_bound(optimizer: str) -> None:
    """Where the sign of a gradient is in doubt, the step may be anything up to a full one; it must not be less."""
    case = replace(CASE, optimizer=optimizer)
    job, rng = case.job(), np.random.default_rng(0)
    reference.train(job, ROWS, 0, 0, case.steps(1))
    # a state as of tiny gradients: the bound of the next one reaches beyond zero
    job.state *= np.float32(1e-6)
    step = case.steps(1, 1)[0]
    _, _, (g, E_g) = bounds.gradients(job, ROWS, 1)
    bound = bounds.train(job, ROWS, 1, step)[2]
    for _ in range(50):
        other = copied(job, np.float64)
        drawn = g + rng.uniform(-1, 1, g.shape) * E_g
        reference.UPDATES[optimizer](other.parameters, drawn, other.state, *step[:2], job.first, job.second)
        assert bound.admits(other.parameters)
