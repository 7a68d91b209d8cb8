"""The commands of the README end to end, as a user runs them: in processes, on the embedded MNIST, mostly fused."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastnn.data import load

ROOT = Path(__file__).parents[1]
PICTURES = ["confusion.png", "curves.png", "mistakes.png", "predictions.png", "weights.png"]
FILES = [*PICTURES, "config.toml", "history.jsonl", "last.safetensors", "model.md"]


def run(*words: object, cwd: Path, code: int = 0) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "PYTHONWARNINGS")}
    environment |= {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    command = [sys.executable, "-m", *map(str, words)]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == code, done.stdout + done.stderr
    assert "\x1b" not in done.stdout
    assert done.stderr == "" if code == 0 else done.stderr.count("\n") == 1
    return done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder in which the main job has been run, for two epochs."""
    folder = tmp_path_factory.mktemp("work")
    out = run("fastnn.train", "--epochs", 2, "--out", "run", cwd=folder)
    assert "epoch 2/2" in out
    assert "test  accuracy" in out
    return folder


def test_the_main_job_learns_and_leaves_everything_behind(place):
    assert sorted(path.name for path in (place / "run").iterdir()) == sorted(
        [*FILES, "model.safetensors", "summary.json"]
    )
    summary = json.loads((place / "run" / "summary.json").read_text())
    assert summary["test_accuracy"] > 0.95
    assert summary["parameters"] == 238_510
    assert summary["epochs"] == 2
    assert summary["backend"] == "fused"
    assert len(summary["epoch_seconds"]) == 2
    assert sum(summary["epoch_seconds"]) <= summary["train_seconds"] * 1.0001
    assert {"test_loss", "compile_seconds", "threads", "seed", "versions"} <= summary.keys()
    for name in PICTURES:
        assert (place / "run" / name).read_bytes().startswith(b"\x89PNG")
    lines = [json.loads(line) for line in (place / "run" / "history.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert list(lines[0]) == [
        *("epoch", "learning_rate", "loss", "accuracy", "val_loss", "val_accuracy", "seconds", "samples_per_second")
    ]


def test_evaluate_agrees_with_the_run(place):
    report = json.loads(run("fastnn", "evaluate", "run/model.safetensors", "--data", "mnist", "--json", cwd=place))
    summary = json.loads((place / "run" / "summary.json").read_text())
    assert report["accuracy"] == summary["test_accuracy"]
    assert report["loss"] == pytest.approx(summary["test_loss"], rel=1e-12)
    assert report["samples"] == 10_000


def test_predict_agrees_with_the_run(place):
    images = ROOT / "fastnn" / "data" / "files" / "t10k-images-idx3-ubyte.gz"
    rows = list(
        csv.DictReader(io.StringIO(run("fastnn", "predict", "run/model.safetensors", images, "--all", cwd=place)))
    )
    assert list(rows[0]) == ["row", "label", "probability", *map(str, range(10))]
    right = [int(row["label"]) == label for row, label in zip(rows, load("mnist")[1].y.tolist(), strict=True)]
    assert sum(right) / 10_000 == json.loads((place / "run" / "summary.json").read_text())["test_accuracy"]
    assert sum(float(rows[0][str(digit)]) for digit in range(10)) == pytest.approx(1, abs=1e-4)


def test_config_runs_it_again_to_the_same_bits(place):
    run("fastnn", "train", "--config", "run/config.toml", "--out", "again", "--threads", 1, cwd=place)
    one, two = ((place / name / "summary.json").read_text() for name in ("run", "again"))
    assert json.loads(one)["test_loss"] == json.loads(two)["test_loss"]


def test_resume_of_a_finished_run_with_more_epochs(place):
    words = ["--config", "run/config.toml", "--hidden", 20, "--epochs", 1]
    run("fastnn.train", *words, "--out", "longer", cwd=place)
    assert "finished" in run("fastnn.train", "--resume", "longer", cwd=place)
    assert "epoch 2/2" in run("fastnn.train", "--resume", "longer", "--epochs", 2, cwd=place)


def test_gradcheck_passes_on_the_default_network(place):
    assert "checks passed" in run("fastnn", "gradcheck", cwd=place)


def test_the_reference_backend_does_the_same_job(place):
    words = ["--backend", "reference", "--epochs", 1, "--hidden", 20, "--out", "reference"]
    run("fastnn", "train", *words, cwd=place)
    assert json.loads((place / "reference" / "summary.json").read_text())["test_accuracy"] > 0.85


def test_diverging_ends_with_3_and_one_line(place):
    words = ["--optimizer", "sgd", "--learning-rate", 1e30, "--hidden", 20, "--out", "diverged"]
    run("fastnn.train", *words, cwd=place, code=3)


def test_bad_input_ends_with_2_and_one_line(place):
    run("fastnn.train", "--data", "nowhere.csv", cwd=place, code=2)
    run("fastnn.train", "--out", "run", cwd=place, code=2)  # it holds a run
    (place / "cut.safetensors").write_bytes((place / "run" / "model.safetensors").read_bytes()[:-1])
    run("fastnn", "evaluate", "cut.safetensors", "--data", "mnist", cwd=place, code=2)
