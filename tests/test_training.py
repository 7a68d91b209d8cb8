import math

import numpy as np
import pytest

from fastnn import MLP, SGD, Adam, AdamW, Augment, Callback, Dense, Dropout, Input, Momentum
from fastnn.data import split_rows
from fastnn.errors import ConfigError, DataError
from fastnn.optimizers import OPTIMIZERS, Optimizer
from fastnn.schedules import SCHEDULES
from tests.samples import BOTH, blobs, figures, pictures, weights

pytestmark = pytest.mark.parametrize("backend", BOTH)

X, Y = blobs()


def network(**arguments) -> MLP:
    return MLP([Input(4), Dense(8, "tanh"), Dense(3, "softmax")], **arguments)


def noisy() -> MLP:
    """A network whose training draws random numbers in every place where it may."""
    return MLP([Input(4), Dropout(0.1), Dense(8, "relu"), Dropout(0.4), Dense(3, "softmax")], seed=3)


def trained(net: MLP, backend: str, *samples, **settings) -> MLP:
    net.fit(*(samples or (X, Y)), backend=backend, **settings)
    return net


def one_step(backend: str, **settings) -> list[tuple[np.ndarray, np.ndarray]]:
    """The parameters after one step with the whole batch."""
    return trained(network(), backend, **{"epochs": 1, "batch_size": 0, **settings}).parameters()


# ---------------------------------------------------------------- it learns


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_loss_falls(optimizer, backend):
    history = network().fit(X, Y, epochs=8, batch_size=10, optimizer=optimizer, backend=backend)
    assert history["loss"][-1] < 0.9 * history["loss"][0]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_schedule_sets_the_learning_rate(schedule, backend):
    history = network().fit(X, Y, epochs=5, batch_size=10, schedule=schedule, optimizer=SGD(0.05), backend=backend)
    rates = [0.05 * SCHEDULES[schedule]().multipliers(epoch, 5, 6, history["loss"][:epoch])[0] for epoch in range(5)]
    assert history["learning_rate"] == rates


def test_the_schedule_is_followed_step_by_step(backend):
    one, other = network(), network()
    whole = {"epochs": 1, "shuffle": False, "backend": backend}
    one.fit(X, Y, batch_size=30, schedule="linear", optimizer=SGD(0.5), **whole)
    other.fit(X[:30], Y[:30], batch_size=0, optimizer=SGD(0.5), **whole)
    other.fit(X[30:], Y[30:], batch_size=0, optimizer=SGD(0.25), **whole)
    assert weights(one) == weights(other)


def test_the_optimizer_goes_on_from_epoch_to_epoch(backend):
    one, other = network(), network()
    settings = {"batch_size": 60, "shuffle": False, "optimizer": Adam(0.01), "backend": backend}
    one.fit(X, Y, epochs=3, **settings)
    other.fit(np.tile(X, (3, 1)), np.tile(Y, 3), epochs=1, **settings)
    assert weights(one) == weights(other)


def test_exclusive_or_is_learnt(backend):
    corners, odd = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.uint8), np.array([0, 1, 1, 0])
    net = MLP.from_sizes([2, 8, 2], "tanh", seed=1)
    history = net.fit(corners, odd, epochs=150, batch_size=0, optimizer=Adam(0.05), backend=backend)
    assert history["accuracy"][-1] == 1
    assert net.predict(corners, backend=backend).tolist() == odd.tolist()
    assert history["loss"][-1] < 0.05


def test_a_line_is_learnt(backend):
    inputs = np.linspace(-1, 1, 20)[:, None]
    net = MLP.from_sizes([1, 1], output="identity")
    history = net.fit(inputs, 3 * inputs[:, 0] - 2, epochs=60, batch_size=5, backend=backend, validation=0.25)
    assert set(history["accuracy"]) == set(history["val_accuracy"]) == {None}
    assert history["val_loss"][-1] < 1e-6
    (slope,), (intercept,) = net.parameters()[0]
    assert (slope.item(), intercept) == (pytest.approx(3, abs=0.01), pytest.approx(-2, abs=0.01))


