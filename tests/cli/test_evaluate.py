"""``fastnn evaluate``: loss, accuracy, and how well each class is found."""

import io
import json
import sys

import numpy as np
import pytest

import fastnn as package
from fastnn import MLP, Dense, Input
from fastnn.cli import main

REFERENCE = ["--backend", "reference"]


@pytest.fixture
def model(train, tmp_path):
    assert train()[0] == 0
    return tmp_path / "run" / "model.safetensors"


@pytest.fixture
def three(tmp_path):
    """A model that takes the largest of three features for the class, and a table in which it is wrong once."""
    network = MLP([Input(3), Dense(3, "softmax")])
    network.parameters()[0][0][...] = 5 * np.eye(3)
    network.metadata = {"classes": ["ant", "bee", "[red]cow"]}
    network.save(tmp_path / "three.safetensors")
    (tmp_path / "three.csv").write_text("ant,1,0,0\nant,0,1,0\nbee,0,1,0\nbee,0,2,0\n")
    return tmp_path / "three.safetensors", "--data", tmp_path / "three.csv"


def test_a_table(fastnn, three):
    code, out, err = fastnn("evaluate", *three, *REFERENCE)
    assert (code, err) == (0, "")
    assert "\x1b" not in out
    lines = [line.split() for line in out.splitlines()]
    assert ["accuracy", "75.00%"] in lines
    assert ["ant", "100.00%", "50.00%", "66.67%", "2"] in lines
    assert ["bee", "66.67%", "100.00%", "80.00%", "2"] in lines
    assert ["[red]cow", "-", "-", "-", "0"] in lines


def test_no_escape_codes_where_they_are_not_wanted(monkeypatch, three):
    for wanted in (True, False):
        terminal = io.StringIO()
        terminal.isatty = lambda: True
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("NO_COLOR", "" if wanted else "1")
        assert main(["evaluate", *map(str, three), *REFERENCE]) == 0
        assert ("\x1b" in terminal.getvalue()) == wanted


def test_json(fastnn, three):
    report = json.loads(fastnn("evaluate", *three, "--json", *REFERENCE)[1])
    assert (report["samples"], report["accuracy"]) == (4, 0.75)
    assert report["classes"][1] == {"class": "bee", "precision": 2 / 3, "recall": 1.0, "f1": 0.8, "samples": 2}
    assert report["classes"][2] == {"class": "[red]cow", "precision": None, "recall": None, "f1": None, "samples": 0}


def test_it_agrees_with_the_model(fastnn, model, table):
    report = json.loads(fastnn("evaluate", model, "--data", table, "--label", "kind", "--json", *REFERENCE)[1])
    X = np.loadtxt(table, delimiter=",", skiprows=1, usecols=range(1, 5), dtype=np.float32)
    judged = package.load(model).evaluate(X, np.arange(60) % 3, backend="reference")
    assert report["samples"] == 60
    assert {name: report[name] for name in judged} == judged


def test_a_source_with_a_test_set_is_judged_on_that(fastnn, three, tmp_path):
    np.savez(tmp_path / "a.npz", x_train=np.eye(3), y_train=[0, 1, 2], x_test=np.eye(3)[:2], y_test=[0, 0])
    report = json.loads(fastnn("evaluate", three[0], "--data", tmp_path / "a.npz", "--json", *REFERENCE)[1])
    assert (report["samples"], report["accuracy"]) == (2, 0.5)


def test_a_regression_has_a_loss_alone(fastnn, tmp_path):
    network = MLP([Input(1), Dense(1)], weight_init="constant(2)")
    network.metadata = {"classes": None}
    network.save(tmp_path / "m.safetensors")
    (tmp_path / "line.csv").write_text("2,1\n5,2\n")
    words = [tmp_path / "m.safetensors", "--data", tmp_path / "line.csv", *REFERENCE]
    assert json.loads(fastnn("evaluate", *words, "--json")[1]) == {"samples": 2, "loss": 0.25, "accuracy": None}
    assert "accuracy" not in fastnn("evaluate", *words)[1]


def test_what_does_not_fit_is_refused(refused, model, tmp_path):
    assert "give them by --data" in refused("evaluate", model)
    assert "does not exist" in refused("evaluate", model, "--data", tmp_path / "missing.csv")
    (tmp_path / "wide.csv").write_text("A0,1,2,3,4,5\nB1,1,2,3,4,5\n")
    words = refused("evaluate", model, "--data", tmp_path / "wide.csv", *REFERENCE)
    assert "wide.csv has 5 features, but the network takes 4" in words
    (tmp_path / "other.csv").write_text("A0,1,2,3,4\nD3,1,2,3,4\n")
    assert "'D3' is none of the 3 classes learnt" in refused("evaluate", model, "--data", tmp_path / "other.csv")


@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_values_beyond_the_network_are_refused(train, fastnn, refused, tmp_path, command):
    """An infinite loss is no figure, and the class of a NaN is arbitrary."""
    train("--scale", "none")
    path = tmp_path / "huge.csv"
    path.write_text("kind,a,b,c,d\nA0,1,2,3,4\nB1,3e38,3e38,-3e38,3e38\n")
    words = ["--data", path] if command == "evaluate" else [path, "--label", "kind"]
    assert "not finite" in refused(command, tmp_path / "run" / "model.safetensors", *words)


def test_the_label_is_where_it_was_in_training(train, fastnn, tmp_path):
    path = tmp_path / "last.csv"
    lines = [f"{row % 7},{row % 3},{'AB'[row % 2]}" for row in range(40)]
    path.write_text("\n".join(["a,b,kind", *lines]) + "\n")
    train("--data", path, "--label", "kind")
    code, out, _ = fastnn("evaluate", tmp_path / "run" / "model.safetensors", "--data", path, "--json")
    assert code == 0
    assert json.loads(out)["samples"] == 40
