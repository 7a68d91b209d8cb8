"""The same bits for any number of threads, for fits side by side, and before, in and after a fork."""

import os
import signal
import threading
import warnings

import numpy as np
import pytest

from fastnn import MLP, Adam, Dense, Dropout, Input
from tests.samples import BOTH, blobs, figures, pictures, weights

X, Y = blobs(150, 20, 3)

SETTINGS = {
    "plain": {},
    "all": {
        "optimizer": Adam(0.01),
        "schedule": "adaptive",
        "clip_norm": 0.3,
        "weight_decay": 0.01,
        "label_smoothing": 0.1,
        "sample_weight": np.linspace(0.1, 2, 150),
    },
}


def fitted(backend: str = "fused", seed: int = 3, **settings) -> tuple[bytes, list]:
    """All that comes of a fit, to be compared."""
    layers = [Input(20), Dropout(0.1), Dense(35, "gelu"), Dropout(0.4), Dense(17, "relu"), Dense(3, "softmax")]
    net = MLP(layers, seed=seed)
    history = net.fit(X, Y, epochs=3, batch_size=32, validation=0.2, backend=backend, **settings)
    return weights(net), figures(history)


@pytest.mark.parametrize("name", SETTINGS)
def test_no_figure_depends_on_the_number_of_threads(name):
    alone = fitted(threads=1, **SETTINGS[name])
    for threads in (2, 3, 4, "auto"):
        assert fitted(threads=threads, **SETTINGS[name]) == alone


def test_nor_does_it_where_the_input_is_sparse():
    samples, y = pictures(100)
    runs = []
    for threads in (1, 2, 3):
        net = MLP([Input(25, scale=1 / 255), Dense(20, "relu"), Dense(2, "softmax")])
        runs.append((figures(net.fit(samples, y, validation=0.2, epochs=3, threads=threads)), weights(net)))
    assert runs[0] == runs[1] == runs[2]


@pytest.mark.parametrize("name", SETTINGS)
def test_nor_what_is_said_of_a_network(name):
    net = MLP.from_sizes([20, 35, 3])
    said = [
        (
            net.predict_proba(X, threads=threads).tobytes(),
            net.evaluate(X, Y, SETTINGS[name].get("sample_weight"), threads=threads),
            [d.tobytes() for pair in net.gradients(X, Y, threads=threads) for d in pair],
        )
        for threads in (1, 2, 3)
    ]
    assert said[0] == said[1] == said[2]


@pytest.mark.parametrize("backend", BOTH)
def test_four_fits_at_once_are_as_four_alone(backend):
    alone = [fitted(backend, seed) for seed in range(4)]
    together = [None] * 4

    def work(seed):
        together[seed] = fitted(backend, seed, threads=2)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone
    assert len({run[0] for run in alone}) == 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_fit_then_a_fork_then_a_fit():
    before = fitted(threads=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12 on: NumPy's BLAS has threads of its own
        child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(120)  # should it hang, it is ended, and the test fails
            code = int(fitted(threads=2) != before)
        finally:
            os._exit(code)
    assert fitted(threads=2) == before
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert fitted(threads=2) == before
