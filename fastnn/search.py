"""How large should a network be? A search by validation, in which of two equally good networks the cheaper one wins.

Optuna does the search (an extra): Akiba, Sano, Yanase, Ohta, Koyama: "Optuna: a next-generation hyperparameter
optimization framework", KDD 2019. Trials that lag behind are ended by successive halving: Li, Jamieson, DeSalvo,
Rostamizadeh, Talwalkar: "Hyperband", JMLR 18, 2018. Test rows are never looked at.
"""

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Any

from fastnn.callbacks import Callback, Record
from fastnn.config import Config
from fastnn.errors import ConfigError, DivergedError, MissingExtraError
from fastnn.runs import Parts, build, fit

if TYPE_CHECKING:
    from optuna import Study, Trial

LEAST, MOST, DEEPEST = 8, 1024, 3  # units of a layer, and layers
BATCHES = (32, 64, 128, 256)
ATTEMPTS = 5  # to open a study: of processes that make its tables at the same time one fails
FIRST_RUNG = 2  # epochs that each trial gets; the better third of them gets three times as many, and so on

Suggest = Callable[["Trial", Config], dict[str, Any]]


def _hidden(trial: "Trial", config: Config) -> dict[str, Any]:
    hidden = config.network.hidden
    return {"network.hidden": (trial.suggest_int("units", LEAST, MOST, log=True),) * max(len(hidden), 1)}


def _depth(trial: "Trial", config: Config) -> dict[str, Any]:
    return {"network.hidden": config.network.hidden[:1] * trial.suggest_int("depth", 1, DEEPEST)}


def _learning_rate(trial: "Trial", config: Config) -> dict[str, Any]:
    usual = config.optimizer.make().learning_rate
    return {"optimizer.learning_rate": trial.suggest_float("learning_rate", usual / 10, usual * 10, log=True)}


def _batch_size(trial: "Trial", config: Config) -> dict[str, Any]:
    return {"training.batch_size": trial.suggest_categorical("batch_size", BATCHES)}


def _dropout(trial: "Trial", config: Config) -> dict[str, Any]:
    return {"network.dropout": trial.suggest_float("dropout", 0.0, 0.6, step=0.1)}


# What can be searched, in the order in which it is asked for; the units always are.
SPACE: dict[str, Suggest] = {
    "hidden": _hidden,
    "depth": _depth,
    "learning_rate": _learning_rate,
    "batch_size": _batch_size,
    "dropout": _dropout,
}


SEARCHED = {"hidden": "network.hidden", "depth": "network.hidden", "learning_rate": "optimizer.learning_rate",
            "batch_size": "training.batch_size", "dropout": "network.dropout"}  # fmt: skip
OVER = ("COMPLETE", "PRUNED")  # states of trials that count; one that was interrupted is tried again
FREE = ("training.threads",)  # what may differ between processes of a study


@dataclass(frozen=True)
class Row:
    """A trial: what it was, how good by validation (accuracy; of a regression minus the loss), and what it cost.

    `value` is None if it diverged at once. `cost` are the multiply-adds of a sample forward; `state` is complete,
    pruned or failed.
    """

    number: int
    state: str
    hidden: tuple[int, ...]
    value: float | None
    cost: int
    seconds: float
    settings: dict[str, Any]


def cost(widths: Sequence[int]) -> int:
    """Multiply-adds of a sample, forward."""
    return sum(below * above for below, above in pairwise(widths))


class _Report(Callback):
    """Tells the study how each epoch went, and ends a trial that it gives up."""

    def __init__(self, trial: "Trial"):
        self.trial = trial

    def on_epoch_end(self, fit: Any, record: Record) -> None:
        from optuna import TrialPruned

        self.trial.report(value_of(record), record["epoch"])
        if self.trial.should_prune():
            raise TrialPruned


def value_of(record: Record) -> float:
    """How good an epoch is: accuracy by validation, of a regression minus the loss."""
    accuracy = record["val_accuracy"]
    return float(-record["val_loss"] if accuracy is None else accuracy)


