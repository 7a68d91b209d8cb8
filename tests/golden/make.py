"""Golden values by an independent oracle: PyTorch's autograd and optimisers, in float64.

``python -m tests.golden.make`` writes golden.json: networks with their examples, and what PyTorch makes of them. The
examples are stored, so nothing depends on how they were drawn. They are multiples of 1/256: float32 holds them exactly.
"""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).with_name("golden.json")
Net = dict[str, Any]

# Activations with their arguments; the last is the output's. `target`: "labels", or the kind of target rows.
NETS: dict[str, Net] = {
    "softmax regression": {"widths": [5, 4], "activations": ["softmax"]},
    "relu": {"widths": [5, 7, 4], "activations": ["relu", "softmax"]},
    "deep": {"widths": [4, 5, 6, 5, 3], "activations": ["tanh", "gelu", "silu", "softmax"]},
    "leaky and elu": {"widths": [5, 6, 5, 3], "activations": ["leaky_relu(0.2)", "elu(0.7)", "softmax"]},
    "default arguments": {"widths": [5, 6, 5, 3], "activations": ["leaky_relu(0.01)", "elu(1)", "softmax"]},
    "soft targets": {"widths": [4, 5, 3], "activations": ["softplus", "softmax"], "target": "shares"},
    "smoothed": {"widths": [4, 5, 3], "activations": ["sigmoid", "softmax"], "label_smoothing": 0.125},
    "weighted": {"widths": [4, 5, 3], "activations": ["relu", "softmax"], "weighted": True},
    "decayed": {"widths": [4, 5, 3], "activations": ["tanh", "softmax"], "weight_decay": 0.25},
    "binary": {"widths": [4, 6, 1], "activations": ["relu", "sigmoid"], "target": "binary"},
    "many labels": {
        "widths": [4, 6, 3],
        "activations": ["silu", "sigmoid"],
        "target": "binary",
        "weighted": True,
        "label_smoothing": 0.125,
        "weight_decay": 0.125,
    },
    "sigmoid and quadratic": {"widths": [4, 5, 3], "activations": ["sigmoid", "sigmoid"], "loss": "quadratic"},
    "regression": {"widths": [4, 6, 2], "activations": ["tanh", "identity"], "target": "real", "weighted": True},
    "gelu out": {"widths": [4, 6, 2], "activations": ["elu(1)", "gelu"], "target": "real"},
    "silu out": {"widths": [4, 6, 2], "activations": ["gelu", "silu"], "target": "real"},
    "softplus out": {"widths": [4, 6, 2], "activations": ["leaky_relu(0.2)", "softplus"], "target": "real"},
    "tanh out": {"widths": [4, 6, 2], "activations": ["identity", "tanh"], "target": "real"},
    "relu out": {"widths": [4, 6, 2], "activations": ["softplus", "relu"], "target": "real"},
    "leaky out": {"widths": [4, 6, 2], "activations": ["relu", "leaky_relu(0.2)"], "target": "real"},
    "elu out": {"widths": [4, 6, 2], "activations": ["relu", "elu(0.7)"], "target": "real", "weight_decay": 0.25},
}
LOSSES = {"softmax": "cross_entropy", "sigmoid": "binary_cross_entropy"}
SAMPLES, STEPS = 6, 20

# PyTorch's optimisers and our names of their settings. Its `weight_decay` is not used: the decay is in the objective.
TRACES: dict[str, dict[str, float]] = {
    "sgd": {"learning_rate": 0.25},
    "momentum": {"learning_rate": 0.125, "momentum": 0.75},
    "nesterov": {"learning_rate": 0.125, "momentum": 0.75},
    "rmsprop": {"learning_rate": 0.0625, "rho": 0.75, "epsilon": 1e-7},
    "adam": {"learning_rate": 0.0625, "beta1": 0.75, "beta2": 0.96875, "epsilon": 1e-8},
    "adamw": {"learning_rate": 0.0625, "beta1": 0.75, "beta2": 0.96875, "epsilon": 1e-8},
}


def draw(net: Net, seed: int) -> Net:
    """The network with its parameters and examples, drawn at random."""
    rng = np.random.default_rng(seed)
    widths, target = net["widths"], net.get("target", "labels")

    def numbers(*shape: int) -> list[Any]:
        return (np.round(rng.normal(size=shape) * 256) / 256).tolist()

    rows = {
        "labels": lambda: rng.integers(widths[-1], size=SAMPLES).tolist(),
        "shares": lambda: (rng.multinomial(256, np.ones(widths[-1]) / widths[-1], SAMPLES) / 256).tolist(),
        "binary": lambda: rng.integers(2, size=(SAMPLES, widths[-1])).tolist(),
        "real": lambda: numbers(SAMPLES, widths[-1]),
    }
    return {
        "target": target,
        "loss": LOSSES.get(net["activations"][-1], "quadratic"),
        **net,
        "parameters": [[numbers(i, o), numbers(o)] for i, o in pairwise(widths)],
        "X": numbers(SAMPLES, widths[0]),
        "y": rows[target](),
        "weights": rng.integers(0, 4, SAMPLES).tolist() if net.get("weighted") else [1] * SAMPLES,
    }


