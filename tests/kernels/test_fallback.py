"""The plain fallback, forced: what the kernels do where there are no wide vectors and no fused multiply-adds."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LANES = "from fastnn.kernels import vectors; print(vectors.LANES, vectors.FUSED)"
# Each kernel in each form of input, wider than a tile and than a block; any number of threads; the error bounds.
TESTS = ["tests/kernels/test_equivalence.py", "tests/kernels/test_elementary.py"]
CHOSEN = "fused and (beyond_a_block or bit_for_bit) or elementary"


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="elsewhere the fallback is the rule")
def test_without_wide_vectors_the_kernels_are_as_exact(tmp_path):
    plain = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    environment = os.environ | plain

    def run(*words):
        return subprocess.run([sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True)

    assert run("-c", LANES).stdout.split() == ["4", "False"]
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", CHOSEN, *TESTS)
    assert done.returncode == 0, done.stdout[-2000:]
    assert " passed" in done.stdout
