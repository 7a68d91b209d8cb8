"""What a backend is handed: the examples, and the job to be done with them."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from fastnn.data.compressed import Compressed
from fastnn.layers import Architecture


@dataclass
class Examples:
    """N examples in the form that the kernels read.

    Parameters
    ----------
    X : uint8 or float32 array (N, I), C-contiguous, or Compressed
        Raw input; the architecture's scale and shift are applied batch by batch.
    labels : int32 array (N,), optional
        Class indices; the target of a sample is then the one-hot row of its label.
    targets : float32 array (N, O), optional
        Target rows, where there are no labels. Without either, only `predict` is possible.
    weights : float32 array (N,), optional
        How much each sample counts (at least 0); None: one each.
    classification : bool
        Whether the targets are classes, so that hits can be counted.
    """

    X: np.ndarray | Compressed
    labels: np.ndarray | None = None
    targets: np.ndarray | None = None
    weights: np.ndarray | None = None
    classification: bool = True
    density: float | None = None  # share of values that are not zero; see `find_density`
    longest: int | None = None  # the most that a row has: found by the fused backend when it needs it

    def __len__(self) -> int:
        return len(self.X)

    def find_density(self) -> float:
        """The share of values that are not zero, judged by some 250 rows, and kept."""
        if self.density is None:
            X = self.X
            if isinstance(X, Compressed):
                self.density = X.density
                return self.density
            some = X[:: -(-len(X) // 256)] if X.size else X
            self.density = float(np.count_nonzero(some != 0) / some.size) if some.size else 1.0
        return self.density


@dataclass
class Job:
    """A network at work on examples: everything that stays the same from step to step.

    Parameters
    ----------
    architecture : Architecture
    parameters : float array (size,)
        The flat buffer; `train` changes it in place. float32 for the fused backend, any float dtype for the reference.
    examples : Examples
    batch_size : int
        B; the last batch of an epoch may be smaller.
    optimizer : str
        Name of the update rule; a key of `reference.UPDATES`.
    first, second : float
        Its decay constants (momentum or beta1; rho or beta2).
    state : array (slots, size)
        The optimiser's memory, of the parameters' dtype; changed in place.
    weight_decay : float
        lambda: ``lambda W`` is added to the gradient of the weights (biases are spared).
    clip_norm : float
        Largest norm of the whole gradient of the loss, before weight decay; 0 for no limit.
    label_smoothing : float
        epsilon of `functions.smooth`.
    seed : int
        Of the dropout masks.
    threads : int
        How many threads the fused backend uses; no result of finite numbers depends on it.
    """

    architecture: Architecture
    parameters: np.ndarray
    examples: Examples
    batch_size: int = 256
    optimizer: str = "sgd"
    first: float = 0.0
    second: float = 0.0
    state: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    label_smoothing: float = 0.0
    seed: int = 0
    threads: int = 1
    workspace: Any = None  # what a backend keeps from call to call: the fused one its plan, the reference its gradient


class Totals(NamedTuple):
    """Sums over samples, in float64: divide by `weight` for the mean loss and the accuracy."""

    loss: float = 0.0
    hits: float = 0.0
    weight: float = 0.0

    @property
    def mean_loss(self) -> float:
        """Mean loss, weighted by sample; NaN of nothing."""
        return self.loss / self.weight if self.weight else float("nan")

    @property
    def accuracy(self) -> float:
        """Share of hits, weighted by sample; NaN of nothing."""
        return self.hits / self.weight if self.weight else float("nan")

    def __add__(self, other: "Totals") -> "Totals":  # type: ignore[override]
        return Totals(*(a + b for a, b in zip(self, other, strict=True)))


NOTHING = Totals()
