"""Where a run can be logged to besides its own history.jsonl: callbacks, a row of `LOGS` for each tracker."""

import hashlib
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fastnn.callbacks import Callback, Record
from fastnn.errors import MissingExtraError, OutputError

HINT = "pip install 'fastnn-cpu[log]'"
FOLDER = "fastnn.folder_sha256"  # MLflow's tag of the folder that a run is of
FIGURES = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds", "samples_per_second")


class Log(Callback, ABC):
    """Base of all: gives every figure of an epoch to a tracker.

    Parameters
    ----------
    folder : path-like
        The run's folder.
    settings : mapping of str
        What the run was told: ``{"training.epochs": 15, ...}``.
    resumed : bool
        Whether a run of this folder is gone on with.

    Raises
    ------
    MissingExtraError
        The tracker's package is not installed.
    OutputError
        It cannot write.
    """

    def __init__(self, folder: str | os.PathLike[str], settings: Mapping[str, Any], resumed: bool = False):
        self.folder, self.settings, self._resumed, self._broken = Path(folder), dict(settings), resumed, False

    @abstractmethod
    def write(self, figures: Mapping[str, float], epoch: int) -> None:
        """Keep the figures of an epoch, counted from 1."""

    @abstractmethod
    def end(self, summary: Mapping[str, Any] | None) -> None:
        """Keep what the run came to: None if it was broken off."""

    def on_epoch_end(self, fit: Any, record: Record) -> None:
        """Write what the record has, but what it does not know."""
        self._try(self.write, {name: record[name] for name in FIGURES if record.get(name) is not None}, record["epoch"])

    def close(self, summary: Mapping[str, Any] | None = None) -> None:
        """End the log; `summary` is what the run came to, None if it was broken off."""
        self._try(self.end, summary)

    def _try(self, work: Callable[..., None], *arguments: Any) -> None:
        """A tracker that fails must not end a training: it is told once, and asked no more."""
        if self._broken:
            return
        try:
            work(*arguments)
        except Exception as error:
            self._broken = True
            words = " ".join(str(error).split())[:200]
            print(f"the log {type(self).__name__} failed, and is left: {words}", file=sys.stderr)


def _opened(what: str, open_: Callable[[], Any]) -> Any:
    """What a tracker is opened as; OutputError for whatever it raises instead."""
    try:
        return open_()
    except Exception as error:
        raise OutputError(f"the log {what} cannot be opened: {' '.join(str(error).split())[:200]}") from None


class TensorBoard(Log):
    """Event files in the run's folder: ``tensorboard --logdir runs`` shows them."""

    def __init__(self, folder: str | os.PathLike[str], settings: Mapping[str, Any], resumed: bool = False):
        super().__init__(folder, settings, resumed)
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise MissingExtraError(f"the log tensorboard needs tensorboardX: {HINT}") from None
        self._writer = _opened("tensorboard", lambda: SummaryWriter(str(self.folder)))
        self._writer.add_text("settings", "\n".join(f"    {name} = {value}" for name, value in self.settings.items()))

    def write(self, figures: Mapping[str, float], epoch: int) -> None:
        """Each figure as a scalar; training and validation of one kind stand in one diagram's group."""
        for name, value in figures.items():
            kind, part = (name.removeprefix("val_"), "validation" if name.startswith("val_") else "training")
            self._writer.add_scalar(f"{kind}/{part}", value, epoch)

    def end(self, summary: Mapping[str, Any] | None) -> None:
        """Write the test figures, and close the file."""
        for name in ("test_loss", "test_accuracy"):
            if summary and summary.get(name) is not None:
                self._writer.add_scalar(f"test/{name.removeprefix('test_')}", summary[name], summary["best_epoch"])
        self._writer.close()


class MLflow(Log):
    """A run in MLflow's store: that of ``MLFLOW_TRACKING_URI``, else ``mlflow.db`` (sqlite) beside the run's folder.

    A tag tells of which folder a run is, so that a resumed one goes on in the same run.
    """

    def __init__(self, folder: str | os.PathLike[str], settings: Mapping[str, Any], resumed: bool = False):
        super().__init__(folder, settings, resumed)
        try:
            from mlflow import MlflowClient
        except ImportError:
            raise MissingExtraError(f"the log mlflow needs mlflow: {HINT}") from None
        home = self.folder.absolute().parent
        store = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home / 'mlflow.db'}"
        self._client, self._run = _opened("mlflow", lambda: self._begin(MlflowClient(store), home))

    def _begin(self, client: Any, home: Path) -> tuple[Any, str]:
        """The client, and the number of the run: of the one that is gone on with, or of a new one."""
        found = client.get_experiment_by_name("fastnn")
        place = (home / "mlflow").as_uri()  # of artifacts
        experiment = found.experiment_id if found else client.create_experiment("fastnn", place)
        # a path may hold what MLflow's filters cannot quote, so its hash is looked for
        folder = hashlib.sha256(os.fsencode(self.folder.resolve())).hexdigest()
        same, latest = f"tags.`{FOLDER}` = '{folder}'", ["attributes.start_time DESC"]
        before = client.search_runs([experiment], same, max_results=1, order_by=latest) if self._resumed else []
        run = before[0] if before else client.create_run(experiment, run_name=self.folder.name, tags={FOLDER: folder})
        if before:
            client.update_run(run.info.run_id, status="RUNNING")
        for name, value in self.settings.items():
            known, changed = run.data.params.get(name), f"resumed.{name}"
            if known is None:
                client.log_param(run.info.run_id, name, value)
            elif known != str(value) or changed in run.data.tags:  # a parameter cannot be changed
                client.set_tag(run.info.run_id, changed, value)
        return client, run.info.run_id

    def write(self, figures: Mapping[str, float], epoch: int) -> None:
        """Each figure as a metric, with the epoch as its step."""
        for name, value in figures.items():
            self._client.log_metric(self._run, name, value, step=epoch)

    def end(self, summary: Mapping[str, Any] | None) -> None:
        """Write the test figures, and say how the run ended."""
        for name in ("test_loss", "test_accuracy"):
            if summary and summary.get(name) is not None:
                self._client.log_metric(self._run, name, summary[name])
        self._client.set_terminated(self._run, "FINISHED" if summary else "FAILED")


LOGS: dict[str, Callable[[str | os.PathLike[str], Mapping[str, Any], bool], Log]] = {
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
}
