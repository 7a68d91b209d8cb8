"""fastnn: the fastest and most trustworthy way to train a multilayer perceptron on a CPU, in Python."""

from fastnn.augment import Augment
from fastnn.callbacks import Callback, Checkpoint, EarlyStopping, History
from fastnn.errors import FastnnError
from fastnn.layers import Dense, Dropout, Input
from fastnn.model import MLP, load
from fastnn.optimizers import SGD, Adam, AdamW, Momentum, Nesterov, RMSprop
from fastnn.version import __version__

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
