"""Five projects that wrote an MNIST network from scratch, A to E: what each claims, and what comes of it here.

Each row of `CLAIMS` is a recipe and the test accuracy that it must reach. Where a claim is wrong, `finding` says what
the right maths gives, and why.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import product
from statistics import mean, median
from time import perf_counter
from typing import Self

import numpy as np

from fastnn import recipes
from fastnn.callbacks import History, Record, RestoreBest
from fastnn.config import Config, Values
from fastnn.formats.description import versions
from fastnn.model import MLP
from fastnn.runs import Parts, build, fit


@dataclass(frozen=True)
class Claim:
    """A row of the table.

    Parameters
    ----------
    project : str
        A to E.
    recipe : str
    claimed : str
        In the project's words.
    least : float
        Test accuracy that must be reached.
    finding : str
        What is to be said of the claim.
    seeds : int
        Of which the mean (or what `by` says) must reach it. Few where the full batch is trained on: there a seed draws
        the first weights and nothing else, and more of them would not fit into five minutes.
    by : "mean" or "median"
        Median: a seed that goes astray does not speak for the others.
    holds : bool
        False: the claim is wrong, and `least` is what the right maths gives.
    rival : str
        A row of `RIVALS`: what the same settings must do better than.
    """

    project: str
    recipe: str
    claimed: str
    least: float
    finding: str = ""
    seeds: int = 1
    by: str = "mean"
    holds: bool = True
    rival: str = ""


CLAIMS = (
    Claim("A", "a-sigmoid", "> 94%", 0.94, seeds=3),
    Claim(
        "A",
        "a-sigmoid-100",
        "100 units: 40%",
        0.94,
        "wrong: not the units were too many but the step too large for them (by_rate)",
        seeds=3,
        holds=False,
    ),
    Claim("A", "a-dropout", "dropout helps", 0.94, "a little, and not at every size", 3, rival="without dropout"),
    Claim("B", "b", "97%, 20 epochs", 0.97, seeds=3),
    Claim("B", "b-augmented", "97%, 20 epochs", 0.97, "digits so far displaced take about twice the epochs", 2),
    Claim(
        "C",
        "c",
        "no figure",
        0.8,
        "its own gradients leave the output's bias where it was, and divide by held-out rows too",
        seeds=2,
        rival="its own gradients",
    ),
    Claim("D", "d", "94.5%", 0.945, "the epoch that is best by validation, which the project never looked at", 10),
    Claim(
        "D",
        "d-batch-100",
        "94.5%",
        0.92,
        "wrong for batches of 100: the figure belongs to batches of 10. By the median: some seeds lose a digit, whose "
        "output stays near 0 for all images, where the quadratic loss has next to no slope",
        seeds=10,
        by="median",
        holds=False,
    ),
    Claim(
        "D",
        "d-100",
        "94.5%",
        0.75,
        "wrong for 100 units: sums of as many times weights of N(0, 1) are so large that digits are lost in the same "
        "way, one to three by each seed",
        seeds=3,
        holds=False,
    ),
    Claim("D", "d-100-scaled", "94.5%", 0.945, "the same with weights of N(0, 1/inputs): no digit is lost", 3),
    Claim("E", "e-256-128-64", "92%, the best", 0.92),
    Claim("E", "e-128-32", "83%, the worst", 0.83),
    Claim("E", "e-128", "83%, the worst", 0.83),
    Claim("E", "e-32", "83%, the worst", 0.83),
)
PROJECTS = tuple(dict.fromkeys(claim.project for claim in CLAIMS))
SEEDS = 3  # of A's two questions
RATES = (0.1, 0.4)
SIZES = (10, 25, 50, 100)  # hidden units of A's dropout experiment


@dataclass(frozen=True)
class Outcome:
    """What came of a claim.

    Parameters
    ----------
    claim : Claim
    accuracies : sequence of float
        On the test rows, one a seed.
    loss, seconds : float
        On the test rows, and of training: means over the seeds.
    history : sequence of dict
        Loss and accuracy of each epoch, of the first seed.
    rival : (float, float), optional
        Mean test accuracy and loss of what it must do better than, if there is such.
    """

    claim: Claim
    accuracies: Sequence[float]
    loss: float
    seconds: float
    history: Sequence[Record]
    rival: Sequence[float] | None = None

    @classmethod
    def of(cls, row: Record) -> Self:
        """From the form in which it is stored."""
        return cls(Claim(**row["claim"]), **{name: value for name, value in row.items() if name in KEPT})

    def row(self) -> Record:
        """As it is stored."""
        return {**asdict(self), "accuracy": self.accuracy, "reached": self.reached}

    @property
    def accuracy(self) -> float:
        """The mean over the seeds, or their median."""
        return {"mean": mean, "median": median}[self.claim.by](self.accuracies)

    @property
    def reached(self) -> bool:
        """Whether the claim is reached or beaten, and the rival if there is one."""
        return self.accuracy >= self.claim.least and (self.rival is None or mean(self.accuracies) > self.rival[0])


KEPT = ("accuracies", "loss", "seconds", "history", "rival")
Data = dict[str, Parts]  # loaded once for all recipes with the same [data]


def claims_of(projects: Sequence[str]) -> list[Claim]:
    """The rows of some projects."""
    return [claim for claim in CLAIMS if claim.project in projects]


def identity_of(projects: Sequence[str], changes: Values) -> str:
    """A word that is another one when anything is that the outcomes depend on: claims, recipes, changes, versions."""
    rows = [(claim, Config.of(recipes.read(claim.recipe), changes).values()) for claim in claims_of(projects)]
    return sha256(repr((rows, SEEDS, RATES, SIZES, versions())).encode()).hexdigest()


def train(config: Config, data: Data) -> tuple[MLP, Parts, History, float]:
    """Train what the settings say: the network of the best epoch, its data, its history, and seconds."""
    key = repr(config.data)
    if key not in data:
        data[key] = Parts.of(config)
    parts = data[key]
    network = build(config, parts)
    start = perf_counter()
    history = fit(config, network, parts, [RestoreBest()])
    return network, parts, history, perf_counter() - start


def test(network: MLP, parts: Parts, config: Config) -> tuple[float, float]:
    """Accuracy and loss on the test rows."""
    found = network.evaluate(parts.test.X, parts.test.y, backend=config.training.backend)
    return float(found["accuracy"] or 0.0), float(found["loss"] or 0.0)


def reproduce(claim: Claim, changes: Values, data: Data) -> Outcome:
    """Run the recipe of a claim, once for each of its seeds.

    Parameters
    ----------
    claim : Claim
    changes : mapping of leaf to value
        What differs from the recipe, such as the backend. A seed among them is the first of the row's seeds.
    data : dict
        What was loaded before; what is loaded now is added.
    """
    tested, seconds, rivals, histories = [], [], [], []
    first = Config.of(recipes.read(claim.recipe), changes)
    for seed in range(first.training.seed, first.training.seed + claim.seeds):
        config = Config.of(first.values(), {"training.seed": seed})
        network, parts, history, took = train(config, data)
        tested.append(test(network, parts, config))
        seconds.append(took)
        histories.append(history)
        if claim.rival:
            rivals.append(RIVALS[claim.rival](config, data))
    accuracies, losses = zip(*tested, strict=True)
    records = [{name: record[name] for name in ("epoch", "loss", "accuracy")} for record in histories[0].records]
    means = [mean(values) for values in zip(*rivals, strict=True)] if rivals else None
    return Outcome(claim, accuracies, mean(losses), mean(seconds), records, means)


def own_gradients(config: Config, data: Data) -> tuple[float, float]:
    """Test accuracy and loss of a full-batch recipe that descends as C and E wrote it."""
    parts = data[repr(config.data)]
    network = build(config, parts)
    fit_faulty(network, parts, config)
    return test(network, parts, config)


def without_dropout(config: Config, data: Data) -> tuple[float, float]:
    """Test accuracy and loss of a recipe without its dropout."""
    network, parts, _, _ = train(Config.of(config.values(), {"network.dropout": 0.0}), data)
    return test(network, parts, config)


RIVALS = {"its own gradients": own_gradients, "without dropout": without_dropout}


def fit_faulty(network: MLP, parts: Parts, config: Config) -> None:
    """Gradient descent as C and E wrote it, on the full batch.

    The gradient of the output's bias is summed over the classes as well, where it is 0 for each sample: the outputs add
    up to 1, and so do the targets. And it is divided by all rows of the file, the held-out ones too.
    """
    rows = len(parts.train) + len(parts.test)
    rate = config.optimizer.make().learning_rate * len(parts.train) / rows
    for _ in range(config.training.epochs):
        gradients = network.gradients(parts.train.X, parts.train.y, backend=config.training.backend)
        gradients[-1][1][:] = 0
        for values, slopes in zip(network.parameters(), gradients, strict=True):
            for value, slope in zip(values, slopes, strict=True):
                value -= np.float32(rate) * slope


def by_rate(changes: Values) -> list[Record]:
    """What A's 40% came of: test accuracies of 784-h-10, sigmoid, by h and learning rate."""
    cells = product((50, 100), RATES)
    return [
        {
            "units": units,
            "learning_rate": rate,
            "accuracies": _of_seeds(
                "a-sigmoid-100", changes, {"network.hidden": (units,), "optimizer.learning_rate": rate}
            ),
        }
        for units, rate in cells
    ]


def dropout_by_size(changes: Values) -> list[Record]:
    """A's open question: test accuracies of 784-h-h-10, relu, with dropout and without, by h."""
    rates = {"without": 0.0, "with": (0.0, 0.2)}
    return [
        {"units": units}
        | {
            name: _of_seeds("a-dropout", changes, {"network.hidden": (units, units), "network.dropout": rate})
            for name, rate in rates.items()
        }
        for units in SIZES
    ]


def _of_seeds(recipe: str, changes: Values, over: Values) -> list[float]:
    """Test accuracies of a recipe that is changed, by `SEEDS` seeds."""
    data, found = Data(), []
    first = Config.of(recipes.read(recipe), changes, over)
    for seed in range(first.training.seed, first.training.seed + SEEDS):
        config = Config.of(first.values(), {"training.seed": seed})
        network, parts, _, _ = train(config, data)
        found.append(test(network, parts, config)[0])
    return found


STUDIES = {"A": {"by_rate": by_rate, "dropout_by_size": dropout_by_size}}  # what is asked beside the rows
