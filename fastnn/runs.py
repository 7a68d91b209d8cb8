"""A run: from settings to data, network and training, and the folder that holds all that came of it."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any, Self

import numpy as np

from fastnn import pictures, plots
from fastnn.callbacks import Callback, Checkpoint, EarlyStopping, History
from fastnn.card import card
from fastnn.config import NOT_FILES, Config, Values, read_toml
from fastnn.data import Dataset, fit_scale, load, split
from fastnn.data.dataset import same_features
from fastnn.data.fetch import is_url
from fastnn.data.sources import absent
from fastnn.errors import ConfigError, DataError, ModelFileError, OutputError
from fastnn.files import write_atomically
from fastnn.formats.description import versions
from fastnn.model import MLP
from fastnn.model import load as load_model

HELD_OUT = 1 / 6  # of the rows, to test on, where the source has no test set and the settings name none
MAY_CHANGE = ("training.epochs", "training.threads")  # when a run is resumed; the number of threads changes no result


# ---------------------------------------------------------------- data and network


@dataclass(frozen=True)
class Parts:
    """The examples of a run: to train on, to judge each epoch on (None: nothing), and to judge the end on."""

    train: Dataset
    validation: Dataset | None
    test: Dataset

    @classmethod
    def of(cls, config: Config) -> Self:
        """Load and divide the data.

        Raises
        ------
        DataError
            Files that cannot be used, or sets that do not go together.
        """
        data = config.data
        for name, source in (("source", data.source), ("test", data.test), ("validation", data.validation)):
            if isinstance(source, str) and not (source in NOT_FILES or is_url(source) or os.path.exists(source)):
                raise DataError(f"data.{name}: {absent(source)}")
        train, test = load(data.source, data.label, data.image, data.task)
        if data.rows > len(train):
            raise DataError(f"{data.source} has {len(train):,} training rows, not {data.rows:,}: give fewer --rows")
        train = train.take(slice(data.rows or None))
        if isinstance(data.test, float) or (data.test == "auto" and test is None):
            share = data.test if isinstance(data.test, float) else HELD_OUT
            train, test = split(train, share, data.seed, reuse=True)
        elif data.test != "auto":
            test = load_like(train, data.test, data.label)
        validation = None
        if isinstance(data.validation, str):
            validation = load_like(train, data.validation, data.label)
        elif data.validation:
            train, validation = split(train, data.validation, data.seed, reuse=True)
        assert test is not None
        return cls(train, validation, test)

    def __str__(self) -> str:
        """What they are and how many, in two lines."""
        sets = {"training": self.train, "validation": self.validation, "test": self.test}
        sizes = [f"{len(part):,} {name}" for name, part in sets.items() if part is not None]
        classes, features = self.train.classes, self.train.X.shape[1]
        kind = "regression" if classes is None else f"{len(classes)} classes"
        return f"{features} features, {kind}\n{', '.join(sizes)} examples"


def load_like(known: Dataset, source: str, label: int | str) -> Dataset:
    """Examples of the same kind as `known`: the test set of `source` if it has one, else all of it."""
    names = None if known.image else known.names  # pixels have places, not names
    return load_for(source, label, known.classes, known.X.shape[1], known.image, names)


def load_for(
    source: str,
    label: int | str,
    classes: Sequence[str] | None,
    features: int,
    image: tuple[int, int] | None = None,
    names: Sequence[str] | None = None,
) -> Dataset:
    """Examples for a network that takes `features`, by these `names` if they have some, and knows `classes`.

    None: a regression. Otherwise see `load_like`.
    """
    first, test = load(source, label, image, "regression" if classes is None else "classification", classes)
    found = first if test is None else test
    if found.X.shape[1] != features:
        raise DataError(f"{source} has {found.X.shape[1]} features, but the network takes {features}")
    same_features(found.names, names, source)
    return found


def feature_names(network: MLP) -> list[str] | None:
    """What a network's file says that its features are called, if it does; pixels have places, not names."""
    names = network.metadata.get("features")
    if network.metadata.get("image") or not isinstance(names, list) or len(names) != network.architecture.widths[0]:
        return None
    return [str(name) for name in names]


def build(config: Config, parts: Parts) -> MLP:
    """Make the network that the settings describe for these data, untrained.

    Raises
    ------
    ConfigError
        Settings that do not go with the data.
    """
    train = parts.train
    scale, shift = fit_scale(train.X, config.data.scale)
    outputs = train.y.shape[1] if train.classes is None else len(train.classes)
    layers = config.network.stack(
        train.X.shape[1], outputs, classes=train.classes is not None, scale=scale, shift=shift
    )
    settings = config.network
    network = MLP(
        layers,
        None if settings.loss == "auto" else settings.loss,
        settings.weight_init,
        settings.bias_init,
        config.training.seed,
    )
    largest = float(train.X.max())  # what the darkest pixel of a drawing must be
    network.metadata = {
        "classes": train.classes,
        "image": train.image,
        "largest": largest,
        "features": None if train.image or train.names is None else list(train.names),
        "settings": config.values(),
    }
    augment = config.augment.make()
    if augment is not None:  # whether it goes with the data is better known now than after the first epoch
        augment.check(train.image, train.X.shape[1])
    return network


