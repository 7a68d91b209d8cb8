"""The search: the cheaper of two equally good networks wins, the test rows are never looked at, a study goes on."""

from dataclasses import replace

import numpy as np
import pytest

from fastnn import search as module
from fastnn.callbacks import History
from fastnn.config import Config
from fastnn.errors import ConfigError
from fastnn.runs import Parts
from fastnn.search import SPACE, Row, cost, open_study, rows, search, winner
from tests.samples import blobs


@pytest.fixture
def config(tmp_path):
    X, y = blobs(90)
    np.savez(tmp_path / "blobs.npz", X=X, y=y)
    return Config.of({"data.source": str(tmp_path / "blobs.npz"), "training.backend": "reference",
                      "training.epochs": 7, "training.batch_size": 16, "data.validation": 0.3})  # fmt: skip


def run(config, study, asked=(), trials=6):
    said = []
    search(study, config, Parts.of(config), asked, trials, said.append)
    return said


def row(number, value, multiply_adds, state="complete"):
    return Row(number, state, (3,), value, multiply_adds, 1.0, {})


def test_of_two_equally_good_networks_the_cheaper_wins():
    found = [row(0, 0.980, 5000), row(1, 0.981, 900), row(2, 0.9815, 8000), row(3, 0.9, 10), row(4, 0.99, 1, "pruned")]
    assert winner(found, 10_000, classes=True).number == 1  # the standard error is 0.00135
    assert winner(found, 10_000_000, classes=True).number == 2
    assert winner(found, 10, classes=True).number == 1
    losses = [row(0, -1.0, 500), row(1, -1.005, 100), row(2, -1.02, 1)]
    assert winner(losses, 100, classes=False).number == 1


def test_equal_costs_are_decided_by_what_is_better():
    assert winner([row(0, 0.980, 9), row(1, 0.981, 9)], 100, classes=True).number == 1


def test_without_a_complete_trial_there_is_no_winner():
    with pytest.raises(ConfigError, match="no trial was completed"):
        winner([row(0, 0.9, 1, "pruned")], 100, classes=True)


def test_the_cost_of_a_network():
    assert cost([784, 30, 10]) == 784 * 30 + 300


def test_each_trial_is_said_and_kept(config):
    study = open_study(None, "a", 0)
    said = run(config, study)
    assert rows(study) == said
    assert [one.number for one in said] == list(range(6))
    assert all(len(one.hidden) >= 1 and 8 <= one.hidden[0] <= 1024 for one in said)
    assert all(one.cost == cost([4, *one.hidden, 3]) for one in said)
    assert {one.state for one in said} <= {"complete", "pruned"}
    best = winner(said, 20, classes=True)
    assert Config.of(config.values(), best.settings).network.hidden == best.hidden


@pytest.mark.parametrize("name", [name for name in SPACE if name != "hidden"])
def test_more_can_be_searched(config, name):
    leaf = {"depth": "network.hidden", "learning_rate": "optimizer.learning_rate",
            "batch_size": "training.batch_size", "dropout": "network.dropout"}[name]  # fmt: skip
    said = run(config, open_study(None, "a", 1), (name,), 5)
    assert len({str(one.settings.get(leaf)) for one in said}) > 1


def test_the_seed_decides_what_is_tried(config):
    one, same, other = (run(config, open_study(None, "a", seed), trials=3) for seed in (0, 0, 5))
    assert [row.hidden for row in one] == [row.hidden for row in same] != [row.hidden for row in other]


def test_a_study_goes_on_where_it_stopped_and_is_shared(config, tmp_path):
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    assert len(run(config, open_study(storage, "a", 0), trials=3)) == 3
    assert len(run(config, open_study(storage, "a", 0), trials=5)) == 2
    assert run(config, open_study(storage, "a", 0), trials=5) == []
    assert len(rows(open_study(storage, "a", 0))) == 5
    assert rows(open_study(storage, "b", 0)) == []


def test_the_test_rows_are_never_looked_at(config, monkeypatch):
    parts = Parts.of(config)
    spoilt = replace(parts, test=parts.test.take(slice(0, 0)))
    said = []
    search(open_study(None, "a", 0), config, spoilt, (), 3, said.append)
    assert [one.value for one in said] == [one.value for one in run(config, open_study(None, "a", 0), trials=3)]


def test_trials_that_lag_behind_are_ended_early(config, monkeypatch):
    """Judged after 2 and after 6 of 7 epochs; of so few trials the best so far goes on."""
    planned = [[0.9] * 7, [0.5] * 7, [0.6] * 7, [0.95] * 7, [0.96] * 5 + [0.1] * 2]
    had = []

    def fit(settings, network, parts, callbacks):
        accuracies, history = planned[len(had)], History()
        had.append(history)
        for epoch, accuracy in enumerate(accuracies, start=1):
            history.records.append({"epoch": epoch, "val_accuracy": accuracy, "val_loss": 1.0})
            for callback in callbacks:
                callback.on_epoch_end(None, history.records[-1])
        return history

    monkeypatch.setattr(module, "fit", fit)
    said = run(config, open_study(None, "a", 0), trials=len(planned))
    assert [len(history) for history in had] == [7, 2, 2, 7, 6]
    assert [one.state for one in said] == ["complete", "pruned", "pruned", "complete", "pruned"]


def test_a_trial_that_diverges_is_pruned(config):
    wild = Config.of(config.values(), {"optimizer.name": "sgd", "optimizer.learning_rate": 1e30})
    assert {one.state for one in run(wild, open_study(None, "a", 0), trials=2)} == {"pruned"}


def test_a_validation_set_is_needed(config):
    with pytest.raises(ConfigError, match="needs a validation set"):
        run(Config.of(config.values(), {"data.validation": 0.0}), open_study(None, "a", 0))


def test_a_storage_that_cannot_be_opened(monkeypatch):
    monkeypatch.setattr(module, "sleep", lambda seconds: None)
    with pytest.raises(ConfigError, match="cannot open the study 'a' in nonsense://x"):
        open_study("nonsense://x", "a", 0)


def test_a_trial_keeps_all_that_was_searched_whatever_the_start(config):
    study = open_study(None, "test", 0)
    run(config, study, asked=("batch_size",), trials=4)
    for trial in rows(study):
        assert {"network.hidden", "training.batch_size"} <= set(trial.settings)
        assert tuple(trial.settings["network.hidden"]) == trial.hidden
