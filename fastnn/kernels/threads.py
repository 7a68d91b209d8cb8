"""How many threads a fit uses: no more than this process may run on, nor than its steps give work to."""

import math
import os
from itertools import pairwise
from pathlib import Path

from fastnn.errors import ConfigError
from fastnn.layers import LANES as PANEL
from fastnn.layers import Architecture
from fastnn.rng import drop_threshold

# Multiply-adds of a step, of inputs not zero, that make another thread worth what cores have to exchange: inputs
# and deltas, and the weights that the other one has changed. Where all weights are exchanged, each must be used by some
# samples too. In brackets, thousands of multiply-adds of a step, and the time of two threads by that of one:
# by samples, all weights exchanged: 32-16-2, batch 32 [13, 1.24]; 32-64-64-4, batch 32 [205, 0.90];
# by units of a dense first layer: 64-32-4, batch 16 [35, 1.06]; 100-50-10, batch 16 [90, 0.83]; 784-30-10, batch 10
# [238, 0.66]; 784-300-10, batch 2 [476, 0.62] and 8 [1900, 0.59];
# by units of a sparse one: 784-30-10, batch 10 [48, 0.85]; 784-128-10, batch 10 [200, 0.74];
# by pieces: 24-8-2, batch 200 [42, 0.80]; 32-16-2, batch 128 [72, 0.77].
WORTH_A_THREAD = 100_000
SAMPLES_WORTH_A_THREAD = 8
WORTH_UNITS = 50_000
WORTH_A_PART = 20_000  # by units of a sparse layer or by pieces
# Samples of a piece, at least, where a batch has two of them; where it has more; and pieces of a batch at most. Fewer
# gradients are less to exchange, and less is begun and ended. With four pieces of 64, and two of 128, epochs on one and
# two threads: 32-64-64-4, batch 256, 30.7 and 24.5 ms, so 28.1 and 17.6; 24-8-2, batch 256, 2.2 and 1.86, so 2.0 and
# 1.76.
PIECE, LARGER, PIECES = 64, 128, 8
ROWS_A_SAMPLE = 16  # of a panel: as long as a sample takes on sparse input, so many are cleared and added up

# Inputs of a batch that each thread takes for itself, where threads share the units of a dense first layer: they then
# exchange its outputs, else its weights. Time of two threads so, by that of sharing samples: 784-300-10, batch 100
# 0.86, 256 and 512 0.97; 784-128-10, batch 32 0.76, 100 0.90; 784-30-10, batch 10 0.65. More do not stay in a cache.
OWN_INPUTS = 2**20

SPARSE = 0.5  # density up to which the first layer likely reads only what is not zero, which mostly knows no pieces

UNLIMITED = 2**30


def bounds() -> dict[str, int]:
    """What bounds the CPUs of this process: affinity, the container's quota, OMP_NUM_THREADS; those that are set."""
    found = {"affinity": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1}
    if (quota := _quota()) < UNLIMITED:
        found["quota"] = quota
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if wanted.isdecimal() and int(wanted) > 0:
        found["OMP_NUM_THREADS"] = int(wanted)
    return found


def available() -> int:
    """CPUs that this process may use: the least of its `bounds`."""
    return max(1, min(bounds().values()))