def fit(
    config: Config,
    network: MLP,
    parts: Parts,
    callbacks: Sequence[Callback] = (),
    resume: str | os.PathLike[str] | None = None,
) -> History:
    """Train `network` in place as the settings say; errors and `resume` as of `MLP.fit`."""
    settings = asdict(config.training)
    patience = settings.pop("patience")
    return network.fit(
        parts.train.X,
        parts.train.y,
        optimizer=config.optimizer.make(),
        schedule=config.schedule.make(),
        validation=None if parts.validation is None else (parts.validation.X, parts.validation.y),
        augment=config.augment.make(),
        callbacks=[*([EarlyStopping(patience)] if patience else []), *callbacks],
        resume=resume,
        **settings,
    )


def trained_label(network: MLP) -> int | str:
    """Which column the labels of a network's training data stood in; the first, if its file does not say."""
    settings = network.metadata.get("settings")
    label = settings.get("data.label", 0) if isinstance(settings, dict) else 0
    return label if isinstance(label, (int, str)) else 0


def judge(network: MLP, data: Dataset, **how: Any) -> dict[str, float | None]:
    """`MLP.evaluate`, but DataError instead of a loss that is NaN or infinite, which no report can hold."""
    found = network.evaluate(data.X, data.y, **how)
    finite(np.array([found["loss"]]), "loss")
    return found


def finite(values: np.ndarray, what: str) -> np.ndarray:
    """`values` (N, ...) as they are, or DataError with the first row (from 1) that is not finite."""
    bad = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
    if bad.size:
        row = f" of row {bad[0] + 1}" if len(values) > 1 else ""
        raise DataError(f"the {what}{row} is not finite: the data hold values beyond what the network can take")
    return values


def class_names(network: MLP) -> list[str] | None:
    """The names of the classes that a network knows, by index; None: it is for regression.

    Raises
    ------
    ModelFileError
        Its metadata name more or fewer classes than it has.
    """
    if not network.classifies:
        return None
    count = max(network.architecture.widths[-1], 2)
    names = network.metadata.get("classes") or [str(index) for index in range(count)]
    if not isinstance(names, (list, tuple)) or len(names) != count or not all(isinstance(name, str) for name in names):
        raise ModelFileError(f"the model has {count} classes, but its description does not name as many")
    return list(names)


# ---------------------------------------------------------------- the folder


