"""Augmentation: a naive twin, pixel by pixel; independence of the batch; what each setting does; what is refused."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn import MLP
from fastnn import augment as module
from fastnn.augment import Augment
from fastnn.errors import ConfigError
from fastnn.rng import random_words
from tests.samples import BOTH

ALL = Augment(shift=2, rotate=30, scale=0.3, shear=20, noise=0.05, elastic=(8, 2))
IMAGE = (7, 6)


def blobs(count, image=IMAGE, seed=0, dtype=np.uint8):
    X = np.random.default_rng(seed).integers(0, 256, (count, image[0] * image[1]))
    return X.astype(np.uint8) if dtype == np.uint8 else (X / 255).astype(np.float32)


def uniforms(layer, units, sample, seed, epoch):
    words = random_words(seed, "augment", layer, epoch, np.array([sample]), units)[0]
    return words.astype(np.float64) / 2**31 - 1


def gaussian_by_hand(field, alpha, sigma):
    """Simard's smoothing, pixel by pixel, with a kernel whose weights add up to 1."""
    reach = range(-60, 61)
    total = sum(math.exp(-(d**2) / (2 * sigma**2)) for d in reach)
    weight = {d: math.exp(-(d**2) / (2 * sigma**2)) / total for d in reach}
    smooth = np.zeros_like(field)
    for r, c in np.ndindex(field.shape):
        for s, d in np.ndindex(field.shape):
            smooth[r, c] += alpha * weight[r - s] * weight[c - d] * field[s, d]
    return smooth


def pixel(picture, r, c):
    return picture[r, c] if 0 <= r < picture.shape[0] and 0 <= c < picture.shape[1] else 0.0