def test_two_classes_are_learnt_with_one_output(backend):
    net = MLP.from_sizes([4, 6, 1], output="sigmoid")
    history = net.fit(X, Y == 1, epochs=30, batch_size=10, optimizer=Adam(0.02), backend=backend)
    assert history["accuracy"][-1] > 0.9
    assert net.evaluate(X, Y == 1)["accuracy"] == np.mean(net.predict(X) == (Y == 1)) > 0.9


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "identity"])
def test_classes_are_learnt_with_the_quadratic_loss(activation, backend):
    def fitted(y):
        net = MLP.from_sizes([4, 8, 3], "sigmoid", activation, loss="quadratic")
        return net, net.fit(X, y, epochs=30, batch_size=5, optimizer=Momentum(0.05), backend=backend)

    net, history = fitted(Y)
    assert history["accuracy"][-1] > 0.85
    assert history["loss"][-1] < 0.3
    other, same = fitted(np.eye(3)[Y])
    assert weights(other) == weights(net)
    assert figures(same) == figures(history)


def test_one_hot_rows_are_labels(backend):
    one, other = noisy(), noisy()
    histories = [
        net.fit(X, y, epochs=2, validation=0.2, backend=backend) for net, y in ((one, Y), (other, np.eye(3)[Y]))
    ]
    assert weights(one) == weights(other)
    assert figures(histories[0]) == figures(histories[1])


# ---------------------------------------------------------------- what is recorded


def test_the_record_of_an_epoch(backend):
    net = network()
    history = net.fit(X, Y, epochs=3, batch_size=10, backend=backend)
    assert list(history.records[0]) == ["epoch", "learning_rate", "loss", "accuracy", "seconds", "samples_per_second"]
    assert history["epoch"] == [1, 2, 3]
    assert all(second > 0 for second in history["seconds"])
    assert history["samples_per_second"] == [60 / seconds for seconds in history["seconds"]]
    history = net.fit(X, Y, epochs=1, validation=(X[:9], Y[:9]), backend=backend)
    assert list(history.records[0])[4:6] == ["val_loss", "val_accuracy"]
    judged = net.evaluate(X[:9], Y[:9], backend=backend)
    assert (history["val_loss"][0], history["val_accuracy"][0]) == (judged["loss"], judged["accuracy"])


def test_the_loss_of_an_epoch_is_the_mean_over_its_samples(backend):
    history = network().fit(X, Y, epochs=1, batch_size=7, optimizer=SGD(1e-12), backend=backend)  # 60 = 8 * 7 + 4
    judged = network().evaluate(X, Y, backend=backend)
    assert history["loss"][0] == pytest.approx(judged["loss"], rel=1e-5)
    assert history["accuracy"][0] == judged["accuracy"]


@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_does_not_depend_on_how_often_the_loop_looks_up(weighted, backend, monkeypatch):
    runs = []
    for seconds in (0.0, 1e9):  # a step at a time, or as many as there are
        monkeypatch.setattr("fastnn.pace.SLICE_SECONDS", seconds)
        net, share = noisy(), np.linspace(0.1, 2, 60) if weighted else None
        history = net.fit(X, Y, epochs=25, batch_size=4, sample_weight=share, backend=backend, optimizer=Adam(0.03))
        runs.append((weights(net), figures(history)))
    assert runs[0] == runs[1]


# ---------------------------------------------------------------- validation


@pytest.mark.parametrize("fraction", [0.2, np.float32(0.2)])
def test_a_fraction_is_held_out(fraction, backend):
    class Look(Callback):
        def on_fit_begin(self, fit):
            assert fit.samples == 48

    rest, part = split_rows(60, 0.2, 7)
    one, other = network(), network()
    share = np.linspace(0.5, 1, 60)
    settings = {"epochs": 2, "seed": 7, "backend": backend}
    history = one.fit(X, Y, validation=fraction, sample_weight=share, callbacks=[Look()], **settings)
    held = (X[part], Y[part], share[part])
    same = other.fit(X[rest], Y[rest], validation=held, sample_weight=share[rest], **settings)
    assert weights(one) == weights(other)
    assert figures(history) == figures(same)


def test_validation_changes_nothing_but_the_record(backend):
    assert weights(trained(noisy(), backend, epochs=2)) == weights(
        trained(noisy(), backend, epochs=2, validation=(X, Y))
    )


@pytest.mark.parametrize("none", [None, 0, 0.0])
def test_no_validation(none, backend):
    assert "val_loss" not in network().fit(X, Y, epochs=1, validation=none, backend=backend).records[0]


