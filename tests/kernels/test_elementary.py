"""Error bounds of the vectorised functions, in units in the last place of float32, against float64."""

import math

import numpy as np
import pytest
from numba import njit

from fastnn.kernels import elementary as e

TINY = np.finfo(np.float32).tiny  # below it float32 is denormal and holds fewer digits


@njit(error_model="numpy")
def tabulate(x):
    out = np.empty((6, x.size), np.float32)
    for i in range(x.size):
        out[0, i] = e.exp(x[i])
        out[1, i] = e.tanh(x[i])
        out[2, i] = e.sigmoid(x[i])
        out[3, i] = e.softplus(x[i])
        out[4, i], out[5, i] = e.normal(x[i])
    return out


@njit(error_model="numpy")
def tabulate_log1p(x):
    out = np.empty(x.size, np.float32)
    for i in range(x.size):
        out[i] = e.log1p(x[i])
    return out


def over(low: float, high: float) -> np.ndarray:
    """Even steps, and every power of two down to 2**-30: small arguments matter most for relative errors."""
    powers = 2.0 ** np.arange(-30, 7)
    x = np.concatenate([np.linspace(low, high, 200_001), powers, -powers]).astype(np.float32)
    return x[(x >= low) & (x <= high)]


def ulps(found: np.ndarray, exact: np.ndarray) -> float:
    """Largest error, in spacings of float32 at the exact value."""
    spacing = np.spacing(np.maximum(np.abs(exact), TINY).astype(np.float32)).astype(np.float64)
    return float((np.abs(found - exact) / spacing).max())


def cdf(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


# function: place in `tabulate`, exact value, range, bound in ulps. exp and tanh promise 2; sigmoid and softplus add a
# rounding or two; erfc's polynomial alone is within 1.2e-7 (2 ulps), and stands after two exponentials.
BOUNDS = {
    "exp": (0, math.exp, -87.3, 88.7, 2),
    "tanh": (1, math.tanh, -50, 50, 2),
    "sigmoid": (2, lambda x: 1 / (1 + math.exp(-x)), -87, 87, 3),
    "softplus": (3, lambda x: max(x, 0) + math.log1p(math.exp(-abs(x))), -87, 87, 3),
    "normal distribution": (4, cdf, -12, 12, 8),
    "normal density": (5, lambda x: math.exp(-x * x / 2) / math.sqrt(2 * math.pi), -12, 12, 4),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_error_is_within_its_bound(name):
    place, exact, low, high, bound = BOUNDS[name]
    x = over(low, high)
    expected = np.array([exact(value) for value in x.astype(np.float64).tolist()])
    assert ulps(tabulate(x)[place], expected) <= bound


def test_log1p_between_0_and_1():
    x = over(0, 1)
    assert ulps(tabulate_log1p(x), np.log1p(x.astype(np.float64))) <= 2


def test_the_ends_of_the_range():
    low, high, nan = tabulate(np.array([-np.inf, np.inf, np.nan], np.float32)).T
    np.testing.assert_array_equal(low, np.array([0, -1, 0, 0, 0, 0], np.float32))
    np.testing.assert_array_equal(high, np.array([np.inf, 1, 1, np.inf, 1, 0], np.float32))
    assert np.isnan(nan).all()


def test_exp_overflows_and_underflows_where_float32_does():
    x = np.array([88.72, 88.73, -103.2, -104.5], np.float32)
    found = tabulate(x)[0]
    assert np.isfinite(found[0])
    assert np.isinf(found[1])
    assert found[2] > 0  # the smallest denormal numbers are reached
    assert found[3] == 0