def naive(change, x, sample, image, seed, epoch):
    """One sample, one pixel at a time, in float64, before it is rounded."""
    (h, w), top = image, 255 if x.dtype == np.uint8 else 1
    u = uniforms(0, 6, sample, seed, epoch)
    a, lean = math.radians(change.rotate * u[2]), math.tan(math.radians(change.shear * u[3]))
    scale = np.diag(1 + change.scale * u[4:6])
    shear = np.array([[1, 0], [lean, 1]])
    rotation = np.array([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]])
    back = np.linalg.inv(rotation @ shear @ scale)
    centre = np.array([(h - 1) / 2, (w - 1) / 2])
    moved = np.zeros((2, h, w))
    if change.elastic:
        fields = uniforms(1, 2 * h * w, sample, seed, epoch).reshape(2, h, w)
        moved = np.array([gaussian_by_hand(field, *change.elastic) for field in fields])
    picture, result = x.reshape(image).astype(np.float64), np.zeros(image)
    for r, c in np.ndindex(image):
        y, x_ = back @ (np.array([r, c]) - centre - change.shift * u[:2]) + centre + moved[:, r, c]
        r0, c0 = math.floor(y), math.floor(x_)
        for dr, dc in np.ndindex(2, 2):
            share = (1 - abs(y - r0 - dr)) * (1 - abs(x_ - c0 - dc))
            result[r, c] += share * pixel(picture, r0 + dr, c0 + dc)
    if change.noise:
        even = h * w + h * w % 2
        v = (uniforms(2, even, sample, seed, epoch) + 1) / 2
        radius, angle = np.sqrt(-2 * np.log(v[: even // 2] + 2**-32)), 2 * np.pi * v[even // 2 :]
        z = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[: h * w]
        result += change.noise * top * z.reshape(image)
    return result.ravel()


ALONE = [
    Augment(shift=3),
    Augment(rotate=90),
    Augment(scale=0.5),
    Augment(shear=40),
    Augment(noise=0.1),
    Augment(elastic=(20, 3)),
    Augment(elastic=(2, 0.4)),
    ALL,
]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("image", [(7, 6), (1, 9), (5, 5)])
@pytest.mark.parametrize("change", ALONE, ids=["shift", "rotate", "scale", "shear", "noise", "elastic", "rough", "all"])
@pytest.mark.parametrize("how", [{}, {"backend": "fused"}, {"backend": "fused", "threads": 3}], ids=str)
def test_agrees_with_a_naive_twin(change, image, dtype, how):
    X, samples = blobs(6, image, dtype=dtype), np.array([5, 0, 59_999, 2, 3, 2**20])
    found = change.apply(X, samples, image, seed=2**40 + 7, epoch=3, **how)
    assert found.shape == X.shape
    assert found.dtype == dtype
    expected = np.array([naive(change, x, s, image, 2**40 + 7, 3) for x, s in zip(X, samples, strict=True)])
    # float32: places are right to 16 x 2^-24 or so times some operations, neighbours differ by at most the range
    slack = 1e-5 * (255 if dtype == np.uint8 else 1)
    if dtype == np.uint8:
        expected = np.clip(expected, 0, 255)
        slack += 0.5
    assert np.abs(found.astype(np.float64) - expected).max() <= slack


@settings(max_examples=40)
@given(
    rows=st.lists(st.integers(0, 39), min_size=1, max_size=60),
    dtype=st.sampled_from([np.uint8, np.float32]),
    change=st.sampled_from(ALONE),
    backend=st.sampled_from(BOTH),
    threads=st.integers(1, 3),
)
def test_a_sample_does_not_depend_on_the_rest_of_its_batch(rows, dtype, change, backend, threads):
    X = blobs(40, dtype=dtype)
    together = change.apply(X, np.arange(40), IMAGE, 1, 2, backend)
    np.testing.assert_array_equal(change.apply(X[rows], np.array(rows), IMAGE, 1, 2, backend, threads), together[rows])


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_backends_agree_on_large_images(dtype):
    """To the bit where nothing is smoothed: else sums in another order move a place by some 1e-5 pixels."""
    X, samples, image = blobs(9, (40, 33), dtype=dtype), np.arange(9) * 10**6, (40, 33)
    affine, warped = Augment(shift=2, rotate=30, scale=0.3, shear=20), Augment(rotate=9, elastic=(34, 4))
    one, other = (affine.apply(X, samples, image, 5, 1, backend, 2) for backend in BOTH)
    np.testing.assert_array_equal(one, other)
    one, other = (warped.apply(X, samples, image, 5, 1, backend, 2).astype(np.float64) for backend in BOTH)
    top = 255 if dtype == np.uint8 else 1
    assert np.abs(one - other).max() <= (1 if dtype == np.uint8 else 1e-3 * top)
    assert np.abs(one - other).mean() <= 1e-4 * top


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_sample_does_not_depend_on_where_the_work_is_cut(dtype, monkeypatch):
    X, samples = blobs(50, dtype=dtype), np.arange(50)
    whole = ALL.apply(X, samples, IMAGE, seed=1, epoch=2)
    for pixels in (1, 100, 42 * 49):  # one sample, two samples, all but one at a time
        monkeypatch.setattr(module, "PIXELS", pixels)
        np.testing.assert_array_equal(ALL.apply(X, samples, IMAGE, seed=1, epoch=2), whole)


def test_seed_epoch_and_sample_each_make_a_difference():
    X, samples = np.repeat(blobs(1), 4, axis=0), np.arange(4)
    base = ALL.apply(X, samples, IMAGE, seed=1, epoch=1)
    np.testing.assert_array_equal(ALL.apply(X, samples, IMAGE, seed=1, epoch=1), base)
    assert len(np.unique(base, axis=0)) == 4
    assert (ALL.apply(X, samples, IMAGE, seed=2, epoch=1) != base).any(axis=1).all()
    assert (ALL.apply(X, samples, IMAGE, seed=1, epoch=2) != base).any(axis=1).all()


def test_nothing_to_do_gives_back_the_same_array():
    X = blobs(3)
    assert Augment().apply(X, np.arange(3), None, 0, 0) is X


def test_the_original_is_never_written_to():
    for dtype in (np.uint8, np.float32):
        X = blobs(5, dtype=dtype)
        X.flags.writeable = False
        ALL.apply(X, np.arange(5), IMAGE, 0, 0)


def centre_of_mass(X, image):
    r, c = np.mgrid[: image[0], : image[1]].reshape(2, -1).astype(np.float64)
    mass = X.sum(axis=1)
    return np.stack([X @ r / mass, X @ c / mass], axis=1)


def test_shift_is_uniform_up_to_its_limit_in_both_directions():
    image, count = (15, 15), 2000
    X = np.zeros((count, 225), np.float32)
    X[:, 112] = 1  # the centre
    moved = centre_of_mass(Augment(shift=4).apply(X, np.arange(count), image, 0, 0), image) - 7
    # bilinear interpolation of one pixel keeps its place exactly; of 2000 draws the largest is within 1% of the limit
    for axis in (0, 1):
        assert 3.96 < moved[:, axis].max() <= 4 + 1e-5
        assert -3.96 > moved[:, axis].min() >= -4 - 1e-5
        assert abs(moved[:, axis].mean()) < 5 * (4 / math.sqrt(3)) / math.sqrt(count)
    assert abs(np.corrcoef(moved.T)[0, 1]) < 5 / math.sqrt(count)


@pytest.mark.parametrize(
    "change", [Augment(rotate=180), Augment(scale=0.9), Augment(shear=60)], ids=["rotate", "scale", "shear"]
)
def test_the_centre_stays_where_it_is(change):
    X = np.zeros((20, 99), np.float32)
    X[:, 49] = 1
    assert (change.apply(X, np.arange(20), (9, 11), 0, 0)[:, 49] > 0.999).all()


def test_elastic_displacement_is_as_large_as_simards():
    """A smoothed uniform field has a variance of 1/3 times 1 / (4 pi sigma^2): (34, 4) moves pixels by 1.4."""
    found = module.displacements(0, 0, np.arange(400), (41, 41), 34.0, 4.0)[:, :, 20, 20].astype(np.float64)
    expected = 34 / math.sqrt(3 * 4 * math.pi * 16)
    # 800 values: the standard deviation of a variance is sqrt(2 / 800) = 5%, that of a root half of it
    assert math.sqrt((found**2).mean()) == pytest.approx(expected, rel=5 * 0.025)
    assert abs(found.mean()) < 5 * expected / math.sqrt(800)


def test_noise_is_normal_with_the_given_spread_and_keeps_bytes_in_range():
    flat = np.full((300, 785), 0.5, np.float32)  # an odd number of values: the last pair is cut
    z = (Augment(noise=0.2).apply(flat, np.arange(300), None, 0, 0).astype(np.float64) - 0.5) / 0.2
    n = z.size  # moments of a normal: bounds of 5 standard deviations of each, sqrt(1, 2, 15, 96 / n)
    assert abs(z.mean()) < 5 / math.sqrt(n)
    assert abs((z**2).mean() - 1) < 5 * math.sqrt(2 / n)
    assert abs((z**3).mean()) < 5 * math.sqrt(15 / n)
    assert abs((z**4).mean() - 3) < 5 * math.sqrt(96 / n)
    grey = Augment(noise=0.2).apply(np.full((300, 784), 128, np.uint8), np.arange(300), None, 0, 0)
    assert grey.std() == pytest.approx(0.2 * 255, rel=0.02)
    for value in (0, 255):
        found = Augment(noise=0.2).apply(np.full((50, 784), value, np.uint8), np.arange(50), None, 0, 0)
        assert (found == value).mean() == pytest.approx(0.5, abs=0.02)  # half of the noise points outwards: no wrap


def test_one_setting_does_not_change_the_draws_of_another():
    X, samples = blobs(10, dtype=np.float32), np.arange(10)
    shifted = Augment(shift=2).apply(X, samples, IMAGE, 0, 0)
    noisy = Augment(shift=2, noise=0.1).apply(X, samples, IMAGE, 0, 0)
    alone = Augment(noise=0.1).apply(np.zeros_like(X), samples, None, 0, 0)
    np.testing.assert_allclose(noisy, shifted + alone, atol=1e-6)


@pytest.mark.parametrize("backend", BOTH)
@pytest.mark.parametrize("change", [ALL, Augment(shift=1)])
def test_no_samples_at_all(change, backend):
    assert change.apply(blobs(0), np.arange(0), IMAGE, 0, 0, backend).shape == (0, 42)


@pytest.mark.parametrize("view", [lambda X: X[::-1], lambda X: np.asfortranarray(X), lambda X: X[:, ::-1]])
def test_any_layout_in_memory_will_do(view):
    change, samples = Augment(shift=2, rotate=20), np.arange(5)
    X = view(blobs(5))
    one, other = (change.apply(X, samples, IMAGE, 1, 2, backend) for backend in BOTH)
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"shift": -1}, "shift of augment must be a number from 0"),
        ({"shift": math.inf}, "shift"),
        ({"rotate": 181}, "rotate of augment must be a number from 0 to 180"),
        ({"scale": 1}, "scale of augment must be a number at least 0 and below 1"),
        ({"shear": 90}, "shear"),
        ({"noise": math.nan}, "noise"),
        ({"noise": "much"}, "noise"),
        ({"elastic": (34,)}, "elastic of augment must be empty or two numbers"),
        ({"elastic": 34}, "elastic of augment must be empty or two numbers"),
        ({"elastic": (34, 0)}, "sigma of elastic"),
        ({"elastic": (-1, 4)}, "alpha of elastic"),
        ({"elastic": ("a", 4)}, "alpha of elastic"),
    ],
)
def test_bad_settings_are_refused_by_name(bad, message):
    with pytest.raises(ConfigError, match=message):
        Augment(**bad)


def test_a_list_is_as_good_as_a_pair():
    assert Augment(elastic=[34, 4]) == Augment(elastic=(34.0, 4.0))
    assert hash(Augment(elastic=[34, 4])) == hash(Augment(elastic=(34.0, 4.0)))


def test_an_image_that_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="42 values as images of 28 x 28"):
        ALL.apply(blobs(2), np.arange(2), (28, 28), 0, 0)
    with pytest.raises(ConfigError, match="--image HxW"):
        Augment(rotate=10).apply(blobs(2), np.arange(2), None, 0, 0)


def test_a_shift_that_can_move_an_image_out_of_sight_is_refused():
    with pytest.raises(ConfigError, match=r"shift of augment is 6 pixels, .* 7 x 6 out of sight; give less than 6"):
        Augment(shift=6).check(IMAGE, 42)
    Augment(shift=5.9).check(IMAGE, 42)
    Augment(noise=1).check(None, 42)
    net = MLP.from_sizes([42, 3])
    net.metadata["image"] = list(IMAGE)
    with pytest.raises(ConfigError, match="out of sight"):
        net.fit(blobs(4), [0, 1, 2, 0], augment=Augment(shift=6), backend="reference")
