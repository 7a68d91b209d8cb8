"""Two threads while other programs keep the cores busy: ``python -m benchmarks.load`` (about half a minute).

Prints the seconds of an epoch of 784-300-10 on MNIST, batch 100, with one thread and with two: on the machine as it is,
and beside one program a CPU that does nothing but work. Stores them in bench_results/load.json.
"""

import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import described
from benchmarks.epochs import Training, in_turn
from benchmarks.peers.machine import describe
from fastnn.data import load
from fastnn.files import write_atomically
from fastnn.kernels.threads import available

STORE = Path(__file__).parents[1] / "bench_results" / "load.json"
BUSY = [sys.executable, "-c", "while True: pass"]


def measured() -> dict[str, Any]:
    """Median seconds of an epoch with one thread and with two, taken in turn."""
    train, _ = load("mnist")
    threads = {"one thread": 1, "two threads": 2}
    settings: dict[str, Any] = {"scale": 1 / 255, "batch": 100, "rate": 0.1}
    trainings = [Training((784, 300, 10), "relu", train.X, train.y, threads=n, **settings) for n in threads.values()]
    return dict(zip(threads, map(median, in_turn(trainings, least=5)), strict=True))


def main() -> None:
    """Measure, print and store."""
    found = {"machine": describe(available()), "idle": measured()}
    others = [subprocess.Popen(BUSY) for _ in range(available())]
    try:
        found["busy"] = measured()
    finally:
        for other in others:
            other.kill()
            other.wait()
    for state in ("idle", "busy"):
        one, two = found[state].values()
        print(f"{state}: one thread {one:.3f} s, two threads {two:.3f} s, {two / one:.2f} times as long")
    write_atomically(STORE, json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    described(__doc__).parse_args()
    main()
