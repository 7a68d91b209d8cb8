import math
import tracemalloc

import numpy as np
import pytest

import fastnn
from fastnn import MLP, Adam, Augment, Callback, Dense, Dropout, Input
from fastnn.data import split_rows
from fastnn.errors import ConfigError, DataError, ModelFileError, OutputError
from fastnn.formats import safetensors
from fastnn.network import Network
from tests.samples import BOTH, blobs, pictures, weights

X, Y = blobs()


def network(**arguments) -> MLP:
    return MLP([Input(4), Dropout(0.3), Dense(8, "tanh"), Dropout(0.5), Dense(3, "softmax")], **arguments)


def one_output(output: str = "sigmoid", **arguments) -> MLP:
    return MLP.from_sizes([4, 1], output=output, **arguments)


# ---------------------------------------------------------------- predictions


@pytest.mark.parametrize("backend", BOTH)
def test_predictions_are_the_likeliest_classes(backend):
    net = network()
    shares = net.predict_proba(X, backend)
    predicted = net.predict(X, backend)
    assert shares.shape == (60, 3)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
    assert predicted.dtype == np.int64
    np.testing.assert_array_equal(predicted, shares.argmax(axis=1))
    assert len(set(predicted.tolist())) > 1


@pytest.mark.parametrize("backend", BOTH)
def test_one_sigmoid_output_tells_two_classes(backend):
    net = one_output()
    outputs, shares = net.outputs(X, backend)[:, 0], net.predict_proba(X, backend)
    np.testing.assert_array_equal(shares[:, 1], outputs)
    np.testing.assert_array_equal(shares[:, 0], 1 - outputs)
    np.testing.assert_array_equal(net.predict(X, backend), outputs > 0.5)
    assert 0 < net.predict(X, backend).sum() < 60


@pytest.mark.parametrize("backend", BOTH)
def test_regression_predicts_values(backend):
    net = one_output("identity")
    values = net.predict(X, backend)
    assert (values.shape, values.dtype) == ((60, 1), np.float32)
    (W, b), = net.parameters()  # fmt: skip
    np.testing.assert_allclose(values, X @ W + b, rtol=1e-5)
    np.testing.assert_array_equal(net.predict_proba(X, backend), values)


@pytest.mark.parametrize(
    ("net", "classifies"),
    [
        (network(), True),
        (one_output(), True),
        (one_output("identity"), False),
        (one_output(loss="quadratic"), False),
        (MLP.from_sizes([4, 3], output="sigmoid", loss="quadratic"), True),
        (MLP.from_sizes([4, 3], output="tanh"), True),
        (MLP.from_sizes([4, 3], output="identity"), False),
    ],
)
def test_whether_outputs_are_classes(net, classifies):
    assert net.classifies is classifies
    for classes in (["a", "b", "c"], None):  # whoever knows may say it
        net.metadata["classes"] = classes
        assert net.classifies is (classes is not None)


def test_a_least_squares_classifier_with_one_output_divides_at_one_half():
    net = one_output("identity")
    net.metadata["classes"] = ["no", "yes"]
    np.testing.assert_array_equal(net.predict(X), net.outputs(X)[:, 0] > 0.5)


def many(form: str) -> tuple[MLP, np.ndarray]:
    """A network, and more inputs for it than any slice that it is worked through in."""
    if form == "sparse":
        return MLP([Input(25, scale=1 / 255), Dense(20, "relu"), Dense(2, "softmax")]), pictures(2500)[0]
    samples, _ = blobs(2500)
    return network(), samples if form == "floats" else (np.abs(samples) * 20 + 1).clip(1, 255).astype(np.uint8)


@pytest.mark.parametrize("form", ["floats", "bytes", "sparse"])
def test_slices_give_the_same_as_all_at_once(form):
    net, samples = many(form)
    whole = net.predict_proba(samples, threads=2)
    for start, stop in ((0, 1), (1, 700), (700, 2500)):
        np.testing.assert_array_equal(net.predict_proba(samples[start:stop]), whole[start:stop])
    np.testing.assert_allclose(net.predict_proba(samples, "reference"), whole, rtol=1e-5, atol=1e-7)


