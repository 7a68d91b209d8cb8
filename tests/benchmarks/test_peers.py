"""The contest with the peers: its rows, its arithmetic, its judge, and all contestants on a small row."""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.peers import contest, report, work
from benchmarks.peers.contest import ROOT, ContestantError, compared, strays
from benchmarks.peers.contestants import CONTESTANTS, EXACT, refusal
from benchmarks.peers.rows import ROWS, Row, Task

SMALL = Row("small", (12, 7, 5, 3), "tanh", 32, samples=150, rate=0.1)  # the last batch has 22 rows
INSTALLED = [name for name, one in CONTESTANTS.items() if not one.missing]
CPUS = sorted(os.sched_getaffinity(0))[:1] if hasattr(os, "sched_getaffinity") else [0]


def loss_after(task, contestant):
    net = contestant.net(task, 1)
    net.epoch()
    return work.mean_loss(task, net.parameters())


# ---------------------------------------------------------------- rows and work


def test_the_rows_are_named_by_their_names_and_their_nets_can_be_trained_by_all():
    assert all(name == row.name for name, row in ROWS.items())
    assert {row.activation for row in ROWS.values()} <= work.HIDDEN.keys()
    assert all(row.sizes[0] == 784 for row in ROWS.values() if not row.samples)
    assert ROWS["mnist-deep"].net == "784-256-128-64-10 relu, batch 100"
    assert [name for name in CONTESTANTS if refusal(name, ROWS["tiny"])] == ["scikit-learn"]


def test_a_task_is_the_same_each_time_and_its_batches_cover_it():
    one, two = Task(SMALL), Task(SMALL)
    assert np.array_equal(one.raw, two.raw)
    assert all(np.array_equal(W, V) for (W, _), (V, _) in zip(one.weights(), two.weights(), strict=True))
    assert [rows.stop - rows.start for rows in one.batches()] == [32, 32, 32, 32, 22]
    assert np.array_equal(one.one_hot().argmax(axis=1), one.labels)
    assert one.inputs().dtype == np.float32


def test_useful_work_by_hand():
    """3-4-2, 5 samples with 7 inputs that are not zero.

    First layer: 7 x 4 multiply-adds forward, as many for the gradient. Second: 5 x 4 x 2 forward, for the gradient,
    and for the delta below. Two operations each.
    """
    assert work.useful_flops((3, 4, 2), 5, 7) == 2 * (28 + 28 + 3 * 40)


def test_the_judge_by_hand():
    task = Task(replace(SMALL, sizes=(12, 3)))
    layers = [(np.zeros((12, 3)), np.log([1.0, 2.0, 5.0]))]
    shares = np.array([1, 2, 5]) / 8
    assert work.mean_loss(task, layers) == pytest.approx(-np.log(shares[task.labels]).mean(), rel=1e-14)


# ---------------------------------------------------------------- contestants


@pytest.mark.parametrize("activation", work.HIDDEN)
def test_numpy_does_what_the_reference_does(activation):
    task = Task(replace(SMALL, activation=activation))
    nets = [CONTESTANTS[name].net(task, 1) for name in ("numpy", "fastnn-reference")]
    for _ in range(2):  # a second epoch shows that the first has left no traces in what is used again
        for net in nets:
            net.epoch()
        for layers in zip(*(net.parameters() for net in nets), strict=True):
            for one, other in zip(*layers, strict=True):
                assert np.allclose(one, other, rtol=1e-5, atol=1e-6)
    nets[0].reset()
    assert all(np.array_equal(W, V) for (W, _), (V, _) in zip(nets[0].parameters(), task.weights(), strict=True))


@pytest.mark.parametrize("change", [{"rate": 0.105}, {"batch": 33}, {"activation": "sigmoid"}])
def test_other_work_is_told_from_rounding(change):
    task = Task(SMALL)
    bound = work.tolerance(SMALL, 150, work.mean_loss(task, task.weights()))
    right = loss_after(task, EXACT)
    assert abs(loss_after(task, CONTESTANTS["numpy"]) - right) <= bound
    assert abs(loss_after(Task(replace(SMALL, **change)), CONTESTANTS["numpy"]) - right) > bound


@pytest.fixture(scope="module")
def result():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contest, "PAUSE", 0)
        return contest.contest(SMALL, INSTALLED, CPUS, 2)