@pytest.mark.parametrize(
    ("validation", "error", "message"),
    [
        (1.0, ConfigError, "a fraction to split off must lie between 0 and 1"),
        (-0.1, ConfigError, "a fraction to split off"),
        (math.nan, ConfigError, "a fraction to split off"),
        (True, ConfigError, r"validation must be \(X, y\)"),
        ("0.2", ConfigError, r"validation must be \(X, y\)"),
        ((X,), ConfigError, r"validation must be \(X, y\)"),
        ((X, Y[1:]), DataError, "X has 60 samples but y has 59"),
        ((X[:, 1:], Y), DataError, "X has the shape"),
        ((X[:0], Y[:0]), DataError, "the validation set is empty"),
    ],
)
def test_bad_validation_is_refused(validation, error, message, backend):
    with pytest.raises(error, match=message):
        network().fit(X, Y, validation=validation, backend=backend)


# ---------------------------------------------------------------- batches


def test_batch_size_0_and_any_beyond_the_samples_are_the_full_batch(backend):
    samples = blobs(100)
    full, exact, beyond = (trained(noisy(), backend, *samples, epochs=3, batch_size=size) for size in (0, 100, 10**6))
    assert weights(full) == weights(exact) == weights(beyond)
    assert weights(full) != weights(trained(noisy(), backend, *samples, epochs=3, batch_size=99))


@pytest.mark.parametrize("size", [1, 7, 20, 64])
def test_batches_follow_each_other_and_the_last_may_be_smaller(size, backend):
    one, other = (MLP([Input(4), Dense(20, "tanh"), Dense(3)]) for _ in range(2))  # fewer units: rounded in other ways
    one.fit(X, Y, epochs=1, batch_size=size, shuffle=False, backend=backend)
    for start in range(0, 60, size):
        part = slice(start, start + size)
        other.fit(X[part], Y[part], epochs=1, batch_size=0, shuffle=False, backend=backend)
    assert weights(one) == weights(other)


@pytest.mark.parametrize("shuffle", [True, False])
def test_each_epoch_has_an_order_of_its_own_if_it_is_wished(shuffle, backend, monkeypatch):
    monkeypatch.setattr("fastnn.pace.SLICE_SECONDS", 0.0)  # on_advance after each step
    orders = {}

    class Look(Callback):
        def on_advance(self, fit):  # the loss of sample k is 4^k / 2, so the sums tell which samples came
            orders.setdefault(fit.before + fit.epoch, []).append(fit.loss * fit.done)

    net = MLP([Input(1), Dense(1)], weight_init="zeros")
    for epochs in (2, 2):
        net.fit(
            np.zeros((6, 1)),
            2.0 ** np.arange(6),
            epochs=epochs,
            batch_size=1,
            optimizer=SGD(1e-30),
            shuffle=shuffle,
            callbacks=[Look()],
            backend=backend,
        )
    assert len(orders) == 4
    assert all(order[-1] == pytest.approx((4**6 - 1) / 6) for order in orders.values())  # each sample once
    assert len({tuple(order) for order in orders.values()}) == (4 if shuffle else 1)


# ---------------------------------------------------------------- settings, each by what it does to one step


def test_weight_decay_shrinks_weights_but_not_biases(backend):
    first = network().parameters()
    plain, decayed = (one_step(backend, optimizer=SGD(0.5), weight_decay=decay) for decay in (0.0, 0.1))
    for (W0, _), (W, b), (V, c) in zip(first, plain, decayed, strict=True):
        np.testing.assert_allclose(V, W - 0.5 * 0.1 * W0, atol=1e-6)
        np.testing.assert_array_equal(b, c)


def test_adamw_decays_apart_from_the_gradient(backend):
    first = network().parameters()
    plain, decayed = one_step(backend, optimizer=Adam(0.01)), one_step(backend, optimizer=AdamW(0.01), weight_decay=0.1)
    for (W0, _), (W, b), (V, c) in zip(first, plain, decayed, strict=True):
        np.testing.assert_allclose(V, W - 0.01 * 0.1 * W0, atol=1e-6)
        np.testing.assert_array_equal(b, c)


@pytest.mark.parametrize("limit", [0.01, 1e6])
def test_clipping_bounds_the_norm_and_keeps_the_direction(limit, backend):
    gradients = [d for pair in network().gradients(X, Y, backend=backend) for d in pair]
    norm = math.sqrt(sum((d.astype(float) ** 2).sum() for d in gradients))
    assert norm > 0.02
    first = [p for pair in network().parameters() for p in pair]
    last = [p for pair in one_step(backend, optimizer=SGD(1.0), clip_norm=limit) for p in pair]
    for p, q, d in zip(first, last, gradients, strict=True):
        np.testing.assert_allclose(p - q, d * min(1, limit / norm), atol=1e-6)


