import copy
import pickle

import numpy as np
import pytest

from fastnn import MLP, Dense, Dropout, Input
from fastnn.errors import ConfigError, DataError
from fastnn.network import Network
from tests.samples import BOTH, blobs, weights

X = np.array([[0, 1], [2, 3], [4, 250]], np.uint8)


def network(outputs: int = 3, output: str = "softmax", **arguments) -> MLP:
    return MLP([Input(2, scale=0.01), Dense(5, "tanh"), Dense(outputs, output)], **arguments)


# ---------------------------------------------------------------- parameters


def test_sizes_are_short_for_layers():
    layers = [Input(4), Dense(7, "elu(0.5)"), Dense(6, "elu(0.5)"), Dense(2, "sigmoid")]
    long = Network(layers, "quadratic", weight_init="glorot_uniform", bias_init="constant(0.1)", seed=3)
    short = Network.from_sizes(
        [4, 7, 6, 2],
        "elu(0.5)",
        "sigmoid",
        loss="quadratic",
        weight_init="glorot_uniform",
        bias_init="constant(0.1)",
        seed=3,
    )
    assert short.layers == long.layers
    assert short.loss == "quadratic"
    assert weights(short) == weights(long)
    assert (short.parameters()[2][1] == np.float32(0.1)).all()


@pytest.mark.parametrize("sizes", [[], [4]])
def test_fewer_than_two_sizes_are_refused(sizes):
    with pytest.raises(ConfigError, match="at least two sizes"):
        Network.from_sizes(sizes)


def test_parameters_are_views_of_one_aligned_buffer():
    net = network()
    assert [(W.shape, b.shape) for W, b in net.parameters()] == [((2, 5), (5,)), ((5, 3), (3,))]
    assert net.flat.dtype == np.float32
    assert net.flat.ctypes.data % 64 == 0
    before = net.outputs(X)
    net.parameters()[1][1][:] = [0, 0, 100]
    assert (net.outputs(X)[:, 2] > 0.99).all()
    assert not np.array_equal(before, net.outputs(X))


def test_a_seed_decides_the_first_parameters_and_each_layer_has_its_own():
    square = [Input(6), Dense(6, "relu"), Dense(6, "relu")]
    one, same, other = Network(square, seed=1), Network(square, seed=1), Network(square, seed=2)
    assert weights(one) == weights(same) != weights(other)
    (first, _), (second, _) = one.parameters()
    assert not np.array_equal(first, second)


def test_reset_starts_anew():
    net = network(seed=1)
    first = weights(net)
    net.flat[:], net.epochs = 0, 7
    net.reset()
    assert (weights(net), net.epochs, net.seed) == (first, 0, 1)
    net.reset(2)
    assert weights(net) == weights(network(seed=2))
    assert net.seed == 2


@pytest.mark.parametrize("seed", [-1, 2**64, 1.0, True, "1"])
def test_a_bad_seed_is_refused_and_changes_nothing(seed):
    with pytest.raises(ConfigError, match="seed"):
        network(seed=seed)
    net = network(seed=5)
    with pytest.raises(ConfigError, match="seed"):
        net.reset(seed)
    assert weights(net) == weights(network(seed=5))
    assert net.seed == 5


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies_and_pickles_keep_all_and_share_no_weights(duplicate):
    net = MLP([Input(2), Dropout(0.1), Dense(3, "softmax")], seed=4)
    net.metadata, net.epochs = {"classes": ["a", "b", "c"]}, 9
    twin = duplicate(net)
    assert type(twin) is MLP
    assert weights(twin) == weights(net)
    assert (twin.layers, twin.loss, twin.seed, twin.epochs) == (net.layers, net.loss, 4, 9)
    assert twin.metadata == net.metadata
    assert twin.flat.ctypes.data % 64 == 0
    before = weights(net)
    twin.parameters()[0][0][:] = 0
    assert weights(net) == before != weights(twin)


# ---------------------------------------------------------------- in words


