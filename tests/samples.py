"""Small data sets to train on, and what two trainings must share to be the same."""

from typing import Any

import numpy as np

from fastnn import MLP, History
from fastnn.kernels import BACKENDS

BOTH = list(BACKENDS)


def blobs(samples: int = 60, features: int = 4, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """X float32 (N, I) and labels (N,): clouds that overlap a little, one a class."""
    rng = np.random.default_rng(seed)
    y = rng.integers(classes, size=samples)
    return (rng.normal(size=(classes, features))[y] * 2 + rng.normal(size=(samples, features))).astype(np.float32), y


def pictures(samples: int = 40, side: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """X uint8 (N, side * side), mostly 0, and labels (N,): a bright column, on the left or on the right."""
    rng = np.random.default_rng(seed)
    y = rng.integers(2, size=samples)
    X = np.zeros((samples, side, side), np.uint8)
    X[np.arange(samples), :, np.where(y, side - 2, 1)] = rng.integers(100, 256, size=(samples, side))
    return X.reshape(samples, -1), y


def figures(history: History) -> list[dict[str, Any]]:
    """The records of a history without the times."""
    return [
        {k: v for k, v in record.items() if k not in ("seconds", "samples_per_second")} for record in history.records
    ]


def weights(network: MLP) -> bytes:
    """All parameters, bit by bit."""
    return network.flat.tobytes()
