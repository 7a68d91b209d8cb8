"""How the parts of the step are compiled: options of Numba, each for a kind of function.

A part is called by compiled code alone, so it goes without the wrappers that would let Python or C call it: those took
a quarter of the time of a compilation. A number that is written out in a call is a type of its own to Numba, for which
the part is compiled once more: write np.int64(0), not 0, and np.bool_(True). Compilation took 20 s with such numbers,
and 16 without.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from numba import extending, njit

Function = TypeVar("Function", bound=Callable[..., Any])

_PART = {"nogil": True, "error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
# Contraction and reassociation, but never nnan or ninf: a NaN must stay visible.
_FAST = {"reassoc", "contract", "nsz", "arcp", "afn"}

part = njit(**_PART)
fast = njit(**_PART, fastmath=_FAST)


def kernel(cache: bool) -> Callable[[Function], Function]:
    """For what Python calls; kept on disk if `cache`."""
    compiled: Callable[[Function], Function] = njit(nogil=True, error_model="numpy", cache=cache)
    return compiled


def intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    """For what emits instructions: Numba's own, with a type."""
    made: Callable[..., Any] = extending.intrinsic(function)
    return made
