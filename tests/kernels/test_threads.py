"""How many threads: the cores that may be used, and the work there is."""

import os

import pytest

from fastnn.errors import ConfigError
from fastnn.kernels import threads
from fastnn.layers import Architecture, Dense, Dropout, Input


def net(hidden: int) -> Architecture:
    return Architecture.of([Input(784), Dense(hidden, "relu"), Dense(10, "softmax")])


@pytest.fixture
def cores(monkeypatch):
    """A machine of eight cores without a quota."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(threads, "_quota", lambda: 2**30)
    return monkeypatch


def test_auto_is_bounded_by_affinity(cores):
    assert threads.resolve("auto", net(300), 100) == 8
    cores.setattr(os, "sched_getaffinity", lambda pid: {0, 5})
    assert threads.resolve("auto", net(300), 100) == 2


def test_auto_is_bounded_by_the_environment_and_the_quota(cores):
    cores.setattr(threads, "_quota", lambda: 3)
    assert threads.available() == 3
    cores.setenv("OMP_NUM_THREADS", "2,4")
    assert threads.available() == 2
    cores.setenv("OMP_NUM_THREADS", "nonsense")
    assert threads.available() == 3


def test_auto_gives_little_work_to_one_thread(cores):
    assert threads.resolve("auto", net(8), 1) == 1
    assert threads.resolve("auto", Architecture.of([Input(24), Dense(8, "tanh"), Dense(2, "softmax")]), 50) == 1
    assert threads.resolve("auto", net(30), 100) == 8


def test_units_of_a_dense_first_layer_need_no_samples_and_bound_the_threads(cores):
    assert threads.resolve("auto", net(100), 1) == 1
    assert threads.resolve("auto", net(100), 2) == 3
    assert threads.resolve("auto", net(30), 10) == 2
    assert threads.resolve("auto", net(30), 2) == 1
    assert threads.resolve("auto", net(300), 2) == 8


def test_samples_alone_are_shared_where_nothing_is_trained_or_each_would_take_too_many_inputs(cores):
    assert threads.resolve("auto", net(300), 1) == 4
    assert threads.resolve("auto", net(300), 1, forward=True) == 1
    assert threads.resolve("auto", net(300), 1, density=0.2, forward=True) == 1
    assert threads.resolve("auto", net(300), 256, forward=True) == 8
    dropped = Architecture.of([Input(784), Dropout(0.2), Dense(300, "relu"), Dense(10, "softmax")])
    assert threads.resolve("auto", dropped, 8) == 1
    assert threads.resolve("auto", Architecture.of([Input(100_000), Dense(128), Dense(2)]), 16) == 2


def test_units_of_a_sparse_first_layer_need_less_work_and_bound_the_threads(cores):
    assert threads.resolve("auto", net(30), 10, density=0.2) == 2
    assert threads.resolve("auto", net(30), 4, density=0.2) == 1
    assert threads.resolve("auto", net(80), 10, density=0.2) == 5


SMALL = Architecture.of([Input(24), Dense(8, "tanh"), Dense(2, "softmax")])


@pytest.mark.parametrize(
    ("architecture", "batch", "count"),
    [
        *[(SMALL, 4, 0), (SMALL, 127, 1), (SMALL, 128, 2), (SMALL, 511, 2), (SMALL, 512, 4), (SMALL, 4096, 8)],
        *[(net(300), 256, 0), (net(20), 256, 2)],
    ],
)
def test_few_parameters_have_gradients_for_pieces_of_a_batch(architecture, batch, count):
    assert threads.pieces(architecture, batch) == count


@pytest.mark.parametrize(
    ("layers", "batch", "narrow"),
    [
        ([Dense(8), Dense(2)], 200, True),
        ([Dense(8), Dense(2)], 16, True),
        ([Dense(8), Dense(2)], 3, False),  # a vector of samples would be mostly empty
        ([Dense(16), Dense(16)], 200, False),  # no lane is wasted by units
        ([Dense(17), Dense(2)], 200, False),  # more than a panel
        ([Dense(10)], 127, True),
        ([Dropout(0.5), Dense(8), Dense(2)], 200, False),
        ([Dense(8), Dropout(0.5), Dense(2)], 200, False),
    ],
)
def test_samples_lie_side_by_side_where_that_takes_fewer_vectors(layers, batch, narrow):
    assert threads.is_narrow(Architecture.of([Input(24), *layers]), batch) == narrow


def test_narrow_nets_leave_work_to_threads(cores):
    wide = Architecture.of([Input(3072), Dense(10, "softmax")])
    assert not threads.is_narrow(wide, 100)
    assert threads.resolve("auto", wide, 100) == 8
    assert threads.is_narrow(wide, 1024)
    assert threads.resolve("auto", wide, 1024) == 8


def test_pieces_make_less_work_worth_a_thread_and_bound_the_threads(cores):
    assert threads.resolve("auto", SMALL, 200) == 2
    assert threads.resolve("auto", net(20), 512) == 4
    assert threads.resolve("auto", net(8), 256, density=0.2) == 3


def test_a_number_is_taken_at_its_word(cores):
    assert threads.resolve(5, net(8), 1) == 5


def test_bounds_are_those_that_are_set(cores):
    assert threads.bounds() == {"affinity": 8}
    cores.setattr(threads, "_quota", lambda: 3)
    cores.setenv("OMP_NUM_THREADS", "2")
    assert threads.bounds() == {"affinity": 8, "quota": 3, "OMP_NUM_THREADS": 2}


@pytest.mark.parametrize("bad", [0, -1, 1.5, "many", True, None, 5000])
def test_anything_else_is_refused(bad):
    with pytest.raises(ConfigError, match="threads"):
        threads.resolve(bad, net(8), 1)


@pytest.mark.parametrize(
    ("text", "expected"), [("max 100000", 2**30), ("150000 100000", 2), ("50000 100000", 1), ("nonsense", 2**30)]
)
def test_the_quota_of_a_container(monkeypatch, tmp_path, text, expected):
    (tmp_path / "cpu.max").write_text(text)
    monkeypatch.setattr(threads, "Path", lambda path: tmp_path / path.removeprefix("/sys/fs/cgroup/"))
    assert threads._quota() == expected
