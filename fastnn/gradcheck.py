"""Is the gradient right? The reference against finite differences, and the fused kernels against the reference.

Both on a network and examples of the user's own. Letters: B samples, n roundings one after another.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from fastnn.errors import DataError
from fastnn.kernels import backend, functions, reference
from fastnn.kernels.job import Job
from fastnn.layers import aligned_zeros
from fastnn.network import Network
from fastnn.optimizers import OPTIMIZERS, Optimizer, make_optimizer
from fastnn.rng import check_seed, drop_threshold, dropout_mask

KINKED = ("relu", "leaky_relu", "elu")  # activations whose derivatives jump at z = 0
STEP = 2.0**-17  # about the cube root of float64's roundoff: truncation and rounding then cost the same, 1e-10


@dataclass(frozen=True)
class Row:
    """What one comparison says of one array of parameters.

    A relative difference is one divided by the largest sum, over the samples, of the sizes of their contributions to
    a gradient of this array: samples that cancel each other do not make it larger.

    Parameters
    ----------
    comparison : str
        "reference against differences", "fused against reference" or "fused step against reference".
    layer : int
        Dense layers, counted from 0.
    parameter : str
        "weight" or "bias".
    checked : int
        How many of its gradients were compared; of a step, how many parameters of all layers.
    difference : float
        The relative difference that is worst for its bound; NaN if a gradient is.
    bound : float
        How large that one may be.
    place : tuple of int
        Where it is in the array; empty if nothing was compared.
    found, expected : float
        The two values there.
    optimizer : str
        Whose step was compared; empty if a gradient was.
    """

    comparison: str
    layer: int
    parameter: str
    checked: int
    difference: float
    bound: float
    place: tuple[int, ...] = ()
    found: float = 0.0
    expected: float = 0.0
    optimizer: str = ""

    @property
    def passed(self) -> bool:
        """Whether the difference is within its bound (a NaN never is)."""
        return self.difference <= self.bound


def check(
    network: Network,
    X: np.ndarray,
    y: np.ndarray,
    sample_weight: np.ndarray | None = None,
    *,
    label_smoothing: float = 0.0,
    samples: int = 32,
    parameters: int = 32,
    seed: int = 0,
    threads: int | str = "auto",
) -> list[Row]:
    """Check the gradient of the mean loss, dropout included, by three ways of computing it.

    Samples that stand so near to the kink of an activation that float32 may take them to its other side are left out,
    and so are finite differences across a kink.

    Parameters
    ----------
    network : Network
        It is not changed.
    X, y, sample_weight : arrays
        As for `Network.examples`.
    label_smoothing : float
        As for training.
    samples : int
        B, how many of the examples (drawn at random) are used.
    parameters : int
        How many parameters of each array (drawn at random) are checked by finite differences. The fused gradient is
        compared whole.
    seed : int
        Of these draws.
    threads : int or "auto"
        Of the fused kernels.

    Returns
    -------
    list of Row
        One for each comparison, layer, and array.

    Raises
    ------
    DataError
        Examples that do not fit the network, or all without weight.
    """
    draws = np.random.default_rng(check_seed(seed))
    examples = network.examples(X, y, sample_weight)
    usable = np.arange(len(examples)) if examples.weights is None else np.flatnonzero(examples.weights)
    if not usable.size:
        raise DataError("the gradient of a mean needs at least one sample of a weight above 0")
    drawn = np.sort(draws.permutation(usable)[:samples])
    weight = None if sample_weight is None else np.asarray(sample_weight)[drawn]
    examples = network.examples(np.asarray(X)[drawn], np.asarray(y)[drawn], weight)
    rows = np.arange(len(examples))
    job = network.job(examples, batch_size=len(rows), threads=threads, label_smoothing=label_smoothing, seed=seed)
    exact = replace(job, parameters=job.parameters.astype(np.float64))
    rows = _away_from_kinks(exact, rows)
    true = reference.gradients(exact, rows, 0)[1]
    sizes = _contributions(exact, rows)
    return [
        *_against_differences(exact, rows, true, sizes, parameters, draws),
        *_against_reference(job, rows, true, sizes),
    ]


def _arrays(job: Job, *flats: np.ndarray) -> list[tuple[int, str, list[np.ndarray]]]:
    """Layer, name and views into each of the flat buffers, of every array of parameters."""
    views = zip(*map(job.architecture.views, flats), strict=True)
    return [
        (layer, name, [pair[which] for pair in pairs])
        for layer, pairs in enumerate(views)
        for which, name in enumerate(("weight", "bias"))
    ]


def _roundoff(job: Job, samples: int) -> float:
    """8 sqrt(n) u, u of float32 and n along the longest way from an input to a gradient.

    Roundings behave as if they were random: they add up to more than that with a probability of 2 exp(-8^2 / 2), or
    1e-14. Higham, Mary: "A new approach to probabilistic rounding error analysis", SISC 41(5), 2019, theorem 2.4.
    """
    return float(8 * np.sqrt(2 * sum(job.architecture.widths) + samples) * 2.0**-24)


def _masks(job: Job, rows: np.ndarray) -> reference.Masks:
    net = job.architecture
    return [
        dropout_mask(job.seed, layer, 0, rows, width, rate) / (1 - rate) if drop_threshold(rate) else None
        for layer, (rate, width) in enumerate(zip(net.dropout, net.widths, strict=False))
    ]


def _away_from_kinks(job: Job, rows: np.ndarray) -> np.ndarray:
    """The samples whose every z at a kink is certain to be on its side in float32; if there is none, the best one."""
    net, masks = job.architecture, _masks(job, rows)
    layers = net.views(job.parameters)
    A, Z = reference.forward(net, layers, reference.scaled(job, rows), masks)
    margin = np.full(len(rows), np.inf)
    for a, z, (W, b), name in zip(A, Z, layers, net.activations, strict=False):
        if name in KINKED:
            distance = np.abs(z) / np.maximum(np.abs(a) @ np.abs(W) + np.abs(b), np.finfo(float).tiny)
            margin = np.minimum(margin, distance.min(axis=1))
    certain = margin > _roundoff(job, len(rows))
    certain[margin.argmax()] = True
    return rows[certain]


def _contributions(job: Job, rows: np.ndarray) -> np.ndarray:
    """Sum over samples of the absolute value of what each adds to the gradient (size,)."""
    weights = reference.sample_weights(job, rows, len(rows))
    total = np.zeros_like(job.parameters)
    for row, share in zip(rows, weights / weights.sum(), strict=True):
        total += share * np.abs(reference.gradients(job, np.array([row]), 0)[1])
    return total


class _Passed(NamedTuple):
    """What a pass through the network gives."""

    loss: float
    sides: np.ndarray  # bool: the side of its kink that each z is on
    A: list[np.ndarray]
    Z: list[np.ndarray]


def _objective(job: Job, rows: np.ndarray) -> Callable[[], _Passed]:
    """The mean loss, as a function of what the job's parameters hold when it is called."""
    net, masks, X = job.architecture, _masks(job, rows), reference.scaled(job, rows)
    layers, t = net.views(job.parameters), reference.target_rows(job, rows)
    t = functions.smooth(t, job.label_smoothing, net.loss) if job.label_smoothing else t
    weights = reference.sample_weights(job, rows, len(rows))

    def evaluate() -> _Passed:
        A, Z = reference.forward(net, layers, X, masks)
        losses = functions.LOSS_FUNCTIONS[net.loss](Z[-1], t, A[-1])
        sides = [z.ravel() > 0 for z, name in zip(Z, net.activations, strict=True) if name in KINKED]
        return _Passed(float(losses @ weights / weights.sum()), np.concatenate([*sides, [True]]), A, Z)

    return evaluate


