"""``fastnn tune`` and ``--hidden auto``."""

import json
import subprocess
import sys

import pytest

from fastnn import search
from fastnn.cli import tune
from fastnn.config import Config, read_toml
from fastnn.search import open_study

SMALL = ("--backend", "reference", "--epochs", 3, "--batch-size", 16, "--validation", 0.3)


def test_the_winner_can_be_trained(fastnn, table, tmp_path):
    out = tmp_path / "tuned"
    code, words, err = fastnn("tune", "--data", table, *SMALL, "--trials", 4, "--search", "dropout", "--out", out)
    assert (code, err) == (0, "")
    assert words.count("trial ") == 5
    assert {path.name for path in out.iterdir()} == {"best.toml", "trials.json", "sizes.png", "study.db"}
    report = json.loads((out / "trials.json").read_text())
    assert len(report["trials"]) == 4
    config = Config.of(read_toml(out / "best.toml"))
    assert list(config.network.hidden) == report["winner"]["hidden"]
    assert config.training.epochs == 3
    assert fastnn("train", "--config", out / "best.toml", "--out", tmp_path / "run")[0] == 0


def test_two_processes_share_a_study(table, tmp_path):
    words = [sys.executable, "-m", "fastnn", "tune", "--data", table, *SMALL, "--trials", 6,
             "--storage", f"sqlite:///{tmp_path / 'study.db'}", "--out"]  # fmt: skip
    both = [subprocess.Popen([str(word) for word in (*words, tmp_path / name)], stdout=subprocess.PIPE, text=True)
            for name in ("one", "two")]  # fmt: skip
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    trials = sum(line.startswith("trial ") for text in said for line in text.splitlines())
    assert 6 <= trials <= 7  # the other may have begun one more when the last of six ended
    found = [json.loads((tmp_path / name / "trials.json").read_text())["trials"] for name in ("one", "two")]
    assert max(map(len, found)) == trials
    units = [trial["hidden"][0] for trial in max(found, key=len)]
    assert len(set(units)) > trials - 2, "the processes draw different numbers"


def test_trials_that_run_elsewhere_are_told(fastnn, table, tmp_path):
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    words = ("tune", "--data", table, *SMALL, "--trials", 2, "--storage", storage, "--out", tmp_path / "tuned")
    assert "another process" not in fastnn(*words)[1]
    study = open_study(storage, "fastnn", 0)
    trial = study.ask()
    code, said, _ = fastnn(*words)
    assert code == 0
    assert "that another process still trains, or that were cut off: 1; they have no say yet, the same command" in said
    study.tell(trial, 0.5)
    assert "another process" not in fastnn(*words)[1]


@pytest.fixture
def cut(monkeypatch):
    """Ctrl-C in the third trial that is trained."""
    trained, fit = [], search.fit

    def interrupted(*arguments):
        trained.append(1)
        if len(trained) == 3:
            raise KeyboardInterrupt
        return fit(*arguments)

    monkeypatch.setattr(search, "fit", interrupted)


def test_an_interrupted_search_goes_on(fastnn, table, tmp_path, cut):
    words = ("tune", "--data", table, *SMALL, "--trials", 4, "--out", tmp_path / "tuned")
    code, said, err = fastnn(*words)
    assert (code, said.count("trial "), err) == (130, 2, "fastnn: interrupted; the same command goes on\n")
    code, said, _ = fastnn(*words)
    assert (code, said.count("trial ")) == (0, 3)  # two more, and the winner
    assert f"2 trials of these settings are in sqlite:///{tmp_path / 'tuned' / 'study.db'}; going on" in said
    code, said, _ = fastnn(*words)
    assert (code, said.count("trial ")) == (0, 1)
    assert "none of the 4 asked for is left to try" in said


def test_the_seed_decides_what_is_tried(fastnn, table, tmp_path):
    for name, seed in (("one", 0), ("same", 0), ("other", 5)):
        words = ("--trials", 2, "--seed", seed, "--out", tmp_path / name)
        assert fastnn("tune", "--data", table, *SMALL, *words)[0] == 0
    one, same, other = (
        [trial["hidden"] for trial in json.loads((tmp_path / name / "trials.json").read_text())["trials"]]
        for name in ("one", "same", "other")
    )
    assert one == same != other


