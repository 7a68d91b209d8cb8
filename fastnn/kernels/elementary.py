"""exp, log, log1p, tanh and the normal distribution in float32, as formulas on vectors.

Numba has no vector mathematics library, and a call of the C library for each value costs more than the rest of a
layer. Polynomials and range reductions are those of the Cephes library (Moshier, "Methods and programs for
mathematical functions", 1989; expf, logf) and, for erfc, of Press et al., "Numerical Recipes", 2nd edition, 6.2.
A NaN goes through every function. The error bounds are tested in tests/kernels/test_elementary.py.
"""

from collections.abc import Sequence
from math import inf

from fastnn.kernels.vectors import Bits, Vector, where

LOG2_E = 1.44269504088896341
LN2_HIGH, LN2_LOW = 0.693359375, -2.12194440e-4  # the first with few enough bits that n * LN2_HIGH is exact
# 1.5 * 2**23: adding it rounds to a whole number n, held in the lowest bits; the exponent's offset 127 is there too, so
# that these bits, moved to the exponent's place, are 2**n.
ROUNDER = 12582912.0 + 127
ROUNDER_BITS = 0x4B400000 + 127
LOWEST, HIGHEST = -104.0, 89.0  # exp is 0 below and infinite above
LN2 = 0.69314718055994531
SQRT2_MINUS_1 = 0.41421356

EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
HALF_EXP = tuple(c * 2 ** (len(EXP) - k) for k, c in enumerate(EXP))  # of (exp(2 h) - 1) / 2: the same, scaled exactly
LOG = (
    7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
    2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
)  # fmt: skip
ERFC = (
    0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807, -0.18628806, 0.09678418, 0.37409196, 1.00002368,
    -1.26551223,
)  # fmt: skip


def polynomial(x: Vector, coefficients: Sequence[float]) -> Vector:
    """By Horner's rule, the highest power first."""
    first, second, *rest = coefficients
    p = x * first + second
    for coefficient in rest:
        p = p * x + coefficient
    return p


def exp(x: Vector) -> Vector:
    """exp(x) = 2**n exp(r), in two halves of n: so 2**128 and denormals are in reach."""
    x = where(x < LOWEST, LOWEST, x)
    x = where(x > HIGHEST, HIGHEST, x)
    bits, m = _reduced(x)
    n = bits - ROUNDER_BITS
    half = n >> 1
    return (m + 1.0) * _power_of_two(half) * _power_of_two(n - half)


def expm1(x: Vector) -> Vector:
    """exp(x) - 1 = 2**n (exp(r) - 1) + (2**n - 1) for x from -87 to 88; n is 0 where x is small: no digit is lost."""
    bits, m = _reduced(x)
    power = (bits << 23).floats()
    return power * m + (power - 1.0)


def _reduced(x: Vector) -> tuple[Bits, Vector]:
    """The bits of n + ROUNDER and exp(r) - 1, a polynomial, for x = n ln 2 + r with r as small as can be."""
    shifted = x * LOG2_E + ROUNDER
    n = shifted - ROUNDER
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    return shifted.bits(), polynomial(r, EXP) * (r * r) + r


def _power_of_two(n: Bits) -> Vector:
    return ((n + 127) << 23).floats()


def _log_near_1(x: Vector) -> Vector:
    """log(1 + x) from sqrt(1/2) - 1 to sqrt(2) - 1."""
    z = x * x
    return x * z * polynomial(x, LOG) - 0.5 * z + x


def log(x: Vector) -> Vector:
    """log(x) of normal numbers above 0: x = m 2**n with m next to 1, log m + n ln 2."""
    bits = x.bits()
    n = (bits - 0x3F3504F3) >> 23  # m from sqrt(1/2) to sqrt(2)
    m = (bits - (n << 23)).floats()
    n_float = n.converted()
    found = (_log_near_1(m - 1.0) + n_float * LN2_LOW) + n_float * LN2_HIGH
    return where(x < inf, found, x)


def log1p(y: Vector) -> Vector:
    """log(1 + y) for 0 <= y <= 1; above sqrt(2) - 1 it is log 2 + log1p((y - 1) / 2)."""
    large = y > SQRT2_MINUS_1
    return _log_near_1(where(large, (y - 1.0) * 0.5, y)) + where(large, LN2, 0.0)


def tanh(x: Vector) -> Vector:
    """tanh(x) = s / (s + 1) with s = (exp(2 x) - 1) / 2 = 2**n e + (2**n - 1) / 2, e = (exp(2 h) - 1) / 2.

    x = n ln 2 / 2 + h, in one step: where n is large, and h inexact, tanh is near 1 and takes no notice.
    A zero loses its sign, and tanh(-x) may differ from -tanh(x) in the last digits.
    """
    x = where(x < -10.0, -10.0, x)  # beyond, tanh is 1 to all digits
    x = where(x > 10.0, 10.0, x)
    shifted = x * (2 * LOG2_E) + ROUNDER
    h = x - (shifted - ROUNDER) * (LN2 / 2)
    e = polynomial(h, HALF_EXP) * (h * h) + h
    power = (shifted.bits() << 23).floats()
    s = power * e + (power * 0.5 - 0.5)
    return s / (s + 1.0)


def sigmoid(x: Vector) -> Vector:
    """1 / (1 + exp(-x)); an infinite exponential gives the right 0."""
    return 1.0 / (1.0 + exp(-x))


def softplus(x: Vector) -> Vector:
    """log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|))."""
    return where(x <= 0.0, 0.0, x) + log1p(exp(-abs(x)))


def normal(x: Vector) -> tuple[Vector, Vector]:
    """The standard normal distribution function and density at x.

    By erfc(s) = t exp(-s^2 + P(t)), t = 1 / (1 + s / 2), s = |x| / sqrt(2). The exponent x^2 / 2 is split into the
    square of x's leading bits, which is exact, and the rest: else its rounding would cost digits in the tails.
    """
    size = abs(x)
    size = where(size > 40.0, 40.0, size)  # the density is 0 beyond; keeps infinities out of the difference below
    lead = (size.bits() & -4096).floats()
    bell = exp(-0.5 * lead * lead) * exp(-0.5 * (size - lead) * (size + lead))
    t = 1.0 / (1.0 + 0.35355339059327 * size)
    tail = 0.5 * t * exp(polynomial(t, ERFC)) * bell
    return where(x < 0.0, tail, 1.0 - tail), 0.3989422804014327 * bell
