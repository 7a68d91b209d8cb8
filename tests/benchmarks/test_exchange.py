"""The cache lines that threads take over from each other, counted by hand for small nets."""

import numpy as np
import pytest

from benchmarks.epochs import Training
from benchmarks.exchange import Exchange
from benchmarks.limits import AllByOne
from fastnn.kernels import cost
from fastnn.kernels.barrier import DONE, EACH, GONE
from fastnn.kernels.share import BELOW, ROWS, SAMPLES, UNITS
from fastnn.kernels.simd import WIDTH


def trained(sizes, batch, threads, density=1.0, kind=Training):
    rng = np.random.default_rng(0)
    X = rng.integers(1, 256, (2 * batch, sizes[0]), np.uint8)
    X[rng.random(X.shape) >= density] = 0
    y = np.arange(len(X)) % sizes[-1]
    training = kind(sizes, "relu", X, y, scale=1 / 255, batch=batch, rate=0.1, threads=threads)
    training.epoch()
    return training.fit


def exchange(sizes, batch, threads, density=1.0):
    return Exchange(trained(sizes, batch, threads, density), threads)


def test_one_thread_takes_over_nothing():
    for sizes in ((784, 30, 10), (24, 8, 2)):
        assert set(exchange(sizes, 64, 1).lines().values()) == {0}


def test_of_a_step_of_one_phase():
    """784-30-10, batch 10: each thread has half of the columns, and needs the other's Z: two panels of all samples."""
    found = exchange((784, 30, 10), 10, 2, 0.2)
    assert found.by_units
    assert found.counts == {ROWS: 2}
    assert found.lines() == {ROWS: 2 * 10}


def test_by_units_of_a_sparse_layer(monkeypatch):
    """784-30-10: each thread has a panel of the 30 units, and 5 of the 10 samples."""
    monkeypatch.setattr(cost, "REPEATED", 0)
    found = exchange((784, 30, 10), 10, 2, 0.2)
    assert found.counts == {UNITS: 2, SAMPLES: 2, ROWS: 4}
    # Z of its samples, in the other's panel; and of the 31 rows of the second layer one thread has 16, one 15
    z, weights = 5, 31 / 2
    # deltas of the other's samples: in its panel of the first layer; and in the second, with that granule's inputs
    assert found.lines() == {UNITS: 0, SAMPLES: z + weights, ROWS: 5 + 5 + 5}


def test_deltas_of_a_layer_whose_units_are_shared():
    """784-128-10: each thread has four of eight panels, with their deltas and the rows of weights above, and 5 samples.

    It takes over the others' Z of its samples, half of the weights above, and deltas of the outputs of others' samples.
    """
    found = exchange((784, 128, 10), 10, 2, 0.2)
    assert found.counts[BELOW] == -(-8 // WIDTH)
    assert found.lines() == {UNITS: 0, SAMPLES: 4 * 5 + 129 / 2, BELOW: 5, ROWS: 0}


def test_by_units_of_a_dense_layer_with_a_panel_that_both_have():
    """100-48-10: three panels, each in two halves of the batch: the second half of panel 1 is the other thread's."""
    found = exchange((100, 48, 10), 64, 2)
    assert found.counts[UNITS] == 6
    assert found.lines()[UNITS] == 101 / 2  # panel 1 goes from thread to thread, whoever had its rows of weights
    # of the samples of thread 0, thread 1 has made panel 2; of those of thread 1, thread 0 panel 0; halves of panel 1
    # are made by who has these samples
    assert found.lines()[SAMPLES] == 32 + 49 / 2


def test_by_pieces_in_a_step_of_one_phase():
    """24-8-2, four pieces of 512 samples, two of each thread, which reads all rows of the other's.

    There are 16 and 9 rows of 8 floats, and 9 rows of 2, and each of these three granules begins with a line.
    """
    found = exchange((24, 8, 2), 512, 2)
    assert found.counts == {SAMPLES: 4}
    assert found.lines() == {SAMPLES: 2 * (8 + 5 + 2)}


def test_by_pieces(monkeypatch):
    """Of the weights it reads those that the other has updated: 34 rows, whose granules are 16, 9 and 9."""
    monkeypatch.setattr(cost, "UPDATED", 0)
    found = exchange((24, 8, 2), 512, 2)
    assert found.counts == {SAMPLES: 4, ROWS: 3}
    assert found.lines() == {SAMPLES: 34 / 2, ROWS: (8 + 5 + 2) / 2 * 2}


def test_by_pieces_of_a_net_that_is_not_narrow():
    """32-64-4, two pieces of 128 samples: rows of 64 units; of each of 4 outputs 65 weights, the last by itself."""
    assert exchange((32, 64, 4), 128, 2).lines() == {SAMPLES: 33 * 4 + 4 * 5}


def test_by_samples():
    """More threads than panels: they share samples alone, and read each other's weights of all layers."""
    found = exchange((40, 16, 20), 64, 2)
    assert set(found.counts) == {SAMPLES, ROWS}
    assert found.lines()[SAMPLES] == (41 + 2 * 17) / 2


def test_the_ones_that_biases_are_multiplied_by_stay_where_they_are():
    """784-16-10: 16 hidden units fill a panel, and behind it the 1 has a panel of its own, which no step writes."""
    found = exchange((100, 32, 16, 10), 64, 2)
    # deltas of the other's samples, in a thread's panel of the first layer; inputs and deltas of the second, whose 33
    # rows are shared out in two granules, and of the third, which has one granule
    assert found.lines()[ROWS] == 32 * (1 + (1 + 1) + (1 + 1) / 2)


@pytest.mark.parametrize("threads", [2, 3])
def test_all_others_lines_are_taken_over_by_someone(threads):
    """However many threads: of the weights of all layers but the first, each reads what it has not changed."""
    found = exchange((784, 100, 50, 10), 60, threads, 0.2)
    made = sum((below + 1) * panels for below, panels in ((100, 4), (50, 1)))
    z = 60 / threads * 7 * (1 - 1 / threads)  # nearly: panels do not divide evenly
    assert found.lines()[SAMPLES] == pytest.approx(made * (1 - 1 / threads) + z, rel=0.05)


@pytest.mark.parametrize("sizes", [(784, 30, 10), (24, 8, 2)])
def test_one_thread_does_the_work_of_all(sizes):
    alone, together = (trained(sizes, 64, 2, 0.2, kind) for kind in (AllByOne, Training))
    np.testing.assert_array_equal(alone.network.flat, together.network.flat)
    state = alone.job.workspace.state
    assert all(state[at : at + 2].any() for at in (GONE, GONE + EACH, DONE))  # it claimed of both shares
    assert not state[DONE + EACH : DONE + EACH + 2].any()  # and nobody else did anything