def test_an_interrupted_search_before_training_goes_on(train, tmp_path, monkeypatch, cut):
    monkeypatch.setattr(tune, "AUTO_TRIALS", 3)
    code, _, err = train("--hidden", "auto")
    assert code == 130
    assert err == f"fastnn: interrupted; the same command with --out {tmp_path / 'run'} goes on\n"
    code, said, _ = train("--hidden", "auto")
    assert code == 0
    assert "2 trials of these settings are in" in said
    assert said.count("trial ") == 1
    code, said, err = train("--hidden", "auto")
    assert code == 2, "it is refused before it is searched again"
    assert "holds a run already" in err
    assert "searching" not in said


def test_a_search_that_cannot_begin_leaves_nothing(train, tmp_path):
    assert "needs a validation set" in train("--hidden", "auto", "--validation", 0)[2]
    assert not (tmp_path / "run").exists()


def test_a_study_of_something_else_is_refused(fastnn, table, tmp_path):
    words = ["tune", "--data", table, *SMALL, "--trials", 1, "--storage", f"sqlite:///{tmp_path / 'study.db'}"]
    assert fastnn(*words, "--out", tmp_path / "one")[0] == 0
    for more, name in ((("--activation", "tanh"), "network.activation"), (("--search", "dropout"), "network.dropout")):
        code, _, err = fastnn(*words, *more, "--out", tmp_path / "two")
        assert code == 2
        assert f"was begun with {name} = " in err
        assert err.count("\n") == 1
    code, said, _ = fastnn(*words, "--trials", 2, "--out", tmp_path / "three")
    assert code == 0
    assert said.count("trial ") == 2  # one more, and the winner


def test_auto_is_what_is_searched(fastnn, table, tmp_path):
    out = tmp_path / "tuned"
    assert fastnn("tune", "--data", table, *SMALL, "--trials", 1, "--hidden", "auto", "--out", out)[0] == 0
    assert len(json.loads((out / "trials.json").read_text())["winner"]["hidden"]) == 1


def test_a_trial_that_diverges_is_none_in_the_report(fastnn, table, tmp_path):
    words = ["--trials", 3, "--optimizer", "sgd", "--learning-rate", 1e30, "--search", "learning_rate"]
    code, said, err = fastnn("tune", "--data", table, *SMALL, *words, "--out", tmp_path)
    assert code == 2
    assert "diverged" in said
    assert "no trial was completed" in err


def test_hidden_auto_is_searched_first(train, tmp_path, monkeypatch):
    monkeypatch.setattr(tune, "AUTO_TRIALS", 2)
    code, out, _ = train("--hidden", "auto")
    assert code == 0
    assert "searching the hidden units, 2 trials:" in out
    (chosen,) = (line.removeprefix("chosen: ") for line in out.splitlines() if line.startswith("chosen: "))
    assert read_toml(tmp_path / "run" / "config.toml")["network.hidden"] == (int(chosen),)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--trials", 0], "--trials must be at least 1"),
        (["--search", "droput"], "did you mean dropout?"),
        (["--validation", 0], "needs a validation set"),
    ],
)
def test_bad_input(refused, table, tmp_path, words, message):
    assert message in refused("tune", "--data", table, *SMALL, "--out", tmp_path / "tuned", *words)


def test_gradcheck_does_not_search(refused, table):
    assert "network.hidden is auto" in refused("gradcheck", "--data", table, "--hidden", "auto")


def test_a_study_is_kept_in_a_folder_of_any_name(fastnn, table, tmp_path):
    folder = tmp_path / "wh?at a%20b#c"
    words = ("tune", "--data", table, "--trials", "1", "--epochs", "1", "--backend", "reference", "--out", folder)
    assert fastnn(*words)[0] == 0
    assert (folder / "study.db").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"table.csv", folder.name}
    assert "none of the 1 asked for is left" in fastnn(*words)[1]
