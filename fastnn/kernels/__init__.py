"""The two backends: the same kernels, with the same names and signatures, once to read and once to run.

predict(job, outputs)
    The network's outputs for all examples, written to `outputs` (N, O).
score(job) -> Totals
    Loss and hits over all examples, without dropout.
gradients(job, rows, epoch) -> (Totals, gradient (size,))
    The gradient of the mean loss over the samples `rows` (B,), with the dropout masks of `epoch`.
train(job, order, epoch, first, steps, totals) -> Totals
    len(steps) optimiser steps of epoch `epoch`, from step `first` on, over the samples in `order` (N,). Each row of
    `steps` (S, 3) holds the step's effective learning rate, effective epsilon, and decoupled decay of the weights.
    The sums go on from `totals`, so that they do not depend on how an epoch is cut into calls.
warm() -> (seconds, compiled)
    Make the kernels ready: how long it took, and whether anything was compiled (not found in a cache).
"""

import importlib
from types import ModuleType

from fastnn.errors import ConfigError

KERNELS = ("predict", "score", "gradients", "train")
BACKENDS = {"fused": "fastnn.kernels.fused", "reference": "fastnn.kernels.reference"}


def backend(name: str) -> ModuleType:
    """The module that holds the kernels of backend `name`; imported here, so that Numba loads only where it is used."""
    if name not in BACKENDS:
        raise ConfigError(f"unknown backend {name!r}; choose one of {', '.join(BACKENDS)}")
    return importlib.import_module(BACKENDS[name])
