"""ONNX graphs give what the network gives, to float32, in the runtime that others use."""

import json

import numpy as np
import pytest

import fastnn
from fastnn import MLP, Dense, Dropout, Input
from fastnn.data import load
from fastnn.errors import ConfigError, MissingExtraError, ModelFileError
from fastnn.formats import onnx as format
from fastnn.layers import ACTIVATIONS

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")


def answers(path, X):
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["outputs"], {"X": X})[0]


def test_every_activation_is_in_the_table():
    assert format.ACTIVATIONS.keys() == ACTIVATIONS.keys()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("outputs", [1, 3])
def test_each_activation_is_the_networks_own(activation, outputs, tmp_path):
    hidden = "tanh" if activation == "softmax" else activation
    output = "softmax" if activation == "softmax" and outputs > 1 else "identity"
    net = MLP([Input(5, scale=(1, 2, 0.5, 3, 1), shift=0.25), Dense(7, hidden), Dropout(0.5), Dense(outputs, output)])
    for W, b in net.parameters():
        W *= 2
        b[...] = np.linspace(-1, 1, len(b))
    X = np.random.default_rng(0).normal(size=(50, 5)).astype(np.float32) * 3
    net.save(tmp_path / "net.onnx")
    # sums of up to 7 products, and up to some ten units in the last place of an activation
    np.testing.assert_allclose(answers(tmp_path / "net.onnx", X), net.outputs(X), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("inputs", format.INPUTS)
def test_the_whole_test_set_of_mnist_to_1e_5(inputs, tmp_path):
    train, test = load("mnist")
    net = MLP([Input(784, scale=1 / 255), Dense(32, "relu"), Dense(10, "softmax")], seed=0)
    net.metadata["classes"] = list("0123456789")
    net.fit(train.X[:6000], train.y[:6000], epochs=1)
    format.save(tmp_path / "net.onnx", net, inputs)
    found = answers(tmp_path / "net.onnx", test.X.astype(inputs))
    np.testing.assert_allclose(found, net.predict_proba(test.X), atol=1e-5)


def test_old_runtimes_can_read_it_and_it_says_what_it_is(tmp_path):
    net = MLP.from_sizes([3, 2])
    net.metadata.update(classes=["yes", "no"], image=None)
    net.save(tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    assert (model.ir_version, [one.version for one in model.opset_import]) == (8, [17])
    assert (model.producer_name, model.producer_version) == ("fastnn", fastnn.__version__)
    assert {entry.key: json.loads(entry.value) for entry in model.metadata_props} == net.metadata


def test_it_cannot_be_loaded_again(tmp_path):
    MLP.from_sizes([3, 2]).save(tmp_path / "net.onnx")
    with pytest.raises(ModelFileError, match="reads none"):
        fastnn.load(tmp_path / "net.onnx")


def test_without_the_package_the_command_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'fastnn-cpu\[onnx\]'"):
        MLP.from_sizes([3, 2]).save(tmp_path / "net.onnx")


def test_what_no_graph_can_have_is_said(monkeypatch, tmp_path):
    net = MLP.from_sizes([3, 2, 2], activation="silu")
    with pytest.raises(ConfigError, match=r"unknown type of a graph's inputs 'uint16'; choose one of float32, uint8"):
        format.save(tmp_path / "net.onnx", net, "uint16")
    monkeypatch.delitem(format.ACTIVATIONS, "silu")
    with pytest.raises(ConfigError, match=r"unknown activation of a graph 'silu'; choose one of identity, relu"):
        format.save(tmp_path / "net.onnx", net)
    assert not list(tmp_path.iterdir())


def test_more_than_a_protocol_buffer_holds_is_refused_before_one_is_made(monkeypatch, tmp_path):
    net = MLP([Input(3, scale=(1, 2, 3)), Dense(2, "sigmoid")])
    net.metadata["classes"] = ["yes", "no"]
    # 6 weights, 2 biases, 3 factors and a shift of 4 bytes each; then ["yes", "no"] and null
    monkeypatch.setattr(format, "LARGEST", 48 + 13 + 4)
    net.save(tmp_path / "net.onnx")
    monkeypatch.setattr(format, "LARGEST", 48 + 13 + 4 - 1)
    monkeypatch.setattr(format, "Graph", lambda: None)
    with pytest.raises(ConfigError, match=r"large\.onnx: 65 bytes, but ONNX holds 64; keep such a model as"):
        net.save(tmp_path / "large.onnx")
