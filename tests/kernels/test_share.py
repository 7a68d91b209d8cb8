"""What threads claim: all samples and all rows once, and of every layer each thread's part."""

import numpy as np
import pytest

from fastnn.kernels.plan import BEGIN, END, NUMBER, OF_LAYER, granules_of
from fastnn.kernels.share import SAMPLES, TRAIN, granules

WIDTHS = (784, 300, 16, 1, 10)


@pytest.mark.parametrize("edges", [None, [0, 104, 784], [0, 784]])
@pytest.mark.parametrize("threads", [1, 2, 3, 4, 200])
def test_each_row_is_in_one_granule_and_each_layer_is_shared_evenly(threads, edges):
    found = granules_of(WIDTHS, threads, None if edges is None else np.array(edges))
    for layer, inputs in enumerate(WIDTHS[:-1]):
        mine = found[found[:, OF_LAYER] == layer]
        rows = np.concatenate([np.arange(granule[BEGIN], granule[END]) for granule in mine])
        np.testing.assert_array_equal(np.sort(rows), np.arange(inputs + 1))
    for thread in range(threads):
        share = found[len(found) * thread // threads : len(found) * (thread + 1) // threads]
        assert (np.diff(share[:, OF_LAYER]) >= 0).all()
        for layer in range(len(WIDTHS) - 1):
            mine, all_ = share[share[:, OF_LAYER] == layer], (found[:, OF_LAYER] == layer).sum()
            assert (np.diff(mine[:, NUMBER]) == 1).all()
            assert abs(len(mine) - all_ / threads) < len(WIDTHS) - 1  # each layer moves a cut by less than a granule


@pytest.mark.parametrize(
    ("size", "threads", "count"),
    [(1, 1, 1), (128, 1, 1), (129, 1, 2), (10, 2, 2), (3, 8, 3), (32, 2, 2), (100, 2, 6), (256, 2, 8), (5000, 4, 16)],
)
def test_samples_are_cut_for_threads_but_not_too_small(size, threads, count):
    assert granules.py_func(None, SAMPLES, TRAIN, size, threads) == count
