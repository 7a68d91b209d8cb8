"""The suite that asv finds: it reads every package under ``benchmarks``, in an environment without any extra."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

WALK = """
import sys
from importlib import import_module
from pkgutil import iter_modules

for name in ("jax", "matplotlib", "sklearn", "torch"):
    sys.modules[name] = None  # importing it now fails

def walk(name):
    for _, found, _ in iter_modules(getattr(import_module(name), "__path__", ()), name + "."):
        print(found)
        walk(found)

walk("benchmarks")
"""


def test_asv_can_import_all_that_it_finds_without_extras():
    done = subprocess.run([sys.executable, "-c", WALK], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {"benchmarks.training", "benchmarks.scaling", "benchmarks.peers.contestants"} <= set(done.stdout.split())
