"""The rows of the data that a batch is made of, for one thread. `job` are the job's words (kernels/plan.py)."""

from fastnn.kernels.compiling import part
from fastnn.kernels.plan import AHEAD, AT_X, INPUT
from fastnn.kernels.reading import BYTES
from fastnn.kernels.simd import words

FLOAT = 4  # bytes


@part
def row_bytes(job, inputs):  # type: ignore[no-untyped-def]
    """How long a row is."""
    return inputs * (1 if job[INPUT] == BYTES else FLOAT)


@part
def row_at(job, inputs, at_order, place):  # type: ignore[no-untyped-def]
    """The address of the row at a place of the order."""
    return job[AT_X] + words(at_order)[place] * row_bytes(job, inputs)


@part
def later(job, place, last):  # type: ignore[no-untyped-def]
    """The place whose row is fetched while that of `place` is read; up to place `last`."""
    return min(place + job[AHEAD], last - 1)