def open_study(storage: str | None, name: str, seed: int, shared: bool = True) -> "Study":
    """The study of this name, new or as it was left.

    Parameters
    ----------
    storage : str or None
        As Optuna takes it; None: in memory.
    name : str
    seed : int
        Decides, with the number of trials that there are already, what is tried, if no other process tries too.
    shared : bool
        Others may work on what is stored.

    Raises
    ------
    MissingExtraError
        Optuna is not installed.
    ConfigError
        A storage that Optuna does not know or cannot open.
    """
    try:
        import optuna
    except ImportError:
        raise MissingExtraError("the search needs optuna: pip install 'fastnn-cpu[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=FIRST_RUNG, reduction_factor=3)
    for attempt in range(ATTEMPTS):
        try:
            study = optuna.create_study(
                storage=storage, study_name=name, direction="maximize", pruner=pruner, load_if_exists=True
            )
            break
        except Exception as error:  # whatever the database's driver raises
            if storage is None or attempt + 1 == ATTEMPTS:
                raise ConfigError(f"cannot open the study {name!r} in {storage}: {error}") from None
            sleep(0.1 * 2**attempt)
    if study.direction != optuna.study.StudyDirection.MAXIMIZE:
        raise ConfigError(f"the study {name!r} in {storage} is minimized; this search maximizes: give another --study")
    # who shares a study must not draw what another one draws
    alone = storage is None or not shared
    own = (seed + len(study.trials)) % 2**32 if alone else int.from_bytes(os.urandom(4), "big")
    study.sampler = optuna.samplers.TPESampler(seed=own, n_startup_trials=5)
    return study


def judged(parts: Parts) -> int:
    """How many rows each epoch is judged on; ConfigError if there are none."""
    if parts.validation is None:
        raise ConfigError("the search needs a validation set: set validation to a part of the rows")
    return len(parts.validation)


def counted(study: "Study", states: Sequence[str]) -> int:
    """How many trials of a study are in one of these states."""
    return sum(trial.state.name in states for trial in study.trials)


def claim(study: "Study", config: Config, parts: Parts, asked: Sequence[str]) -> None:
    """Write what a study is of into it; ConfigError if it is of something else."""
    names = {name for name in SPACE if name in ("hidden", *asked)}
    searched = {"network.hidden", *(SEARCHED[name] for name in names)}
    wanted = {name: value for name, value in config.values().items() if name not in searched and name not in FREE}
    wanted |= {"search": sorted(names), "rows": len(parts.train), "features": parts.train.X.shape[1]}
    now = json.loads(json.dumps(wanted))
    before = study.user_attrs.get("fastnn")
    if before is None:
        study.set_user_attr("fastnn", now)
        return
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            raise ConfigError(
                f"the study {study.study_name!r} was begun with {name} = {before.get(name)!r}, not {now.get(name)!r}: "
                "give another --study or --out, or the same settings"
            )


def search(
    study: "Study", config: Config, parts: Parts, asked: Sequence[str], trials: int, said: Callable[[Row], None]
) -> None:
    """Run trials until the study has so many that are over, those of other processes too.

    Parameters
    ----------
    study : optuna.Study
        See `open_study`.
    config : Config
        What is not searched.
    parts : Parts
    asked : sequence of str
        Keys of `SPACE`, besides the hidden units.
    trials : int
    said : callable
        Is given each trial that this process has ended.

    Raises
    ------
    ConfigError
        There is no validation set, or the study is of something else.
    """
    from optuna import TrialPruned
    from optuna.study import MaxTrialsCallback
    from optuna.trial import TrialState

    judged(parts)
    claim(study, config, parts, asked)
    over = tuple(TrialState[state] for state in OVER)

    def attempt(trial: "Trial") -> float:
        start, settings = perf_counter(), config
        chosen: set[str] = set()
        for name in (name for name in SPACE if name in ("hidden", *asked)):
            given = SPACE[name](trial, settings)
            chosen |= given.keys()
            settings = Config.of(settings.values(), given)
        network = build(settings, parts)
        widths = network.architecture.widths
        trial.set_user_attr("hidden", list(widths[1:-1]))
        trial.set_user_attr("cost", cost(widths))
        # what was searched, even where it is as it was: the next call may begin elsewhere
        trial.set_user_attr("settings", {name: value for name, value in settings.values().items()
                                         if name in chosen or config.values().get(name) != value})  # fmt: skip
        try:
            history = fit(settings, network, parts, [_Report(trial)])
        except DivergedError:
            raise TrialPruned from None
        finally:
            trial.set_user_attr("seconds", perf_counter() - start)
        return max(map(value_of, history.records))

    finished = counted(study, OVER)
    if finished < trials:
        study.optimize(
            attempt,
            n_trials=trials - finished,
            callbacks=[
                MaxTrialsCallback(trials, states=over),
                lambda study, trial: said(_row(trial)),
            ],
        )


def rows(study: "Study") -> list[Row]:
    """All trials that are over and got as far as a network."""
    return [_row(trial) for trial in study.trials if "seconds" in trial.user_attrs and trial.state.is_finished()]


def _row(trial: Any) -> Row:
    reached = max(trial.intermediate_values.values(), default=None) if trial.value is None else trial.value
    reached = None if reached is None or not math.isfinite(reached) else reached
    about = trial.user_attrs
    return Row(trial.number, trial.state.name.lower(), tuple(about.get("hidden", ())), reached, about.get("cost", 0),
               about.get("seconds", 0.0), about.get("settings", {}))  # fmt: skip


def winner(found: Sequence[Row], judged: int, classes: bool) -> Row:
    """The cheapest of the trials that are as good as the best: within its standard error.

    Breiman, Friedman, Olshen, Stone: "Classification and regression trees", 1984, section 3.4.3. Of a regression,
    whose losses have no such error, within a hundredth.

    Raises
    ------
    ConfigError
        No trial was completed.
    """
    complete = [(row, row.value) for row in found if row.state == "complete" and row.value is not None]
    if not complete:
        raise ConfigError("no trial was completed; give more --trials, or fewer epochs each")
    best = max(value for _, value in complete)
    slack = math.sqrt(max(best * (1 - best), 0.0) / judged) if classes else abs(best) / 100
    good = [(row.cost, -value, row.number, row) for row, value in complete if value >= best - slack]
    return min(good)[-1]