def test_all_that_are_installed_do_the_same_work(result):
    assert result["contestants"].keys() == set(INSTALLED)
    assert strays(result) == []
    assert result["loss_float64"] < 0.99 * result["loss_before"]  # an epoch teaches something


def test_the_form_of_the_figures(result):
    row = json.loads(json.dumps(result))
    assert row["row"] == "small"
    for mine in row["contestants"].values():
        assert mine["min_s"] <= mine["median_s"] <= mine["max_s"]
        assert {"loss", "gflops", "first_s", "prepare_s", "idle_cpu_s"} <= mine.keys()
        assert mine["flops"] == row["flops"] == work.useful_flops(SMALL.sizes, 150, 150 * 12)
    best = row["contestants"][row["best_peer"]]["median_s"]
    assert row["ratio_to_best_peer"] == best / row["contestants"]["fastnn-fused"]["median_s"]


def test_it_is_shown(result, tmp_path):
    machine = {"cpu": "some", "threads": 1, "rounds": 2, "fma_peak_gflops": 1.0, "system": "", "python": "3"}
    machine["versions"] = {"numpy": "2"}
    assert report.table(result, machine).row_count == len(INSTALLED)
    pytest.importorskip("matplotlib")
    from benchmarks.peers import chart

    assert [chart.two_digits(value) for value in (0.0801, 0.374, 2.04, 13.2)] == ["0.080", "0.37", "2.0", "13"]
    chart.draw({"machine": machine, "rows": [result] * 4}, tmp_path / "peers.png")
    assert (tmp_path / "peers.png").read_bytes().startswith(b"\x89PNG")


# ---------------------------------------------------------------- what is made of the figures


def test_the_best_peer_is_the_fastest_that_is_not_fastnn():
    medians = {"fastnn-fused": 0.5, "fastnn-reference": 0.1, "numpy": 3.0, "jax": 1.0}
    found = {name: {"median_s": median} for name, median in medians.items()}
    assert compared(found) == {"best_peer": "jax", "ratio_to_best_peer": 2.0}
    del found["fastnn-fused"]
    assert compared(found) == {"best_peer": "jax", "ratio_to_best_peer": None}


def test_a_loss_that_is_off_or_nan_is_a_stray():
    losses = {"numpy": 1e-6, "jax": -2e-3, "pytorch": math.nan}
    result = {"loss_tolerance": 1e-4, "contestants": {n: {"loss_difference": x} for n, x in losses.items()}}
    assert strays(result) == ["jax", "pytorch"]


def test_a_contestant_that_breaks_down_is_named(capfd):
    with pytest.raises(ContestantError, match="numpy ended in row small with exit code 1"):
        contest.contest(replace(SMALL, activation="cubic"), ["numpy"], CPUS, 1)
    assert "KeyError" in capfd.readouterr().err


def test_a_contestant_is_pinned_before_numpy_is_there():
    code = "import sys, benchmarks.peers.child; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize(
    ("words", "name"), [([], "STORE"), (["--rows", "tiny"], "PART"), (["--contestants", "numpy"], "PART")]
)
def test_a_part_of_the_contest_does_not_take_the_place_of_a_whole_one(words, name, monkeypatch, tmp_path):
    from benchmarks.peers import __main__ as command

    for place in ("STORE", "PART"):
        monkeypatch.setattr(command, place, tmp_path / place / "x.json")
    monkeypatch.setattr(command, "contest", lambda row, *others: {"row": row.name, "contestants": {}})
    monkeypatch.setattr(command.machine, "describe", lambda threads: {})
    monkeypatch.setattr(command.report, "table", lambda *others: "")
    monkeypatch.setattr(command, "strays", lambda result: [])
    monkeypatch.setattr(command.chart, "draw", lambda found, path: None)
    assert command.main(words) == 0
    assert [path.name for path in tmp_path.iterdir()] == [name]
    rows = json.loads((tmp_path / name / "x.json").read_text())["rows"]
    assert [row["row"] for row in rows] == (["tiny"] if "tiny" in words else list(ROWS))


@pytest.mark.parametrize(
    "words", [["--rows", "mnist"], ["--contestants", "keras"], ["--rounds", "0"], ["--threads", "0"]]
)
def test_bad_options_are_refused_in_a_line(words, capsys):
    from benchmarks.peers.__main__ import main

    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
