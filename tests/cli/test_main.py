"""What the command line as a whole promises: exit codes, one line for an error, quiet ends, a quick start."""

import os
import subprocess
import sys

import pytest

from fastnn.cli import main, train
from fastnn.errors import DataError, DivergedError
from fastnn.version import __version__


@pytest.mark.parametrize("words", [["-m", "fastnn", "--version"], ["-m", "fastnn.train", "--version"]])
def test_version(words):
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
    assert done.stdout == f"fastnn {__version__}\n"


def test_the_module_train_is_the_command_train():
    done = subprocess.run([sys.executable, "-m", "fastnn.train", "--epochs", "x"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("fastnn: argument --epochs: must be a whole number")


def test_nothing_heavy_is_imported_before_it_is_used():
    heavy = ["numba", "rich", "matplotlib"]
    code = f"import sys, fastnn.cli; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("words", [[], ["fly"], ["train", "--fly"], ["train", "--out"], ["predict"], ["evaluate", "m"]])
def test_bad_usage_is_one_line(refused, words):
    refused(*words)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (DataError("bad\ndata"), 2, "bad data"),
        (DivergedError("too far", 3), 3, "too far"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(28, "No space left on device", "a/b"), 2, "a/b: No space left on device"),
        (OSError("odd"), 2, "odd"),
        (MemoryError("10 GB"), 2, "there is not enough memory for this: 10 GB"),
        (KeyError("x"), 1, "internal error (KeyError: 'x'); run it with --debug to see where"),
    ],
)
def test_errors_become_a_line_and_an_exit_code(monkeypatch, capsys, error, code, line):
    def fail(options):
        raise error

    monkeypatch.setattr(train, "run", fail)
    assert main(["train"]) == code
    assert capsys.readouterr() == ("", f"fastnn: {line}\n")


@pytest.mark.parametrize("words", [["--debug", "train"], ["train", "--debug"]])
def test_debug_shows_where(monkeypatch, capsys, words):
    def fail(options):
        raise DataError("bad data")

    monkeypatch.setattr(train, "run", fail)
    assert main(words) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.endswith("fastnn: bad data\n")


@pytest.mark.skipif(os.name != "posix", reason="pipes break differently elsewhere")
def test_a_closed_pipe_ends_quietly(table, tmp_path):
    words = ["--data", table, "--backend", "reference", "--epochs", 10**6, "--out", tmp_path / "run"]
    process = subprocess.Popen([sys.executable, "-m", "fastnn.train", *map(str, words)], stdout=-1, stderr=-1)
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 141
