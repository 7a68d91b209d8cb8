"""What fastnn costs and what it reaches, for airspeed velocity: ``asv machine --yes && asv run``.

The kernels one by one are timed by pytest-benchmark, in tests/kernels/test_benchmarks.py.
"""

import argparse
import sys


def described(text: str) -> argparse.ArgumentParser:
    """A parser for a benchmark that is a command: ``--help`` says what its docstring does, and nothing is run."""
    program = f"python -m {sys.modules['__main__'].__spec__.name}"
    return argparse.ArgumentParser(program, description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