def test_print_is_a_table():
    net = Network([Input(784), Dropout(0.2), Dense(300, "relu"), Dense(10, "softmax")])
    assert str(net).splitlines() == [
        "layer               shape      parameters",
        "-----------------------------------------",
        "input               784",
        "dropout 0.2",
        "dense relu          784 x 300     235,500",
        "dense softmax       300 x 10        3,010",
        "loss cross_entropy                238,510",
    ]


def test_repr_can_be_read_back():
    net = MLP([Input(2, (0.5, 2.0), 1.0), Dropout(0.5), Dense(3, "leaky_relu(0.2)")], seed=6)
    names = {kind.__name__: kind for kind in (MLP, Input, Dense, Dropout)}
    again = eval(repr(net), names)
    assert weights(again) == weights(net)
    assert (again.layers, again.loss) == (net.layers, net.loss)


# ---------------------------------------------------------------- outputs and gradients


@pytest.mark.parametrize("backend", BOTH)
def test_outputs_are_those_of_the_formula(backend):
    net = Network([Input(2, (0.1, 0.01), (0.5, -1.0)), Dropout(0.9), Dense(4, "relu"), Dense(3, "softmax")], seed=1)
    (W, b), (V, c) = net.parameters()
    b[:], c[:] = [1, -1, 0.5, 0], [0.1, 0.2, 0.3]
    hidden = np.maximum((X * [0.1, 0.01] + [0.5, -1.0]) @ W.astype(float) + b, 0)
    e = np.exp(hidden @ V.astype(float) + c)
    outputs = net.outputs(X, backend)
    assert outputs.dtype == np.float32
    np.testing.assert_allclose(outputs, e / e.sum(axis=1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize("backend", BOTH)
@pytest.mark.parametrize(
    "same",
    [
        lambda X: X.astype(np.float32),
        lambda X: X.astype(np.float64),
        lambda X: X.astype(np.int64),
        lambda X: X.astype(object),
        lambda X: np.asfortranarray(X),
        lambda X: np.asfortranarray(X, np.float64),
        lambda X: np.repeat(X, 2, axis=1)[:, ::2],
        lambda X: X.reshape(3, 2, 1),
        lambda X: X.tolist(),
    ],
)
def test_the_form_of_the_input_does_not_matter(same, backend):
    net = network()
    np.testing.assert_array_equal(net.outputs(same(X), backend), net.outputs(X, backend))


@pytest.mark.parametrize("backend", BOTH)
def test_booleans_are_zeros_and_ones(backend):
    net = network()
    np.testing.assert_array_equal(net.outputs(X > 1, backend), net.outputs((X > 1).astype(np.uint8), backend))


@pytest.mark.parametrize("backend", BOTH)
@pytest.mark.parametrize("shape", [(0, 2), (0, 1, 2)])
def test_no_samples_give_no_outputs(shape, backend):
    assert network().outputs(np.zeros(shape), backend).shape == (0, 3)


@pytest.mark.parametrize("backend", BOTH)
def test_the_gradient_leads_down_and_knows_no_dropout(backend):
    layers = [Input(4), Dropout(0.5), Dense(6, "tanh"), Dropout(0.5), Dense(3, "softmax")]
    net, plain = MLP(layers), MLP([layer for layer in layers if not isinstance(layer, Dropout)])
    samples = blobs()
    gradients = net.gradients(*samples, backend=backend)
    for both in zip(gradients, plain.gradients(*samples, backend=backend), strict=True):
        for mine, other in zip(*both, strict=True):
            np.testing.assert_array_equal(mine, other)
    before = net.evaluate(*samples)["loss"]
    for (W, b), (dW, db) in zip(net.parameters(), gradients, strict=True):
        W -= 1e-3 * dW
        b -= 1e-3 * db
    squares = sum((d.astype(float) ** 2).sum() for pair in gradients for d in pair)
    # the first order of Taylor's formula: the loss falls by the step times the squared length of the gradient
    assert before - net.evaluate(*samples)["loss"] == pytest.approx(1e-3 * squares, rel=0.02)


@pytest.mark.parametrize("backend", BOTH)
def test_a_weight_is_a_number_of_samples(backend):
    net, (X, y) = MLP.from_sizes([4, 3]), blobs(8)
    counts = np.array([0, 1, 2, 3, 1, 1, 0, 2])
    rows = np.repeat(np.arange(8), counts)
    for weighted, repeated in zip(
        net.gradients(X, y, counts, backend), net.gradients(X[rows], y[rows], backend=backend), strict=True
    ):
        for one, other in zip(weighted, repeated, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)


def test_the_gradient_of_nothing_is_refused():
    with pytest.raises(DataError, match="at least one sample"):
        network().gradients(np.zeros((0, 2)), np.zeros(0, int))


def test_an_unknown_backend_or_number_of_threads_is_refused():
    with pytest.raises(ConfigError, match="unknown backend 'gpu'; choose one of"):
        network().outputs(X, "gpu")
    for threads in (0, -1, 1.5, True, "many"):
        with pytest.raises(ConfigError, match="threads must be"):
            network().outputs(X, threads=threads)


# ---------------------------------------------------------------- targets


@pytest.mark.parametrize("backend", BOTH)
@pytest.mark.parametrize(
    "same",
    [
        lambda y: y.astype(np.int8),
        lambda y: y.astype(np.uint64),
        lambda y: y.astype(np.float64),
        lambda y: y.astype(object),
        lambda y: y.tolist(),
        lambda y: np.eye(3)[y],
        lambda y: np.eye(3, dtype=bool)[y].tolist(),
    ],
)
def test_the_form_of_the_labels_does_not_matter(same, backend):
    net, y = network(), np.array([2, 0, 1])
    assert net.evaluate(X, same(y), backend=backend) == net.evaluate(X, y, backend=backend)


@pytest.mark.parametrize("backend", BOTH)
@pytest.mark.parametrize("same", [np.asfortranarray, lambda y: y.astype(np.float32).T.copy().T, lambda y: y.tolist()])
def test_the_form_of_target_rows_does_not_matter(same, backend):
    net, y = network(), np.array([[0.2, 0.3, 0.5], [1, 0, 0], [0.1, 0.9, 0]])
    assert net.evaluate(X, same(y), backend=backend) == net.evaluate(X, y, backend=backend)


def network_of(kind: str) -> MLP:
    return MLP.from_sizes([2, 1 if kind in ("value", "binary") else 3], output=OUTPUT[kind])


OUTPUT = {"classes": "softmax", "binary": "sigmoid", "value": "identity"}
HOT = np.eye(3)
NOT_A_NUMBER = np.array([[1, 2], [3, np.nan], [4, 5]])
INFINITE = np.where(np.isnan(NOT_A_NUMBER), -np.inf, NOT_A_NUMBER)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((3, 3)), r"X has the shape \(3, 3\); this network takes \(N, 2\)"),
        (np.zeros((3, 2, 2)), r"X has the shape \(3, 4\)"),
        (np.zeros(2), r"X has the shape \(2,\)"),
        (3.0, r"X has the shape \(\)"),
        (NOT_A_NUMBER, "X holds nan at row 1, column 1; remove"),
        (INFINITE, "X holds -inf at row 1, column 1"),
        (np.vstack([np.zeros((9000, 2)), NOT_A_NUMBER]), "X holds nan at row 9001, column 1"),
        (np.full((3, 2), 1e300), "X holds inf at row 0, column 0"),
        ([[1, None], [1, 2], [1, 2]], "X holds nan at row 0, column 1"),
        (np.zeros((3, 2), complex), "X must be an array of numbers, not of the type complex128"),
        ([["1", "2"]] * 3, "X must be an array of numbers"),
        (np.zeros((3, 2), "M8[s]"), "X must be an array of numbers"),
        ([[1, 2], [3], [4, 5]], "X must be an array of numbers"),
        ([[10**400, 1]] * 3, "X must be an array of numbers"),
        ({"a": 1}, "X must be an array of numbers"),
    ],
)
def test_bad_inputs_are_named(bad, message):
    with pytest.raises(DataError, match=message) as caught:
        network().outputs(bad)
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(DataError, match=message):
        MLP.from_sizes([2, 3]).fit(bad, [0, 1, 2])


