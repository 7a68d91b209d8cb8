"""The figures of the README's first screen: ``python -m benchmarks.headline`` (about three minutes; an idle machine).

Prints a table, and stores it in bench_results/headline.json.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean, median

from benchmarks import described
from fastnn import MLP, SGD, Dense, Input
from fastnn.data import load
from fastnn.files import write_atomically
from fastnn.formats.description import versions
from fastnn.kernels.threads import available

SEEDS = range(5)
ROUNDS = 7
STORE = Path(__file__).parents[1] / "bench_results" / "headline.json"


def seconds_of(words, **environment):
    """Wall time of a Python command as a user runs it."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, capture_output=True, env=os.environ | environment)
    return time.perf_counter() - start


def main_job(folder):
    """`python -m fastnn.train` from an empty cache, then with each seed: seconds, and test accuracies."""
    command = ["-m", "fastnn.train", "--out"]
    first = seconds_of([*command, f"{folder}/first"], NUMBA_CACHE_DIR=f"{folder}/cache")
    accuracies, seconds = [], []
    for seed in SEEDS:
        out = Path(folder) / f"seed-{seed}"
        seconds.append(seconds_of([*command, str(out), "--seed", str(seed)], NUMBA_CACHE_DIR=f"{folder}/cache"))
        accuracies.append(json.loads((out / "summary.json").read_text())["test_accuracy"])
    return first, seconds, accuracies


def epochs(threads):
    """Seconds of an epoch of 784-300-10, batch 100: rounds that take the backends in turn, the first not counted."""
    train, _ = load("mnist")
    layers = [Input(784, 1 / 255), Dense(300, "relu"), Dense(10, "softmax")]
    found = {"fused": [], "reference": []}
    for _ in range(ROUNDS + 1):
        for backend, taken in found.items():
            history = MLP(layers).fit(
                train.X, train.y, epochs=2, batch_size=100, optimizer=SGD(0.1), backend=backend, threads=threads
            )
            taken.append(history["seconds"][1])
    return {backend: taken[1:] for backend, taken in found.items()}


def main():
    """Measure, print and store."""
    threads = available()
    with tempfile.TemporaryDirectory() as folder:
        first, seconds, accuracies = main_job(folder)
    taken = epochs(threads)
    bare = median(seconds_of(["-c", ""]) for _ in range(5))
    imported = median(seconds_of(["-c", "import fastnn"]) for _ in range(5)) - bare
    ratio = median(slow / fast for fast, slow in zip(taken["fused"], taken["reference"], strict=True))
    figures = {
        "main job, test accuracy, mean of seeds 0 to 4": (mean(accuracies), "{:.2%}"),
        "main job, lowest test accuracy": (min(accuracies), "{:.2%}"),
        "main job, seconds, median": (median(seconds), "{:.1f}"),
        "main job, seconds, first run with compilation": (first, "{:.1f}"),
        "import fastnn, seconds": (imported, "{:.2f}"),
        f"784-300-10 batch 100, fused epoch, seconds, {threads} threads": (median(taken["fused"]), "{:.3f}"),
        f"784-300-10 batch 100, reference epoch, seconds, {threads} threads": (median(taken["reference"]), "{:.3f}"),
        "reference / fused, median of rounds": (ratio, "{:.2f}"),
    }
    width = max(map(len, figures))
    for name, (value, form) in figures.items():
        print(f"{name:<{width}}  {form.format(value):>8}")
    machine = {"cpus": threads, "machine": platform.machine(), "system": platform.system(), **versions()}
    values = {name: round(value, 4) for name, (value, _) in figures.items()}
    write_atomically(STORE, json.dumps({"machine": machine, "figures": values}, indent=2) + "\n")


if __name__ == "__main__":
    described(__doc__).parse_args()
    main()
