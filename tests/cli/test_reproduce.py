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
    """The recipes on 60 small images, for few epochs and at most two seeds."""
    X, y = pictures(60)
    np.savez(tmp_path / "small.npz", X=X.reshape(-1, 5, 5), y=y)
    read = recipes.read

    def changed(name):
        over = {"data.source": str(tmp_path / "small.npz"), "data.rows": 0, "data.test": 0.2, "training.epochs": 30}
        over |= {"training.batch_size": 10, "augment.shift": 0.0, "augment.rotate": 0.0, "augment.scale": 0.0}
        return read(name) | over | {"network.hidden": (8,), "network.dropout": 0.0}

    monkeypatch.setattr(recipes, "read", changed)
    monkeypatch.setattr(reproduce, "SIZES", (2, 4))
    monkeypatch.setattr(reproduce, "CLAIMS", tuple(replace(claim, seeds=min(claim.seeds, 2)) for claim in CLAIMS))
    return tmp_path


def test_every_project_has_its_claims_and_every_claim_its_recipe():
    assert tuple("ABCDE") == PROJECTS
    assert {claim.recipe for claim in CLAIMS} <= set(recipes.names())
    assert all(claim.finding for claim in CLAIMS if claim.faulty)


def test_claims_and_outcomes_side_by_side(fastnn, small):
    code, out, err = fastnn("reproduce", "D", "--out", small / "out", "--backend", "reference")
    assert (code, err) == (0, "")
    assert out.count(" ok") == 4
    report = json.loads((small / "out" / "reproduce.json").read_text())
    rows = report["rows"]
    assert [row["claim"]["recipe"] for row in rows] == ["d", "d-batch-100", "d-100", "d-100-scaled"]
    assert [len(row["accuracies"]) for row in rows] == [2, 2, 2, 2]
    assert all(row["reached"] and row["accuracy"] >= row["claim"]["least"] for row in rows)
    assert all(row["accuracy"] == np.mean(row["accuracies"]) for row in rows)
    assert all([record["epoch"] for record in row["history"]] == list(range(1, 31)) for row in rows)
    table = (small / "out" / "reproduce.md").read_text()
    assert table.count("| D |") == 4
    assert not (small / "out" / "unfinished.json").exists()


def test_each_seed_is_another_run_and_the_mean_is_reported(small):
    claim = next(claim for claim in reproduce.CLAIMS if claim.recipe == "d-100")
    runs = [reproduce.reproduce(replace(claim, seeds=1), {"training.seed": seed}, {}) for seed in (4, 5)]
    both = reproduce.reproduce(claim, {"training.seed": 4}, {})
    assert runs[0].loss != runs[1].loss
    assert both.loss == (runs[0].loss + runs[1].loss) / 2
    assert both.accuracies == (*runs[0].accuracies, *runs[1].accuracies)


def test_an_interrupted_run_goes_on_after_the_last_finished_row(fastnn, small, monkeypatch):
    done, words = [], ("reproduce", "D", "--out", small / "out", "--backend", "reference")
    attempt = command.reproduce

    def interrupted(claim, changes, data):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(claim.recipe)
        return attempt(claim, changes, data)

    monkeypatch.setattr(command, "reproduce", interrupted)
    code, _, err = fastnn(*words)
    assert (code, done) == (130, ["d", "d-batch-100"])
    assert "the same command goes on" in err
    assert [path.name for path in (small / "out").iterdir()] == ["unfinished.json"]
    first = json.loads((small / "out" / "unfinished.json").read_text())

    monkeypatch.setattr(command, "reproduce", lambda *known: done.append(known[0].recipe) or attempt(*known))
    code, out, _ = fastnn(*words)
    assert (code, done) == (0, ["d", "d-batch-100", "d-100", "d-100-scaled"])
    assert "2 rows are done" in out
    report = json.loads((small / "out" / "reproduce.json").read_text())
    assert report["rows"][:2] == first["rows"]
    assert report["seconds"] > first["seconds"]


def test_another_run_does_not_go_on_with_an_interrupted_one(fastnn, small):
    words = ("reproduce", "D", "--out", small / "out", "--backend", "reference")
    identities = [reproduce.identity_of("D", {"training.seed": seed}) for seed in (1, 1, 2)]
    assert identities[0] == identities[1] != identities[2]
    assert reproduce.identity_of("A", {}) != reproduce.identity_of("D", {})
    (small / "out").mkdir()
    for text in ("{", "[]", '{"identity": "of another", "rows": [], "seconds": 0.0}'):
        (small / "out" / "unfinished.json").write_text(text)
        code, out, _ = fastnn(*words)
        assert code == 0
        assert "going on" not in out


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
    monkeypatch.setattr(command, "claims_of", lambda projects: asked.extend(projects) or [])
    monkeypatch.setattr(command, "STUDIES", {})
    assert fastnn("reproduce", *words, "--out", tmp_path / "out", "--backend", "reference")[0] == 0
    assert asked == list(PROJECTS)
