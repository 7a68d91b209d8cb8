"""The roofline: what is counted, and which roof is whose. The figures themselves are the machine's."""

import ctypes

import numpy as np
import pytest

from fastnn import roofline
from fastnn.kernels import cores, cpu, limits, plan, probes
from fastnn.kernels.cost import scatter_pays
from fastnn.kernels.plan import AT_DELTAS, AT_INPUTS, AT_OUTPUTS, SUMS, TILE, prepare
from fastnn.kernels.simd import PANELS_AT_ONCE, WIDTH
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
    monkeypatch.setattr(limits, "tile_peak", lambda threads: 90.0 * threads)
    monkeypatch.setattr(limits, "cache_bandwidth", lambda size, threads: 400.0)
    monkeypatch.setattr(limits, "bandwidth", lambda threads: 10.0)
    monkeypatch.setattr(cores, "round_trip", lambda: 55.0)
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
        "tile_peak": 180.0,
        "bandwidths": {"L1": 400.0, "memory": 10.0},
        "round_trip": 55.0,
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
    assert str(shape) == "50-4-2, B 10, 20%"


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


# ---------------------------------------------------------------- kernels of one layer

LAYER = Shape((35, 20), 150)  # more samples than a block, and neither inputs nor outputs whole panels


@pytest.fixture
def whole_batch(monkeypatch):
    """No pieces, as in the layers of the table, which are larger: then a step leaves all samples."""
    monkeypatch.setattr(plan, "pieces_of", lambda *_: 0)


def memory(address: int, size: int) -> np.ndarray:
    """The floats at an address, to be read and written."""
    return np.ctypeslib.as_array((ctypes.c_float * size).from_address(address))


