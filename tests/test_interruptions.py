"""Fits that do not go straight to their end: interrupted, resumed, diverged, or stopped by a fault in a callback."""

import os
import signal
import threading
from functools import cache

import numpy as np
import pytest
from safetensors.numpy import load_file

from fastnn import (
    MLP,
    SGD,
    Adam,
    AdamW,
    Augment,
    Callback,
    Checkpoint,
    Dense,
    Dropout,
    EarlyStopping,
    Input,
    Momentum,
    load,
)
from fastnn.errors import ConfigError, DivergedError, ModelFileError
from fastnn.formats import safetensors
from fastnn.layers import aligned_zeros
from fastnn.schedules import Adaptive
from tests.samples import BOTH, blobs, figures, pictures, weights

pytestmark = pytest.mark.parametrize("backend", BOTH)

X, Y = blobs()


def network() -> MLP:
    return MLP([Input(4), Dropout(0.1), Dense(8, "relu"), Dropout(0.4), Dense(3, "softmax")], seed=3)


@pytest.fixture(autouse=True)
def _look_up_after_each_step(monkeypatch):
    monkeypatch.setattr("fastnn.pace.SLICE_SECONDS", 0.0)


class At(Callback):
    """Does something once, at a step or (step None) at the end of an epoch, both counted from 1."""

    def __init__(self, what, epoch: int, step: int | None = None):
        self.what, self.place, self.heard = what, (epoch, step), []

    def on_advance(self, fit):
        if (fit.epoch + 1, fit.step) == self.place:
            self.what(fit)

    def on_epoch_end(self, fit, record):
        if (record["epoch"], None) == self.place:
            self.what(fit)

    def on_interrupt(self, fit):
        self.heard.append("interrupt")

    def on_fit_end(self, fit):
        self.heard.append("end")


def press(fit) -> None:
    """Ctrl-C."""
    signal.raise_signal(signal.SIGINT)


class FaultError(Exception):
    pass


def fail(fit) -> None:
    raise FaultError


# ---------------------------------------------------------------- Ctrl-C


@pytest.mark.parametrize(("epoch", "step"), [(1, 1), (2, 3), (2, 6), (2, None), (4, None)])
def test_ctrl_c_stops_between_two_steps_and_leaves_a_checkpoint(epoch, step, backend, tmp_path):
    before = signal.getsignal(signal.SIGINT)
    net, at = network(), At(press, epoch, step)
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, Y, epochs=4, batch_size=10, callbacks=[at, Checkpoint(tmp_path)], backend=backend)
    assert at.heard == ["interrupt"]
    assert signal.getsignal(signal.SIGINT) is before is signal.default_int_handler
    assert weights(load(tmp_path / "last.safetensors")) == weights(net)
    where = safetensors.load(tmp_path / "last.safetensors", MLP)[1].progress
    # in between two epochs it is seen after the next one's first step; behind the last there is none
    assert (where["epoch"] + 1, where["step"]) == ((epoch, step) if step else (5, 0) if epoch == 4 else (3, 1))
    net.fit(X, Y, epochs=1, backend=backend)


def test_ctrl_c_is_heeded_amid_augmentation(backend, tmp_path, monkeypatch):
    monkeypatch.setattr("fastnn.training.AUGMENTED_AT_ONCE", 25)
    settings = {"epochs": 3, "batch_size": 10, "augment": Augment(noise=0.1), "backend": backend}
    whole, net, again, parts, apply = network(), network(), network(), [], Augment.apply

    def pressed(self, X, samples, image, seed, epoch, *how):
        parts.append((epoch, samples.tolist()))
        if len(parts) == 5:  # the second part of the second epoch's three
            press(None)
        return apply(self, X, samples, image, seed, epoch, *how)

    history = whole.fit(X, Y, **settings)
    with monkeypatch.context() as patched:
        patched.setattr(Augment, "apply", pressed)
        with pytest.raises(KeyboardInterrupt):
            net.fit(X, Y, callbacks=[Checkpoint(tmp_path)], **settings)
    assert [epoch for epoch, _ in parts] == [0, 0, 0, 1, 1]
    assert [row for _, rows in parts[:3] for row in rows] == list(range(60))
    resumed = again.fit(X, Y, resume=tmp_path / "last.safetensors", **settings)
    assert weights(again) == weights(whole)
    assert figures(resumed) == figures(history)


