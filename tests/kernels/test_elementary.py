"""Error bounds of the vectorised functions, in units in the last place of float32, against float64."""

import math

import numpy as np
import pytest
from numba import njit

from fastnn.kernels import elementary as e
from fastnn.kernels.families import family, whole
from fastnn.kernels.vectors import LANES, VECTOR, Vector, at, load, repeat, store, word

TINY = np.finfo(np.float32).tiny  # below it float32 is denormal and holds fewer digits


FUNCTIONS = [
    lambda x: [e.exp(x)],
    lambda x: [e.tanh(x)],
    lambda x: [e.sigmoid(x)],
    lambda x: [e.softplus(x)],
    lambda x: list(e.normal(x)),
    lambda x: [e.log1p(x)],
    lambda x: [e.log(x)],
]
FIRST_ROW = [0, 1, 2, 3, 4, 6, 7]  # of what a function returns


def _tabulate(b, code, count, at_x, at_out, rows):
    def turn(q, _):
        x = Vector(b, load(b, [b.bitcast(at(b, at_x, q), VECTOR.as_pointer())])[0])
        for row, value in enumerate(FUNCTIONS[code](x), FIRST_ROW[code]):
            place = at(b, at(b, at_out, b.mul(count, word(row))), q)
            store(b, [value.value], [b.bitcast(place, VECTOR.as_pointer())])
        return []

    repeat(b, count, LANES, [], turn)


tabulated = family("count at_x at_out rows", range(len(FUNCTIONS)), _tabulate)


@njit
def run(code, count, x, out):
    whole()
    tabulated(code, count, x, out, 0)


def tabulate(x, codes=range(5)):
    """A row for each value that the functions return; the length of x is rounded up to whole vectors."""
    padded = np.concatenate([x, np.ones(-len(x) % LANES, np.float32)])
    out = np.zeros((8, len(padded)), np.float32)
    for code in codes:
        run(code, len(padded), padded.ctypes.data, out.ctypes.data)
    return out[:, : len(x)]


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


# function: place in `tabulate`, exact value, range, bound in ulps. exp promises 2; tanh, sigmoid and softplus
# add a rounding or two; erfc's polynomial alone is within 1.2e-7 (2 ulps), and stands after two exponentials.
BOUNDS = {
    "exp": (0, math.exp, -87.3, 88.7, 2),
    "tanh": (1, math.tanh, -50, 50, 3),
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
    assert ulps(tabulate(x, [5])[6], np.log1p(x.astype(np.float64))) <= 2


def test_log_of_normal_numbers():
    x = np.concatenate([np.geomspace(TINY, 3e38, 200_001), 1 + over(-1e-3, 1e-3)]).astype(np.float32)
    found, exact = tabulate(x, [6])[7], np.log(x.astype(np.float64))
    assert ulps(found, exact) <= 2


def test_log_of_infinity_and_nan():
    found = tabulate(np.array([np.inf, np.nan], np.float32), [6])[7]
    assert np.isinf(found[0])
    assert np.isnan(found[1])


def test_the_ends_of_the_range():
    low, high, nan = tabulate(np.array([-np.inf, np.inf, np.nan], np.float32))[:6].T
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
