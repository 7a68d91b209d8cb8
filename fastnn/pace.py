"""How many steps a fit takes at a time, and on how many threads.

The best number of threads is no property of a net alone: beside busy programs, or while the host of a virtual machine
keeps two CPUs far from each other, a second thread can cost more than it brings. On such a machine an epoch of
784-30-10, batch 10, took 29 ms on two threads or 96, by the minute, and always 34 on one. No result depends on the
number, so it may change at any time.
"""

SLICE_SECONDS = 0.2  # of steps between two looks at Ctrl-C and the progress bar
TRIAL_SECONDS = 0.02  # of steps on the other number of threads: what begins and ends a slice takes 0.2 ms
LONGEST_STEP = 0.05  # on one thread, as it is guessed, with which a trial is made: it takes one step at least
FIRST_WAIT, LONGEST_WAIT = 8, 256  # slices until it is tried: twice as many after each trial that it lost
WORSE = 1.25  # times the best that it was: then it is tried at once
# Share of the present number's time that the other one must take to take over: times of a busy machine scatter by a
# third, so one thread must be much better, or a little in so many trials running, which then follow soon; and the first
# number comes back if it is no worse. On cores that take 130 ns to exchange a word, an epoch of 24-8-2 took 2.8 to 3.2
# ms on two threads and 2.4 on one.
LEAVE, RETURN = 0.75, 1.0
LITTLE, RUNNING, SOON = 0.95, 3, 2


class Pace:
    """Steps and threads of the next slice, from the times of those before.

    Parameters
    ----------
    threads : int
        To begin with.
    adapts : bool
        Whether one thread is tried as well, now and then.
    """

    def __init__(self, threads: int, adapts: bool):
        self.threads, self.steps = threads, 1
        self.others = {threads: 1, 1: threads} if adapts and threads > 1 else {}
        self._level = self._last = self._best = float("inf")  # seconds of a step on this number: of late, last, ever
        self._other = 0.0  # of a step on the other number, when it was tried last
        self._usual = 1  # steps of the last slice on this number
        self._won = 0  # trials running in which one thread was a little better
        self._wait = self._left = FIRST_WAIT

    def next(self) -> tuple[int, int]:
        """The threads and the steps of the next slice."""
        if not self.others or self._left > 0:
            return self.threads, self.steps
        return self.others[self.threads], max(1, min(self.steps, int(TRIAL_SECONDS / (self._other or self._level))))

    def took(self, threads: int, steps: int, seconds: float) -> None:
        """Account for a slice."""
        each = max(seconds, 1e-6) / steps
        if threads == self.threads:
            self.steps = max(1, min(16 * steps, int(SLICE_SECONDS / each)))
            # one slow slice tells nothing: the better one of two counts
            self._level, self._last, self._usual = min(each, self._last), each, steps
            if self._level > WORSE * self._best:
                self._left = 0
            elif threads == 1 or threads * each < LONGEST_STEP:  # else a step on one thread would be a long trial
                self._left -= 1
            self._best = min(self._best, each)
            return
        if steps < min(self.next()[1], self._usual):  # the end of an epoch has cut it short: it tells little
            self._left = 1
            return
        self._won = self._won + 1 if each < self._level * LITTLE else 0
        if each < self._level * (LEAVE if threads == 1 else RETURN) or self._won == RUNNING:
            self.threads, self._other, self._wait, self._won = threads, self._level, FIRST_WAIT, 0
            self._level = self._last = self._best = each
        else:
            self._other, self._best = each, self._level  # worse than it was, it may be, but still the better one
            self._wait = self._wait if self._won else min(2 * self._wait, LONGEST_WAIT)
        self._left = SOON if self._won else self._wait
