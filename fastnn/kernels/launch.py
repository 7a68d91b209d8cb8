"""Compiling the step once and for all: one compilation for all architectures, kept in a cache that is never stale."""

import hashlib
import os
import stat
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from numba.core import config as numba_config


class Compilation(NamedTuple):
    """What it took to make the compiled step ready."""

    seconds: float
    compiled: bool  # False: it came from the cache


_lock = threading.Lock()
_kernels: dict[Callable[..., Any], Any] = {}


def stamp(here: Path = Path(__file__).parent) -> int:
    """A number that changes with the sources of the kernels, which stand in the folder `here`.

    Numba's cache sees neither changes in functions of other files nor in constants, but it keeps apart the values that
    a function closes over: a kernel that closes over this number can never come from a stale cache.
    """
    digest = hashlib.sha256()
    for path in sorted([*here.glob("*.py"), here.parent / "rng.py", here.parent / "layers.py"]):
        digest.update(path.read_bytes())
    return int.from_bytes(digest.digest()[:7], "big")


def others_may_write(folder: Path) -> bool:
    """Whether anyone but its owner, who must be this user or root, may write to a folder.

    Cache entries are pickles: who can write one can run code. Where there are no POSIX permissions: False.
    """
    if os.name != "posix":
        return False
    found = folder.stat()
    return found.st_uid not in (0, os.geteuid()) or bool(found.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def only_mine(folder: Path) -> bool:
    """Whether nobody but this user (and root) can enter a folder: then the modes of what stands in it do not matter."""
    found = folder.stat()
    return found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IRWXG | stat.S_IRWXO)


def user_cache() -> Path:
    """The user's own cache folder for compiled kernels; RuntimeError if the user has no home."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fastnn"


def with_cache(make: Callable[[int, bool], Any]) -> Any:
    """The kernel that ``make(stamp, cache)`` returns, not yet compiled, with a cache.

    It is beside the sources, else in the user's cache folder, else nowhere, which a RuntimeWarning says.
    """
    reason = "no folder is writable"
    for beside in (True, False):
        kept = numba_config.CACHE_DIR
        try:
            if not beside:
                folder = user_cache()
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                numba_config.CACHE_DIR = str(folder)
            kernel = make(stamp(), True)
            where = Path(kernel.stats.cache_path)
            # with a umask that lets a group write, the folder that Numba makes inside the user's is open to it as well
            if not others_may_write(where) or (not beside and only_mine(folder)):
                return kernel
            reason = f"others may write to {where}"
        except (OSError, RuntimeError):  # RuntimeError: Numba found no place for a cache, or there is no home
            continue
        finally:
            numba_config.CACHE_DIR = kept
    warnings.warn(
        f"compiled kernels are not kept, so each start compiles anew: {reason}; "
        "set NUMBA_CACHE_DIR to a folder that only you can write",
        RuntimeWarning,
        stacklevel=2,
    )
    return make(stamp(), False)


def compiled(make: Callable[[int, bool], Any], first_call: Callable[[Any], Any]) -> tuple[Any, Compilation]:
    """The kernel that ``make(stamp, cache)`` returns, made in this process once, and what making it took now.

    Parameters
    ----------
    make : callable
    first_call : callable
        Calls the kernel that it is given with arguments of the types that it will always have: that compiles it.
    """
    with _lock:
        if make in _kernels:
            return _kernels[make], Compilation(0.0, False)
        start = time.perf_counter()
        kernel = with_cache(make)
        try:
            first_call(kernel)
        except Exception:  # Numba raises whatever comes of an entry that a crash or a full disk has cut short
            _forget(kernel)
            kernel = make(stamp(), False)
            first_call(kernel)
        _kernels[make] = kernel
        return kernel, Compilation(time.perf_counter() - start, not sum(kernel.stats.cache_hits.values()))


def _forget(kernel: Any) -> None:
    """Remove the cache's entries for the file that a kernel is defined in."""
    if kernel.stats.cache_path is not None:
        for path in Path(kernel.stats.cache_path).glob(f"{Path(kernel.py_func.__code__.co_filename).stem}.*.nb[ci]"):
            path.unlink(missing_ok=True)
