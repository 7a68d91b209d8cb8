"""What each thread does for itself: when, and that who was late, or interrupted, has the weights."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from fastnn.kernels import cost, fused, replicas
from fastnn.kernels.compiling import kernel
from fastnn.kernels.families import whole
from fastnn.kernels.listing import halves_of
from fastnn.kernels.plan import AT_REPLICAS, STEPS_DONE, prepare
from fastnn.kernels.replicas import Replicas, catch_up, pay
from fastnn.kernels.simd import words
from fastnn.layers import Architecture, Dense, Input
from tests.kernels.test_fused import NARROW, WIDE, make_job, trained

INPUTS = Input(40, 1 / 255)
HALVES = {"layers": WIDE, "batch_size": 16}
PIECES = {"layers": NARROW, "sparse": False, "batch_size": 140}
NETS = {
    "one layer": HALVES | {"layers": [INPUTS, Dense(33, "softmax")]},
    "two": HALVES | {"layers": [INPUTS, Dense(64, "tanh"), Dense(5, "softmax")]},
    "three, of whole panels": HALVES | {"layers": [INPUTS, Dense(48, "relu"), Dense(16, "relu"), Dense(5, "softmax")]},
    "lists": HALVES | {"compressed": True},
    "pieces of samples side by side": PIECES,
    "pieces of units side by side": PIECES | {"layers": [INPUTS, Dense(20, "relu"), Dense(5, "softmax")]},
    "pieces of few outputs": PIECES | {"layers": [INPUTS, Dense(40, "relu"), Dense(3, "softmax")]},
    "pieces of sparse inputs": PIECES | {"layers": [INPUTS, Dense(16, "tanh"), Dense(5, "softmax")], "sparse": True},
}


def is_used(threads, **settings):
    job = make_job(threads=threads, **HALVES | settings)
    return pay(prepare(job, job.batch_size, False), job, job.batch_size)


def pay_for_any(threads):
    """However many, where they are more than one."""
    return lambda plan, job, batch: job.threads == threads


@pytest.mark.parametrize(
    "update",
    [
        {"optimizer": "adam"},
        {"optimizer": "sgd"},  # pieces: the weights go from one set to the other in one pass
        {"optimizer": "sgd", "decay": 0.01},
        {"optimizer": "sgd", "weight_decay": 0.01},
    ],
    ids=str,
)
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("steps", [4, 5, 4.4])  # an even number, an odd one, and a last batch that is smaller
@pytest.mark.parametrize("threads", [2, 3])
def test_no_bit_depends_on_it(monkeypatch, threads, steps, net, update):
    settings = NETS[net] | {"samples": int(steps * NETS[net]["batch_size"])}
    assert is_used(2, **settings)
    settings |= update
    monkeypatch.setattr(fused, "pay", pay_for_any(threads))
    one, many = trained(1, **settings), trained(threads, **settings)
    assert one[0] == many[0]
    np.testing.assert_array_equal(one[1], many[1])
    np.testing.assert_array_equal(one[2], many[2])


@pytest.mark.parametrize(
    "settings",
    [
        HALVES | {"layers": NETS["two"]["layers"], "samples": 2000, "batch_size": 2},
        PIECES | {"samples": 64 * 1000, "batch_size": 128},
    ],
)
def test_many_threads_of_which_some_are_always_late(monkeypatch, settings):
    """More than there are CPUs: the steps are so short that hardly a thread takes part in all of them."""
    monkeypatch.setattr(fused, "pay", pay_for_any(4))
    one, many = trained(1, **settings), trained(4, **settings)
    assert one[0] == many[0]
    np.testing.assert_array_equal(one[1], many[1])


def test_only_where_it_may_be_and_what_is_above_is_little(monkeypatch):
    assert is_used(2)
    assert not is_used(1)
    assert not is_used(3)  # of halves
    assert not is_used(2, sparse=False)
    assert not is_used(2, clip_norm=1.0)  # the whole norm must be known before any row is applied
    assert not is_used(2, layers=[WIDE[0], Dense(16, "relu"), Dense(5, "softmax")])  # one panel
    assert not is_used(2, layers=[WIDE[0], Dense(300, "relu"), Dense(5, "softmax")])  # sorted by columns, in ranges
    monkeypatch.setattr(cost, "REPEATED", 0)
    assert not is_used(2)


def test_only_where_there_are_few_gradients_to_add_up(monkeypatch):
    assert is_used(2, **PIECES)
    assert not is_used(1, **PIECES)
    assert not is_used(2, **PIECES, clip_norm=1.0)
    monkeypatch.setattr(cost, "UPDATED", 2 * Architecture.of(NARROW).size)  # of two pieces
    assert is_used(2, **PIECES)
    assert not is_used(2, **PIECES | {"batch_size": 512})  # of four


@kernel(False)
def run(at_job, thread, threads, step):
    whole()
    catch_up(words(at_job), thread, threads, step)


@pytest.mark.parametrize("settings", [HALVES, PIECES])
@pytest.mark.parametrize(("done", "step", "source"), [
    ((3, 1, 3), 3, 2), ((4, 0, 1), 3, 0), ((2, 1, 4), 3, 2), ((1, 3, 1), 3, None), ((0, 0, 0), 0, None)
])  # fmt: skip
def test_who_was_late_takes_over_what_stood_before_the_step(done, step, source, settings):
    """Thread 1 takes part in a step; a thread that has made as many steps, or one more, has its weights."""
    job = make_job(threads=3, **settings)
    plan = prepare(job, job.batch_size, False)
    made = Replicas.of(plan, job, job.batch_size)
    with made.used(plan, job):
        made.words[:, 0, STEPS_DONE] = done
        for thread in range(3):
            made.above[thread] = np.array([10, 20]).reshape(2, 1, 1) + thread
        run(plan.words.ctypes.data, 1, 3, step)
        found = made.above[1].copy()
    parity = step % 2
    assert (found[parity] == 10 * (parity + 1) + (1 if source is None else source)).all()
    assert (found[1 - parity] == 10 * (2 - parity) + 1).all()


def test_who_was_late_waits_for_who_is_about_to_have_the_weights():
    """It has done its half of the step before, and updates what is above when others need nothing more of it."""
    job = make_job(threads=2, **HALVES)
    plan = prepare(job, job.batch_size, False)
    made = Replicas.of(plan, job, job.batch_size)
    with made.used(plan, job):
        run(plan.words.ctypes.data, 0, 1, 0)  # compiles it
        made.words[:, 0, STEPS_DONE] = 2, 0
        late = threading.Thread(target=run, args=(plan.words.ctypes.data, 1, 2, 3))
        late.start()
        made.above[0, 1] = 7
        made.words[0, 0, STEPS_DONE] = 3
        late.join(30)
        assert not late.is_alive()
        assert (made.above[1, 1] == 7).all()


@pytest.mark.parametrize("settings", [HALVES, PIECES])
@pytest.mark.parametrize("done", [(2, 3), (4, 1)])
def test_an_interrupt_leaves_the_weights_after_the_last_step(done, settings):
    state = np.zeros((2, Architecture.of(settings["layers"]).size), np.float32)
    job = make_job(threads=2, optimizer="adam", first=0.9, second=0.99, state=state, **settings)
    plan, net = prepare(job, job.batch_size, False), job.architecture
    begin = 0 if settings is PIECES else net.weight_offsets[1]  # of the weights that each thread has for itself
    made, below = Replicas.of(plan, job, job.batch_size), job.parameters[:begin].copy()

    def interrupted():
        with made.used(plan, job):
            assert plan.words[AT_REPLICAS]
            np.testing.assert_array_equal(made.above[1, 0, 0], job.parameters[begin:])
            made.above[...] = np.array([[1, 2], [3, 4]]).reshape(2, 2, 1, 1) + np.array([0, 10, 20]).reshape(3, 1)
            made.words[:, 0, STEPS_DONE] = done
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    found = {(2, 3): 4, (4, 1): 1}[done]
    assert (job.parameters[begin:] == found).all()
    assert (job.state[:, begin:] == [[found + 10], [found + 20]]).all()
    np.testing.assert_array_equal(job.parameters[:begin], below)
    assert not job.state[:, :begin].any()


@pytest.mark.parametrize("settings", [HALVES, PIECES])
def test_a_gradient_after_training_is_of_the_weights_in_the_flat_buffer(settings):
    """The same plan serves both: the replicas are of no use to a gradient that is stored."""
    batch = settings["batch_size"]
    jobs = [make_job(4 * batch, threads, **settings) for threads in (1, 2)]
    for job in jobs:
        fused.train(job, np.arange(4 * batch), 0, 0, np.full((3, 3), [0.01, 0.0, 0.0]))
    one, two = (fused.gradients(job, np.arange(batch))[1] for job in jobs)
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("settings", [HALVES, PIECES])
def test_the_next_call_may_have_other_examples(settings):
    """As it has where each epoch augments them: the threads' tables tell where the last ones were."""
    batch = settings["batch_size"]
    jobs = [make_job(4 * batch, threads, **settings) for threads in (1, 2)]
    for job in jobs:
        for turn in range(2):
            fused.train(job, np.arange(4 * batch), turn, 0, np.full((4, 3), [0.01, 0.0, 0.0]))
            job.examples = replace(job.examples, X=np.flipud(job.examples.X).copy())
    np.testing.assert_array_equal(jobs[0].parameters, jobs[1].parameters)


@pytest.mark.parametrize("settings", [HALVES, PIECES])
def test_an_interrupt_while_weights_are_copied_back_leaves_no_replicas_behind(monkeypatch, settings):
    """The next step, alone in its call, changes the weights in the flat buffer."""
    job = make_job(4 * settings["batch_size"], 2, **settings)
    order, steps = np.arange(len(job.examples)), np.full((2, 3), [0.01, 0.0, 0.0])
    with monkeypatch.context() as patched:
        patched.setattr(replicas, "bring_back", lambda pairs: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            fused.train(job, order, 0, 0, steps)
    before = job.parameters.copy()
    fused.train(job, order, 0, 2, steps[:1])
    assert (job.parameters != before).any()


@pytest.mark.parametrize("inputs", [1, 2, 3, 17, 40, 63, 64, 100, 128, 784, 1000])
def test_halves_of_the_columns(inputs):
    begin, middle, end = halves_of(inputs)
    assert (begin, end) == (0, inputs)
    assert inputs / 2 <= middle <= min(inputs, 0.53 * inputs + 8)
