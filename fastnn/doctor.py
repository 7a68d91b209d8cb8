"""What a fit depends on that is not in its settings: versions, CPU, threads, cache; and the traps among them.

Nothing is compiled for it, and nothing is measured: it takes about a second.
"""

import importlib.metadata
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastnn.kernels import backend, cpu, threads
from fastnn.version import __version__

Facts = dict[str, dict[str, Any]]  # section -> name -> value, as JSON holds it

PACKAGES = (
    "numpy",
    "numba",
    "llvmlite",
    "safetensors",
    "rich",
    "tomli-w",
    "matplotlib",
    "scikit-learn",
    "onnx",
    "optuna",
)
FEATURES = ("sse4.2", "avx", "avx2", "fma", "avx512f", "neon", "sve")  # those that a kernel's speed hangs on

# Settings of Numba that decide what is compiled, and how: environment variable, name in numba.config, usual value.
NUMBA_SETTINGS = (
    ("NUMBA_DISABLE_JIT", "DISABLE_JIT", 0),
    ("NUMBA_CPU_NAME", "CPU_NAME", None),
    ("NUMBA_CPU_FEATURES", "CPU_FEATURES", None),
    ("NUMBA_OPT", "OPT", 3),
    ("NUMBA_LOOP_VECTORIZE", "LOOP_VECTORIZE", 1),
    ("NUMBA_BOUNDSCHECK", "BOUNDSCHECK", None),
    ("NUMBA_DEBUG", "DEBUG", 0),
    ("NUMBA_DEBUGINFO", "DEBUGINFO_DEFAULT", 0),
)
SLOWING = ("NUMBA_OPT", "NUMBA_LOOP_VECTORIZE", "NUMBA_BOUNDSCHECK", "NUMBA_DEBUG", "NUMBA_DUMP")
NUMPY_SETTINGS = ("OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES")


def examine() -> Facts:
    """All facts: of the sections fused, versions, cpu, threads, cache, numpy and settings, in plain values."""
    fault = fused_fault()
    return {
        "fused": {"works": not fault, "reason": fault or None},
        "versions": _versions(),
        "cpu": _cpu(),
        "threads": _threads(),
        "cache": {} if fault else _cache(),
        "numpy": _numpy(),
        "settings": _settings(),
    }


def fused_fault() -> str:
    """Why the fused backend cannot work at all; empty if nothing speaks against it."""
    try:
        from numba import config

        if config.DISABLE_JIT:
            return "NUMBA_DISABLE_JIT is set; unset it"
        backend("fused")
    except Exception as error:  # whatever a broken or half-installed Numba raises
        words = " ".join(f"{type(error).__name__}: {error}".split())
        return f"Numba cannot be used ({words}); install it anew: pip install --force-reinstall numba"
    return ""


def _numba_config() -> Any:
    """Numba's settings; None if it cannot be imported, which `fused_fault` tells."""
    try:
        from numba import config
    except Exception:
        return None
    return config


# ---------------------------------------------------------------- facts


