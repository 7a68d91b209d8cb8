from collections.abc import Callable

import numpy as np
import pytest

from fastnn.errors import ConfigError
from fastnn.layers import (
    ACTIVATIONS,
    LANES,
    Architecture,
    Dense,
    Dropout,
    Input,
    Layer,
    aligned_zeros,
    layer_from_dict,
    layer_to_dict,
    parse_call,
)


def test_an_architecture_is_read_off_its_layers() -> None:
    layers = [
        Input(784, 1 / 255, -0.5),
        Dropout(0.1),
        Dense(300, "leaky_relu(0.2)"),
        Dropout(0.5),
        Dropout(0.2),
        Dense(20, "elu"),
        Dense(10, "softmax"),
    ]
    net = Architecture.of(layers)
    assert net.widths == (784, 300, 20, 10)
    assert net.activations == ("leaky_relu", "elu", "softmax")
    assert net.arguments == (0.2, 1.0, 0.0)
    assert net.dropout == pytest.approx((0.1, 1 - 0.5 * 0.8, 0.0))
    assert net.loss == "cross_entropy"
    assert (net.scale, net.shift) == (1 / 255, -0.5)
    assert net.parameters == 785 * 300 + 301 * 20 + 21 * 10
    assert net.strides == (304, 32, 16)
    assert net.weight_offsets == (0, 785 * 304, 785 * 304 + 301 * 32)
    assert net.size == 785 * 304 + 301 * 32 + 21 * 16
    assert net.without_dropout().dropout == (0, 0, 0)
    assert net.without_dropout().widths == net.widths


@pytest.mark.parametrize("loss", [None, "quadratic", "binary_cross_entropy"])
@pytest.mark.parametrize(("output", "default"), [("sigmoid", "binary_cross_entropy"), ("identity", "quadratic")])
def test_the_loss_goes_with_the_output(output: str, default: str, loss: str | None) -> None:
    layers = [Input(2), Dense(1, output)]
    if loss == "binary_cross_entropy" and output != "sigmoid":
        with pytest.raises(ConfigError, match="needs the output activation sigmoid, not identity"):
            Architecture.of(layers, loss)
    else:
        assert Architecture.of(layers, loss).loss == (loss or default)


WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: Architecture.of([]), "begins with an Input"),
    (lambda: Architecture.of([Dense(3)]), "begins with an Input"),
    (lambda: Architecture.of([Input(3)]), "ends with a Dense"),
    (lambda: Architecture.of([Input(3), Dense(2), Dropout(0.5)]), "ends with a Dense"),
    (lambda: Architecture.of([Input(3), Input(3), Dense(2)]), "Input cannot stand inside"),
    (lambda: Architecture.of([Input(3), Dense("auto"), Dense(2)]), "number of units first"),
    (lambda: Architecture.of([Input(3), Dense(3, "softmax"), Dense(2)]), "softmax can stand only at the output"),
    (lambda: Architecture.of([Input(3), Dense(2, "softmax")], "quadratic"), "softmax needs the loss cross_entropy"),
    (lambda: Architecture.of([Input(3), Dense(2, "sigmoid")], "cross_entropy"), "needs the output activation softmax"),
    (lambda: Architecture.of([Input(3), Dense(1, "softmax")]), "at least 2 outputs"),
    (lambda: Architecture.of([Input(3), Dense(2)], "hinge"), "unknown loss 'hinge'; choose one of cross_entropy"),
    (lambda: Dense(2, "swish"), "unknown activation 'swish'; choose one of identity, relu"),
    (lambda: Dense(2, "relu(1)"), "relu takes no argument"),
    (lambda: Dense(2, "elu(1, 2)"), "elu takes one finite argument"),
    (lambda: Dense(2, "elu(inf)"), "elu takes one finite argument"),
    (lambda: Dense(2, "elu(x)"), "cannot read the activation"),
    (lambda: Dense(2, "elu(1"), "cannot read the activation"),
    (lambda: Dense(0), "units"),
    (lambda: Dense(2.0), "units"),  # type: ignore[arg-type]
    (lambda: Dense(True), "units"),
    (lambda: Dense("many"), "units"),
    (lambda: Input(0), "width"),
    (lambda: Input(3, scale=(1.0, 2.0)), "scale must be a finite number or 3 of them"),
    (lambda: Input(3, shift=float("nan")), "shift must be a finite number"),
    (lambda: Input(3, scale=1e39), "scale must be a finite number"),  # infinite in float32
    (lambda: Input(3, scale="x"), "scale must be a finite number"),  # type: ignore[arg-type]
    (lambda: Dropout(1.0), "dropout rate"),
    (lambda: Dropout(-0.1), "dropout rate"),
    (lambda: Dropout(float("nan")), "dropout rate"),
]


