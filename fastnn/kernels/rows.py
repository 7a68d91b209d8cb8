"""What the fused kernels do to a run of floats: activations, losses, updates, dropout. Each a row in a table.

The formulas and their sources stand in kernels/reference.py. A table becomes one compiled function that picks its row
by code, so a network is data and everything is compiled once.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numba import njit

from fastnn import rng
from fastnn.kernels.elementary import exp, normal, sigmoid, softplus, tanh
from fastnn.kernels.simd import floats

F = np.float32
# Contraction and reassociation, but never nnan or ninf: a NaN must stay visible.
FAST = {"reassoc", "contract", "nsz", "arcp", "afn"}
fast = njit(nogil=True, fastmath=FAST, error_model="numpy")
inlined = njit(nogil=True, fastmath=FAST, error_model="numpy", forceinline=True)  # a call would stop vectorisation


def choose(functions: Iterable[Callable[..., Any]]) -> Callable[..., Any]:
    """Compile a table into one function ``pick(code, *arguments)`` that calls the function at place `code`."""
    *rest, last = functions
    if not rest:
        return inlined(lambda code, *arguments: last(*arguments))
    others, place = choose(rest), len(rest)

    @inlined
    def pick(code, *arguments):  # type: ignore[no-untyped-def]
        if code == place:
            return last(*arguments)
        return others(code, *arguments)

    return pick


# ---------------------------------------------------------------- activations: z -> (f(z), f'(z))


@inlined
def _identity(z, alpha):  # type: ignore[no-untyped-def]
    return z, F(1)


@inlined
def _relu(z, alpha):  # type: ignore[no-untyped-def]
    return (F(0) if z <= F(0) else z), (F(1) if z > F(0) else F(0))


@inlined
def _leaky_relu(z, alpha):  # type: ignore[no-untyped-def]
    return (z if z > F(0) else alpha * z), (F(1) if z > F(0) else alpha)


@inlined
def _elu(z, alpha):  # type: ignore[no-untyped-def]
    e = exp(F(0) if z > F(0) else z)
    # near 0, exp(z) - 1 cancels; there expm1(z) = tanh(z / 2) (exp(z) + 1)
    below = tanh(F(0.5) * z) * (e + F(1))
    return (z if z > F(0) else alpha * below), (F(1) if z > F(0) else alpha * e)


@inlined
def _sigmoid(z, alpha):  # type: ignore[no-untyped-def]
    return sigmoid(z), sigmoid(z) * sigmoid(-z)


@inlined
def _tanh(z, alpha):  # type: ignore[no-untyped-def]
    a = tanh(z)
    return a, (F(1) - a) * (F(1) + a)


@inlined
def _softplus(z, alpha):  # type: ignore[no-untyped-def]
    return softplus(z), sigmoid(z)


@inlined
def _gelu(z, alpha):  # type: ignore[no-untyped-def]
    below, density = normal(z)
    return z * below, below + z * density


@inlined
def _silu(z, alpha):  # type: ignore[no-untyped-def]
    s = sigmoid(z)
    return z * s, s * (F(1) + z * sigmoid(-z))


def _each(function: Callable[..., Any]) -> Callable[..., Any]:
    @inlined
    def apply(n, a, d, alpha):  # type: ignore[no-untyped-def]
        for o in range(n):
            a[o], d[o] = function(a[o], alpha)

    return apply


# softmax stands only at the output, where its loss below takes its place
ACTIVATIONS = {
    "identity": _identity,
    "relu": _relu,
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "softplus": _softplus,
    "gelu": _gelu,
    "silu": _silu,
    "softmax": _identity,
}
ACTIVATION_CODES = {name: code for code, name in enumerate(ACTIVATIONS)}
_pick_activation = choose(_each(function) for function in ACTIVATIONS.values())


@fast
def activate(code, n, a, d, alpha):  # type: ignore[no-untyped-def]
    """a[:n] = f(a), d[:n] = f'(a), at two addresses."""
    _pick_activation(code, n, floats(a), floats(d), alpha)


# ------------------------------------------------- losses: n of (z, t) -> output a = z, delta d = dLoss/dz, the loss


@inlined
def _cross_entropy(n, a, t, d, activation, alpha):  # type: ignore[no-untyped-def]
    a, t, d = floats(a), floats(t), floats(d)
    top = a[0]
    for o in range(1, n):
        top = max(top, a[o])
    total, weight, loss = F(0), F(0), F(0)
    for o in range(n):
        z = a[o] - top
        a[o] = exp(z)
        total += a[o]
        weight += t[o]
        loss -= t[o] * z
    share = F(1) / total
    for o in range(n):
        a[o] = a[o] * share
        d[o] = a[o] * weight - t[o]
    return loss + weight * F(np.log(total))


@inlined
def _binary_cross_entropy(n, a, t, d, activation, alpha):  # type: ignore[no-untyped-def]
    a, t, d = floats(a), floats(t), floats(d)
    loss = F(0)
    for o in range(n):
        loss += t[o] * softplus(-a[o]) + (F(1) - t[o]) * softplus(a[o])
        a[o] = sigmoid(a[o])
        d[o] = a[o] - t[o]
    return loss


@inlined
def _quadratic(n, a, t, d, activation, alpha):  # type: ignore[no-untyped-def]
    activate(activation, n, a, d, alpha)
    a, t, d, loss = floats(a), floats(t), floats(d), F(0)
    for o in range(n):
        error = a[o] - t[o]
        loss += F(0.5) * error * error
        d[o] = error * d[o]
    return loss


