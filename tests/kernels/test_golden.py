"""Both backends against values that PyTorch's autograd gave in float64 (tests/golden/make.py)."""

import json
from typing import Any

import numpy as np
import pytest

from fastnn import kernels
from fastnn.kernels import BACKENDS, reference
from fastnn.kernels.job import Examples, Job
from fastnn.layers import ACTIVATIONS, LOSSES, Architecture, Dense, Input, aligned_zeros
from fastnn.optimizers import OPTIMIZERS
from tests import bounds
from tests.cases import copied
from tests.golden import make

GOLDEN = json.loads(make.GOLDEN.read_text())
ROWS = np.arange(make.SAMPLES)
parametrize_net = pytest.mark.parametrize("name", GOLDEN["nets"])
parametrize_backend = pytest.mark.parametrize("backend", BACKENDS)


def flat(net: Architecture, layers: list[Any]) -> np.ndarray:
    """Nested lists of all W and b as the flat buffer has them."""
    buffer = aligned_zeros(net.size, np.float64)
    for (W, b), (V, c) in zip(net.views(buffer), layers, strict=True):
        W[:], b[:] = V, c
    return buffer


def job_of(golden: dict[str, Any], optimizer: str = "sgd", **settings: float) -> Job:
    layers = [Dense(o, a) for o, a in zip(golden["widths"][1:], golden["activations"], strict=True)]
    net = Architecture.of([Input(golden["widths"][0]), *layers], golden["loss"])
    rule = OPTIMIZERS[optimizer](**settings)
    labels = golden["target"] == "labels"
    examples = Examples(
        np.array(golden["X"], np.float32),
        np.array(golden["y"], np.int32) if labels else None,
        None if labels else np.array(golden["y"], np.float32),
        np.array(golden["weights"], np.float32) if golden.get("weighted") else None,
    )
    parameters = aligned_zeros(net.size)
    parameters[:] = flat(net, golden["parameters"])
    state = np.zeros((rule.slots, net.size), np.float32)
    decay = 0.0 if rule.decoupled else golden.get("weight_decay", 0.0)
    job = Job(net, parameters, examples, make.SAMPLES, optimizer, rule.first, rule.second, state, decay)
    job.label_smoothing = golden.get("label_smoothing", 0.0)
    return job


def descended(train: Any, job: Job) -> np.ndarray:
    """The gradient, weight decay included: what a step of rate 1 goes down."""
    after = copied(job, job.parameters.dtype.type)
    train(after, ROWS, 0, 0, np.array([[1.0, 0.0, 0.0]]))
    return job.parameters - after.parameters


@parametrize_net
def test_the_reference_in_float64_is_exact(name: str) -> None:
    golden = GOLDEN["nets"][name]
    job = copied(job_of(golden), np.float64)
    outputs = np.zeros((make.SAMPLES, golden["widths"][-1]))
    reference.predict(job, outputs)
    assert np.allclose(outputs, golden["outputs"], rtol=1e-10, atol=1e-15)
    totals, _ = reference.gradients(job, ROWS, 0)
    weights = np.array(golden["weights"])
    assert np.allclose(totals.loss, weights @ golden["losses"], rtol=1e-10)
    assert np.allclose(totals.loss / totals.weight, golden["mean"], rtol=1e-10)
    true = flat(job.architecture, golden["gradient"])
    # what a step goes down is a difference of parameters of size 1: rounded to 1e-16 of them
    assert np.allclose(descended(reference.train, job), true, rtol=1e-10, atol=1e-14)
    if not job.weight_decay:
        assert np.allclose(reference.gradients(job, ROWS, 0)[1], true, rtol=1e-10, atol=1e-17)


@parametrize_net
@parametrize_backend
def test_a_backend_is_within_the_bounds_of_float32(backend: str, name: str) -> None:
    golden, kernel = GOLDEN["nets"][name], kernels.backend(backend)
    job = job_of(golden)
    outputs = np.zeros((make.SAMPLES, golden["widths"][-1]), np.float32)
    kernel.predict(job, outputs)
    assert (np.abs(outputs - golden["outputs"]) <= bounds.predict(job).error).all()
    totals, gradient = kernel.gradients(job, ROWS, 0)
    _, bound, bounded = bounds.gradients(job, ROWS, 0)
    assert abs(totals.loss / totals.weight - golden["mean"]) <= bound.loss / totals.weight
    true = flat(job.architecture, golden["gradient"])
    if not job.weight_decay:
        assert (np.abs(gradient - true) <= bounded.error).all()
    step = bounds.train(job, ROWS, 0, np.array([1.0, 0.0, 0.0]))[2]
    after = job.parameters - true
    assert (
        np.abs(job.parameters - descended(kernel.train, job) - after) <= step.error + 2 * bounds.U * np.abs(after)
    ).all()


@pytest.mark.parametrize("name", GOLDEN["traces"])
def test_20_steps_of_an_optimiser(name: str) -> None:
    golden, true = GOLDEN["traced"], GOLDEN["traces"][name]
    settings = make.TRACES[name]
    job = copied(job_of(golden, name, **settings), np.float64)
    rule = OPTIMIZERS[name](**settings)
    rate = settings["learning_rate"]
    decay = rate * golden["weight_decay"] if rule.decoupled else 0.0
    means = []
    for rate_and_epsilon in rule.coefficients(np.full(make.STEPS, rate), 0):
        totals = reference.train(job, ROWS, 0, 0, np.array([[*rate_and_epsilon, decay]]))
        means.append(totals.loss / totals.weight)
    assert np.allclose(means, true["means"], rtol=1e-10)
    assert np.allclose(job.parameters, flat(job.architecture, true["parameters"]), rtol=1e-9, atol=1e-12)


def test_the_golden_networks_have_every_activation_loss_and_optimiser() -> None:
    """By place too: each activation in a hidden layer, and each at the output that may stand there."""
    nets = [[a.partition("(")[0] for a in net["activations"]] for net in GOLDEN["nets"].values()]
    assert {name for net in nets for name in net[:-1]} == ACTIVATIONS.keys() - {"softmax"}
    assert {net[-1] for net in nets} == ACTIVATIONS.keys()
    assert {net["loss"] for net in GOLDEN["nets"].values()} == LOSSES.keys()
    assert GOLDEN["traces"].keys() == OPTIMIZERS.keys()


def assert_same(found: Any, stored: Any) -> None:
    if isinstance(stored, list):
        for one, other in zip(found, stored, strict=True):
            assert_same(one, other)
    else:
        assert found == pytest.approx(stored, rel=1e-11, abs=1e-14)


@parametrize_net
def test_pytorch_says_the_same_today(name: str) -> None:
    pytest.importorskip("torch")
    golden = GOLDEN["nets"][name]
    for key, value in make.compute(golden).items():
        assert_same(value, golden[key])


@pytest.mark.parametrize("name", GOLDEN["traces"])
def test_pytorch_trains_the_same_today(name: str) -> None:
    pytest.importorskip("torch")
    for key, value in make.trace(GOLDEN["traced"], name).items():
        assert_same(value, GOLDEN["traces"][name][key])
