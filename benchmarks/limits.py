"""What limits the nets of the contest: ``python -m benchmarks.limits`` (two minutes; an idle machine).

For each net: the vectors of useful multiply-adds of a step, and the cycles that it takes on one thread and on all, a
cycle being the time in which a core does one such vector. Those by zeros of hidden ReLUs are among the useful ones (see
`useful_flops` in peers/work.py): where they are skipped, a step may take fewer cycles. Then how many times as fast as
its best peer in the stored contest the net is on one thread, on all, would be on all if no more was lost than what is
known (below), or nothing at all, and could be at most, if a step was nothing but its useful multiply-adds, and none
skipped. (In the contest it takes as many threads as are faster.)

What a step on all threads takes longer than its share of one thread's is lost. Known of that, each measured by itself:

- apart: the work of all threads, done by one, takes longer than one thread's own (or less long), as it is cut in other
  pieces;
- twice: what each thread does for itself. Where threads share the units of the first layer, it takes all inputs, here
  of one batch again and again, which a near cache holds; where a step is one phase, it does all layers above the first,
  or adds up all pieces' gradients and updates all weights;
- phases: that many phases with nothing to do in them, of two threads;
- lines: two cores that do nothing else hand over as many cache lines as a thread takes over, all at once in a phase.
  More than a cache holds, as of the largest net, come from further off on one thread too.

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
from fastnn.kernels.plan import prepare
from fastnn.kernels.threads import available
from fastnn.training import Fit

RESULTS = Path(__file__).parents[1] / "bench_results"
STORE, CONTEST = RESULTS / "limits.json", RESULTS / "peers" / "peers.json"

HEAD = """
                 thousand cycles a step       of peak       times the best peer
net            useful  one thread      all   one   all   one   all  known  whole  at most
""".strip("\n")
LOST_HEAD = """
               microseconds a step on all threads
net               all   lost:    apart  twice phases  lines (their number)
""".strip("\n")


def _by_one(kernel: Any, threads: int, arguments: tuple[Any, ...], state: np.ndarray) -> None:
    """As `team.in_threads`, but the calling thread does the work of all of them."""
    state[:] = 0
    team.alone(kernel, 0, threads, arguments)


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


def repeated(fit: Fit, exchange: Exchange) -> float:
    """Nanoseconds that a thread takes for what all do of a batch."""
    batch = fit.job.batch_size
    plan, order, still = prepare(fit.job, batch, False), np.arange(batch), np.zeros((1, 3))
    batch_of, rates = (plan.at_words, batch), (int(still.ctypes.data),)
    taken = (*batch_of, int(order.ctypes.data))
    all_do = {
        "take": (exchange.by_units and not exchange.once, taken),
        "above": (exchange.by_units and exchange.once, (*taken, *rates)),
        "update": (not exchange.by_units and exchange.once, (*batch_of, *rates)),
    }
    return sum(1 / limits.rate(probes.probe(name), [given], 1.0) for name, (there, given) in all_do.items() if there)


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
            "twice": repeated(fit, exchange) * (1 - 1 / threads),
            "phases": sum(map(cores.phase, exchange.counts.values())),
            "lines": sum(cores.handover(each) - cores.handover(0) for each in lines if each),
        }
    return {
        "useful_cycles": 1e9 * useful / peak / steps / cycle,
        "one_thread_cycles": 1e9 * one / steps / cycle,
        "all_threads_cycles": 1e9 * all_ / steps / cycle,
        "one_thread_share": useful / peak / one,
        "all_threads_share": useful / peak / threads / all_,
        "one_thread_times_best_peer": peer / one,
        "times_best_peer": peer / all_,
        "known": peer / (one / threads + sum(known.values()) * steps / 1e9),
        "without_loss": peer / (one / threads),
        "at_most": peer / (useful / peak / threads),
        "all_threads_ns": 1e9 * all_ / steps,
        "lost_ns": 1e9 * (all_ - one / threads) / steps,
        **{f"{what}_ns": ns for what, ns in known.items()},
        "lines_taken_over": taken_over,
    }


def times_line(name: str, found: dict[str, float]) -> str:
    """A net's line of the first table."""
    cycles = [found[f"{what}_cycles"] / 1000 for what in ("useful", "one_thread", "all_threads")]
    useful, one, all_ = (f"{count:,.{1 if count < 1000 else 0}f}" for count in cycles)
    shares = "".join(f"{found[f'{what}_share']:>6.0%}" for what in ("one_thread", "all_threads"))
    times = [found[what] for what in ("one_thread_times_best_peer", "times_best_peer", "known", "without_loss")]
    ratios = "".join(f"{ratio:>{width}.2f}" for ratio, width in zip(times, (6, 6, 7, 7), strict=True))
    return f"{name:<14}{useful:>7}{one:>12}{all_:>9}{shares}{ratios}{found['at_most']:>9.2f}"


def lost_line(name: str, found: dict[str, float]) -> str:
    """A net's line of the second."""
    parts = "".join(f"{found[f'{what}_ns'] / 1000:>7.1f}" for what in ("apart", "twice", "phases", "lines"))
    all_, lost = (found[f"{what}_ns"] / 1000 for what in ("all_threads", "lost"))
    return f"{name:<14}{all_:>8.1f}{lost:>8.1f}  {parts}{found['lines_taken_over']:>12,}"


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
        print(times_line(name, found[name]), flush=True)
    print(f"\n{LOST_HEAD}")
    for name, figures in found.items():
        print(lost_line(name, figures))
    alone, with_a_line = cores.handover(0), cores.handover(1)
    print(f"from core to core a word takes {alone:.0f} ns, and with another line {with_a_line:.0f}")
    machine = describe(threads) | {"fma_peak_gflops_one_thread": peak, "handover_ns": [alone, with_a_line]}
    write_atomically(STORE, json.dumps({"machine": machine, "rows": found}, indent=2) + "\n")
    print(f"stored in {STORE}")


if __name__ == "__main__":
    described(__doc__).parse_args()
    main()
