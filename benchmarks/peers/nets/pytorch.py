"""PyTorch in eager mode: modules, autograd, and the step of gradient descent written out, as its tutorials begin.

Measured with two threads, seconds an epoch of tabular / tiny / 784-30-10 at batch 100: `torch.autograd.grad` and
``p.sub_(g, alpha=rate)`` 0.27 / 0.27 / 0.36; `torch.optim.SGD` with ``zero_grad(set_to_none=True)`` and
``foreach=False`` 0.31 / 0.38 / 0.44, ``foreach=True`` 0.31 / 0.38 / 0.51, ``fused=True`` 0.27 / 0.38 / 0.50. In large
nets the four are alike. `torch.compile` of net and loss made it no faster (0.34 / 0.43 / 0.54; 784-300-10 1.7 against
1.4) and took 5 to 32 s to compile.
"""

import numpy as np
import torch
from torch import nn

from benchmarks.peers.rows import Parameters, Task

ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}


class Net:
    """The batches are views made once, so that no data loader stands between them and the net."""

    def __init__(self, task: Task, threads: int):
        torch.set_num_threads(threads)
        row, self.rate, self.first = task.row, task.row.rate, task.weights()
        X, labels = torch.from_numpy(task.inputs()), torch.from_numpy(task.labels.astype(np.int64))
        self.batches = list(zip(X.split(row.batch), labels.split(row.batch), strict=True))
        self.linear = [nn.Linear(*W.shape) for W, _ in self.first]
        layers = [part for linear in self.linear for part in (linear, ACTIVATIONS[row.activation]())]
        self.net = nn.Sequential(*layers[:-1])
        self.tensors = list(self.net.parameters())
        self.reset()

    def reset(self) -> None:
        with torch.no_grad():
            for layer, (W, b) in zip(self.linear, self.first, strict=True):
                layer.weight.copy_(torch.from_numpy(W.T))
                layer.bias.copy_(torch.from_numpy(b))

    def epoch(self) -> None:
        for x, labels in self.batches:
            loss = nn.functional.cross_entropy(self.net(x), labels)
            gradient = torch.autograd.grad(loss, self.tensors)
            with torch.no_grad():
                for p, g in zip(self.tensors, gradient, strict=True):
                    p.sub_(g, alpha=self.rate)

    def parameters(self) -> Parameters:
        return [(layer.weight.detach().numpy().T, layer.bias.detach().numpy()) for layer in self.linear]
