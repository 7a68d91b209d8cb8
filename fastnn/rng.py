"""Counter-based randomness: a value depends on (seed, purpose, layer, epoch, sample, unit) alone.

So it is the same in both backends, for any number of threads, any batch size, and after a resume.
Bulk draws (initial weights, orders) come from NumPy's Philox generator; dropout and augmentation, which the kernels
draw value by value, from Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3",
SC 2011, section 3.3), written out here and once more in kernels/rows.py.
"""

import numpy as np

from fastnn.errors import ConfigError

# What a random number is for. The numbers are part of what a seed means: never reuse or renumber one.
PURPOSES = {"weights": 0, "shuffle": 1, "dropout": 2, "split": 3, "augment": 4}

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
LOW = np.uint64(0xFFFFFFFF)


def check_seed(seed: int) -> int:
    """Return `seed` as an int, or raise ConfigError if it is not a whole number from 0 to 2**64 - 1."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**64:
        raise ConfigError(f"a seed must be a whole number from 0 to 2**64 - 1, not {seed!r}")
    return int(seed)


def generator(seed: int, purpose: str, layer: int = 0, epoch: int = 0) -> np.random.Generator:
    """A NumPy generator that depends on its arguments alone (Philox, keyed by the seed, counter set by the rest)."""
    counter = np.array([0, epoch, layer, PURPOSES[purpose]], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=check_seed(seed), counter=counter))


def philox4x32(counter: tuple[np.ndarray, ...], key: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """Philox4x32-10 on arrays: four words of counter and two of key in, four random words out.

    Parameters
    ----------
    counter : 4 arrays of uint64, broadcastable, each value below 2**32
    key : 2 ints below 2**32

    Returns
    -------
    4 arrays of uint64, each value below 2**32
    """
    c0, c1, c2, c3 = counter
    k0, k1 = np.uint64(key[0]), np.uint64(key[1])
    shift = np.uint64(32)
    for _ in range(ROUNDS):
        first, second = np.uint64(MULTIPLIERS[0]) * c0, np.uint64(MULTIPLIERS[1]) * c2
        c0, c1, c2, c3 = (second >> shift) ^ c1 ^ k0, second & LOW, (first >> shift) ^ c3 ^ k1, first & LOW
        k0, k1 = (k0 + np.uint64(WEYL[0])) & LOW, (k1 + np.uint64(WEYL[1])) & LOW
    return c0, c1, c2, c3


def random_words(seed: int, purpose: str, layer: int, epoch: int, samples: np.ndarray, units: int) -> np.ndarray:
    """One random 32-bit word for each sample and unit.

    Parameters
    ----------
    samples : int array (B,)
        Row numbers in the training data (so a draw does not depend on the batch it falls in).
    units : int
        How many words a sample gets.

    Returns
    -------
    uint32 array (B, units)
        Word ``u`` of a sample is output ``u % 4`` of the counter ``(u // 4, sample, epoch, purpose << 16 | layer)``.
    """
    blocks = np.arange(-(-units // 4), dtype=np.uint64)[None, :]
    rows = np.asarray(samples).astype(np.uint64)[:, None]
    counter = (blocks, rows, np.array(epoch, np.uint64), np.array(PURPOSES[purpose] << 16 | layer, np.uint64))
    words = philox4x32(counter, (seed & 0xFFFFFFFF, seed >> 32))
    return np.stack(words, axis=-1).astype(np.uint32).reshape(rows.size, -1)[:, :units]


def drop_threshold(rate: float) -> int:
    """The 32-bit word below which a value is dropped: a word is below it with probability `rate`."""
    return min(int(rate * 2**32), 2**32 - 1)


def dropout_mask(seed: int, layer: int, epoch: int, samples: np.ndarray, units: int, rate: float) -> np.ndarray:
    """Which values dropout keeps.

    Returns
    -------
    bool array (B, units)
        True where the value is kept.
    """
    return random_words(seed, "dropout", layer, epoch, samples, units) >= np.uint32(drop_threshold(rate))
