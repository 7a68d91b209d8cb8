"""Running a kernel in several threads, which end together whatever happens to one.

The threads are ordinary Python threads inside one function that holds no GIL: there is no parallel runtime that could
abort the process when fits nest or run side by side, or break a fork. Who has done its part waits a while for another:
an epoch of 4,000 samples of 24-8-2, batch 200, took 0.59 ms on two threads with one started for each call, so 0.36.
"""

import ctypes
import os
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from fastnn.kernels.barrier import ABORTED

LINGER = 1.0  # seconds that an idle thread waits for another part


def _system_call() -> Callable[[], int] | None:
    """Linux's sched_getcpu(3); None where threads cannot be placed."""
    return getattr(ctypes.CDLL(None), "sched_getcpu", None) if hasattr(os, "sched_setaffinity") else None


_current_cpu = _system_call()


class Places:
    """CPUs for the threads of a call, one each as far as there are any.

    Linux wakes a thread on the CPU of the one that wakes it, and may leave it there for many milliseconds, with others
    idle: on two CPUs of a virtual machine 10 of 12 starts went so. Epochs of 784-30-10, batch 10, then took 53 ms
    instead of 30; 14 of 37 when threads were only placed, none of 26 when they were kept. Beside two busy programs two
    threads took 0.77 of one thread's time, and kept so 0.84 to 1.23. Where the system does not tell where threads are,
    nothing is done.
    """

    def __init__(self, threads: int):
        placed = threads > 1 and _current_cpu is not None
        self.allowed = os.sched_getaffinity(0) if placed else set()
        self.free, self._lock = set(self.allowed), threading.Lock()

    def keep(self) -> None:
        """Keep the calling thread on a CPU of its own: where it is, if that is free."""
        with self._lock:
            if self.free and _current_cpu is not None:
                here = _current_cpu()
                cpu = here if here in self.free else min(self.free)
                self.free.discard(cpu)
                _place(0, {cpu})

    def send(self, thread: int | None) -> None:
        """Let a thread, by the system's number, wake on any CPU that is free: it will `keep` it."""
        if thread is not None and self.allowed:
            _place(thread, self.free or self.allowed)

    def restore(self) -> None:
        """Let the calling thread go where it could before."""
        if self.allowed:
            _place(0, self.allowed)


def _place(thread: int, cpus: set[int]) -> None:
    with suppress(OSError):  # a thread may have ended meanwhile, a CPU been taken away
        os.sched_setaffinity(thread, cpus)


class Part:
    """What one thread does of a call. It is done once, or not at all: it belongs to whom claims it first."""

    def __init__(self, work: Callable[[], None]):
        self._work, self._owner = work, dict[str, object]()
        self._done, self._finished = threading.Lock(), False
        self._done.acquire()

    def claim(self, who: object) -> bool:
        """Whether the part is the caller's. In one step that no interrupt can cut, and that may be done twice."""
        return self._owner.setdefault("owner", who) is who

    def run(self) -> None:
        """Do it: who has claimed it must, and then `finish`."""
        self._work()

    def finish(self) -> None:
        """Let go whoever waits."""
        self._finished = True
        self._done.release()

    def give_up_or_wait(self) -> None:
        """Return when nobody does it any more. May be called again after an interrupt."""
        if not self.claim(self):
            while not self._finished:
                self._done.acquire()


class Helper(threading.Thread):
    """A thread that waits for parts, and ends when none has come for `LINGER` seconds."""

    def __init__(self) -> None:
        super().__init__(daemon=True, name="fastnn")
        self.parts: queue.SimpleQueue[Part] = queue.SimpleQueue()

    def run(self) -> None:
        """Do one part after the other."""
        while True:
            try:
                part = self.parts.get(timeout=LINGER)
            except queue.Empty:
                with _lock:
                    if self in _idle:
                        _idle.remove(self)
                    elif not self.parts.empty():
                        continue
                # who has just taken this thread, and gives it a part now, does that part too: nobody has claimed it
                return
            mine = part.claim(self)
            if mine:
                part.run()
            with _lock:  # before anyone can see that the part is done: the next call shall find this thread
                _idle.append(self)
            if mine:
                part.finish()
            del part  # else what it works on would live as long as this thread waits


_lock = threading.Lock()
_idle: list[Helper] = []


def _forget() -> None:
    """A forked process has none of the threads."""
    global _lock
    _lock = threading.Lock()
    _idle.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _helper() -> Helper:
    """A thread that waits, or a new one."""
    with _lock:
        if _idle:
            return _idle.pop()
    made = Helper()
    made.start()
    return made


def in_threads(kernel: Any, threads: int, arguments: tuple[Any, ...], state: np.ndarray) -> None:
    """Run ``kernel(thread, threads, *arguments)`` in `threads` threads, this one among them, to the end of all.

    A thread that has not begun when this one has ended has nothing left to do, and does not run.

    Parameters
    ----------
    state : int32 array (state_words(threads),)
        The barrier's. Whatever stops one thread sets its abort flag, so that none waits for one that will not come.
    """
    state[:] = 0
    if threads == 1:
        kernel(0, 1, *arguments)
        return
    failures: list[BaseException] = []
    places = Places(threads)

    def work(thread: int) -> None:
        try:
            places.keep()
            kernel(thread, threads, *arguments)
        except BaseException as error:
            state[ABORTED] = 1
            failures.append(error)

    parts = [Part(lambda thread=thread: work(thread)) for thread in range(1, threads)]  # type: ignore[misc]
    try:
        places.keep()
        for part in parts:
            helper = _helper()
            places.send(helper.native_id)
            helper.parts.put(part)
        kernel(0, threads, *arguments)
    except BaseException:
        state[ABORTED] = 1
        raise
    finally:
        try:
            _end(parts)
        finally:
            places.restore()
    if failures:
        raise failures[0]


def _end(parts: list[Part]) -> None:
    """Wait for all parts that have begun, whatever interrupts: they work in memory that the caller may free."""
    interrupt: BaseException | None = None
    waiting = list(parts)
    while waiting:
        try:
            waiting[-1].give_up_or_wait()
            waiting.pop()
        except KeyboardInterrupt as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt
