"""What a call of the compiled step consists of: the phases of each step, and their granules, which threads claim.

`job` are the job's words (kernels/plan.py).
"""

from fastnn.kernels.compiling import part
from fastnn.kernels.plan import (
    AT_GRANULES,
    AT_NUMBERS,
    AT_REPLICAS,
    BLOCK,
    BLOCKS,
    CLIP_NORM,
    FINEST,
    GRANULE_WORDS,
    GRANULES,
    GROUPS,
    HALVES,
    PAIRS_BELOW,
    PIECES,
    SPARSE,
)
from fastnn.kernels.simd import doubles, words

WORD = 8  # bytes

PREDICT, SCORE, GRADIENT, TRAIN = 0, 1, 2, 3  # what a call of the compiled function does
UNITS, SAMPLES, BELOW, ROWS, STORED = 0, 1, 2, 3, 4  # the kinds of phases, in the order of a step
KINDS = 5
BOTH = 3  # halves of the columns, one a bit; where there are other blocks, all of them
EACH = 4  # granules of samples for each of several threads, at most


@part
def stores(job, mode):  # type: ignore[no-untyped-def]
    """Whether the gradient is stored: where it is asked for, and where its norm must be known before it is applied."""
    return mode == GRADIENT or (mode == TRAIN and doubles(job[AT_NUMBERS])[CLIP_NORM] > 0)


@part
def by_units(job, mode, threads):  # type: ignore[no-untyped-def]
    """Whether the first layer has a phase of its own, in which units are claimed.

    That needs units for all threads: else each thread does its samples.
    """
    return mode >= GRADIENT and 1 < threads <= job[GROUPS]


@part
def at_once(job, mode, threads):  # type: ignore[no-untyped-def]
    """Whether a step is one phase, in which threads have weights of their own (kernels/replicas.py)."""
    return mode == TRAIN and threads > 1 and job[AT_REPLICAS] != 0


@part
def granules(job, kind, mode, size, threads):  # type: ignore[no-untyped-def]
    """How many granules a phase has: with 0 there is none of this kind in a step."""
    if kind == UNITS:
        return job[GROUPS] * (1 if job[SPARSE] else HALVES) if by_units(job, mode, threads) else 0
    if kind == BELOW:
        return job[PAIRS_BELOW] if by_units(job, mode, threads) else 0
    if kind == SAMPLES and mode >= GRADIENT and job[PIECES]:
        return job[PIECES]
    if kind == SAMPLES:
        if threads == 1:
            return (size + BLOCK - 1) // BLOCK
        return max(min(threads, size), min(EACH * threads, size // job[FINEST]))
    return job[GRANULES] if mode >= GRADIENT and (kind == ROWS or (mode == TRAIN and stores(job, mode))) else 0


@part
def granules_at_once(job, kind, step):  # type: ignore[no-untyped-def]
    """The same where a step is one phase: of pieces, or of halves of the columns.

    Z of the first layer, but of the first step, is made in the step before.
    """
    if job[PIECES]:
        return job[PIECES] if kind == SAMPLES else 0
    return job[BLOCKS] if kind == ROWS or (kind == UNITS and step == 0) else 0


@part
def granule_of(job, number):  # type: ignore[no-untyped-def]
    """The words of a granule of rows."""
    return words(job[AT_GRANULES] + WORD * GRANULE_WORDS * number)
