"""Models as ONNX graphs: raw inputs in, the network's outputs out, with the scaling inside.

Operator set 17 and IR version 8, which onnxruntime has read since 1.12 (July 2022).
"""

import json
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn.errors import ConfigError, MissingExtraError, ModelFileError
from fastnn.files import write_atomically
from fastnn.formats.description import Kind
from fastnn.layers import Architecture
from fastnn.network import Network
from fastnn.settings import one_of
from fastnn.version import __version__

OPSET, IR = 17, 8
INPUTS = {"float32": 1, "uint8": 2}  # ONNX's numbers of the types
LARGEST = (
    2**31 - 2**20
)  # bytes of numbers and texts: a protocol buffer ends at 2**31 - 1, and nodes and names need room


class Graph:
    """The nodes of a graph, one behind the other.

    Attributes
    ----------
    nodes, constants : list
        Of ONNX's protocol buffers.
    """

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """The name of what a node of this kind makes of its inputs."""
        from onnx import helper

        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def constant(self, value: Any, name: str = "") -> str:
        """The name of a float32 constant."""
        from onnx import numpy_helper

        name = name or f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
        return name


# What each activation is made of: the graph, the name of z, the activation's argument -> the name of f(z).
ACTIVATIONS: dict[str, Callable[[Graph, str, float], str]] = {
    "identity": lambda graph, z, argument: z,
    "relu": lambda graph, z, argument: graph.add("Relu", z),
    "leaky_relu": lambda graph, z, argument: graph.add("LeakyRelu", z, alpha=argument),
    "elu": lambda graph, z, argument: graph.add("Elu", z, alpha=argument),
    "sigmoid": lambda graph, z, argument: graph.add("Sigmoid", z),
    "tanh": lambda graph, z, argument: graph.add("Tanh", z),
    "softplus": lambda graph, z, argument: graph.add("Softplus", z),
    "gelu": lambda graph, z, argument: _gelu(graph, z),
    "silu": lambda graph, z, argument: graph.add("Mul", z, graph.add("Sigmoid", z)),
    "softmax": lambda graph, z, argument: graph.add("Softmax", z, axis=1),
}


def _gelu(graph: Graph, z: str) -> str:
    """z / 2 (1 + erf(z / sqrt 2)), Hendrycks and Gimpel 2016; the operator Gelu came with set 20 only."""
    erf = graph.add("Erf", graph.add("Mul", z, graph.constant(2**-0.5)))
    return graph.add("Mul", graph.add("Mul", z, graph.constant(0.5)), graph.add("Add", erf, graph.constant(1.0)))


def save(path: str | os.PathLike[str], network: Network, inputs: str = "float32") -> None:
    """Write a network as a graph with the input "X" (N, I) and the output "outputs" (N, O), float32.

    Parameters
    ----------
    path : path-like
    network : Network
    inputs : {"float32", "uint8"}
        The type of X: raw features either way.

    Raises
    ------
    ConfigError
        A type or an activation that no graph can have, or more numbers than an ONNX file can hold.
    MissingExtraError
        The package onnx is not installed.
    OutputError
        The file cannot be written.
    """
    net, graph = network.architecture, Graph()
    one_of(inputs, INPUTS, "type of a graph's inputs")
    for activation in net.activations:
        one_of(activation, ACTIVATIONS, "activation of a graph")
    texts = {name: json.dumps(network.metadata.get(name)) for name in ("classes", "image")}
    size = 4 * (net.parameters + np.size(net.scale) + np.size(net.shift)) + sum(map(len, texts.values()))
    if size > LARGEST:
        raise ConfigError(f"{path}: {size:,} bytes, but ONNX holds {LARGEST:,}; keep such a model as .safetensors")
    try:
        from onnx import checker, helper
    except ImportError:
        raise MissingExtraError("ONNX files need the package onnx: pip install 'fastnn-cpu[onnx]'") from None
    a = _preprocessed(net, graph, inputs)
    for layer, (W, b) in enumerate(network.parameters()):
        named = [graph.constant(value, f"layers.{layer}.{name}") for value, name in ((W, "weight"), (b, "bias"))]
        a = ACTIVATIONS[net.activations[layer]](graph, graph.add("Gemm", a, *named), net.arguments[layer])
    graph.nodes.append(helper.make_node("Identity", [a], ["outputs"], "outputs"))
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "fastnn",
            [helper.make_tensor_value_info("X", INPUTS[inputs], ["N", net.widths[0]])],
            [helper.make_tensor_value_info("outputs", INPUTS["float32"], ["N", net.widths[-1]])],
            graph.constants,
        ),
        producer_name="fastnn",
        producer_version=__version__,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR,
    )
    helper.set_model_props(model, texts)
    checker.check_model(model)
    write_atomically(path, model.SerializeToString())


def _preprocessed(net: Architecture, graph: Graph, inputs: str) -> str:
    """The name of scale * X + shift, float32."""
    a = "X"
    if inputs != "float32":
        a = graph.add("Cast", a, to=INPUTS["float32"])
    if np.any(np.asarray(net.scale) != 1):
        a = graph.add("Mul", a, graph.constant(net.scale, "scale"))
    if net.shifts:
        a = graph.add("Add", a, graph.constant(net.shift, "shift"))
    return a


def load(path: str | os.PathLike[str], kind: type[Kind]) -> Kind:
    """Refuse: a graph does not say all that a network of fastnn is."""
    raise ModelFileError(f"{path}: fastnn writes ONNX files, but reads none; keep the model as .safetensors beside it")
