"""What limits the nets of the contest: ``python -m benchmarks.limits`` (about a minute; an idle machine).

For each net: the vectors of multiply-adds that a step cannot do without, and the cycles that it takes on one thread and
on all, a cycle being the time in which a core does one such vector. What a step on all threads takes longer than its
share of one thread's is lost to what they exchange, wait for, and do each for itself: in microseconds, and in times
that a word takes from one core to the other and back. At last, how many times as fast as its best peer in the stored
contest the net is now, would be if nothing was lost so, and could be at most, if a step was nothing but its useful
multiply-adds. The fastest epochs count, of the peers' too: what else the machine does can only slow one down.

Stores bench_results/limits.json.
"""

import json
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
from fastnn.kernels.threads import available

RESULTS = Path(__file__).parents[1] / "bench_results"
STORE, CONTEST = RESULTS / "limits.json", RESULTS / "peers" / "peers.json"

HEAD = """
                 thousand cycles a step       of peak     lost a step    times the best peer
net            useful  one thread      all   one   all       us  trips   now  whole  at most
""".strip("\n")


def seconds(name: str, threads: int) -> tuple[Task, float, float]:
    """A net's data, and the seconds of the fastest epoch on one thread and on all of them, taken in turn."""
    row, task = ROWS[name], Task(ROWS[name])
    settings: dict[str, Any] = {"scale": task.scale, "batch": row.batch, "rate": row.rate, "shuffle": False}
    trainings = [
        Training(row.sizes, row.activation, task.raw, task.labels, threads=n, **settings) for n in (1, threads)
    ]
    one, all_ = map(min, in_turn(trainings))
    return task, one, all_


def judged(name: str, threads: int, peak: float, trip: float, peer: float) -> dict[str, float]:
    """The figures of one net; `peak` in GFLOP/s of one thread, `trip` in ns, `peer` in seconds."""
    task, one, all_ = seconds(name, threads)
    steps, useful = -(-len(task.raw) // task.row.batch), flops(task) / 1e9
    cycle = 2 * lanes() / peak  # ns of a vector of multiply-adds
    lost = 1e9 * (all_ - one / threads) / steps
    return {
        "useful_cycles": 1e9 * useful / peak / steps / cycle,
        "one_thread_cycles": 1e9 * one / steps / cycle,
        "all_threads_cycles": 1e9 * all_ / steps / cycle,
        "one_thread_share": useful / peak / one,
        "all_threads_share": useful / peak / threads / all_,
        "lost_ns": lost,
        "lost_round_trips": lost / trip if trip else 0.0,
        "times_best_peer": peer / all_,
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
        name, trip = row["row"], limits.round_trip()
        peer = min(one["min_s"] for who, one in row["contestants"].items() if not who.startswith("fastnn"))
        mine = found[name] = judged(name, threads, peak, trip, peer)
        *cycles, one, all_, ns, trips, now, alone, most = mine.values()
        useful, first, second = (f"{count / 1000:,.{1 if count < 1e6 else 0}f}" for count in cycles)
        print(
            f"{name:<14}{useful:>7}{first:>12}{second:>9}{one:>6.0%}{all_:>6.0%}{ns / 1000:>9.1f}{trips:>7.0f}"
            f"{now:>6.2f}{alone:>7.2f}{most:>9.2f}   ({trip:.0f} ns to the other core and back)",
            flush=True,
        )
    machine = describe(threads) | {"fma_peak_gflops_one_thread": peak}
    write_atomically(STORE, json.dumps({"machine": machine, "rows": found}, indent=2) + "\n")
    print(f"stored in {STORE}")


if __name__ == "__main__":
    described(__doc__).parse_args()
    main()
