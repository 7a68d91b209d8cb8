"""What the parameters of `MLPClassifier` and `MLPRegressor` may be."""

import re
from collections.abc import Iterable
from numbers import Real
from typing import Any

import numpy as np

from fastnn.callbacks import check_callbacks
from fastnn.errors import ConfigError, DataError
from fastnn.settings import BELOW_ONE, COUNT, NOT_NEGATIVE, POSITIVE, Range, checked

ACTIVATIONS = {"logistic": "sigmoid"}  # scikit-learn's names that are not fastnn's
CHOICES = {
    "solver": ("adam", "sgd", "lbfgs"),
    "learning_rate": ("constant", "invscaling", "adaptive"),
    "backend": ("fused", "reference"),
}
NUMBERS: dict[str, tuple[Range, type]] = {
    "alpha": (NOT_NEGATIVE, float),
    "learning_rate_init": (POSITIVE, float),
    "power_t": (NOT_NEGATIVE, float),
    "max_iter": (COUNT, int),
    "tol": (NOT_NEGATIVE, float),
    "momentum": (BELOW_ONE, float),
    "validation_fraction": (BELOW_ONE, float),
    "beta_1": (BELOW_ONE, float),
    "beta_2": (BELOW_ONE, float),
    "epsilon": (POSITIVE, float),
    "max_fun": (COUNT, int),
}


def hidden(estimator: Any) -> tuple[list[int], list[str], list[float]]:
    """Of each hidden layer: its units, activation by fastnn's name, and dropout rate."""
    sizes: Any = estimator.hidden_layer_sizes
    sizes = [checked(size, COUNT, "a number of hidden_layer_sizes", int)
             for size in (sizes if isinstance(sizes, Iterable) else [sizes])]  # fmt: skip
    found: list[list[Any]] = []
    both: list[tuple[str, Any]] = [("activation", estimator.activation), ("dropout", estimator.dropout)]
    for name, value in both:
        if not isinstance(value, str | Real | Iterable):
            raise ConfigError(f"{name} must be one value, or one for each hidden layer, not {value!r}")
        each = list(value) if isinstance(value, Iterable) and not isinstance(value, str) else [value] * len(sizes)
        if len(each) != len(sizes):
            raise ConfigError(f"{name} has {len(each)} values for {len(sizes)} hidden layers; give one for each")
        found.append(each)
    return sizes, [ACTIVATIONS.get(name, name) for name in found[0]], found[1]


def check(estimator: Any, one_epoch: bool, validated: bool) -> None:
    """ConfigError for the first parameter that cannot be, or not with the others.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
    one_epoch : bool
        Whether this is a `partial_fit`.
    validated : bool
        Whether there is a validation set of the user's own.
    """
    for name, (allowed, kind) in NUMBERS.items():
        checked(getattr(estimator, name), allowed, name, kind)
    for name, words in CHOICES.items():
        if getattr(estimator, name) not in words:
            raise ConfigError(f"{name} must be {' or '.join(words)}, not {getattr(estimator, name)!r}")
    if estimator.batch_size != "auto":
        checked(estimator.batch_size, COUNT, "batch_size", int)
    if estimator.n_iter_no_change != np.inf:
        checked(estimator.n_iter_no_change, COUNT, "n_iter_no_change", int)
    if estimator.n_jobs is not None and estimator.n_jobs != -1:
        checked(estimator.n_jobs, COUNT, "n_jobs, unless it is -1,", int)
    if estimator.image is not None:
        sides = estimator.image if isinstance(estimator.image, (tuple, list)) else ()
        if len([checked(side, COUNT, "a side of image", int) for side in sides]) != 2:
            raise ConfigError(f"image must be (height, width), not {estimator.image!r}")
    check_callbacks(estimator.callbacks)
    if one_epoch and (estimator.early_stopping or estimator.schedule is not None):
        raise ConfigError("partial_fit knows no end: it supports neither early_stopping nor schedule")
    by_epoch = {
        "dropout": any(hidden(estimator)[2]),
        "augment": bool(estimator.augment),
        "schedule": estimator.schedule is not None,
        "callbacks": bool(estimator.callbacks),
        "X_val": validated,
    }
    given = [name for name, there in by_epoch.items() if there]
    if estimator.solver == "lbfgs" and given:
        raise ConfigError(f"lbfgs knows no epochs, so no {' and no '.join(given)}; use the solver adam or sgd")


def of_validation(error: ValueError) -> DataError:
    """What is wrong with X and y, said of X_val and y_val; names of classes, which are quoted, stay."""
    line = str(error).partition("\n")[0]
    return DataError("X_val, y_val: " + re.sub(r"(?<![\w'])([Xy])(?![\w'])", r"\1_val", line))
