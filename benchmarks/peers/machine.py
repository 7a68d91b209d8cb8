"""On what a contest was held: for the JSON, and for the caption of the chart."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.peers.contestants import CONTESTANTS
from fastnn.kernels import cores, limits
from fastnn.kernels.threads import available

DISTRIBUTIONS = {"sklearn": "scikit-learn"}  # where a package is installed under another name than it is imported by


def describe(threads: int) -> dict[str, Any]:
    """CPU, system, versions, and the peak of float32 multiply-adds on `threads` threads, measured."""
    packages = sorted({name for one in CONTESTANTS.values() if not one.missing for name in one.packages})
    return {
        "cpu": cpu_name(),
        "cpus": available(),
        "threads": threads,
        "fma_peak_gflops": limits.fma_peak(threads),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version(DISTRIBUTIONS.get(name, name)) for name in packages},
    }


def cpu_name() -> str:
    """What the CPU calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def round_trip(cpus: list[int]) -> float:
    """Nanoseconds from one of these CPUs to another and back; 0 if there is but one."""
    if len(cpus) < 2 or not hasattr(os, "sched_setaffinity"):
        return 0.0
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        return cores.round_trip()
    finally:
        os.sched_setaffinity(0, allowed)


def cpus_for(threads: int) -> list[int]:
    """Which CPUs the contestants are pinned to: as many as threads, of those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))[:threads]
    return list(range(threads))
