"""What limits the nets of the contest: ``python -m benchmarks.limits`` (two minutes; an idle machine).

For each net: the vectors of multiply-adds that a step cannot do without, and the cycles that it takes on one thread and
on all, a cycle being the time in which a core does one such vector. Then how many times as fast as its best peer in the
stored contest the net is now, would be if no more was lost than what is known (below), or nothing at all, and could be
at most, if a step was nothing but its useful multiply-adds.

What a step on all threads takes longer than its share of one thread's is lost. Known of that, each measured by itself:

- apart: the work of all threads, done by one, takes longer than one thread's own, as it is cut in other pieces;
- twice: what each thread does for itself, where threads share the units of the first layer: it takes all inputs;
- phases: that many phases with nothing to do in them;
- lines: two cores that do nothing else hand over as many cache lines as a thread takes over, all at once in a phase.

The fastest epochs count, of the peers' too: what else the machine does can only slow one down. Stores
bench_results/limits.json.
"""

import json
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks import described
from benchmarks.epochs import Training, in_turn
from benchmarks.exchange import Exchange
from benchmarks.peers.machine import describe
from benchmarks.peers.rows import ROWS, Task
from benchmarks.peers.work import flops
from fastnn.files import write_atomically
from fastnn.kernels import cores, limits, probes, team
from fastnn.kernels.cpu import lanes
from fastnn.kernels.share import UNITS
from fastnn.kernels.threads import available
from fastnn.training import Fit

RESULTS = Path(__file__).parents[1] / "bench_results"
STORE, CONTEST = RESULTS / "limits.json", RESULTS / "peers" / "peers.json"

HEAD = """
                 thousand cycles a step       of peak       times the best peer
net            useful  one thread      all   one   all   now   known  whole  at most
""".strip("\n")
LOST_HEAD = """
               microseconds a step on all threads
net             all    lost:  apart  twice phases  lines   (their number)
""".strip("\n")


def _by_one(kernel: Any, threads: int, arguments: tuple[Any, ...], state: np.ndarray) -> None:
    """As `team.in_threads`, but the calling thread does the work of all of them."""
    state[:] = 0
    kernel(0, threads, *arguments)


class AllByOne(Training):
    """A training on several threads whose work one thread does."""

    def epoch(self) -> float:
        """Train one more epoch: its seconds."""
        with mock.patch.object(team, "in_threads", _by_one):
            return super().epoch()


def seconds(name: str, threads: int) -> tuple[Task, Fit, list[float]]:
    """A net's data, its fit on all threads, and its fastest epoch: on one thread; on all; and all their work by one."""
    row, task = ROWS[name], Task(ROWS[name])
    settings: dict[str, Any] = {"scale": task.scale, "batch": row.batch, "rate": row.rate, "shuffle": False}
    trainings = [
        kind(row.sizes, row.activation, task.raw, task.labels, threads=n, **settings)
        for kind, n in ((Training, 1), (Training, threads), (AllByOne, threads))
    ]
    return task, trainings[1].fit, [min(each) for each in in_turn(trainings)]


def taking(fit: Fit) -> float:
    """Nanoseconds that a thread takes for the inputs of a batch, for itself alone."""
    batch, order = fit.job.batch_size, np.arange(fit.job.batch_size)
    operands = fit.job.workspace.at_words, batch, int(order.ctypes.data)
    return 1 / limits.rate(probes.probe("take"), [operands], 1.0)


def judged(name: str, threads: int, peak: float, peer: float) -> dict[str, float]:
    """The figures of one net; `peak` in GFLOP/s of one thread, `peer` in seconds."""
    task, fit, (one, all_, by_one) = seconds(name, threads)
    steps, useful = -(-len(task.raw) // task.row.batch), flops(task) / 1e9
    cycle = 2 * lanes() / peak  # ns of a vector of multiply-adds
    known, taken_over = {"apart": 0.0, "twice": 0.0, "phases": 0.0, "lines": 0.0}, 0
    if threads > 1:
        exchange = Exchange(fit, threads)
        lines = [round(each) for each in exchange.lines().values()]
        taken_over = sum(lines)
        known = {
            "apart": 1e9 * (by_one - one) / threads / steps,
            "twice": taking(fit) * (1 - 1 / threads) if UNITS in exchange.counts else 0.0,
            "phases": sum(map(cores.phase, exchange.counts.values())),
            "lines": sum(cores.handover(each) - cores.handover(0) for each in lines if each),
        }
    return {
        "useful_cycles": 1e9 * useful / peak / steps / cycle,
        "one_thread_cycles": 1e9 * one / steps / cycle,
        "all_threads_cycles": 1e9 * all_ / steps / cycle,
        "one_thread_share": useful / peak / one,
        "all_threads_share": useful / peak / threads / all_,
        "times_best_peer": peer / all_,
        "known": peer / (one / threads + sum(known.values()) * steps / 1e9),
        "without_loss": peer / (one / threads),
        "at_most": peer / (useful / peak / threads),
        "all_threads_ns": 1e9 * all_ / steps,
        "lost_ns": 1e9 * (all_ - one / threads) / steps,
        **{f"{what}_ns": ns for what, ns in known.items()},
        "lines_taken_over": taken_over,
    }


def main() -> None:
    """Measure, print and store."""
    threads, contest = available(), json.loads(CONTEST.read_text())
    peak = limits.fma_peak(1)
    found: dict[str, Any] = {}
    print(HEAD)
    for row in contest["rows"]:
        name = row["row"]
        peer = min(one["min_s"] for who, one in row["contestants"].items() if not who.startswith("fastnn"))
        found[name] = judged(name, threads, peak, peer)
        *cycles, one, all_, now, known, whole, most = [*found[name].values()][:9]
        useful, first, second = (f"{count / 1000:,.{1 if count < 1e6 else 0}f}" for count in cycles)
        print(
            f"{name:<14}{useful:>7}{first:>12}{second:>9}{one:>6.0%}{all_:>6.0%}{now:>6.2f}{known:>8.2f}{whole:>7.2f}"
            f"{most:>9.2f}",
            flush=True,
        )
    print(f"\n{LOST_HEAD}")
    for name, figures in found.items():
        *parts, lines = [*figures.values()][9:]
        all_, lost, *known = (f"{ns / 1000:.1f}" for ns in parts)
        print(f"{name:<14}{all_:>5}{lost:>8}{''.join(f'{part:>7}' for part in known):>29}{lines:>12}")
    alone, with_a_line = cores.handover(0), cores.handover(1)
    print(f"from core to core a word takes {alone:.0f} ns, and with another line {with_a_line:.0f}")
    machine = describe(threads) | {"fma_peak_gflops_one_thread": peak, "handover_ns": [alone, with_a_line]}
    write_atomically(STORE, json.dumps({"machine": machine, "rows": found}, indent=2) + "\n")
    print(f"stored in {STORE}")


if __name__ == "__main__":
    described(__doc__).parse_args()
    main()
