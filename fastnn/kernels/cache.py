"""Where compiled kernels are kept, and whether what is there fits the sources: seen without compiling anything."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from numba.core.registry import cpu_target

from fastnn.kernels import launch


class State(NamedTuple):
    """What a cache holds.

    Parameters
    ----------
    folder : Path or None
        Where it is; None if no cache can be kept.
    entries, size : int
        How many compiled functions are there, for these sources or for others, and their bytes.
    fresh : bool
        Whether the kernel is among them, for these sources and this CPU: the next process need not compile it.
    reason : str
        Why no cache can be kept; empty if one can.
    """

    folder: Path | None
    entries: int = 0
    size: int = 0
    fresh: bool = False
    reason: str = ""


def state(make: Callable[[int, bool], Any]) -> State:
    """The state of the cache of the kernel that ``make(stamp, cache)`` returns."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        kernel = launch.with_cache(make)
    if kernel.stats.cache_path is None:
        return State(None, reason="; ".join(str(warning.message) for warning in said))
    folder = Path(kernel.stats.cache_path)
    kept = [path.stat().st_size for path in folder.glob("*.nbc")]
    return State(folder, len(kept), sum(kept), _is_fresh(kernel, folder))


def _is_fresh(kernel: Any, folder: Path) -> bool:
    """Whether Numba would find the kernel, with whatever signature. There is no public way to ask it."""
    _, *wanted = kernel._cache._index_key(None, cpu_target.target_context.codegen())
    try:
        index = kernel._cache._cache_file._load_index()
    except Exception:  # an index that a crash or a full disk has cut short: Numba raises whatever comes of it
        return False
    return any(list(key[1:]) == wanted and (folder / name).is_file() for key, name in index.items())
