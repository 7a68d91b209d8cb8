"""Initialisers: moments and limits of each distribution, and what is refused."""

import math

import numpy as np
import pytest

from fastnn.errors import ConfigError
from fastnn.initializers import INITIALIZERS, initialize

INPUTS, OUTPUTS = 300, 200
VARIANCES = {"he": 2 / INPUTS, "glorot": 2 / (INPUTS + OUTPUTS), "lecun": 1 / INPUTS}


def draw(spec, shape=(INPUTS, OUTPUTS), seed=0):
    return initialize(spec, shape, np.random.default_rng(seed))


@pytest.mark.parametrize("name", INITIALIZERS)
def test_each_gives_finite_float32_of_the_shape_and_depends_on_the_generator_alone(name):
    spec = "constant(0.5)" if name == "constant" else name
    values = draw(spec)
    assert values.shape == (INPUTS, OUTPUTS)
    assert values.dtype == np.float32
    assert np.isfinite(values).all()
    np.testing.assert_array_equal(values, draw(spec))
    assert (values == draw(spec, seed=1)).all() == (name in ("zeros", "constant"))


# Of n = 60,000 draws the mean lies within 5 std / sqrt(n) of 0 and the variance within 5 sqrt(2 / n) = 2.9% of its
# value (normal; less for uniform): a chance of 1e-6 against. The rules that could be confused differ by 20% or more.
MEAN_BOUND, VARIANCE_BOUND = 5 / math.sqrt(INPUTS * OUTPUTS), 5 * math.sqrt(2 / (INPUTS * OUTPUTS))


@pytest.mark.parametrize("form", ["normal", "uniform"])
@pytest.mark.parametrize("rule", VARIANCES)
def test_scaled_initializers_have_the_variance_of_their_paper(rule, form):
    values = draw(f"{rule}_{form}").astype(np.float64)
    std = math.sqrt(VARIANCES[rule])
    assert abs(values.mean()) < MEAN_BOUND * std
    assert values.var() == pytest.approx(std**2, rel=VARIANCE_BOUND)
    # uniform: of n draws the largest is within a share 20 / n of the limit (but for 1 in e^20); a normal goes beyond
    limit = math.sqrt(3) * std
    if form == "uniform":
        assert limit * (1 - 20 / values.size) < np.abs(values).max() <= limit * (1 + 1e-6)
    else:
        assert np.abs(values).max() > 2 * limit


@pytest.mark.parametrize(("spec", "mean", "std"), [("normal", 0, 0.01), ("normal(1.5)", 0, 1.5), ("normal(0)", 0, 0)])
def test_normal_has_the_given_standard_deviation(spec, mean, std):
    values = draw(spec).astype(np.float64)
    assert abs(values.mean() - mean) <= MEAN_BOUND * std
    assert values.std() == pytest.approx(std, rel=VARIANCE_BOUND / 2)


@pytest.mark.parametrize(
    ("spec", "low", "high"), [("uniform", -0.05, 0.05), ("uniform(2, 3)", 2, 3), ("uniform(-0.5,0.5)", -0.5, 0.5)]
)
def test_uniform_fills_its_interval(spec, low, high):
    values = draw(spec).astype(np.float64)
    assert low - 1e-7 <= values.min() < low + 20 / values.size * (high - low)
    assert high - 20 / values.size * (high - low) < values.max() <= high + 1e-7
    assert abs(values.mean() - (low + high) / 2) < MEAN_BOUND * (high - low) / math.sqrt(12)


def test_zeros_and_constant():
    assert not draw("zeros").any()
    assert (draw("constant(-0.25)", (7,)) == -0.25).all()


@pytest.mark.parametrize("name", [name for name, row in INITIALIZERS.items() if row.by_width])
def test_a_bias_cannot_be_scaled_by_inputs_that_it_has_not(name):
    with pytest.raises(ConfigError, match=f"{name}.*zeros"):
        draw(name, (OUTPUTS,))


@pytest.mark.parametrize("spec", ["normal(0.5)", "uniform(-1, 1)", "zeros", "constant(1)"])
def test_a_bias_takes_what_needs_no_inputs(spec):
    assert draw(spec, (OUTPUTS,)).shape == (OUTPUTS,)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("xavier", "unknown initializer 'xavier'.*glorot_normal"),
        ("he_normal(2)", "takes none"),
        ("zeros(0)", "takes none"),
        ("constant", r"write constant\(value\)"),
        ("normal(1, 2)", r"write normal\(std\)"),
        ("uniform(1)", r"write uniform\(low, high\)"),
        ("uniform(-1, 0, 1)", r"write uniform\(low, high\)"),
        ("uniform(1, -1)", "below"),
        ("uniform(1, 1)", "below"),
        ("normal(-0.1)", "negative"),
        ("normal(nan)", "finite"),
        ("normal(1e39)", "finite"),
        ("uniform(-inf, inf)", "finite"),
        ("constant(-inf)", "finite"),
        ("normal(a)", "cannot read"),
        ("", "cannot read"),
    ],
)
def test_bad_specs_are_refused_with_what_to_do(spec, message):
    with pytest.raises(ConfigError, match=message):
        draw(spec)
