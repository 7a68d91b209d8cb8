"""Training by L-BFGS: scipy's minimiser on all parameters of a network, over all samples at once.

Liu, Nocedal: "On the limited memory BFGS method for large scale optimization", 1989; the code is scipy's L-BFGS-B.
"""

from typing import NamedTuple

import numpy as np

from fastnn.errors import DivergedError
from fastnn.kernels import backend as kernels_of
from fastnn.kernels.job import Examples
from fastnn.network import Network

AT_ONCE = 8192  # samples: what a pass keeps of them, it keeps of no more; sums of slices are in float64
# The loss is a mean of float32 values: a relative step below this is noise.
SMALLEST_STEP = float(np.finfo(np.float32).eps)


class Found(NamedTuple):
    """What a minimisation came to: the loss with its penalty, iterations, whether it converged, and why it ended."""

    loss: float
    iterations: int
    converged: bool
    why: str


def loss_and_gradient(
    network: Network, examples: Examples, alpha: float, backend: str, threads: int | str
) -> tuple[float, np.ndarray]:
    """The mean loss plus alpha / (2 N) times the sum of all W^2, and its gradient.

    Parameters
    ----------
    network : Network
    examples : Examples
        N samples, or samples of N weights in all.
    alpha : float
    backend : str
    threads : int or "auto"

    Returns
    -------
    (float, float64 array (network.architecture.size,))
        The gradient is like the flat parameters, padding and all.
    """
    count, whole = len(examples), 0.0
    loss, gradient = 0.0, np.zeros(network.architecture.size)
    job = network.job(examples, min(AT_ONCE, count), threads)
    for start in range(0, count, AT_ONCE):
        rows = np.arange(start, min(start + AT_ONCE, count))
        if examples.weights is not None and not examples.weights[rows].any():
            continue
        totals, part = kernels_of(backend).gradients(job, rows)
        loss += totals.loss
        gradient += totals.weight * part.astype(np.float64)
        whole += totals.weight
    for (W, _), (dW, _) in zip(network.parameters(), network.architecture.views(gradient), strict=True):
        loss += 0.5 * alpha * float(np.square(W, dtype=np.float64).sum())
        dW += alpha * W
    return loss / whole, gradient / whole


def minimize(
    network: Network,
    examples: Examples,
    alpha: float,
    iterations: int,
    evaluations: int,
    tolerance: float,
    backend: str = "fused",
    threads: int | str = "auto",
) -> Found:
    """Train a network, in place.

    Parameters
    ----------
    network : Network
        Without dropout.
    examples : Examples
    alpha : float
        Of the penalty; see `loss_and_gradient`.
    iterations, evaluations : int
        No more of either.
    tolerance : float
        Largest element of the gradient at which it ends.
    backend : str
    threads : int or "auto"

    Returns
    -------
    Found

    Raises
    ------
    DivergedError
        The loss became NaN or infinite.
    """
    from scipy import optimize

    def at(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        network.flat[:] = parameters
        return loss_and_gradient(network, examples, alpha, backend, threads)

    options = {"maxiter": iterations, "maxfun": evaluations, "gtol": tolerance, "ftol": SMALLEST_STEP}
    # the padding's gradient is zero: it stays as it is
    found = optimize.minimize(at, network.flat.astype(np.float64), method="L-BFGS-B", jac=True, options=options)
    network.flat[:] = found.x
    if not (np.isfinite(found.fun) and np.isfinite(found.x).all()):
        raise DivergedError("lbfgs diverged: the loss became NaN or infinite; scale inputs and targets to about 1", 1)
    # status 2: no step is better any more, which in float32 is the end
    return Found(float(found.fun), int(found.nit), found.status in (0, 2), str(found.message))