@pytest.mark.parametrize(("make", "says"), WRONG, ids=[says for _, says in WRONG])
def test_what_makes_no_network_is_refused_in_one_line(make: Callable[[], object], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_values_are_kept_as_plain_numbers() -> None:
    layer = Input(np.int64(2), np.array([1, 2]), np.float32(0.5))  # type: ignore[arg-type]
    assert layer == Input(2, (1.0, 2.0), 0.5)
    assert isinstance(layer.scale, tuple)
    assert [type(v) for v in (layer.width, *layer.scale, layer.shift)] == [int, float, float, float]
    assert hash(layer) == hash(Input(2, (1.0, 2.0), 0.5))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_has_its_default_argument(name: str) -> None:
    assert Dense(2, name).parsed_activation() == (name, ACTIVATIONS[name] or 0.0)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("relu", ("relu", ())),
        (" he_normal () ", ("he_normal", ())),
        ("uniform(-0.5, 1e-3)", ("uniform", (-0.5, 1e-3))),
    ],
)
def test_calls_are_read(text: str, parsed: tuple[str, tuple[float, ...]]) -> None:
    assert parse_call(text, "thing") == parsed


@pytest.mark.parametrize("text", ["", "Relu", "f(1", "f(1)2", "f(1,)", "f(a)", "f((1))", "3"])
def test_what_is_no_call_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="cannot read the thing"):
        parse_call(text, "thing")


def test_views_lie_inside_the_buffer_and_apart() -> None:
    net = Architecture.of([Input(3), Dense(17, "tanh"), Dense(2)])
    for dtype in (np.float32, np.float64):
        flat = aligned_zeros(net.size, dtype)
        for number, (W, b) in enumerate(net.views(flat)):
            W += 1 + 2 * number
            b += 2 + 2 * number
        shapes = [(W.shape, b.shape) for W, b in net.views(flat)]
        assert shapes == [((3, 17), (17,)), ((17, 2), (2,))]
        assert [np.count_nonzero(flat == value) for value in range(1, 5)] == [51, 17, 34, 2]
        assert np.count_nonzero(flat) == net.parameters  # the rest is padding
        assert all(offset % LANES == 0 for offset in net.weight_offsets)


@pytest.mark.parametrize("size", [0, 1, 16, 1001])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_buffers_are_aligned(size: int, dtype: type) -> None:
    array = aligned_zeros(size, dtype)
    assert array.shape == (size,)
    assert array.dtype == dtype
    assert array.ctypes.data % 64 == 0 or size == 0
    assert not array.any()


@pytest.mark.parametrize(
    "layer", [Input(3), Input(2, (1.0, 2.0), -0.5), Dense(4, "elu(0.5)"), Dense("auto"), Dropout(0.25)]
)
def test_layers_as_data_and_back(layer: Layer) -> None:
    assert layer_from_dict(layer_to_dict(layer)) == layer


@pytest.mark.parametrize("data", [None, [], {}, {"type": "conv"}, {"type": "dense"}, {"type": "dense", "size": 3}])
def test_what_describes_no_layer_is_refused(data: object) -> None:
    with pytest.raises(ConfigError, match="describes no layer"):
        layer_from_dict(data)


def test_a_description_of_no_known_type_is_refused():
    with pytest.raises(ConfigError):
        layer_from_dict({"type": []})


def test_dropouts_that_leave_nothing_are_refused():
    with pytest.raises(ConfigError):
        Architecture.of([Input(3), Dropout(1 - 1e-10), Dropout(1 - 1e-10), Dense(2)])
