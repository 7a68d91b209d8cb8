"""A call of a kernel by several threads, as words in memory, through which one thread hands it to others.

A kernel is ``kernel(at_call, number)``: the address of its thread's words, and the number of the call. So a thread that
has done its part of one call can look for the next in compiled code, for a moment, and begins with it when it comes:
neither Python and its lock nor the system, which at once puts a core to sleep, have a part in that. Epochs of 24-8-2,
batch 200, on two threads: of 2,000 samples 0.21 ms when Python woke the second thread for each, and 0.12 so; of 100,000
samples 2.04 and 1.85.

A thread's `STATE` tells whose it is to change what is next:

- AWAY: it is in Python, and waits to be woken, or has yet to be started. Who has taken it makes it SENT, and wakes it.
- LOOKING: it will take a call that it sees in its words. Who has taken it makes it CALLED; itself, in the end, AWAY.
- SENT, CALLED: there is a call for it. It makes that WORKING; who has called it, and has nothing left to do, takes the
  call back: AWAY, or LOOKING.
- WORKING: it does its part, in memory that the caller keeps for so long. Then it is AWAY, or LOOKING.

Where two may change it, each swaps it for what it has seen: so a part is done once, or not at all, and who has called
knows when nobody works at it any more.
"""

import numpy as np

from fastnn.kernels.barrier import SPINS, load_long, pause, sleep_while, store_long, swap_long, wake_all
from fastnn.kernels.compiling import part
from fastnn.kernels.simd import words

AWAY, LOOKING, SENT, CALLED, WORKING = (np.int64(state) for state in range(5))
BITS = 3  # of a state; in the bits above is the number of the call that it is of

# int64 words, the first of them on a line of their own: others read it all the time. STATE; SLEEPER, whether the caller
# sleeps until it changes; which THREAD it is, of how many. Of the caller, number 0: the addresses of the others' words,
# how many they are, and whether the call is to be OVER. Of the others: how often each LOOKS for the next call.
STATE, SLEEPER = 0, 1
THREAD, THREADS, AT_OTHERS, OTHERS, OVER, LOOKS = 8, 9, 10, 11, 12, 13
ARGUMENTS, CALL_WORDS = 16, 40

MISSED = -1  # what a kernel returns that has nothing to do, or whose caller must first wake who is AWAY
WORD = 8  # bytes


def state_word(number: int, state: np.int64) -> int:
    """A state in a call."""
    return (number << BITS) + int(state)


@part
def _state(word):  # type: ignore[no-untyped-def]
    """The state in its word."""
    return word & ((1 << BITS) - 1)


@part
def _become(at, word, state):  # type: ignore[no-untyped-def]
    """Whether a thread's state was still `word`, and now is `state` in the same call."""
    return swap_long(at, word, word - _state(word) + state)


@part
def _call_others(call, number):  # type: ignore[no-untyped-def]
    """Whether all other threads have been called, now or before: those now that are LOOKING."""
    others, all_ = words(call[AT_OTHERS]), True
    for i in range(call[OTHERS]):
        word = load_long(others[i])
        if word >> BITS == number:
            continue
        if _state(word) != LOOKING or not swap_long(others[i], word, (number << BITS) + CALLED):
            all_ = False
    return all_


@part
def _end(call):  # type: ignore[no-untyped-def]
    """Return when nobody works any more; who has not begun will not."""
    others = words(call[AT_OTHERS])
    for i in range(call[OTHERS]):
        at, looks = others[i], 0
        while True:
            word = load_long(at)
            state = _state(word)
            if state in (AWAY, LOOKING):
                break
            if state in (SENT, CALLED):
                _become(at, word, AWAY if state == SENT else LOOKING)
            elif looks < SPINS:
                looks += 1
                pause(at)
            else:
                store_long(at + WORD * SLEEPER, 1)
                sleep_while(at, np.int32(word))
                store_long(at + WORD * SLEEPER, 0)


@part
def _be_done(at, state):  # type: ignore[no-untyped-def]
    """Let who waits for the end of this thread's part see it: nobody else changes a state of WORKING."""
    store_long(at, load_long(at) - WORKING + state)
    if load_long(at + WORD * SLEEPER):
        wake_all(at)


@part
def may_begin(at, number):  # type: ignore[no-untyped-def]
    """Whether this thread is to do its part of a call; if not, its kernel returns `MISSED`.

    Parameters
    ----------
    at : int
        The address of its words.
    number : int
        Of the call, by which a thread that comes late sees that it is over.
    """
    call = words(at)
    if call[THREAD] > 0:
        return _become(at, (number << BITS) + SENT, WORKING)
    if call[OVER]:
        _end(call)
        return False
    return _call_others(call, number)


@part
def leave(at):  # type: ignore[no-untyped-def]
    """Say that this thread has done its part, and returns to Python."""
    _be_done(at, AWAY)


@part
def again(at):  # type: ignore[no-untyped-def]
    """Whether there is one more call for this thread, which has done its part of one: its words tell which."""
    call = words(at)
    if call[THREAD] == 0:
        return False
    _be_done(at, LOOKING)
    looks = call[LOOKS]
    while True:
        word = load_long(at)
        called = _state(word) == CALLED
        if (called or looks <= 0) and _become(at, word, WORKING if called else AWAY):
            return called
        looks -= 1
        pause(at)
