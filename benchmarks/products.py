"""How near products of matrices come to what a core can do: ``python -m benchmarks.products`` (a minute).

The dense kernels of a layer of fastnn, and its bare tiles, beside the same products by NumPy (OpenBLAS) and PyTorch
(MKL): on one thread, in float32, in GFLOP/s; in rounds, of which the median counts. fastnn's values come and go in
panels, and its weights as they stand: to copy what must be copied is part of the time. In brackets the share of the
core's peak, of multiply-adds on registers alone. The second row is that peak where as much is read from the nearest
cache as a tile must read.

The loops of the first four rows are short enough to tell the clock at which they run, in turns of their own: a CPU may
lower it for work that needs more power, as reading does. So what it can do in a cycle is told beside the time.

It takes ``pip install '.[peers]'``; without PyTorch there is no column of it. Stores bench_results/products.json.
"""

import json
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks import described
from benchmarks.peers.machine import describe
from fastnn.files import write_atomically
from fastnn.kernels import limits
from fastnn.roofline import ROWS, SQUARE, WIDE, Work

STORE = Path(__file__).parents[1] / "bench_results" / "products.json"
ROUNDS = 5
KERNELS = ("forward", "way back", "gradient")


def by_numpy(left: np.ndarray, right: np.ndarray) -> Callable[[int], None]:
    """The product of two matrices, a number of times."""
    out = np.empty((len(left), right.shape[1]), np.float32)

    def run(times: int) -> None:
        for _ in range(times):
            np.matmul(left, right, out=out)

    return run


def by_torch(left: np.ndarray, right: np.ndarray) -> Callable[[int], None]:
    """The same."""
    import torch

    a, b = torch.from_numpy(left), torch.from_numpy(right)
    out = torch.empty((len(left), right.shape[1]))

    def run(times: int) -> None:
        torch.set_num_threads(1)  # of the thread that calls it
        for _ in range(times):
            torch.mm(a, b, out=out)

    return run


def matrices(kernel: str, inputs: int, outputs: int, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """What the product of a kernel of a layer is of: A W, D W^T, or A^T D."""
    rng = np.random.default_rng(0)
    A, W, D = (
        rng.normal(size=size).astype(np.float32) for size in ((samples, inputs), (inputs, outputs), (samples, outputs))
    )
    return {"forward": (A, W), "way back": (D, W.T), "gradient": (A.T, D)}[kernel]


OTHERS = {"numpy": by_numpy} | ({"torch": by_torch} if find_spec("torch") else {})


def rate(work: Work) -> float:
    """GFLOP/s; what the work's addresses point into lives as long as the work."""
    return limits.rate(work.kernel, work.operands, work.flops)


def row_of(name: str, sizes: tuple[int, int, int]) -> dict[str, Callable[[], float]]:
    """What measures the GFLOP/s of each contestant in a row of the table, a kernel of the roofline."""
    work = next(row for row in ROWS if row.name == name).prepare(1)
    inputs, outputs, samples = sizes
    flops, (left, right) = 2.0 * inputs * outputs * samples, matrices(name[: name.index(f" {inputs}")], *sizes)
    others = {who: partial(limits.rate, make(left, right), [()], flops) for who, make in OTHERS.items()}
    return {"fastnn": partial(rate, work)} | others


def bare() -> dict[str, Work]:
    """Loops that touch the nearest cache alone."""
    loops = {}
    for name, make in (
        ("multiply-adds", limits.make_multiply_add),
        ("with a tile's reads", limits.make_multiply_add_reading),
    ):
        operands = limits.LEAST[make]()[:-1]
        flops = 2.0 * limits.CHAINS * limits.LANES
        loops[name] = Work(limits.kernel(make), [operands], flops, 0.0, 0)
    return loops | {row.name: row.prepare(1) for row in ROWS if row.name.startswith("tile ")}


def main() -> None:
    """Measure, print and store."""
    loops, whos = bare(), ("fastnn", *OTHERS)
    table = {name: {"fastnn": partial(rate, work)} for name, work in loops.items()}
    for shape in (WIDE, SQUARE):
        inputs, outputs = shape.widths
        for kernel in KERNELS:
            name = f"{kernel} {inputs} x {outputs}, B {shape.batch}"
            table[name] = row_of(name, (inputs, outputs, shape.batch))
    taken: dict[str, dict[str, list[Any]]] = {name: {who: [] for who in row} for name, row in table.items()}
    clocks: dict[str, list[tuple[float, float]]] = {name: [] for name in loops}
    with threadpool_limits(1):
        for _ in range(ROUNDS):
            for name, row in table.items():
                for who, measure in row.items():
                    taken[name][who].append(measure())
            for name, work in loops.items():
                clocks[name].append(limits.clock(work.kernel, work.operands[0]))
    found = {name: {who: median(each) for who, each in row.items()} for name, row in taken.items()}
    for name, each in clocks.items():
        gigahertz, cycles = (median(column) for column in zip(*each, strict=True))
        found[name] |= {"GHz": gigahertz, "FLOP/cycle": loops[name].flops / cycles}
    peak = found["multiply-adds"]
    print(f"{'GFLOP/s of a thread':<28}{''.join(f'{who:>13}' for who in whos)}    GHz   FLOP/cycle")
    for name, row in found.items():
        gflops = "".join(f"{row[who]:>6.0f} ({row[who] / peak['fastnn']:>4.0%})" for who in whos if who in row)
        clock = ""
        if "GHz" in row:
            each = row["FLOP/cycle"]
            clock = f"{row['GHz']:>7.2f}{each:>6.1f} ({each / peak['FLOP/cycle']:>4.0%})"
        print(f"{name:<28}{gflops:<{13 * len(whos)}}{clock}")
    stored: dict[str, Any] = {"machine": describe(1), "found": found}
    write_atomically(STORE, json.dumps(stored, indent=2) + "\n")
    print(f"stored in {STORE}")


if __name__ == "__main__":
    described(__doc__).parse_args()
    main()
