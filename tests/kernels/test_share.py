"""What threads claim: all samples and all parameters once, and of every layer each thread's part."""

import numpy as np
import pytest

from fastnn.kernels import cost, plan
from fastnn.kernels.plan import (
    APPLY_BEGIN,
    APPLY_END,
    BEGIN,
    END,
    FINEST,
    FIRST_SQUARE,
    FROM_PANEL,
    JOB_WORDS,
    OF_LAYER,
    OF_PANELS,
    PAIRS_BELOW,
    PIECES,
    granules_of,
    groups_of,
    prepare,
)
from fastnn.kernels.share import SAMPLES, SCORE, TRAIN, granules
from fastnn.kernels.simd import WIDTH
from fastnn.layers import LANES, Dense, Dropout, Input
from tests.kernels.test_fused import make_job

WIDTHS, PANELS = (784, 300, 16, 1, 10), (19, 1, 1, 1)


@pytest.mark.parametrize("kind", ["dense", "by columns", "scattered"])
@pytest.mark.parametrize("threads", [1, 2, 3, 4, 200])
def test_each_parameter_is_in_one_granule_and_each_layer_is_shared_evenly(threads, kind):
    groups = 0 if kind == "dense" else groups_of(PANELS[0], threads)
    found, squares = granules_of(WIDTHS, threads, groups, kind == "scattered")
    seen = np.zeros(squares, int)
    for layer, inputs in enumerate(WIDTHS[:-1]):
        mine, done = found[found[:, OF_LAYER] == layer], np.zeros((inputs + 1, PANELS[layer]), int)
        for g in mine:
            done[g[BEGIN] : g[END], g[FROM_PANEL] : g[FROM_PANEL] + g[OF_PANELS]] += 1
            by_panels = layer == 0 and groups
            seen[g[FIRST_SQUARE] :][: g[OF_PANELS] if by_panels else g[END] - g[BEGIN]] += 1
        assert (done == 1).all()
        rows = np.concatenate([np.arange(g[APPLY_BEGIN], g[APPLY_END]) for g in mine])
        np.testing.assert_array_equal(np.sort(rows), np.arange(inputs + 1))
    assert (seen == 1).all()
    for thread in range(threads):
        share = found[len(found) * thread // threads : len(found) * (thread + 1) // threads]
        assert (np.diff(share[:, OF_LAYER]) >= 0).all()
        for layer in range(len(WIDTHS) - 1):
            mine, all_ = share[share[:, OF_LAYER] == layer], (found[:, OF_LAYER] == layer).sum()
            assert abs(len(mine) - all_ / threads) < len(WIDTHS) - 1  # each layer moves a cut by less than a granule


@pytest.mark.parametrize(("panels", "threads", "groups"), [(19, 1, 5), (19, 2, 6), (2, 2, 2), (1, 2, 1), (50, 4, 16)])
def test_groups_of_units(monkeypatch, panels, threads, groups):
    """With vectors of eight: groups of four panels at most, of two in a narrow layer; for each thread as many."""
    monkeypatch.setattr(plan, "PANELS_AT_ONCE", 4)
    monkeypatch.setattr(plan, "PANELS_APART", 2)
    assert groups_of(panels, threads) == groups


@pytest.mark.parametrize(
    ("row", "batch", "places"), [(784, 0, 3), (4096, 0, 1), (128, 256, 256), (4096, 128, 128), (4096, 129, 1)]
)
def test_the_row_that_is_fetched_is_one_batch_behind_where_the_thread_will_need_it(row, batch, places):
    """Not where rows of a batch are more than 512 KiB: then it is some 2 KiB behind."""
    assert cost.places_ahead(row, batch) == places


@pytest.mark.parametrize(
    ("size", "threads", "finest", "count"),
    [(1, 1, 16, 1), (128, 1, 16, 1), (129, 1, 16, 2), (10, 2, 16, 2), (3, 8, 16, 3), (32, 2, 16, 2), (100, 2, 16, 6),
     (256, 2, 16, 8), (256, 2, 64, 4), (100, 2, 64, 2), (5000, 4, 64, 16)],
)  # fmt: skip
def test_samples_are_cut_for_threads_but_not_too_small(size, threads, finest, count):
    job = np.zeros(JOB_WORDS, int)
    job[FINEST] = finest
    assert granules.py_func(job, SAMPLES, SCORE, size, threads) == granules.py_func(job, SAMPLES, TRAIN, size, threads)
    assert granules.py_func(job, SAMPLES, SCORE, size, threads) == count


def test_pieces_of_a_batch_do_not_depend_on_threads():
    job = np.zeros(JOB_WORDS, int)
    job[PIECES] = 4
    assert {granules.py_func(job, SAMPLES, TRAIN, 256, threads) for threads in (1, 2, 3)} == {4}


@pytest.mark.parametrize(
    ("units", "batch", "settings", "taken"),
    [(300, 100, {}, True), (300, 436, {}, True), (300, 437, {}, False), (300, 100, {"threads": 6}, False),
     (300, 100, {"activation": "tanh"}, False), (300, 100, {"dropout": True}, False), (32, 100, {}, False)],
)  # fmt: skip
def test_deltas_are_made_by_units_where_these_tell_the_factors_and_few_are_exchanged(units, batch, settings, taken):
    """437 samples of 300 units are more than 2**17; so few panels as 32 units have would leave threads idle."""
    threads, activation = settings.get("threads", 2), settings.get("activation", "relu")
    behind = [Dropout(0.5)] if "dropout" in settings else []
    layers = [Input(40, 1 / 255), Dense(units, activation), *behind, Dense(5, "softmax")]
    job = make_job(threads=threads, layers=layers, batch_size=batch, samples=batch)
    pairs = prepare(job, batch, False).words[PAIRS_BELOW]
    assert pairs == (-(-units // (WIDTH * LANES)) if taken else 0)
