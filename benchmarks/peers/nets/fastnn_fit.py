"""fastnn as its users meet it: `MLP` and the training loop behind `MLP.fit`, one epoch at a time."""

from benchmarks.peers.rows import Parameters, Task
from fastnn import MLP, SGD, Dense, Input
from fastnn.schedules import make_schedule
from fastnn.training import Fit


class Net:
    """Either backend. What is timed is an epoch of the whole loop, with its checks, loss and accuracy.

    It takes as many threads as its cost model wants, as its users' fits do; no more than the contest gives it CPUs.
    The fused backend reads the data as it is, bytes of MNIST; the reference the float32 inputs that the peers are
    given, for it is to be as fast as a plain NumPy loop on the same work.
    """

    def __init__(self, task: Task, threads: int, backend: str):
        row, self.first = task.row, task.weights()
        hidden = [Dense(units, row.activation) for units in row.sizes[1:-1]]
        X, scale = (task.raw, task.scale) if backend == "fused" else (task.inputs(), 1.0)
        self.net = MLP([Input(row.sizes[0], scale=scale), *hidden, Dense(row.sizes[-1], "softmax")])
        self.fit = Fit(
            self.net,
            self.net.examples(X, task.labels),
            None,
            epochs=0,
            batch_size=row.batch,
            optimizer=SGD(row.rate),
            schedule=make_schedule("constant"),
            weight_decay=0.0,
            clip_norm=0.0,
            label_smoothing=0.0,
            shuffle=False,
            augment=None,
            image=None,
            callbacks=(),
            backend=backend,
            threads="auto",
            seed=0,
        )
        self.reset()

    def reset(self) -> None:
        for (W, b), (first_W, first_b) in zip(self.net.parameters(), self.first, strict=True):
            W[:], b[:] = first_W, first_b

    def epoch(self) -> None:
        self.fit.epochs += 1
        self.fit.run()

    def parameters(self) -> Parameters:
        return self.net.parameters()
