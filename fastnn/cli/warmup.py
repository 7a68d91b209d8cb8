"""Compile the fused kernels now, so that no later start has to; say where they are kept."""

import argparse
import warnings

from fastnn.doctor import fused_fault
from fastnn.errors import ConfigError
from fastnn.kernels import backend


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options of ``fastnn warmup``: there are none."""


def run(options: argparse.Namespace) -> int:
    """Carry out ``fastnn warmup``: 0 if the next start finds the kernels, 1 if they cannot be kept."""
    if fault := fused_fault():
        raise ConfigError(f"the fused kernels cannot be compiled: {fault}")
    from fastnn.kernels import cache, warp

    fused = backend("fused")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # it says that there is no cache, and so do we
        found = fused.warm(), warp.warm()
        seconds, compiled = sum(one.seconds for one in found), any(one.compiled for one in found)
    kept = cache.state(fused.make)
    if kept.folder is None:
        print(f"compiled in {seconds:.1f} s, but {kept.reason}")
        return 1
    if compiled:
        print(f"compiled in {seconds:.1f} s, and stored in {kept.folder}")
    else:
        print(f"found in {kept.folder}, and loaded in {seconds:.1f} s")
    return 0