def test_label_smoothing_is_training_on_softer_targets(backend):
    smoothed = one_step(backend, optimizer=SGD(0.5), label_smoothing=0.3)
    soft = trained(network(), backend, X, np.eye(3)[Y] * 0.7 + 0.1, epochs=1, batch_size=0, optimizer=SGD(0.5))
    for (W, b), (V, c) in zip(smoothed, soft.parameters(), strict=True):
        np.testing.assert_allclose(W, V, atol=1e-6)
        np.testing.assert_allclose(b, c, atol=1e-6)


def test_label_smoothing_needs_classes(backend):
    net = MLP.from_sizes([4, 3], output="sigmoid", loss="quadratic")
    with pytest.raises(ConfigError, match="label smoothing needs cross_entropy or binary_cross_entropy"):
        net.fit(X, Y, label_smoothing=0.1, backend=backend)


# ---------------------------------------------------------------- sample weights


def test_a_sample_of_weight_0_is_not_there(backend):
    there = np.arange(60) % 3 > 0
    settings = {"epochs": 4, "batch_size": 0, "shuffle": False, "optimizer": Adam(0.05)}
    one, other = network(), network()
    history = one.fit(X, Y, sample_weight=there, backend=backend, **settings)
    same = other.fit(X[there], Y[there], backend=backend, **settings)
    np.testing.assert_allclose(one.flat, other.flat, atol=1e-4)
    np.testing.assert_allclose(history["loss"], same["loss"], rtol=1e-5)
    assert history["accuracy"] == pytest.approx(same["accuracy"])


def test_only_the_proportion_of_weights_counts(backend):
    share = np.linspace(0.2, 2, 60)
    runs = [(net := network(), net.fit(X, Y, epochs=3, sample_weight=s, backend=backend)) for s in (share, 2 * share)]
    (one, history), (other, same) = runs
    np.testing.assert_allclose(one.flat, other.flat, atol=1e-5)
    np.testing.assert_allclose(history["loss"], same["loss"], rtol=1e-5)
    assert weights(one) != weights(trained(network(), backend, epochs=3))


def test_a_batch_of_weight_0_teaches_nothing(backend):
    share = np.r_[np.ones(30), np.zeros(30)]
    settings = {"epochs": 1, "batch_size": 30, "shuffle": False}
    one = trained(network(), backend, X, Y, sample_weight=share, **settings)
    assert weights(one) == weights(trained(network(), backend, X[:30], Y[:30], **settings))


def test_a_split_that_leaves_no_weight_on_one_side_is_refused(backend):
    rest, part = split_rows(60, 0.2, 0)
    for rows, name in ((rest, "validation"), (part, "training")):
        with pytest.raises(DataError, match=f"all samples of the {name} set have weight 0"):
            network().fit(X, Y, validation=0.2, sample_weight=np.isin(np.arange(60), rows), backend=backend)


# ---------------------------------------------------------------- again, and again


def test_the_same_run_twice_is_the_same(backend):
    runs = [(net := noisy(), net.fit(X, Y, epochs=3, validation=0.2, backend=backend)) for _ in range(2)]
    assert weights(runs[0][0]) == weights(runs[1][0])
    assert figures(runs[0][1]) == figures(runs[1][1])


def test_another_seed_is_another_order_but_not_other_first_weights(backend):
    one, other = trained(network(), backend, epochs=1, seed=1), trained(network(), backend, epochs=1, seed=2)
    assert weights(one) != weights(other)
    assert weights(trained(network(), backend, epochs=1)) == weights(trained(network(), backend, epochs=1, seed=0))


def test_another_seed_is_other_dropout(backend):
    runs = [trained(noisy(), backend, epochs=1, batch_size=0, shuffle=False, seed=seed) for seed in (1, 2, 1)]
    assert weights(runs[0]) == weights(runs[2]) != weights(runs[1])


def test_a_second_fit_goes_on(backend):
    net, whole = noisy(), noisy()
    histories = [net.fit(X, Y, epochs=epochs, backend=backend) for epochs in (1, 2)]
    history = whole.fit(X, Y, epochs=3, backend=backend)
    assert net.epochs == whole.epochs == 3
    assert weights(net) == weights(whole)  # so the orders and masks went on, too
    assert [*histories[0]["loss"], *histories[1]["loss"]] == history["loss"]
    assert histories[1]["epoch"] == [1, 2]