def test_zeros_left_out_of_a_sparse_input_make_no_difference_but_rounding():
    net, samples = many("sparse")
    dense = MLP([Input(25, scale=1 / 255, shift=(0.0,) * 24 + (1e-30,)), *net.layers[1:]])  # a shift wants dense rows
    np.testing.assert_allclose(net.predict_proba(samples), dense.predict_proba(samples), rtol=1e-6)


# ---------------------------------------------------------------- evaluation


@pytest.mark.parametrize("backend", BOTH)
def test_evaluation_is_by_the_formulas(backend):
    net, share = network(), np.linspace(0, 2, 60)
    shares = net.predict_proba(X).astype(float)
    losses, right = -np.log(shares[np.arange(60), Y]), shares.argmax(axis=1) == Y
    judged = net.evaluate(X, Y, backend=backend)
    assert judged == {"loss": pytest.approx(losses.mean(), rel=1e-5), "accuracy": right.mean()}
    judged = net.evaluate(X, Y, share, backend=backend)
    expected = {"loss": np.average(losses, weights=share), "accuracy": np.average(right, weights=share)}
    assert judged == pytest.approx(expected, rel=1e-5)
    assert all(type(value) is float for value in judged.values())


@pytest.mark.parametrize("backend", BOTH)
def test_evaluation_of_regression(backend):
    net = one_output("identity")
    errors = net.predict(X)[:, 0].astype(float) - Y
    assert net.evaluate(X, Y, backend=backend) == {"loss": pytest.approx((errors**2).mean() / 2), "accuracy": None}


@pytest.mark.parametrize("backend", BOTH)
def test_targets_that_are_no_classes_have_no_accuracy(backend):
    soft = np.full((60, 3), 1 / 3)
    assert network().evaluate(X, soft, backend=backend)["accuracy"] is None
    assert network().evaluate(X, np.eye(3)[Y], backend=backend)["accuracy"] is not None
    assert one_output().evaluate(X, Y / 2, backend=backend)["accuracy"] is None
    assert one_output(loss="quadratic").evaluate(X, Y == 1, backend=backend)["accuracy"] is None


@pytest.mark.parametrize("backend", BOTH)
def test_a_nan_among_the_weights_stays_visible(backend):
    net = network()
    net.parameters()[0][0][0, 0] = np.nan
    with np.errstate(invalid="ignore"):
        assert math.isnan(net.evaluate(X, Y, backend=backend)["loss"])
        assert np.isnan(net.predict_proba(X, backend)).all()


def test_nothing_to_evaluate():
    with pytest.raises(DataError, match="no samples to evaluate on"):
        network().evaluate(X[:0], Y[:0])


# ---------------------------------------------------------------- a part held out


@pytest.mark.parametrize("backend", BOTH)
def test_what_is_left_is_not_copied(backend):
    samples = np.zeros((20_000, 500), np.uint8)
    net, y = MLP([Input(500), Dense(2, "softmax")]), np.zeros(20_000)
    settings = {"epochs": 1, "batch_size": 100, "backend": backend}
    net.fit(samples[:1000], y[:1000], **settings)  # what is loaded or compiled at the first call is not meant
    tracemalloc.start()
    try:
        net.fit(samples, y, validation=0.1, **settings)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.75 * samples.nbytes


@pytest.mark.parametrize("backend", BOTH)
def test_what_is_held_out_is_not_augmented(backend):
    class Seen(Callback):
        def on_epoch_end(self, fit, record):
            self.X = fit.job.examples.X.copy()

    (samples, y), seen = pictures(), Seen()
    net = MLP([Input(25, scale=1 / 255), Dense(2, "softmax")], seed=3)
    net.fit(samples, y, epochs=1, augment=Augment(noise=0.2), validation=0.25, callbacks=[seen], backend=backend)
    changed = (samples != seen.X).any(axis=1)
    np.testing.assert_array_equal(np.flatnonzero(changed), split_rows(40, 0.25, 3)[0])


