"""The known faults of the five projects that fastnn grew out of (A to E), each of which must never come back."""

import numpy as np
import pytest

from fastnn import MLP, SGD, Callback, Dense, Dropout, Input, load, recipes
from fastnn.callbacks import EarlyStopping
from fastnn.config import Config
from fastnn.data import split_rows
from fastnn.gradcheck import check
from fastnn.runs import Parts, Run, build, fit
from tests.samples import BOTH, blobs, weights

X, Y = blobs(90)
RNG = np.random.default_rng(0)
CLOUDS, LABELS = blobs(180)
LABELS = np.where(RNG.random(180) < 0.3, RNG.integers(3, size=180), LABELS)  # some wrong: what is learnt may do harm
NOISY = {"x_train": CLOUDS[:90], "y_train": LABELS[:90], "x_test": CLOUDS[90:], "y_test": LABELS[90:]}
BEST_BY = pytest.mark.parametrize("best_by", ["accuracy", "loss"])
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


def bests(history, best_by):
    """The best epoch so far, after each epoch: by accuracy, then loss, or by loss alone. They differ."""
    losses = [-loss for loss in history["val_loss"]]
    ways = {"accuracy": list(zip(history["val_accuracy"], losses, strict=True)), "loss": losses}
    found = {name: [way.index(max(way[: end + 1])) for end in range(len(way))] for name, way in ways.items()}
    assert all(0 < kept[-1] < len(history) - 1 for kept in found.values())
    assert found["accuracy"][-1] != found["loss"][-1]
    return found[best_by]


@parametrize_backend
@BEST_BY
def test_b_the_best_epoch_is_kept_and_replaced_by_a_better_one(backend, best_by, tmp_path):
    """B never updated its best accuracy, and its checkpoint mode raised."""
    np.savez(tmp_path / "noisy.npz", **NOISY)
    source = str(tmp_path / "noisy.npz")
    config = Config.of({"data.source": source, "data.validation": source, "data.scale": "none", "network.hidden": (8,),
                        "training.backend": backend, "training.best_by": best_by, "training.epochs": 12,
                        "training.batch_size": 8, "training.seed": 2, "schedule.name": "constant",
                        "optimizer.name": "sgd", "optimizer.learning_rate": 0.9})  # fmt: skip
    parts = Parts.of(config)
    run, network = Run.create(config, tmp_path / "run"), build(config, parts)
    pages, kept = [], []

    class Watch(Callback):
        def on_epoch_end(self, fit, record):
            pages.append(weights(fit.network))
            kept.append((fit.history.best, pages.index(weights(load(run.model)))))

    expected = bests(fit(config, network, parts, [run.checkpoints(), Watch()]), best_by)
    assert kept == list(zip(expected, expected, strict=True))


@parametrize_backend
@BEST_BY
def test_b_the_best_weights_are_restored(backend, best_by):
    def network():
        return MLP([Input(4), Dense(8, "relu"), Dense(3, "softmax")], seed=2)

    x_train, y_train, *validation = NOISY.values()
    how = {"batch_size": 8, "optimizer": SGD(0.9), "validation": tuple(validation), "backend": backend}
    restored, again = network(), network()
    history = restored.fit(x_train, y_train, epochs=12, best_by=best_by, restore_best=True, **how)
    best = bests(history, best_by)[-1]
    assert history.best == best
    again.fit(x_train, y_train, epochs=best + 1, **how)
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
