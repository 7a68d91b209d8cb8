import json
import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import scaling
from benchmarks.epochs import LEAST, Training, in_turn
from benchmarks.growth import __main__ as command
from benchmarks.growth import axes, chart, measure, memory
from fastnn.data import load
from tests.samples import blobs

CASES = [(axis, line) for axis, found in axes.AXES.items() for line in found.cases]


# ---------------------------------------------------------------- the table of axes


def test_all_that_grows_is_there():
    assert set(axes.AXES) == {"samples", "width", "depth", "batch", "threads"}
    reached = {name: (axis.values[0], axis.values[-1]) for name, axis in axes.AXES.items() if name != "threads"}
    assert reached == {"samples": (6_000, 600_000), "width": (16, 4096), "depth": (1, 8), "batch": (1, 4096)}


@pytest.mark.parametrize("axis", axes.AXES.values(), ids=axes.AXES)
def test_an_axis_ascends_and_its_chosen_points_lie_on_it(axis):
    assert list(axis.values) == sorted(set(axis.values))
    assert axis.standard in axis.values
    assert set(axis.few) <= set(axis.values)


@pytest.mark.parametrize(("axis", "line"), CASES)
def test_the_value_is_what_grows_and_nothing_else_does(axis, line):
    def sizes(case):
        return {
            "samples": case.samples,
            "width": case.sizes[1],
            "depth": len(case.sizes) - 2,
            "batch": case.batch,
            "threads": case.threads,
        }

    found = axes.AXES[axis]
    grown = [sizes(found.cases[line](value)) for value in found.values]
    assert [sizes.pop(axis) for sizes in grown] == list(found.values)
    if axis not in ("width", "depth"):
        assert all(sizes == grown[0] for sizes in grown)
    assert {found.cases[line](value).rows for value in found.values} <= set(axes.ROWS)


def test_images_are_repeated():
    X, y = axes.mnist_rows(60_002, 784, 10)
    train, _ = load("mnist")
    assert (X.shape, X.dtype) == ((60_002, 784), np.uint8)
    np.testing.assert_array_equal(X[60_000:], train.X[:2])
    np.testing.assert_array_equal(y[:60_000], train.y)
    np.testing.assert_array_equal(y[60_000:], train.y[:2])


def test_the_work_is_shared_by_the_threads(monkeypatch):
    case = axes.Case((4, 3, 2), batch=5, samples=6, threads=1, rows="ones")
    monkeypatch.setitem(axes.ROWS, "ones", lambda samples, inputs, classes: (np.ones((samples, inputs)), None))
    assert case.work() == 2 * 6 * (2 * 4 * 3 + 3 * 3 * 2)
    assert replace(case, threads=2).work() == case.work() / 2


# ---------------------------------------------------------------- slopes, and what is off theory


def test_the_slope_of_a_straight_line():
    assert measure.slope([1, 2, 5], [3, 5, 11]) == pytest.approx(2)
    assert measure.slope([0, 1, 2], [0, 1, 1]) == pytest.approx(0.5)
    assert measure.slope([4], [7]) is None


def line(*seconds: float, works=(1, 2, 4)):
    points = [
        {"value": 10 * work, "fastest": taken, "median": taken} for work, taken in zip(works, seconds, strict=True)
    ]
    return measure.against_theory("a net", points, works, standard=1)


def test_theory_goes_through_the_standard_point():
    found = line(0.2, 0.4, 0.8 * 1.3)
    assert [point["theory"] for point in found["points"]] == pytest.approx([0.2, 0.4, 0.8])
    assert [point["ratio"] for point in found["points"]] == pytest.approx([1, 1, 1.3])
    assert [measure.bent(point) for point in found["points"]] == [False, False, True]


def test_the_exponent_of_a_power():
    assert line(1, 4, 16)["exponent"] == pytest.approx(2)
    assert line(1, 1 / math.sqrt(2), 0.5)["exponent"] == pytest.approx(-0.5)


def test_bends_are_named_on_both_sides():
    found = {"title": "Width", "lines": [line(0.1, 0.4, 0.8), line(0.2, 0.4, 1.2)]}
    assert measure.bends(found) == ["width 10 (a net): 0.50 of theory", "width 40 (a net): 1.50 of theory"]


# ---------------------------------------------------------------- memory


def peaks(*by_samples: tuple[int, int]):
    points = [{"value": samples, "raw": samples * memory.INPUTS, "peak": peak} for samples, peak in by_samples]
    return memory.line_of("a fit", points)


def test_the_slope_of_memory_is_bytes_for_each_raw_byte():
    assert peaks((10, 5000), (20, 5000 + 784 * 15))["slope"] == pytest.approx(1.5)


def test_more_than_promised_is_said():
    lines = [peaks((10, 0), (20, 784 * 10)), peaks((10, 0), (20, 784 * 14))]
    assert memory.excesses({"command": 2**20, "compiling": 2**20, "lines": lines}) == [
        "memory of a fit: 1.40 bytes for each raw byte, more than 1.3"
    ]
    for which in ("command", "compiling"):
        found = {"command": 2**20, "compiling": 2**20, "lines": []} | {which: 400 * 2**20}
        assert "400 MiB, more than 350" in memory.excesses(found)[0]


