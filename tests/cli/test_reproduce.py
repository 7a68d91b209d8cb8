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
    monkeypatch.setattr(reproduce, "SEEDS", 2)
    monkeypatch.setattr(reproduce, "CLAIMS", tuple(replace(claim, seeds=min(claim.seeds, 2)) for claim in CLAIMS))
    return tmp_path


def test_every_project_has_its_claims_and_every_claim_its_recipe():
    assert tuple("ABCDE") == PROJECTS
    assert {claim.recipe for claim in CLAIMS} <= set(recipes.names())
    assert all(claim.finding for claim in CLAIMS if claim.rival or not claim.holds)
    assert {claim.rival for claim in CLAIMS if claim.rival} == set(reproduce.RIVALS)


def test_claims_and_outcomes_side_by_side(fastnn, small):
    code, out, err = fastnn("reproduce", "D", "--out", small / "out", "--backend", "reference")
    assert (code, err) == (0, "")
    verdicts = [line.split()[-1] for line in out.splitlines() if line.startswith("  d")]
    assert verdicts == ["ok", "wrong", "wrong", "ok"]
    report = json.loads((small / "out" / "reproduce.json").read_text())
    rows = report["rows"]
    assert [row["claim"]["recipe"] for row in rows] == ["d", "d-batch-100", "d-100", "d-100-scaled"]
    assert [len(row["accuracies"]) for row in rows] == [2, 2, 2, 2]
    assert all(row["reached"] and row["accuracy"] >= row["claim"]["least"] for row in rows)
    assert all([record["epoch"] for record in row["history"]] == list(range(1, 31)) for row in rows)
    assert f"d-batch-100: the mean of all seeds is {np.mean(rows[1]['accuracies']):.2%}" in " ".join(out.split())
    table = (small / "out" / "reproduce.md").read_text()
    assert table.count("| d") == 4
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
    cut = json.dumps({"identity": reproduce.identity_of(("D",), {"training.backend": "reference"})})
    for text in ("{", "[]", cut, '{"identity": "of another", "rows": [], "seconds": 0.0}'):
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


def outcome(accuracies, least=0.9, by="mean", rival=None):
    claim = reproduce.Claim("D", "d", "", least, by=by, rival="" if rival is None else "without dropout")
    return reproduce.Outcome(claim, accuracies, 1.0, 1.0, [], rival)


def test_a_row_is_reached_by_its_mean_or_median_and_beats_its_rival():
    assert outcome([0.85, 0.97]).reached
    assert not outcome([0.5, 0.95, 0.96]).reached
    assert outcome([0.5, 0.95, 0.96], by="median").accuracy == 0.95
    assert outcome([0.5, 0.95, 0.96], by="median").reached
    assert outcome([0.95], rival=(0.94, 0.1)).reached
    assert not outcome([0.95], rival=(0.95, 2.0)).reached
    assert reproduce.Outcome.of(json.loads(json.dumps(outcome([0.95], rival=(0.94, 0.1)).row()))).reached


def test_a_recipe_is_judged_by_its_best_epoch(small):
    X, _ = pictures(60)
    np.savez(small / "small.npz", X=X.reshape(-1, 5, 5), y=np.random.default_rng(0).integers(0, 3, 60))  # all chance
    config = Config.of(recipes.read("d"), {"training.backend": "reference"})
    network, parts, history, _ = reproduce.train(config, {})
    assert history.best < len(history) - 1
    found = network.evaluate(parts.validation.X, parts.validation.y, backend="reference")["loss"]
    assert found == pytest.approx(history["val_loss"][history.best], rel=1e-6)
    assert found != pytest.approx(history["val_loss"][-1], rel=1e-3)


def test_pictures_of_a_and_e(fastnn, small):
    code, out, _ = fastnn("reproduce", "A", "E", "--out", small / "out", "--backend", "reference")
    assert code in (0, 1)
    assert {path.name for path in (small / "out").iterdir()} == {
        *("reproduce.json", "reproduce.md", "architectures.png", "dropout.png")
    }
    report = json.loads((small / "out" / "reproduce.json").read_text())
    assert [(row["units"], len(row["with"])) for row in report["dropout_by_size"]] == [(2, 2), (4, 2)]
    assert [(row["units"], row["learning_rate"]) for row in report["by_rate"][:2]] == [(50, 0.1), (50, 0.4)]
    low, high = sorted(report["by_rate"][1]["accuracies"])
    assert f"by_rate: 50 units, rate 0.4: {(low + high) / 2:.1%} ({low:.1%} to {high:.1%})" in out


def test_faulty_gradients_leave_the_outputs_bias_and_divide_by_all_rows(small):
    config = Config.of(recipes.read("c"), {"training.backend": "reference", "training.epochs": 1})
    parts = reproduce.Parts.of(config)
    network = reproduce.build(config, parts)
    before = [(W.copy(), b.copy()) for W, b in network.parameters()]
    slopes = network.gradients(parts.train.X, parts.train.y, backend="reference")
    reproduce.fit_faulty(network, parts, config)
    after = network.parameters()
    share = len(parts.train) / (len(parts.train) + len(parts.test))
    step = config.optimizer.make().learning_rate * share * slopes[0][0]
    np.testing.assert_allclose(before[0][0] - after[0][0], step, rtol=1e-3, atol=1e-7)
    assert share < 0.9
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
