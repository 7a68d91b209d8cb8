"""How the seconds of an epoch are measured here: of the whole training loop, an epoch at a time, in rounds."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn import MLP, SGD, Dense, Input
from fastnn.schedules import make_schedule
from fastnn.training import Fit

LEAST, ROUNDS = 3, 5
ENOUGH = 0.6  # seconds
SPENT = 0.12  # seconds of a round that short epochs may take together: the more there are, the surer their figures
MOST = 15  # epochs of a round


class Training:
    """A classifier that is trained on as long as it is asked to.

    Parameters
    ----------
    sizes : tuple of int
        From the inputs to the classes.
    activation : str
        Of the hidden layers.
    X, y : arrays
    scale : float
        Of the inputs.
    batch : int
    rate : float
        Learning rate.
    threads : int
    backend : str
    shuffle : bool
    """

    def __init__(
        self,
        sizes: tuple[int, ...],
        activation: str,
        X: np.ndarray,
        y: np.ndarray,
        *,
        scale: float,
        batch: int,
        rate: float,
        threads: int,
        backend: str = "fused",
        shuffle: bool = True,
    ):
        hidden = [Dense(units, activation) for units in sizes[1:-1]]
        net = MLP([Input(sizes[0], scale=scale), *hidden, Dense(sizes[-1], "softmax")])
        nothing: dict[str, Any] = {"weight_decay": 0.0, "clip_norm": 0.0, "label_smoothing": 0.0, "callbacks": ()}
        self.fit = Fit(
            net,
            net.examples(X, y),
            None,
            epochs=0,
            batch_size=batch,
            optimizer=SGD(rate),
            schedule=make_schedule("constant"),
            shuffle=shuffle,
            augment=None,
            image=None,
            backend=backend,
            threads=threads,
            seed=0,
            **nothing,
        )

    def epoch(self) -> float:
        """Train one more epoch: its seconds. The first also makes the buffers, and should not be counted."""
        self.fit.epochs += 1
        return self.fit.run()["seconds"][-1]

    def round(self) -> list[float]:
        """The seconds of at least one epoch, and of more while they are short."""
        taken = [self.epoch()]
        while sum(taken) < SPENT and len(taken) < MOST:
            taken.append(self.epoch())
        return taken


def in_turn(trainings: Sequence[Training], least: int = LEAST) -> list[list[float]]:
    """The seconds of the epochs of each, in rounds: so what slows the machine for some seconds slows all alike.

    An epoch of each, which is not counted, goes before. Who has had `least` rounds and `ENOUGH` seconds sits out the
    rest.
    """
    for training in trainings:
        training.epoch()
    taken: list[list[float]] = [[] for _ in trainings]
    for number in range(ROUNDS):
        for mine, training in zip(taken, trainings, strict=True):
            if number < least or sum(mine) < ENOUGH:
                mine += training.round()
    return taken
