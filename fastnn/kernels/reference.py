"""The maths of a multilayer perceptron in plain NumPy: to be read, and to judge the fused kernels by.

Activations and losses stand in functions.py; here is what is done with them.

Letters: B samples of a batch, I inputs and O outputs of a layer, L dense layers. A is the input of a layer (B, I),
Z = A W + b its pre-activation (B, O), delta = dLoss/dZ (B, O). Everything works in the dtype of the parameters:
float32 in earnest, float64 to be compared with finite differences.

Sources: [GBC] Goodfellow, Bengio, Courville: "Deep Learning", 2016. [RHW] Rumelhart, Hinton, Williams: "Learning
representations by back-propagating errors", Nature 323, 1986. Others stand with their formula.
"""

import math
from collections.abc import Callable

import numpy as np

from fastnn.kernels.functions import ACTIVATIONS, LOSS_FUNCTIONS, hits, output_delta, smooth
from fastnn.kernels.job import NOTHING, Job, Totals
from fastnn.layers import Architecture
from fastnn.rng import drop_threshold, dropout_mask

# ---------------------------------------------------------------- forward and backward

Parameters = list[tuple[np.ndarray, np.ndarray]]
Masks = list[np.ndarray | None]


def forward(
    architecture: Architecture, parameters: Parameters, X: np.ndarray, masks: Masks | None = None
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The network from its (scaled) input to its output.

    Parameters
    ----------
    X : array (B, I)
    masks : list of L (array (B, I) or None), optional
        What each layer's input is multiplied by: inverted dropout, 0 or 1 / (1 - rate). Srivastava et al.:
        "Dropout", JMLR 15, 2014, section 10 (scaling at training time).

    Returns
    -------
    A : list of L + 1 arrays
        The input of each layer, after dropout, and last the network's output (B, O).
    Z : list of L arrays (B, O)
        The pre-activation of each layer.
    """
    A, Z = [], []
    a = X
    for layer, (W, b) in enumerate(parameters):
        mask = masks[layer] if masks else None
        a = a if mask is None else a * mask
        z = a @ W
        z += b
        A.append(a)
        Z.append(z)
        a = ACTIVATIONS[architecture.activations[layer]][0](z, architecture.arguments[layer])
    return [*A, a], Z


def backward(
    architecture: Architecture,
    parameters: Parameters,
    A: list[np.ndarray],
    Z: list[np.ndarray],
    delta: np.ndarray,
    gradient: Parameters,
    masks: Masks | None = None,
) -> None:
    """Back-propagation ([RHW]; [GBC] algorithm 6.4): from the output's delta to the gradient of all parameters.

    Parameters
    ----------
    A, Z : as `forward` returned them
    delta : array (B, O)
        dLoss/dZ of the output layer, already weighted so that the sum over samples is the mean loss's.
    gradient : list of (dW (I, O), db (O,))
        Written to: dW = A^T delta, db = the sum of delta over samples.
    """
    for layer in range(len(parameters) - 1, -1, -1):
        dW, db = gradient[layer]
        np.matmul(A[layer].T, delta, out=dW)
        delta.sum(axis=0, out=db)
        if layer:
            delta = delta @ parameters[layer][0].T
            mask = masks[layer] if masks else None
            if mask is not None:
                delta *= mask
            derivative = ACTIVATIONS[architecture.activations[layer - 1]][1]
            delta *= derivative(Z[layer - 1], architecture.arguments[layer - 1])


# ---------------------------------------------------------------- optimisers: p and state change in place

# Arguments: parameters p, gradient g (may be overwritten), state rows s, effective rate and epsilon, decay constants.


def sgd(p: np.ndarray, g: np.ndarray, s: np.ndarray, rate: float, epsilon: float, first: float, second: float) -> None:
    """p -= rate g. Robbins & Monro, 1951; [GBC] algorithm 8.1."""
    g *= rate
    p -= g


def momentum(
    p: np.ndarray, g: np.ndarray, s: np.ndarray, rate: float, epsilon: float, first: float, second: float
) -> None:
    """v = mu v - rate g; p += v. Sutskever et al.: "On the importance of initialization ...", ICML 2013, eq. 1-2."""
    v = s[0]
    v *= first
    v -= rate * g
    p += v


def nesterov(
    p: np.ndarray, g: np.ndarray, s: np.ndarray, rate: float, epsilon: float, first: float, second: float
) -> None:
    """v = mu v - rate g; p += mu v - rate g. Sutskever et al. 2013, equations 3-4, at the point looked ahead to."""
    v, step = s[0], rate * g
    v *= first
    v -= step
    p += first * v - step


def rmsprop(
    p: np.ndarray, g: np.ndarray, s: np.ndarray, rate: float, epsilon: float, first: float, second: float
) -> None:
    """r = rho r + (1 - rho) g^2; p -= rate g / (sqrt(r) + epsilon). Tieleman & Hinton, lecture 6.5, 2012."""
    r = s[0]
    r *= first
    r += (1 - first) * g * g
    p -= rate * g / (np.sqrt(r) + epsilon)


def adam(p: np.ndarray, g: np.ndarray, s: np.ndarray, rate: float, epsilon: float, first: float, second: float) -> None:
    """m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; p -= rate m / (sqrt(v) + epsilon).

    Kingma & Ba: "Adam", ICLR 2015, algorithm 1; the bias corrections are inside `rate` and `epsilon`
    (`fastnn.optimizers.Adam.coefficients`).
    """
    m, v = s
    m *= first
    m += (1 - first) * g
    v *= second
    v += (1 - second) * g * g
    p -= rate * m / (np.sqrt(v) + epsilon)


# adamw (Loshchilov & Hutter: "Decoupled weight decay regularization", ICLR 2019) is adam whose decay is in `steps`.
UPDATES: dict[str, Callable[..., None]] = {
    "sgd": sgd,
    "momentum": momentum,
    "nesterov": nesterov,
    "rmsprop": rmsprop,
    "adam": adam,
    "adamw": adam,
}


# ---------------------------------------------------------------- the kernels


def scaled(job: Job, rows: np.ndarray) -> np.ndarray:
    """Rows of the raw input as the first layer gets them: scale * x + shift, in the parameters' dtype (B, I)."""
    return inputs_of(job, rows)(slice(None))


def inputs_of(job: Job, rows: np.ndarray) -> Callable[[slice], np.ndarray]:
    """What gives `scaled` rows part by part.

    Rows that follow each other, as they do unless they are shuffled, are not copied unless they change.
    """
    dtype, net, X = job.parameters.dtype, job.architecture, job.examples.X
    changes = net.scale != 1.0 or net.shift != 0.0
    run: np.ndarray | None = None
    if isinstance(X, np.ndarray) and len(rows) and np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows))):
        run = X[rows[0] : rows[0] + len(rows)]

    def take(part: slice) -> np.ndarray:
        x: np.ndarray
        x = (
            X.take(rows[part], axis=0).astype(dtype, copy=False)
            if run is None
            else run[part].astype(dtype, copy=changes)
        )
        if net.scale != 1.0:
            x *= np.asarray(net.scale, dtype)
        if net.shift != 0.0:
            x += np.asarray(net.shift, dtype)
        return x

    return take


