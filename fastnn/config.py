"""The settings of a run: one table of leaves drives the TOML form, its checks, and the options of the command line.

The fields of the section classes are that table: each holds its default, the kind of value that it takes, and its
help. All defaults stand here, those of the chosen optimizer and schedule in `Config`.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Literal, Self

import numpy as np
import tomli_w

from fastnn.augment import Augment
from fastnn.data.fetch import is_url
from fastnn.errors import ConfigError
from fastnn.initializers import initialize
from fastnn.layers import ACTIVATIONS, LOSSES, Architecture, Dense, Dropout, Input, Layer
from fastnn.leaves import (
    AUTO,
    PATH,
    SEED,
    TEXT,
    WHOLE,
    ChoiceSection,
    Leaf,
    Section,
    either,
    leaf,
    number,
    sequence,
    setting,
    text,
    whole,
    word,
)
from fastnn.optimizers import OPTIMIZERS
from fastnn.schedules import INSIDE, SCHEDULES
from fastnn.settings import BELOW_ONE, COUNT, NOT_NEGATIVE, UP_TO_ONE, nearest

Values = Mapping[str, Any]  # leaf -> value, such as {"training.epochs": 10}

INNER = ", ".join(name for name in ACTIVATIONS if name != "softmax")
HIDDEN = text(
    f"an activation of hidden layers ({INNER})",
    lambda name: Architecture.of([Input(1), Dense(1, name), Dense(1)]),
    "NAME",
    tuple(ACTIVATIONS),
)
OUTPUT = text(f"an activation ({', '.join(ACTIVATIONS)})", lambda name: Dense(1, name), "NAME", tuple(ACTIVATIONS))
WEIGHTS = text(
    "an initializer, such as he_normal or uniform(-0.5, 0.5)",
    lambda spec: initialize(spec, (1, 1), np.random.default_rng(0)),
    "NAME",
)
BIASES = text(
    "an initializer of biases, such as zeros or constant(0.1)",
    lambda spec: initialize(spec, (1,), np.random.default_rng(0)),
    "NAME",
)


PAIR = sequence(whole(COUNT), "a height and a width", 2)
IMAGE = replace(PAIR, parse=lambda words: PAIR.parse(words.replace("x", ",")), metavar="HxW")


def _warp(value: Any) -> tuple[float, ...]:
    try:
        return Augment(elastic=value).elastic
    except ConfigError:
        raise ValueError from None  # the leaf says it, with its dotted name


WARP = replace(
    sequence(number(NOT_NEGATIVE), "nothing, or two numbers, alpha from 0 to 1000000 and sigma from 0.1 to 1000"),
    check=_warp,
)

_optimizer = partial(setting, OPTIMIZERS.values(), None)
_schedule = partial(setting, SCHEDULES.values(), None)
_augment = partial(setting, [Augment], 0.0)


@dataclass(frozen=True)
class DataSection(Section):
    """Where the examples come from, and how they are divided and scaled."""

    section = "data"

    source: str = leaf("mnist", PATH, "mnist, a folder of IDX or CSV files, a CSV, an NPZ", "data", path=True)
    rows: int = leaf(0, whole(NOT_NEGATIVE), "take so many of the source's first training rows; 0: all")
    label: int | str = leaf(0, either(WHOLE, TEXT), "column of the label in a CSV: its index or its name")
    task: str = leaf("auto", word(["auto", "classification", "regression"]), "what is learnt; auto: see the labels")
    image: tuple[int, int] | None = leaf(
        None, IMAGE, "height and width, if a row is a picture, such as 28x28 (pixel0,pixel1,... over a CSV: square)"
    )
    scale: str = leaf(
        "auto", word(["auto", "none", "255", "minmax", "standard"]), "how inputs are scaled before the first layer"
    )
    test: str | float = leaf(
        "auto",
        either(AUTO, number(INSIDE), PATH),
        "what to test on: a part of the rows, or a path; auto: the source's own test set, else a sixth",
        path=True,
    )
    validation: float | str = leaf(
        0.1667,
        either(number(BELOW_ONE), PATH),
        "what to validate on: a part of the training rows (0: none), or a path",
        path=True,
    )
    seed: int = leaf(0, SEED, "decides which rows are held out", "data-seed")


@dataclass(frozen=True)
class NetworkSection(Section):
    """The layers between the input and the output, and what they start from."""

    section = "network"

    hidden: tuple[int, ...] | Literal["auto"] = leaf(
        (300,),
        either(AUTO, sequence(whole(COUNT), "whole numbers of at least 1")),
        "units of the hidden layers, or none; auto: search them",
    )
    activation: str | tuple[str, ...] = leaf(
        "relu",
        either(HIDDEN, sequence(HIDDEN, "one for each")),
        f"of the hidden layers, one for all, or one each: {INNER}",
    )
    output: str = leaf(
        "auto", either(AUTO, OUTPUT), "activation of the output, softmax too; auto: what goes with task and loss"
    )
    loss: str = leaf("auto", word(["auto", *LOSSES]), "what is made small; auto: what goes with the output")
    dropout: float | tuple[float, ...] = leaf(
        0.0,
        either(number(BELOW_ONE), sequence(number(BELOW_ONE), "one for each hidden layer")),
        "rate behind the hidden layers: one for all, or one each",
    )
    weight_init: str = leaf("he_normal", WEIGHTS, "what weights start from, such as he_normal or uniform(-0.5,0.5)")
    bias_init: str = leaf("zeros", BIASES, "what biases start from")

    def stack(
        self,
        inputs: int,
        outputs: int,
        *,
        classes: bool,
        scale: Any = 1.0,
        shift: Any = 0.0,
    ) -> list[Layer]:
        """The layers that these settings describe.

        Parameters
        ----------
        inputs, outputs : int
            Widths of the first and of the last layer.
        classes : bool
            The outputs are classes, not targets of a regression.
        scale, shift : float or sequence of `inputs` floats
            See `fastnn.layers.Input`.

        Raises
        ------
        ConfigError
            Dropout without hidden layers, or one activation or rate each but not as many as there are hidden layers.
        """
        if self.hidden == "auto":
            raise ConfigError("network.hidden is auto: fastnn train and fastnn tune search it, nothing else does")
        if self.dropout and not self.hidden:
            raise ConfigError("network.dropout stands behind the hidden layers, and network.hidden has none")
        layers: list[Layer] = [Input(inputs, scale, shift)]
        for units, activation, rate in zip(self.hidden, self._each("activation"), self._each("dropout"), strict=True):
            layers += [Dense(units, activation), *([Dropout(rate)] if rate else [])]
        return [*layers, Dense(outputs, self._output_activation(classes))]

    def _each(self, name: str) -> tuple[Any, ...]:
        value, layers = getattr(self, name), len(self.hidden)
        if isinstance(value, tuple) and len(value) != layers:
            raise ConfigError(
                f"network.{name} has {len(value)} values for {layers} hidden layers; give one, or one each"
            )
        return value if isinstance(value, tuple) else (value,) * layers

    def _output_activation(self, classes: bool) -> str:
        if self.output != "auto":
            return self.output
        if self.loss == "auto":
            return "softmax" if classes else "identity"
        return LOSSES[self.loss] or ("sigmoid" if classes else "identity")


@dataclass(frozen=True)
class TrainingSection(Section):
    """How the network is trained."""

    section = "training"

    epochs: int = leaf(15, whole(COUNT), "passes over the training set")
    batch_size: int = leaf(64, whole(NOT_NEGATIVE), "samples of one step; 0: all")
    backend: str = leaf("fused", word(["fused", "reference"]), "compiled kernels, or plain NumPy")
    threads: str | int = leaf("auto", either(AUTO, whole(COUNT)), "threads to train with")
    seed: int = leaf(0, SEED, "decides initial weights, order, dropout and augmentation")
    weight_decay: float = leaf(0.0, number(NOT_NEGATIVE), "lambda of the L2 penalty on the weights")
    clip_norm: float = leaf(0.0, number(NOT_NEGATIVE), "norm beyond which a gradient is shortened; 0: none")
    label_smoothing: float = leaf(0.0, number(BELOW_ONE), "part of the target that is spread over all classes")
    patience: int = leaf(0, whole(NOT_NEGATIVE), "stop after so many epochs without improvement; 0: never")
    best_by: str = leaf("accuracy", word(["accuracy", "loss"]), "what the best epoch is best by, on the validation set")


@dataclass(frozen=True)
class OptimizerSection(ChoiceSection):
    """The optimiser and its settings, of which each optimiser has some (the others are unset)."""

    section = "optimizer"
    table = OPTIMIZERS

    name: str = leaf("adam", word(OPTIMIZERS), "how a gradient becomes a step", "optimizer")
    learning_rate: float | None = _optimizer("learning_rate", "what the schedule multiplies")
    momentum: float | None = _optimizer("momentum", "of momentum, nesterov")
    rho: float | None = _optimizer("rho", "of rmsprop: decay of the squares")
    beta1: float | None = _optimizer("beta1", "of adam, adamw: decay of the mean")
    beta2: float | None = _optimizer("beta2", "of adam, adamw: decay of the squares")
    epsilon: float | None = _optimizer("epsilon", "of rmsprop, adam, adamw: against division by zero")


@dataclass(frozen=True)
class ScheduleSection(ChoiceSection):
    """The learning rate's schedule and its settings, of which each schedule has some (the others are unset)."""

    section = "schedule"
    table = SCHEDULES

    name: str = leaf("one_cycle", word(SCHEDULES), "how the learning rate goes on", "schedule")
    every: int | None = _schedule("every", "of step: epochs from one fall to the next")
    factor: float | None = _schedule("factor", "of step, exponential, adaptive: what a fall multiplies by")
    k: float | None = _schedule("k", "of inverse_time: 1 / (1 + k epoch)")
    final: float | None = _schedule("final", "of linear, cosine, one_cycle: the last multiplier")
    warmup: float | None = _schedule("warmup", "of one_cycle: part of the steps that go up")
    start: float | None = _schedule("start", "of one_cycle: the first multiplier")
    patience: int | None = _schedule("patience", "of adaptive: epochs without improvement", "schedule-patience")
    tolerance: float | None = _schedule("tolerance", "of adaptive: what counts as none")


