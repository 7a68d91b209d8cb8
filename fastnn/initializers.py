"""What weights and biases start from: a table of named distributions, read from text such as ``"normal(0.01)"``.

I inputs are the fan-in of a layer, O outputs its fan-out. Sources: [He] He, Zhang, Ren, Sun: "Delving deep into
rectifiers", ICCV 2015. [Glorot] Glorot, Bengio: "Understanding the difficulty of training deep feedforward neural
networks", AISTATS 2010. [LeCun] LeCun, Bottou, Orr, Müller: "Efficient BackProp", 1998.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastnn.errors import ConfigError
from fastnn.layers import parse_call
from fastnn.settings import nearest

LARGEST = 1e30  # of an argument: products of weights must still fit into float32

Draw = Callable[..., np.ndarray]  # draw(shape, rng, *arguments) -> float32 array of this shape


def normal(shape: tuple[int, ...], rng: np.random.Generator, std: float) -> np.ndarray:
    """Normal with mean 0 (not truncated): x = std z, z standard normal."""
    return rng.standard_normal(shape, dtype=np.float32) * np.float32(std)


def uniform(shape: tuple[int, ...], rng: np.random.Generator, low: float, high: float) -> np.ndarray:
    """Uniform between two limits: x = low + (high - low) u, u uniform in [0, 1)."""
    return rng.random(shape, dtype=np.float32) * np.float32(high - low) + np.float32(low)


def constant(shape: tuple[int, ...], rng: np.random.Generator, value: float) -> np.ndarray:
    """The same value everywhere."""
    return np.full(shape, value, dtype=np.float32)


def scaled_normal(variance: Callable[[int, int], float]) -> Draw:
    """A normal distribution of the variance that `variance` gives for (I, O)."""
    return lambda shape, rng: normal(shape, rng, math.sqrt(variance(*shape)))


def scaled_uniform(variance: Callable[[int, int], float]) -> Draw:
    """A uniform distribution of the variance that `variance` gives for (I, O): over [-l, l] it is l^2 / 3."""

    def draw(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        limit = math.sqrt(3 * variance(*shape))
        return uniform(shape, rng, -limit, limit)

    return draw


def he(inputs: int, outputs: int) -> float:
    """Var W = 2 / I, [He] equation 10: keeps the size of signals through layers of ReLU."""
    return 2 / inputs


def glorot(inputs: int, outputs: int) -> float:
    """Var W = 2 / (I + O), [Glorot] equation 12 (as a uniform distribution: equation 16)."""
    return 2 / (inputs + outputs)


def lecun(inputs: int, outputs: int) -> float:
    """Var W = 1 / I, [LeCun] section 4.6, equation 16."""
    return 1 / inputs


class Initializer(NamedTuple):
    """A row of `INITIALIZERS`.

    Parameters
    ----------
    draw : function (shape, rng, one value for each argument) -> float32 array
    arguments : tuple of str
        The names of its arguments; all of them are given, or none.
    defaults : tuple of float
        Their values if none is given; empty where one must be.
    by_width : bool
        It scales with I and O, so it is for weights alone.
    """

    draw: Draw
    arguments: tuple[str, ...] = ()
    defaults: tuple[float, ...] = ()
    by_width: bool = False


INITIALIZERS: dict[str, Initializer] = {
    "he_normal": Initializer(scaled_normal(he), by_width=True),
    "he_uniform": Initializer(scaled_uniform(he), by_width=True),
    "glorot_normal": Initializer(scaled_normal(glorot), by_width=True),
    "glorot_uniform": Initializer(scaled_uniform(glorot), by_width=True),
    "lecun_normal": Initializer(scaled_normal(lecun), by_width=True),
    "lecun_uniform": Initializer(scaled_uniform(lecun), by_width=True),
    # 0.01: Krizhevsky, Sutskever, Hinton: "ImageNet classification with deep CNNs", NIPS 2012, section 5
    "normal": Initializer(normal, ("std",), (0.01,)),
    "uniform": Initializer(uniform, ("low", "high"), (-0.05, 0.05)),  # the default of Keras
    "zeros": Initializer(lambda shape, rng: np.zeros(shape, np.float32)),
    "constant": Initializer(constant, ("value",)),
}


def initialize(spec: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Draw the first values of a weight matrix or a bias.

    Parameters
    ----------
    spec : str
        A name of `INITIALIZERS`, with all of its arguments or none: ``"he_normal"``, ``"uniform(-0.5, 0.5)"``.
    shape : tuple of int
        (I, O) of weights or (O,) of a bias.
    rng : numpy.random.Generator
        Where the random numbers come from; nothing else decides the result.

    Returns
    -------
    float32 array of this shape

    Raises
    ------
    ConfigError
        An unknown name; arguments of a wrong number, not finite or beyond 1e30; a negative std; low not below high; or
        a distribution that scales with the number of inputs (he, glorot, lecun) for a bias, which has none.
    """
    name, given = parse_call(spec, "initializer")
    if name not in INITIALIZERS:
        raise ConfigError(
            f"unknown initializer {name!r}; choose one of {', '.join(INITIALIZERS)}{nearest(name, INITIALIZERS)}"
        )
    draw, arguments, defaults, by_width = INITIALIZERS[name]
    values = given or defaults
    if len(values) != len(arguments):
        form = f"write {name}({', '.join(arguments)})" if arguments else "it takes none"
        raise ConfigError(f"the initializer {spec!r} has the wrong number of arguments; {form}")
    if not all(abs(value) <= LARGEST for value in values):  # a NaN fails too
        raise ConfigError(f"the arguments of the initializer {spec!r} must be finite, at most {LARGEST:g}")
    if name == "normal" and values[0] < 0:
        raise ConfigError(f"the standard deviation of the initializer {spec!r} must not be negative")
    if name == "uniform" and values[0] >= values[1]:
        raise ConfigError(f"the initializer {spec!r} needs its first argument, low, below its second, high")
    if by_width and len(shape) < 2:
        raise ConfigError(
            f"a bias cannot start from {name}: it has no inputs to scale with; use zeros or constant(0.1)"
        )
    return draw(shape, rng, *values)
