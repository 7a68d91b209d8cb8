"""MLPClassifier beside scikit-learn's, on MNIST: ``python -m benchmarks.estimator`` (about six minutes, idle machine).

Equal settings and, by the same random_state, equal weights and batches; five seeds, in turn. Then predictions: of one
row by `MLP.predict` beside plain NumPy, of 10,000 rows beside scikit-learn's. Stores bench_results/estimator.json.
"""

import json
import os
import time
import warnings
from pathlib import Path
from statistics import mean, median, stdev

import numpy as np

import fastnn
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


def main():
    """Run, print, store."""
    import sklearn.neural_network as theirs
    from sklearn.exceptions import ConvergenceWarning

    warnings.simplefilter("ignore", ConvergenceWarning)
    train, test = load("mnist")
    X, T = (part.X.astype(np.float32) / 255 for part in (train, test))
    backend("fused").warm()
    found = {name: {"seconds": [], "accuracy": [], "predict": []} for name in ("fastnn", "scikit-learn")}
    for seed in range(SEEDS):
        for name, module in (("fastnn", fastnn), ("scikit-learn", theirs)):
            net = module.MLPClassifier((100,), max_iter=EPOCHS, random_state=seed)
            found[name]["seconds"].append(clock(lambda net=net: net.fit(X, train.y)))
            found[name]["accuracy"].append(net.score(T, test.y))
            found[name]["net"] = net
            print(
                f"seed {seed}, {name}: {found[name]['seconds'][-1]:.2f} s, {found[name]['accuracy'][-1]:.2%}",
                flush=True,
            )
    nets = {name: one.pop("net") for name, one in found.items()}
    for _ in range(ROUNDS):
        for name, net in nets.items():
            time.sleep(PAUSE)
            found[name]["predict"].append(median(clock(lambda net=net: net.predict(T)) for _ in range(5)))
    ours, other = found["fastnn"], found["scikit-learn"]
    one = one_row(nets["fastnn"].network_, T[:1])
    figures = {
        "times as fast as scikit-learn's": median(
            b / a for a, b in zip(ours["seconds"], other["seconds"], strict=True)
        ),
        "test accuracy, difference of means": mean(ours["accuracy"]) - mean(other["accuracy"]),
        "test accuracy, spread of scikit-learn's seeds": stdev(other["accuracy"]),
        "10,000 predictions, times as fast": median(
            b / a for a, b in zip(ours["predict"], other["predict"], strict=True)
        ),
        "one prediction above NumPy's, us": one,
    }
    for name, value in figures.items():
        print(f"{name:<50} {value:.4g}")
    machine = {"cpus": available(), "load": os.getloadavg()[0]}
    write_atomically(
        STORE, json.dumps({"machine": machine, "versions": versions(), "figures": figures, **found}, indent=2) + "\n"
    )
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
    main()
