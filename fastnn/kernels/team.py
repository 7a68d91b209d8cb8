"""Running a kernel in several threads, which end together whatever stops the one that calls.

The threads are ordinary Python threads inside one function that holds no GIL: there is no parallel runtime that could
abort the process when fits nest or run side by side, or break a fork. Who has done its part waits a while for another,
first in compiled code (kernels/calls.py), then in Python: with a thread started for each call, an epoch of 4,000
samples of 24-8-2, batch 200, took 0.59 ms on two threads, and with one that waits in Python 0.36.
"""

import ctypes
import itertools
import os
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from fastnn.kernels.barrier import ABORTED
from fastnn.kernels.buffers import address_of
from fastnn.kernels.calls import (
    ARGUMENTS,
    AT_OTHERS,
    BITS,
    CALL_WORDS,
    LOOKING,
    MISSED,
    OTHERS,
    OVER,
    SENT,
    STATE,
    THREAD,
    state_word,
)
from fastnn.layers import aligned_zeros

LINGER = 1.0  # seconds that an idle thread waits for another part
LOOKS = 100_000  # times that it first looks for one in memory: 1.2 ms on an Intel server


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
        self.free, self._lock, self._settled = set(self.allowed), threading.Lock(), set[Helper]()
        self.enough = threads <= (len(self.allowed) or os.cpu_count() or 1)

    def _take(self, wanted: int | None) -> int | None:
        """A free CPU, which is so no more: the one that is wanted, if it can be."""
        with self._lock:
            if not self.free:
                return None
            cpu = wanted if wanted in self.free else min(self.free)
            self.free.discard(cpu)
            return cpu

    def keep(self) -> int | None:
        """Keep the calling thread on a CPU of its own, and tell which: where it is, if that is free."""
        if _current_cpu is None:
            return None
        cpu = self._take(_current_cpu())
        if cpu is not None:
            _place(0, {cpu})
        return cpu

    def settle(self, helper: "Helper") -> None:
        """Keep another thread, which runs, where it is, if that is free."""
        if self.allowed:
            kept, helper.cpu = helper.cpu, self._take(helper.cpu)
            if helper.cpu is None or helper.cpu != kept:
                _place(helper.native_id, self.allowed if helper.cpu is None else {helper.cpu})
            self._settled.add(helper)

    def send(self, helper: "Helper") -> None:
        """Let a thread wake on any CPU that is free: it will `keep` it."""
        if self.allowed:
            if helper in self._settled and helper.cpu is not None:
                self.free.add(helper.cpu)
            _place(helper.native_id, self.free or self.allowed)

    def restore(self) -> None:
        """Let the calling thread go where it could before."""
        if self.allowed:
            _place(0, self.allowed)


def _place(thread: int | None, cpus: set[int]) -> None:
    """Let a thread, by the system's number, run on some CPUs only."""
    if thread is None:
        return
    with suppress(OSError):  # a thread may have ended meanwhile, a CPU been taken away
        os.sched_setaffinity(thread, cpus)