def _against_differences(
    job: Job, rows: np.ndarray, true: np.ndarray, sizes: np.ndarray, parameters: int, draws: np.random.Generator
) -> list[Row]:
    """Central differences D(h) = (f(p + h) - f(p - h)) / 2h, each with a bound of its own.

    Its truncation error is h^2 f''' / 6, a third of D(2h) - D(h); its rounding error some units of float64's roundoff
    in the loss and in z, divided by h. (Nocedal, Wright: "Numerical Optimization", 2nd edition, 2006, section 8.1.)
    """
    evaluate, found = _objective(job, rows), []
    here = evaluate()
    rounding = 32 * 2.0**-53 * (here.loss + max(float(np.abs(z).max()) for z in here.Z))
    for layer, name, (values, gradient, size) in _arrays(job, job.parameters, true, sizes):
        # what moves z by about STEP: inputs may be as large as 255
        h = STEP / (max(1.0, float(np.abs(here.A[layer]).max())) if name == "weight" else 1.0)
        checked, scale = 0, float(size.max()) or 1.0
        worst: _Worst = 0.0, 1.0, (), 0.0, 0.0
        for place in draws.permutation(values.size)[:parameters]:
            at = np.unravel_index(place, values.shape)
            value, losses, crossed = values[at], [], False
            for distance in (h, -h, 2 * h, -2 * h):
                values[at] = value + distance
                moved = evaluate()
                losses.append(moved.loss)
                crossed |= bool((moved.sides != here.sides).any())
            values[at] = value
            if crossed:
                continue
            checked += 1
            near, far = (losses[0] - losses[1]) / (2 * h), (losses[2] - losses[3]) / (4 * h)
            bound = 2 * abs(far - near) + rounding / h
            here_too = tuple(map(int, at)), float(gradient[at]), float(near)
            worst = max(worst, (float(abs(near - gradient[at])) / scale, bound / scale, *here_too), key=_severity)
        found.append(Row("reference against differences", layer, name, checked, *worst))
    return found


