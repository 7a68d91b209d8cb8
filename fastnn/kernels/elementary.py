"""exp, log1p, tanh and the normal distribution in float32, as plain code that LLVM vectorises.

Numba has no vector mathematics library, and a call of the C library for each value costs more than the rest of a
layer. Polynomials and range reductions are those of the Cephes library (Moshier, "Methods and programs for
mathematical functions", 1989; expf, logf, tanhf) and, for erfc, of Press et al., "Numerical Recipes", 2nd edition, 6.2.
`CONTRACT` allows fused multiply-adds and nothing else: reassociation would undo the range reductions. A NaN goes
through every function. The error bounds are tested in tests/kernels/test_elementary.py.
"""

import numpy as np
from numba import njit

from fastnn.kernels.simd import bits_float, float_bits

F = np.float32
CONTRACT = {"contract"}
_scalar = njit(nogil=True, fastmath=CONTRACT, error_model="numpy", forceinline=True)  # a call would stop vectorisation

LOG2_E = F(1.44269504088896341)
LN2_HIGH, LN2_LOW = F(0.693359375), F(-2.12194440e-4)  # the first with few enough bits that n * LN2_HIGH is exact
ROUNDER = F(12582912.0)  # 1.5 * 2**23: adding it rounds to a whole number, held in the lowest bits
LOWEST, HIGHEST = F(-104.0), F(89.0)  # exp is 0 below and infinite above
LN2 = F(0.69314718055994531)
SQRT2_MINUS_1 = F(0.41421356)


@_scalar
def exp(x):  # type: ignore[no-untyped-def]
    """exp(x): x = n ln 2 + r, a polynomial in r, times 2**n in two halves: so 2**128 and denormals are in reach."""
    x = LOWEST if x < LOWEST else x
    x = HIGHEST if x > HIGHEST else x
    shifted = x * LOG2_E + ROUNDER
    n = shifted - ROUNDER
    whole = float_bits(shifted) - float_bits(ROUNDER)
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    p = F(1.9875691500e-4)
    p = p * r + F(1.3981999507e-3)
    p = p * r + F(8.3334519073e-3)
    p = p * r + F(4.1665795894e-2)
    p = p * r + F(1.6666665459e-1)
    p = p * r + F(5.0000001201e-1)
    p = (p * (r * r) + r) + F(1)
    half = whole >> np.int32(1)
    return p * _power_of_two(half) * _power_of_two(whole - half)


@_scalar
def _power_of_two(n):  # type: ignore[no-untyped-def]
    return bits_float(np.int32((n + np.int32(127)) << np.int32(23)))


@_scalar
def log1p(y):  # type: ignore[no-untyped-def]
    """log(1 + y) for 0 <= y <= 1; above sqrt(2) - 1 it is log 2 + log1p((y - 1) / 2)."""
    large = y > SQRT2_MINUS_1
    x = (y - F(1)) * F(0.5) if large else y
    p = F(7.0376836292e-2)
    p = p * x + F(-1.1514610310e-1)
    p = p * x + F(1.1676998740e-1)
    p = p * x + F(-1.2420140846e-1)
    p = p * x + F(1.4249322787e-1)
    p = p * x + F(-1.6668057665e-1)
    p = p * x + F(2.0000714765e-1)
    p = p * x + F(-2.4999993993e-1)
    p = p * x + F(3.3333331174e-1)
    z = x * x
    return (x * z * p - F(0.5) * z + x) + (LN2 if large else F(0))


@_scalar
def tanh(x):  # type: ignore[no-untyped-def]
    """tanh(x): an odd polynomial below 0.625, else 1 - 2 / (exp(2 |x|) + 1) with the sign of x."""
    z = x * x
    p = F(-5.70498872745e-3)
    p = p * z + F(2.06390887954e-2)
    p = p * z + F(-5.37397155531e-2)
    p = p * z + F(1.33314422036e-1)
    p = p * z + F(-3.33332819422e-1)
    near = p * z * x + x
    size = abs(x)
    far = F(1) - F(2) / (exp(size + size) + F(1))
    far = -far if x < F(0) else far
    return far if size > F(0.625) else near


@_scalar
def sigmoid(x):  # type: ignore[no-untyped-def]
    """1 / (1 + exp(-x)); an infinite exponential gives the right 0."""
    return F(1) / (F(1) + exp(-x))


@_scalar
def softplus(x):  # type: ignore[no-untyped-def]
    """log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|))."""
    return (F(0) if x <= F(0) else x) + log1p(exp(-abs(x)))


@_scalar
def normal(x):  # type: ignore[no-untyped-def]
    """The standard normal distribution function and density at x.

    By erfc(s) = t exp(-s^2 + P(t)), t = 1 / (1 + s / 2), s = |x| / sqrt(2). The exponent x^2 / 2 is split into the
    square of x's leading bits, which is exact, and the rest: else its rounding would cost digits in the tails.
    """
    size = abs(x)
    size = F(40) if size > F(40) else size  # the density is 0 beyond; keeps infinities out of the difference below
    lead = bits_float(np.int32(float_bits(size) & np.int32(-4096)))
    bell = exp(F(-0.5) * lead * lead) * exp(F(-0.5) * (size - lead) * (size + lead))
    t = F(1) / (F(1) + F(0.35355339059327) * size)
    p = F(0.17087277)
    p = p * t + F(-0.82215223)
    p = p * t + F(1.48851587)
    p = p * t + F(-1.13520398)
    p = p * t + F(0.27886807)
    p = p * t + F(-0.18628806)
    p = p * t + F(0.09678418)
    p = p * t + F(0.37409196)
    p = p * t + F(1.00002368)
    p = p * t + F(-1.26551223)
    tail = F(0.5) * t * exp(p) * bell
    return (tail if x < F(0) else F(1) - tail), F(0.3989422804014327) * bell
