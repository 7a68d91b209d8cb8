"""Optimisers: their settings, the coefficients handed to the kernels, and the choice by name."""

import json
import math
from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest

from fastnn.errors import ConfigError
from fastnn.kernels.reference import UPDATES
from fastnn.optimizers import OPTIMIZERS, SGD, Adam, AdamW, Momentum, Nesterov, RMSprop, make_optimizer


def test_table_agrees_with_the_update_rules():
    assert OPTIMIZERS.keys() == UPDATES.keys()
    assert all(kind.name == name for name, kind in OPTIMIZERS.items())


@pytest.mark.parametrize(
    ("optimizer", "slots", "first", "second", "decoupled"),
    [
        (SGD(), 0, 0, 0, False),
        (Momentum(momentum=0.8), 1, 0.8, 0, False),
        (Nesterov(momentum=0.7), 1, 0.7, 0, False),
        (RMSprop(rho=0.6), 1, 0.6, 0, False),
        (Adam(beta1=0.5, beta2=0.4), 2, 0.5, 0.4, False),
        (AdamW(beta1=0.5, beta2=0.4), 2, 0.5, 0.4, True),
    ],
)
def test_what_the_kernels_are_told(optimizer, slots, first, second, decoupled):
    told = (optimizer.slots, optimizer.first, optimizer.second, optimizer.decoupled)
    assert told == (slots, first, second, decoupled)


def test_rates_of_the_plain_ones_are_handed_on():
    rates = np.array([0.1, 0.2, 0.0])
    for optimizer in (SGD(), Momentum(), Nesterov()):
        np.testing.assert_array_equal(optimizer.coefficients(rates, 5), [[0.1, 0], [0.2, 0], [0, 0]])
    expected = [[0.1, 1e-4], [0.2, 1e-4], [0, 1e-4]]
    np.testing.assert_array_equal(RMSprop(epsilon=1e-4).coefficients(rates, 5), expected)


def textbook_adam(p, gradients, alphas, beta1, beta2, epsilon):
    """Kingma & Ba, algorithm 1, line by line, with m-hat and v-hat."""
    m, v, path = 0.0, 0.0, []
    for t, (g, alpha) in enumerate(zip(gradients, alphas, strict=True), 1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        m_hat = m / (1 - beta1**t)
        v_hat = v / (1 - beta2**t)
        p = p - alpha * m_hat / (math.sqrt(v_hat) + epsilon)
        path.append(p)
    return path


# an epsilon as large as the gradients shows at once where its correction is left out
@pytest.mark.parametrize("adam", [Adam(), AdamW(), Adam(beta1=0.5, beta2=0.6, epsilon=0.5), Adam(beta1=0, beta2=0)])
@pytest.mark.parametrize("cuts", [[20], [1] * 20, [3, 10, 7]])
def test_adam_takes_the_steps_of_the_textbook_however_they_are_cut(adam, cuts):
    rng = np.random.default_rng(3)
    gradients, rates = rng.normal(size=20), rng.uniform(0.001, 0.1, 20)
    p, state, path, done = np.array([0.7]), np.zeros((2, 1)), [], 0
    for count in cuts:
        for rate, epsilon in adam.coefficients(rates[done : done + count], done):
            g = gradients[len(path) : len(path) + 1]
            UPDATES[adam.name](p, g, state, rate, epsilon, adam.first, adam.second)
            path.append(p[0])
        done += count
    # 20 steps of a dozen float64 operations each; 1 - beta2^t loses three digits to cancellation at beta2 = 0.999
    expected = textbook_adam(0.7, gradients, rates, adam.beta1, adam.beta2, adam.epsilon)
    np.testing.assert_allclose(path, expected, rtol=1e-11)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_settings_survive_json_and_make_the_same_again(name):
    optimizer = make_optimizer(name, learning_rate=np.float32(0.25))
    settings = optimizer.settings()
    assert settings["name"] == name
    assert settings["learning_rate"] == 0.25
    assert make_optimizer(**json.loads(json.dumps(settings))) == optimizer


def test_an_optimizer_can_be_the_starting_point():
    adam = Adam(0.01, beta1=0.8)
    assert make_optimizer(adam) == adam
    assert make_optimizer(adam, learning_rate=1) == Adam(1.0, beta1=0.8)
    assert make_optimizer(AdamW()) != Adam()


def test_settings_cannot_change():
    with pytest.raises(FrozenInstanceError):
        SGD().learning_rate = 1


SHARES = ["momentum", "rho", "beta1", "beta2"]
BAD = {
    "learning_rate": [0, -1, math.nan, math.inf, "0.1", None, True],
    "epsilon": [0, -1e-8, math.nan, math.inf],
    **{share: [1, 1.5, -0.1, math.nan] for share in SHARES},
}
CASES = [(name, item.name, bad) for name, kind in OPTIMIZERS.items() for item in fields(kind) for bad in BAD[item.name]]


@pytest.mark.parametrize(("name", "setting", "bad"), CASES)
def test_settings_out_of_range_are_refused_by_name(name, setting, bad):
    with pytest.raises(ConfigError, match=f"{setting} of {name} must be a number"):
        make_optimizer(name, **{setting: bad})


def test_decay_constants_may_be_zero():
    assert make_optimizer("momentum", momentum=0).first == 0


@pytest.mark.parametrize("name", ["adagrad", "", None, 3, ["sgd"], Adam])
def test_an_unknown_name_is_answered_with_those_that_exist(name):
    with pytest.raises(ConfigError, match=r"unknown optimizer.*sgd, momentum.*adamw"):
        make_optimizer(name)


@pytest.mark.parametrize("name", ["sgd", SGD()])
def test_an_unknown_setting_is_answered_with_those_that_exist(name):
    with pytest.raises(ConfigError, match="sgd knows no setting 'momentum'; its settings are learning_rate"):
        make_optimizer(name, momentum=0.9)
