"""A model as one page for a browser: its weights inside, no network, no library. Images can be drawn on it.

The page itself is page.html: its script computes what the reference kernels do, in JavaScript.
"""

import base64
import html
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from fastnn.errors import ConfigError, ModelFileError
from fastnn.files import write_atomically
from fastnn.formats.description import Kind
from fastnn.network import Network
from fastnn.settings import one_of

TEMPLATE = Path(__file__).with_name("page.html")
WEIGHTS = {"float32": np.float32, "float16": np.float16}
# those that page.html computes
ACTIVATIONS = ["identity", "relu", "leaky_relu", "elu", "sigmoid", "tanh", "softplus", "gelu", "silu", "softmax"]
BYTES = 255.0  # the largest value of a pixel, where nothing is known of the data


def save(path: str | os.PathLike[str], network: Network, weights: str = "float32") -> None:
    """Write a network as a page.

    Parameters
    ----------
    path : path-like
    network : Network
        With ``metadata["image"]`` the page has a place to draw on, else a field for each input, named by
        ``metadata["features"]``. What stands for no class is named by ``metadata["outputs"]``.
    weights : {"float32", "float16"}
        What the page holds them as; float16 halves it, and changes probabilities in the third digit.

    Raises
    ------
    ConfigError
        A type or an activation that no page can have, or weights that float16 cannot hold.
    OutputError
        The file cannot be written.
    """
    net, kind = network.architecture, WEIGHTS[one_of(weights, WEIGHTS, "type of a page's weights")]
    for activation in net.activations:
        one_of(activation, ACTIVATIONS, "activation of a page")
    with np.errstate(over="ignore"):
        numbers = np.concatenate([value.ravel() for pair in network.parameters() for value in pair]).astype(kind)
    if not np.isfinite(numbers).all():
        raise ConfigError("float16 cannot hold weights beyond 65,504; write the page with float32 weights")
    about = network.metadata
    model: dict[str, Any] = {
        "sizes": net.widths,
        "activations": net.activations,
        "arguments": net.arguments,
        "scale": net.scale,
        "shift": net.shift,
        "loss": net.loss,
        "image": _image(network),
        "largest": about.get("largest") or BYTES,
        "classes": _classes(network),
        "outputs": _outputs(network),
        "features": _names(about.get("features"), net.widths[0]),
        "metrics": about.get("metrics"),
        "type": weights,
        "weights": base64.b64encode(numbers.astype(numbers.dtype.newbyteorder("<")).tobytes()).decode("ascii"),
    }
    title = " – ".join(str(width) for width in net.widths)
    # no "<" in the script: nothing that a class is named by can end it
    text = json.dumps(model).replace("<", "\\u003c")
    page = TEMPLATE.read_text(encoding="utf-8").replace("__TITLE__", html.escape(title)).replace("__MODEL__", text)
    write_atomically(path, page)


def _image(network: Network) -> list[int] | None:
    """Height and width, if the inputs are that many pixels."""
    image = network.metadata.get("image")
    return image if image and math.prod(image) == network.architecture.widths[0] else None


def _classes(network: Network) -> list[str] | None:
    if not network.classifies:
        return None
    count = max(2, network.architecture.widths[-1])
    names = [str(name) for name in network.metadata.get("classes") or range(count)]
    if len(names) != count:
        raise ConfigError(f"the model has {count} classes, but its description names {len(names)}")
    return names


def _outputs(network: Network) -> list[str] | None:
    """Names of outputs that stand for no class: the description's own, or of the column that a run learnt."""
    about, count = network.metadata, network.architecture.widths[-1]
    settings = about.get("settings")
    column = settings.get("data.label") if isinstance(settings, dict) else None
    return _names(about.get("outputs") or ([column] if isinstance(column, str) else None), count)


def _names(names: Any, count: int) -> list[str] | None:
    """`names` if they are as many as what they name."""
    return [str(name) for name in names] if isinstance(names, (list, tuple)) and len(names) == count else None


def load(path: str | os.PathLike[str], kind: type[Kind]) -> Kind:
    """Refuse: a page is for a browser."""
    raise ModelFileError(f"{path}: fastnn writes pages, but reads none; keep the model as .safetensors beside it")