def test_a_third_ctrl_c_does_not_wait(backend):
    def thrice(fit):
        for _ in range(3):
            press(fit)

    with pytest.raises(KeyboardInterrupt):
        network().fit(X, Y, callbacks=[at := At(thrice, 1, 1)], backend=backend)
    assert at.heard == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_whoever_handles_ctrl_c_already_goes_on_to_do_so(backend):
    heard = []

    def handler(number, frame):
        heard.append(number)

    before = signal.signal(signal.SIGINT, handler)
    try:
        assert len(network().fit(X, Y, epochs=2, callbacks=[At(press, 1, 1)], backend=backend)) == 2
        assert heard == [signal.SIGINT]
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_fit_in_another_thread_leaves_signals_alone(backend):
    seen = []
    look = At(lambda fit: seen.append(signal.getsignal(signal.SIGINT)), 1, 1)
    fit = threading.Thread(target=lambda: network().fit(X, Y, epochs=1, callbacks=[look], backend=backend))
    fit.start()
    fit.join()
    assert seen == [signal.default_int_handler]


@pytest.mark.parametrize("step", [2, None])
def test_a_fault_in_a_callback_comes_out_and_leaves_a_network_that_can_go_on(step, backend):
    net = network()
    with pytest.raises(FaultError):
        net.fit(X, Y, epochs=2, batch_size=10, callbacks=[At(fail, 1, step)], backend=backend)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    first = net.evaluate(X, Y, backend=backend)["loss"]
    history = net.fit(X, Y, epochs=5, batch_size=10, optimizer=Adam(0.01), backend=backend)
    assert history["epoch"] == [1, 2, 3, 4, 5]
    assert net.evaluate(X, Y, backend=backend)["loss"] < first


# ---------------------------------------------------------------- resuming

SETTINGS = {
    "sgd": {},
    "momentum, adaptive": {
        "optimizer": Momentum(),
        "schedule": Adaptive(patience=1, tolerance=10.0),
        "weight_decay": 0.01,
    },
    "adam, one_cycle": {"optimizer": Adam(0.01), "schedule": "one_cycle", "clip_norm": 0.5, "label_smoothing": 0.1},
    "adamw, weights": {"optimizer": AdamW(), "weight_decay": 0.1, "sample_weight": np.linspace(0.1, 2, 60), "seed": 9},
    "in order": {"shuffle": False, "schedule": "linear", "validation": (X[:20], Y[:20])},
}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """By name of the settings and backend: the network, its history and the folder of its checkpoints, made once."""

    @cache
    def fitted(name, backend):
        net, folder = network(), tmp_path_factory.mktemp("whole")
        return net, net.fit(X, Y, callbacks=[Checkpoint(folder)], **settings_of(name, backend)), folder

    return fitted


def settings_of(name, backend):
    return {"epochs": 4, "batch_size": 7, "validation": 0.1, "backend": backend, **SETTINGS[name]}


@pytest.mark.parametrize(("epoch", "step"), [(2, None), (1, 1), (3, 8), (4, None)])
@pytest.mark.parametrize("name", SETTINGS)
def test_resumed_is_as_uninterrupted(name, epoch, step, backend, tmp_path, uninterrupted):
    at = At(press, epoch, step) if step else At(fail, epoch)  # a crash right behind a checkpoint
    with pytest.raises((KeyboardInterrupt, FaultError)):
        network().fit(X, Y, callbacks=[Checkpoint(tmp_path), at], **settings_of(name, backend))
    net, last = network(), tmp_path / "last.safetensors"
    resumed = net.fit(X, Y, callbacks=[Checkpoint(tmp_path)], resume=last, **settings_of(name, backend))
    whole, history, folder = uninterrupted(name, backend)
    assert weights(net) == weights(whole)
    assert figures(resumed) == figures(history)
    assert net.epochs == whole.epochs == 4
    for file in ("last.safetensors", "model.safetensors"):  # the optimiser's state is in the first
        one, other = load_file(folder / file), load_file(tmp_path / file)
        assert one.keys() == other.keys()
        assert all(one[key].tobytes() == other[key].tobytes() for key in one)
    if "adaptive" in name:
        assert len(set(history["learning_rate"])) > 1


def test_a_resumed_fit_is_augmented_as_before(backend, tmp_path):
    samples, y = pictures()
    settings = {"epochs": 3, "batch_size": 7, "augment": Augment(shift=1, noise=0.1), "backend": backend}

    def fitted(**more):
        net = MLP([Input(25, scale=1 / 255), Dense(6, "relu"), Dense(2, "softmax")])
        net.metadata["image"] = [5, 5]
        net.fit(samples, y, **settings, **more)
        return net

    with pytest.raises(KeyboardInterrupt):
        fitted(callbacks=[At(press, 2, 3), Checkpoint(tmp_path)])
    assert weights(fitted(resume=tmp_path / "last.safetensors")) == weights(fitted())


