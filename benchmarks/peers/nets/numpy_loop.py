"""The loop that a careful user of NumPy writes: every array is made once, and each operation writes into one of them.

Letters: B samples of a batch, I inputs and O outputs of a layer.
"""

from collections.abc import Callable

import numpy as np

from benchmarks.peers.rows import Parameters, Task

# ---------------------------------------------------------------- activations: a = f(z) in place; delta *= f'(z) from a


def relu(z: np.ndarray) -> None:
    np.maximum(z, 0, out=z)


def through_relu(delta: np.ndarray, a: np.ndarray) -> None:
    np.copyto(a, a > 0)
    delta *= a


def sigmoid(z: np.ndarray) -> None:
    np.negative(z, out=z)
    np.exp(z, out=z)
    z += 1
    np.reciprocal(z, out=z)


def through_sigmoid(delta: np.ndarray, a: np.ndarray) -> None:
    delta *= a
    np.subtract(1, a, out=a)
    delta *= a


def tanh(z: np.ndarray) -> None:
    np.tanh(z, out=z)


def through_tanh(delta: np.ndarray, a: np.ndarray) -> None:
    np.square(a, out=a)
    np.subtract(1, a, out=a)
    delta *= a


ACTIVATIONS: dict[str, tuple[Callable[[np.ndarray], None], Callable[[np.ndarray, np.ndarray], None]]] = {
    "relu": (relu, through_relu),
    "sigmoid": (sigmoid, through_sigmoid),
    "tanh": (tanh, through_tanh),
}


class Net:
    """Plain NumPy; its threads are those of its BLAS, which the environment limits.

    With ``dtype="float64"`` it is the judge: what the epoch leads to when hardly anything is rounded.
    """

    def __init__(self, task: Task, threads: int, dtype: str = "float32"):
        self.first, self.rate = task.weights(), task.row.rate
        self.f, self.through = ACTIVATIONS[task.row.activation]
        X, T = task.inputs().astype(dtype, copy=False), task.one_hot().astype(dtype, copy=False)
        self.batches = [(X[rows], X[rows].T, T[rows]) for rows in task.batches()]
        widths = task.row.sizes[1:]
        self.layers = [(W.astype(dtype), b.astype(dtype)) for W, b in self.first]
        self.gradients = [(np.empty_like(W), np.empty_like(b)) for W, b in self.layers]
        # for each size of batch: A, delta (B, O) of each layer, and a column (B, 1) for the softmax
        self.room = {
            len(x): (
                [np.empty((len(x), width), dtype) for width in widths],
                [np.empty((len(x), width), dtype) for width in widths],
                np.empty((len(x), 1), dtype),
            )
            for x, _, _ in (self.batches[0], self.batches[-1])
        }

    def reset(self) -> None:
        for (W, b), (first_W, first_b) in zip(self.layers, self.first, strict=True):
            W[:], b[:] = first_W, first_b

    def epoch(self) -> None:
        for x, x_transposed, t in self.batches:
            self.step(x, x_transposed, t)

    def step(self, x: np.ndarray, x_transposed: np.ndarray, t: np.ndarray) -> None:
        """Forward, softmax, and back through the layers; then p -= rate * gradient."""
        A, deltas, column = self.room[len(x)]
        a, last = x, len(A) - 1
        for layer, (W, b) in enumerate(self.layers):
            z = A[layer]
            np.matmul(a, W, out=z)
            z += b
            if layer < last:
                self.f(z)
            a = z
        np.max(a, axis=1, keepdims=True, out=column)
        a -= column
        np.exp(a, out=a)
        np.sum(a, axis=1, keepdims=True, out=column)
        a /= column
        a -= t
        a *= self.rate / len(x)  # so that the gradients come out as the steps to take
        delta = a
        for layer in range(last, -1, -1):
            dW, db = self.gradients[layer]
            np.matmul(A[layer - 1].T if layer else x_transposed, delta, out=dW)
            np.sum(delta, axis=0, out=db)
            W, b = self.layers[layer]
            if layer:
                below = deltas[layer - 1]
                np.matmul(delta, W.T, out=below)
                self.through(below, A[layer - 1])
                delta = below
            W -= dW
            b -= db

    def parameters(self) -> Parameters:
        return self.layers
