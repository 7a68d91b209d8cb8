"""The peak of memory by samples: each point in a process of its own, asked of the system when it has ended.

``python -m benchmarks.growth.memory SAMPLES HELD_OUT`` is such a process: it makes MNIST over and over, and fits.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.growth.axes import Case
from benchmarks.growth.measure import slope
from fastnn import MLP, Dense, Input
from fastnn.data import load
from fastnn.errors import FastnnError

SAMPLES = (6_000, 60_000, 200_000, 600_000)
INPUTS = 784  # a byte each
HELD_OUT = 0.1667  # what `fastnn train` holds out by itself
MOST_MIB, MOST_SLOPE = 350, 1.3  # what is promised: for MNIST by the command, and for each byte of further samples
UNIT = 1 if sys.platform == "darwin" else 1024  # bytes, in which the system counts ru_maxrss
TRAIN = ["-m", "fastnn.train", "--epochs", "1"]


class ChildError(FastnnError):
    """A process whose memory was to be measured failed."""


# A new process counts as having held what the one that starts it holds: so a small one stands between.
WATCH = """
import os, sys
silent = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
child = os.posix_spawn(sys.executable, [sys.executable, *sys.argv[1:]], os.environ, file_actions=silent)
_, status, used = os.wait4(child, 0)
print(os.waitstatus_to_exitcode(status), used.ru_maxrss)
"""


def peak(words: Sequence[str], **environment: str) -> int:
    """The most memory, in bytes, that a Python command held at once.

    Raises
    ------
    ChildError
        The command failed.
    """
    watch = [sys.executable, "-I", "-S", "-c", WATCH, *words]
    done = subprocess.run(watch, stdout=subprocess.PIPE, text=True, env=os.environ | environment, check=True)
    code, most = map(int, done.stdout.split())
    if code:
        raise ChildError(f"python {' '.join(words)} failed with exit code {code}")
    return most * UNIT


def of_fit(samples: int, held_out: float) -> int:
    """The peak of a process that makes its data and fits one epoch."""
    return peak(["-m", "benchmarks.growth.memory", str(samples), str(held_out)])


def of_command(samples: int) -> int:
    """The peak of ``fastnn train`` with its own settings on a folder of IDX files."""
    with tempfile.TemporaryDirectory() as folder:
        write_idx(Path(folder), samples)
        return peak([*TRAIN, "--data", folder, "--out", f"{folder}/run"])


def write_idx(folder: Path, samples: int) -> None:
    """MNIST over and over as IDX files, written piece by piece; see `fastnn.data.idx`."""
    for part, whole, count in zip(("train", "t10k"), load("mnist"), (samples, 1000), strict=True):
        contents = {"images-idx3": (whole.X, (28, 28)), "labels-idx1": (whole.y.astype("u1"), ())}
        for name, (array, shape) in contents.items():
            with open(folder / f"{part}-{name}-ubyte", "wb") as file:
                file.write(bytes([0, 0, 8, 1 + len(shape)]))
                file.write(b"".join(size.to_bytes(4, "big") for size in (count, *shape)))
                for start in range(0, count, len(array)):
                    file.write(array[: count - start].tobytes())


LINES: dict[str, Callable[[int], int]] = {
    "MLP.fit": lambda samples: of_fit(samples, 0),
    "MLP.fit, a sixth held out": lambda samples: of_fit(samples, HELD_OUT),
    "fastnn train, from files": of_command,
}


def measure(tell: Callable[[str], None] = lambda word: None) -> dict[str, Any]:
    """Measure all.

    Returns
    -------
    dict
        As JSON holds it: `command` (bytes) of ``fastnn train`` on MNIST, `compiling` the same when it has to compile,
        for which it starts another process, and the larger of the two counts;
        and `lines`, each with its `name`, its `slope` (bytes for each raw byte) and `points`: `value` (samples), `raw`
        and `peak` (bytes).
    """
    with tempfile.TemporaryDirectory() as folder:
        tell("memory of the command, compiling")
        compiling = peak([*TRAIN, "--out", f"{folder}/first"], NUMBA_CACHE_DIR=f"{folder}/cache")
        tell("memory of the command")
        command = peak([*TRAIN, "--out", f"{folder}/second"], NUMBA_CACHE_DIR=f"{folder}/cache")
    lines = []
    for name, of in LINES.items():
        points = []
        for samples in SAMPLES:
            tell(f"memory of {name}, {samples:,} samples")
            points.append({"value": samples, "raw": samples * INPUTS, "peak": of(samples)})
        lines.append(line_of(name, points))
    return {"command": command, "compiling": compiling, "lines": lines}


def line_of(name: str, points: list[dict[str, int]]) -> dict[str, Any]:
    """A line of points with its slope: by how many bytes the peak grows for each raw byte."""
    return {
        "name": name,
        "slope": slope([point["raw"] for point in points], [point["peak"] for point in points]),
        "points": points,
    }


def excesses(found: dict[str, Any]) -> list[str]:
    """What is more than promised, in words."""
    over = [
        f"memory of {line['name']}: {line['slope']:.2f} bytes for each raw byte, more than {MOST_SLOPE}"
        for line in found["lines"]
        if line["slope"] > MOST_SLOPE
    ]
    for name, what in (("command", ""), ("compiling", ", compiling")):
        if found[name] > MOST_MIB * 2**20:
            over.append(f"memory of the command on MNIST{what}: {found[name] / 2**20:.0f} MiB, more than {MOST_MIB}")
    return over


def main(samples: int, held_out: float) -> None:
    """Be the process that is measured."""
    case = Case(samples=samples)
    X, y = case.data()
    layers = [Input(INPUTS, scale=case.scale), Dense(300, "relu"), Dense(10, "softmax")]
    MLP(layers).fit(X, y, epochs=1, batch_size=case.batch, validation=held_out)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