class Helper(threading.Thread):
    """A thread that does its part of calls, and ends when none has come for `LINGER` seconds.

    Attributes
    ----------
    words : int64 array (CALL_WORDS,)
        Its own, on cache lines of its own (kernels/calls.py).
    at : int
        Their address.
    kernel : callable
        Of the last call that it was sent: in which it looks for the next one.
    cpu : int or None
        The only one on which it may run, if it is kept on one.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True, name="fastnn")
        self.words = aligned_zeros(CALL_WORDS, np.int64)
        self.at = address_of(self.words)
        self.kernel: Any = None
        self.cpu: int | None = None
        self.sent: queue.SimpleQueue[tuple[Any, int, Places]] = queue.SimpleQueue()

    def state(self) -> tuple[int, int]:
        """The number of its last call, and its state."""
        return divmod(int(self.words[STATE]), 1 << BITS)

    def can_serve(self, kernel: Any) -> bool:
        """Whether it is not in another kernel."""
        return self.kernel is kernel or self.state()[1] != LOOKING

    def send(self, kernel: Any, number: int, places: Places) -> None:
        """Call it through Python, as it is not there to see it in memory."""
        self.kernel, self.words[STATE] = kernel, state_word(number, SENT)
        places.send(self)
        self.sent.put((kernel, number, places))

    def run(self) -> None:
        """Do one part after the other."""
        while True:
            try:
                kernel, number, places = self.sent.get(timeout=LINGER)
            except queue.Empty:
                with _lock:
                    if self in _idle:
                        _idle.remove(self)
                    elif not self.sent.empty():
                        continue
                return  # who has just taken this thread does its part too, which nobody has begun with
            self.cpu = places.keep()
            kernel(self.at, number)
            del kernel, places


_lock = threading.Lock()
_idle: list[Helper] = []
_numbers = itertools.count(1)


def _forget() -> None:
    """A forked process has none of the threads."""
    global _lock
    _lock = threading.Lock()
    _idle.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _helper(kernel: Any) -> Helper:
    """A thread that waits, or a new one."""
    with _lock:
        _idle[:] = [helper for helper in _idle if helper.is_alive()]
        for helper in reversed(_idle):
            if helper.can_serve(kernel):
                _idle.remove(helper)
                return helper
    made = Helper()
    made.start()
    return made


def _fill(words: np.ndarray, thread: int, threads: int, looks: int, arguments: tuple[int, ...]) -> None:
    """What a thread is to do."""
    words[THREAD : THREAD + 6] = thread, threads, 0, 0, 0, looks
    words[ARGUMENTS : ARGUMENTS + len(arguments)] = arguments


def alone(kernel: Any, thread: int, threads: int, arguments: tuple[int, ...]) -> None:
    """Do a thread's part of a call here and now, which no other thread has a part in."""
    words = np.zeros(CALL_WORDS, np.int64)
    words[STATE] = state_word(0, SENT)
    _fill(words, thread, threads, 0, arguments)
    kernel(address_of(words), 0)


def in_threads(kernel: Any, threads: int, arguments: tuple[int, ...], state: np.ndarray) -> None:
    """Run a kernel in `threads` threads, this one among them, to the end of all.

    A thread that has not begun when this one has ended has nothing left to do, and does not run.

    Parameters
    ----------
    kernel : callable
        Of a thread's words and the number of the call, see kernels/calls.py.
    threads : int
    arguments : tuple of int
        At most ``CALL_WORDS - ARGUMENTS``.
    state : int32 array (state_words(threads),)
        The barrier's. Whatever stops the caller sets its abort flag, so that none waits for one that will not come.
    """
    state[:] = 0
    if threads == 1:
        alone(kernel, 0, 1, arguments)
        return
    number, places, helpers = next(_numbers), Places(threads), list[Helper]()
    words, others = np.zeros(CALL_WORDS, np.int64), np.zeros(threads - 1, np.int64)
    _fill(words, 0, threads, 0, arguments)
    at, words[AT_OTHERS] = address_of(words), address_of(others)
    try:
        places.keep()
        for thread in range(1, threads):
            helper = _helper(kernel)
            if helper.state()[1] == LOOKING:
                places.settle(helper)
            _fill(helper.words, thread, threads, LOOKS if places.enough else 0, arguments)
            helpers.append(helper)
            others[thread - 1], words[OTHERS] = helper.at, thread
        while kernel(at, number) == MISSED:
            for helper in helpers:
                if helper.state()[0] != number:  # those who were LOOKING have been called
                    helper.send(kernel, number, places)
    except BaseException:
        state[ABORTED] = 1
        raise
    finally:
        interrupt: BaseException | None = None
        while True:  # whatever interrupts: threads work in memory that the caller may free
            try:
                words[OVER] = 1
                kernel(at, number)
                break
            except KeyboardInterrupt as error:
                interrupt = error
        with _lock:
            _idle.extend(helpers)
        places.restore()
        if interrupt is not None:
            raise interrupt
