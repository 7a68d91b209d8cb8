"""How a row is contested: a process for each contestant, one of them at work at a time, round after round."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.peers.contestants import CONTESTANTS, refusal
from benchmarks.peers.machine import round_trip
from benchmarks.peers.rows import Row
from fastnn.errors import FastnnError

ROOT = Path(__file__).parents[2]
EXACT = "float64"
# The libraries' own settings, beside the CPUs that the process is pinned to.
THREAD_SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
# Seconds before each turn, and before the cores are measured: OpenBLAS's threads look for more work before they sleep,
# and used 0.11 s of CPU after their turn, PyTorch's 0.01 s, the others none (`idle_cpu_s` of the figures shows it).
PAUSE = 0.25


class ContestantError(FastnnError):
    """A contestant's process ended before its work was done."""


class Child:
    """A contestant's process; see `benchmarks.peers.child`."""

    def __init__(self, row: Row, name: str, cpus: Sequence[int]):
        self.name, self.row = name, row.name
        settings = dict.fromkeys(THREAD_SETTINGS, str(len(cpus)))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.peers.child", json.dumps(list(cpus)), name, json.dumps(asdict(row))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | settings | {"JAX_PLATFORMS": "cpu"},
        )

    def hear(self) -> dict[str, Any]:
        """The next answer."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise ContestantError(f"{self.name} ended in row {self.row} with exit code {self.process.wait()}")
        return json.loads(line)

    def ask(self, order: str) -> dict[str, Any]:
        """Give an order and wait for the answer."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended: `hear` says so
            self.process.stdin.write(order + "\n")
            self.process.stdin.flush()
        return self.hear()


@contextmanager
def started(row: Row, name: str, cpus: Sequence[int]) -> Iterator[Child]:
    """A contestant's process, which is gone at the end whatever happens."""
    child = Child(row, name, cpus)
    try:
        yield child
    finally:
        with child.process as process:
            process.kill()


def contest(
    row: Row, names: Sequence[str], cpus: Sequence[int], rounds: int, tell: Callable[[str], None] = lambda word: None
) -> dict[str, Any]:
    """Run one row.

    In each round every contestant trains for 0.3 s, at least an epoch, each from the same first weights.
    An epoch before them, which is not counted, compiles what is to be compiled; its time is kept apart.

    Parameters
    ----------
    row : Row
    names : sequence of str
        Of `CONTESTANTS`; those who cannot do this row's work are left out.
    cpus : sequence of int
        As many threads as there are CPUs here.
    rounds : int
    tell : function
        Is told what goes on now.

    Returns
    -------
    dict
        The row's part of the JSON.
    """
    names = [name for name in names if refusal(name, row) is None]
    found: dict[str, dict[str, Any]] = {}
    turns: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    trips: list[float] = []
    with ExitStack() as stack:
        children = []
        for name in names:
            tell(f"{name} gets ready")
            child = stack.enter_context(started(row, name, cpus))
            found[name] = child.hear()
            found[name]["first_s"] = child.ask("epoch")["seconds"]
            children.append(child)
        for turn in range(rounds):
            time.sleep(PAUSE)
            trips.append(round_trip(list(cpus)))
            for child in children:
                tell(f"round {turn + 1} of {rounds}: {child.name}")
                time.sleep(PAUSE)
                turns[child.name].append(child.ask("turn"))
        for child in children:
            tell(f"{child.name} is judged")
            found[child.name] |= child.ask("judge")
    tell("the same in float64")
    with started(row, EXACT, cpus) as judge:
        judge.hear()
        judge.ask("epoch")
        exact = judge.ask("judge")
    for name, mine in found.items():
        found[name] = summary(turns[name]) | mine
        found[name]["gflops"] = mine["flops"] / found[name]["median_s"] / 1e9
        found[name]["loss_difference"] = mine["loss"] - exact["loss"]
    return {
        "row": row.name,
        "net": row.net,
        "samples": row.samples or 60_000,
        "learning_rate": row.rate,
        "flops": exact["flops"],
        "loss_before": exact["loss_before"],
        "loss_float64": exact["loss"],
        "loss_tolerance": exact["tolerance"],
        "round_trips_ns": trips,
        **compared(found),
        "contestants": found,
    }


def summary(turns: Sequence[dict[str, float]]) -> dict[str, Any]:
    """What the rounds of one contestant come to."""
    seconds = [turn["seconds"] for turn in turns]
    return {
        "median_s": median(seconds),
        "min_s": min(seconds),
        "max_s": max(seconds),
        "seconds": seconds,
        "epochs": sum(turn["epochs"] for turn in turns),
        "cpu_s": median(turn["cpu_s"] for turn in turns),
        "idle_cpu_s": max(turn["idle_cpu_s"] for turn in turns),
    }


def compared(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The best peer, and its time over that of fastnn's fused backend; None where one of the two is not there."""
    peers = {name: mine["median_s"] for name, mine in found.items() if CONTESTANTS[name].peer}
    best = min(peers, key=peers.__getitem__, default=None)
    ours = found.get("fastnn-fused")
    ratio = None if best is None or ours is None else peers[best] / ours["median_s"]
    return {"best_peer": best, "ratio_to_best_peer": ratio}


def strays(result: dict[str, Any]) -> list[str]:
    """The contestants whose loss lies further from that in float64 than rounding explains (or is NaN)."""
    bound = result["loss_tolerance"]
    return [name for name, mine in result["contestants"].items() if not abs(mine["loss_difference"]) <= bound]
