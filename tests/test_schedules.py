"""Schedules: ends, shapes and purity of each."""

import json
import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastnn import MLP, Checkpoint, Dense, Input
from fastnn.errors import ConfigError
from fastnn.schedules import SCHEDULES, Adaptive, ByEpoch, Cosine, OneCycle, Schedule, make_schedule
from tests.samples import blobs

EPOCHS, STEPS = 10, 20


def whole(schedule, epochs=EPOCHS, steps=STEPS, losses=()):
    """The multipliers of a whole run, in one row."""
    return np.concatenate([schedule.multipliers(epoch, epochs, steps, losses[:epoch]) for epoch in range(epochs)])


def by_epoch(schedule, epochs, losses=()):
    return [schedule.multipliers(epoch, epochs, 1, losses[:epoch])[0] for epoch in range(epochs)]


@pytest.mark.parametrize("name", SCHEDULES)
def test_each_gives_a_float64_for_each_step_within_0_and_1(name):
    schedule = make_schedule(name)
    assert schedule.name == name
    for steps in (1, 3):
        found = schedule.multipliers(2, 5, steps, [3.0, 2.0])
        assert found.shape == (steps,)
        assert found.dtype == np.float64
    everything = whole(schedule, losses=[1.0] * EPOCHS)
    assert (everything > 0).all()
    assert (everything <= 1).all()
    if name != "one_cycle":
        assert everything[0] == 1
        assert (np.diff(everything) <= 0).all()
        assert (everything[-1] < 1) == (name not in ("constant", "step"))  # step: every 10 epochs


@pytest.mark.parametrize("name", ["constant", "step", "exponential", "inverse_time", "adaptive"])
def test_these_change_between_epochs_only(name):
    rows = whole(make_schedule(name), losses=[1.0] * EPOCHS).reshape(EPOCHS, STEPS)
    assert (rows == rows[:, :1]).all()


def test_step():
    assert by_epoch(make_schedule("step", every=2, factor=0.1), 5) == pytest.approx([1, 1, 0.1, 0.1, 0.01])
    assert by_epoch(make_schedule("step"), 21)[9:21:10] == [1, 0.5]
    assert by_epoch(make_schedule("step"), 21)[20] == 0.25


def test_exponential():
    assert by_epoch(make_schedule("exponential", factor=0.5), 4) == [1, 0.5, 0.25, 0.125]


def test_inverse_time():
    assert by_epoch(make_schedule("inverse_time", k=1), 4) == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4])
    assert by_epoch(make_schedule("inverse_time"), 11)[10] == pytest.approx(0.5)


def test_linear_falls_by_the_same_amount_at_each_step():
    total = EPOCHS * STEPS
    np.testing.assert_allclose(whole(make_schedule("linear")), 1 - np.arange(total) / total)
    np.testing.assert_allclose(whole(make_schedule("linear", final=0.2))[-1], 1 - 0.8 * (total - 1) / total)


