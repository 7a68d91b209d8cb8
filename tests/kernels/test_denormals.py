"""Numbers too small for all of float32's digits: zero while a net is trained, and nowhere else."""

import numpy as np
import pytest

from fastnn.kernels import denormals, fused, launch, reference, team
from fastnn.kernels.barrier import ABORTED
from fastnn.kernels.job import Examples, Job
from fastnn.kernels.plan import prepare
from fastnn.kernels.share import GRADIENT
from fastnn.layers import Architecture, Dense, Input, aligned_zeros

pytestmark = pytest.mark.skipif(denormals.REGISTER is None, reason="no such register is known here")

SMALL, DENORMAL = 1e-20, np.float32(1e-40)
SAMPLES = 1000


def small_job(threads: int) -> Job:
    """One weight of 1, inputs and errors of 1e-20: its gradient is 1e-40, of which each sample gives a part."""
    architecture = Architecture.of([Input(1), Dense(1)], loss="quadratic")
    parameters = aligned_zeros(architecture.size)
    parameters[0] = 1
    X = np.full((SAMPLES, 1), SMALL, np.float32)
    return Job(architecture, parameters, Examples(X, None, np.zeros_like(X)), threads=threads, batch_size=SAMPLES // 2)


def kept() -> bool:
    """Whether this thread does take such numbers for what they are."""
    values = np.full(64, DENORMAL)
    return bool((values + values > values).all() and (values * np.float32(0.5) > 0).all())


def call(thread: int, aborted: bool = False) -> float:
    """One thread of two does all the work of a gradient; that of the weight."""
    job, rows, steps = small_job(2), np.arange(SAMPLES), np.zeros((1, 3))
    kernel, _ = launch.compiled(fused.make, fused._first_call)
    plan = prepare(job, SAMPLES, False)
    plan.state[:] = 0
    plan.state[ABORTED] = aborted
    at_order, at_steps = rows.ctypes.data, steps.ctypes.data
    team.alone(kernel, thread, 2, (GRADIENT, plan.at_words, at_order, SAMPLES, SAMPLES, 0, 0, at_steps, 1))
    return float(plan.gradient[0])


@pytest.mark.parametrize("thread", [0, 1])
def test_what_a_sample_gives_to_the_gradient_is_zero_in_each_thread_and_only_there(thread: int) -> None:
    _, wanted = reference.gradients(small_job(1), np.arange(SAMPLES))
    assert 0 < wanted[0] < np.finfo(np.float32).tiny
    assert call(thread) == 0
    assert kept()


@pytest.mark.parametrize("threads", [1, 2])
def test_training_leaves_the_thread_as_it_was(threads: int) -> None:
    fused.train(small_job(threads), np.arange(SAMPLES), 0, 0, np.tile([0.1, 0.0, 0.0], (2, 1)))
    assert kept()


def test_so_does_a_call_that_is_aborted() -> None:
    call(0, aborted=True)
    assert kept()


def test_predictions_have_them() -> None:
    architecture = Architecture.of([Input(1), Dense(2, "softmax")])
    parameters = aligned_zeros(architecture.size)
    W, _ = architecture.views(parameters)[0]
    W[0] = 0, 90  # exp(-90) is 8e-40
    job = Job(architecture, parameters, Examples(np.ones((1, 1), np.float32)))
    found, wanted = np.zeros((1, 2), np.float32), np.zeros((1, 2), np.float32)
    fused.predict(job, found)
    reference.predict(job, wanted)
    assert 0 < wanted[0, 0] < np.finfo(np.float32).tiny
    np.testing.assert_allclose(found[0, 0], wanted[0, 0], rtol=1e-4)  # of 8e-40, 600,000 times the smallest
