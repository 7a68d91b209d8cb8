"""What an epoch is worth: the arithmetic in it, the loss that it leads to, and how far float32 may stray from that.

Letters: N samples, B samples of a batch, I inputs and O outputs of a layer, L layers, S steps of an epoch.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from benchmarks.peers.rows import Parameters, Row, Task

UNIT = 2.0**-24  # the unit roundoff of float32
JUDGED = 2_000  # rows that the loss is taken on, evenly spread over the data

# in float64, where exp(-z) overflows at no loss that could be met here
HIDDEN: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda z: np.maximum(z, 0),
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": np.tanh,
}


def useful_flops(sizes: tuple[int, ...], samples: int, nonzero: int) -> int:
    """The floating point operations of an epoch, two a multiply-add: the same number for all who train it.

    Each layer goes forward and forms the gradient of its weights, and each but the first passes its delta down. Of the
    first layer only inputs that are not zero count. Zeros that hidden ReLUs make do count, as they come and go with the
    weights: who skips them can seem to do more than the CPU can.

    Parameters
    ----------
    sizes : tuple of int
    samples : int
        N.
    nonzero : int
        How many of the N x I inputs are not zero.
    """
    above = sum(i * o for i, o in pairwise(sizes[1:]))
    return 2 * (2 * nonzero * sizes[1] + 3 * samples * above)


def flops(task: Task) -> int:
    """`useful_flops` of an epoch of a task."""
    return useful_flops(task.row.sizes, len(task.raw), int(np.count_nonzero(task.raw)))


def mean_loss(task: Task, parameters: Parameters) -> float:
    """Mean cross-entropy over a fixed choice of rows, in float64; parameters of any type, W (I, O) and b (O,)."""
    rows = slice(None, None, max(1, len(task.raw) // JUDGED))
    a = task.raw[rows].astype(np.float64) * task.scale
    for layer, (W, b) in enumerate(parameters, 1):
        a = a @ np.asarray(W, np.float64) + np.asarray(b, np.float64)
        a = HIDDEN[task.row.activation](a) if layer < len(parameters) else a
    top = a.max(axis=1)
    log_sum = top + np.log(np.exp(a - top[:, None]).sum(axis=1))
    return float((log_sum - a[np.arange(len(a)), task.labels[rows]]).mean())


def tolerance(row: Row, samples: int, before: float) -> float:
    """How far the loss after an epoch in float32 may lie from that in float64.

    A sum of K terms is wrong by at most K u of its size, u being the unit roundoff. A step's gradient comes from a sum
    over the inputs of each layer forward, one over its outputs backward, and one over the batch: their lengths add up
    to K. All steps together move the loss by at most what it was before, so their errors come to K u of that. Each of
    the S steps also rounds the weights, by u of their size at most. To first order then, (K + S) u of the loss before.
    A learning rate wrong by a few percent moves the loss further than that. The rates of the rows are small because a
    ReLU is no smooth function: at a rate of 0.1 a z near zero that falls on its other side moved the loss by 1e-3.

    Parameters
    ----------
    row : Row
    samples : int
        N.
    before : float
        The loss of the weights that the epoch starts from.
    """
    terms = sum(i + o + row.batch for i, o in pairwise(row.sizes))
    steps = -(-samples // row.batch)
    return (terms + steps) * UNIT * before