# ---------------------------------------------------------------- files


def test_a_model_survives_its_file(tmp_path):
    net = network(seed=2**64 - 1)
    net.fit(X, Y, epochs=2)
    net.metadata = {"classes": ["ä", "b", "c"], "image": [2, 2], "deep": {"list": [1, 2.5, None, True]}}
    net.save(tmp_path / "model.safetensors")
    again = fastnn.load(str(tmp_path / "model.safetensors"))
    assert type(again) is MLP
    assert (again.layers, again.loss, again.seed, again.epochs) == (net.layers, net.loss, net.seed, 2)
    assert again.metadata == net.metadata
    assert weights(again) == weights(net)
    np.testing.assert_array_equal(again.predict_proba(X), net.predict_proba(X))
    for fitted in (net, again):
        fitted.fit(X, Y, epochs=1, optimizer=Adam())
    assert weights(again) == weights(net)


def test_a_loaded_network_is_reset_as_it_was_made(tmp_path):
    net = network(weight_init="uniform(-2, 2)", bias_init="constant(0.5)", seed=4)
    first = weights(net)
    net.fit(X, Y, epochs=1).records.clear()
    net.save(tmp_path / "model.safetensors")
    again = fastnn.load(tmp_path / "model.safetensors")
    again.reset()
    assert weights(again) == first


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(ModelFileError, match="no such model file"):
        fastnn.load(tmp_path / "model.safetensors")
    with pytest.raises(OutputError, match="cannot write"):
        network().save(tmp_path / "missing" / "model.safetensors")


@pytest.mark.parametrize("suffix", [".pkl", ".pt", ".pth", ".h5", ".npz", ".H5"])
def test_a_model_is_not_written_under_the_suffix_of_another_format(suffix, tmp_path):
    said = (
        rf"a{suffix}: {suffix.lower()} is the suffix of another format; use a name that ends in \.safetensors or \.json"
    )
    with pytest.raises(ConfigError, match=said):
        network().save(tmp_path / f"a{suffix}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["model", "model.safetensors", "model.SafeTensors", "model.v2", "model.pkl.best"])
def test_all_other_names_are_safetensors(name, tmp_path):
    network().save(tmp_path / name)
    assert weights(safetensors.load(tmp_path / name, MLP)[0]) == weights(fastnn.load(tmp_path / name))


# ---------------------------------------------------------------- networks that cannot be


@pytest.mark.parametrize(
    ("layers", "loss", "message"),
    [
        ([], None, "begins with an Input layer"),
        ([Dense(3)], None, "begins with an Input layer"),
        ([Input(3)], None, "ends with a Dense layer"),
        ([Input(3), Dense(2), Dropout(0.5)], None, "ends with a Dense layer"),
        ([Input(3), Input(3), Dense(2)], None, "Input cannot stand inside a network"),
        ([Input(3), Dense("auto"), Dense(2)], None, r'Dense\("auto"\) must be given a number'),
        ([Input(3), Dense(2, "softmax"), Dense(2)], None, "softmax can stand only at the output"),
        ([Input(3), Dense(1, "softmax")], None, "softmax needs at least 2 outputs"),
        ([Input(3), Dense(2, "softmax")], "quadratic", "softmax needs the loss cross_entropy"),
        ([Input(3), Dense(2, "sigmoid")], "cross_entropy", "cross_entropy needs the output activation softmax"),
        ([Input(3), Dense(2)], "hinge", "unknown loss 'hinge'; choose one of cross_entropy"),
    ],
)
@pytest.mark.parametrize("kind", [Network, MLP])
def test_layers_that_make_no_network(kind, layers, loss, message):
    with pytest.raises(ConfigError, match=message):
        kind(layers, loss)


@pytest.mark.parametrize("init", [{"weight_init": "he"}, {"bias_init": "he_normal"}, {"weight_init": "normal(-1)"}])
def test_initializers_that_cannot_be(init):
    with pytest.raises(ConfigError, match=r"initializer|bias"):
        network(**init)
