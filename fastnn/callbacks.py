"""What happens beside training: histories, checkpoints, early stopping. The loop itself: training.py."""

import os
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import plots
from fastnn.errors import ConfigError
from fastnn.files import write_atomically
from fastnn.formats import safetensors
from fastnn.settings import COUNT, checked

if TYPE_CHECKING:
    from fastnn.training import Fit

Record = dict[str, Any]


class Plot(bytes):
    """A PNG, which notebooks show as the picture that it is."""

    def _repr_png_(self) -> bytes:
        return bytes(self)

    def __repr__(self) -> str:
        return f"Plot({len(self):,} bytes of PNG)"


class History:
    """One record an epoch, as in history.jsonl; ``history["loss"]`` is a column of them.

    Parameters
    ----------
    records : list of dict, optional
    best_by : "accuracy" or "loss"
        What the best epoch is best by, on the validation set.
    """

    def __init__(self, records: Sequence[Record] = (), best_by: str = "accuracy"):
        self.records, self.best_by = list(records), best_by

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, name: str) -> list[Any]:
        return [record[name] for record in self.records]

    def plot(self, path: str | os.PathLike[str] | None = None) -> "Plot":
        """Draw loss, accuracy and learning rate over the epochs: a notebook shows it, and `path` keeps it as PNG.

        Parameters
        ----------
        path : path-like, optional

        Returns
        -------
        Plot
            The bytes of the PNG.

        Raises
        ------
        MissingExtraError
            Matplotlib is not installed.
        OutputError
            The file cannot be written.
        """
        png = BytesIO()
        plots.curves(self.records, png, self.best)
        if path is not None:
            write_atomically(path, png.getvalue())
        return Plot(png.getvalue())

    def _repr_html_(self) -> str:
        """A row an epoch, as notebooks show it."""
        names = list(self.records[0]) if self.records else []
        rows = [[f"{v:.4g}" if isinstance(v, float) else str(v) for v in record.values()] for record in self.records]
        cells = ["".join(f"<td>{value}</td>" for value in row) for row in rows]
        head = "".join(f"<th>{name}</th>" for name in names)
        return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"

    def __repr__(self) -> str:
        return f"History({len(self)} epochs, last: {self.records[-1] if self.records else None})"

    @property
    def best(self) -> int | None:
        """Index of the best epoch by validation (see `merit`), the first of equals; None without validation."""
        merits = [merit(record, self.best_by) for record in self.records]
        known = [index for index, value in enumerate(merits) if value is not None]
        return max(known, key=lambda index: merits[index] or (), default=None)


def merit(record: Record, best_by: str = "accuracy") -> tuple[float, ...] | None:
    """How good an epoch is by its validation set, to be compared with others': accuracy first, then loss; or loss."""
    if "val_loss" not in record:
        return None
    accuracy, loss = record["val_accuracy"], -record["val_loss"]
    return (loss,) if accuracy is None or best_by == "loss" else (accuracy, loss)


class Callback:
    """Base of what a fit calls; each method does nothing."""

    def on_fit_begin(self, fit: "Fit") -> None:
        """Before the first step, when the kernels are compiled.

        Parameters
        ----------
        fit : fastnn.training.Fit
            The running fit.
        """

    def on_advance(self, fit: "Fit") -> None:
        """After each slice of steps, at least about twice a second. Parameters as of `on_fit_begin`."""

    def on_epoch_end(self, fit: "Fit", record: Record) -> None:
        """After each epoch and its validation.

        Parameters
        ----------
        fit : as for `on_fit_begin`
        record : dict
            What `History` keeps of the epoch: epoch (from 1), learning_rate (of its first step), loss, accuracy (None
            for regression), seconds, samples_per_second; and val_loss, val_accuracy if there is a validation set.
        """

    def on_interrupt(self, fit: "Fit") -> None:
        """After Ctrl-C, between two steps, before KeyboardInterrupt goes on. Parameters as of `on_fit_begin`."""

    def on_fit_end(self, fit: "Fit") -> None:
        """After the last epoch. Parameters as of `on_fit_begin`."""


def check_callbacks(callbacks: Any) -> None:
    """ConfigError if this is no list of `Callback`."""
    if not isinstance(callbacks, (list, tuple)):
        raise ConfigError(f"callbacks must be a list of Callback, not {callbacks!r}")
    for one in callbacks:
        if not isinstance(one, Callback):
            raise ConfigError(
                f"callbacks must be a list of Callback but holds {one!r}; give instances of its subclasses"
            )


class EarlyStopping(Callback):
    """End the fit when the validation set has not improved for `patience` epochs (Prechelt, 1998, UP-like criterion).

    Without a validation set the training loss is judged. The decision rests on the history alone, so a resumed fit
    stops where an uninterrupted one does.

    Parameters
    ----------
    patience : int
        Epochs to wait for an improvement; at least 1.

    Raises
    ------
    ConfigError
        A patience below 1.
    """

    def __init__(self, patience: int = 5):
        self.patience = checked(patience, COUNT, "patience", int)

    def on_fit_begin(self, fit: "Fit") -> None:
        """A fit that is resumed where it had stopped does not go on. Parameters as of `Callback.on_fit_begin`."""
        self._judge(fit)

    def on_epoch_end(self, fit: "Fit", record: Record) -> None:
        """Set ``fit.stop`` when patience is at its end. Parameters as of `Callback.on_epoch_end`."""
        self._judge(fit)

    def _judge(self, fit: "Fit") -> None:
        history = fit.history
        merits = [merit(record, history.best_by) or (-record["loss"],) for record in history.records]
        best = max(range(len(merits)), key=lambda index: merits[index], default=0)
        fit.stop = fit.stop or len(merits) - 1 - best >= self.patience


class RestoreBest(Callback):
    """Give the network the weights of its best epoch by validation when the fit ends; without validation, the last."""

    def __init__(self) -> None:
        self._best: np.ndarray | None = None

    def on_epoch_end(self, fit: "Fit", record: Record) -> None:
        """Keep the weights if this epoch is the best."""
        if fit.history.best == len(fit.history) - 1:
            self._best = fit.network.flat.copy()

    def on_fit_end(self, fit: "Fit") -> None:
        """Put them back."""
        if self._best is not None:
            fit.network.flat[:] = self._best


class Checkpoint(Callback):
    """Keep ``last.safetensors`` (to resume from) and ``model.safetensors`` (the best by validation, else the last).

    Parameters
    ----------
    folder : path-like
        An existing folder.
    """

    def __init__(self, folder: Any):
        self.folder = Path(folder)

    def on_fit_begin(self, fit: "Fit") -> None:
        """What cannot be kept is refused before the first step. Parameters as of `Callback.on_fit_begin`."""
        fit.checkpoint()

    def on_epoch_end(self, fit: "Fit", record: Record) -> None:
        """Write the last, and the best if this is it. Parameters as of `Callback.on_epoch_end`."""
        if fit.history.best in (None, len(fit.history) - 1):
            safetensors.save(self.folder / "model.safetensors", fit.network)
        self.keep(fit)

    def on_interrupt(self, fit: "Fit") -> None:
        """Write the state between two steps, inside an epoch if need be. Parameters as of `Callback.on_interrupt`."""
        self.keep(fit)

    def keep(self, fit: "Fit") -> None:
        """Write ``last.safetensors``. Parameters as of `Callback.on_fit_begin`."""
        safetensors.save(self.folder / "last.safetensors", fit.network, fit.checkpoint())
