"""Optimisers as settings: what the kernels need to know of each. The update rules themselves: kernels/reference.py."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fastnn.settings import BELOW_ONE, POSITIVE, Choice, choose, setting


@dataclass(frozen=True)
class Optimizer(Choice):
    """Base of all optimisers.

    Attributes
    ----------
    name : str
        Its name in `OPTIMIZERS` and in `kernels.reference.UPDATES`.
    slots : int
        How many state arrays, each of the size of the parameters, it keeps.
    decoupled : bool
        Weight decay shrinks the weights by itself instead of being added to their gradient.
    """

    slots: ClassVar[int]
    decoupled: ClassVar[bool] = False

    learning_rate: float = setting(0.1, POSITIVE)

    @property
    def first(self) -> float:
        """The first decay constant that the kernels take; 0 if it has none."""
        return 0.0

    @property
    def second(self) -> float:
        """The second decay constant that the kernels take; 0 if it has none."""
        return 0.0

    def coefficients(self, rates: np.ndarray, step: int) -> np.ndarray:
        """The effective learning rate and epsilon of some steps: here the rate itself, and 0.

        Parameters
        ----------
        rates : float64 array (S,)
            The learning rate of each of S steps.
        step : int
            How many steps have been done before them.

        Returns
        -------
        float64 array (S, 2)
        """
        return _side_by_side(rates, 0.0)


def _side_by_side(first: np.ndarray, second: np.ndarray | float) -> np.ndarray:
    """Two columns. NumPy's `stack` took 20 us before an epoch of 2 ms, which had emptied the caches."""
    found = np.empty((len(first), 2))
    found[:, 0], found[:, 1] = first, second
    return found


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent. Robbins, Monro: "A stochastic approximation method", 1951.

    Parameters
    ----------
    learning_rate : float
        Above 0.

    Raises
    ------
    ConfigError
        A setting out of its range.
    """

    name = "sgd"
    slots = 0


@dataclass(frozen=True)
class Momentum(Optimizer):
    """Classical momentum. Sutskever et al.: "On the importance of initialization and momentum", 2013, equations 1-2.

    Parameters
    ----------
    learning_rate : float
        Above 0.
    momentum : float
        mu, the share of the last step that is kept; at least 0, below 1.

    Raises
    ------
    ConfigError
        A setting out of its range.
    """

    name = "momentum"
    slots = 1

    learning_rate: float = setting(0.05, POSITIVE)
    momentum: float = setting(0.9, BELOW_ONE)

    @property
    def first(self) -> float:
        """mu."""
        return self.momentum


@dataclass(frozen=True)
class Nesterov(Momentum):
    """Momentum with Nesterov's look ahead, Sutskever et al. 2013, equations 3-4.

    Parameters and Raises as of `Momentum`.
    """

    name = "nesterov"


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """Gradients divided by the root of their running mean square. Tieleman, Hinton: lecture 6.5, 2012.

    Parameters
    ----------
    learning_rate : float
        Above 0.
    rho : float
        Decay of the running mean square; at least 0, below 1.
    epsilon : float
        Added to the root; above 0. The default is that of Keras.

    Raises
    ------
    ConfigError
        A setting out of its range.
    """

    name = "rmsprop"
    slots = 1

    learning_rate: float = setting(0.001, POSITIVE)
    rho: float = setting(0.9, BELOW_ONE)
    epsilon: float = setting(1e-7, POSITIVE)

    @property
    def first(self) -> float:
        """rho."""
        return self.rho

    def coefficients(self, rates: np.ndarray, step: int) -> np.ndarray:
        """The rate and epsilon as they are. Parameters and Returns as of `Optimizer.coefficients`."""
        return _side_by_side(rates, self.epsilon)


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adaptive moments. Kingma, Ba: "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1.

    Parameters
    ----------
    learning_rate : float
        alpha; above 0.
    beta1, beta2 : float
        Decay of the mean and of the mean square of the gradient; at least 0, below 1.
    epsilon : float
        Added to the root of the corrected mean square; above 0.

    Raises
    ------
    ConfigError
        A setting out of its range.
    """

    name = "adam"
    slots = 2

    learning_rate: float = setting(0.001, POSITIVE)
    beta1: float = setting(0.9, BELOW_ONE)
    beta2: float = setting(0.999, BELOW_ONE)
    epsilon: float = setting(1e-8, POSITIVE)

    @property
    def first(self) -> float:
        """beta1."""
        return self.beta1

    @property
    def second(self) -> float:
        """beta2."""
        return self.beta2

    def coefficients(self, rates: np.ndarray, step: int) -> np.ndarray:
        """The bias corrections of algorithm 1, drawn into rate and epsilon.

        With t = step + 1, step + 2, ... and r = sqrt(1 - beta2^t), multiplying the fraction
        alpha m^ / (sqrt(v^) + epsilon) by r / r gives alpha r / (1 - beta1^t) m / (sqrt(v) + epsilon r)
        (section 2, the more efficient order, with epsilon-hat written out).

        Parameters and Returns as of `Optimizer.coefficients`.
        """
        t = step + 1.0 + np.arange(len(rates))
        root = np.sqrt(1 - self.beta2**t)
        return _side_by_side(rates * root / (1 - self.beta1**t), self.epsilon * root)


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay. Parameters and Raises as of `Adam`.

    Loshchilov, Hutter: "Decoupled weight decay regularization", ICLR 2019, algorithm 2. Each step takes alpha lambda W
    off the weights, alpha as scheduled: as in PyTorch, lambda is relative to the learning rate. The paper's is not.
    """

    name = "adamw"
    decoupled = True


OPTIMIZERS: dict[str, type[Optimizer]] = {kind.name: kind for kind in (SGD, Momentum, Nesterov, RMSprop, Adam, AdamW)}


def make_optimizer(name: str | Optimizer, **settings: Any) -> Optimizer:
    """An optimiser from its name (or from another one) and those settings that differ.

    Parameters
    ----------
    name : str or Optimizer
        A name of `OPTIMIZERS`, or an optimiser, which is then the starting point.
    **settings
        Its fields, such as ``learning_rate=0.01``.

    Returns
    -------
    Optimizer

    Raises
    ------
    ConfigError
        An unknown name or setting, or a setting out of its range.
    """
    return choose(OPTIMIZERS, "optimizer", name, settings)
