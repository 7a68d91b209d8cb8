"""fastnn: the fastest and most trustworthy way to train a multilayer perceptron on a CPU, in Python."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fastnn.augment import Augment
from fastnn.callbacks import Callback, Checkpoint, EarlyStopping, History
from fastnn.errors import FastnnError
from fastnn.layers import Dense, Dropout, Input
from fastnn.model import MLP, load
from fastnn.optimizers import SGD, Adam, AdamW, Momentum, Nesterov, RMSprop
from fastnn.version import __version__

if TYPE_CHECKING:  # "as" makes them public to type checkers; in __all__ a star import would need scikit-learn
    from fastnn.estimator import MLPClassifier as MLPClassifier
    from fastnn.estimator import MLPRegressor as MLPRegressor

__all__ = [
    "MLP",
    "SGD",
    "Adam",
    "AdamW",
    "Augment",
    "Callback",
    "Checkpoint",
    "Dense",
    "Dropout",
    "EarlyStopping",
    "FastnnError",
    "History",
    "Input",
    "Momentum",
    "Nesterov",
    "RMSprop",
    "__version__",
    "load",
]

# what needs an extra is imported when it is asked for
_LAZY = {"MLPClassifier": "fastnn.estimator", "MLPRegressor": "fastnn.estimator"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'fastnn' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return [*__all__, *_LAZY]
