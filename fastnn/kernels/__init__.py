"""The two backends: the same kernels, with the same names and signatures, once to read and once to run.

What the `KERNELS` take and give stands in reference.py. Beside them there is

warm() -> (seconds, compiled)
    Make the kernels ready: how long it took, and whether anything was compiled (not found in a cache).
"""

import functools
import importlib
from types import ModuleType

from fastnn.errors import ConfigError

KERNELS = ("predict", "score", "gradients", "train")
BACKENDS = {"fused": "fastnn.kernels.fused", "reference": "fastnn.kernels.reference"}


@functools.cache
def backend(name: str) -> ModuleType:
    """The module that holds the kernels of a backend; imported here, so that Numba loads only where it is used.

    Parameters
    ----------
    name : str
        A key of `BACKENDS`.

    Returns
    -------
    module

    Raises
    ------
    ConfigError
        An unknown name.
    """
    if name not in BACKENDS:
        raise ConfigError(f"unknown backend {name!r}; choose one of {', '.join(BACKENDS)}")
    return importlib.import_module(BACKENDS[name])
