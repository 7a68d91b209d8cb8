"""Products that skip zeros: tiles, and whole nets, make the same numbers as dense ones, which multiply by zeros."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numba import njit

from fastnn import MLP, Dense, Input, kernels
from fastnn.kernels import cost, plan
from fastnn.kernels.families import whole
from fastnn.kernels.simd import tile_by_samples, tile_by_units
from fastnn.kernels.skipping import BITS, skip_by_samples, skip_by_units
from fastnn.layers import LANES as PANEL
from tests.cases import Case
from tests.kernels.test_equivalence import CHECKS

ROOM = 2**15
JUMP, STRIDE, ACROSS, STEP, START_JUMP, C_JUMP = 1600, 80, 6000, 19, 2000, 3000


@pytest.fixture(scope="module")
def run():
    @njit
    def call(kind, a, jump, w, stride, across, depth, start, step, start_jump, count, c, c_jump, f, least):
        whole()
        if kind == "skip":
            skip_by_samples(1, a, jump, w, stride, across, depth, start, step, start_jump, count, c, c_jump, f, least)
        elif kind == "skip by units":
            skip_by_units(1, a, w, across, depth, count, start, c, stride, c_jump)
        for p in range(4):
            for m in range(count):
                some = 0 if start == 0 else start + 4 * (start_jump * p + step * m)
                if kind == "dense":
                    place = 4 * (c_jump * p + 16 * m)
                    tile_by_samples(1, a + 64 * m, jump, w + 4 * across * p, stride, 0, depth, some, 0, 0, c + place, 0,
                                    0 if f == 0 else f + place, least)  # fmt: skip
                elif kind == "dense by units":
                    place = 4 * (c_jump * p + stride * m)
                    some = 0 if start == 0 else start + place
                    tile_by_units(1, a + 4 * m, w + 4 * across * p, 0, depth, some, 0, 0, c + place, 0, 0)

    return call


@pytest.fixture
def memory():
    rng = np.random.default_rng(0)
    values = [rng.standard_normal(ROOM, np.float32) for _ in range(5)]
    values[0][rng.random(ROOM) < 0.5] = 0
    values[0][7], values[0][3 * PANEL] = np.nan, -0.0
    return values


def made_by(run, memory, kind, *, depth, count, started, least=-np.inf, factors=False):
    """What is in all of the memory of c after a tile of a kind."""
    a, w, start, c, f = (array.copy() for array in memory)
    at = [array.ctypes.data for array in (a, w, start, c, f)]
    run(kind, at[0], JUMP, at[1], STRIDE, ACROSS, depth, at[2] if started else 0, STEP, START_JUMP, count, at[3],
        C_JUMP, at[4] if factors else 0, np.float32(least))  # fmt: skip
    return c


DEPTHS = pytest.mark.parametrize("depth", [1, 16, 31, 32, 33, 37, 63, BITS])
STARTED = pytest.mark.parametrize("started", [True, False])


@DEPTHS
@STARTED
@pytest.mark.parametrize(("least", "factors"), [(-np.inf, False), (0, False), (-np.inf, True), (0, True)])
def test_by_samples_as_dense_tiles(run, memory, depth, started, least, factors):
    """A NaN stays one; and nothing but the samples' rows is written."""
    for count in (1, 40):
        how = {"depth": depth, "count": count, "started": started, "least": least, "factors": factors}
        found, expected = (made_by(run, memory, kind, **how) for kind in ("skip", "dense"))
        np.testing.assert_array_equal(found, expected)
        assert np.isnan(found).any() == (depth > 7)


@DEPTHS
@STARTED
@pytest.mark.parametrize("count", [1, 7, PANEL])
def test_by_units_as_dense_tiles(run, memory, depth, started, count):
    how = {"depth": depth, "count": count, "started": started}
    found, expected = (made_by(run, memory, f"{kind} by units", **how) for kind in ("skip", "dense"))
    np.testing.assert_array_equal(found, expected)
    assert np.isnan(found).any() == (count > 7)


# ---------------------------------------------------------------- whole nets

DEEP = (20, 100, 150, 70, 9)  # more than ABREAST panels, and some that are left over
NETS: list[dict[str, Any]] = [
    {"widths": (32, 64, 64, 4), "batch_size": 256},  # pieces of a batch
    {"widths": (32, 64, 64, 4), "samples": 700, "batch_size": 600},  # of more than a block
    {"widths": DEEP},
    {"widths": (20, 60, 120, 60, 9)},  # a last panel that units fill in part, below and above
    {"widths": (12, 400, 300, 5), "dropout": (0, 0.3, 0.2)},  # more units than a mask has bits
    {"widths": (40, 80, 130, 3), "weight_decay": 0.1, "optimizer": "momentum", "weighted": True},
    {"widths": DEEP, "batch_size": 33, "optimizer": "adam", "clip_norm": 0.05},  # by rows, as all that follow
    {"widths": DEEP, "batch_size": 33, "optimizer": "adam", "weight_decay": 0.1},
    {"widths": (20, 128, 64, 5), "batch_size": 40},  # as many rows at once as there are at most
    {"widths": (20, 128, 64, 5), "batch_size": 1},
    {"widths": (20, 128, 64), "batch_size": 40, "output": "relu", "loss": "quadratic", "labels": False},
    {"widths": (40, 80, 130, 3), "real": False, "density": 0.1, "batch_size": 100},  # a sparse first layer
    {"widths": (40, 64, 64, 4), "real": False, "density": 0.1, "batch_size": 100},  # which threads share by columns
]