def test_cosine_is_half_way_in_the_middle_and_flat_at_both_ends():
    found = whole(make_schedule("cosine", final=0.1))
    assert found[0] == 1
    assert found[EPOCHS * STEPS // 2] == pytest.approx(0.55)
    # 1 - cos(x) < x^2 / 2: the last step is within (pi / 200)^2 / 4 of the end
    assert 0.1 < found[-1] < 0.1 + (math.pi / (EPOCHS * STEPS)) ** 2 / 4
    assert np.argmin(np.diff(found)) == pytest.approx(EPOCHS * STEPS / 2, abs=1)


def test_one_cycle_rises_to_1_then_falls_to_its_final_value():
    found = whole(OneCycle(warmup=0.25, start=0.1, final=0.01))
    top = EPOCHS * STEPS // 4
    assert found[0] == pytest.approx(0.1)
    assert found[top] == 1
    assert found[top // 2] == pytest.approx(0.55)
    assert found[top + (EPOCHS * STEPS - top) // 2] == pytest.approx(0.505)
    assert (np.diff(found[: top + 1]) > 0).all()
    assert (np.diff(found[top:]) < 0).all()
    assert 0.01 < found[-1] < 0.01 + (math.pi / (0.75 * EPOCHS * STEPS)) ** 2 / 4


def test_one_cycle_starts_at_a_25th_by_default():
    found = whole(OneCycle())
    assert found[0] == pytest.approx(0.04)
    assert np.argmax(found) == 0.3 * EPOCHS * STEPS


@pytest.mark.parametrize("name", ["linear", "cosine", "one_cycle"])
def test_these_do_not_jump_between_epochs(name):
    """The same steps in one long epoch or in many short ones."""
    schedule = make_schedule(name)
    np.testing.assert_allclose(whole(schedule, 1, EPOCHS * STEPS), whole(schedule, EPOCHS, STEPS), rtol=1e-12)


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([5, 4, 3, 2, 1], [1, 1, 1, 1, 1]),
        ([5, 5, 5, 5, 5, 5], [1, 1, 1, 0.5, 0.5, 0.25]),  # two in a row no better than the first, twice
        ([5, 5, 4, 4, 3, 3], [1, 1, 1, 1, 1, 1]),  # never two in a row
        ([5, 6, 5.5, 4, 4, 4, 4, 4], [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]),  # falling from 6, but not below 5
        ([5, 4.99995, 4.9999], [1, 1, 1]),
        ([5, 4.99995, 4.9999, 4.99985], [1, 1, 1, 0.5]),  # better, but by less than the tolerance
        ([5, math.nan, math.nan, 1], [1, 1, 1, 0.5]),
    ],
)
def test_adaptive_halves_when_two_epochs_in_a_row_are_no_better(losses, expected):
    assert by_epoch(Adaptive(), len(losses), losses) == expected


def test_adaptive_heeds_its_settings():
    schedule = Adaptive(factor=0.1, patience=1, tolerance=0.5)
    assert by_epoch(schedule, 5, [5, 4.6, 4, 3.7, 3]) == pytest.approx([1, 1, 0.1, 0.1, 0.01])


def test_adaptive_without_tolerance_falls_where_the_loss_stays():
    assert by_epoch(Adaptive(patience=1, tolerance=0), 3, [1, 1, 1]) == [1, 1, 0.5]


@given(losses=st.lists(st.floats(0, 10), max_size=12), patience=st.integers(1, 4), later=st.lists(st.floats(0, 10)))
def test_adaptive_depends_on_the_losses_before_alone(losses, patience, later):
    """A second look, a fresh object after a resume, and losses still to come do not matter; and it never rises."""
    schedule, epochs = Adaptive(patience=patience), len(losses) + 1
    kept = list(losses)
    path = [schedule.multipliers(epoch, epochs, 1, losses[:epoch])[0] for epoch in range(epochs)]
    assert losses == kept
    for epoch in reversed(range(epochs)):
        assert Adaptive(patience=patience).multipliers(epoch, 99, 1, losses + later)[0] == path[epoch]
    assert all(b in (a, a / 2) for a, b in pairwise(path))
    assert path[-1] >= 0.5 ** (len(losses) // patience)


@pytest.mark.parametrize("name", SCHEDULES)
def test_settings_survive_json_and_make_the_same_again(name):
    schedule = make_schedule(name)
    assert make_schedule(**json.loads(json.dumps(schedule.settings()))) == schedule


def test_a_schedule_can_be_the_starting_point():
    assert make_schedule(OneCycle(start=0.2), final=0.5) == OneCycle(start=0.2, final=0.5)


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("step", {"every": 0}),
        ("step", {"every": 2.5}),
        ("step", {"factor": 0}),
        ("exponential", {"factor": 1.1}),
        ("inverse_time", {"k": -0.1}),
        ("inverse_time", {"k": math.inf}),
        ("linear", {"final": -0.1}),
        ("cosine", {"final": 1.5}),
        ("cosine", {"final": math.nan}),
        ("one_cycle", {"warmup": 0}),
        ("one_cycle", {"warmup": 1}),
        ("one_cycle", {"start": 2}),
        ("adaptive", {"patience": 0}),
        ("adaptive", {"patience": True}),
        ("adaptive", {"tolerance": -1e-4}),
    ],
)
def test_settings_out_of_range_are_refused_by_name(name, bad):
    with pytest.raises(ConfigError, match=f"{next(iter(bad))} of {name} must be"):
        make_schedule(name, **bad)


