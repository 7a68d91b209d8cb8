"""What the rows of a job's data are, and whether a first layer reads only those of their values that are not zero."""

import numpy as np

from fastnn.data.compressed import Compressed
from fastnn.kernels import cost
from fastnn.kernels.job import Job
from fastnn.kernels.reading import BYTES, FLOATS, LISTS
from fastnn.layers import LANES as PANEL
from fastnn.rng import drop_threshold

SMALL_ROOM = 2**20  # values of a batch for which nobody counts how many are not zero


def input_of(X: np.ndarray | Compressed) -> int:
    """What rows are of."""
    if isinstance(X, Compressed):
        return LISTS
    return BYTES if X.dtype == np.uint8 else FLOATS


def sparse(job: Job, batch: int) -> bool:
    """Whether the first layer reads only the values that are not zero."""
    net, examples = job.architecture, job.examples
    if isinstance(examples.X, Compressed):
        return True
    # a shift turns zeros into other numbers, and dropout on the input draws for each value: both want dense rows
    if net.shifts or drop_threshold(net.dropout[0]):
        return False
    return cost.sparse_pays(examples.find_density(), net.widths[1]) and room(job, batch) <= cost.LIST_ROOM


def room(job: Job, batch: int) -> int:
    """How many non-zero values a batch can have at most, and some to spare. What is not written takes no memory."""
    examples = job.examples
    if batch * job.architecture.widths[0] <= SMALL_ROOM:  # so nothing has to be counted
        return batch * job.architecture.widths[0] + PANEL
    if examples.longest is None:
        X = examples.X
        examples.longest = X.longest if isinstance(X, Compressed) else longest_row(X)
    return batch * examples.longest + PANEL


def longest_row(X: np.ndarray) -> int:
    """The most non-zero values that a row has."""
    some = max(1, 2**20 // X.shape[1])
    return max((int(np.count_nonzero(X[at : at + some], axis=1).max()) for at in range(0, len(X), some)), default=0)
