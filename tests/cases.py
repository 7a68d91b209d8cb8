"""Jobs to test the kernels on: small networks at work on random examples, made from a few words."""

from dataclasses import dataclass, replace

import numpy as np

from fastnn.kernels.job import Examples, Job
from fastnn.layers import ACTIVATIONS, LOSSES, Architecture, Dense, Dropout, Input, aligned_zeros
from fastnn.optimizers import OPTIMIZERS

# Every output activation with every loss that it may have.
OUTPUTS = [
    (activation, loss)
    for loss, tied in LOSSES.items()
    for activation in ACTIVATIONS
    if (activation == tied if tied else activation != "softmax")
]


@dataclass(frozen=True)
class Case:
    """A network and its examples; `dropout` is of the input, then of each hidden layer's output."""

    widths: tuple[int, ...] = (5, 7, 3)
    hidden: tuple[str, ...] = ("tanh",)
    output: str = "softmax"
    loss: str = "cross_entropy"
    dropout: tuple[float, ...] = ()
    samples: int = 9
    batch_size: int = 9
    real: bool = True  # float32 input, or uint8
    density: float = 1.0  # share of the input that is not zero
    scaling: str = "none"  # "none", "scale" (one number), "scales" (one a feature), "each" (shifts too)
    labels: bool = True  # or target rows
    weighted: bool = False
    optimizer: str = "sgd"
    learning_rate: float = 0.05
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    label_smoothing: float = 0.0
    threads: int = 1
    seed: int = 0

    def architecture(self) -> Architecture:
        rng = np.random.default_rng(self.seed)
        inputs = self.widths[0]
        unit = 1.0 if self.real else 1 / 255
        scale: dict[str, tuple[float | tuple[float, ...], float | tuple[float, ...]]] = {
            "none": (1.0, 0.0),
            "scale": (0.7 * unit, 0.0),
            "scales": (tuple(unit * np.linspace(0.5, 2, inputs)), 0.0),
            "each": (tuple(unit * rng.uniform(0.5, 2, inputs)), tuple(rng.uniform(-1, 1, inputs))),
        }
        rates = [*self.dropout, *[0.0] * len(self.widths)][: len(self.widths)]
        layers: list[Input | Dense | Dropout] = [Input(inputs, *scale[self.scaling]), Dropout(rates[0])]
        for units, activation, rate in zip(self.widths[1:], (*self.hidden, self.output), rates[1:], strict=True):
            layers += [Dense(units, activation), Dropout(rate)]
        return Architecture.of(layers[:-1], self.loss)

    def job(self) -> Job:
        net, rng = self.architecture(), np.random.default_rng(self.seed + 1)
        X = np.abs(rng.normal(size=(self.samples, self.widths[0])))
        X = X.astype(np.float32) if self.real else (X * 80 + 1).clip(0, 255).astype(np.uint8)
        X[rng.random(X.shape) >= self.density] = 0
        typical = np.abs(X * np.asarray(net.scale) + np.asarray(net.shift)).max() + 1e-3
        flat = aligned_zeros(net.size)
        for layer, (W, b) in enumerate(net.views(flat)):
            W[:] = rng.normal(size=W.shape) / np.sqrt(len(W)) / (typical if layer == 0 else 1)
            b[:] = rng.normal(size=b.shape) * 0.3
        outputs = self.widths[-1]
        examples = Examples(np.ascontiguousarray(X))
        if self.labels:
            examples.labels = rng.integers(outputs, size=self.samples).astype(np.int32)
        elif self.loss == "quadratic":
            examples.targets = rng.normal(size=(self.samples, outputs)).astype(np.float32)
        else:
            rows = rng.random((self.samples, outputs))
            rows /= rows.sum(axis=1, keepdims=True) if self.loss == "cross_entropy" else 1
            examples.targets = rows.astype(np.float32)
        if self.weighted:
            examples.weights = (rng.uniform(0.2, 2, self.samples) * (rng.random(self.samples) < 0.8)).astype(np.float32)
        rule = OPTIMIZERS[self.optimizer]()
        return Job(
            net,
            flat,
            examples,
            self.batch_size,
            self.optimizer,
            rule.first,
            rule.second,
            aligned_zeros(rule.slots * net.size).reshape(rule.slots, net.size),
            0.0 if rule.decoupled else self.weight_decay,
            self.clip_norm,
            self.label_smoothing,
            self.seed,
            self.threads,
        )

    def order(self, epoch: int = 0) -> np.ndarray:
        """The order of the samples in an epoch."""
        return np.random.default_rng([self.seed, epoch]).permutation(self.samples)

    def steps(self, count: int, first: int = 0) -> np.ndarray:
        """`count` rows of (effective rate, effective epsilon, decoupled decay), as `train` takes them."""
        rule = OPTIMIZERS[self.optimizer](learning_rate=self.learning_rate)
        decay = self.learning_rate * self.weight_decay if rule.decoupled else 0.0
        return np.column_stack([rule.coefficients(np.full(count, self.learning_rate), first), np.full(count, decay)])


def copied(job: Job, dtype: type = np.float32) -> Job:
    """The same job with its own parameters and state, of another precision if so wished, and no buffers."""
    parameters, state = job.parameters.astype(dtype), job.state.astype(dtype)
    if dtype == np.float32:
        parameters = aligned_zeros(job.parameters.size)
        parameters[:] = job.parameters
    return replace(job, parameters=parameters, state=state, workspace=None)
