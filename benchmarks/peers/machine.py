"""On what a contest was held: for the JSON, and for the caption of the chart."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.peers.contestants import CONTESTANTS
from fastnn.kernels.limits import fma_peak
from fastnn.kernels.threads import available

DISTRIBUTIONS = {"sklearn": "scikit-learn"}  # where a package is installed under another name than it is imported by


def describe(threads: int) -> dict[str, Any]:
    """CPU, system, versions, and the peak of float32 multiply-adds on `threads` threads, measured."""
    packages = sorted({name for one in CONTESTANTS.values() if not one.missing for name in one.packages})
    return {
        "cpu": cpu_name(),
        "cpus": available(),
        "threads": threads,
        "fma_peak_gflops": fma_peak(threads),
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


def cpus_for(threads: int) -> list[int]:
    """Which CPUs the contestants are pinned to: as many as threads, of those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))[:threads]
    return list(range(threads))