def test_a_second_fit_with_the_epochs_of_the_first_would_be_another(backend):
    net, whole = noisy(), trained(noisy(), backend, epochs=2)
    trained(net, backend, epochs=1).epochs = 0
    assert weights(trained(net, backend, epochs=1)) != weights(whole)


def test_after_a_reset_all_is_as_at_first(backend):
    net = trained(noisy(), backend, epochs=2)
    net.reset(net.seed)
    assert weights(trained(net, backend, epochs=1)) == weights(trained(noisy(), backend, epochs=1))
    net.reset(11)
    assert (net.epochs, net.seed) == (0, 11)
    assert weights(trained(net, backend, epochs=1)) != weights(trained(noisy(), backend, epochs=1))


def test_no_epochs_are_no_training(backend):
    net = network()
    assert len(net.fit(X, Y, epochs=0, backend=backend)) == 0
    assert weights(net) == weights(network())


# ---------------------------------------------------------------- augmentation


def test_augmentation_is_trained_on_and_the_data_stay_as_they_are(backend):
    samples, y = pictures()
    before = samples.copy()
    nets = []
    for augment in (None, Augment(), Augment(shift=1, rotate=20, noise=0.1), Augment(noise=0.1)):
        net = MLP([Input(25, scale=1 / 255), Dense(6, "relu"), Dense(2, "softmax")])
        net.metadata["image"] = [5, 5]
        nets.append(weights(trained(net, backend, samples, y, epochs=3, augment=augment)))
    np.testing.assert_array_equal(samples, before)
    assert nets[0] == nets[1]
    assert len(set(nets)) == 3


def test_each_epoch_is_augmented_in_its_own_way(backend):
    samples, y = pictures()
    net = MLP([Input(25, scale=1 / 255), Dense(2, "softmax")])
    settings = {"augment": Augment(noise=0.3), "optimizer": SGD(1e-30), "shuffle": False, "backend": backend}
    first, second = net.fit(samples, y, epochs=2, **settings), net.fit(samples, y, epochs=1, **settings)
    assert len({*first["loss"], *second["loss"]}) == 3


def test_augmentation_that_moves_pixels_must_know_the_image(backend):
    net = MLP.from_sizes([25, 2])
    with pytest.raises(ConfigError, match="image"):
        net.fit(*pictures(), augment=Augment(shift=1), backend=backend)


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": -1}, "epochs must be a whole number at least 0, not -1"),
        ({"epochs": 1.5}, "epochs must be a whole number"),
        ({"epochs": True}, "epochs must be a whole number"),
        ({"batch_size": -1}, "batch_size must be a whole number at least 0"),
        ({"batch_size": "64"}, "batch_size must be a whole number"),
        ({"weight_decay": -0.1}, "weight_decay must be a number at least 0, not -0.1"),
        ({"weight_decay": math.inf}, "weight_decay must be a number"),
        ({"clip_norm": math.nan}, "clip_norm must be a number"),
        ({"clip_norm": 10**400}, "clip_norm must be a number"),
        ({"label_smoothing": 1.0}, "label_smoothing must be a number at least 0 and below 1"),
        ({"optimizer": "newton"}, "unknown optimizer 'newton'; choose one of sgd"),
        ({"optimizer": Optimizer}, "unknown optimizer"),
        ({"schedule": "warm"}, "unknown schedule 'warm'"),
        ({"threads": 0}, "threads must be"),
        ({"seed": -1}, "a seed must be"),
    ],
)
def test_bad_settings_are_named_and_change_nothing(settings, message, backend):
    net = network()
    with pytest.raises(ConfigError, match=message):
        net.fit(X, Y, backend=backend, **settings)
    assert weights(net) == weights(network())


def test_nothing_to_train_on(backend):
    with pytest.raises(DataError, match="no samples to train on"):
        network().fit(X[:0], Y[:0], backend=backend)
    with pytest.raises(DataError, match="1 rows cannot be divided"):
        network().fit(X[:1], Y[:1], validation=0.5, backend=backend)


def test_an_unknown_backend(backend):
    with pytest.raises(ConfigError, match="unknown backend"):
        network().fit(X, Y, backend=backend + "s")
