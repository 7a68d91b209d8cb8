"""Activations and losses in plain NumPy: what one element, or one sample, comes to, and its derivative.

Letters: B samples of a batch, O outputs of a layer. z is a pre-activation, a its activation, t its target.

Sources: [GBC] Goodfellow, Bengio, Courville: "Deep Learning", 2016. [RHW] Rumelhart, Hinton, Williams: "Learning
representations by back-propagating errors", Nature 323, 1986. Others stand with their formula.
"""

import math
from collections.abc import Callable

import numpy as np

from fastnn.layers import LOSSES

# ---------------------------------------------------------------- activations: value, derivative by z


def sigmoid(z: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-z)), [GBC] 3.30; -z is cut off at 88, whose exponential is still finite in float32."""
    s: np.ndarray = 1 / (1 + np.exp(np.minimum(-z, 88)))
    return s


def sigmoid_derivative(z: np.ndarray) -> np.ndarray:
    """s (1 - s) with s = sigmoid(z), [GBC] 3.30 and 6.2.2.2; as e / (1 + e)^2 with e = exp(-|z|) it does not cancel."""
    e = np.exp(-np.abs(z))
    slope: np.ndarray = e / np.square(1 + e)
    return slope


def softplus(z: np.ndarray) -> np.ndarray:
    """log(1 + exp(z)), [GBC] 3.31, as max(z, 0) + log1p(exp(-|z|)), which cannot overflow."""
    value: np.ndarray = np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))
    return value


def softmax(z: np.ndarray) -> np.ndarray:
    """exp(z_o) / sum over o of exp(z_o), [GBC] 6.29, shifted by the row's maximum so that it cannot overflow."""
    z = np.asfortranarray(z)  # class by class: NumPy takes 10 times as long for maxima and sums along short rows
    e: np.ndarray = np.exp(z - z.max(axis=-1, keepdims=True))
    e /= e.sum(axis=-1, keepdims=True)
    return e


def normal_cdf(z: np.ndarray) -> np.ndarray:
    """Phi(z) = erfc(-z / sqrt(2)) / 2, the standard normal distribution function, by the C library's erfc."""
    erfc = np.vectorize(math.erfc, otypes=[np.float64])
    phi: np.ndarray = (0.5 * erfc(-z / math.sqrt(2))).astype(z.dtype)
    return phi


def normal_pdf(z: np.ndarray) -> np.ndarray:
    """The standard normal density, exp(-z^2 / 2) / sqrt(2 pi)."""
    density: np.ndarray = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    return density


def silu_derivative(z: np.ndarray, alpha: float) -> np.ndarray:
    """s (1 + z (1 - s)) with s = sigmoid(z); 1 - s as sigmoid(-z), which does not cancel."""
    slope: np.ndarray = sigmoid(z) * (1 + z * sigmoid(-z))
    return slope


Function = Callable[[np.ndarray, float], np.ndarray]

# name: (f(z, alpha), f'(z, alpha)); alpha is the activation's argument. At a kink f' is the limit from the left.
# A NaN must stay visible, so each choice is written such that a NaN takes the branch that keeps it.
ACTIVATIONS: dict[str, tuple[Function, Function]] = {
    "identity": (lambda z, alpha: z, lambda z, alpha: np.ones_like(z)),
    # Nair & Hinton: "Rectified linear units improve restricted Boltzmann machines", ICML 2010
    "relu": (lambda z, alpha: np.maximum(z, 0), lambda z, alpha: (z > 0).astype(z.dtype)),
    # Maas, Hannun, Ng: "Rectifier nonlinearities improve neural network acoustic models", 2013, section 2
    "leaky_relu": (
        lambda z, alpha: np.where(z > 0, z, alpha * z),
        lambda z, alpha: np.where(z > 0, z.dtype.type(1), z.dtype.type(alpha)),
    ),
    # Clevert, Unterthiner, Hochreiter: "Fast and accurate deep network learning by ELUs", ICLR 2016, equation 15
    "elu": (
        lambda z, alpha: np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0))),
        lambda z, alpha: np.where(z > 0, z.dtype.type(1), alpha * np.exp(np.minimum(z, 0))),
    ),
    "sigmoid": (lambda z, alpha: sigmoid(z), lambda z, alpha: sigmoid_derivative(z)),
    # LeCun et al.: "Efficient BackProp", 1998, section 4.4
    "tanh": (lambda z, alpha: np.tanh(z), lambda z, alpha: 1 - np.tanh(z) ** 2),
    # Dugas et al.: "Incorporating second-order functional knowledge for better option pricing", NIPS 2000
    "softplus": (lambda z, alpha: softplus(z), lambda z, alpha: sigmoid(z)),
    # Hendrycks & Gimpel: "Gaussian error linear units", 2016, section 2 (the exact form)
    "gelu": (lambda z, alpha: z * normal_cdf(z), lambda z, alpha: normal_cdf(z) + z * normal_pdf(z)),
    # Elfwing, Uchibe, Doya: "Sigmoid-weighted linear units", 2018, equations 5 and 6
    "silu": (lambda z, alpha: z * sigmoid(z), silu_derivative),
    # Only at the output with cross_entropy, whose delta holds its derivative already
    "softmax": (lambda z, alpha: softmax(z), lambda z, alpha: np.ones_like(z)),
}


