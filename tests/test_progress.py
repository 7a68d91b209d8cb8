"""What is shown of a fit: a bar in a terminal, plain lines everywhere else."""

import io
import re
from types import SimpleNamespace

import pytest

from fastnn.progress import Progress, QuietProgress, epoch_line, is_fancy

RECORD = {"epoch": 2, "loss": 0.25, "accuracy": 0.9, "val_loss": 0.5, "val_accuracy": 0.8, "seconds": 1.5}
LINE = "epoch  2/10  loss 0.2500  accuracy 90.00%  val_loss 0.5000  val_accuracy 80.00%  1.50 s"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


def fit(**differences):
    state = {"epochs": 10, "samples": 1000, "epoch": 1, "done": 500, "loss": 0.3, "accuracy": 0.85}
    return SimpleNamespace(**{**state, "samples_per_second": 312345.6, **differences})


def shown(stream, state, end="on_fit_end"):
    progress = Progress(stream)
    progress.on_fit_begin(state)
    progress.on_advance(state)
    progress.on_epoch_end(state, RECORD)
    getattr(progress, end)(state) if end else progress.close()
    return stream.getvalue()


def text(output):
    return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", output)


def test_a_line_has_what_the_record_has():
    assert epoch_line(RECORD, 10) == LINE
    regression = {"epoch": 1, "loss": 2.0, "accuracy": None, "val_loss": 3.0, "val_accuracy": None, "seconds": 0.1}
    assert epoch_line(regression, 5) == "epoch 1/5  loss 2.0000  val_loss 3.0000  0.10 s"


@pytest.mark.parametrize(
    ("stream", "variable", "value"),
    [(io.StringIO(), "TERM", "xterm"), (Terminal(), "NO_COLOR", "1"), (Terminal(), "TERM", "dumb")],
)
def test_plain_lines_alone(monkeypatch, stream, variable, value):
    monkeypatch.setenv(variable, value)
    assert not is_fancy(stream)
    assert shown(stream, fit()) == LINE + "\n"


def test_a_terminal_gets_a_bar_and_keeps_the_lines():
    output = shown(Terminal(), fit())
    for part in ("epoch 2/10", "loss 0.3000", "accuracy 85.00%", "312,346 samples/s", "━"):
        assert part in text(output)
    assert LINE + "\n" in text(output)


@pytest.mark.parametrize("end", ["on_fit_end", "on_interrupt", None])
def test_the_terminal_gets_its_cursor_back(end):
    output = shown(Terminal(), fit(), end)
    assert output.rindex("\x1b[?25h") > output.rindex("\x1b[?25l")


def test_the_bar_has_room_in_a_narrow_terminal_and_none_for_an_accuracy_that_is_not_there(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    output = text(shown(Terminal(), fit(accuracy=None)))
    lines = [line for line in re.split(r"[\r\n]", output) if "samples/s" in line]
    assert lines
    assert all(len(line) <= 80 and "…" not in line and "accuracy" not in line for line in lines)


def test_no_color_may_be_empty(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "")  # no-color.org: "when present and not an empty string"
    assert is_fancy(Terminal())


@pytest.mark.parametrize(
    ("record", "validation", "line"),
    [
        (RECORD, range(400), "Epoch 2: 320 / 400\n"),
        (RECORD, None, "Epoch 2: 900 / 1000\n"),
        (RECORD | {"val_accuracy": None}, range(400), "Epoch 2: loss 0.5\n"),
    ],
)
def test_the_quiet_line_counts_the_right_ones(record, validation, line):
    stream = io.StringIO()
    progress = QuietProgress(stream)
    progress.on_epoch_end(fit(validation=validation), record)
    progress.close()
    assert stream.getvalue() == line


@pytest.mark.parametrize("show", [Progress, QuietProgress])
@pytest.mark.parametrize("end", ["on_fit_end", "on_interrupt"])
def test_the_epoch_that_training_ends_with_is_said(show, end):
    stream, state = io.StringIO(), fit(validation=None)
    progress = show(stream, every=5)
    for epoch in range(1, 8):
        progress.on_epoch_end(state, RECORD | {"epoch": epoch})
    getattr(progress, end)(state)
    numbers = [int(re.search(r"\d+", line)[0]) for line in stream.getvalue().splitlines()]
    assert numbers == [5, 7]
