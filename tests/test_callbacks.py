import os
import time

import numpy as np
import pytest

from fastnn import MLP, SGD, Callback, Checkpoint, Dense, EarlyStopping, History, Input, load
from fastnn.errors import ConfigError, OutputError
from tests.samples import BOTH, blobs, weights

X, Y = blobs()
WORSE = (X, 2 - Y)  # to be judged on: what is learnt makes it worse


def network(**arguments) -> MLP:
    return MLP([Input(4), Dense(8, "tanh"), Dense(3, "softmax")], **arguments)


class Diary(Callback):
    """Writes down what it is told, with some attributes of the fit."""

    def __init__(self, *names):
        self.names, self.lines = names, []

    def note(self, what, fit):
        self.lines.append((what, *(getattr(fit, name) for name in self.names)))

    def on_fit_begin(self, fit):
        self.note("begin", fit)

    def on_advance(self, fit):
        self.note("advance", fit)

    def on_epoch_end(self, fit, record):
        assert fit.history.records[-1] is record
        self.note("epoch", fit)

    def on_interrupt(self, fit):
        self.note("interrupt", fit)

    def on_fit_end(self, fit):
        self.note("end", fit)


# ---------------------------------------------------------------- what a fit tells


@pytest.mark.parametrize("backend", BOTH)
def test_a_fit_tells_where_it_is(backend, monkeypatch):
    monkeypatch.setattr("fastnn.pace.SLICE_SECONDS", 0.0)  # on_advance after each step
    diary = Diary("epoch", "done")
    network().fit(X, Y, epochs=2, batch_size=25, callbacks=[diary], backend=backend)
    steps = [[("advance", epoch, done) for done in (25, 50, 60)] + [("epoch", epoch + 1, 0)] for epoch in range(2)]
    assert diary.lines == [("begin", 0, 0), *steps[0], *steps[1], ("end", 2, 0)]


@pytest.mark.parametrize("backend", BOTH)
def test_a_fit_tells_how_it_goes(backend):
    diary = Diary("network", "epochs", "samples", "backend", "threads", "loss", "accuracy", "samples_per_second")
    net = network()
    net.fit(X, Y, epochs=1, batch_size=60, callbacks=[diary], backend=backend, threads=2, optimizer=SGD(1e-9))
    ((_, said, epochs, samples, name, threads, loss, accuracy, speed),) = [x for x in diary.lines if x[0] == "advance"]
    assert said is net
    assert (epochs, samples, name, threads) == (1, 60, backend, 2)
    judged = net.evaluate(X, Y, backend=backend)
    assert (loss, accuracy) == (pytest.approx(judged["loss"]), judged["accuracy"])
    assert speed > 0


def test_a_fit_tells_its_times():
    class Look(Callback):
        def on_fit_end(self, fit):
            assert sum(fit.history["seconds"]) < fit.train_seconds <= time.perf_counter() - start
            assert fit.compile_seconds == 0  # this process has the kernels by now
            assert fit.compiled is False
            seen.append(fit)

    seen: list = []
    network().predict(X)
    start = time.perf_counter()
    network().fit(X, Y, epochs=3, callbacks=[Look()])
    assert len(seen) == 1


def test_converting_the_input_is_part_of_training(monkeypatch):
    class Look(Callback):
        def on_fit_end(self, fit):
            assert fit.train_seconds - sum(fit.history["seconds"]) >= 1000
            seen.append(fit)

    def slow(*arguments):
        passed.append(1000)
        return convert(*arguments)

    seen: list = []
    passed: list[int] = []  # what the clock is put forward by
    convert, clock = MLP.examples, time.perf_counter
    net = network()
    monkeypatch.setattr(time, "perf_counter", lambda: clock() + sum(passed))
    monkeypatch.setattr(MLP, "examples", lambda self, *arguments: slow(self, *arguments))
    net.fit(X, Y, epochs=1, callbacks=[Look()])
    assert len(seen) == 1


def test_regression_has_no_accuracy():
    diary = Diary("accuracy")
    MLP([Input(4), Dense(1)]).fit(X, Y, epochs=1, optimizer=SGD(0.001), callbacks=[diary])
    assert {line[1] for line in diary.lines} == {None}


def test_any_callback_may_end_the_fit_after_the_epoch():
    class Enough(Callback):
        def on_advance(self, fit):
            fit.stop = fit.epoch == 1

    diary = Diary("done")
    history = network().fit(X, Y, epochs=9, batch_size=10, callbacks=[Enough(), diary])
    assert len(history) == 2
    assert diary.lines[-2:] == [("epoch", 0), ("end", 0)]
    assert ("advance", 60) in diary.lines


# ---------------------------------------------------------------- history


def record(**values) -> dict:
    return {"epoch": 1, "loss": 0.5, **values}


def test_history_is_a_table():
    history = History([record(epoch=1), record(epoch=2, loss=0.25)])
    assert len(history) == 2
    assert history["loss"] == [0.5, 0.25]
    assert "2 epochs" in repr(history)
    assert "0 epochs" in repr(History())
    with pytest.raises(KeyError):
        history["val_loss"]


