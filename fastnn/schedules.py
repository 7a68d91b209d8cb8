"""Learning rate schedules: what the optimiser's learning rate is multiplied by, step by step. Pure functions all."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.errors import ConfigError
from fastnn.settings import COUNT, NOT_NEGATIVE, UP_TO_ONE, Choice, Range, choose, setting

FACTOR = Range("above 0 and at most 1", lambda value: 0 < value <= 1)
INSIDE = Range("above 0 and below 1", lambda value: 0 < value < 1)


@dataclass(frozen=True)
class Schedule(Choice, ABC):
    """Base of all schedules, and of those of your own; one that sets no `name` is called by its class's."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" not in vars(cls):
            cls.name = cls.__name__

    def settings(self) -> dict[str, Any]:
        """The name and all attributes as plain JSON data, by which a checkpoint knows the schedule again.

        Raises
        ------
        ConfigError
            An attribute is neither a finite number nor a string, None, or list or dict of such.
        """
        found: dict[str, Any] = {}
        for name, value in (vars(self) | super().settings()).items():
            try:
                found[name] = json.loads(json.dumps(value, allow_nan=False))
            except (TypeError, ValueError, RecursionError):
                raise ConfigError(
                    f"{name} of the schedule {self.name} is {value!r}, which no checkpoint can hold; "
                    "make it a finite number, a string, or a list of such"
                ) from None
        return found

    @abstractmethod
    def multipliers(self, epoch: int, epochs: int, steps: int, losses: Sequence[float]) -> np.ndarray:
        """What the learning rate is multiplied by at each step of one epoch.

        Parameters
        ----------
        epoch : int
            The epoch, counted from 0.
        epochs : int
            How many epochs there will be.
        steps : int
            How many steps an epoch has.
        losses : sequence of float (epoch,)
            The training loss of each epoch before this one.

        Returns
        -------
        float64 array (steps,)
            Finite, and at least 0.
        """


class ByEpoch(Schedule):
    """A schedule that changes between epochs only."""

    @abstractmethod
    def multiplier(self, epoch: int, losses: Sequence[float]) -> float:
        """The one multiplier of an epoch; arguments as of `multipliers`."""

    def multipliers(self, epoch: int, epochs: int, steps: int, losses: Sequence[float]) -> np.ndarray:
        """The epoch's multiplier, (steps,) times; see `Schedule.multipliers`."""
        return np.full(steps, self.multiplier(epoch, losses), np.float64)


class ByStep(Schedule):
    """A schedule that changes at every step, by the share p of all steps that have been done: from 0 to below 1."""

    @abstractmethod
    def curve(self, p: np.ndarray) -> np.ndarray:
        """The multiplier at each p (steps,)."""

    def multipliers(self, epoch: int, epochs: int, steps: int, losses: Sequence[float]) -> np.ndarray:
        """The curve at each step of the epoch, (steps,); see `Schedule.multipliers`."""
        return self.curve((epoch * steps + np.arange(steps)) / (epochs * steps))


def ease(begin: float, end: float, p: np.ndarray) -> np.ndarray:
    """Half a cosine wave from `begin` at p = 0 to `end` at p = 1."""
    return end + (begin - end) * (1 + np.cos(np.pi * p)) / 2


@dataclass(frozen=True)
class Constant(ByEpoch):
    """Always 1."""

    name = "constant"

    def multiplier(self, epoch: int, losses: Sequence[float]) -> float:
        """1."""
        return 1.0