def case_of(settings: dict[str, Any], threads: int) -> Case:
    hidden = ("relu",) * (len(settings["widths"]) - 2)
    return replace(Case(hidden=hidden, samples=300, batch_size=200), threads=threads, **settings)


@pytest.fixture
def skipping(monkeypatch):
    """Let nets skip zeros, or not, whatever this CPU does; a job has its tables from when it is first at work."""
    return lambda whether: monkeypatch.setattr(plan, "SKIPPING", whether)


@pytest.mark.parametrize("kernel", ["gradients", "train"])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("settings", NETS, ids=str)
def test_nets_that_skip_agree_with_the_reference(skipping, settings, threads, kernel):
    skipping(True)
    CHECKS[kernel](kernels.backend("fused"), case_of(settings, threads))


def work(case: Case) -> tuple[list[Any], list[np.ndarray]]:
    """Totals and scores; then parameters, state, predictions and gradients after some steps."""
    fused, job, outputs = kernels.backend("fused"), case.job(), np.empty((case.samples, case.widths[-1]), np.float32)
    totals = [fused.train(job, case.order(), 0, 0, case.steps(2)) for _ in range(3)]
    fused.predict(job, outputs)
    scored = fused.score(job)
    loss, gradient = fused.gradients(job, case.order()[: case.batch_size])
    return [totals, scored, loss], [job.parameters, *job.state, outputs, gradient]


@pytest.mark.parametrize("settings", NETS, ids=str)
def test_no_number_depends_on_skipping_nor_on_threads(skipping, settings):
    skipping(False)
    totals, arrays = work(case_of(settings, 1))
    skipping(True)
    for threads in (1, 2, 3):
        others, found = work(case_of(settings, threads))
        assert others == totals
        for one, other in zip(arrays, found, strict=True):
            np.testing.assert_array_equal(one, other)
        # nor any bit of a weight
        np.testing.assert_array_equal(arrays[0].view(np.int32), found[0].view(np.int32))


# ---------------------------------------------------------------- whether zeros are skipped
# Zero times infinity is NaN where zeros are multiplied, and nothing where they are skipped.


def outputs_beside_infinity(units: int, idle: int) -> np.ndarray:
    """Of a net in whose first layer some units are always 0, and one of those meets infinite weights."""
    net = MLP([Input(8), Dense(units, "relu"), Dense(64, "relu"), Dense(4, "softmax")], bias_init="zeros", seed=0)
    (W, b), (above, _), _ = net.parameters()
    W[:], b[:] = 0, 1
    b[10 : 10 + idle] = -1
    above[10] = np.inf
    return net.predict_proba(np.ones((100, 8), np.float32))


@pytest.mark.parametrize(
    ("units", "idle", "skips"),
    [
        (64, 64 - round(64 * (cost.NOT_ZERO - 0.05)), True),
        (64, 64 - round(64 * (cost.NOT_ZERO + 0.05)), False),
        (cost.WORTH_SKIPPING, 16, True),
        (cost.WORTH_SKIPPING - 1, 16, False),
    ],
)
def test_forward_skips_if_there_are_many_zeros_of_many(skipping, units, idle, skips):
    skipping(True)
    assert np.isfinite(outputs_beside_infinity(units, idle)).all() == skips
    skipping(False)
    assert not np.isfinite(outputs_beside_infinity(units, idle)).any()


def gradients_beside_infinity(batch: int, back: bool) -> list[np.ndarray]:
    """By layers those of W: of infinite deltas above an idle unit; or by the way back of the zero deltas of one."""
    case = Case((20, 64, 64, 64, 5), ("relu",) * 3, "identity", "quadratic", samples=300, batch_size=batch)
    job = replace(case, labels=False).job()
    (W, b), (above, above_b), *others = job.architecture.views(job.parameters)
    if back:
        W[:, 5], b[5] = 0, 1
        above[:, 3], above[5, 3], above_b[3] = 0, -np.inf, -1
    else:
        W[:, 3], b[3] = 0, -1
        for weights, _ in others:
            weights[:] *= 1e30
    with np.errstate(all="ignore"):
        _, flat = kernels.backend("fused").gradients(job, np.arange(batch))
    return [dW for dW, _ in job.architecture.views(flat)]


@pytest.mark.parametrize("batch", [256, 40, cost.WORTH_SKIPPING, cost.WORTH_SKIPPING - 1])
def test_the_way_back_and_gradients_skip(skipping, batch):
    """By pieces of a batch, and by rows of the gradient, of batches that are large enough."""
    found = {}
    for whether in (True, False):
        skipping(whether)
        found[whether] = [
            bool(np.isnan(gradients_beside_infinity(batch, True)[0][:, 5]).any()),
            bool(np.isnan(gradients_beside_infinity(batch, False)[1][3]).any()),
        ]
    assert found == {True: [False, batch < cost.WORTH_SKIPPING], False: [True, True]}
