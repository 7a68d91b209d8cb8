"""MLPClassifier beside scikit-learn's, on MNIST: ``python -m benchmarks.estimator`` (three minutes, idle machine).

Equal settings and, by the same random_state, equal weights and batches; five seeds, in turn. Then predictions by the
network itself: of 10,000 rows beside scikit-learn's, of one row beside plain NumPy. Stores
bench_results/estimator.json.
"""

import json
import os
import time
import warnings
from pathlib import Path
from statistics import mean, median, stdev

import numpy as np

import fastnn
from benchmarks import described
from fastnn import MLP, Input
from fastnn.data import load
from fastnn.files import write_atomically
from fastnn.formats.description import versions
from fastnn.kernels import backend
from fastnn.kernels.threads import available

SEEDS, EPOCHS, ROUNDS, CALLS = 5, 10, 15, 2000
PAUSE = 0.25  # seconds before predictions are timed: OpenBLAS's threads look for more work for 0.1 s
STORE = Path(__file__).parents[1] / "bench_results" / "estimator.json"


def clock(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def contest(kind, X, T, train, test):
    """Training and predictions of both on X and T, in turn: seconds, accuracies, and the last nets."""
    import sklearn.neural_network as theirs

    found = {name: {"seconds": [], "accuracy": [], "predict": []} for name in ("fastnn", "scikit-learn")}
    nets = {}
    for seed in range(SEEDS):
        for name, module in (("fastnn", fastnn), ("scikit-learn", theirs)):
            net = nets[name] = module.MLPClassifier((100,), max_iter=EPOCHS, random_state=seed)
            time.sleep(PAUSE)
            found[name]["seconds"].append(clock(lambda net=net: net.fit(X, train.y)))
            found[name]["accuracy"].append(net.score(T, test.y))
            last = found[name]
            print(f"{kind}, seed {seed}, {name}: {last['seconds'][-1]:.2f} s, {last['accuracy'][-1]:.2%}", flush=True)
    # the network itself reads the raw bytes
    raw = MLP([Input(784, scale=1 / 255), *nets["fastnn"].network_.layers[1:]])
    raw.flat[:] = nets["fastnn"].network_.flat
    works = {"fastnn": lambda: raw.predict(test.X), "scikit-learn": lambda: nets["scikit-learn"].predict(T)}
    for _ in range(ROUNDS):
        for name, work in works.items():
            time.sleep(PAUSE)
            found[name]["predict"].append(median(clock(work) for _ in range(5)))
    return found, nets


def times(found, what):
    """How many times as fast as scikit-learn: the median of the rounds."""
    pairs = zip(found["fastnn"][what], found["scikit-learn"][what], strict=True)
    return median(theirs / ours for ours, theirs in pairs)


def main():
    """Run, print, store."""
    from sklearn.exceptions import ConvergenceWarning

    warnings.simplefilter("ignore", ConvergenceWarning)
    train, test = load("mnist")
    backend("fused").warm()
    kept, figures = {}, {}
    for kind in ("float64", "float32"):  # what X / 255 gives, in which scikit-learn then computes, and what both share
        X, T = (part.X.astype(kind) / np.array(255, kind) for part in (train, test))
        found, nets = contest(kind, X, T, train, test)
        kept[kind] = found
        accuracies = [found[name]["accuracy"] for name in ("fastnn", "scikit-learn")]
        figures |= {
            f"{kind}: trains so many times as fast": times(found, "seconds"),
            f"{kind}: difference of the mean test accuracies": mean(accuracies[0]) - mean(accuracies[1]),
            f"{kind}: spread of scikit-learn's seeds": stdev(accuracies[1]),
            f"{kind}: predicts 10,000 rows so many times as fast": times(found, "predict"),
        }
    figures["one row by MLP.predict, microseconds above NumPy's"] = one_row(nets["fastnn"].network_, T[:1])
    for name, value in figures.items():
        print(f"{name:<55} {value:.4g}")
    kept |= {"machine": {"cpus": available(), "load": os.getloadavg()[0]}, "versions": versions(), "figures": figures}
    write_atomically(STORE, json.dumps(kept, indent=2) + "\n")
    print(f"stored in {STORE}")


def one_row(net, x):
    """Microseconds of `net.predict` of one row above those of the same net in plain NumPy."""
    parameters = [(W.copy(), b.copy()) for W, b in net.parameters()]

    def plain():
        a = x
        for W, b in parameters[:-1]:
            a = np.maximum(a @ W + b, 0)
        return (a @ parameters[-1][0] + parameters[-1][1]).argmax(axis=1)

    assert plain() == net.predict(x)
    pairs = [(clock(lambda: net.predict(x)), clock(plain)) for _ in range(CALLS)]
    return 1e6 * (median(a for a, _ in pairs) - median(b for _, b in pairs))


if __name__ == "__main__":
    described(__doc__).parse_args()
    main()