def _quota() -> int:
    """The container's share of CPU time in whole CPUs (Linux control groups 2, then 1); large if none is set."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            group = Path("/sys/fs/cgroup/cpu")
            quota = (group / "cpu.cfs_quota_us").read_text().strip()
            period = (group / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return UNLIMITED
    if not quota.isdecimal() or not period.isdecimal() or int(period) == 0:
        return UNLIMITED  # "max", or -1
    return max(1, math.ceil(int(quota) / int(period)))


def is_narrow(architecture: Architecture, batch_size: int) -> bool:
    """Whether samples lie side by side, not units, when a dense net trains (kernels/narrow.py): in fewer vectors.

    Not where a batch too small for several pieces is work for several threads. Counted are the multiply-adds of vectors
    of 16, forward, backward and for gradients; of few units, or few samples, most lanes are empty. What else either way
    takes is about as much: by samples 24-8-2 took 0.93 of the time by units at batch 8 (0.81 by this count) and 0.73
    at batch 16; 24-16-16-16 the same, which it is. All outputs of a layer must fit a panel.
    """
    widths = architecture.widths
    if max(widths[1:]) > PANEL or any(drop_threshold(rate) for rate in architecture.dropout):
        return False
    if most_pieces(batch_size) == 1 and not _one_piece_is_enough(architecture, batch_size):
        return False
    by_units = by_samples = 0
    for layer, (below, above) in enumerate(pairwise(widths)):
        back = layer > 0
        by_units += 2 * (below + 1) + back * above * -(-below // PANEL)
        by_samples += (2 * (below + 1) + back * below) * above
    return -(-batch_size // PANEL) * by_samples < batch_size * by_units


def most_pieces(batch_size: int, samples: int = LARGER) -> int:
    """How many pieces a batch can have, a power of two; of `samples` samples at least, if there are more than two."""
    number = max(batch_size // samples, min(batch_size // PIECE, 2), 1)
    return min(1 << number.bit_length() - 1, PIECES)


def _one_piece_is_enough(architecture: Architecture, batch_size: int) -> bool:
    """Whether a batch that can have but one piece gives work to one thread: others would have nothing to do."""
    return batch_size * architecture.parameters < 2 * WORTH_A_THREAD


def pieces(architecture: Architecture, batch_size: int, sparse: bool = False) -> int:
    """How many pieces of a batch have gradients of their own, which are added up at the end; 0: none, one sum for all.

    Where the parameters are few, their partial gradients, even of many pieces, are less for the cores to exchange than
    the inputs and deltas of all layers. Narrow nets (`is_narrow`) have at least one. No thread counts here: the pieces
    decide how a sum is rounded. Of a first layer on sparse input one panel is no work to share by units: it has pieces
    where the samples are more work than to add up its rows. An iteration of 784-10-10 over 41,000 digits, two threads:
    35 ms, and 11 so.
    """
    number, smallest = most_pieces(batch_size), most_pieces(batch_size, PIECE)
    if sparse:
        worth_it = number > 1 and smallest * architecture.widths[0] <= ROWS_A_SAMPLE * batch_size
        return number if architecture.widths[1] <= PANEL and worth_it else 0
    values = PANEL * sum(-(-(below + 1) // PANEL) - (-above // PANEL) for below, above in pairwise(architecture.widths))
    if is_narrow(architecture, batch_size):
        return number
    return number if number > 1 and smallest * architecture.size < batch_size * values else 0


def shares_units(architecture: Architecture, batch_size: int) -> bool:
    """Whether threads share the units of a dense first layer, not the samples; each then takes all inputs for itself.

    Not where it would draw a mask for them.
    """
    return (
        batch_size * architecture.widths[0] <= OWN_INPUTS
        and not drop_threshold(architecture.dropout[0])
        and not pieces(architecture, batch_size)
    )


def resolve(
    threads: int | str, architecture: Architecture, batch_size: int, density: float = 1.0, forward: bool = False
) -> int:
    """The number of threads to use.

    Parameters
    ----------
    threads : int or "auto"
        "auto": by the work in a step and the CPUs that are available.
    architecture : Architecture
    batch_size : int
    density : float
        The share of the inputs that are not zero.
    forward : bool
        Whether nothing is trained: then threads share samples alone.

    Raises
    ------
    ConfigError
        Neither "auto" nor a whole number of at least 1.
    """
    if threads == "auto":
        first = architecture.widths[0] * architecture.widths[1]
        work = batch_size * (architecture.parameters - (1 - density) * first)
        count = min(batch_size // SAMPLES_WORTH_A_THREAD, int(work) // WORTH_A_THREAD)
        panels = -(-architecture.widths[1] // PANEL)
        if forward:
            return min(available(), count) if count > 1 else 1  # to ask what is available takes 50 us
        if density <= SPARSE:
            count = max(count, min(panels, int(work) // WORTH_A_PART))
        elif number := pieces(architecture, batch_size):
            count = min(number, int(work) // WORTH_A_PART)
        elif shares_units(architecture, batch_size):
            count = max(count, min(panels, int(work) // WORTH_UNITS))
        return max(1, min(available(), count))
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= 1024:
        raise ConfigError(f'threads must be "auto" or a whole number from 1 to 1024, not {threads!r}')
    return threads
