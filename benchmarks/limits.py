"""What limits the nets of the contest: ``python -m benchmarks.limits`` (about a minute; an idle machine).

For each net: the vectors of multiply-adds that a step cannot do without, and the cycles that it takes on one thread and
on all, a cycle being the time in which a core does one such vector. What a step on all threads takes longer than its
share of one thread's is lost to what they exchange, wait for, and do each for itself. Then the cache lines that a
thread takes over in a step, because others have changed them since, and how long it takes two cores that do nothing
else to hand over as many. At last, how many times as fast as its best peer in the stored contest the net is now, would
be if nothing more was lost than that, or nothing at all, and could be at most, if a step was nothing but its useful
multiply-adds. The fastest epochs count, of the peers' too: what else the machine does can only slow one down.

Stores bench_results/limits.json.
"""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks import described
from benchmarks.epochs import Training, in_turn
from benchmarks.peers.machine import describe
from benchmarks.peers.rows import ROWS, Task
from benchmarks.peers.work import flops
from fastnn.files import write_atomically
from fastnn.kernels import limits
from fastnn.kernels.cpu import lanes
from fastnn.kernels.plan import GROUPS, PIECES, SPARSE, panels_of
from fastnn.kernels.threads import available
from fastnn.layers import LANES
from fastnn.training import Fit

RESULTS = Path(__file__).parents[1] / "bench_results"
STORE, CONTEST = RESULTS / "limits.json", RESULTS / "peers" / "peers.json"

HEAD = """
                 thousand cycles a step       of peak   lost    taken over       times the best peer
net            useful  one thread      all   one   all     us   lines     us   now shared  whole  at most
""".strip("\n")


def taken_over(fit: Fit, threads: int) -> list[float]:
    """The lines that a thread takes over in a step, one handover after the other: what it needs and others changed.

    By pieces: the gradients of others' pieces, for the weights that it updates; and the weights that they updated.
    Otherwise the outputs of units of the first layer, if these are shared out; what belongs to others' samples, and a
    gradient is formed from; and weights again, of all layers that do not share out their units.
    Not counted: weights of a panel that two threads share, where panels do not divide evenly (784-300-10: 390 lines).
    Lines that a near cache cannot hold (784-800-800-10 and larger) come from further off in either case.
    """
    net, batch, words = fit.network.architecture, fit.job.batch_size, fit.job.workspace.words
    others = 1 - 1 / threads
    if words[PIECES]:
        return [words[PIECES] * others * net.size / LANES / threads, net.size / LANES * others]
    by_units, outputs, formed, weights = bool(1 < threads <= words[GROUPS]), 0.0, 0.0, 0
    for layer, (inputs, units) in enumerate(pairwise(net.widths)):
        if layer == 0 and by_units:
            outputs = batch / threads * others * panels_of(units)
            formed = batch * others * panels_of(units) / threads
        else:
            listed = layer == 0 and words[SPARSE]  # by each thread for itself
            formed += batch * others * (panels_of(inputs) / threads * (not listed) + panels_of(units))
            weights += (inputs + 1) * panels_of(units)
    return [*[outputs] * by_units, formed, weights * others]


def seconds(name: str, threads: int) -> tuple[Task, Fit, float, float]:
    """A net's data, its fit on all threads, and the seconds of the fastest epoch on one thread and all, in turn."""
    row, task = ROWS[name], Task(ROWS[name])
    settings: dict[str, Any] = {"scale": task.scale, "batch": row.batch, "rate": row.rate, "shuffle": False}
    trainings = [
        Training(row.sizes, row.activation, task.raw, task.labels, threads=n, **settings) for n in (1, threads)
    ]
    one, all_ = map(min, in_turn(trainings))
    return task, trainings[1].fit, one, all_


def judged(name: str, threads: int, peak: float, peer: float) -> dict[str, float]:
    """The figures of one net; `peak` in GFLOP/s of one thread, `peer` in seconds."""
    task, fit, one, all_ = seconds(name, threads)
    steps, useful = -(-len(task.raw) // task.row.batch), flops(task) / 1e9
    cycle = 2 * lanes() / peak  # ns of a vector of multiply-adds
    lines = [round(each) for each in taken_over(fit, threads)] if threads > 1 else []
    handed = sum(map(limits.handover, lines))
    return {
        "useful_cycles": 1e9 * useful / peak / steps / cycle,
        "one_thread_cycles": 1e9 * one / steps / cycle,
        "all_threads_cycles": 1e9 * all_ / steps / cycle,
        "one_thread_share": useful / peak / one,
        "all_threads_share": useful / peak / threads / all_,
        "lost_ns": 1e9 * (all_ - one / threads) / steps,
        "lines_taken_over": sum(lines),
        "taken_over_ns": handed,
        "times_best_peer": peer / all_,
        "shared": peer / (one / threads + handed * steps / 1e9),
        "without_loss": peer / (one / threads),
        "at_most": peer / (useful / peak / threads),
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
        mine = found[name] = judged(name, threads, peak, peer)
        *cycles, one, all_, lost, lines, handed, now, shared, whole, most = mine.values()
        useful, first, second = (f"{count / 1000:,.{1 if count < 1e6 else 0}f}" for count in cycles)
        print(
            f"{name:<14}{useful:>7}{first:>12}{second:>9}{one:>6.0%}{all_:>6.0%}{lost / 1000:>7.1f}{lines:>8}"
            f"{handed / 1000:>7.1f}{now:>6.2f}{shared:>7.2f}{whole:>7.2f}{most:>9.2f}",
            flush=True,
        )
    alone, with_a_line = limits.handover(0), limits.handover(1)
    print(f"from core to core a word takes {alone:.0f} ns, and with another line {with_a_line:.0f}")
    machine = describe(threads) | {"fma_peak_gflops_one_thread": peak, "handover_ns": [alone, with_a_line]}
    write_atomically(STORE, json.dumps({"machine": machine, "rows": found}, indent=2) + "\n")
    print(f"stored in {STORE}")


if __name__ == "__main__":
    described(__doc__).parse_args()
    main()