def _versions() -> dict[str, str]:
    found = {"fastnn": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _cpu() -> dict[str, Any]:
    model = _model()
    found: dict[str, Any] = {
        "model": model,
        "emulated": _emulated(model, platform.machine(), platform.version()),
        "caches": {f"L{level}": size for level, size in cpu.cache_sizes().items()},
    }
    if _numba_config() is not None:
        features = cpu.features()
        found["compiled_for"] = cpu.name()
        found["features"] = [name for name in FEATURES if name in features]
        found["lanes"], found["registers"] = cpu.lanes(), cpu.registers()
    return found


def _model() -> str:
    """The CPU's name for people."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _emulated(model: str, machine: str, system: str) -> bool:
    """Whether this Python was made for x86-64 and runs on an Apple CPU by Rosetta, which names itself in these."""
    return machine == "x86_64" and ("VirtualApple" in model or "ARM64" in system)


def _threads() -> dict[str, Any]:
    bounds = threads.bounds()
    return {
        "cpus": os.cpu_count(),
        **{name: bounds.get(name) for name in ("affinity", "quota", "OMP_NUM_THREADS")},
        "auto": threads.available(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def _cache() -> dict[str, Any]:
    from numba import config

    from fastnn.kernels import cache, launch

    found = cache.state(backend("fused").make)
    wanted = Path(config.CACHE_DIR) if config.CACHE_DIR else Path(launch.__file__).parent / "__pycache__"
    refused = wanted.is_dir() and launch.others_may_write(wanted) and found.folder != wanted
    return {
        "folder": None if found.folder is None else str(found.folder),
        "entries": found.entries,
        "bytes": found.size,
        "state": "none" if found.folder is None else "fresh" if found.fresh else "stale" if found.entries else "empty",
        "reason": found.reason or None,
        "refused": str(wanted) if refused else None,
    }


def _numpy() -> dict[str, Any]:
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    try:
        pages = Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text().partition("[")[2].partition("]")[0]
    except OSError:
        pages = None
    return {"blas": f"{blas['name']} {blas['version']}", "huge_pages": pages}


def _settings() -> dict[str, str]:
    """Settings that are not as usual: Numba's as it has read them, for they may stand in a file; others as they are."""
    found = {name: value for name, value in os.environ.items() if name.startswith(("NUMBA_DEBUG", "NUMBA_DUMP"))}
    found |= {name: os.environ[name] for name in NUMPY_SETTINGS if name in os.environ}
    config = _numba_config()
    for name, attribute, usual in NUMBA_SETTINGS:
        value = getattr(config, attribute, usual)
        if value != usual:
            found[name] = str(int(value) if isinstance(value, int) else value)
    return found


# ---------------------------------------------------------------- traps


class Trap(NamedTuple):
    """Something that makes a fit slow or wrong without a word.

    Parameters
    ----------
    sees : callable
        From the facts, whether it is there; a text stands for itself in `says`, as ``{found}``.
    says, do : str
        What it is, and what to do about it; facts stand in them as ``{section[name]}``.
    """

    sees: Callable[[Facts], Any]
    says: str
    do: str


def _set(*beginnings: str) -> Callable[[Facts], str]:
    """Which settings of these names, or of names that begin so, are not as usual."""

    def sees(facts: Facts) -> str:
        return ", ".join(f"{name}={value}" for name, value in facts["settings"].items() if name.startswith(beginnings))

    return sees


def _below(section: str, name: str, other: str) -> Callable[[Facts], bool]:
    """Whether a number that is known is below another."""

    def sees(facts: Facts) -> bool:
        one, two = facts[section][name], facts[section][other]
        return one is not None and two is not None and one < two

    return sees


TRAPS = (
    Trap(
        lambda facts: not facts["fused"]["works"],
        "the fused backend cannot work: {fused[reason]}",
        "until then, train with --backend reference",
    ),
    Trap(
        _set("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"),
        "Numba is told to compile for another CPU than it finds: {found}",
        "unset it, unless the results of another machine are to be had to the last bit",
    ),
    Trap(
        _set(*SLOWING),
        "Numba is told to compile slow code, or to say much while it compiles: {found}",
        "unset it, and delete {cache[folder]}: what was compiled so would be found there again",
    ),
    Trap(
        lambda facts: facts["cpu"]["emulated"],
        "this Python was made for x86-64, and runs by emulation on an ARM64 CPU",
        "install an ARM64 Python: it is several times as fast",
    ),
    Trap(
        lambda facts: facts["cpu"].get("lanes") == 4 and "neon" not in facts["cpu"]["features"],
        "neither AVX-512 nor AVX2 with FMA is used: vectors are 4 numbers long instead of 8 or 16",
        "if the CPU has them, see that the virtual machine passes them on, and that NUMBA_ENABLE_AVX is not 0",
    ),
    Trap(
        lambda facts: facts["cache"].get("state") == "none",
        "{cache[reason]}",
        "then run fastnn warmup",
    ),
    Trap(
        lambda facts: facts["cache"].get("refused"),
        "the cache folder {found} is not used, for others may write to it, and who can write there can run code here",
        "chmod go-w it",
    ),
    Trap(
        lambda facts: facts["cache"].get("state") in ("empty", "stale"),
        "the kernels are not compiled yet for these sources, this CPU and this Numba: the next start will do it",
        "run fastnn warmup to do it now",
    ),
    Trap(
        _below("threads", "quota", "affinity"),
        "the container may use the time of {threads[quota]} of the {threads[affinity]} CPUs that it sees",
        "raise its limit of CPUs, if more are meant",
    ),
    Trap(
        _below("threads", "OMP_NUM_THREADS", "affinity"),
        "OMP_NUM_THREADS={threads[OMP_NUM_THREADS]} keeps a fit from {threads[affinity]} CPUs",
        "unset it, or name --threads",
    ),
    Trap(
        _below("threads", "affinity", "cpus"),
        "this process may run on {threads[affinity]} of the machine's {threads[cpus]} CPUs",
        "see taskset, or what started it, if more are meant",
    ),
    Trap(
        _below("threads", "cpus", "load"),
        "other programs keep the CPUs busy: a load of {threads[load]} on {threads[cpus]} CPUs",
        "end or await them before times are measured",
    ),
    Trap(
        lambda facts: np.lib.NumpyVersion(facts["versions"]["numpy"]) < "2.3.5",
        "NumPy {versions[numpy]} can give wrong products in several threads (numpy#31860)",
        "pip install 'numpy>=2.3.5'",
    ),
    Trap(
        _set(*NUMPY_SETTINGS),
        "NumPy is told to use less than the CPU has: {found}",
        "unset it, if the reference backend is slow",
    ),
)


def find_traps(facts: Facts) -> list[dict[str, str]]:
    """Those of `TRAPS` that the facts show, each as {"what": ..., "do": ...}."""
    found = [(trap, trap.sees(facts)) for trap in TRAPS]
    known = {**facts, "cache": {"folder": "Numba's cache", **facts["cache"]}}
    return [
        {name: text.format(found=seen, **known) for name, text in (("what", trap.says), ("do", trap.do))}
        for trap, seen in found
        if seen
    ]