@dataclass(frozen=True)
class Step(ByEpoch):
    """factor^floor(epoch / every). Szegedy et al.: "Going deeper with convolutions", CVPR 2015, section 6.

    Parameters
    ----------
    every : int
        Epochs from one fall to the next; at least 1.
    factor : float
        Above 0, at most 1.

    Raises
    ------
    ConfigError
        A setting out of its range.
    """

    name = "step"

    every: int = setting(10, COUNT)
    factor: float = setting(0.5, FACTOR)

    def multiplier(self, epoch: int, losses: Sequence[float]) -> float:
        """factor^floor(epoch / every)."""
        return self.factor ** (epoch // self.every)


@dataclass(frozen=True)
class Exponential(ByEpoch):
    """factor^epoch. Senior, Heigold, Ranzato, Yang: "An empirical study of learning rates in deep neural networks for
    speech recognition", ICASSP 2013.

    Parameters
    ----------
    factor : float
        Above 0, at most 1.

    Raises
    ------
    ConfigError
        A setting out of its range.
    """

    name = "exponential"

    factor: float = setting(0.95, FACTOR)

    def multiplier(self, epoch: int, losses: Sequence[float]) -> float:
        """factor^epoch."""
        return self.factor**epoch


@dataclass(frozen=True)
class InverseTime(ByEpoch):
    """1 / (1 + k epoch). Robbins, Monro: "A stochastic approximation method", 1951, whose condition on rates it meets.

    Parameters
    ----------
    k : float
        At least 0.

    Raises
    ------
    ConfigError
        A setting out of its range.
    """

    name = "inverse_time"

    k: float = setting(0.1, NOT_NEGATIVE)

    def multiplier(self, epoch: int, losses: Sequence[float]) -> float:
        """1 / (1 + k epoch)."""
        return 1 / (1 + self.k * epoch)


@dataclass(frozen=True)
class Linear(ByStep):
    """1 - (1 - final) p. Goodfellow, Bengio, Courville: "Deep Learning", 2016, equation 8.14.

    Parameters
    ----------
    final : float
        What it tends to, reached one step behind the last; from 0 to 1.

    Raises
    ------
    ConfigError
        A setting out of its range.
    """

    name = "linear"

    final: float = setting(0.0, UP_TO_ONE)

    def curve(self, p: np.ndarray) -> np.ndarray:
        """1 - (1 - final) p."""
        return 1 - (1 - self.final) * p


@dataclass(frozen=True)
class Cosine(ByStep):
    """final + (1 - final) (1 + cos(pi p)) / 2. Loshchilov, Hutter: "SGDR", ICLR 2017, equation 5, without restarts.

    Parameters
    ----------
    final : float
        What it tends to; from 0 to 1.

    Raises
    ------
    ConfigError
        A setting out of its range.
    """

    name = "cosine"

    final: float = setting(0.0, UP_TO_ONE)

    def curve(self, p: np.ndarray) -> np.ndarray:
        """Half a cosine wave from 1 to final."""
        return ease(1, self.final, p)


@dataclass(frozen=True)
class OneCycle(ByStep):
    """Up from `start` to 1, then down to `final`, each way half a cosine wave.

    Smith, Topin: "Super-convergence: very fast training of neural networks using large learning rates", 2017;
    in the form of PyTorch's OneCycleLR, with the momentum left alone.

    Parameters
    ----------
    warmup : float
        The share of all steps that goes up; above 0, below 1.
    start, final : float
        The multipliers at both ends; from 0 to 1.

    Raises
    ------
    ConfigError
        A setting out of its range.
    """

    name = "one_cycle"

    warmup: float = setting(0.3, INSIDE)
    start: float = setting(0.04, UP_TO_ONE)
    final: float = setting(0.0001, UP_TO_ONE)

    def curve(self, p: np.ndarray) -> np.ndarray:
        """Half a cosine wave up, half a cosine wave down."""
        up = ease(self.start, 1, p / self.warmup)
        down = ease(1, self.final, (p - self.warmup) / (1 - self.warmup))
        return np.where(p < self.warmup, up, down)


@dataclass(frozen=True)
class Adaptive(ByEpoch):
    """Falls when the training loss stops falling: the rule of scikit-learn's ``learning_rate="adaptive"``.

    Each time `patience` epochs in a row were not better than the best before by more than `tolerance`, it is
    multiplied by `factor` and the count begins anew. It halves by default where scikit-learn divides by 5: with dropout
    or augmentation the training loss is noisy, and a fall that comes too early then costs less.

    Parameters
    ----------
    factor : float
        Above 0, at most 1.
    patience : int
        At least 1.
    tolerance : float
        At least 0, in units of the loss.

    Raises
    ------
    ConfigError
        A setting out of its range.
    """

    name = "adaptive"

    factor: float = setting(0.5, FACTOR)
    patience: int = setting(2, COUNT)
    tolerance: float = setting(1e-4, NOT_NEGATIVE)

    def multiplier(self, epoch: int, losses: Sequence[float]) -> float:
        """factor^(how often the losses of the epochs before have stopped falling)."""
        best, waited, falls = float("inf"), 0, 0
        for loss in losses[:epoch]:
            waited = 0 if loss < best - self.tolerance else waited + 1
            best = min(best, loss)
            if waited == self.patience:
                waited, falls = 0, falls + 1
        return self.factor**falls


SCHEDULES: dict[str, type[Schedule]] = {
    kind.name: kind for kind in (Constant, Step, Exponential, InverseTime, Linear, Cosine, OneCycle, Adaptive)
}


def make_schedule(name: str | Schedule, **settings: Any) -> Schedule:
    """A schedule from its name (or from another one) and those settings that differ.

    Parameters
    ----------
    name : str or Schedule
        A name of `SCHEDULES`, or a schedule, of your own too, which is then the starting point.
    **settings
        Its fields, such as ``final=0.1``.

    Returns
    -------
    Schedule

    Raises
    ------
    ConfigError
        An unknown name or setting, or a setting out of its range.
    """
    return choose(SCHEDULES, "schedule", name, settings, Schedule)