@dataclass(frozen=True)
class AugmentSection(Section):
    """How far training pictures are changed at random, at most."""

    section = "augment"

    shift: float = _augment("shift", "pixels, along rows and columns")
    rotate: float = _augment("rotate", "degrees")
    scale: float = _augment("scale", "part of the size", "augment-scale")
    shear: float = _augment("shear", "degrees")
    noise: float = _augment("noise", "standard deviation, as a part of the range of values")
    elastic: tuple[float, ...] = leaf((), WARP, "alpha and sigma of a warp, such as 34,4")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.make()

    def make(self) -> Augment | None:
        """The augmentation; None if nothing is changed."""
        augment = Augment(**{leaf.name: getattr(self, leaf.name) for leaf in self.leaves()})
        return None if augment == Augment() else augment


@dataclass(frozen=True)
class ReportSection(Section):
    """What a recipe says of itself."""

    section = "report"

    title: str | None = leaf(None, TEXT, "the run's name")
    claim: str | None = leaf(None, TEXT, "what the run shows")
    expect_accuracy: float | None = leaf(None, number(UP_TO_ONE), "test accuracy that is expected")
    expect_seconds: float | None = leaf(None, number(NOT_NEGATIVE), "seconds of training that are expected")


@dataclass(frozen=True)
class Config:
    """All settings of a run, checked, each alone and against the others.

    Raises
    ------
    ConfigError
        A setting out of range, or two that contradict each other.
    """

    data: DataSection = DataSection()
    network: NetworkSection = NetworkSection()
    training: TrainingSection = TrainingSection()
    optimizer: OptimizerSection = OptimizerSection(name="adam", learning_rate=0.002)
    schedule: ScheduleSection = ScheduleSection(name="one_cycle")
    augment: AugmentSection = AugmentSection()
    report: ReportSection = ReportSection()

    def __post_init__(self) -> None:
        network = self.network
        if network.hidden == "auto":  # as many layers as the activations or dropout rates say
            each = [len(value) for value in (network.activation, network.dropout) if isinstance(value, tuple)]
            network = replace(network, hidden=(1,) * max(each, default=1))
        Architecture.of(
            network.stack(1, 2, classes=self.data.task != "regression"),
            None if network.loss == "auto" else network.loss,
        )

    @classmethod
    def of(cls, *layers: Values) -> Self:
        """Lay settings over the defaults.

        Parameters
        ----------
        *layers : mapping of leaf to value
            The later ones are the stronger ones. One that chooses another optimizer or schedule than those before it
            lets go of the settings that belonged to theirs.

        Raises
        ------
        ConfigError
            As the class does.
        """
        values = cls().values()
        for layer in layers:
            for section in ("optimizer", "schedule"):
                before = values[f"{section}.name"]
                if layer.get(f"{section}.name", before) != before:
                    values = {name: value for name, value in values.items() if not name.startswith(f"{section}.")}
            values |= layer
        sections: dict[str, Any] = {name: SECTIONS[name](**settings) for name, settings in _nested(values).items()}
        return cls(**sections)

    def values(self) -> dict[str, Any]:
        """Each leaf that holds something, with what it holds."""
        found = {name: getattr(getattr(self, leaf.section), leaf.name) for name, leaf in LEAVES.items()}
        return {name: value for name, value in found.items() if value is not None}

    def absolute(self) -> Self:
        """The same settings with paths that hold in any current folder."""
        values = self.values()
        for name, value in values.items():
            if LEAVES[name].path and isinstance(value, str) and value not in NOT_FILES and not is_url(value):
                values[name] = os.path.abspath(value)
        return self.of(values)

    def to_toml(self) -> str:
        """The TOML form, with all that is needed to run it again."""
        return tomli_w.dumps(_nested(self.values()))


