"""The kernels of other CPUs, forced: eight lanes, and the plain fallback without wide vectors and fused products."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from fastnn.kernels import cpu

ROOT = Path(__file__).parents[2]
LANES = "from fastnn.kernels import vectors; print(vectors.LANES, vectors.FUSED)"
# Each kernel in each form of input, wider than a tile and than a block; any number of threads; the error bounds.
TESTS = ["tests/kernels/test_equivalence.py", "tests/kernels/test_elementary.py", "tests/kernels/test_listing.py",
         "tests/kernels/test_tiles.py", "tests/kernels/test_blocks.py", "tests/kernels/test_replicas.py",
         "tests/kernels/test_narrow.py", "tests/kernels/test_denormals.py"]  # fmt: skip
KERNELS = "beyond_a_block or bit_for_bit or each_way or within_the_bounds or padding_stays_zero"
CHOSEN = f"fused and ({KERNELS}) or elementary or listing or tiles or replicas or narrow or denormals"
# Numba's settings, what they must lead to, and the features that a CPU needs to run what is compiled then.
OTHERS: dict[str, tuple[str, str, str, set[str]]] = {
    "plain": ("generic", "", "4 False", set()),
    "eight lanes": ("haswell", "+avx,+avx2,+fma,+bmi,+bmi2,+lzcnt,+popcnt", "8 True", {"avx2", "fma"}),
}


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="elsewhere there are no such vectors")
@pytest.mark.parametrize("kind", OTHERS)
def test_with_other_vectors_the_kernels_are_as_exact(tmp_path, kind):
    name, features, expected, needed = OTHERS[kind]
    if not needed <= cpu.features():
        pytest.skip("this CPU cannot run it")
    plain = {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features, "NUMBA_CACHE_DIR": str(tmp_path)}
    environment = os.environ | plain

    def run(*words):
        return subprocess.run([sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True)

    assert run("-c", LANES).stdout.strip() == expected
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", CHOSEN, *TESTS)
    assert done.returncode == 0, done.stdout[-2000:]
    assert " passed" in done.stdout
