"""How far float32 may be from the truth: an error bound for each single number that a kernel returns.

First-order forward error analysis (Higham: "Accuracy and Stability of Numerical Algorithms", 2nd edition, 2002,
sections 2.2, 3.1, 3.3, 3.5). The truth is the reference in float64, from the same float32 parameters and examples.
Each intermediate result is carried with a bound of its absolute error, through every formula of kernels/reference.py.
A sum of n products is off by at most gamma_n times the sum of their magnitudes, in *any* order of summation, with or
without fused multiply-adds: so one bound holds for BLAS, for SIMD and for sparse rows.

Letters: E_x is the bound of the error of x; B, I, O as in fastnn.layers.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastnn.kernels import functions, reference
from fastnn.kernels.job import Job, Totals
from fastnn.rng import drop_threshold, dropout_mask
from tests.cases import copied

U = 2.0**-24  # unit roundoff of float32
FLOOR = 2.0**-120  # what underflow may cost (2**-150 a product), even times large weights
SAFETY = 2.0  # for the terms of second order, which are left out: products of two errors


def gamma(n: int) -> float:
    """The relative error of n roundings in a row, Higham lemma 3.1."""
    return n * U / (1 - n * U)


class Bounded(NamedTuple):
    """A true value and how far a float32 result may be from it, element by element."""

    value: np.ndarray
    error: np.ndarray

    def admits(self, found: np.ndarray) -> bool:
        """Whether each element of `found` is within its bound (a NaN never is)."""
        return bool((np.abs(found - self.value) <= self.error).all())


# ---------------------------------------------------------------- activations


class Behaviour(NamedTuple):
    """What an activation does to an error; each a function of z, alpha, f(z) and f'(z)."""

    value: Callable[..., np.ndarray | float]  # error of evaluating f in float32, in units of U
    slope: Callable[..., np.ndarray | float]  # error of evaluating f', in units of U
    curvature: Callable[[float], float] = lambda alpha: 0.0  # the largest |f''| apart from a kink
    jump: Callable[[float], float] = lambda alpha: 0.0  # by how much f' jumps at z = 0


def _cdf(z: np.ndarray) -> np.ndarray:
    return functions.normal_cdf(z) + np.abs(z) * functions.normal_pdf(z)  # a relative error of z moves Phi by |z| phi


# The counts of U: NumPy's exp, tanh and their kin are within 4 units in the last place, which is 8 U; those of
# kernels/elementary.py within 2 (tanh 3, normal distribution 8). One more for alpha, each product, quotient and sum.
BEHAVIOUR: dict[str, Behaviour] = {
    "identity": Behaviour(lambda z, alpha, a, d: 0, lambda z, alpha, a, d: 0),
    "relu": Behaviour(lambda z, alpha, a, d: 0, lambda z, alpha, a, d: 0, jump=lambda alpha: 1),
    "leaky_relu": Behaviour(
        lambda z, alpha, a, d: 2 * np.abs(a), lambda z, alpha, a, d: np.abs(d), jump=lambda alpha: abs(1 - alpha)
    ),
    "elu": Behaviour(
        lambda z, alpha, a, d: 10 * np.abs(a), lambda z, alpha, a, d: 10 * np.abs(d), abs, lambda alpha: abs(1 - alpha)
    ),
    "sigmoid": Behaviour(lambda z, alpha, a, d: 10 * a, lambda z, alpha, a, d: 21 * d, lambda alpha: 3**-1.5 / 2),
    # 1 - a^2 cancels where a is near 1: its error is absolute
    "tanh": Behaviour(
        lambda z, alpha, a, d: 8 * np.abs(a), lambda z, alpha, a, d: 17 * a * a + d, lambda alpha: 4 * 3**-1.5
    ),
    "softplus": Behaviour(lambda z, alpha, a, d: 18 * a, lambda z, alpha, a, d: 10 * d, lambda alpha: 0.25),
    "gelu": Behaviour(
        lambda z, alpha, a, d: 18 * np.abs(z) * _cdf(z),
        lambda z, alpha, a, d: 18 * (_cdf(z) + np.abs(z) ** 3 * functions.normal_pdf(z)),
        lambda alpha: 2 * (2 * np.pi) ** -0.5,
    ),
    # 1 - s in its derivative cancels: an absolute error, times z s
    "silu": Behaviour(
        lambda z, alpha, a, d: 11 * np.abs(a),
        lambda z, alpha, a, d: 21 * (1 + np.abs(z)) * functions.sigmoid(z),
        lambda alpha: 0.5,
    ),
}