def _nested(values: Values) -> dict[str, dict[str, Any]]:
    form: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        form.setdefault(LEAVES[name].section, {})[LEAVES[name].name] = value
    return form


SECTIONS: dict[str, type[Section]] = {one.name: type(one.default) for one in fields(Config)}  # type: ignore[misc]
LEAVES: dict[str, Leaf] = {str(one): one for section in SECTIONS.values() for one in section.leaves()}
NOT_FILES = ("mnist", "auto")


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the settings that a TOML file holds.

    Parameters
    ----------
    path : path-like
        A file in the form of a run's ``config.toml``; whatever it leaves out is not in the answer.

    Returns
    -------
    dict of leaf to value
        For `Config.of`.

    Raises
    ------
    ConfigError
        The file cannot be read, is not TOML, has an unknown section or leaf, or a value of the wrong kind.
    """
    try:
        with open(path, "rb") as file:
            form = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:  # not TOML, or not UTF-8
        raise ConfigError(f"{path} is not a TOML file: {error}") from error
    found = {}
    for section, settings in form.items():
        if section not in SECTIONS or not isinstance(settings, dict):
            hint = nearest(section, SECTIONS)
            raise ConfigError(f"{path}: there is no section [{section}]{hint}; the sections are {', '.join(SECTIONS)}")
        known = {one.name: one for one in SECTIONS[section].leaves()}
        for name, value in settings.items():
            if name not in known:
                hint = nearest(f"{section}.{name}", LEAVES)
                raise ConfigError(
                    f"{path}: there is no {section}.{name}{hint}; the section {section} has {', '.join(known)}"
                )
            try:
                found[f"{section}.{name}"] = known[name].read(value)
            except ConfigError as error:
                raise ConfigError(f"{path}: {error}") from None
    return found