def test_resuming_a_second_fit(backend, tmp_path):
    net, whole = network(), network()
    for callbacks in ([], [At(press, 2, 3), Checkpoint(tmp_path)]):
        whole.fit(X, Y, epochs=3, batch_size=10, backend=backend)
        try:
            net.fit(X, Y, epochs=3, batch_size=10, callbacks=callbacks, backend=backend)
        except KeyboardInterrupt:
            net.fit(X, Y, epochs=3, batch_size=10, resume=tmp_path / "last.safetensors", backend=backend)
    assert weights(net) == weights(whole)
    assert net.epochs == whole.epochs == 6


def test_epochs_may_be_raised(backend, tmp_path):
    net, whole = network(), network()
    net.fit(X, Y, epochs=2, optimizer="momentum", callbacks=[Checkpoint(tmp_path)], backend=backend)
    again = network()
    history = again.fit(X, Y, epochs=4, optimizer="momentum", resume=tmp_path / "last.safetensors", backend=backend)
    same = whole.fit(X, Y, epochs=4, optimizer="momentum", backend=backend)
    assert weights(again) == weights(whole)
    assert figures(history) == figures(same)


def test_a_fit_that_was_stopped_early_stays_so(backend, tmp_path):
    settings = {"epochs": 20, "validation": (X, 2 - Y), "backend": backend, "optimizer": SGD(0.5)}
    net, again = network(), network()
    history = net.fit(X, Y, callbacks=[EarlyStopping(2), Checkpoint(tmp_path)], **settings)
    assert len(history) < 20
    last = tmp_path / "last.safetensors"
    assert figures(again.fit(X, Y, callbacks=[EarlyStopping(2)], resume=last, **settings)) == figures(history)
    assert weights(again) == weights(net)
    assert len(again.fit(X, Y, callbacks=[EarlyStopping(4)], resume=last, **settings)) > len(history)


BEFORE = {"epochs": 1, "batch_size": 10, "optimizer": Adam(), "validation": 0.2}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"batch_size": 11}, "batch_size was 10 in the checkpoint and is 11 now"),
        ({"optimizer": "sgd"}, "optimizer was"),
        ({"optimizer": Adam(0.02)}, "optimizer was .*'learning_rate': 0.001.* is .*'learning_rate': 0.02"),
        ({"schedule": "linear"}, "schedule was"),
        ({"weight_decay": 0.1}, "weight_decay was 0.0 in the checkpoint and is 0.1 now"),
        ({"clip_norm": 1}, "clip_norm was"),
        ({"label_smoothing": 0.1}, "label_smoothing was"),
        ({"shuffle": False}, "shuffle was True"),
        ({"augment": Augment(noise=0.1)}, "augment was"),
        ({"seed": 4}, "seed was 3"),
        ({"validation": 0.3}, "samples was 48"),
        ({"validation": (X, Y)}, "samples was 48|validation was 12"),
        ({"backend": "neither"}, "backend was"),
    ],
)
def test_other_settings_cannot_be_resumed_with(changes, name, backend, tmp_path):
    network().fit(X, Y, callbacks=[Checkpoint(tmp_path)], backend=backend, **BEFORE)
    changes = {key: BOTH[not BOTH.index(backend)] if key == "backend" else value for key, value in changes.items()}
    net = network()
    settings = {"backend": backend, **BEFORE, "epochs": 2, **changes}
    with pytest.raises(ConfigError, match=f"cannot resume: .*{name}"):
        net.fit(X, Y, resume=tmp_path / "last.safetensors", **settings)
    assert weights(net) == weights(network())


def test_another_network_cannot_be_resumed(backend, tmp_path):
    network().fit(X, Y, callbacks=[Checkpoint(tmp_path)], backend=backend, **BEFORE)
    with pytest.raises(ConfigError, match="the checkpoint holds another network"):
        MLP.from_sizes([4, 8, 3]).fit(X, Y, resume=tmp_path / "last.safetensors", backend=backend, **BEFORE)


def test_a_model_is_no_checkpoint(backend, tmp_path):
    network().save(tmp_path / "model.safetensors")
    with pytest.raises(ModelFileError, match="without the state of its training; resume from last"):
        network().fit(X, Y, resume=tmp_path / "model.safetensors", backend=backend)
    with pytest.raises(ModelFileError, match="no such model file"):
        network().fit(X, Y, resume=tmp_path / "last.safetensors", backend=backend)