def _activate(name: str, alpha: float, z: np.ndarray, E_z: np.ndarray) -> tuple[np.ndarray, ...]:
    """f(z), its bound, f'(z), its bound. By Taylor: f' moves by |f''| E_z, and by its jump where z may change sign."""
    f, derivative = functions.ACTIVATIONS[name]
    kind = BEHAVIOUR[name]
    a, d = f(z, alpha), derivative(z, alpha)
    moved = kind.curvature(alpha) * E_z + kind.jump(alpha) * (np.abs(z) <= E_z)
    E_a = (np.abs(d) + moved) * E_z + U * kind.value(z, alpha, a, d) + FLOOR
    return a, E_a, d, moved + U * kind.slope(z, alpha, a, d) + FLOOR


# ---------------------------------------------------------------- forward


class Layer(NamedTuple):
    """The input of a layer, what its products with weights may be as large as, and the derivative and mask below it."""

    A: np.ndarray
    E_A: np.ndarray
    size: np.ndarray
    d: np.ndarray
    E_d: np.ndarray
    mask: np.ndarray | float


def _times_mask(job: Job, layer: int, rows: np.ndarray, epoch: int | None) -> np.ndarray | float:
    rate = job.architecture.dropout[layer]
    if epoch is None or not drop_threshold(rate):
        return 1.0
    return dropout_mask(job.seed, layer, epoch, rows, job.architecture.widths[layer], rate) / (1 - rate)


def _forward(job: Job, rows: np.ndarray, epoch: int | None) -> tuple[list[Layer], np.ndarray, np.ndarray]:
    """All layers, the output's Z and E_z; `epoch` None: without dropout."""
    net = job.architecture
    a = reference.scaled(job, rows)
    # the products scale * x and the shifts may be multiplied by W apart
    size = np.abs(job.examples.X[rows] * np.asarray(net.scale)) + np.abs(net.shift)
    E_a = 4 * U * size  # scale and shift rounded to float32, their product and sum
    d, E_d = np.ones_like(a), np.zeros_like(a)
    layers = []
    for layer, (W, b) in enumerate(net.views(job.parameters)):
        mask = _times_mask(job, layer, rows, epoch)
        a, size = a * mask, size * mask
        E_a = E_a * mask + 2 * U * size * (np.ndim(mask) > 0)  # 1 / (1 - rate) rounded, and the product
        layers.append(Layer(a, E_a, size, d, E_d, mask))
        z = a @ W + b
        E_z = gamma(len(W) + 2) * ((size + E_a) @ np.abs(W) + np.abs(b)) + E_a @ np.abs(W) + FLOOR
        if layer < len(net.strides) - 1:
            a, E_a, d, E_d = _activate(net.activations[layer], net.arguments[layer], z, E_z)
            size = np.abs(a)
    return layers, z, E_z


