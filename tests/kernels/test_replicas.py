"""Layers above the first that each thread does for itself: when, and that who was late, or interrupted, has them."""

import numpy as np
import pytest

from fastnn.kernels import cost, fused
from fastnn.kernels.compiling import kernel
from fastnn.kernels.families import whole
from fastnn.kernels.plan import AT_REPLICAS, STEPS_DONE, prepare
from fastnn.kernels.replicas import Replicas, above_first, catch_up, pay
from fastnn.kernels.simd import words
from fastnn.layers import Architecture, Dense, Input
from tests.kernels.test_fused import WIDE, make_job, trained

LAYERS = {
    "one": [Input(40, 1 / 255), Dense(33, "softmax")],
    "two": [Input(40, 1 / 255), Dense(64, "tanh"), Dense(5, "softmax")],
    "three, of whole panels": [Input(40, 1 / 255), Dense(48, "relu"), Dense(16, "relu"), Dense(5, "softmax")],
}


def is_used(threads, **settings):
    job = make_job(threads=threads, **{"batch_size": 16} | settings)
    return pay(prepare(job, job.batch_size, False), job, job.batch_size)


@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("samples", [64, 80, 70])  # an even number of steps, an odd one, and a last batch of six
@pytest.mark.parametrize("threads", [2, 3])
def test_no_bit_depends_on_it(threads, samples, layers):
    settings = {"layers": LAYERS[layers], "samples": samples, "batch_size": 16}
    assert is_used(threads, **settings)
    one, many = trained(1, **settings), trained(threads, **settings)
    assert one[0] == many[0]
    np.testing.assert_array_equal(one[1], many[1])
    np.testing.assert_array_equal(one[2], many[2])


def test_many_threads_of_which_some_are_always_late():
    """More than there are CPUs: the steps are so short that hardly a thread takes part in all of them."""
    settings = {"layers": [WIDE[0], Dense(64, "relu"), Dense(5, "softmax")], "samples": 2000, "batch_size": 2}
    assert is_used(4, **settings)
    np.testing.assert_array_equal(trained(1, **settings)[1], trained(4, **settings)[1])


def test_only_where_it_may_be_and_what_is_above_is_little(monkeypatch):
    assert is_used(2)
    assert not is_used(1)
    assert not is_used(2, sparse=False)
    assert not is_used(2, clip_norm=1.0)  # the whole norm must be known before any row is applied
    assert not is_used(2, layers=[WIDE[0], Dense(16, "relu"), Dense(5, "softmax")])  # one panel, not two to share
    assert not is_used(2, layers=[WIDE[0], Dense(300, "relu"), Dense(5, "softmax")])  # sorted by columns, in ranges
    monkeypatch.setattr(cost, "REPEATED", 0)
    assert not is_used(2)


@kernel(False)
def run(at_job, thread, threads, step):
    whole()
    catch_up(words(at_job), thread, threads, step)


@pytest.mark.parametrize(("done", "step", "source"), [
    ((3, 1, 3), 3, 0), ((4, 0, 1), 3, 0), ((2, 1, 4), 3, 2), ((1, 3, 1), 3, None), ((0, 0, 0), 0, None)
])  # fmt: skip
def test_who_was_late_takes_over_what_stood_before_the_step(done, step, source):
    """Thread 1 takes part in a step; a thread that has made as many steps, or one more, has its weights."""
    job = make_job(threads=3)
    plan = prepare(job, job.batch_size, False)
    replicas = Replicas.of(plan, job, job.batch_size)
    with replicas.used(plan, job):
        replicas.words[:, 0, STEPS_DONE] = done
        for thread in range(3):
            replicas.above[thread] = np.array([10, 20]).reshape(2, 1, 1) + thread
        run(plan.words.ctypes.data, 1, 3, step)
        found = replicas.above[1].copy()
    parity = step % 2
    assert (found[parity] == 10 * (parity + 1) + (1 if source is None else source)).all()
    assert (found[1 - parity] == 10 * (2 - parity) + 1).all()


@pytest.mark.parametrize("done", [(2, 3), (4, 1)])
def test_an_interrupt_leaves_the_weights_after_the_last_step(done):
    state = np.zeros((2, Architecture.of(WIDE).size), np.float32)
    job = make_job(threads=2, optimizer="adam", first=0.9, second=0.99, state=state)
    plan, begin = prepare(job, job.batch_size, False), above_first(job)
    replicas, below = Replicas.of(plan, job, job.batch_size), job.parameters[:begin].copy()

    def interrupted():
        with replicas.used(plan, job):
            assert plan.words[AT_REPLICAS]
            np.testing.assert_array_equal(replicas.above[1, 0, 0], job.parameters[begin:])
            replicas.above[...] = np.array([[1, 2], [3, 4]]).reshape(2, 2, 1, 1) + np.array([0, 10, 20]).reshape(3, 1)
            replicas.words[:, 0, STEPS_DONE] = done
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not plan.words[AT_REPLICAS]
    found = {(2, 3): 4, (4, 1): 1}[done]
    assert (job.parameters[begin:] == found).all()
    assert (job.state[:, begin:] == [[found + 10], [found + 20]]).all()
    np.testing.assert_array_equal(job.parameters[:begin], below)
    assert not job.state[:, :begin].any()


def test_a_gradient_after_training_is_of_the_weights_in_the_flat_buffer():
    """The same plan serves both: the replicas are of no use to a gradient that is stored."""
    jobs = [make_job(threads=threads, batch_size=16) for threads in (1, 2)]
    for job in jobs:
        fused.train(job, np.arange(70), 0, 0, np.full((3, 3), [0.01, 0.0, 0.0]))
    one, two = (fused.gradients(job, np.arange(16))[1] for job in jobs)
    np.testing.assert_array_equal(one, two)
