"""The rows of the contest: which net is trained on what, and the data that every contestant makes for itself from it.

Letters: N samples, B samples of a batch, I inputs and O outputs of a layer.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fastnn.data import load

Parameters = list[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Row:
    """One net on one set of data; softmax cross-entropy, plain gradient descent, no shuffling.

    Parameters
    ----------
    name : str
    sizes : tuple of int
        From the inputs to the classes.
    activation : {"relu", "sigmoid", "tanh"}
        Of the hidden layers.
    batch : int
        B. The last batch of an epoch is smaller where B does not divide N, and every contestant trains on it too.
    samples : int
        N of dense Gaussian rows; 0 for the 60,000 images of MNIST.
    rate : float
        Learning rate: small enough that float32 ends where float64 does, large enough that an epoch teaches something.
    """

    name: str
    sizes: tuple[int, ...]
    activation: str
    batch: int
    samples: int = 0
    rate: float = 0.1

    @property
    def net(self) -> str:
        """In words: ``784-300-10 relu, batch 100``."""
        return f"{'-'.join(map(str, self.sizes))} {self.activation}, batch {self.batch}"


ROWS = {
    row.name: row
    for row in (
        Row("mnist-300", (784, 300, 10), "relu", 100, rate=0.02),
        Row("mnist-30", (784, 30, 10), "sigmoid", 10),
        Row("mnist-30-b100", (784, 30, 10), "sigmoid", 100),
        Row("mnist-deep", (784, 256, 128, 64, 10), "relu", 100, rate=0.005),
        Row("mnist-wide", (784, 800, 800, 10), "relu", 256, rate=0.01),
        Row("dense-300", (784, 300, 10), "relu", 100, samples=60_000, rate=0.003),
        Row("tabular", (32, 64, 64, 4), "relu", 256, samples=100_000, rate=0.02),
        Row("tiny", (24, 8, 2), "tanh", 200, samples=100_000),
        Row("big", (784, 2500, 2000, 1500, 1000, 500, 10), "relu", 256, samples=6_144, rate=0.003),
    )
}


class Task:
    """What a contestant is given: a row, its data, and the weights that training starts from.

    Parameters
    ----------
    row : Row

    Attributes
    ----------
    raw : array (N, I)
        As fastnn takes it: bytes of MNIST, float32 rows otherwise.
    scale : float
        What raw values are multiplied by to get the inputs of the first layer.
    labels : int32 array (N,)
    """

    def __init__(self, row: Row):
        self.row = row
        if row.samples:
            self.raw, self.labels = gaussian(row.samples, row.sizes[0], row.sizes[-1])
            self.scale = 1.0
        else:
            train, _ = load("mnist")
            self.raw, self.labels, self.scale = train.X, train.y.astype(np.int32), 1 / 255

    def inputs(self) -> np.ndarray:
        """What the first layer gets, as the peers take it: float32 (N, I)."""
        return self.raw.astype(np.float32) * np.float32(self.scale)

    def one_hot(self) -> np.ndarray:
        """The labels as rows: float32 (N, O)."""
        return np.eye(self.row.sizes[-1], dtype=np.float32)[self.labels]

    def weights(self) -> Parameters:
        """The weights that each epoch starts from: float32 W (I, O), of variance 2 / I, and b (O,)."""
        rng = np.random.default_rng(7)
        return [
            (normal(rng, (i, o)) * np.float32((2 / i) ** 0.5), normal(rng, (o,)) * np.float32(0.01))
            for i, o in zip(self.row.sizes, self.row.sizes[1:], strict=False)
        ]

    def batches(self) -> Iterator[slice]:
        """The rows of each batch of an epoch, the last and smaller one too."""
        for start in range(0, len(self.raw), self.row.batch):
            yield slice(start, min(start + self.row.batch, len(self.raw)))


def gaussian(samples: int, inputs: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Dense rows (N, I), and as labels (N,) which of a few random directions each row points along most."""
    rng = np.random.default_rng(3)
    X = normal(rng, (samples, inputs))
    return X, (X @ normal(rng, (inputs, classes))).argmax(axis=1).astype(np.int32)


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal numbers, float32."""
    return rng.standard_normal(shape, dtype=np.float32)
