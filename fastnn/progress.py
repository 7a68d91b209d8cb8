"""How a fit goes, for people: a bar in a terminal, plain lines everywhere else."""

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TextIO

from fastnn.callbacks import Callback

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

# What an epoch's line shows, in this order, where the record has it: key of history.jsonl, name, form.
FIGURES = (
    ("loss", "loss", "{:.4f}"),
    ("accuracy", "accuracy", "{:.2%}"),
    ("val_loss", "val_loss", "{:.4f}"),
    ("val_accuracy", "val_accuracy", "{:.2%}"),
    ("seconds", "", "{:.2f} s"),
)


def is_fancy(stream: TextIO) -> bool:
    """Whether `stream` is a terminal that wants more than plain lines (NO_COLOR and TERM=dumb say no)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def epoch_line(record: Mapping[str, Any], epochs: int) -> str:
    """One finished epoch in a line.

    Parameters
    ----------
    record : mapping
        A line of ``history.jsonl``.
    epochs : int
        How many epochs there will be.
    """
    words = [f"epoch {record['epoch']:{len(str(epochs))}}/{epochs}"]
    for key, name, form in FIGURES:
        if record.get(key) is not None:
            words.append(f"{name} {form.format(record[key])}".strip())
    return "  ".join(words)


class Lines(Callback):
    """A line for each epoch, or for some of them and the last.

    Parameters
    ----------
    stream : text file, optional
        Where to; by default the standard output.
    every : int
        A line for so many epochs, and for the one that training ends with.
    """

    def __init__(self, stream: TextIO | None = None, every: int = 1):
        self.stream, self.every = stream or sys.stdout, every
        self._unsaid: Mapping[str, Any] | None = None

    def write(self, fit: Any, record: Mapping[str, Any]) -> None:
        """Write an epoch's line."""
        raise NotImplementedError

    def on_epoch_end(self, fit: Any, record: Mapping[str, Any]) -> None:
        """Write the epoch's line, if it is its turn."""
        self._unsaid = record
        if record["epoch"] % self.every == 0:
            self._write_last(fit)

    def on_interrupt(self, fit: Any) -> None:
        """Write the last epoch's line, and close."""
        self._write_last(fit)
        self.close()

    def on_fit_end(self, fit: Any) -> None:
        """Write the last epoch's line, and close."""
        self._write_last(fit)
        self.close()

    def close(self) -> None:
        """Take away what is not a line; needed after an error alone."""

    def _write_last(self, fit: Any) -> None:
        if self._unsaid is not None:
            self.write(fit, self._unsaid)
            self._unsaid = None


class QuietProgress(Lines):
    """A line for each epoch and nothing else: ``Epoch 3: 9461 / 10000``, the right ones of those it is judged on."""

    def write(self, fit: Any, record: Mapping[str, Any]) -> None:
        """By the validation set if there is one; of a regression, the loss."""
        prefix, judged = ("val_", len(fit.validation)) if fit.validation is not None else ("", fit.samples)
        accuracy = record[f"{prefix}accuracy"]
        right = f"loss {record[f'{prefix}loss']:.6g}" if accuracy is None else f"{round(accuracy * judged)} / {judged}"
        print(f"Epoch {record['epoch']}: {right}", file=self.stream, flush=True)


class Progress(Lines):
    """Shows each finished epoch as a line, and in a terminal also a bar with what is going on now."""

    def __init__(self, stream: TextIO | None = None, every: int = 1):
        super().__init__(stream, every)
        self._bar: Bar | None = None

    def on_fit_begin(self, fit: Any) -> None:
        """Open the bar."""
        if is_fancy(self.stream):
            self._bar = _bar(self.stream)
            self._bar.start()
            self._task = self._bar.add_task("", total=fit.epochs * fit.samples, epoch="", figures="", speed="")

    def on_advance(self, fit: Any) -> None:
        """Move the bar on."""
        if self._bar is None:
            return
        accuracy = "" if fit.accuracy is None else f"  accuracy {fit.accuracy:.2%}"
        self._bar.update(
            self._task,
            completed=fit.epoch * fit.samples + fit.done,
            epoch=f"epoch {fit.epoch + 1}/{fit.epochs}",
            figures=f"loss {fit.loss:.4f}{accuracy}",
            speed=f"{fit.samples_per_second:,.0f} samples/s",
        )
        self._bar.refresh()
        print(end="\r", file=self.stream, flush=True)  # so that the ^C of a terminal does not wrap to another line

    def write(self, fit: Any, record: Mapping[str, Any]) -> None:
        """Above the bar, if there is one."""
        line = epoch_line(record, fit.epochs)
        if self._bar is None:
            print(line, file=self.stream, flush=True)
        else:
            self._bar.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def close(self) -> None:
        """Take the bar away, and give the terminal its cursor back; needed after an error alone."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _bar(stream: TextIO) -> "Bar":
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    return Bar(
        TextColumn("{task.fields[epoch]}"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[figures]}"),
        TextColumn("{task.fields[speed]}", style="dim"),
        TimeRemainingColumn(compact=True),
        console=Console(file=stream),
        auto_refresh=False,  # on_advance comes often enough, and a thread of its own would not survive a fork
        transient=True,
        expand=True,
    )