LOSSES = {"cross_entropy": _cross_entropy, "binary_cross_entropy": _binary_cross_entropy, "quadratic": _quadratic}
LOSS_CODES = {name: code for code, name in enumerate(LOSSES)}
_pick_loss = choose(LOSSES.values())


@fast
def judge(code, n, a, t, d, activation, alpha):  # type: ignore[no-untyped-def]
    """The loss of one sample with Z in a[:n] and targets t[:n]; leaves the output in a and the delta in d."""
    return _pick_loss(code, n, a, t, d, activation, alpha)


@fast
def hit(n, z, t):  # type: ignore[no-untyped-def]
    """Whether a sample is classified right (see reference.hits), as 0 or 1."""
    z, t = floats(z), floats(t)
    if n == 1:
        return F(1) if (z[0] > F(0)) == (t[0] > F(0.5)) else F(0)
    said, true = 0, 0
    for o in range(1, n):
        said = o if z[o] > z[said] else said
        true = o if t[o] > t[true] else true
    return F(1) if said == true else F(0)


# ------------------------------------- updates: of n parameters p, and the state s, u, by a gradient g


@inlined
def _sgd(n, p, g, s, u, rate, epsilon, first, second):  # type: ignore[no-untyped-def]
    for o in range(n):
        p[o] -= rate * g[o]


@inlined
def _momentum(n, p, g, s, u, rate, epsilon, first, second):  # type: ignore[no-untyped-def]
    keep = F(first)
    for o in range(n):
        s[o] = keep * s[o] - rate * g[o]
        p[o] += s[o]


@inlined
def _nesterov(n, p, g, s, u, rate, epsilon, first, second):  # type: ignore[no-untyped-def]
    keep = F(first)
    for o in range(n):
        step = rate * g[o]
        s[o] = keep * s[o] - step
        p[o] += keep * s[o] - step


@inlined
def _rmsprop(n, p, g, s, u, rate, epsilon, first, second):  # type: ignore[no-untyped-def]
    keep, take = F(first), F(1.0 - first)  # 1 - first before rounding: after it, 1 - 0.999 is off by 1e-5 of itself
    for o in range(n):
        s[o] = keep * s[o] + take * g[o] * g[o]
        p[o] -= rate * g[o] / (np.sqrt(s[o]) + epsilon)


@inlined
def _adam(n, p, g, s, u, rate, epsilon, first, second):  # type: ignore[no-untyped-def]
    keep, take, keep2, take2 = F(first), F(1.0 - first), F(second), F(1.0 - second)
    for o in range(n):
        s[o] = keep * s[o] + take * g[o]
        u[o] = keep2 * u[o] + take2 * g[o] * g[o]
        p[o] -= rate * s[o] / (np.sqrt(u[o]) + epsilon)


UPDATES = {
    "sgd": _sgd,
    "momentum": _momentum,
    "nesterov": _nesterov,
    "rmsprop": _rmsprop,
    "adam": _adam,
    "adamw": _adam,
}
UPDATE_CODES = {name: code for code, name in enumerate(UPDATES)}


def _rowwise(function: Callable[..., Any]) -> Callable[..., Any]:
    @inlined
    def apply(rows, n, stride, p, g, s, u, *settings):  # type: ignore[no-untyped-def]
        for row in range(rows):
            at = 4 * stride * row
            function(n, floats(p + at), floats(g + 4 * n * row), floats(s + at), floats(u + at), *settings)

    return apply


_pick_update = choose(_rowwise(function) for function in UPDATES.values())


@fast
def update(code, rows, n, stride, p, g, s, u, rate, epsilon, first, second):  # type: ignore[no-untyped-def]
    """Update n parameters of each of `rows` rows at p, and their state at s and u, by the gradient at g.

    Addresses; those of the state may be 0. Rows lie `stride` floats apart, those of g next to each other.
    """
    _pick_update(code, rows, n, stride, p, g, s, u, rate, epsilon, first, second)


# ---------------------------------------------------------------- dropout: the twin of fastnn.rng, value by value

LOW, SHIFT = np.uint64(0xFFFFFFFF), np.uint64(32)
M0, M1 = (np.uint64(m) for m in rng.MULTIPLIERS)
W0, W1 = (np.uint64(w) for w in rng.WEYL)
ROUNDS = rng.ROUNDS
PURPOSE = np.uint64(rng.PURPOSES["dropout"] << 16)


@njit(nogil=True)
def _philox(c0, c1, c2, c3, k0, k1):  # type: ignore[no-untyped-def]
    for _ in range(ROUNDS):
        first, second = M0 * c0, M1 * c2
        c0, c1, c2, c3 = (second >> SHIFT) ^ c1 ^ k0, second & LOW, (first >> SHIFT) ^ c3 ^ k1, first & LOW
        k0, k1 = (k0 + W0) & LOW, (k1 + W1) & LOW
    return c0, c1, c2, c3


@njit(nogil=True)
def drop(n, a, factor, seed, layer, epoch, sample, first, threshold, kept):  # type: ignore[no-untyped-def]
    """Apply inverted dropout to values first..first + n of a sample, at `a`, and to their derivatives, in place.

    Word u of the sample is below `threshold` where value u is dropped; the others are multiplied by `kept`.
    `first` and n are multiples of 4.
    """
    a, factor = floats(a), floats(factor)
    k0, k1, purpose = seed & LOW, seed >> SHIFT, PURPOSE | np.uint64(layer)
    for block in range(n // 4):
        words = _philox(np.uint64(first // 4 + block), np.uint64(sample), np.uint64(epoch), purpose, k0, k1)
        for j in range(4):
            scale = kept if words[j] >= threshold else F(0)
            a[4 * block + j] = a[4 * block + j] * scale
            factor[4 * block + j] = factor[4 * block + j] * scale