@pytest.mark.parametrize(
    "damage",
    [
        lambda kept: kept.progress.clear(),
        lambda kept: kept.progress.update(epoch=-1),
        lambda kept: kept.progress.update(step="1"),
        lambda kept: kept.progress.update(step=-3),
        lambda kept: kept.progress.update(before=None),
        lambda kept: kept.progress.update(totals=[1.0]),
        lambda kept: kept.progress.update(totals=[1.0, 2.0, float("nan")]),
        lambda kept: kept.progress.update(history=[]),
        lambda kept: kept.progress.update(history=[1]),
        lambda kept: kept.progress.update(fixed={}),
        lambda kept: kept.progress.update(fixed=5),
        lambda kept: kept.state.pop(),
        lambda kept: kept.state.append(aligned_zeros(network().architecture.size)),
    ],
)
def test_a_checkpoint_that_makes_no_sense_is_refused(damage, backend, tmp_path):
    path = tmp_path / "last.safetensors"
    network().fit(X, Y, callbacks=[Checkpoint(tmp_path)], backend=backend, **BEFORE)
    net, kept = safetensors.load(path, MLP)
    damage(kept)
    safetensors.save(path, net, kept)
    with pytest.raises(ModelFileError, match="cannot be resumed from"):
        network().fit(X, Y, resume=path, backend=backend, **{**BEFORE, "epochs": 2})


# ---------------------------------------------------------------- divergence


def steep(epochs: int, backend: str, **settings) -> MLP:
    """One weight, whose error grows a millionfold with each epoch: above all float32 in the fourth."""
    net = MLP([Input(1), Dense(1)], weight_init="zeros")
    with np.errstate(all="ignore"):
        net.fit([[1.0]], [1.0], epochs=epochs, optimizer=SGD(1e6), backend=backend, **settings)
    return net


def test_divergence_names_epoch_and_cause_and_gives_the_weights_back(backend):
    kept = []

    class Keep(Callback):
        def on_epoch_end(self, fit, record):
            kept.append((fit.network, weights(fit.network), record["epoch"]))

    with pytest.raises(DivergedError, match=r"diverged in epoch \d: the \w+ became NaN or infinite; ") as caught:
        steep(20, backend, callbacks=[Keep()])
    net, last, epoch = kept[-1]
    assert weights(net) == last
    assert caught.value.epoch == epoch + 1 == net.epochs + 1 > 2
    assert caught.value.exit_code == 3
    assert f"epoch {epoch + 1}:" in str(caught.value)
    assert "the learning rate 1e+06 of sgd is likely too high: try 100000 or clip_norm = 1" in str(caught.value)
    assert np.isfinite(net.outputs([[1.0]], backend)).all()


def test_inputs_that_were_not_scaled_are_named_as_the_cause(backend):
    net = MLP([Input(4, scale=2.0), Dense(8, "relu"), Dense(1)])
    with np.errstate(all="ignore"), pytest.raises(DivergedError, match=r"inputs reach 2e\+04: scale them"):
        net.fit(np.full((60, 4), -1e4), Y, epochs=50, backend=backend)


def test_the_state_of_the_optimizer_can_show_divergence(backend):
    net = MLP([Input(1), Dense(1)])
    with np.errstate(all="ignore"), pytest.raises(DivergedError, match="the state of the optimizer became NaN"):
        net.fit([[10.0]], [1e19], epochs=1, optimizer="rmsprop", backend=backend)  # the gradient's square overflows


def test_a_validation_set_can_show_divergence(backend):
    net = MLP([Input(1), Dense(1)])
    with np.errstate(all="ignore"), pytest.raises(DivergedError, match="the validation loss became NaN or infinite"):
        net.fit([[1.0]], [1.0], epochs=1, validation=([[1e30]], [1.0]), backend=backend)


def test_divergence_leaves_the_last_good_checkpoint(backend, tmp_path):
    with pytest.raises(DivergedError) as caught:
        steep(20, backend, callbacks=[Checkpoint(tmp_path)])
    net, kept = safetensors.load(tmp_path / "last.safetensors", MLP)
    assert kept.progress["epoch"] == net.epochs == caught.value.epoch - 1
    assert weights(net) == weights(load(tmp_path / "model.safetensors"))
    assert sorted(os.listdir(tmp_path)) == ["last.safetensors", "model.safetensors"]


@pytest.mark.parametrize("when", [(1, None), (2, 1)])  # Ctrl-C waits for the next step, or comes after it
def test_ctrl_c_amid_divergence_does_not_overwrite_the_last_good_checkpoint(backend, when, tmp_path):
    def nudge(fit):  # the next step's loss is finite still, the weights are not
        fit.network.parameters()[0][0][:] = 1

    net, folder = MLP([Input(1), Dense(1)], weight_init="zeros"), Checkpoint(tmp_path)
    with np.errstate(all="ignore"), pytest.raises((DivergedError, KeyboardInterrupt)) as caught:
        net.fit(
            [[10.0]] * 3,
            [0.0] * 3,
            epochs=2,
            batch_size=1,
            optimizer=SGD(3e38),
            callbacks=[folder, At(nudge, 1), At(press, *when)],
            backend=backend,
        )
    assert "the weights became NaN or infinite" in str(caught.value)
    assert load(tmp_path / "last.safetensors").epochs == 1