def test_unknown_names_and_settings_are_answered_with_those_that_exist():
    with pytest.raises(ConfigError, match=r"unknown schedule 'warm'.*one_cycle, adaptive"):
        make_schedule("warm")
    with pytest.raises(ConfigError, match=r"the schedule constant knows no setting 'k'; it has no settings"):
        make_schedule("constant", k=1)
    with pytest.raises(ConfigError, match="its settings are every, factor"):
        make_schedule("step", gamma=1)


# ---------------------------------------------------------------- schedules of one's own


class Falling(Schedule):
    def __init__(self, share=0.5, more=()):
        self.share, self.more = share, more

    def multipliers(self, epoch, epochs, steps, losses):
        return np.full(steps, self.share**epoch)


@dataclass(frozen=True)
class Flat(ByEpoch):
    height: float = 1.0

    def multiplier(self, epoch, losses):
        return self.height


class Late(Cosine):
    def curve(self, p):
        return np.where(p < 0.5, 1.0, super().curve(p))


def rates(schedule, **settings):
    network = MLP([Input(4), Dense(3, "softmax")])
    return network.fit(*blobs(), schedule=schedule, **{"epochs": 3, **settings})["learning_rate"]


def test_a_schedule_of_ones_own_is_taken_as_it_is():
    own = Falling(0.25)
    assert make_schedule(own) is own
    assert rates(own) == pytest.approx(np.multiply(rates("constant"), [1, 0.25, 0.0625]))
    assert rates(Late()) == pytest.approx(np.multiply(rates("constant"), [1, 1, 0.25]))
    assert make_schedule(Flat(), height=2.0) == Flat(2.0)
    with pytest.raises(ConfigError, match="the schedule Falling knows no setting 'height'; it has no settings"):
        make_schedule(own, height=2.0)
    with pytest.raises(ConfigError, match="unknown schedule <class"):
        make_schedule(Falling)


def test_a_checkpoint_knows_a_schedule_of_ones_own_again(tmp_path):
    whole = rates(Falling(0.5, (1, 2)))
    rates(Falling(0.5, (1, 2)), epochs=2, callbacks=[Checkpoint(tmp_path)])
    kept = {"resume": tmp_path / "last.safetensors"}
    assert rates(Falling(0.5, (1, 2)), **kept) == whole
    for other in (Falling(0.4, (1, 2)), Flat(), "cosine"):
        with pytest.raises(ConfigError, match=r"cannot resume: schedule was .*'Falling'"):
            rates(other, **kept)
    assert Late().settings() == {"final": 0.0, "name": "Late"}


@pytest.mark.parametrize("value", [np.ones(2), math.nan, {1}, print])
def test_what_no_checkpoint_can_hold_is_refused_before_the_first_step(tmp_path, value):
    assert len(rates(Falling(0.5, value))) == 3
    with pytest.raises(
        ConfigError, match=r"^more of the schedule Falling is .*, which no checkpoint can hold; make it"
    ):
        rates(Falling(0.5, value), callbacks=[Checkpoint(tmp_path)])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "multipliers",
    [1.0, [1.0], [math.nan] * 4, [-1.0] * 4, [1, 1, math.inf, 1], [1, math.nan, 1, 1], [1, 1, -1, 1], None],
)
def test_multipliers_that_cannot_be_are_refused_by_name(multipliers):
    class Wrong(Schedule):
        def multipliers(self, epoch, epochs, steps, losses):
            return multipliers

    X, y = blobs()
    with pytest.raises(ConfigError, match="the multipliers of the schedule Wrong in epoch 1 must be 4 finite numbers"):
        MLP([Input(4), Dense(3, "softmax")]).fit(X, y, batch_size=-(-len(X) // 4), schedule=Wrong())
