"""JAX: a whole epoch is one compiled function, a `lax.scan` over the batches whose weights are donated to it.

The net is written as JAX's own tutorial on training one does ("Training a simple neural network"): weights (O, I), a
layer ``x @ W.T + b``. With weights (I, O) 784-30-10 at batch 10 took 0.48 s instead of 0.30 (two threads), the others
as long or a little longer. Rows of targets instead of labels, or an unrolled scan, made no difference or were slower.
XLA has no setting for its threads that holds for all its parts: it takes a thread for each CPU that the process may
run on, so it is by that the process is limited.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.peers.rows import Parameters, Task

ACTIVATIONS = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh}


class Net:
    """The batches lie ready as (S, B, I); a smaller last one is a step of its own in the same compiled function."""

    def __init__(self, task: Task, threads: int):
        row, X = task.row, task.inputs()
        whole = len(X) // row.batch * row.batch
        self.first = task.weights()
        self.stacked = tuple(
            jnp.asarray(values[:whole].reshape(-1, row.batch, *values.shape[1:])) for values in (X, task.labels)
        )
        self.rest = tuple(jnp.asarray(values[whole:]) for values in (X, task.labels)) if whole < len(X) else None
        f, rate = ACTIVATIONS[row.activation], row.rate

        def mean_loss(layers, x, labels):
            *hidden, (W, b) = layers
            for V, c in hidden:
                x = f(x @ V.T + c)
            log_probabilities = jax.nn.log_softmax(x @ W.T + b)
            return -jnp.take_along_axis(log_probabilities, labels[:, None], axis=1).mean()

        def step(layers, batch):
            gradient = jax.grad(mean_loss)(layers, *batch)
            return jax.tree.map(lambda p, g: p - rate * g, layers, gradient), None

        @partial(jax.jit, donate_argnums=0)
        def epoch(layers, stacked, rest):
            layers, _ = jax.lax.scan(step, layers, stacked)
            return layers if rest is None else step(layers, rest)[0]

        self.run = epoch
        self.reset()
        jax.block_until_ready((self.stacked, self.rest))

    def reset(self) -> None:
        self.layers = jax.block_until_ready([(jnp.array(W.T), jnp.array(b)) for W, b in self.first])

    def epoch(self) -> None:
        self.layers = jax.block_until_ready(self.run(self.layers, self.stacked, self.rest))

    def parameters(self) -> Parameters:
        return [(np.asarray(W).T, np.asarray(b)) for W, b in self.layers]