def target_rows(job: Job, rows: np.ndarray) -> np.ndarray:
    """The targets of samples as rows (B, O): one-hot where the examples have labels; class by class, as `softmax`."""
    examples, dtype = job.examples, job.parameters.dtype
    if examples.labels is None:
        assert examples.targets is not None, "examples without labels or targets can only be predicted"
        targets: np.ndarray = examples.targets[rows].astype(dtype, order="F")
        return targets
    one_hot = np.eye(job.architecture.widths[-1], dtype=dtype)
    return np.asfortranarray(one_hot.take(examples.labels[rows], axis=0))


def taught_rows(job: Job, rows: np.ndarray) -> np.ndarray:
    """What is trained towards (B, O): the targets, smoothed if the job says so; the largest stays the largest."""
    t = target_rows(job, rows)
    return smooth(t, job.label_smoothing, job.architecture.loss) if job.label_smoothing else t


def sample_weights(job: Job, rows: np.ndarray, size: int) -> np.ndarray:
    """The weights of samples (B,), in float64."""
    weights = job.examples.weights
    return np.ones(size) if weights is None else weights[rows].astype(np.float64)


def shares(job: Job, rows: np.ndarray) -> np.ndarray | float:
    """What each sample of a batch counts in the mean over it: (B, 1), or one number for all."""
    if job.examples.weights is None:
        return 1 / len(rows)
    weights = sample_weights(job, rows, len(rows))
    # a batch whose weights are all zero has no mean loss: it teaches nothing, so its gradient is zero
    return (weights / (weights.sum() or 1)).astype(job.parameters.dtype)[:, None]


