"""What the compiled code may use of the CPU: what Numba really compiles for, not what the machine has."""

import os
import subprocess
import sys

import pytest

from fastnn.kernels import cpu

NUMBA = ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_ENABLE_AVX")
PROGRAM = """
from fastnn.kernels import cpu
from numba import float32, njit
@njit(float32(float32[::1]), fastmath=True)
def total(x):
    s = float32(0)
    for i in range(x.size):
        s += x[i] * x[i]
    return s
(code,) = total.inspect_asm().values()
print(cpu.name(), cpu.lanes(), max(lanes for lanes, register in ((16, "zmm"), (8, "ymm"), (4, "")) if register in code))
print(*cpu.features())
"""


def process(code: str, **environment: str) -> str:
    clean = {name: value for name, value in os.environ.items() if name not in NUMBA}
    done = subprocess.run([sys.executable, "-c", code], env=clean | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def target(monkeypatch):
    """Pretend that Numba compiles for some platform and features."""
    return lambda platform, words: monkeypatch.setattr(cpu, "_target", lambda: (platform, "some", words))


@pytest.mark.parametrize(
    ("platform", "words", "lanes", "registers"),
    [
        ("x86_64-unknown-linux-gnu", "+sse2,+avx,+avx2,+fma,+avx512f", 16, 32),
        ("x86_64-unknown-linux-gnu", "+sse2,+avx,+avx2,+fma,-avx512f", 8, 16),
        ("x86_64-unknown-linux-gnu", "+sse2,+avx,+avx2,-fma", 4, 16),
        ("x86_64-pc-windows-msvc", "", 4, 16),
        ("aarch64-unknown-linux-gnu", "+neon,+fp-armv8", 4, 32),
        ("arm64-apple-darwin24", "", 4, 32),
        ("riscv64-unknown-linux-gnu", "", 4, 16),
    ],
)
def test_vectors_follow_the_features(target, platform, words, lanes, registers):
    target(platform, words)
    assert (cpu.lanes(), cpu.registers()) == (lanes, registers)


def test_what_is_switched_off_is_no_feature(target):
    target("x86_64-unknown-linux-gnu", "+avx2,-avx512f")
    assert cpu.features() == {"avx2", "sse2"}


def test_the_table_goes_from_wide_to_narrow_and_ends_with_what_all_have():
    lanes = [row.lanes for row in cpu.VECTORS]
    assert lanes == sorted(lanes, reverse=True)
    assert cpu.VECTORS[-1].needs == set()


def test_numba_compiles_for_this_cpu():
    figures, features = process(PROGRAM).splitlines()
    _, lanes, used = figures.split()
    assert int(used) <= int(lanes)
    if sys.platform == "linux":
        with open("/proc/cpuinfo") as file:
            flags = next((line.split() for line in file if line.startswith("flags")), [])
        for feature in {"avx2", "fma", "avx512f"}.intersection(flags):
            assert feature in features.split()


def test_numba_compiles_for_the_cpu_that_it_is_told_of():
    """And so really without AVX."""
    figures, _ = process(PROGRAM, NUMBA_CPU_NAME="generic").splitlines()
    assert figures == "generic 4 4"


def test_importing_it_does_not_import_numba():
    code = "import sys, fastnn, fastnn.kernels.cpu as cpu; cpu.cache_sizes(); print('numba' in sys.modules)"
    assert process(code) == "False"


def test_cache_sizes(tmp_path):
    assert cpu.cache_sizes(tmp_path) == {}
    rows = [("1", "Data", "32K"), ("1", "Instruction", "64K"), ("2", "Unified", "512K"), ("3", "Unified", "32M")]
    for index, words in enumerate(rows):
        place = tmp_path / f"index{index}"
        place.mkdir()
        for what, word in zip(("level", "type", "size"), words, strict=True):
            (place / what).write_text(word + "\n")
    (tmp_path / "index4").mkdir()
    assert cpu.cache_sizes(tmp_path) == {1: 2**15, 2: 2**19, 3: 2**25}
