"""Layer descriptors, and the architecture that they add up to: shapes, names and offsets, no numbers.

Letters for sizes, here and in every module: B samples of a batch, I inputs and O outputs of a layer, L dense layers,
N samples of a data set.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from fastnn.errors import ConfigError
from fastnn.settings import BELOW_ONE, COUNT, checked, one_of

LARGEST = float(np.finfo(np.float32).max)  # what the kernels calculate in
LANES = 16  # rows of a weight matrix are padded to whole vectors of the widest kind: 16 float32 (AVX-512)

# Each activation, with the default of its one argument (None: it takes none). Formulas: kernels/functions.py.
ACTIVATIONS: dict[str, float | None] = {
    "identity": None,
    "relu": None,
    "leaky_relu": 0.01,  # slope where z < 0
    "elu": 1.0,  # alpha
    "sigmoid": None,
    "tanh": None,
    "softplus": None,
    "gelu": None,
    "silu": None,
    "softmax": None,
}

# Each loss, with the output activation that it is tied to (None: any but softmax).
LOSSES: dict[str, str | None] = {
    "cross_entropy": "softmax",
    "binary_cross_entropy": "sigmoid",
    "quadratic": None,
}

# The loss that goes with an output activation if none is named; every other activation: quadratic.
DEFAULT_LOSS = {activation: loss for loss, activation in LOSSES.items() if activation}


def parse_call(text: str, what: str) -> tuple[str, tuple[float, ...]]:
    """Read a name with optional numbers in brackets, such as ``"uniform(-0.5, 0.5)"``.

    Parameters
    ----------
    text : str
        The text to read.
    what : str
        What it names, for the error message ("activation", "initializer").

    Returns
    -------
    (name, arguments) : (str, tuple of float)

    Raises
    ------
    ConfigError
        The text is not of this form.
    """
    match = re.fullmatch(r"\s*([a-z_]+)\s*(?:\(([^()]*)\))?\s*", str(text))
    try:
        if match is None:
            raise ValueError
        inside = (match[2] or "").strip()
        return match[1], tuple(float(part) for part in inside.split(",")) if inside else ()
    except ValueError:
        raise ConfigError(
            f"cannot read the {what} {text!r}; write a name or a name with numbers, as in uniform(-1, 1)"
        ) from None


@dataclass(frozen=True)
class Input:
    """The raw input: `width` features, each mapped to ``scale * x + shift`` before the first layer.

    Parameters
    ----------
    width : int
        Number of features, I of the first dense layer.
    scale, shift : float or sequence of `width` floats
        One value for all features, or one each. Finite in float32. They travel with the model.

    Raises
    ------
    ConfigError
        A width below 1, or a scale or shift of the wrong length or not finite.
    """

    width: int
    scale: float | tuple[float, ...] = 1.0
    shift: float | tuple[float, ...] = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "width", checked(self.width, COUNT, "the input's width", int))
        for name in ("scale", "shift"):
            try:
                values = np.asarray(getattr(self, name), dtype=np.float64)
                if values.shape not in ((), (self.width,)) or not (np.abs(values) <= LARGEST).all():
                    raise ValueError
            except (TypeError, ValueError, OverflowError):
                raise ConfigError(f"the input's {name} must be a finite number or {self.width} of them") from None
            object.__setattr__(self, name, values.item() if values.ndim == 0 else tuple(values.tolist()))


@dataclass(frozen=True)
class Dense:
    """A fully connected layer: ``activation(a @ W + b)`` with W (I, O) and b (O,).

    Parameters
    ----------
    units : int or "auto"
        O, the number of outputs. "auto" is resolved by the commands that search; `fit` refuses it.
    activation : str
        A name of `ACTIVATIONS`, with its argument in brackets if it takes one: ``"leaky_relu(0.2)"``.

    Raises
    ------
    ConfigError
        Fewer than one unit, or an unknown activation or argument.
    """

    units: int | str
    activation: str = "identity"

    def __post_init__(self) -> None:
        if self.units != "auto":
            units = checked(self.units, COUNT, "the number of units of a dense layer", int)
            object.__setattr__(self, "units", units)
        self.parsed_activation()

    def parsed_activation(self) -> tuple[str, float]:
        """The activation's bare name and its argument (0.0 if it takes none).

        Raises
        ------
        ConfigError
            An unknown activation, or an argument that it does not take.
        """
        name, arguments = parse_call(self.activation, "activation")
        default = ACTIVATIONS[one_of(name, ACTIVATIONS, "activation")]
        if len(arguments) > (default is not None) or not all(abs(v) <= LARGEST for v in arguments):
            takes = "no argument" if default is None else "one finite argument"
            raise ConfigError(f"the activation {name} takes {takes}, not {self.activation!r}")
        return name, arguments[0] if arguments else (default or 0.0)


@dataclass(frozen=True)
class Dropout:
    """Inverted dropout: in training, each value is zeroed with probability `rate`, the others divided by ``1 - rate``.

    Parameters
    ----------
    rate : float
        From 0 (nothing) to below 1.

    Raises
    ------
    ConfigError
        A rate outside [0, 1).
    """

    rate: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", checked(self.rate, BELOW_ONE, "a dropout rate"))


Layer = Input | Dense | Dropout
LAYER_TYPES: dict[str, type[Layer]] = {"input": Input, "dense": Dense, "dropout": Dropout}


def layer_to_dict(layer: Layer) -> dict[str, Any]:
    """A layer as plain data for a file: ``{"type": "dense", "units": 300, "activation": "relu"}``."""
    (name,) = (name for name, kind in LAYER_TYPES.items() if kind is type(layer))
    return {"type": name, **asdict(layer)}


def layer_from_dict(data: Any) -> Layer:
    """The layer that `layer_to_dict` described; ConfigError if the data is not such a description."""
    if not isinstance(data, dict) or str(data.get("type")) not in LAYER_TYPES:
        raise ConfigError(f"{data!r} describes no layer")
    kind = LAYER_TYPES[str(data["type"])]
    try:
        return kind(**{name: value for name, value in data.items() if name != "type"})
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{data!r} describes no layer: {error}") from None


@dataclass(frozen=True)
class Architecture:
    """What the kernels need to know of a network, and where each parameter stands in the flat buffer.

    The flat buffer holds, layer after layer, W as I rows of `strides` floats each, then b as one such row. Columns
    beyond O are padding: zero, and kept zero by every optimiser, because their gradient is zero.

    Parameters
    ----------
    widths : tuple of int
        The input's width, then O of each dense layer (L + 1 values).
    activations, arguments : tuple of str, tuple of float
        Of each dense layer: the activation's name and its argument (0.0 if it takes none).
    dropout : tuple of float
        Of each dense layer: the dropout rate on its *input* (0.0: none).
    loss : str
        A name of `LOSSES`.
    scale, shift : float or tuple of float
        See `Input`.
    """

    widths: tuple[int, ...]
    activations: tuple[str, ...]
    arguments: tuple[float, ...]
    dropout: tuple[float, ...]
    loss: str
    scale: float | tuple[float, ...] = 1.0
    shift: float | tuple[float, ...] = 0.0

    @classmethod
    def of(cls, layers: Sequence[Layer], loss: str | None = None) -> "Architecture":
        """Check a stack of layers and read its architecture.

        Parameters
        ----------
        layers : sequence of Input, Dense, Dropout
            One `Input` first, at least one `Dense`, and a `Dense` last.
        loss : str, optional
            A name of `LOSSES`; by default the one that goes with the output activation (`DEFAULT_LOSS`).

        Raises
        ------
        ConfigError
            Layers in a wrong order, softmax below the output, or a loss that does not go with the output activation.
        """
        if not layers or not isinstance(layers[0], Input):
            raise ConfigError("a network begins with an Input layer, such as Input(784)")
        if not isinstance(layers[-1], Dense):
            raise ConfigError("a network ends with a Dense layer, such as Dense(10, 'softmax')")
        widths, activations, arguments, dropout = [layers[0].width], [], [], []
        waiting = 0.0
        for layer in layers[1:]:
            if isinstance(layer, Dropout):
                waiting = 1 - (1 - waiting) * (1 - layer.rate) if waiting else layer.rate
                if waiting == 1:
                    raise ConfigError("the dropout layers in a row leave nothing over; lower their rates")
            elif isinstance(layer, Dense):
                if not isinstance(layer.units, int):
                    raise ConfigError('Dense("auto") must be given a number of units first: the tune command finds one')
                name, argument = layer.parsed_activation()
                widths.append(layer.units)
                activations.append(name)
                arguments.append(argument)
                dropout.append(waiting)
                waiting = 0.0
            else:
                raise ConfigError(f"{type(layer).__name__} cannot stand inside a network; use Dense and Dropout")
        if "softmax" in activations[:-1]:
            raise ConfigError(
                "softmax can stand only at the output; give the hidden layers another activation, such as relu"
            )
        output = activations[-1]
        loss = one_of(loss or DEFAULT_LOSS.get(output, "quadratic"), LOSSES, "loss")
        tied = LOSSES[loss]
        if (tied or output) != output:
            raise ConfigError(f"the loss {loss} needs the output activation {tied}, not {output}")
        if output == "softmax" and loss != "cross_entropy":
            raise ConfigError(f"the output activation softmax needs the loss cross_entropy, not {loss}")
        if output == "softmax" and widths[-1] < 2:
            raise ConfigError("softmax needs at least 2 outputs; for one output use sigmoid")
        return cls(
            tuple(widths), tuple(activations), tuple(arguments), tuple(dropout), loss, layers[0].scale, layers[0].shift
        )

    @cached_property
    def strides(self) -> tuple[int, ...]:
        """Floats from one row to the next, of each dense layer: O rounded up to whole vectors."""
        return tuple(-(-units // LANES) * LANES for units in self.widths[1:])

    @cached_property
    def weight_offsets(self) -> tuple[int, ...]:
        """Where each layer's W begins in the flat buffer; its b stands right behind its I rows."""
        sizes = [(inputs + 1) * stride for inputs, stride in zip(self.widths, self.strides, strict=False)]
        return tuple(sum(sizes[:layer]) for layer in range(len(sizes)))

    @cached_property
    def size(self) -> int:
        """Floats in the flat buffer, padding included."""
        return sum((inputs + 1) * stride for inputs, stride in zip(self.widths, self.strides, strict=False))

    @cached_property
    def parameters(self) -> int:
        """Trainable numbers, padding not counted."""
        return sum((inputs + 1) * outputs for inputs, outputs in pairwise(self.widths))

    @cached_property
    def shifts(self) -> bool:
        """Whether an input that is 0 becomes another number."""
        return bool(np.any(self.shift))

    def without_dropout(self) -> "Architecture":
        """The same architecture as it is outside of training."""
        return replace(self, dropout=(0.0,) * len(self.dropout))

    def views(self, flat: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """The parameters of each layer inside a flat buffer of any dtype.

        Parameters
        ----------
        flat : array (size,)

        Returns
        -------
        list of (W (I, O), b (O,))
            Views: writing to them writes to `flat`.
        """
        found = []
        for layer, (inputs, outputs) in enumerate(pairwise(self.widths)):
            start, stride = self.weight_offsets[layer], self.strides[layer]
            rows = flat[start : start + (inputs + 1) * stride].reshape(inputs + 1, stride)
            found.append((rows[:inputs, :outputs], rows[inputs, :outputs]))
        return found


def aligned_zeros(size: int, dtype: Any = np.float32) -> np.ndarray:
    """A zeroed one-dimensional array whose first byte lies on a cache line (64 bytes)."""
    itemsize = np.dtype(dtype).itemsize
    raw = np.zeros(size * itemsize + 64, np.uint8)
    skip = -raw.ctypes.data % 64
    return raw[skip : skip + size * itemsize].view(dtype)