def judge(job: Job, z: np.ndarray, t: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Loss, hit and weight, each (B,), of the samples `rows` (B,), by their outputs' z (B, O) and targets t (B, O)."""
    net = job.architecture
    a = ACTIVATIONS[net.activations[-1]][0](z, net.arguments[-1]) if net.loss == "quadratic" else z  # no other looks
    return LOSS_FUNCTIONS[net.loss](z, t, a), hits(z, t), sample_weights(job, rows, len(t))


def weigh(losses: np.ndarray, right: np.ndarray, weights: np.ndarray) -> Totals:
    """Sum losses (B,) and hits (B,) by weight (B,)."""
    return Totals(float((losses * weights).sum()), float((right * weights).sum()), float(weights.sum()))


quiet = np.errstate(all="ignore")  # what overflows is seen in the loss, and named there by the training loop
SLICE = 1024  # rows at a time where all examples are passed through: bounds the memory
NEAR = 256  # rows whose inputs are made together: they stay in a near cache


@quiet
def predict(job: Job, outputs: np.ndarray) -> None:
    """Write the network's outputs for all examples.

    Parameters
    ----------
    job : Job
        Its examples need neither labels nor targets.
    outputs : float array (N, O)
        Written to; float32 for the fused backend.
    """
    parameters, inputs = job.architecture.views(job.parameters), inputs_of(job, np.arange(len(job.examples)))
    for start in range(0, len(job.examples), SLICE):
        part = slice(start, start + SLICE)
        outputs[part] = forward(job.architecture, parameters, inputs(part))[0][-1]


@quiet
def score(job: Job) -> Totals:
    """Judge all examples, without dropout or label smoothing.

    Parameters
    ----------
    job : Job

    Returns
    -------
    Totals
        The sums of loss and hits over all examples.
    """
    net, totals, every = job.architecture, NOTHING, np.arange(len(job.examples))
    parameters, inputs = net.views(job.parameters), inputs_of(job, every)
    for start in range(0, len(job.examples), SLICE):
        rows = every[start : start + SLICE]
        _, Z = forward(net, parameters, inputs(slice(start, start + SLICE)))
        t = target_rows(job, rows)
        totals += weigh(*judge(job, Z[-1], t, rows))
    return totals


def propagate(
    job: Job,
    X: np.ndarray,
    t: np.ndarray,
    sums: np.ndarray,
    rows: np.ndarray,
    epoch: int,
    parameters: Parameters,
    gradient: Parameters,
) -> np.ndarray:
    """Forward and back: write the gradient of the mean loss over the samples `rows` (B,), given their X, t and sum(t).

    Returns the pre-activation of the output layer (B, O).
    """
    net, dtype = job.architecture, job.parameters.dtype
    masks: Masks = [None] * len(net.dropout)
    for layer, rate in enumerate(net.dropout):
        if rate and drop_threshold(rate):
            kept = dropout_mask(job.seed, layer, epoch, rows, net.widths[layer], rate)
            masks[layer] = kept * dtype.type(1 / (1 - rate))
    A, Z = forward(net, parameters, X, masks)
    delta = output_delta(net.loss, net.activations[-1], net.arguments[-1], Z[-1], t, sums, A[-1])
    delta *= shares(job, rows)
    backward(net, parameters, A, Z, delta, gradient, masks)
    return Z[-1]


@quiet
def gradients(job: Job, rows: np.ndarray, epoch: int = 0) -> tuple[Totals, np.ndarray]:
    """The gradient of the mean loss over some samples.

    Parameters
    ----------
    job : Job
        Its weight decay and its limit of the norm are not applied.
    rows : int array (B,)
        The samples.
    epoch : int
        Whose dropout masks are used, from 0.

    Returns
    -------
    (totals, gradient) : (Totals, array (size,))
        Loss and hits of these samples; and the gradient, a flat buffer like the parameters, of their dtype.
    """
    views = job.architecture.views
    gradient = np.zeros_like(job.parameters)
    t = taught_rows(job, rows)
    sums = t.sum(axis=1, keepdims=True)
    z = propagate(job, scaled(job, rows), t, sums, rows, epoch, views(job.parameters), views(gradient))
    return weigh(*judge(job, z, t, rows)), gradient


@quiet
def train(job: Job, order: np.ndarray, epoch: int, first: int, steps: np.ndarray, totals: Totals = NOTHING) -> Totals:
    """Take S optimiser steps, which change the job's parameters and state in place.

    Parameters
    ----------
    job : Job
    order : int array (N,)
        The samples, in the order of the epoch.
    epoch : int
        Its number, from 0, for the dropout masks.
    first : int
        The number in the epoch, from 0, of the first of these steps.
    steps : float64 array (S, 3)
        Of each step: effective learning rate, effective epsilon, and decoupled decay of the weights.
    totals : Totals
        What the sums go on from, so that they do not depend on how an epoch is cut into calls.

    Returns
    -------
    Totals
        With the loss and hits of these steps, each judged before it was taken.

    Notes
    -----
    Inputs and targets are made, and losses taken, for many steps at once, not batch by batch: in small networks it is
    the number of calls into NumPy that takes the time.
    """
    views, B = job.architecture.views, job.batch_size
    rows = order[first * B : (first + len(steps)) * B]
    starts, together = range(0, len(rows), B), max(1, NEAR // B) * B
    parameters = views(job.parameters)
    gradient, like = job.workspace, job.parameters
    if not isinstance(gradient, np.ndarray) or (gradient.shape, gradient.dtype) != (like.shape, like.dtype):
        gradient = job.workspace = np.zeros_like(like)  # for each call anew it would take 8% of 784-2500-2000-...
    gradient_views = views(gradient)
    take, t = inputs_of(job, rows), taught_rows(job, rows)
    Z, sums = np.empty_like(t), t.sum(axis=1, keepdims=True)
    for start, (rate, epsilon, decay) in zip(starts, steps.tolist(), strict=True):
        batch, behind = slice(start, start + B), start % together
        if behind == 0:
            inputs = take(slice(start, start + together))
        X = inputs[behind : behind + B]
        Z[batch] = propagate(job, X, t[batch], sums[batch], rows[batch], epoch, parameters, gradient_views)
        if job.clip_norm:  # Pascanu, Mikolov, Bengio: "On the difficulty of training RNNs", ICML 2013, algorithm 1
            norm = math.sqrt(float(np.square(gradient, dtype=np.float64).sum()))
            gradient *= min(1.0, job.clip_norm / norm) if norm else 1.0
        if job.weight_decay or decay:
            for (W, _), (dW, _) in zip(parameters, gradient_views, strict=True):
                dW += job.weight_decay * W  # Krogh & Hertz: "A simple weight decay can improve generalization", 1991
                W *= 1 - decay
        UPDATES[job.optimizer](job.parameters, gradient, job.state, rate, epsilon, job.first, job.second)
    parts = [slice(start, start + SLICE) for start in range(0, len(rows), SLICE)]
    judged = [judge(job, Z[part], t[part], rows[part]) for part in parts]
    losses, right, weights = (np.concatenate(values) for values in zip(*judged, strict=True))
    by_batch = np.add.reduceat([losses * weights, right * weights, weights], starts, axis=1)
    # added up batch after batch, so that the sums do not depend on how an epoch is cut into calls
    return Totals(*np.cumsum(np.column_stack([totals, by_batch]), axis=1)[:, -1].tolist())


def warm() -> tuple[float, bool]:
    """Nothing to compile: 0 seconds."""
    return 0.0, False
