import numpy as np
import pytest

from fastnn import rng
from fastnn.errors import ConfigError

MASK = 2**32 - 1

# Known answers of philox4x32-10 from the Random123 library (tests/kat_vectors): counter, key, words.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((MASK,) * 4, (MASK,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_philox_gives_the_known_answers(counter: tuple, key: tuple, words: tuple) -> None:
    arrays = tuple(np.array([c, c], np.uint64) for c in counter)
    assert [word.tolist() for word in rng.philox4x32(arrays, key)] == [[word] * 2 for word in words]


def philox(counter: list[int], key: list[int]) -> list[int]:
    """Philox4x32-10 with Python's whole numbers."""
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * counter[0], 2**32)
        high1, low1 = divmod(0xCD9E8D57 * counter[2], 2**32)
        counter = [high1 ^ counter[1] ^ key[0], low1, high0 ^ counter[3] ^ key[1], low0]
        key = [(key[0] + 0x9E3779B9) & MASK, (key[1] + 0xBB67AE85) & MASK]
    return counter


def test_a_word_is_where_the_docstring_says() -> None:
    """It is part of what a seed means, and the fused kernels rely on it."""
    seed, samples = 0x0123456789ABCDEF, np.array([7, 0, 4_000_000_000])
    words = rng.random_words(seed, "dropout", 3, 11, samples, 10)
    assert words.shape == (3, 10)
    assert words.dtype == np.uint32
    for i, sample in enumerate(samples.tolist()):
        for unit in range(10):
            counter = [unit // 4, sample, 11, 2 << 16 | 3]
            assert words[i, unit] == philox(counter, [seed & MASK, seed >> 32])[unit % 4]


def test_the_numbers_of_the_purposes_are_kept() -> None:
    expected = {"weights": 0, "shuffle": 1, "dropout": 2, "split": 3, "augment": 4}
    assert expected.items() <= rng.PURPOSES.items()
    assert len(set(rng.PURPOSES.values())) == len(rng.PURPOSES)


def test_a_mask_depends_on_the_sample_and_not_on_its_batch() -> None:
    samples = np.array([5, 900, 13, 2])
    whole = rng.dropout_mask(1, 0, 2, samples, 9, 0.5)
    assert np.array_equal(rng.dropout_mask(1, 0, 2, samples[::-1], 9, 0.5), whole[::-1])
    assert np.array_equal(rng.dropout_mask(1, 0, 2, samples[1:2], 9, 0.5), whole[1:2])
    assert np.array_equal(rng.dropout_mask(1, 0, 2, samples, 4, 0.5), whole[:, :4])


def test_masks_differ_by_seed_layer_epoch_and_sample() -> None:
    keys = [(s, layer, e, n) for s in (0, 1, 2**63) for layer in (0, 1) for e in (0, 1) for n in (0, 1)]
    masks = {tuple(rng.dropout_mask(s, layer, e, np.array([n]), 64, 0.5)[0]) for s, layer, e, n in keys}
    assert len(masks) == len(keys)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_share_of_dropped_values_is_the_rate(rate: float) -> None:
    kept = rng.dropout_mask(3, 1, 0, np.arange(2000), 100, rate)
    bound = 5 * np.sqrt(rate * (1 - rate) / kept.size)  # five standard deviations of a binomial share
    assert abs(1 - kept.mean() - rate) < bound
    columns = 5 * np.sqrt(rate * (1 - rate) / len(kept))
    assert np.abs(1 - kept.mean(axis=0) - rate).max() < columns


def test_thresholds() -> None:
    assert rng.drop_threshold(0.0) == 0
    assert rng.drop_threshold(0.25) == 2**30
    assert rng.drop_threshold(np.nextafter(1, 0)) == 2**32 - 1  # fits 32 bits


def test_generators_are_the_same_for_the_same_arguments_alone() -> None:
    def draw(*arguments: object) -> tuple[float, ...]:
        return tuple(rng.generator(*arguments).random(4))  # type: ignore[arg-type]

    assert draw(7, "weights", 1, 2) == draw(7, "weights", 1, 2)
    keys = [(s, p, layer, e) for s in (0, 7) for p in rng.PURPOSES for layer in (0, 1) for e in (0, 1)]
    assert len({draw(*key) for key in keys}) == len(keys)


@pytest.mark.parametrize("seed", [0, 2**64 - 1, np.int64(5), np.uint64(2**63)])
def test_seeds(seed: int) -> None:
    assert rng.check_seed(seed) == int(seed)
    assert type(rng.check_seed(seed)) is int
    rng.generator(seed, "weights")


@pytest.mark.parametrize("seed", [-1, 2**64, 1.0, "1", None, True])
def test_no_seeds(seed: object) -> None:
    with pytest.raises(ConfigError, match="seed must be a whole number"):
        rng.check_seed(seed)  # type: ignore[arg-type]
