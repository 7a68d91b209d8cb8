"""``fastnn reproduce``: claim and outcome side by side, stored, and exit code 1 where one falls short."""

import json
from dataclasses import replace

import numpy as np
import pytest

from fastnn import recipes, reproduce
from fastnn.cli import reproduce as command
from fastnn.config import Config
from fastnn.reproduce import CLAIMS, PROJECTS
from tests.samples import pictures


@pytest.fixture
def small(monkeypatch, tmp_path):
    """The recipes on 60 small images, for few epochs."""
    X, y = pictures(60)
    np.savez(tmp_path / "small.npz", X=X.reshape(-1, 5, 5), y=y)
    read = recipes.read

    def changed(name):
        over = {"data.source": str(tmp_path / "small.npz"), "data.rows": 0, "data.test": 0.2, "training.epochs": 30}
        over |= {"training.batch_size": 10, "augment.shift": 0.0, "augment.rotate": 0.0, "augment.scale": 0.0}
        return read(name) | over | {"network.hidden": (8,), "network.dropout": 0.0}

    monkeypatch.setattr(recipes, "read", changed)
    monkeypatch.setattr(reproduce, "SIZES", (2, 4))
    return tmp_path


def test_every_project_has_its_claims_and_every_claim_its_recipe():
    assert tuple("ABCDE") == PROJECTS
    assert {claim.recipe for claim in CLAIMS} <= set(recipes.names())
    assert all(claim.finding for claim in CLAIMS if claim.faulty)


def test_claims_and_outcomes_side_by_side(fastnn, small):
    code, out, err = fastnn("reproduce", "D", "--out", small / "out", "--backend", "reference")
    assert (code, err) == (0, "")
    assert out.count(" ok") == 2
    report = json.loads((small / "out" / "reproduce.json").read_text())
    assert [row["recipe"] for row in report["rows"]] == ["d", "d-batch-100"]
    assert all(row["reached"] and row["accuracy"] >= row["least"] for row in report["rows"])
    assert all(len(row["training_loss"]) == 30 for row in report["rows"])
    table = (small / "out" / "reproduce.md").read_text()
    assert table.count("| D |") == 2


def test_a_row_that_falls_short_is_exit_code_1(fastnn, small, monkeypatch):
    monkeypatch.setattr(
        reproduce, "CLAIMS", (replace(next(claim for claim in CLAIMS if claim.recipe == "d"), least=1.01),)
    )
    code, out, _ = fastnn("reproduce", "D", "--out", small / "out", "--backend", "reference")
    assert code == 1
    assert "1 of 1 rows fall short: d" in out


def test_pictures_of_a_and_e(fastnn, small):
    code, _, _ = fastnn("reproduce", "A", "E", "--out", small / "out", "--backend", "reference")
    assert code in (0, 1)
    assert {path.name for path in (small / "out").iterdir()} == {
        *("reproduce.json", "reproduce.md", "architectures.png", "dropout.png")
    }
    rows = json.loads((small / "out" / "reproduce.json").read_text())["dropout_by_size"]
    assert [row["units"] for row in rows] == [2, 4]
    rates = json.loads((small / "out" / "reproduce.json").read_text())["by_rate"]
    assert [(row["units"], row["learning_rate"]) for row in rates[:2]] == [(50, 0.1), (50, 0.2)]


def test_faulty_gradients_leave_the_outputs_bias_where_it_was(small):
    config = Config.of(recipes.read("c"), {"training.backend": "reference"})
    parts = reproduce.Parts.of(config)
    network = reproduce.build(config, parts)
    before = [(W.copy(), b.copy()) for W, b in network.parameters()]
    reproduce.fit_faulty(network, parts, config)
    after = network.parameters()
    np.testing.assert_array_equal(after[-1][1], before[-1][1])
    assert not np.array_equal(after[-1][0], before[-1][0])
    assert not np.array_equal(after[0][1], before[0][1])


def test_an_unknown_project(refused):
    assert "the projects are A, B, C, D, E, or all" in refused("reproduce", "F")


@pytest.mark.parametrize("words", [[], ["all"], ["B", "all"]])
def test_without_a_name_all_are_run(fastnn, monkeypatch, tmp_path, words):
    asked = []
    monkeypatch.setattr(command, "reproduce", lambda projects, changes: asked.extend(projects) or [])
    for name in ("by_rate", "dropout_by_size"):
        monkeypatch.setattr(command, name, lambda changes: [])
    assert fastnn("reproduce", *words, "--out", tmp_path / "out", "--backend", "reference")[0] == 0
    assert asked == list(PROJECTS)
