"""A network: layers, their parameters in one flat buffer, outputs and gradients. Training it: training.py."""

import html
import math
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from fastnn.data.compressed import Compressed
from fastnn.errors import ConfigError, DataError
from fastnn.initializers import initialize
from fastnn.kernels import backend as kernels_of
from fastnn.kernels.job import Examples, Job
from fastnn.kernels.threads import resolve
from fastnn.layers import Architecture, Dense, Input, Layer, aligned_zeros
from fastnn.rng import check_seed, generator

FEW = 2**14  # samples of a prediction whose buffers are kept for the next one


class Network:
    """A multilayer perceptron that can be evaluated and differentiated.

    Parameters
    ----------
    layers : sequence of Input, Dense, Dropout
        `Input` first, `Dense` last.
    loss : str, optional
        "cross_entropy", "binary_cross_entropy" or "quadratic"; by default what goes with the output activation.
    weight_init, bias_init : str
        Names of `fastnn.initializers.INITIALIZERS`, with arguments if need be: ``"uniform(-0.5, 0.5)"``.
    seed : int
        Of the initial parameters, and of all that training draws.

    Attributes
    ----------
    layers : tuple of layers
    architecture : Architecture
    flat : float32 array (architecture.size,)
        All parameters; `parameters()` gives views of it.
    epochs : int
        How many epochs it has been trained for, in all fits together.
    metadata : dict
        JSON data that travels with the model's file: class names, preprocessing, training settings, metrics.

    Raises
    ------
    ConfigError
        Layers, loss, initialisers or seed that do not make a network.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        loss: str | None = None,
        weight_init: str = "he_normal",
        bias_init: str = "zeros",
        seed: int = 0,
    ):
        self.layers = tuple(layers)
        self.architecture = Architecture.of(self.layers, loss)
        self.weight_init, self.bias_init = weight_init, bias_init
        self.metadata: dict[str, Any] = {}
        self._workspace: Any = None  # of the last predictions
        self.seed = check_seed(seed)
        try:
            self.flat = aligned_zeros(self.architecture.size)
        except (MemoryError, ValueError, OverflowError):
            raise ConfigError("there is no memory for so many parameters; give the layers fewer units") from None
        self.reset(seed)

    @classmethod
    def from_sizes(
        cls, sizes: Sequence[int], activation: str = "relu", output: str = "softmax", **arguments: Any
    ) -> Self:
        """A network from its widths alone: ``from_sizes([784, 100, 10], activation="sigmoid")``.

        Parameters
        ----------
        sizes : sequence of int
            The input's width, then the units of each dense layer.
        activation, output : str
            Activation of the hidden layers, and of the last.
        **arguments
            As for the class: loss, weight_init, bias_init, seed.

        Returns
        -------
        Network
            Of the class that this is called on.

        Raises
        ------
        ConfigError
            Fewer than two sizes, or what does not make a network.
        """
        if len(sizes) < 2:
            raise ConfigError(f"a network needs at least two sizes, input and output, not {list(sizes)}")
        hidden = [Dense(units, activation) for units in sizes[1:-1]]
        return cls([Input(sizes[0]), *hidden, Dense(sizes[-1], output)], **arguments)

    @property
    def loss(self) -> str:
        """The name of the loss."""
        return self.architecture.loss

    @property
    def classifies(self) -> bool:
        """Whether outputs stand for classes.

        As ``metadata["classes"]`` says, if it is there (None: regression). Otherwise they do with every loss but the
        quadratic one, and with that if there are several outputs of a sigmoid or tanh.
        """
        if "classes" in self.metadata:
            return self.metadata["classes"] is not None
        net = self.architecture
        return self.loss != "quadratic" or (net.widths[-1] > 1 and net.activations[-1] in ("sigmoid", "tanh"))

    def reset(self, seed: int | None = None) -> None:
        """Draw all parameters anew.

        Parameters
        ----------
        seed : int, optional
            From 0 to 2**64 - 1; by default the seed that the network has.

        Raises
        ------
        ConfigError
            A seed out of range.
        """
        self.seed = check_seed(self.seed if seed is None else seed)
        self.epochs = 0
        for layer, (W, b) in enumerate(self.parameters()):
            rng = generator(self.seed, "weights", layer)
            W[...] = initialize(self.weight_init, W.shape, rng)
            b[...] = initialize(self.bias_init, b.shape, rng)

    def parameters(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """``[(W (I, O), b (O,)), ...]`` of the dense layers: float32 views; writing to them changes the network."""
        return self.architecture.views(self.flat)

    def without_last(self) -> Self | None:
        """A network that ends with this one's last hidden layer, and has copies of its parameters; None without any."""
        dense = [place for place, layer in enumerate(self.layers) if isinstance(layer, Dense)]
        if len(dense) < 2:
            return None
        found = type(self)(self.layers[: dense[-2] + 1], seed=self.seed)
        for (W, b), (own_W, own_b) in zip(found.parameters(), self.parameters(), strict=False):
            W[...], b[...] = own_W, own_b
        return found

    def outputs(self, X: Any, backend: str = "fused", threads: int | str = "auto") -> np.ndarray:
        """What the output layer gives.

        Parameters
        ----------
        X : as for `examples`
        backend : {"fused", "reference"}
            The compiled kernels, or plain NumPy.
        threads : int or "auto"
            From 1 to 1024, for the fused backend; the result does not depend on it.

        Returns
        -------
        float32 array (N, O)

        Raises
        ------
        ConfigError
            An unknown backend, or a number of threads out of range.
        DataError
            As `examples`.
        """
        return self.forward(self.examples(X), backend, threads)

    def forward(self, examples: Examples, backend: str = "fused", threads: int | str = "auto") -> np.ndarray:
        """As `outputs`, for examples that have been checked already.

        Parameters
        ----------
        examples : Examples
            Of N samples.
        backend, threads : as for `outputs`

        Returns
        -------
        float32 array (N, O)

        Raises
        ------
        ConfigError
            As `outputs`.
        DataError
            Another number of features than the network's.
        """
        inputs, *_, outputs = self.architecture.widths
        if examples.X.shape[1] != inputs:  # the kernels would read beyond the rows
            raise DataError(f"X has the shape {examples.X.shape}; this network takes (N, {inputs})")
        result = np.empty((len(examples), outputs), np.float32)
        job = self.job(examples, threads=threads, forward=True)
        # buffers that nobody uses now: with new ones each time, a prediction of one row took 390 us, so 47
        job.workspace, self._workspace = self._workspace, None
        kernels_of(backend).predict(job, result)
        if len(examples) <= FEW:
            self._workspace = job.workspace
        return result

    def gradients(
        self,
        X: np.ndarray,
        y: np.ndarray,
        sample_weight: np.ndarray | None = None,
        backend: str = "fused",
        threads: int | str = "auto",
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """The gradient of the mean loss (without dropout or weight decay).

        Parameters
        ----------
        X, y, sample_weight : as for `examples`
            Here `y` must be given.
        backend, threads : as for `outputs`

        Returns
        -------
        list of (dW (I, O), db (O,)), float32

        Raises
        ------
        ConfigError
            As `outputs`.
        DataError
            As `examples`; or there are no samples.
        """
        examples = self.examples(X, y, sample_weight)
        if not len(examples):
            raise DataError("the gradient of a mean needs at least one sample")
        job = self.job(examples, batch_size=len(examples), threads=threads)
        job.architecture = self.architecture.without_dropout()
        return self.architecture.views(kernels_of(backend).gradients(job, np.arange(len(examples)))[1])

    def job(
        self,
        examples: Examples,
        batch_size: int = 256,
        threads: int | str = "auto",
        forward: bool = False,
        **settings: Any,
    ) -> Job:
        """The network at work on examples.

        Parameters
        ----------
        examples : Examples
        batch_size : int
            B, at least 1.
        threads : as for `outputs`
        forward : bool
            Whether it is asked for its outputs alone.
        **settings
            The other fields of `Job`.

        Returns
        -------
        Job

        Raises
        ------
        ConfigError
            A number of threads out of range.
        """
        # a shift turns zeros into other numbers
        density = 1.0 if self.architecture.shifts or threads != "auto" else examples.find_density()
        count = resolve(threads, self.architecture, min(batch_size, max(1, len(examples))), density, forward)
        return Job(self.architecture, self.flat, examples, batch_size, threads=count, **settings)

    def examples(self, X: Any, y: np.ndarray | None = None, sample_weight: np.ndarray | None = None) -> Examples:
        """Check arrays against this network, and bring them into the kernels' form.

        Parameters
        ----------
        X : array (N, I), or (N, ...) with I values a sample, or sparse matrix (N, I)
            Raw input. uint8 stays uint8, all else becomes float32; a sparse matrix stays one, unless the input has a
            shift or dropout.
        y : array, optional
            (N,) class indices from 0 to O - 1; or (N, O) targets, for classes one-hot rows; or (N,) targets if O is 1.
        sample_weight : array (N,), optional
            At least 0, not all 0.

        Returns
        -------
        fastnn.kernels.job.Examples

        Raises
        ------
        DataError
            Shapes, values or labels that do not fit.
        """
        X = _inputs(X, self.architecture)
        weights = None if sample_weight is None else _weights(sample_weight, len(X))
        if y is None:
            return Examples(X, weights=weights)
        y, outputs = _numbers(y, "y"), self.architecture.widths[-1]
        if y.ndim == 0 or len(y) != len(X):
            raise DataError(f"X has {len(X)} samples but y has {len(y) if y.ndim else 'none'}; they must be as many")
        if y.ndim == 1 and outputs > 1:
            return Examples(X, _labels(y, outputs), None, weights)
        targets = _targets(y, outputs, self.loss)
        return Examples(X, None, targets, weights, _are_classes(targets, self.loss))

    def __str__(self) -> str:
        """A table of layers, shapes and parameters."""
        rows, inputs = [("layer", "shape", "parameters")], 0
        for layer in self.layers:
            if isinstance(layer, Input):
                rows.append(("input", f"{layer.width}", ""))
                inputs = layer.width
            elif isinstance(layer, Dense):
                assert isinstance(layer.units, int)
                rows.append(
                    (f"dense {layer.activation}", f"{inputs} x {layer.units}", f"{(inputs + 1) * layer.units:,}")
                )
                inputs = layer.units
            else:
                rows.append((f"dropout {layer.rate:g}", "", ""))
        rows.append((f"loss {self.loss}", "", f"{self.architecture.parameters:,}"))
        first, second, third = (max(len(row[column]) for row in rows) for column in range(3))
        lines = [f"{a:<{first}}  {b:<{second}}  {c:>{third}}".rstrip() for a, b, c in rows]
        return "\n".join([lines[0], "-" * (first + second + third + 4), *lines[1:]])

    def _repr_html_(self) -> str:
        """The table as notebooks show it."""
        return f"<pre>{html.escape(str(self))}</pre>"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self.layers)!r}, loss={self.loss!r}, seed={self.seed})"

    def __getstate__(self) -> dict[str, Any]:
        """All but the workspace, which holds addresses."""
        return self.__dict__ | {"_workspace": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Copies and pickles get a buffer of their own, aligned as the kernels like it."""
        self.__dict__.update(state)
        self.flat = aligned_zeros(self.architecture.size)
        self.flat[:] = state["flat"]


def _numbers(values: Any, what: str) -> np.ndarray:
    """`values` as an array of real numbers; a data frame's columns of objects are taken if they are numbers."""
    try:
        array = np.asarray(values)
        if array.dtype.kind == "O":
            array = array.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{what} must be an array of numbers: {error}") from None
    if array.dtype.kind not in "biuf":
        raise DataError(f"{what} must be an array of numbers, not of the type {array.dtype}")
    return array


def _single(array: np.ndarray, copy: bool) -> np.ndarray:
    with np.errstate(over="ignore"):  # what overflows is found, and named, as infinite
        return array.astype(np.float32, order="C", copy=copy)


def _demand(good: np.ndarray, array: np.ndarray, what: str, rule: str, first_row: int = 0) -> None:
    """Name the first value of `array` that is not `good`; its first row is number `first_row`."""
    if good.all():
        return
    row, *column = np.argwhere(~good)[0].tolist()
    place = f"row {row + first_row}" + "".join(f", column {k}" for k in column)
    raise DataError(f"{what} holds {array[row, *column]} at {place}; {rule}")


def _inputs(X: Any, net: Architecture) -> np.ndarray | Compressed:
    width = net.widths[0]
    if isinstance(X, Compressed):
        return X
    if hasattr(X, "tocsr"):
        return _compressed(X, net)
    X = _numbers(X, "X")
    if X.ndim > 2:
        X = X.reshape(len(X), math.prod(X.shape[1:]))
    if X.ndim != 2 or X.shape[1] != width:
        raise DataError(f"X has the shape {X.shape}; this network takes (N, {width})")
    if X.dtype in (np.uint8, bool):
        return np.ascontiguousarray(X, np.uint8)
    single: np.ndarray = _single(X, copy=False)
    for start in range(0, len(single), 4096):  # in slices: a mask of all of X would be a quarter of its size
        part = single[start : start + 4096]
        _demand(np.isfinite(part), part, "X", "remove or replace such values", start)
    return single


def _compressed(X: Any, net: Architecture) -> np.ndarray | Compressed:
    """The values of a sparse matrix that are not zero; all, if zero is no zero to the first layer."""
    if X.ndim != 2 or X.shape[1] != net.widths[0]:
        raise DataError(f"X has the shape {X.shape}; this network takes (N, {net.widths[0]})")
    if X.dtype.kind not in "biuf":
        raise DataError(f"X must be an array of numbers, not of the type {X.dtype}")
    rows = Compressed.of(X)
    if not rows.sound:
        raise DataError(f"X is a damaged sparse matrix: a column is not in 0 to {rows.width - 1}, or its rows overlap")
    good = np.isfinite(rows.values)
    if not good.all():
        place = int(np.argmin(good))
        where = f"row {rows.row_of(place)}, column {rows.columns[place]}"
        raise DataError(f"X holds {rows.values[place]} at {where}; remove or replace such values")
    return rows.dense() if net.shifts or net.dropout[0] else rows


def _weights(values: Any, samples: int) -> np.ndarray:
    weights = _single(_numbers(values, "sample_weight"), copy=True)
    if weights.shape != (samples,):
        raise DataError(f"sample_weight has the shape {weights.shape}; it must be ({samples},)")
    _demand(np.isfinite(weights) & (weights >= 0), weights, "sample_weight", "weights are finite and at least 0")
    if not weights.any():
        raise DataError("sample_weight is zero for all samples; at least one must count")
    return weights


def _labels(y: np.ndarray, classes: int) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        labels = y.astype(np.int32)
    good = (labels == y) & (labels >= 0) & (labels < classes)
    _demand(good, y, "y", f"this network knows the class indices 0 to {classes - 1}")
    return labels


def _targets(y: np.ndarray, outputs: int, loss: str) -> np.ndarray:
    if y.ndim == 1:
        y = y[:, None]
    if y.ndim != 2 or y.shape[1] != outputs:
        raise DataError(f"y has the shape {y.shape}; this network takes (N, {outputs}) or class indices (N,)")
    targets = _single(y, copy=True)
    _demand(np.isfinite(targets), targets, "y", "remove or replace such values")
    if loss != "quadratic":
        _demand((targets >= 0) & (targets <= 1), targets, "y", f"targets for {loss} lie between 0 and 1")
    return targets


def _are_classes(targets: np.ndarray, loss: str) -> bool:
    """Whether target rows name classes: one-hot rows, or the 0 and 1 of a single sigmoid output."""
    binary = bool(((targets == 0) | (targets == 1)).all())
    if targets.shape[1] == 1:
        return binary and loss == "binary_cross_entropy"
    return binary and bool((targets.sum(axis=1) == 1).all())