_Worst = tuple[float, float, tuple[int, ...], float, float]  # difference, bound, place, and the two values there


def _severity(worst: _Worst) -> float:
    difference, bound = worst[:2]
    return difference / bound if np.isfinite(difference) and bound else np.inf


def _against_reference(job: Job, rows: np.ndarray, true: np.ndarray, sizes: np.ndarray) -> list[Row]:
    """The fused gradient, whole. It may be off by float32's roundings, and by a few times what the reference is off in
    float32, which tells how far the network makes them grow.
    """
    plain, fused = (backend(name).gradients(job, rows, 0)[1] for name in ("reference", "fused"))
    found = []
    for layer, name, (exact, size, slow, fast) in _arrays(job, true, sizes, plain, fused):
        scale = float(size.max()) or 1.0
        noise, difference = (float(np.abs(one - exact).max()) / scale for one in (slow, fast))
        bound = max(_roundoff(job, len(rows)), 8 * noise)
        at = np.unravel_index(int(np.abs(fast - exact).argmax()), exact.shape)
        worst = tuple(map(int, at)), float(fast[at]), float(exact[at])
        found.append(Row("fused against reference", layer, name, exact.size, difference, bound, *worst))
    return found


def check_steps(
    network: Network, X: np.ndarray, y: np.ndarray, *, samples: int = 32, seed: int = 0, threads: int | str = "auto"
) -> list[Row]:
    """Check a step of each optimiser: that of the fused kernels against the reference's in float64.

    The optimiser's memory begins as if all gradients so far had been as large as the largest one now: a step then is
    a smooth function of the gradient, and rounding is not blown up where that is near 0.

    Parameters
    ----------
    network, X, y, samples, seed, threads
        As for `check`.

    Returns
    -------
    list of Row
        One for each optimiser; layer, parameter, place and values are those of the worst number that it has changed.
        Differences are divided by the largest parameter.
    """
    draws = np.random.default_rng(check_seed(seed))
    drawn = np.sort(draws.permutation(len(X))[:samples])
    examples = network.examples(np.asarray(X)[drawn], np.asarray(y)[drawn])
    job = network.job(examples, batch_size=len(drawn), threads=threads, seed=seed)
    rows = _away_from_kinks(replace(job, parameters=job.parameters.astype(np.float64)), np.arange(len(drawn)))
    largest = float(np.abs(reference.gradients(job, rows, 0)[1]).max()) or 1.0
    return [_check_step(job, rows, make_optimizer(name), largest) for name in OPTIMIZERS]


def _check_step(job: Job, rows: np.ndarray, optimizer: Optimizer, largest: float) -> Row:
    steps = np.column_stack([optimizer.coefficients(np.array([0.1]), 0), [1e-3 if optimizer.decoupled else 0.0]])

    def stepped(name: str, kind: type) -> np.ndarray:
        size = job.parameters.size
        parameters, state = aligned_zeros(size, kind), aligned_zeros(optimizer.slots * size, kind)
        state = state.reshape(optimizer.slots, size)
        parameters[:] = job.parameters
        for W, b in (pair for flat in state for pair in job.architecture.views(flat)):
            W[:], b[:] = largest**2, largest**2
        own = replace(job, parameters=parameters, state=state, batch_size=len(rows), optimizer=optimizer.name,
                      first=optimizer.first, second=optimizer.second,
                      weight_decay=0.0 if optimizer.decoupled else 1e-3, workspace=None)  # fmt: skip
        backend(name).train(own, rows, 0, 0, steps)
        return parameters

    exact, slow, fast = stepped("reference", np.float64), stepped("reference", np.float32), stepped("fused", np.float32)
    scale = float(np.abs(exact).max()) or 1.0
    noise, arrays = float(np.abs(slow - exact).max()) / scale, _arrays(job, fast, exact)
    off = [np.abs(found - expected) for _, _, (found, expected) in arrays]
    worst = int(np.argmax([differences.max() for differences in off]))
    layer, name, (found, expected) = arrays[worst]
    place = tuple(map(int, np.unravel_index(int(off[worst].argmax()), found.shape)))
    difference, bound = float(off[worst].max()) / scale, max(_roundoff(job, len(rows)), 8 * noise)
    return Row("fused step against reference", layer, name, job.architecture.parameters, difference, bound, place,
               float(found[place]), float(expected[place]), optimizer.name)  # fmt: skip
