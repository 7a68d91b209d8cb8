"""How near products of matrices come to what a core can do: ``python -m benchmarks.products`` (a minute).

The dense kernels of a layer of fastnn, and its bare tiles, beside the same products by NumPy (OpenBLAS) and PyTorch
(MKL): on one thread, in float32, in GFLOP/s; in rounds, of which the median counts. fastnn's values come and go in
panels, and its weights as they stand: to copy what must be copied is part of the time. Its gradient is dropped tile by
tile, as a step, which takes it from the weights at once, never stores it; the others store theirs. In brackets the
share of the core's peak, of multiply-adds on registers alone. The second row is that peak where as much is read from
the nearest cache as the largest tile must read.

The loops of the first four rows are short enough to tell the clock at which they run, in turns of their own: a CPU may
lower it for work that needs more power, as reading does. So what it does in a cycle is told beside the time.

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
from fastnn.roofline import ROWS, SQUARE, WIDE, Shape, Work

STORE = Path(__file__).parents[1] / "bench_results" / "products.json"
ROUNDS = 5
KERNELS = ("forward", "way back", "gradient")


def by_numpy(left: np.ndarray, right: np.ndarray, out: np.ndarray) -> Callable[[int], None]:
    """What writes the product of two matrices to `out`, a number of times."""

    def run(times: int) -> None:
        for _ in range(times):
            np.matmul(left, right, out=out)

    return run


def by_torch(left: np.ndarray, right: np.ndarray, out: np.ndarray) -> Callable[[int], None]:
    """The same."""
    import torch

    a, b, product = map(torch.from_numpy, (left, right, out))

    def run(times: int) -> None:
        torch.set_num_threads(1)  # of the thread that calls it
        for _ in range(times):
            torch.mm(a, b, out=product)

    return run


def matrices(kernel: str, inputs: int, outputs: int, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """What the product of a kernel of a layer is of: A W, D W^T, or A^T D."""
    rng = np.random.default_rng(0)
    A, W, D = (
        rng.normal(size=size).astype(np.float32) for size in ((samples, inputs), (inputs, outputs), (samples, outputs))
    )
    return {"forward": (A, W), "way back": (D, W.T), "gradient": (A.T, D)}[kernel]


OTHERS = {"numpy": by_numpy} | ({"torch": by_torch} if find_spec("torch") else {})


def rate(prepare: Callable[[], Work]) -> float:
    """GFLOP/s of a work that is made anew: what a tile adds to would grow until it changes no more, at less power."""
    work = prepare()
    return limits.rate(work.kernel, work.operands, work.flops)


def clock(prepare: Callable[[], Work]) -> tuple[float, float]:
    """GHz, and FLOP/cycle."""
    work = prepare()
    gigahertz, cycles = limits.clock(work.kernel, work.operands[0])
    return gigahertz, work.flops / cycles


def bare() -> dict[str, Callable[[], Work]]:
    """What prepares loops that touch the nearest cache alone."""

    def chains(make: Any) -> Work:
        *operands, _ = limits.LEAST[make]()
        return Work(limits.kernel(make), [tuple(operands)], 2.0 * limits.CHAINS * limits.LANES, 0.0, 0)

    return {
        "multiply-adds": partial(chains, limits.make_multiply_add),
        "with a tile's reads": partial(chains, limits.make_multiply_add_reading),
        **{row.name: partial(row.prepare, 1) for row in ROWS if row.name.startswith("tile ")},
    }


def row_of(kernel: str, shape: Shape) -> tuple[str, dict[str, Callable[[], float]]]:
    """The name of a kernel of the roofline for a layer, and what measures the GFLOP/s of each contestant."""
    inputs, outputs = shape.widths
    name = f"{kernel} {inputs} x {outputs}, B {shape.batch}"
    (prepare,) = (row.prepare for row in ROWS if row.name == name)
    flops, (left, right) = 2.0 * inputs * outputs * shape.batch, matrices(kernel, inputs, outputs, shape.batch)
    out = np.empty((len(left), right.shape[1]), np.float32)
    others = {who: partial(limits.rate, make(left, right, out), [()], flops) for who, make in OTHERS.items()}
    return name, {"fastnn": partial(rate, partial(prepare, 1)), **others}


def main() -> None:
    """Measure, print and store."""
    loops, whos = bare(), ("fastnn", *OTHERS)
    table: dict[str, dict[str, Callable[[], float]]] = {
        name: {"fastnn": partial(rate, prepare)} for name, prepare in loops.items()
    }
    table |= dict(row_of(kernel, shape) for shape in (WIDE, SQUARE) for kernel in KERNELS)
    taken: dict[str, dict[str, list[float]]] = {name: {who: [] for who in row} for name, row in table.items()}
    clocks: dict[str, list[tuple[float, float]]] = {name: [] for name in loops}
    with threadpool_limits(1):
        for _ in range(ROUNDS):
            for name, row in table.items():
                for who, measure in row.items():
                    taken[name][who].append(measure())
            for name, prepare in loops.items():
                clocks[name].append(clock(prepare))
    found = {name: {who: median(each) for who, each in row.items()} for name, row in taken.items()}
    for name, each in clocks.items():
        found[name] |= dict(zip(("GHz", "FLOP/cycle"), map(median, zip(*each, strict=True)), strict=True))
    peak = found["multiply-adds"]
    print(f"{'GFLOP/s of a thread':<28}{''.join(f'{who:>13}' for who in whos)}    GHz   FLOP/cycle")
    for name, row in found.items():
        gflops = "".join(f"{row[who]:>6.0f} ({row[who] / peak['fastnn']:>4.0%})" for who in whos if who in row)
        by_cycle = ""
        if name in loops:
            flops = row["FLOP/cycle"]
            by_cycle = f"{row['GHz']:>7.2f}{flops:>6.1f} ({flops / peak['FLOP/cycle']:>4.0%})"
        print(f"{name:<28}{gflops:<{13 * len(whos)}}{by_cycle}")
    stored: dict[str, Any] = {"machine": describe(1), "found": found}
    write_atomically(STORE, json.dumps(stored, indent=2) + "\n")
    print(f"stored in {STORE}")


if __name__ == "__main__":
    described(__doc__).parse_args()
    main()