def test_files_of_images_repeated_are_read_back(tmp_path):
    memory.write_idx(tmp_path, 60_001)
    train, test = load(str(tmp_path))
    whole, _ = load("mnist")
    assert (len(train), len(test)) == (60_001, 1000)
    np.testing.assert_array_equal(train.X[-1], whole.X[0])
    np.testing.assert_array_equal(train.y[:60_000], whole.y)


def test_the_peak_is_that_of_the_command():
    allocate = "import numpy; numpy.ones({} * 2**17)"  # MiB
    small, large = (memory.peak(["-c", allocate.format(size)]) for size in (1, 65))
    assert 60 * 2**20 < large - small < 68 * 2**20


def test_a_command_that_fails_is_an_error():
    with pytest.raises(memory.ChildError, match="exit code 3"):
        memory.peak(["-c", "raise SystemExit(3)"])


# ---------------------------------------------------------------- measuring


def trainings(backend: str = "reference") -> list[Training]:
    X, y = blobs()
    return [
        Training((4, 3, 3), "relu", X, y, scale=1.0, batch=batch, rate=0.1, threads=1, backend=backend)
        for batch in (10, 30)
    ]


def test_epochs_are_trained_in_turn_and_the_first_is_not_counted(monkeypatch):
    monkeypatch.setattr("benchmarks.epochs.SPENT", 0)
    monkeypatch.setattr("benchmarks.epochs.ENOUGH", 0)
    both = trainings()
    taken = in_turn(both)
    assert [len(mine) for mine in taken] == [LEAST, LEAST]
    for mine, training in zip(taken, both, strict=True):
        assert training.fit.history["seconds"][1:] == mine
        assert training.fit.network.epochs == 1 + LEAST


def test_short_epochs_are_repeated(monkeypatch):
    monkeypatch.setattr("benchmarks.epochs.MOST", 4)
    assert len(trainings()[0].round()) == 4


def measured(monkeypatch):
    """What the command stores, of a small axis and of memory that was not measured."""
    kind = axes.Case((4, 3, 2), batch=5, samples=20, threads=1, rows="dense")
    axis = replace(
        axes.AXES["batch"], values=(5, 10), standard=5, cases={"dense": lambda batch: replace(kind, batch=batch)}
    )
    monkeypatch.setattr("benchmarks.epochs.MOST", 2)
    monkeypatch.setattr(command, "AXES", {"batch": axis, "threads": replace(axis, title="Threads", logarithmic=False)})
    monkeypatch.setattr(
        memory, "measure", lambda tell: {"command": 1, "compiling": 2, "lines": [peaks((10, 5000), (20, 12840))]}
    )


def test_the_command_measures_shows_stores_and_draws(monkeypatch, tmp_path, capsys):
    measured(monkeypatch)
    store = tmp_path / "new" / "growth.json"
    assert command.main(["--json", str(store)]) == 0
    found = json.loads(store.read_text())
    assert set(found) == {"machine", "memory", "axes"}
    assert {"cpu", "threads", "load", "versions"} == set(found["machine"])
    (dense,) = found["axes"]["batch"]["lines"]
    assert [point["value"] for point in dense["points"]] == [5, 10]
    assert set(dense["points"][0]) == {"value", "median", "fastest", "slowest", "epochs", "theory", "ratio"}
    assert store.with_suffix(".png").read_bytes()[:4] == b"\x89PNG"
    printed = capsys.readouterr().out
    assert "Batch" in printed
    assert "1.00" in printed


def test_what_is_stored_can_be_drawn_again(monkeypatch, tmp_path, capsys):
    measured(monkeypatch)
    store = tmp_path / "growth.json"
    command.main(["--json", str(store)])
    first, before = capsys.readouterr().out, store.read_bytes()
    monkeypatch.setattr(command, "measured", None)
    store.with_suffix(".png").unlink()
    assert command.main(["--json", str(store), "--draw"]) == 0
    assert capsys.readouterr().out == first
    assert store.read_bytes() == before
    assert store.with_suffix(".png").exists()


def test_nothing_stored_is_bad_input(tmp_path, capsys):
    (tmp_path / "other.json").write_text("{")
    for name in ("missing.json", "other.json"):
        assert command.main(["--json", str(tmp_path / name), "--draw"]) == 2
        assert name in capsys.readouterr().err


def test_counts_in_few_signs():
    assert [chart._count(value) for value in (16, 4096, 20_000, 600_000)] == ["16", "4096", "20k", "600k"]


def test_what_asv_watches_lies_on_the_axes():
    for axis in axes.AXES.values():
        watched = getattr(scaling, axis.title)
        assert watched.axis is axis
        assert watched.params == (list(axis.cases), list(axis.few))
