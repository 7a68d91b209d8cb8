"""`fastnn roofline`: a table for each number of threads, and the same as JSON and as a picture."""

import json

import pytest
from numba.core import config

from fastnn import roofline
from fastnn.cli import roofline as command

KERNEL = {"name": "some", "gflops": 50.0, "intensity": 20.0, "roof": 200.0, "bound": "L1", "share": 0.25}


@pytest.fixture(autouse=True)
def measured(monkeypatch):
    """Figures that need no measuring."""
    bandwidths = {"L1": 400.0, "memory": 10.0}
    monkeypatch.setattr(
        roofline,
        "measure",
        lambda threads: {
            "threads": threads,
            "peak": 200.0,
            "tile_peak": 180.0,
            "bandwidths": bandwidths,
            "round_trip": 55.0 if threads > 1 else 0.0,
            "kernels": [KERNEL],
        },
    )
    monkeypatch.setattr(command, "available", lambda: 4)


def test_tables_for_one_thread_and_for_all(fastnn):
    code, out, err = fastnn("roofline")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert "1 thread: 200 GFLOP/s, 180 with the reads of a tile; GB/s: L1 400, memory 10" in lines
    assert "4 threads: 200 GFLOP/s, 180 with the reads of a tile; GB/s: L1 400, memory 10" in lines
    assert lines.count("from core to core and back: 55 ns") == 1
    assert [line.split() for line in lines].count(["some", "50.0", "20.00", "200", "25%", "L1"]) == 2


def test_a_line_fits_in_80_columns(fastnn, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    name = "n" * roofline.LONGEST_NAME
    monkeypatch.setitem(KERNEL, "name", name)
    monkeypatch.setitem(KERNEL, "bound", "multiply-adds")
    assert [line.split()[-1] for line in fastnn("roofline")[1].splitlines() if name in line] == ["multiply-adds"] * 2


@pytest.mark.parametrize(("wanted", "threads"), [(3, 3), ("auto", 4)])
def test_the_threads_that_are_named(fastnn, wanted, threads):
    out = fastnn("roofline", "--threads", wanted)[1]
    assert out.count("; GB/s: ") == 1
    assert out.startswith(f"{threads} threads")


def test_files(fastnn, tmp_path):
    assert fastnn("roofline", "--plot", tmp_path / "a.png", "--json", tmp_path / "a.json")[0] == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert [report["threads"] for report in json.loads((tmp_path / "a.json").read_text())] == [1, 4]


def test_bad_input(refused, monkeypatch):
    assert "--threads" in refused("roofline", "--threads", 0)
    monkeypatch.setattr(config, "DISABLE_JIT", 1)
    assert "NUMBA_DISABLE_JIT" in refused("roofline")
