"""The roofline: what is counted, and which roof is whose. The figures themselves are the machine's."""

import pytest

from fastnn import roofline
from fastnn.kernels import cpu, limits
from fastnn.roofline import Roofs, Row, Shape, Work

TINY = Shape((3, 2, 2), 4)


@pytest.fixture
def machine(monkeypatch):
    """100 GFLOP/s a thread; 400 GB/s out of a first cache of 1 KiB, 10 GB/s out of memory; and whatever is run."""
    ran = []

    def rate(kernel, operands, work):
        ran.append([kernel(*mine, 3) for mine in operands])
        return 50.0

    monkeypatch.setattr(cpu, "cache_sizes", lambda: {1: 1024})
    monkeypatch.setattr(limits, "fma_peak", lambda threads: 100.0 * threads)
    monkeypatch.setattr(limits, "cache_bandwidth", lambda size, threads: 400.0)
    monkeypatch.setattr(limits, "bandwidth", lambda threads: 10.0)
    monkeypatch.setattr(limits, "rate", rate)
    return ran


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (Work(None, [], 2.0, 1.0, 100), (100.0, "multiply-adds", "L1")),
        (Work(None, [], 2.0, 16.0, 100), (50.0, "L1", "L1")),
        (Work(None, [], 2.0, 1.0, 5000), (20.0, "memory", "memory")),
        (Work(None, [], 50.0, 1.0, 5000), (100.0, "multiply-adds", "memory")),
    ],
)
def test_the_lower_roof_counts_and_the_data_lie_in_the_first_cache_that_holds_them(work, expected):
    assert Roofs(100.0, {"L1": 400.0, "memory": 10.0}, {"L1": 1024}).over(work) == expected


def test_threads_share_the_last_cache_alone(machine, monkeypatch):
    monkeypatch.setattr(cpu, "cache_sizes", lambda: {2: 4096, 1: 1024})
    assert roofline.roofs(2).caches == {"L1": 1024, "L2": 2048}
    monkeypatch.setattr(cpu, "cache_sizes", dict)
    assert list(roofline.roofs(1).bandwidths) == ["L1", "L2", "L3", "memory"]


def test_a_row_is_prepared_run_and_judged(machine):
    row = Row("some", "nothing", lambda threads: Work(lambda mine, times: mine * times, [(1,), (2,)], 20.0, 1.0, 2000))
    report = roofline.measure(2, [row])
    assert machine == [[3, 6]]
    assert report == {
        "threads": 2,
        "peak": 200.0,
        "bandwidths": {"L1": 400.0, "memory": 10.0},
        "kernels": [
            {
                "name": "some",
                "limit": "nothing",
                "gflops": 50.0,
                "intensity": 20.0,
                "level": "memory",
                "roof": 200.0,
                "bound": "multiply-adds",
                "share": 0.25,
            }
        ],
    }


def test_the_useful_work_of_a_step():
    """Without the padding of each row to whole vectors."""
    train, predict = roofline._train(TINY, 1), roofline._predict(TINY, 1)
    forward, deltas, update = 4 * (3 * 2 + 2 * 2), 4 * 2 * 2, 3 * 2 + 2 * 2
    assert predict.flops == roofline.BATCHES * 2 * forward
    assert train.flops == roofline.BATCHES * 2 * (2 * forward + deltas + update)
    weights, inputs, units = 4 * 10, 4 * 4 * 3, 4 * 4 * (2 + 2)
    assert predict.bytes == roofline.BATCHES * (weights + inputs + 2 * units)
    assert train.bytes == roofline.BATCHES * (4 * weights - 4 * 6 + 2 * inputs + 4 * units)


def test_of_sparse_inputs_only_the_values_count():
    shape = Shape((50, 4, 2), 10, 0.2)
    job, load = roofline._network(shape, 1)
    values = (job.examples.X != 0).sum() / roofline.BATCHES
    assert load.values == values == pytest.approx(0.2 * 500, rel=0.2)
    assert load.forward == values * 4 + 10 * 4 * 2
    assert "20% of inputs" in str(shape)


@pytest.mark.parametrize("prepare", [roofline._train, roofline._predict])
def test_whole_steps_run(prepare):
    work = prepare(TINY, 1)
    for mine in work.operands:
        work.kernel(*mine, 2)


def test_training_is_done(monkeypatch):
    job, load = roofline._network(TINY, 1)
    monkeypatch.setattr(roofline, "_network", lambda shape, threads: (job, load))
    before = job.parameters.copy()
    roofline._train(TINY, 1).kernel(1)
    assert (job.parameters != before).any()


def test_every_row_has_a_name_of_its_own():
    assert len({row.name for row in roofline.ROWS}) == len(roofline.ROWS)