@pytest.mark.parametrize(
    ("kind", "bad", "message"),
    [
        ("classes", [0, 1], "X has 3 samples but y has 2"),
        ("classes", 1, "X has 3 samples but y has none"),
        ("classes", [0, -1, 2], "y holds -1 at row 1; this network knows the class indices 0 to 2"),
        ("classes", [0, 1, 3], "y holds 3 at row 2"),
        ("classes", [0, 1, 2**40], "y holds 1099511627776 at row 2"),
        ("classes", [0, 0.5, 2], r"y holds 0\.5 at row 1"),
        ("classes", [0, np.nan, 2], "y holds nan at row 1"),
        ("classes", [0, 1, np.inf], "y holds inf at row 2"),
        ("classes", [0, None, 2], "y holds nan at row 1"),
        ("classes", ["a", "b", "c"], "y must be an array of numbers, not of the type <U1"),
        ("classes", np.zeros(3, complex), "y must be an array of numbers"),
        ("classes", [[1], [1, 2], [3]], "y must be an array of numbers"),
        ("classes", HOT[:, :2], r"y has the shape \(3, 2\); this network takes \(N, 3\) or class indices"),
        ("classes", HOT[:, :, None], r"y has the shape \(3, 3, 1\)"),
        ("classes", -HOT, "y holds -1.0 at row 0, column 0; targets for cross_entropy lie between 0 and 1"),
        ("binary", [0, 1, 2], "y holds 2.0 at row 2, column 0; targets for binary_cross_entropy"),
        ("value", [1, np.nan, 2], "y holds nan at row 1, column 0"),
        ("value", [1, 1e300, 2], "y holds inf at row 1, column 0"),
        ("value", [[1, 2], [3, 4], [5, 6]], r"y has the shape \(3, 2\); this network takes \(N, 1\)"),
    ],
)
def test_bad_targets_are_named(kind, bad, message):
    net = network_of(kind)
    with pytest.raises(DataError, match=message) as caught:
        net.evaluate(X, bad)
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(DataError, match=message):
        net.fit(X, bad)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([1, 2], r"sample_weight has the shape \(2,\); it must be \(3,\)"),
        ([[1], [1], [1]], r"sample_weight has the shape \(3, 1\)"),
        ([1, 2, -1], r"sample_weight holds -1\.0 at row 2; weights are finite and at least 0"),
        ([1, np.nan, 1], "sample_weight holds nan at row 1"),
        ([1, 1e300, 1], "sample_weight holds inf at row 1"),
        ([0, 0, 0], "sample_weight is zero for all samples"),
        (["a", "b", "c"], "sample_weight must be an array of numbers"),
    ],
)
def test_bad_weights_are_named(bad, message):
    with pytest.raises(DataError, match=message):
        MLP.from_sizes([2, 3]).evaluate(X, [0, 1, 2], bad)
    with pytest.raises(DataError, match=message):
        MLP.from_sizes([2, 3]).fit(X, [0, 1, 2], sample_weight=bad)


def test_zeros_of_the_input_are_no_work_for_threads(monkeypatch):
    """A shift turns them into other numbers."""
    monkeypatch.setattr("fastnn.kernels.threads.available", lambda: 64)
    X = np.zeros((500, 784), np.uint8)
    X[:, :78] = 1

    def count(**scaling):
        net = Network([Input(784, **scaling), Dense(100, "relu"), Dense(10, "softmax")])
        return net.job(net.examples(X), 300).threads

    assert count() < count(shift=0.1)