def _softmax(z: np.ndarray, E_z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """softmax(z), its bound, and the bound of log sum exp(z - top).

    An error e_o of each z_o multiplies a_o by exp(e_o - sum a e); z - top is rounded; exp has 8 U, the sum of O terms
    gamma_O, the quotient U.
    """
    a = functions.softmax(z)
    moved = E_z + U * np.abs(z - z.max(axis=1, keepdims=True))
    mean = (a * moved).sum(axis=1, keepdims=True) + 8 * U + gamma(z.shape[1])
    return a, a * np.expm1(moved + mean + 10 * U) + FLOOR, mean


def _output(job: Job, z: np.ndarray, E_z: np.ndarray) -> Bounded:
    net = job.architecture
    if net.activations[-1] == "softmax":
        return Bounded(*_softmax(z, E_z)[:2])
    return Bounded(*_activate(net.activations[-1], net.arguments[-1], z, E_z)[:2])


# ---------------------------------------------------------------- losses: value, bound, delta, bound


def _cross_entropy(
    job: Job, z: np.ndarray, E_z: np.ndarray, t: np.ndarray, E_t: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    a, E_a, mean = _softmax(z, E_z)
    top = z.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(z - top).sum(axis=1, keepdims=True))
    size = log_sum + (top - z)
    terms = t * (E_z + mean + 10 * U * size) + E_t * size  # 10: the logarithm's own error and two sums
    total = t.sum(axis=1, keepdims=True)
    E_total = E_t.sum(axis=1, keepdims=True) + gamma(t.shape[1]) * total
    E_loss = terms.sum(axis=1) + gamma(t.shape[1] + 2) * (t * size).sum(axis=1)
    return E_loss, E_a * total + a * E_total + E_t + 2 * U * (a * total + t)


def _binary_cross_entropy(
    job: Job, z: np.ndarray, E_z: np.ndarray, t: np.ndarray, E_t: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    a, E_a, *_ = _activate("sigmoid", 0.0, z, E_z)
    terms = 0
    for share, sign in ((t, -1), (1 - t, 1)):
        s, E_s, *_ = _activate("softplus", 0.0, sign * z, E_z)
        terms = terms + np.abs(share) * E_s + (E_t + U) * s + gamma(t.shape[1] + 3) * np.abs(share) * s
    return terms.sum(axis=1), E_a + E_t + U * (a + t)


def _quadratic(
    job: Job, z: np.ndarray, E_z: np.ndarray, t: np.ndarray, E_t: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    net = job.architecture
    a, E_a, d, E_d = _activate(net.activations[-1], net.arguments[-1], z, E_z)
    e = np.abs(a - t)
    E_e = E_a + E_t + U * e
    E_loss = (e * E_e + E_e**2 / 2).sum(axis=1) + gamma(t.shape[1] + 2) * (e**2 / 2).sum(axis=1)
    return E_loss, E_e * (np.abs(d) + E_d) + e * E_d + U * e * np.abs(d)


LOSSES = {"cross_entropy": _cross_entropy, "binary_cross_entropy": _binary_cross_entropy, "quadratic": _quadratic}


def _judge(
    job: Job, rows: np.ndarray, z: np.ndarray, E_z: np.ndarray, epsilon: float
) -> tuple[Totals, Totals, np.ndarray, np.ndarray]:
    """The totals, their bounds, the output's delta times the samples' shares, and its bound."""
    net = job.architecture
    t = reference.target_rows(job, rows)
    right, unsure = functions.hits(z, t), _unsure(z, E_z)
    E_t = np.zeros_like(t)
    if epsilon:
        t = functions.smooth(t, epsilon, net.loss)
        E_t = 4 * U * t  # epsilon, 1 - epsilon, the product and the sum
    a = _output(job, z, E_z).value
    losses = functions.LOSS_FUNCTIONS[net.loss](z, t, a)
    E_loss, E_delta = LOSSES[net.loss](job, z, E_z, t, E_t)
    w = reference.sample_weights(job, rows, len(rows))
    totals = reference.weigh(losses, right, w)
    # each loss is a float32; weighted and summed in float64
    errors = Totals(
        float((w * (E_loss + U * losses)).sum()) * SAFETY + FLOOR, float((w * unsure).sum()), 1e-12 * totals.weight
    )
    delta = functions.output_delta(
        net.loss, net.activations[-1], net.arguments[-1], z, t, t.sum(axis=1, keepdims=True), a
    )
    share = (w / totals.weight if totals.weight else w)[:, None]
    return totals, errors, delta * share, (E_delta + 2 * U * np.abs(delta)) * share + FLOOR


def _unsure(z: np.ndarray, E_z: np.ndarray) -> np.ndarray:
    """Samples (B,) whose largest output is not certain."""
    if z.shape[1] == 1:
        return np.abs(z[:, 0]) <= E_z[:, 0]
    best = z.argmax(axis=1)[:, None]
    low = np.take_along_axis(z - E_z, best, axis=1)
    return ((z + E_z >= low).sum(axis=1)) > 1


# ---------------------------------------------------------------- the kernels


def predict(job: Job) -> Bounded:
    """The outputs (N, O) and their bounds."""
    job = copied(job, np.float64)
    _, z, E_z = _forward(job, np.arange(len(job.examples)), None)
    out = _output(job, z, E_z)
    return Bounded(out.value, SAFETY * out.error)


def score(job: Job) -> tuple[Totals, Totals]:
    """The totals over all examples, and their bounds."""
    job = copied(job, np.float64)
    rows = np.arange(len(job.examples))
    _, z, E_z = _forward(job, rows, None)
    return _judge(job, rows, z, E_z, 0.0)[:2]


def gradients(job: Job, rows: np.ndarray, epoch: int) -> tuple[Totals, Totals, Bounded]:
    """The totals, their bounds, and the gradient (size,) with its bounds."""
    job = copied(job, np.float64)
    layers, z, E_z = _forward(job, rows, epoch)
    totals, errors, delta, E_delta = _judge(job, rows, z, E_z, job.label_smoothing)
    error = np.zeros_like(job.parameters)
    views = list(zip(layers, job.architecture.views(job.parameters), job.architecture.views(error), strict=True))
    for layer, (W, _), (E_W, E_b) in reversed(views):
        size = np.abs(delta) + E_delta
        g = gamma(len(rows) + 2)
        E_W[:] = (g * (layer.size + layer.E_A) + layer.E_A).T @ size + layer.size.T @ E_delta + FLOOR
        E_b[:] = g * size.sum(axis=0) + E_delta.sum(axis=0) + FLOOR
        back = delta @ W.T
        E_back = gamma(W.shape[1] + 3) * (size @ np.abs(W).T) + E_delta @ np.abs(W).T
        factor, E_factor = layer.d * layer.mask, (layer.E_d + 3 * U * np.abs(layer.d)) * layer.mask
        delta, E_delta = back * factor, E_back * np.abs(factor) + (np.abs(back) + E_back) * E_factor + FLOOR
    truth = reference.gradients(job, rows, epoch)[1]
    return totals, errors, Bounded(truth, SAFETY * error)


def train(job: Job, rows: np.ndarray, epoch: int, step: np.ndarray) -> tuple[Totals, Totals, Bounded, Bounded]:
    """One step on the samples `rows`: the totals, their bounds, and the parameters and state after it, with theirs.

    The update is a function of each element's gradient g alone; its bound is its range over all that g may be in
    float32. All rules but Adam's grow or fall with g throughout, so their range ends where g's does; Adam's may turn.
    """
    totals, errors, (g, E_g) = gradients(job, rows, epoch)
    job = copied(job, np.float64)
    rate, epsilon, decay = step
    if job.clip_norm:
        norm, E_norm = np.linalg.norm(g), np.linalg.norm(E_g)
        scale, least, most = (min(1.0, job.clip_norm / max(n, FLOOR)) for n in (norm, norm + E_norm, norm - E_norm))
        E_scale = most - least + 3 * U
        g, E_g = g * scale, E_g * (scale + E_scale) + np.abs(g) * E_scale
    spread = np.zeros_like(g)
    for (W, _), (dW, _), (E_dW, _), (d, _) in zip(
        *map(job.architecture.views, (job.parameters, g, E_g, spread)), strict=True
    ):
        dW += job.weight_decay * W
        E_dW += 3 * U * (np.abs(dW) + job.weight_decay * np.abs(W))
        d[:] = 2 * U * np.abs(W)  # W (1 - decay)
        W *= 1 - decay

    def after(g: np.ndarray) -> np.ndarray:
        """Parameters and state after a step by g: (1 + slots, size)."""
        p, s = job.parameters.copy(), job.state.copy()
        with np.errstate(invalid="ignore"):
            reference.UPDATES[job.optimizer](p, g.copy(), s, rate, epsilon, job.first, job.second)
        return np.concatenate([p[None], s])

    # with all terms of one sign, the result is the sum of their magnitudes
    sign = -1 if job.optimizer in ("momentum", "nesterov") else 1
    p, s = np.zeros_like(g), sign * np.abs(job.state)
    reference.UPDATES[job.optimizer](p, np.abs(g), s, rate, epsilon, job.first, job.second)
    size = np.abs(np.concatenate([p[None], s]))
    size[0] += np.abs(job.parameters)
    true = after(g)
    ranges = [np.abs(after(x) - true) for x in (g - E_g, g + E_g, *_turning_points(job, g, E_g, epsilon))]
    # 8: each constant rounded once, and at most six operations on each term
    error = np.max(ranges, axis=0) + 8 * U * size + FLOOR
    error[0] += spread
    return totals, errors, Bounded(true[0], error[0]), Bounded(true[1:], error[1:])


def _turning_points(job: Job, g: np.ndarray, E_g: np.ndarray, epsilon: float) -> list[np.ndarray]:
    """Where Adam's step (b + c g) / (r + epsilon) turns, r^2 = q + k g^2: where c (q + epsilon r) = b k g, squared."""
    if job.second == 0:
        return []
    c, k = 1 - job.first, 1 - job.second
    b, q = job.first * job.state[0], job.second * job.state[1]
    A, half, C = k * (b * b * k - (epsilon * c) ** 2), b * k * c * q, c * c * q * (q - epsilon**2)
    with np.errstate(all="ignore"):
        root = np.sqrt(half * half - A * C)
        return [np.clip(np.nan_to_num((half + s * root) / A), g - E_g, g + E_g) for s in (-1, 1)]