def panels(job, layer, place, width):
    """A layer's inputs or deltas (B, width), copied, and the memory that they stand in."""
    found = prepare(job, job.batch_size, False)
    jump = 16 * (job.batch_size | 1)
    held = memory(int(found.kept[0][layer, place]), -(-width // 16) * jump)
    rows = held.reshape(-1, jump)[:, : 16 * job.batch_size].reshape(-1, job.batch_size, 16)
    return rows.transpose(1, 0, 2).reshape(job.batch_size, -1)[:, :width].copy(), held


def weights(job, layer):
    """W of a layer, and b."""
    net = job.architecture
    inputs, outputs, stride = net.widths[layer], net.widths[layer + 1], net.strides[layer]
    start = net.weight_offsets[layer]
    rows = job.parameters[start : start + (inputs + 1) * stride].reshape(-1, stride)[:, :outputs]
    return rows[:-1], rows[-1]


@pytest.mark.usefixtures("whole_batch")
def test_forward_forms_all_of_z():
    work = roofline._dense("forward", LAYER, 2)
    assert work.flops == 2 * 2 * 150 * 35 * 20
    assert work.resident * 2 == work.bytes == 2 * 4 * (35 * 20 + 150 * 35 + 150 * 20)
    for job, mine in zip(work.kept, work.operands, strict=True):
        a = panels(job, 1, AT_INPUTS, 35)[0]
        assert a.all()
        words = prepare(job, 150, False).words
        z = memory(int(words[AT_OUTPUTS]), 2 * 16 * 151)
        z[:] = 0
        work.kernel(*mine, 2)
        found = z.reshape(2, -1)[:, : 16 * 150].reshape(2, 150, 16).transpose(1, 0, 2).reshape(150, -1)[:, :20]
        W, b = weights(job, 1)
        np.testing.assert_allclose(found, a @ W + b, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("whole_batch")
def test_the_way_back_forms_all_deltas_below():
    work = roofline._dense("backward", LAYER, 1)
    assert work.flops == 2 * 150 * 35 * 20
    assert work.bytes == 4 * (35 * 20 + 2 * 150 * 35 + 150 * 20)
    (job,), (mine,) = work.kept, work.operands
    delta, below = panels(job, 1, AT_DELTAS, 20)[0], panels(job, 0, AT_DELTAS, 35)[1]
    assert delta.all()
    below[:] = 1
    work.kernel(*mine, 1)
    np.testing.assert_allclose(panels(job, 0, AT_DELTAS, 35)[0], delta @ weights(job, 1)[0].T, rtol=1e-3, atol=1e-8)


def scratch(job, place, size):
    """A buffer of the only thread's."""
    return memory(int(prepare(job, job.batch_size, False).kept[1][0, place]), size)


@pytest.mark.usefixtures("whole_batch")
def test_the_gradient_ends_with_the_last_rows_and_panel():
    work = roofline._dense("gradient", LAYER, 1)
    assert work.flops == 2 * 150 * 35 * 20
    (job,), (mine,) = work.kept, work.operands
    a, delta = panels(job, 1, AT_INPUTS, 35)[0], panels(job, 1, AT_DELTAS, 20)[0]
    work.kernel(*mine, 2)
    found = scratch(job, TILE, 3 * 16 * WIDTH).reshape(WIDTH, 3, 16)[1 % WIDTH, :, :4]  # the second panel
    np.testing.assert_allclose(found, (a.T @ delta)[32:, 16:], rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize("outputs", [20, 140])
def test_sparse_kernels_work_on_the_values_of_the_step(outputs):
    """A narrow layer's gradient is scattered, and kept; of a wide one's the last columns and panels are found."""
    shape = Shape((50, outputs), 30, 0.1)
    work, back = roofline._sparse("sparse forward", shape, 1), roofline._sparse("sparse gradient", shape, 1)
    (job,), (mine,) = work.kept, work.operands
    x = job.examples.X[:30]
    for each in (work, back):
        assert each.flops == 2 * np.count_nonzero(x) * outputs
        assert each.bytes == each.resident == 4 * (50 * outputs + 30 * outputs + 2 * np.count_nonzero(x))
    panels(job, 1, AT_INPUTS, outputs)[1][:] = 0
    work.kernel(*mine, 2)
    W, b = weights(job, 0)
    x = (x / 255).astype(np.float32)
    z = x @ W + b  # which is rectified at once where the gradient is not scattered
    expected = z if scatter_pays(outputs) else np.maximum(z, 0)
    np.testing.assert_allclose(panels(job, 1, AT_INPUTS, outputs)[0], expected, rtol=1e-4, atol=1e-5)

    (job, _), (mine,) = back.kept, back.operands
    expected = x.T @ panels(job, 0, AT_DELTAS, outputs)[0]
    back.kernel(*mine, 2)
    if scatter_pays(outputs):
        found = scratch(job, SUMS, 50 * job.architecture.strides[0]).reshape(50, -1)[:, :outputs]
    else:
        wide = -(-outputs // 16)  # panels
        groups = -(-wide // PANELS_AT_ONCE)
        first = wide * (groups - 1) // groups * 16  # of the last group
        width = 16 * wide - first
        found = scratch(job, TILE, 2 * width).reshape(2, width)[:, : outputs - first]  # of columns 48 and 49
        expected = expected[48:, first:]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("name", ["tile by samples", "tile by units"])
def test_bare_tiles(name):
    work = roofline._tile(name, 2)
    (rows, panels), depth = probes.TILES[name], roofline.TILE_DEPTH
    assert work.flops == 2 * 2 * rows * 16 * panels * depth
    assert work.resident * 2 == work.bytes
    assert work.resident <= 2**15
    for (a, b, c), mine in zip(work.kept, work.operands, strict=True):
        work.kernel(*mine, 3)
        if name == "tile by samples":
            left = a[: depth * rows].reshape(-1, rows, 16).transpose(1, 0, 2).reshape(rows, depth)
        else:
            left = 3 * a.reshape(depth, 16)[:, :rows].T
        expected = left @ b.reshape(panels, depth, 16)
        np.testing.assert_allclose(c[: panels * rows * 16].reshape(expected.shape), expected, rtol=1e-3, atol=1e-3)
        assert not c[panels * rows * 16 :].any()


@pytest.mark.parametrize("name", ["tile by samples, zeros", "tile by units, zeros"])
def test_bare_tiles_that_skip_zeros(name):
    """What is counted are the products of values that are not zero."""
    work, values = roofline._skipping(name, 2), 0
    assert work.resident * 2 == work.bytes
    assert work.resident <= 2**15
    for (a, b, c), mine in zip(work.kept, work.operands, strict=True):
        work.kernel(*mine, 3)
        if name == "tile by samples, zeros":
            left = a.reshape(-1, roofline.SAMPLES, 16).transpose(1, 0, 2).reshape(roofline.SAMPLES, -1)
        else:
            left = a.reshape(-1, 16).T
        values += np.count_nonzero(left)
        expected = left @ b.reshape(-1, left.shape[1], 16)
        np.testing.assert_allclose(c.reshape(expected.shape), expected, rtol=1e-3, atol=1e-3)
    assert work.flops == 2 * values * 64


def test_every_row_has_a_name_of_its_own():
    assert len({row.name for row in roofline.ROWS}) == len(roofline.ROWS)
    assert all(len(row.name) <= roofline.LONGEST_NAME for row in roofline.ROWS)