def forward(net: Net, parameters: list[Any]) -> tuple[Any, Any]:
    """Z of the output layer, and the outputs."""
    import torch
    from torch.nn import functional as F  # noqa: N812 - its usual name

    functions = {
        "identity": lambda z: z,
        "relu": F.relu,
        "leaky_relu": F.leaky_relu,
        "elu": F.elu,
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "softplus": F.softplus,
        "gelu": F.gelu,
        "silu": F.silu,
        "softmax": lambda z: F.softmax(z, dim=1),
    }
    a = torch.tensor(net["X"], dtype=torch.float64)
    for (W, b), activation in zip(parameters, net["activations"], strict=True):
        name, _, argument = activation.rstrip(")").partition("(")
        z = a @ W + b
        a = functions[name](z, *([float(argument)] if argument else []))
    return z, a


def losses(net: Net, parameters: list[Any]) -> Any:
    """The loss of each sample."""
    import torch
    from torch.nn import functional as F  # noqa: N812

    z, a = forward(net, parameters)
    y = torch.tensor(net["y"], dtype=torch.int64 if net["target"] == "labels" else torch.float64)
    smoothing = net.get("label_smoothing", 0.0)
    if net["loss"] == "cross_entropy":
        return F.cross_entropy(z, y, reduction="none", label_smoothing=smoothing)
    if net["target"] == "labels":
        y = F.one_hot(y, z.shape[1]).to(torch.float64)
    if net["loss"] == "binary_cross_entropy":
        y = torch.lerp(y, torch.full_like(y, 0.5), smoothing)
        return F.binary_cross_entropy_with_logits(z, y, reduction="none").sum(dim=1)
    return F.mse_loss(a, y, reduction="none").sum(dim=1) / 2


def objective(net: Net, parameters: list[Any]) -> tuple[Any, Any]:
    """The mean loss, weighted by sample; and the same with the penalty of weight decay."""
    import torch

    mean = torch.tensor(np.average(np.eye(SAMPLES), axis=0, weights=net["weights"])) @ losses(net, parameters)
    return mean, mean + net.get("weight_decay", 0.0) / 2 * sum((W**2).sum() for W, _ in parameters)


def tensors(net: Net) -> list[Any]:
    import torch

    return [[torch.tensor(p, dtype=torch.float64, requires_grad=True) for p in layer] for layer in net["parameters"]]


def compute(net: Net) -> Net:
    """What PyTorch makes of a network: outputs, the loss of each sample, the mean, the gradient of the objective."""
    parameters = tensors(net)
    mean, whole = objective(net, parameters)
    whole.backward()
    return {
        "outputs": forward(net, parameters)[1].tolist(),
        "losses": losses(net, parameters).tolist(),
        "mean": mean.item(),
        "gradient": [[p.grad.tolist() for p in layer] for layer in parameters],
    }


def trace(net: Net, name: str) -> Net:
    """20 steps of an optimiser over all samples: the mean loss before each, and the parameters after the last."""
    import torch

    has, decay = TRACES[name], net.get("weight_decay", 0.0)
    rate, parameters = has["learning_rate"], tensors(net)
    weights, biases = [W for W, _ in parameters], [b for _, b in parameters]
    if name == "adamw":
        groups = [{"params": weights, "weight_decay": decay}, {"params": biases, "weight_decay": 0.0}]
        net = {**net, "weight_decay": 0.0}
        optimizer: Any = torch.optim.AdamW(groups, rate, (has["beta1"], has["beta2"]), has["epsilon"])
    elif name == "adam":
        optimizer = torch.optim.Adam([*weights, *biases], rate, (has["beta1"], has["beta2"]), has["epsilon"])
    elif name == "rmsprop":
        optimizer = torch.optim.RMSprop([*weights, *biases], rate, has["rho"], has["epsilon"])
    else:
        mu = has.get("momentum", 0.0)
        optimizer = torch.optim.SGD([*weights, *biases], rate, mu, nesterov=name == "nesterov")
    means = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        mean, whole = objective(net, parameters)
        means.append(mean.item())
        whole.backward()
        optimizer.step()
    return {"means": means, "parameters": [[p.tolist() for p in layer] for layer in parameters]}


def traced() -> Net:
    """The network whose training is traced."""
    return draw({"widths": [4, 6, 3], "activations": ["tanh", "softmax"], "weight_decay": 0.03125}, 99)


def main() -> None:
    """Write golden.json, a line for each network and each trace."""
    nets = {name: draw(net, seed) for seed, (name, net) in enumerate(NETS.items())}
    lines = [f"{json.dumps(name)}: {json.dumps({**net, **compute(net)})}" for name, net in nets.items()]
    net = traced()
    traces = [f"{json.dumps(name)}: {json.dumps(trace(net, name))}" for name in TRACES]
    parts = [("nets", lines), ("traced", json.dumps(net)), ("traces", traces)]
    body = [f'"{key}": ' + (part if isinstance(part, str) else "{\n" + ",\n".join(part) + "\n}") for key, part in parts]
    GOLDEN.write_text("{" + ",\n".join(body) + "}\n")


if __name__ == "__main__":
    main()
