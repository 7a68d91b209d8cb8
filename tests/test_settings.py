import math
from dataclasses import FrozenInstanceError, dataclass
from fractions import Fraction

import numpy as np
import pytest

from fastnn.errors import ConfigError
from fastnn.settings import (
    BELOW_ONE,
    COUNT,
    NOT_NEGATIVE,
    POSITIVE,
    UP_TO_ONE,
    Choice,
    checked,
    choose,
    setting,
)


@dataclass(frozen=True)
class Tea(Choice):
    name = "tea"

    sugar: int = setting(1, COUNT)
    milk: float = setting(0.1, BELOW_ONE)


@dataclass(frozen=True)
class Water(Choice):
    name = "water"


DRINKS = {"tea": Tea, "water": Water}


@pytest.mark.parametrize(
    ("allowed", "inside", "outside"),
    [
        (POSITIVE, [5e-324, 1, 1e308], [0, -1]),
        (NOT_NEGATIVE, [0, -0.0, 1e308], [-5e-324]),
        (BELOW_ONE, [0, 0.5, math.nextafter(1, 0)], [1, -5e-324]),
        (UP_TO_ONE, [0, 1], [math.nextafter(1, 2), -5e-324]),
        (COUNT, [1, 1e308], [math.nextafter(1, 0), 0]),
    ],
)
def test_ranges(allowed, inside, outside):
    assert [checked(value, allowed, "it") for value in inside] == inside
    for value in [*outside, math.nan, math.inf, -math.inf, 10**400, True, "1", None, 1j, [1]]:
        with pytest.raises(ConfigError, match=f"^it must be a number {allowed.words}, not "):
            checked(value, allowed, "it")


@pytest.mark.parametrize(
    ("value", "kind", "plain"),
    [
        (np.float32(0.5), float, 0.5),
        (np.int64(3), float, 3.0),
        (Fraction(1, 4), float, 0.25),
        (2, float, 2.0),
        (np.uint8(3), int, 3),
        (2**60 + 1, int, 2**60 + 1),
    ],
)
def test_numbers_of_all_kinds_become_plain(value, kind, plain):
    found = checked(value, POSITIVE, "it", kind)
    assert (found, type(found)) == (plain, kind)


@pytest.mark.parametrize("value", [1.0, np.float64(1), Fraction(1), True, "1", 10**400, 0])
def test_a_count_is_a_whole_number(value):
    with pytest.raises(ConfigError, match="it must be a whole number at least 1"):
        checked(value, COUNT, "it", int)


def test_settings_are_checked_plain_and_immutable():
    tea = Tea(np.int64(2), 0)
    assert [type(value) for value in (tea.sugar, tea.milk)] == [int, float]
    assert tea.settings() == {"name": "tea", "sugar": 2, "milk": 0.0}
    with pytest.raises(FrozenInstanceError):
        tea.sugar = 3
    with pytest.raises(ConfigError, match="milk of tea must be a number at least 0 and below 1, not 1"):
        Tea(milk=1)


def test_a_choice_is_by_name_or_by_example():
    assert choose(DRINKS, "drink", "tea", {"sugar": 2}) == Tea(2)
    assert choose(DRINKS, "drink", Tea(3), {"milk": 0.5}) == Tea(3, 0.5)
    tea = Tea(3)
    assert choose(DRINKS, "drink", tea, {}) is tea
    assert choose(DRINKS, "drink", **Water().settings(), settings={}) == Water()


@pytest.mark.parametrize("name", ["juice", None, Tea, 5])
def test_an_unknown_choice_says_what_there_is(name):
    with pytest.raises(ConfigError, match=r"unknown drink .*; choose one of tea, water"):
        choose(DRINKS, "drink", name, {})


def test_an_instance_of_ones_own_is_taken_where_it_may_be():
    @dataclass(frozen=True)
    class Mate(Tea):
        name = "mate"

    assert choose(DRINKS, "drink", Mate(), {"milk": 0.5}, Choice) == Mate(1, 0.5)
    with pytest.raises(ConfigError, match="unknown drink"):
        choose(DRINKS, "drink", Mate(), {})


def test_an_unknown_setting_says_what_there_is():
    with pytest.raises(ConfigError, match="the drink tea knows no setting 'lemon'; its settings are sugar, milk"):
        choose(DRINKS, "drink", "tea", {"lemon": 1})
    with pytest.raises(ConfigError, match="the drink water knows no setting 'milk'; it has no settings"):
        choose(DRINKS, "drink", "water", {"milk": 0.2})
    with pytest.raises(ConfigError, match="sugar of tea must be a whole number"):
        choose(DRINKS, "drink", "tea", {"sugar": 0.5})
