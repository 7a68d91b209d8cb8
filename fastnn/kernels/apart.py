"""A first layer's parameters in another order: each group of its units by itself.

On dense input a group is a panel, whose rows then follow each other, as the tiles read them. On sparse input a CPU
fetches the lines before and after those that are asked for. Where threads have the units of a row by turns, each
so takes away what another one is about to change.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from fastnn.kernels.job import Job
from fastnn.layers import aligned_zeros


@dataclass
class Apart:
    """A place for the first layer's parameters, and for the optimiser's state of them.

    784-128-10 on sparse input, two threads, batch 10 and 32: 103 and 77 ms an epoch; in the flat buffers 212 and 105.
    784-300-10 on dense input, batch 100, two threads: units shared out and apart 0.86 of the time.

    Parameters
    ----------
    places : int64 array (groups, 2)
        Where a group's row 0 begins in `room`, and the floats from row to row.
    room : float32 array (1 + slots, (I + 1) O)
        Of the parameters and of each slot of the state; O rounded up to whole panels.
    """

    places: np.ndarray
    room: np.ndarray

    @classmethod
    def of(cls, widths: list[int], rows: int, slots: int) -> "Apart":
        """Room for groups of these widths."""
        begins = rows * np.cumsum([0, *widths])
        room = aligned_zeros(slots * int(begins[-1])).reshape(slots, -1)
        return cls(np.column_stack([begins[:-1], widths]), room)

    @contextmanager
    def moved(self, job: Job) -> Iterator[bool]:
        """What stands in the flat buffers is here for a while; whatever happens, it is back in the end."""
        rows, stride = job.architecture.widths[0] + 1, job.architecture.strides[0]
        pairs = []
        for flat, own in zip((job.parameters, *job.state), self.room, strict=True):
            columns = np.split(flat[: rows * stride].reshape(rows, stride), np.cumsum(self.places[:-1, 1]), axis=1)
            for (begin, width), there in zip(self.places, columns, strict=True):
                pairs.append((own[begin : begin + rows * width].reshape(rows, width), there))
        for here, there in pairs:
            here[...] = there
        try:
            yield True
        finally:
            bring_back(pairs)


def bring_back(pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Copy each first array to its second, all of them, whatever interrupts."""
    interrupt: BaseException | None = None
    while pairs:
        try:
            here, there = pairs[-1]
            there[...] = here
            pairs.pop()
        except KeyboardInterrupt as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt
