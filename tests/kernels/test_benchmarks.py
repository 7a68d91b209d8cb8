"""Each kernel of each backend, timed by pytest-benchmark; without ``--benchmark-enable`` each is just run once.

pytest tests/kernels/test_benchmarks.py --benchmark-enable --benchmark-storage=file://bench_results/pytest \
    --benchmark-autosave
"""

import numpy as np
import pytest

from fastnn import MLP, Dense, Input, recipes
from fastnn.augment import Augment
from fastnn.config import Config
from fastnn.data import load
from fastnn.kernels import BACKENDS, KERNELS, backend, warp
from fastnn.optimizers import SGD
from fastnn.runs import Parts, build, fit

SAMPLES, BATCH = 6000, 100
STEPS = SAMPLES // BATCH

# How each kernel is called: (kernels, job) -> the figures that come out, to see that they are figures.
CALLS = {
    "predict": lambda kernels, job: predict(kernels, job),
    "score": lambda kernels, job: kernels.score(job),
    "gradients": lambda kernels, job: kernels.gradients(job, np.arange(BATCH), 0)[1],
    "train": lambda kernels, job: kernels.train(job, np.arange(SAMPLES), 0, 0, steps()),
}


def predict(kernels, job):
    outputs = np.empty((SAMPLES, 10), np.float32)
    kernels.predict(job, outputs)
    return outputs


def steps():
    return np.column_stack([SGD().coefficients(np.full(STEPS, 0.01), 0), np.zeros(STEPS)])


@pytest.fixture(scope="module")
def mnist():
    return load("mnist")[0].take(np.arange(SAMPLES))


def test_every_kernel_has_a_benchmark():
    assert CALLS.keys() == set(KERNELS)


@pytest.mark.parametrize("architecture", ["784-30-10", "784-300-10", "784-300-100-10"])
@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_speed(benchmark, mnist, kernel, name, architecture):
    benchmark.group = f"{kernel} {architecture}"
    inputs, *hidden, outputs = map(int, architecture.split("-"))
    net = MLP([Input(inputs, scale=1 / 255), *[Dense(units, "relu") for units in hidden], Dense(outputs, "softmax")])
    job = net.job(net.examples(mnist.X, mnist.y), BATCH)
    kernels = backend(name)
    CALLS[kernel](kernels, job)  # compiles, and brings the input into the backend's form
    assert np.isfinite(benchmark(CALLS[kernel], kernels, job)).all()


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("change", [Augment(shift=2, rotate=15), Augment(elastic=(34, 4))], ids=["affine", "elastic"])
def test_speed_of_augmentation(benchmark, mnist, change, name):
    benchmark.group = f"augment {change}"
    rows = np.arange(SAMPLES)
    warp.warm()
    found = benchmark(change.apply, mnist.X, rows, (28, 28), 0, 0, name, 2)
    assert found.shape == mnist.X.shape


@pytest.mark.parametrize("recipe", recipes.names())
def test_speed_of_a_recipes_epoch(benchmark, mnist, recipe):
    benchmark.group = "an epoch of a recipe, on a tenth of the digits"
    config = Config.of(recipes.read(recipe), {"training.epochs": 1})
    parts = Parts(mnist, None, mnist)
    network = build(config, parts)
    fit(config, network, parts)
    assert len(benchmark(fit, config, network, parts)) == 1
