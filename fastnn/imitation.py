"""A fit by the rules of scikit-learn's MLP: its draws, its Adam, its learning rates, and when it stops.

The same `random_state` gives the same initial weights and the same batches there and here, so that both loss curves are
equal but for float32. Letters: N samples, I inputs and O outputs of a layer.

Source: scikit-learn 1.9, neural_network/_multilayer_perceptron.py and _stochastic_optimizers.py.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.utils import shuffle

from fastnn.callbacks import Callback, Record
from fastnn.network import Network
from fastnn.optimizers import Adam
from fastnn.schedules import Schedule
from fastnn.training import Fit

LEAST_RATE = 1e-6  # below it "adaptive" stops instead of dividing once more
DIVISOR = 5.0


def initialize(network: Network, activation: str, draw: np.random.RandomState) -> None:
    """Draw all parameters as scikit-learn does: Glorot and Bengio 2010, equation 16, for biases too.

    Parameters
    ----------
    network : Network
    activation : str
        Of the hidden layers; after a sigmoid the bound is smaller.
    draw : RandomState
    """
    for W, b in network.parameters():
        bound = np.sqrt((2.0 if activation == "sigmoid" else 6.0) / sum(W.shape))
        W[...] = draw.uniform(-bound, bound, W.shape)
        b[...] = draw.uniform(-bound, bound, b.shape)


@dataclass(frozen=True)
class PlainEpsilon(Adam):
    """Adam as scikit-learn has it: epsilon is added to the root before its correction; settings as of `Adam`."""

    def coefficients(self, rates: np.ndarray, step: int) -> np.ndarray:
        """Kingma, Ba 2015, end of section 2: alpha_t and epsilon-hat, (S,) -> (S, 2); see `Adam.coefficients`."""
        found = super().coefficients(rates, step)
        found[:, 1] = self.epsilon
        return found


@dataclass(frozen=True)
class Dictated(Schedule):
    """A learning rate that someone else sets from epoch to epoch: `now` holds its one multiplier."""

    name = "dictated"

    now: list[float] = field(default_factory=lambda: [1.0])

    def multipliers(self, epoch: int, epochs: int, steps: int, losses: Sequence[float]) -> np.ndarray:
        """What `now` holds, (steps,) times."""
        return np.full(steps, self.now[0])


class Imitation(Fit):
    """A `Fit` whose order and step number are scikit-learn's.

    Parameters
    ----------
    draw : RandomState
        What the order of each epoch is drawn from.
    taken : int
        Steps that the optimiser has taken in earlier fits.
    **settings
        As for `Fit`.
    """

    def __init__(self, *arguments: Any, draw: np.random.RandomState, taken: int = 0, **settings: Any):
        super().__init__(*arguments, **settings)
        self.draw, self.taken = draw, taken
        self._places = np.arange(self.samples)

    def _order(self, epoch: int) -> np.ndarray:
        if not self.shuffle:
            return self.rows
        self._places = shuffle(self._places, random_state=self.draw)
        return self.rows[self._places]

    def _steps_before(self) -> int:
        return self.taken + super()._steps_before()


@dataclass
class Progress:
    """Where scikit-learn's rules are, from fit to fit of a warm start.

    Parameters
    ----------
    losses, scores, validation_losses : list of float
        Of each epoch: training loss with the penalty, validation score, and validation loss without it.
    samples : int
        That were trained on, counted as often as they were.
    waited : int
        Epochs in a row without improvement.
    best_loss, best_score : float
    best : float32 array or None
        All parameters of the epoch with the best score.
    """

    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    validation_losses: list[float] = field(default_factory=list)
    samples: int = 0
    waited: int = 0
    best_loss: float = np.inf
    best_score: float = -np.inf
    best: np.ndarray | None = None


@dataclass
class Rules(Callback):
    """After each epoch: the loss with its penalty, the best epoch, the learning rate, and whether to stop.

    Parameters
    ----------
    progress : Progress
        Goes on.
    alpha : float
        Of the penalty alpha / 2 |W|^2, divided by the samples of a batch; by what they weigh.
    share : float
        What the training loss is multiplied by: scikit-learn's squared error is a mean over outputs.
    tol, patience : float
    kind : {"constant", "invscaling", "adaptive"}
    power_t : float
    rate : Dictated or None
        None: the learning rate is not to be touched.
    early : bool
        Stop by the validation score, not the training loss.
    score : callable or None
        The validation score of the network as it is, from the epoch's record; None without validation.
    say : callable or None
        Takes a line for each epoch.
    """

    progress: Progress
    alpha: float
    share: float
    tol: float
    patience: float
    kind: str
    power_t: float
    rate: Dictated | None
    early: bool
    score: Callable[[Record], float] | None
    say: Callable[[str], None] | None
    converged: bool = False
    _norm: float = 0.0

    def on_fit_begin(self, fit: Fit) -> None:
        """The penalty before the first step."""
        self._norm = self._square(fit)

    def _square(self, fit: Fit) -> float:
        return sum(float(np.square(W, dtype=np.float64).sum()) for W, _ in fit.network.parameters())

    def on_epoch_end(self, fit: Fit, record: Record) -> None:
        """One epoch by the rules."""
        now, before, self._norm = self.progress, self._norm, self._square(fit)
        # each batch of an epoch has its own |W|^2 in scikit-learn's loss, that before its step; within an epoch it goes
        # nearly straight from the first to the last
        mean = before + (self._norm - before) * (fit.steps - 1) / (2 * fit.steps)
        penalty = 0.5 * self.alpha * mean * fit.steps / fit.samples
        now.losses.append(self.share * record["loss"] + penalty)
        now.samples += fit.samples
        if self.say:
            self.say(f"Iteration {fit.epoch}, loss = {now.losses[-1]:.8f}")
        if self.score is not None:
            now.scores.append(self.score(record))
            now.validation_losses.append(self.share * record["val_loss"])
            if self.say:
                self.say(f"Validation score: {now.scores[-1]:f}")
        self._judge(fit)
        if self.rate is not None and self.kind == "invscaling":
            self.rate.now[0] = (now.samples + 1.0) ** -self.power_t
        if now.waited > self.patience:
            self._lose_patience(fit)

    def _judge(self, fit: Fit) -> None:
        now = self.progress
        loss = now.losses[-1]
        stuck = now.scores[-1] < now.best_score + self.tol if self.early else loss > now.best_loss - self.tol
        now.waited = now.waited + 1 if stuck else 0
        if self.early and now.scores[-1] > now.best_score:
            now.best_score, now.best = now.scores[-1], fit.network.flat.copy()
        now.best_loss = min(now.best_loss, loss)

    def _lose_patience(self, fit: Fit) -> None:
        what = "Validation score" if self.early else "Training loss"
        end = f"{what} did not improve more than tol={self.tol:f} for {self.patience} consecutive epochs."
        if self.rate is not None and self.kind == "adaptive":
            rate = fit.optimizer.learning_rate * self.rate.now[0]
            if rate > LEAST_RATE:
                self.rate.now[0] /= DIVISOR
                self.progress.waited = 0
                if self.say:
                    self.say(f"{end} Setting learning rate to {rate / DIVISOR:f}")
                return
            end += " Learning rate too small."
        fit.stop = self.converged = True
        if self.say:
            self.say(f"{end} Stopping.")
