"""The process of one contestant on one row: ``python -m benchmarks.peers.child CPUS CONTESTANT ROW``, the row in JSON.

It lives as long as its row does, so that it pays for imports, data and compilation once, and it works only when told
to: a line of JSON comes in, does what it says, and is answered by a line of JSON. Between two orders its threads are to
sleep; whether they did is measured, as the CPU time that went by meanwhile.

The process pins itself to its CPUs before anything is imported that might start threads.
"""

import json
import os
import signal
import sys
import time
from statistics import median
from typing import Any, TextIO

# Seconds that an order to train takes at least. A core that has slept is slow at first, as no user notices for long.
# Tiny, fastnn and JAX: 10 and 7 ms by turns of one epoch, 5 and 6 by turns of a third of a second.
TURNS = {"epoch": 0.0, "turn": 0.3}


def main(cpus: list[int], name: str, row: dict[str, Any]) -> None:
    """Answer orders until there are none: ``epoch``, ``turn``, ``judge``; first, unasked, what it took to get ready."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends this process
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is not an answer

    from benchmarks.peers import work
    from benchmarks.peers.contestants import CONTESTANTS, EXACT
    from benchmarks.peers.rows import Row, Task

    task = Task(Row(**row))
    contestant = CONTESTANTS.get(name, EXACT)
    start = time.perf_counter()
    contestant.load()
    loaded = time.perf_counter()
    net = contestant.net(task, len(cpus))
    say(answers, import_s=loaded - start, prepare_s=time.perf_counter() - loaded)
    rested = time.process_time()
    for line in sys.stdin:
        idle = time.process_time() - rested
        if (order := line.strip()) in TURNS:
            say(answers, **turn(net, TURNS[order]), idle_cpu_s=idle)
        else:
            before = work.mean_loss(task, task.weights())
            say(
                answers,
                loss=work.mean_loss(task, net.parameters()),
                loss_before=before,
                tolerance=work.tolerance(task.row, len(task.raw), before),
                flops=work.flops(task),
            )
        rested = time.process_time()


def turn(net: Any, least: float) -> dict[str, Any]:
    """Train epochs until `least` seconds are over, each from the first weights; the median of their times."""
    seconds, worked = [], []
    while not seconds or sum(seconds) < least:
        net.reset()
        start, started = time.perf_counter(), time.process_time()
        net.epoch()
        seconds.append(time.perf_counter() - start)
        worked.append(time.process_time() - started)
    return {"seconds": median(seconds), "cpu_s": median(worked), "epochs": len(seconds)}


def say(answers: TextIO, **figures: Any) -> None:
    """Write a line of JSON, and see that it leaves."""
    answers.write(json.dumps(figures) + "\n")
    answers.flush()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]))