class Run:
    """The folder of a run.

    Parameters
    ----------
    folder : Path
        It exists.
    config : Config
        The settings of the run.
    """

    def __init__(self, folder: Path, config: Config):
        self.folder, self.config = folder, config
        self.settings, self.history, self.summary = (
            folder / name for name in ("config.toml", "history.jsonl", "summary.json")
        )
        self.model, self.last = folder / "model.safetensors", folder / "last.safetensors"

    @classmethod
    def create(cls, config: Config, folder: str | os.PathLike[str] | None = None) -> Self:
        """Make a folder, and write the settings into it.

        Parameters
        ----------
        config : Config
        folder : path-like, optional
            By default ``runs/<date>-<name>``, with a number behind it where that exists.

        Raises
        ------
        OutputError
            It cannot be written, or holds a run already.
        """
        if folder == "":
            raise OutputError("the name of the output folder is empty; name one by --out")
        path = Path(folder) if folder is not None else _free_folder(config)
        try:
            path.mkdir(parents=True, exist_ok=True)
            run = cls(path, config.absolute())
            held = [
                file.name for file in (run.settings, run.history, run.summary, run.model, run.last) if file.exists()
            ]
        except OSError as error:
            raise OutputError(f"cannot make the folder {path}: {error.strerror or error}") from error
        if held:
            raise OutputError(
                f"{path} holds a run already ({held[0]}); choose another folder by --out, or go on with it by --resume"
            )
        run.write_settings()
        return run

    @classmethod
    def open(cls, folder: str | os.PathLike[str], changes: Values) -> Self:
        """Open a run to go on with it.

        Parameters
        ----------
        folder : path-like
        changes : mapping of leaf to value
            Settings that were given anew: the same as before, but for more epochs, and any number of threads.

        Raises
        ------
        ConfigError
            There is no run that can be resumed, or `changes` contradict its settings.
        """
        path = Path(folder)
        if not (path / "config.toml").exists():
            raise ConfigError(f"{path} holds no run (no config.toml)")
        before = Config.of(read_toml(path / "config.toml"))
        run = cls(path, Config.of(before.values(), changes).absolute())
        _refuse_other_settings(path, before.values(), run.config.values())
        if not run.last.exists():
            raise ConfigError(
                f"{path} stopped before its first checkpoint; start anew with --config {run.settings} and another --out"
            )
        return run

    @property
    def finished(self) -> bool:
        """Whether there is nothing to go on with: it was judged, and no epochs were added."""
        added = self.config.training.epochs > Config.of(read_toml(self.settings)).training.epochs
        return self.summary.exists() and not added

    def write_settings(self) -> None:
        """Write config.toml."""
        write_atomically(self.settings, self.config.to_toml())

    def reopen(self) -> None:
        """Make it an unfinished run, with the settings that it has now."""
        self.write_settings()
        self.summary.unlink(missing_ok=True)

    def remove_if_empty(self) -> None:
        """Leave nothing behind if there is no model, so that the folder can be used for the next attempt."""
        if not (self.last.exists() or self.model.exists()):
            with suppress(OSError):
                self.settings.unlink()
                self.folder.rmdir()

    def checkpoints(self) -> Checkpoint:
        """The callback that writes model.safetensors and last.safetensors."""
        return Checkpoint(self.folder)

    def judge(self, parts: Parts, recorder: "Recorder", compile_seconds: float) -> dict[str, Any]:
        """Judge the model on the test set, and write it again with its metrics.

        Parameters
        ----------
        parts : Parts
        recorder : Recorder
            It was at the fit.
        compile_seconds : float

        Returns
        -------
        dict
            What summary.json is to hold: accuracies as fractions, times in seconds.
        """
        training, history = self.config.training, recorder.fit.history
        model = load_model(self.model)
        judged = judge(model, parts.test, backend=training.backend, threads=training.threads)
        kept = history.records[-1 if history.best is None else history.best]
        metrics = {
            "test_accuracy": judged["accuracy"],
            "test_loss": judged["loss"],
            "val_accuracy": kept.get("val_accuracy"),
            "val_loss": kept.get("val_loss"),
            "best_epoch": kept["epoch"],
        }
        model.metadata["metrics"] = metrics
        model.save(self.model)
        return {
            **metrics,
            "epochs": len(history),
            "train_seconds": recorder.fit.train_seconds,
            "compile_seconds": compile_seconds,
            "epoch_seconds": history["seconds"],
            "parameters": model.architecture.parameters,
            "backend": training.backend,
            "threads": recorder.fit.threads,
            "seed": training.seed,
            "versions": versions(),
        }

    def finish(self, summary: Mapping[str, Any], parts: Parts) -> None:
        """Write the model card, and summary.json, which makes it a finished run."""
        text = card(load_model(self.model), summary, f"{self.config.data.source}: {parts}", self.model.name)
        write_atomically(self.folder / "model.md", text)
        write_atomically(self.summary, json.dumps(summary, indent=2) + "\n")

    def draw(self, parts: Parts, history: History) -> None:
        """Draw curves.png and, of a classifier, confusion.png and, of images, weights, predictions and mistakes.

        Raises
        ------
        MissingExtraError
            Matplotlib is not installed.
        """
        plots.curves(history.records, self.folder / "curves.png", history.best)
        test, training = parts.test, self.config.training
        if test.classes is None:
            return
        model = load_model(self.model)
        probabilities = model.predict_proba(test.X, training.backend, training.threads)
        predicted = probabilities.argmax(axis=1)
        plots.confusion(test.y, predicted, test.classes, self.folder / "confusion.png")
        if test.image is not None:
            images, names, folder = (test.X, test.image, test.y), test.classes, self.folder
            pictures.predictions(*images, probabilities, names, folder / "predictions.png")
            pictures.mistakes(*images, predicted, probabilities.max(axis=1), names, folder / "mistakes.png")
            pictures.weights(model.parameters()[0][0], test.image, folder / "weights.png")


class Recorder(Callback):
    """Keeps history.jsonl as far as the last checkpoint, and the fit at hand for whoever asks how it went.

    Parameters
    ----------
    run : Run
    """

    fit: Any

    def __init__(self, run: Run):
        self.run = run

    def on_fit_begin(self, fit: Any) -> None:
        """Nothing stands in the way any more: from now on the run is an unfinished one."""
        self.fit = fit
        self.run.reopen()
        if fit.history.records:
            self._write()

    def on_epoch_end(self, fit: Any, record: Mapping[str, Any]) -> None:
        """Write all lines anew."""
        self._write()

    def _write(self) -> None:
        lines = [json.dumps(record) + "\n" for record in self.fit.history.records]
        write_atomically(self.run.history, "".join(lines))


def _free_folder(config: Config) -> Path:
    """A new folder under runs/, made in the moment that it is found to be free."""
    name = config.report.title or Path(config.data.source).name.split(".")[0]
    stem = f"{date.today().isoformat()}-{re.sub(r'[^A-Za-z0-9_-]+', '-', name).strip('-') or 'run'}"
    for number in count(1):
        path = Path("runs", stem if number == 1 else f"{stem}-{number}")
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise OutputError(f"cannot make the folder {path}: {error.strerror or error}") from error
        return path
    raise AssertionError


def _refuse_other_settings(folder: Path, before: Values, now: Values) -> None:
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name) and name not in MAY_CHANGE:
            raise ConfigError(
                f"the run in {folder} has {name} = {before.get(name)!r}, not {now.get(name)!r}; "
                "leave the option out, or start a new run"
            )
    if now["training.epochs"] < before["training.epochs"]:
        raise ConfigError(
            f"the run in {folder} has {before['training.epochs']} epochs; they can be raised, not lowered"
        )
