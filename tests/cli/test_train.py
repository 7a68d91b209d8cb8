"""``fastnn train`` as a user runs it: on a small table, without compiling anything unless that is the point."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn import plots
from fastnn.cli import train as command
from fastnn.config import Config, read_toml
from fastnn.errors import MissingExtraError
from fastnn.kernels import cache

LONGER = ["--epochs", 4, "--dropout", 0.2, "--optimizer", "momentum"]
FILES = {"config.toml", "history.jsonl", "model.safetensors", "last.safetensors", "model.md", "summary.json"}


def files(folder):
    return {path.name for path in folder.iterdir()}


def weights(path):
    return [array for pair in fastnn.load(path).parameters() for array in pair]


def assert_same_weights(first, second):
    for a, b in zip(weights(first), weights(second), strict=True):
        np.testing.assert_array_equal(a, b)


def history(folder):
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


# ---------------------------------------------------------------- what a run says and leaves behind


def test_a_run_leaves_all_files(train, tmp_path):
    code, out, err = train(pictures=True)
    assert (code, err) == (0, "")
    assert files(tmp_path / "run") == FILES | {"curves.png", "confusion.png"}  # no pictures, so no mistakes.png
    assert "dense relu" in out
    assert "4 features, 3 classes\n42 training, 8 validation, 10 test examples" in out


def test_the_summary(train, table, tmp_path):
    train("--seed", 7, "--threads", 1)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    model = fastnn.load(tmp_path / "run" / "model.safetensors")
    assert summary["epochs"] == 3 == len(summary["epoch_seconds"])
    assert summary["parameters"] == 4 * 5 + 5 + 5 * 3 + 3
    assert (summary["seed"], summary["backend"], summary["threads"]) == (7, "reference", 1)
    assert summary["compile_seconds"] == 0
    assert summary["train_seconds"] >= sum(summary["epoch_seconds"]) * 0.99
    assert {"fastnn", "python", "numpy", "numba"} <= summary["versions"].keys()
    assert 0 <= summary["test_accuracy"] <= 1
    assert model.metadata["metrics"]["test_loss"] == summary["test_loss"]
    assert model.metadata["classes"] == ["A0", "B1", "C2"]
    best = max(history(tmp_path / "run"), key=lambda record: (record["val_accuracy"], -record["val_loss"]))
    assert (summary["best_epoch"], summary["val_loss"]) == (best["epoch"], best["val_loss"])


def test_what_is_reported_is_of_the_test_set(train, tmp_path):
    """Its labels contradict those that were learnt, so what is right in training and validation is wrong in it."""
    X, y = np.eye(3, 4)[np.arange(90) % 3], np.arange(90) % 3
    np.savez(tmp_path / "turned.npz", x_train=X, y_train=y, x_test=X, y_test=(y + 1) % 3)
    data = ("--data", tmp_path / "turned.npz", "--validation", 0.2, "--activation", "tanh", "--learning-rate", 0.1)
    code, out, _ = train(*data, "--epochs", 20)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (code, summary["val_accuracy"], summary["test_accuracy"]) == (0, 1, 0)
    assert summary["test_loss"] > summary["val_loss"]
    assert re.search(r"test +0\.00%", out)


def test_epochs_are_plain_lines_where_there_is_no_terminal(train, tmp_path):
    _, out, _ = train()
    lines = [line for line in out.splitlines() if line.startswith("epoch")]
    form = r"epoch {}/3  loss \d\.\d{{4}}  accuracy [\d.]+%  val_loss \d\.\d{{4}}  val_accuracy [\d.]+%  \d+\.\d\d s"
    for number, line in enumerate(lines, 1):
        assert re.fullmatch(form.format(number), line)
    assert [record["epoch"] for record in history(tmp_path / "run")] == [1, 2, 3]
    assert "\x1b" not in out
    assert "\r" not in out


def test_the_config_runs_the_same_again(train, fastnn, tmp_path):
    train("--optimizer", "adam", "--beta1", 0.8, "--dropout", 0.2)
    again = tmp_path / "again"
    assert fastnn("train", "--config", tmp_path / "run" / "config.toml", "--out", again)[0] == 0
    assert_same_weights(tmp_path / "run" / "model.safetensors", again / "model.safetensors")
    assert read_toml(again / "config.toml") == read_toml(tmp_path / "run" / "config.toml")


def test_options_win_over_the_file_and_the_file_over_defaults(train, tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text("[training]\nepochs = 9\nseed = 5\n[optimizer]\nname = 'adam'\nlearning_rate = 0.01\n")
    train("--config", file, "--epochs", 1)
    config = Config.of(read_toml(tmp_path / "run" / "config.toml"))
    assert (config.training.epochs, config.training.seed, config.training.patience) == (1, 5, 0)
    assert (config.optimizer.name, config.optimizer.learning_rate, config.optimizer.beta2) == ("adam", 0.01, 0.999)


def test_the_default_folder_is_new_each_time(train, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert train("--epochs", 1, out=None)[0] == 0
    first, second = sorted((tmp_path / "runs").iterdir())
    assert re.fullmatch(r"\d{4}-\d\d-\d\d-table", first.name)
    assert second.name == first.name + "-2"


def test_a_picture_set_gets_its_mistakes_and_a_path_its_own_test_set(fastnn, tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 256, (40, 3, 4), dtype=np.uint8), np.arange(40) % 2
    np.savez(tmp_path / "a.npz", x_train=X, y_train=y, x_test=X[:6], y_test=y[:6])
    np.savez(tmp_path / "held.npz", X=X[:7], y=y[:7])
    words = ["--data", tmp_path / "a.npz", "--backend", "reference", "--epochs", 1, "--shift", 1]
    _, out, _ = fastnn("train", *words, "--out", tmp_path / "run", "--validation", tmp_path / "held.npz")
    assert "40 training, 7 validation, 6 test examples" in out
    assert {"mistakes.png", "predictions.png", "weights.png"} <= files(tmp_path / "run")


def test_a_regression(fastnn, tmp_path):
    x = np.linspace(-1, 1, 60)
    (tmp_path / "line.csv").write_text("\n".join(f"{2 * value + 0.5},{value}" for value in x))
    words = ["--data", tmp_path / "line.csv", "--backend", "reference", "--epochs", 2, "--out", tmp_path / "run"]
    code, out, _ = fastnn("train", *words, "--validation", 0)
    assert code == 0
    assert "accuracy" not in out
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["test_accuracy"], summary["val_loss"]) == (None, None)
    assert files(tmp_path / "run") == FILES | {"curves.png"}


def test_patience_stops_early(train, tmp_path):
    _, out, _ = train("--epochs", 50, "--patience", 2, "--learning-rate", "1e-30")
    assert "stopped early: no improvement in 2 epochs" in out
    assert len(history(tmp_path / "run")) == 3
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["best_epoch"] == 1


def test_without_matplotlib_a_run_ends_well(train, monkeypatch, tmp_path):
    def lacking(*arguments):
        raise MissingExtraError("pictures need matplotlib: pip install it")

    monkeypatch.setattr(plots, "curves", lacking)
    code, _, err = train(pictures=True)
    assert (code, err) == (0, "pictures need matplotlib: pip install it\n")
    assert files(tmp_path / "run") == FILES


@pytest.mark.parametrize(
    ("kept", "works", "told"),
    [(cache.State(Path("here")), True, 1), (cache.State(Path("here")), False, 1), (cache.State(None), False, 0),
     (cache.State(Path("here"), fresh=True), True, 0)],
)  # fmt: skip
def test_another_process_compiles_if_that_can_be_kept(train, monkeypatch, kept, works, told):
    class Kernels:
        make = None

        @staticmethod
        def warm():
            return 0.5, not works

    def run(words, **how):
        commands.append(words[1:])
        return subprocess.CompletedProcess(words, 0 if works else 1)

    commands: list[list[str]] = []
    monkeypatch.setattr(command, "backend", lambda name: Kernels)
    monkeypatch.setattr(cache, "state", lambda make: kept)
    monkeypatch.setattr(subprocess, "run", run)
    output = train("--backend", "fused")[1]
    assert commands == [["-P", "-m", "fastnn", "warmup"]] * told
    assert len(re.findall("^compiled the kernels in [0-9.]+ s$", output, re.MULTILINE)) == (told or not works)


# ---------------------------------------------------------------- what is refused, and loses nothing


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--optimizer", "sgd", "--beta1", "0.9"], "optimizer.beta1: the optimizer sgd has no such setting"),
        (["--schedule", "cosine", "--every", "3"], "schedule.every: the schedule cosine has no such setting"),
        (["--loss", "cross_entropy", "--output", "sigmoid"], "cross_entropy needs the output activation softmax"),
        (["--hidden", "none", "--dropout", "0.5"], "network.dropout stands behind the hidden layers"),
        (["--activation", "relu,tanh"], "network.activation has 2 values for 1 hidden layers"),
        (["--loss", "quadratic", "--label-smoothing", "0.1"], "label smoothing needs"),
        (["--shift", "2"], "image"),
        (["--image", "2,3"], "an image of 2 x 3 pixels does not fit 4 features"),
        (["--label", "9"], "has no column 9 for the label"),
        (["--label", "age"], "has no column named 'age'"),
        (["--task", "regression"], "is not a number, as a regression needs"),
        (["--test", "missing.csv"], "data.test: missing.csv does not exist;"),
        (["--data", "mnsit"], "data.source: mnsit does not exist (did you mean mnist?); give a file"),
        (["--config", "missing.toml"], "cannot read missing.toml"),
        (["--resume", "missing"], "--resume has the settings and the folder of its run"),  # the fixture gives --out
    ],
)
def test_contradictions_and_bad_data_are_one_line(train, tmp_path, words, message):
    code, _, err = train(*words)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()  # so the next attempt may have it


def test_sets_that_do_not_go_together(train, tmp_path):
    (tmp_path / "wide.csv").write_text("A0,1,2,3,4,5\nB1,1,2,3,4,5\n")
    assert "wide.csv has 5 features, but the network takes 4" in train("--test", tmp_path / "wide.csv")[2]
    (tmp_path / "other.csv").write_text("A0,1,2,3,4\nD3,1,2,3,4\n")
    assert "'D3' is none of the 3 classes learnt" in train("--validation", tmp_path / "other.csv")[2]


def test_a_run_is_never_overwritten(train, tmp_path):
    train()
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    code, _, err = train("--seed", 1)
    assert code == 2
    assert "holds a run already (config.toml); choose another folder by --out" in err
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}


def test_a_folder_that_cannot_be_made(train, tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        code, text, err = train(out=out)
        assert code == 2
        assert "cannot make the folder" in err
        assert "epoch" not in text


@pytest.fixture
def line(tmp_path):
    """A regression that a learning rate of 100 drives apart, but not in the first epoch."""
    path = tmp_path / "line.csv"
    path.write_text("\n".join(f"{2 * value + 0.5},{value}" for value in np.linspace(-1, 1, 61)))
    words = ["--hidden", "none", "--validation", 0, "--batch-size", 32, "--schedule", "constant", "--epochs", 99]
    return ["--data", path, "--backend", "reference", *words]


def test_divergence_keeps_the_last_good_checkpoint(fastnn, line, tmp_path):
    code, _, err = fastnn("train", *line, "--optimizer", "sgd", "--learning-rate", 100, "--out", tmp_path / "run")
    assert code == 3
    found = re.fullmatch(r"fastnn: diverged in epoch (\d+): .* learning rate .*kept: .*last\.safetensors\n", err)
    good = history(tmp_path / "run")
    assert len(good) == int(found[1]) - 1 > 0
    assert all(np.isfinite(record["loss"]) for record in good)
    assert all(np.isfinite(array).all() for array in weights(tmp_path / "run" / "last.safetensors"))
    assert not (tmp_path / "run" / "summary.json").exists()


def test_divergence_in_the_first_epoch_leaves_no_folder(fastnn, line, tmp_path):
    code, _, err = fastnn("train", *line, "--optimizer", "sgd", "--learning-rate", 1e30, "--out", tmp_path / "run")
    assert code == 3
    assert "diverged in epoch 1" in err
    assert "no epoch was finished" in err
    assert not (tmp_path / "run").exists()


# ---------------------------------------------------------------- Ctrl-C and going on


@pytest.fixture
def ctrl_c(monkeypatch):
    """Call something, and press Ctrl-C when an epoch ends."""

    def during(epoch, call, *words):
        def press(self, fit, record):
            if record["epoch"] == epoch:
                signal.raise_signal(signal.SIGINT)

        with monkeypatch.context() as patch:
            patch.setattr(command.Progress, "on_epoch_end", press)
            code, _, err = call(*words)
        assert code == 130
        return err

    return during


@pytest.fixture
def interrupted(train, ctrl_c, tmp_path):
    """The folder of a run that was interrupted after two of four epochs, and what it said."""
    err = ctrl_c(2, train, *LONGER)
    return tmp_path / "run", err


def test_ctrl_c_says_how_to_go_on(interrupted):
    folder, err = interrupted
    assert err == f"fastnn: interrupted; go on with: fastnn train --resume {folder}\n"
    assert files(folder) == FILES - {"model.md", "summary.json"}


def test_a_resumed_run_is_the_uninterrupted_one(interrupted, fastnn, train, tmp_path, monkeypatch):
    folder, _ = interrupted
    monkeypatch.chdir(folder)
    code, out, _ = fastnn("train", "--resume", ".")
    assert code == 0
    assert "epoch 2/4" not in out
    train(*LONGER, out=tmp_path / "whole")
    assert_same_weights(folder / "model.safetensors", tmp_path / "whole" / "model.safetensors")
    assert_same_weights(folder / "last.safetensors", tmp_path / "whole" / "last.safetensors")
    timeless = [
        [{**record, "seconds": 0, "samples_per_second": 0} for record in history(run)]
        for run in (folder, tmp_path / "whole")
    ]
    assert timeless[0] == timeless[1]
    assert len(timeless[0]) == 4
    assert files(folder) - files(tmp_path / "whole") <= {"curves.png", "confusion.png"}


def test_a_finished_run_says_so(train, fastnn, tmp_path):
    train()
    before = (tmp_path / "run" / "summary.json").read_bytes()
    code, out, _ = fastnn("train", "--resume", tmp_path / "run")
    assert code == 0
    assert out == f"the run in {tmp_path / 'run'} is finished; give more --epochs than 3 to go on\n"
    assert (tmp_path / "run" / "summary.json").read_bytes() == before


def test_epochs_may_be_raised_and_threads_changed(train, fastnn, tmp_path):
    train()
    code, _, _ = fastnn("train", "--resume", tmp_path / "run", "--epochs", 5, "--threads", 1)
    assert code == 0
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["epochs"] == 5 == len(history(tmp_path / "run"))
    assert read_toml(tmp_path / "run" / "config.toml")["training.epochs"] == 5


def test_a_finished_run_that_was_begun_again_is_not_finished(train, fastnn, ctrl_c, tmp_path):
    train()
    ctrl_c(4, fastnn, "train", "--resume", tmp_path / "run", "--epochs", 5)
    assert "epoch 5/5" in fastnn("train", "--resume", tmp_path / "run")[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--epochs", 2], "has 3 epochs; they can be raised, not lowered"),
        (["--seed", 1], "has training.seed = 0, not 1"),
        (["--optimizer", "sgd"], "has optimizer.beta1 = 0.9, not None"),
        (["--data", "other.csv"], "has data.source"),
        (["--config", "some.toml"], "leave out --config, --recipe and --out"),
        (["--out", "elsewhere"], "leave out --config, --recipe and --out"),
    ],
)
def test_a_resumed_run_cannot_be_another(train, refused, tmp_path, words, message):
    train()
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    assert message in refused("train", "--resume", tmp_path / "run", *words)
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}


def test_a_resume_that_fails_loses_nothing(train, refused, tmp_path):
    train()
    run = tmp_path / "run"
    (run / "last.safetensors").write_bytes(b"damaged")
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    assert "last.safetensors" in refused("train", "--resume", run, "--epochs", 9)
    assert before == {path.name: path.read_bytes() for path in run.iterdir()}


def test_what_cannot_be_resumed(train, refused, tmp_path):
    assert "holds no run (no config.toml)" in refused("train", "--resume", tmp_path / "missing")
    train()
    run = tmp_path / "run"
    (run / "summary.json").unlink()
    content = (run / "last.safetensors").read_bytes()
    (run / "last.safetensors").write_bytes(content[:-10])
    assert "last.safetensors" in refused("train", "--resume", run)
    (run / "last.safetensors").write_bytes((run / "model.safetensors").read_bytes())
    assert "without the state of its training" in refused("train", "--resume", run)
    (run / "last.safetensors").unlink()
    assert "stopped before its first checkpoint" in refused("train", "--resume", run)
    (run / "config.toml").write_text("[training]\nepochs = 0")
    assert "training.epochs must be" in refused("train", "--resume", run)


@pytest.mark.skipif(os.name != "posix", reason="signals are sent differently elsewhere")
def test_ctrl_c_from_outside(table, tmp_path):
    words = ["--data", table, "--backend", "reference", "--epochs", 10**6, "--out", tmp_path / "run"]
    process = subprocess.Popen(
        [sys.executable, "-m", "fastnn.train", *map(str, words)], stdout=-1, stderr=-1, text=True
    )
    while not process.stdout.readline().startswith("epoch"):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    assert err.startswith("fastnn: interrupted; go on with: fastnn train --resume ")
    assert (tmp_path / "run" / "last.safetensors").exists()


def test_the_settings_are_said_before_it_begins(train, table, tmp_path):
    code, out, _ = train("--data", table, "--epochs", 2, "--batch-size", 0, "--optimizer", "sgd", "--schedule", "step")
    assert code == 0
    assert "2 epochs, full batches, sgd, rate 0.1, step, seed 0\n" in out


def test_kaggles_form_of_images_gets_pictures_of_them(fastnn, tmp_path):
    path, rows = tmp_path / "k.csv", np.random.default_rng(0).integers(0, 255, (40, 9))
    lines = [f"{index % 2}," + ",".join(map(str, row)) for index, row in enumerate(rows)]
    path.write_text("\n".join(["label," + ",".join(f"pixel{index}" for index in range(9)), *lines]))
    words = ("--backend", "reference", "--hidden", 3, "--epochs", 1, "--out", tmp_path / "run")
    assert fastnn("train", "--data", path, *words)[0] == 0
    assert {"predictions.png", "mistakes.png", "weights.png"} <= {file.name for file in (tmp_path / "run").iterdir()}


@pytest.mark.parametrize(("quiet", "start"), [((), "epoch"), (("--quiet-progress",), "Epoch")])
def test_a_line_for_so_many_epochs_and_the_last(train, quiet, start):
    _, out, _ = train("--epochs", "8", "--print-every", "3", *quiet)
    numbers = [re.search(r"\d+", line)[0] for line in out.splitlines() if line.startswith(f"{start} ")]
    assert numbers == ["3", "6", "8"]


@pytest.mark.parametrize("words", ["0", "-1", "a", "1.5"])
def test_no_other_number_of_epochs(refused, table, words):
    assert "must be a whole number from 1" in refused("train", "--data", table, f"--print-every={words}")
