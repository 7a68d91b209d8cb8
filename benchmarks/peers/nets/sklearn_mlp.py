"""scikit-learn's MLPClassifier: an epoch is one `partial_fit` of all rows, which goes through them batch by batch."""

import numpy as np
from sklearn.neural_network import MLPClassifier

from benchmarks.peers.rows import Parameters, Task

ACTIVATIONS = {"relu": "relu", "sigmoid": "logistic", "tanh": "tanh"}


class Net:
    """Plain gradient descent without penalty, momentum or shuffling; its threads are those of NumPy's BLAS."""

    def __init__(self, task: Task, threads: int):
        row, self.first = task.row, task.weights()
        self.X, self.labels = task.inputs(), task.labels
        self.model = MLPClassifier(
            row.sizes[1:-1],
            activation=ACTIVATIONS[row.activation],
            solver="sgd",
            alpha=0,
            batch_size=row.batch,
            learning_rate="constant",
            learning_rate_init=row.rate,
            momentum=0,
            nesterovs_momentum=False,
            shuffle=False,
            random_state=0,
        )
        # its weights are there, and can be set, after a first call
        self.model.partial_fit(self.X[: row.batch], self.labels[: row.batch], classes=np.arange(row.sizes[-1]))
        self.reset()

    def reset(self) -> None:
        for W, b, (first_W, first_b) in zip(self.model.coefs_, self.model.intercepts_, self.first, strict=True):
            W[:], b[:] = first_W, first_b

    def epoch(self) -> None:
        self.model.partial_fit(self.X, self.labels)

    def parameters(self) -> Parameters:
        return list(zip(self.model.coefs_, self.model.intercepts_, strict=True))
