"""The rows of the data that a batch is made of, for one thread. `job` are the job's words (kernels/plan.py)."""

from fastnn.kernels.compiling import part
from fastnn.kernels.plan import AT_X, INPUT
from fastnn.kernels.reading import BYTES
from fastnn.kernels.simd import words

FLOAT = 4  # bytes
# Bytes that the row to be fetched lies behind the present one: no CPU foresees the order of shuffled batches.
# Epochs of 784-30-10 on sparse input, batch 10, shuffled, one thread: 49 ms, with it 41. Past the end of the batch, on
# an Intel server: 40.1 ms, so 38.1, and in order 32.6 and 31.0.
AHEAD = 2048


@part
def row_bytes(job, inputs):  # type: ignore[no-untyped-def]
    """How long a row is."""
    return inputs * (1 if job[INPUT] == BYTES else FLOAT)


@part
def row_at(job, inputs, at_order, place):  # type: ignore[no-untyped-def]
    """The address of the row at a place of the order."""
    return job[AT_X] + words(at_order)[place] * row_bytes(job, inputs)


@part
def places_ahead(size):  # type: ignore[no-untyped-def]
    """How many places behind the present one the row stands that is fetched meanwhile, where rows have `size` bytes."""
    return 1 + AHEAD // size


@part
def later(job, inputs, place, last):  # type: ignore[no-untyped-def]
    """The place whose row is fetched while that of `place` is read; up to place `last`."""
    return min(place + places_ahead(row_bytes(job, inputs)), last - 1)
