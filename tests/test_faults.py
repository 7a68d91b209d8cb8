"""The known faults of the five projects that fastnn grew out of (A to E), each of which must never come back."""

from itertools import pairwise

import numpy as np
import pytest

from fastnn import MLP, SGD, Dense, Dropout, Input, recipes
from fastnn.callbacks import EarlyStopping, RestoreBest
from fastnn.config import Config
from fastnn.data import split_rows
from fastnn.gradcheck import check
from fastnn.runs import Parts, Run, build, fit
from tests.samples import BOTH, blobs, weights

X, Y = blobs(90)
parametrize_backend = pytest.mark.parametrize("backend", BOTH)


def test_a_layers_that_share_a_description_share_no_state():
    """A shared one activation object between layers, so the mask of one was overwritten by the other's."""
    shared, drop = Dense(6, "relu"), Dropout(0.3)
    net = MLP([Input(4), shared, drop, shared, drop, shared, drop, Dense(3, "softmax")], seed=1)
    assert all(row.passed for row in check(net, X, Y))
    each = [layer for _ in range(3) for layer in (Dense(6, "relu"), Dropout(0.3))]
    apart = MLP([Input(4), *each, Dense(3, "softmax")], seed=1)
    for one in (net, apart):
        one.fit(X, Y, epochs=2, backend="reference")
    assert weights(net) == weights(apart)


@parametrize_backend
def test_b_the_best_epoch_is_kept_and_replaced_by_a_better_one(backend, tmp_path):
    """B never updated its best accuracy, and its checkpoint mode raised."""
    config = Config.of({"network.hidden": (5,), "training.epochs": 8, "training.batch_size": 8})
    np.savez(tmp_path / "blobs.npz", X=X, y=Y)
    config = Config.of(config.values(), {"data.source": str(tmp_path / "blobs.npz"), "training.backend": backend})
    parts = Parts.of(config)
    run, network = Run.create(config, tmp_path / "run"), build(config, parts)
    kept = []

    class Watch(RestoreBest):
        def on_epoch_end(self, fit, record):
            kept.append((fit.history.best, (tmp_path / "run" / "model.safetensors").stat().st_mtime_ns))

    history = fit(config, network, parts, [run.checkpoints(), Watch()])
    accuracies = history["val_accuracy"]
    bests = [best for best, _ in kept]
    assert len(set(bests)) > 1
    assert all(accuracies[best] == max(accuracies[: index + 1]) for index, best in enumerate(bests))
    written = [True, *(before[1] != after[1] for before, after in pairwise(kept))]
    assert written == [best == index for index, best in enumerate(bests)]


@parametrize_backend
@pytest.mark.parametrize("best_by", ["accuracy", "loss"])
def test_b_the_best_weights_are_restored(backend, best_by):
    def network():
        return MLP([Input(4), Dense(8, "relu"), Dense(3, "softmax")], seed=2)

    validation = blobs(60, seed=0)[0][:30], blobs(60, seed=0)[1][:30]
    how = {"epochs": 12, "batch_size": 8, "optimizer": SGD(0.9), "validation": validation, "backend": backend}
    restored = network()
    history = restored.fit(X, Y, best_by=best_by, restore_best=True, **how)
    figures = history["val_accuracy"] if best_by == "accuracy" else [-loss for loss in history["val_loss"]]
    assert history.best is not None
    assert figures[history.best] == max(figures)
    again = network()
    again.fit(X, Y, **how | {"epochs": history.best + 1})
    assert weights(again) == weights(restored)


@parametrize_backend
def test_c_and_e_the_outputs_bias_has_a_gradient(backend):
    """They summed it over the classes as well, where it is 0; of a batch it is the mean of output minus target."""
    net = MLP([Input(4), Dense(5, "elu"), Dense(3, "softmax")], seed=3)
    gradient = net.gradients(X, Y, backend=backend)[-1][1]
    expected = (net.predict_proba(X, backend=backend) - np.eye(3)[Y]).mean(axis=0)
    assert np.abs(gradient).max() > 0.01
    np.testing.assert_allclose(gradient, expected, atol=1e-6)  # 90 sums of float32 numbers of at most 1


@parametrize_backend
def test_c_and_e_softmax_does_not_overflow(backend):
    net = MLP([Input(4, 1e5), Dense(3, "softmax")], seed=3)
    found = net.predict_proba(X, backend=backend)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    assert np.isfinite(net.evaluate(X, Y, backend=backend)["loss"])


@parametrize_backend
def test_c_a_mean_is_over_the_rows_that_are_trained_on(backend):
    """It divided by all rows of the file, the held-out ones too."""
    net = MLP([Input(4), Dense(3, "softmax")], seed=3)
    (W, b), (rows, _) = net.parameters()[0], split_rows(len(X), 0.5, seed=3)
    z = X[rows].astype(np.float64) @ W + b
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    step = (
        X[rows].T.astype(np.float64) @ (p - np.eye(3)[Y[rows]]) / len(rows)
    )  # not / len(X): that step is half as long
    expected = W - 0.5 * step
    net.fit(X, Y, epochs=1, batch_size=0, optimizer=SGD(0.5), validation=0.5, backend=backend)
    np.testing.assert_allclose(W, expected, atol=1e-5)  # a float32 sum of 45 products


def test_c_no_row_is_trained_on_and_tested_on():
    """It tested on training images."""
    parts = Parts.of(Config.of(recipes.read("c")))
    assert (len(parts.train), len(parts.test)) == (41_000, 1_000)
    seen = {row.tobytes() for row in parts.train.X}
    assert sum(row.tobytes() in seen for row in parts.test.X) == 0


def test_d_the_validation_set_decides():
    """It had one, and never used it."""
    net = MLP([Input(4), Dense(8, "sigmoid"), Dense(3, "sigmoid")], seed=2)
    how = {"optimizer": SGD(3.0), "batch_size": 8, "validation": 0.3, "backend": "reference"}
    history = net.fit(X, Y, epochs=200, callbacks=[EarlyStopping(3)], **how)
    assert len(history) < 200
    assert history.best == len(history) - 4
    assert all(0 <= value <= 1 for value in history["val_accuracy"])
