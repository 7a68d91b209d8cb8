"""Recipes by several seeds, and D's net by a loop over samples: ``python -m benchmarks.recipes`` (idle machine).

`python -m benchmarks.recipes speedrun best-plain` runs those alone (default: speedrun, best-plain, augmented; about
twenty minutes). Prints the mean test accuracy over the seeds and the seconds of training, and stores them in
bench_results/recipes.json. D's epoch (784-30-10, batch 100) is compared with the loop that the project wrote.
"""

import json
import os
import sys
import time
from pathlib import Path
from statistics import mean, median

import numpy as np

from benchmarks import described
from fastnn import recipes
from fastnn.config import Config
from fastnn.data import load
from fastnn.files import write_atomically
from fastnn.formats.description import versions
from fastnn.kernels import backend
from fastnn.kernels.threads import available
from fastnn.runs import Parts, build, fit

SEEDS = {"speedrun": 10, "best-plain": 5, "augmented": 3}
STORE = Path(__file__).parents[1] / "bench_results" / "recipes.json"
ROUNDS = 5


def run(name):
    """The recipe by each of its seeds: test accuracies of the last epoch, and seconds of training."""
    config = Config.of(recipes.read(name))
    parts, accuracies, seconds = Parts.of(config), [], []
    for seed in range(SEEDS[name]):
        config = Config.of(config.values(), {"training.seed": seed})
        network, start = build(config, parts), time.perf_counter()
        fit(config, network, parts)
        seconds.append(time.perf_counter() - start)
        accuracies.append(network.evaluate(parts.test.X, parts.test.y)["accuracy"])
        print(f"{name}, seed {seed}: {accuracies[-1]:.2%} in {seconds[-1]:.2f} s", flush=True)
    return {"accuracy": mean(accuracies), "seconds": mean(seconds), "accuracies": accuracies, "all_seconds": seconds}


def by_samples(X, t, weights, biases, eta, batch):
    """An epoch as D wrote it: forward and back for each sample alone, and the sums of its gradients for each batch."""
    for start in range(0, len(X), batch):
        sums = [np.zeros_like(W) for W in weights], [np.zeros_like(b) for b in biases]
        for x, target in zip(X[start : start + batch], t[start : start + batch], strict=True):
            activations = [x]
            for W, b in zip(weights, biases, strict=True):
                activations.append(1 / (1 + np.exp(-(activations[-1] @ W + b))))
            out = activations[-1]
            delta = (out - target) * out * (1 - out)
            for layer in range(len(weights) - 1, -1, -1):
                sums[0][layer] += np.outer(activations[layer], delta)
                sums[1][layer] += delta
                if layer:
                    below = activations[layer]
                    delta = (weights[layer] @ delta) * below * (1 - below)
        for layer in range(len(weights)):
            weights[layer] -= eta / batch * sums[0][layer]
            biases[layer] -= eta / batch * sums[1][layer]


def epoch_of_d():
    """Seconds of D's epoch by its loop, and by fastnn on the same 50,000 rows."""
    config = Config.of(recipes.read("d-batch-100"), {"data.validation": 0.0})
    train = load("mnist")[0].take(slice(50_000))
    parts = Parts(train, None, train.take(slice(100)))
    network, rng = build(config, parts), np.random.default_rng(0)
    X, t = train.X / 255.0, np.eye(10)[train.y]
    weights = [rng.normal(size=(784, 30)), rng.normal(size=(30, 10))]
    biases = [rng.normal(size=30), rng.normal(size=10)]
    loop, ours = [], []
    backend("fused").warm()
    for _ in range(ROUNDS):
        start = time.perf_counter()
        by_samples(X, t, weights, biases, 3.0, 100)
        loop.append(time.perf_counter() - start)
        ours += fit(Config.of(config.values(), {"training.epochs": 5}), network, parts)["seconds"]
    return {"loop": median(loop), "fastnn": median(ours), "times": median(loop) / median(ours)}


def main(names):
    """Run, print, store."""
    unknown = set(names) - SEEDS.keys()
    if unknown:
        sys.exit(f"benchmarks.recipes knows {', '.join(SEEDS)}, not {', '.join(sorted(unknown))}")
    kept = json.loads(STORE.read_text()) if STORE.exists() else {}
    kept |= {"machine": {"cpus": available(), "load": os.getloadavg()[0]}, "versions": versions()}
    backend("fused").warm()
    kept["d"] = epoch_of_d()
    print(
        "D's epoch: {loop:.2f} s by its loop over samples, {fastnn:.4f} s here, {times:.0f} times".format(**kept["d"])
    )
    for name in names or SEEDS:
        kept[name] = run(name)
        print(f"{name}: mean {kept[name]['accuracy']:.2%} in {kept[name]['seconds']:.2f} s", flush=True)
        write_atomically(STORE, json.dumps(kept, indent=2) + "\n")
    write_atomically(STORE, json.dumps(kept, indent=2) + "\n")
    print(f"stored in {STORE}")


if __name__ == "__main__":
    parser = described(__doc__)
    parser.add_argument("names", nargs="*", metavar="RECIPE", help=f"of {', '.join(SEEDS)} (default: all)")
    main(parser.parse_args().names)
