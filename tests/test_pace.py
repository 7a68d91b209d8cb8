"""Steps and threads of the next slice, by made-up times: no time is measured here."""

from itertools import cycle

import numpy as np
import pytest

from fastnn import MLP, Augment, Dense, Input
from fastnn.callbacks import Callback
from fastnn.pace import FIRST_WAIT, LONGEST_WAIT, SLICE_SECONDS, Pace


def after(pace: Pace, slices: int, each: dict[int, float]) -> list[int]:
    """The threads of so many slices, whose steps take `each` second by the number of threads."""
    used = []
    for _ in range(slices):
        threads, steps = pace.next()
        pace.took(threads, steps, steps * each[threads])
        used.append(threads)
    return used


def test_steps_grow_to_a_slice_and_shrink_with_it():
    pace, steps = Pace(2, False), []
    for each in [1e-4] * 5 + [1e-2, 1.0]:
        steps.append(pace.next()[1])
        pace.took(2, steps[-1], steps[-1] * each)
    assert steps == [1, 16, 256, 2000, 2000, 2000, 20]
    assert pace.next() == (2, 1)
    pace.took(2, 1, 0.0)  # a clock that has not moved
    assert pace.next() == (2, 16)


def test_one_thread_is_tried_ever_less_often_while_it_is_slower():
    used = np.array(after(Pace(2, True), 2000, {1: 1.9e-4, 2: 1e-4}))
    trials = np.flatnonzero(used == 1)
    assert (np.diff(trials, prepend=-1) - 1).tolist()[:6] == [FIRST_WAIT * 2**k for k in range(5)] + [LONGEST_WAIT]
    assert np.diff(trials).max() == LONGEST_WAIT + 1


@pytest.mark.parametrize(("seconds", "tried"), [(0.02, True), (0.03, False)])
def test_a_step_of_one_thread_that_would_be_a_long_trial_is_not_tried(seconds, tried):
    pace = Pace(2, True)
    assert (1 in after(pace, 20 * FIRST_WAIT, {1: 2 * seconds, 2: seconds})) == tried


def test_a_trial_is_short():
    pace = Pace(2, True)
    after(pace, FIRST_WAIT, {2: 1e-4})
    threads, steps = pace.next()
    assert threads == 1
    assert steps * 1e-4 <= SLICE_SECONDS / 8


def test_a_trial_that_is_cut_short_is_made_again():
    pace = Pace(2, True)
    after(pace, FIRST_WAIT, {2: 1e-4})
    threads, steps = pace.next()
    pace.took(threads, steps // 2, 0.0)  # as if it were very fast
    assert after(pace, 3, {1: 2e-4, 2: 1e-4}) == [2, 1, 2]


@pytest.mark.parametrize("steps", [1, 30])
def test_a_trial_of_a_whole_short_epoch_counts(steps):
    pace = Pace(2, True)
    for _ in range(FIRST_WAIT):
        pace.took(2, steps, steps * 1e-3)
    assert pace.next()[0] == 1
    pace.took(1, steps, steps * 5e-4)
    assert pace.threads == 1


def test_long_steps_are_tried_on_one_thread_only_if_they_became_longer():
    pace = Pace(2, True)
    assert after(pace, 50, {1: 0.1, 2: 0.05}) == [2] * 50
    assert after(pace, 4, {1: 0.1, 2: 0.2}) == [2, 2, 1, 1]
    assert after(pace, FIRST_WAIT + 2, {1: 0.1, 2: 0.05})[-2:] == [2, 2]


def test_the_faster_number_takes_over_and_gives_way_again():
    pace = Pace(4, True)
    assert 1 not in after(pace, FIRST_WAIT, {1: 1e-3, 4: 3e-4})
    bad, good = {1: 1e-3, 4: 3e-3}, {1: 1e-3, 4: 3e-4}
    assert after(pace, 14, bad) == [1, 4, 4] + [1] * (1 + FIRST_WAIT) + [4, 1]  # one slow slice tells nothing, two do
    after(pace, 30, good)
    assert pace.threads == 4


def test_one_thread_that_is_a_little_better_takes_over_when_it_is_so_again_and_again():
    little, alike, worse = {1: 0.8e-3, 4: 1e-3}, {1: 0.97e-3, 4: 1e-3}, {1: 1.1e-3, 4: 1e-3}
    before = [4] * FIRST_WAIT
    assert after(Pace(4, True), FIRST_WAIT + 8, little) == [*before, 1, 4, 4, 1, 4, 4, 1, 1]
    assert after(Pace(4, True), FIRST_WAIT + 17, alike) == [*before, 1, *[4] * 16]
    pace = Pace(4, True)
    assert after(pace, FIRST_WAIT + 4, little)[-4:] == [1, 4, 4, 1]
    assert after(pace, 3, worse) == [4, 4, 1]  # the row of trials begins anew
    assert after(pace, 2 * FIRST_WAIT, little) == [4] * 2 * FIRST_WAIT
    assert after(pace, 8, little) == [1, 4, 4, 1, 4, 4, 1, 1]


def test_what_becomes_slower_is_compared_at_once_but_not_again_and_again():
    pace = Pace(2, True)
    after(pace, 100, {1: 2e-4, 2: 1e-4})
    assert after(pace, 1, {2: 1.5e-4}) + after(pace, 4, {2: 1e-4}) == [2] * 5
    assert after(pace, 12, {1: 2e-4, 2: 1.5e-4}) == [2, 2, 1] + [2] * 9


@pytest.mark.parametrize("pace", [Pace(1, True), Pace(2, False)])
def test_nothing_is_tried_where_there_is_one_number(pace):
    assert set(after(pace, 600, {pace.threads: 1e-4})) == {pace.threads}


class Alternating:
    """A pace of steps one by one, on the fit's number of threads and on one in turn."""

    def __init__(self, threads: int):
        self.numbers, self.used = cycle((threads, 1)), []

    def next(self) -> tuple[int, int]:
        self.used.append(next(self.numbers))
        return self.used[-1], 1

    def took(self, threads: int, steps: int, seconds: float) -> None:
        assert (threads, steps) == (self.used[-1], 1)


@pytest.mark.parametrize("augment", [None, Augment(shift=2)])  # each epoch has data of its own
def test_a_fit_on_changing_numbers_of_threads_is_the_same(augment):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 40)).astype(np.float32), rng.integers(3, size=60)

    class Look(Callback):
        def on_fit_begin(self, fit):
            fit.threads = fit.job.threads = threads
            fit.pace = pace

    found = []
    for threads in (1, 3):
        pace = Alternating(threads)
        net = MLP([Input(40), Dense(50, "relu"), Dense(3, "softmax")], seed=1)
        net.metadata["image"] = [8, 5]
        settings = {"epochs": 4, "batch_size": 8, "validation": 0.2, "augment": augment}
        history = net.fit(X, y, callbacks=[Look()], **settings)
        assert pace.used == [threads, 1] * 12
        found.append((history["loss"], [array for pair in net.parameters() for array in pair]))
    assert found[0][0] == found[1][0]
    for one, other in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_array_equal(one, other)
