"""What the compiled code may use of this CPU, as Numba sees it: its features, and the vectors that follow from them.

Numba compiles for the CPU that it runs on, unless NUMBA_CPU_NAME, NUMBA_CPU_FEATURES or NUMBA_ENABLE_AVX say otherwise.
What it then compiles for is part of the key of its cache, and is read from there: code made by these figures and the
cache can never disagree. Numba is imported only when one of the functions is called.
"""

from pathlib import Path
from typing import NamedTuple


class Vectors(NamedTuple):
    """The vectors of a kind of CPU."""

    needs: frozenset[str]  # features
    lanes: int  # float32 in a vector
    registers: int  # vectors that a loop can hold


# The widest first: the first row whose features are all there is used.
VECTORS = (
    Vectors(frozenset({"avx512f"}), 16, 32),
    Vectors(frozenset({"avx2", "fma"}), 8, 16),
    Vectors(frozenset({"neon"}), 4, 32),
    Vectors(frozenset(), 4, 16),  # SSE2, and whatever else there is
)

# CPUs, by LLVM's names, that multiply and add one vector in a cycle, and not two: so they wait for that more often than
# for loads.
ONE_MULTIPLY_ADD = frozenset({"znver4"})

# What each architecture has in any case, even where Numba is told of no features at all.
ALWAYS = {"x86_64": {"sse2"}, "amd64": {"sse2"}, "aarch64": {"neon"}, "arm64": {"neon"}}


def _target() -> tuple[str, str, str]:
    """What Numba compiles for: the platform, the CPU's name, and its features as LLVM writes them ("+fma,-avx512f")."""
    from numba.core.registry import cpu_target

    triple, name, features = cpu_target.target_context.codegen().magic_tuple()
    return str(triple), str(name), str(features)


def name() -> str:
    """The CPU that Numba compiles for, by LLVM's name, such as ``"znver3"``; ``"generic"`` is any of its kind."""
    return _target()[1]


def features() -> frozenset[str]:
    """The features that Numba compiles for, by LLVM's names, such as ``"avx2"``.

    Only what is named is counted: with NUMBA_CPU_FEATURES="" nothing is but what the architecture always has, although
    LLVM may infer more from NUMBA_CPU_NAME.
    """
    platform, _, words = _target()
    named = {word[1:] for word in words.split(",") if word.startswith("+")}
    return frozenset(named | ALWAYS.get(platform.split("-")[0], set()))


def vectors() -> Vectors:
    """The row of `VECTORS` that the features allow."""
    found = features()
    return next(row for row in VECTORS if row.needs <= found)


def lanes() -> int:
    """How many float32 the widest vector worth using holds."""
    return vectors().lanes


def registers() -> int:
    """How many vectors the registers hold."""
    return vectors().registers


# ---------------------------------------------------------------- caches of data

UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}


def cache_sizes(folder: Path = Path("/sys/devices/system/cpu/cpu0/cache")) -> dict[int, int]:
    """The sizes of the caches that hold data, in bytes by level (1, 2, 3), as Linux tells them; elsewhere none.

    Each is the size of one such cache: of a core's own, or of one that cores share.
    """
    sizes = {}
    for place in sorted(folder.glob("index*")):
        try:
            level, kind, size = ((place / what).read_text().strip() for what in ("level", "type", "size"))
            if kind in ("Data", "Unified"):
                sizes[int(level)] = int(size.rstrip("KMG")) * UNITS.get(size[-1:], 1)
        except (OSError, ValueError):
            continue
    return sizes