@pytest.mark.parametrize(
    ("judged", "best"),
    [
        ([], None),
        ([(0.9, 0.5), (0.8, 0.7), (0.7, 0.6)], 1),  # accuracy first
        ([(0.9, 0.7), (0.8, 0.7), (0.85, 0.7)], 1),  # then the loss
        ([(0.9, 0.7), (0.9, 0.7)], 0),  # the first of equals
        ([(0.9, None), (0.7, None), (0.8, None)], 1),  # regression: the loss
    ],
)
def test_the_best_epoch(judged, best):
    assert History([record(val_loss=loss, val_accuracy=accuracy) for loss, accuracy in judged]).best == best


def test_what_the_best_epoch_is_best_by():
    records = [record(val_loss=loss, val_accuracy=right) for loss, right in ((0.9, 0.5), (0.8, 0.7), (0.7, 0.6))]
    assert (History(records, "accuracy").best, History(records, "loss").best) == (1, 2)


def test_without_validation_there_is_no_best_epoch():
    assert History([record(), record()]).best is None


# ---------------------------------------------------------------- early stopping


@pytest.mark.parametrize("backend", BOTH)
@pytest.mark.parametrize("patience", [1, 3])
def test_training_stops_when_validation_no_longer_improves(patience, backend):
    stopping = [EarlyStopping(patience)]
    history = network().fit(X, Y, epochs=50, validation=WORSE, callbacks=stopping, backend=backend)
    assert len(history) == history.best + 1 + patience < 50


def test_training_goes_on_while_validation_improves():
    history = network().fit(X, Y, epochs=8, optimizer=SGD(0.01), validation=(X, Y), callbacks=[EarlyStopping(2)])
    assert len(history) == 8


def test_without_validation_the_training_loss_is_judged():
    stopping = [EarlyStopping(2)]
    history = network().fit(X, Y, epochs=50, batch_size=5, optimizer=SGD(3.0), callbacks=stopping)
    best = int(np.argmin(history["loss"]))
    assert len(history) == best + 3 < 50


@pytest.mark.parametrize("patience", [0, -1, 1.5, True, "2"])
def test_a_bad_patience_is_refused(patience):
    with pytest.raises(ConfigError, match="patience must be a whole number at least 1"):
        EarlyStopping(patience)


# ---------------------------------------------------------------- checkpoints


class Album(Callback):
    """The weights at the end of each epoch, and what the folder held then."""

    def __init__(self, folder):
        self.folder, self.pages, self.files = folder, [], []

    def on_epoch_end(self, fit, record):
        self.pages.append(weights(fit.network))
        self.files.append(sorted(os.listdir(self.folder)))


@pytest.mark.parametrize("backend", BOTH)
def test_the_best_and_the_last_are_kept(backend, tmp_path):
    album, net = Album(tmp_path), network()
    folder = Checkpoint(tmp_path)
    history = net.fit(X, Y, epochs=6, optimizer=SGD(0.5), validation=WORSE, callbacks=[folder, album], backend=backend)
    assert 0 <= history.best < 5
    best, last = load(tmp_path / "model.safetensors"), load(tmp_path / "last.safetensors")
    assert weights(best) == album.pages[history.best]
    assert best.epochs == history.best + 1
    assert weights(last) == album.pages[-1] == weights(net)
    assert album.files == [["last.safetensors", "model.safetensors"]] * 6


def test_without_validation_the_last_is_the_best(tmp_path):
    net = network()
    net.fit(X, Y, epochs=3, callbacks=[Checkpoint(str(tmp_path))])
    assert weights(load(tmp_path / "model.safetensors")) == weights(net)
    assert load(tmp_path / "model.safetensors").epochs == 3


def test_a_folder_that_is_not_there_is_an_output_error(tmp_path):
    net = network()
    with pytest.raises(OutputError, match="cannot write"):
        net.fit(X, Y, epochs=1, callbacks=[Checkpoint(tmp_path / "missing")])
    assert net.epochs == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"callbacks": EarlyStopping(2)}, "list of Callback"), ({"callbacks": [1]}, "list of Callback")],
)
def test_what_is_no_list_of_callbacks_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        network().fit(X, Y, **settings)


def test_what_is_no_augment_is_refused():
    with pytest.raises(ConfigError, match="must be an Augment"):
        network().fit(X, Y, augment={"shift": 2})


def test_a_history_can_be_looked_at(tmp_path):
    history = History(
        [{"epoch": 1, "loss": 0.5, "learning_rate": 0.1}, {"epoch": 2, "loss": 0.25, "learning_rate": 0.1}]
    )
    shown = history.plot(tmp_path / "curves.png")
    assert shown._repr_png_() == (tmp_path / "curves.png").read_bytes()
    assert shown.startswith(b"\x89PNG")
    assert history._repr_html_().count("<tr>") == 3
    assert "0.25" in history._repr_html_()
    assert "dense relu" in MLP.from_sizes([3, 4, 2])._repr_html_()