# ---------------------------------------------------------------- losses: one value a sample, from z of the output


def cross_entropy(z: np.ndarray, t: np.ndarray, a: np.ndarray) -> np.ndarray:
    """- sum_o t_o log softmax(z)_o, [GBC] 6.2.2.3, by log-sum-exp: (B, O), (B, O) -> (B,)."""
    top = z.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(z - top).sum(axis=1, keepdims=True))
    losses: np.ndarray = (t * (log_sum + (top - z))).sum(axis=1)
    return losses


def binary_cross_entropy(z: np.ndarray, t: np.ndarray, a: np.ndarray) -> np.ndarray:
    """- sum_o (t log s + (1 - t) log(1 - s)), s = sigmoid(z), [GBC] 6.2.2.2: (B, O), (B, O) -> (B,).

    As t softplus(-z) + (1 - t) softplus(z), in which no two large terms cancel.
    """
    losses: np.ndarray = (t * softplus(-z) + (1 - t) * softplus(z)).sum(axis=1)
    return losses


def quadratic(z: np.ndarray, t: np.ndarray, a: np.ndarray) -> np.ndarray:
    """1/2 sum_o (a_o - t_o)^2, [RHW] equation 3: (B, O), (B, O) -> (B,)."""
    losses: np.ndarray = 0.5 * ((a - t) ** 2).sum(axis=1)
    return losses


LOSS_FUNCTIONS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "cross_entropy": cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
    "quadratic": quadratic,
}
assert LOSS_FUNCTIONS.keys() == LOSSES.keys()


def output_delta(
    loss: str, activation: str, alpha: float, z: np.ndarray, t: np.ndarray, sums: np.ndarray, a: np.ndarray
) -> np.ndarray:
    """dLoss/dZ of the output layer, one row a sample: (B, O). `sums` (B, 1) are those of the targets t.

    Cross entropies and their activations are differentiated as one ([GBC] 6.2.2), so f' comes in for quadratic alone.
    cross_entropy: ``a sum(t) - t``; binary_cross_entropy: ``a - t``; quadratic: ``(a - t) f'(z)`` ([RHW] equation 5).
    """
    delta: np.ndarray
    if loss == "cross_entropy":
        delta = a * sums
        delta -= t
    elif loss == "binary_cross_entropy":
        delta = a - t
    else:
        delta = (a - t) * ACTIVATIONS[activation][1](z, alpha)
    return delta


def smooth(t: np.ndarray, epsilon: float, loss: str) -> np.ndarray:
    """Label smoothing: a share `epsilon` of the target is spread evenly over the classes.

    Szegedy et al.: "Rethinking the Inception architecture", CVPR 2016, section 7. For binary_cross_entropy each output
    is a choice between two classes. Target rows (B, O) in, target rows (B, O) out.
    """
    return t * (1 - epsilon) + epsilon / (2 if loss == "binary_cross_entropy" else t.shape[1])


def hits(z: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Which samples are classified right: (B, O), (B, O) -> bool (B,).

    By the largest output; of a single output, by the sign of z (sigmoid(z) > 1/2) against a target of 0 or 1.
    """
    right: np.ndarray
    right = (z[:, 0] > 0) == (t[:, 0] > 0.5) if z.shape[1] == 1 else z.argmax(axis=1) == t.argmax(axis=1)
    return right
