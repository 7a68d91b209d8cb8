"""Augmentation: each epoch sees every training image a little shifted, turned, stretched, warped or noisy.

B samples of I = h w pixels; coordinates are (row, column), in pixels from the centre of the image. All of the geometry
is one bilinear resampling. What happens to a sample depends on (seed, epoch, sample) alone.

Sources: [Simard] Simard, Steinkraus, Platt: "Best practices for convolutional neural networks applied to visual
document analysis", ICDAR 2003. [Ciresan] Ciresan, Meier, Gambardella, Schmidhuber: "Deep, big, simple neural nets
for handwritten digit recognition", Neural Computation 22, 2010.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.errors import ConfigError
from fastnn.rng import PURPOSES, random_words
from fastnn.settings import BELOW_ONE, Range, Settings, checked, setting

AMOUNT = Range("from 0 to 1000000", lambda value: 0 <= value <= 1e6)
HALF_TURN = Range("from 0 to 180", lambda value: 0 <= value <= 180)
BELOW_UPRIGHT = Range("at least 0 and below 90", lambda value: 0 <= value < 90)
WIDTH = Range("from 0.1 to 1000", lambda value: 0.1 <= value <= 1000)

# Which draw a random number is for (the `layer` of `random_words`). They are part of what a seed means.
AFFINE, ELASTIC, NOISE = 0, 1, 2

PIXELS = 1 << 17  # worked on at a time: bounds the memory, and stays in the cache


@dataclass(frozen=True)
class Augment(Settings):
    """How far training images are changed: each number is the largest of a uniform draw, both ways, unless said.

    Parameters
    ----------
    shift : float
        Pixels, along rows and along columns independently; from 0 to 1e6.
    rotate : float
        Degrees about the centre; from 0 to 180.
    scale : float
        Share of the size, of height and of width independently ([Ciresan]); at least 0, below 1.
    shear : float
        Degrees by which upright lines lean; at least 0, below 90.
    noise : float
        Standard deviation of normal noise on each value, as a share of the range of values: 255 of uint8, 1 of float32.
    elastic : () or (alpha, sigma)
        [Simard] section 2: each pixel is displaced, along rows and columns, by alpha times a random field (uniform from
        -1 to 1 at each pixel) smoothed by a Gaussian of sigma pixels (from 0.1 to 1000). (34, 4) suits MNIST.

    Raises
    ------
    ConfigError
        A setting out of its range.
    """

    name = "augment"

    shift: float = setting(0.0, AMOUNT)
    rotate: float = setting(0.0, HALF_TURN)
    scale: float = setting(0.0, BELOW_ONE)
    shear: float = setting(0.0, BELOW_UPRIGHT)
    noise: float = setting(0.0, AMOUNT)
    elastic: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        pair: Any = self.elastic
        if not isinstance(pair, (tuple, list)) or len(pair) not in (0, 2):
            raise ConfigError(f"elastic of augment must be empty or two numbers, alpha and sigma, not {pair!r}")
        parts = zip(pair, (AMOUNT, WIDTH), ("alpha", "sigma"), strict=False)
        values = tuple(checked(value, allowed, f"{part} of elastic of augment") for value, allowed, part in parts)
        object.__setattr__(self, "elastic", values)

    @property
    def moves(self) -> bool:
        """Whether pixels are moved, which only images have."""
        return any((self.shift, self.rotate, self.scale, self.shear, self.elastic))

    def apply(
        self,
        X: np.ndarray,
        samples: np.ndarray,
        image: tuple[int, int] | None,
        seed: int,
        epoch: int,
        backend: str = "reference",
        threads: int = 1,
    ) -> np.ndarray:
        """Change some samples; a pure function.

        Parameters
        ----------
        X : uint8 or float32 array (B, I)
            Raw values, row by row of each image. It is not written to.
        samples : int array (B,)
            Their row numbers in the training data.
        image : (int, int) or None
            Height h and width w; None is enough where there is only noise.
        seed, epoch : int
            With the row number, what the draw depends on.
        backend : "reference" or "fused"
            Plain NumPy, or the compiled twin (kernels/warp.py).
        threads : int
            Of the fused backend.

        Returns
        -------
        array (B, I) of X's dtype
            `X` itself if there is nothing to change. What comes from outside an image is 0; uint8 is rounded, and kept
            within 0 and 255.

        Raises
        ------
        ConfigError
            The image's shape is missing, or is not that of I pixels.
        """
        if self == Augment():
            return X
        moved = self._moved(image, X.shape[1])
        changed = np.empty_like(X)
        fused = moved is not None and backend == "fused"
        size = max(1, len(X) if fused and not self.noise else PIXELS // X.shape[1])
        for start in range(0, len(X), size):
            part = slice(start, start + size)
            if fused and moved is not None:
                values = self._warped(X[part], samples[part], moved, seed, epoch, threads)
            else:
                values = X[part].astype(np.float32)
            if moved and not fused:
                rows, columns = self._sources(samples[part], moved, seed, epoch)
                values = resample(values.reshape(-1, *moved), rows, columns).reshape(len(values), -1)
            if self.noise:
                spread = self.noise * (255 if X.dtype == np.uint8 else 1)
                values += np.float32(spread) * normals(seed, epoch, samples[part], X.shape[1])
            if X.dtype == np.uint8 != values.dtype:
                values = np.clip(np.rint(values), 0, 255)
            changed[part] = values
        return changed

    def check(self, image: tuple[int, int] | None, inputs: int) -> None:
        """See whether samples can sensibly be changed as images of this shape.

        Parameters
        ----------
        image : (int, int) or None
            Height and width.
        inputs : int
            Features of a sample.

        Raises
        ------
        ConfigError
            They are no such images, or a shift can move one out of sight.
        """
        moved = self._moved(image, inputs)
        if moved is not None and self.shift >= min(moved):
            raise ConfigError(
                f"shift of augment is {self.shift:g} pixels, which can move an image of {moved[0]} x {moved[1]} out of "
                f"sight; give less than {min(moved)}"
            )

    def _warped(
        self, X: np.ndarray, samples: np.ndarray, image: tuple[int, int], seed: int, epoch: int, threads: int
    ) -> np.ndarray:
        """What the fused backend makes of images: of bytes, bytes if no noise is to come."""
        from fastnn.kernels import warp

        X = np.ascontiguousarray(X, X.dtype if X.dtype == np.uint8 else np.float32)  # the kernel takes addresses
        matrix, offset = self._inverse_maps(samples, seed, epoch)
        maps = np.concatenate([matrix.reshape(-1, 4), offset], axis=1)
        out = np.empty(X.shape, np.float32 if self.noise else X.dtype)
        purpose = PURPOSES["augment"] << 16 | ELASTIC
        field = smoothing(image, *self.elastic) if self.elastic else None
        warp.warp(X, out, samples, image, maps, field, seed, epoch, purpose, threads)
        return out

    def _moved(self, image: tuple[int, int] | None, inputs: int) -> tuple[int, int] | None:
        """The shape of the images whose pixels are moved; None where none are."""
        if not self.moves:
            return None
        if image is None:
            raise ConfigError(
                "augment can shift, turn or warp images only: give their height and width by --image HxW, or as image"
            )
        if image[0] * image[1] != inputs:
            raise ConfigError(
                f"augment cannot read {inputs} values as images of {image[0]} x {image[1]}; correct image"
            )
        return image

    def _sources(
        self, samples: np.ndarray, image: tuple[int, int], seed: int, epoch: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where each pixel's value comes from: rows and columns, from the first pixel on, two float32 (B, h, w)."""
        matrix, offset = self._inverse_maps(samples, seed, epoch)
        centre = (image[0] - 1) / 2, (image[1] - 1) / 2
        y, x = (np.arange(size) - middle for size, middle in zip(image, centre, strict=True))
        rows, columns = (
            (matrix[:, axis, 0, None] * y + (offset[:, axis] + centre[axis])[:, None]).astype(np.float32)[:, :, None]
            + (matrix[:, axis, 1, None] * x).astype(np.float32)[:, None, :]
            for axis in (0, 1)
        )
        if self.elastic:
            field = displacements(seed, epoch, samples, image, *self.elastic)
            rows += field[:, 0]
            columns += field[:, 1]
        return rows, columns

    def _inverse_maps(self, samples: np.ndarray, seed: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The affine map from changed to original coordinates: p -> matrix (B, 2, 2) p + offset (B, 2), float64.

        Originals are scaled, sheared, rotated, then shifted, so p = R K S q + t and q = S^-1 K^-1 R^-1 (p - t).
        All numbers are drawn always, so that none changes with the setting of another.
        """
        u = symmetric(random_words(seed, "augment", AFFINE, epoch, samples, 6)).astype(np.float64)
        shift = self.shift * u[:, 0:2]
        angle = math.radians(self.rotate) * u[:, 2]
        lean = np.tan(math.radians(self.shear) * u[:, 3])
        stretch = 1 + self.scale * u[:, 4:6]
        cos, sin, zero, one = np.cos(angle), np.sin(angle), np.zeros_like(angle), np.ones_like(angle)
        unrotate = np.stack([cos, sin, -sin, cos], axis=1).reshape(-1, 2, 2)
        unshear = np.stack([one, zero, -lean, one], axis=1).reshape(-1, 2, 2)
        matrix = (unshear @ unrotate) / stretch[:, :, None]
        return matrix, -(matrix @ shift[:, :, None])[:, :, 0]


def symmetric(words: np.ndarray) -> np.ndarray:
    """Random words as float32 numbers, uniform from -1 to 1."""
    return words.astype(np.float32) * np.float32(2**-31) - np.float32(1)


def normals(seed: int, epoch: int, samples: np.ndarray, units: int) -> np.ndarray:
    """Standard normal numbers, float32 (B, units): two of each two words.

    Box, Muller: "A note on the generation of random normal deviates", 1958: sqrt(-2 log u) times cos and sin of 2 pi v.
    """
    words = random_words(seed, "augment", NOISE, epoch, samples, units + units % 2)
    half = words.shape[1] // 2
    u = (words[:, :half].astype(np.float32) + np.float32(1)) * np.float32(2**-32)  # never 0
    angle = words[:, half:].astype(np.float32) * np.float32(2 * np.pi * 2**-32)
    radius = np.sqrt(np.float32(-2) * np.log(u))
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)[:, :units]


def displacements(
    seed: int, epoch: int, samples: np.ndarray, image: tuple[int, int], alpha: float, sigma: float
) -> np.ndarray:
    """Smooth random displacements in pixels along rows and columns, float32 (B, 2, h, w); [Simard] section 2.

    Outside the image the field that is smoothed is 0. The two matrix products have one sample's shape each, whatever
    the batch, so that their rounding cannot depend on it.
    """
    field = symmetric(random_words(seed, "augment", ELASTIC, epoch, samples, 2 * image[0] * image[1]))
    along_rows, along_columns = smoothing(image, alpha, sigma)
    smooth: np.ndarray = along_rows @ field.reshape(-1, 2, *image) @ along_columns
    return smooth


def smoothing(image: tuple[int, int], alpha: float, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """What a random field is multiplied by, from the left and from the right, to become displacements."""
    along_rows, along_columns = (gaussian(size, sigma) for size in image)
    return np.float32(alpha) * along_rows, along_columns


def gaussian(size: int, sigma: float) -> np.ndarray:
    """The matrix (size, size) that smooths a line of pixels by a sampled Gaussian whose weights add up to 1."""
    reach = math.ceil(6 * sigma)
    weight = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2).sum()
    pixel = np.arange(size)
    matrix: np.ndarray = np.exp(-0.5 * ((pixel[:, None] - pixel) / sigma) ** 2) / weight
    return matrix.astype(np.float32)


def resample(images: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Bilinear interpolation, with 0 outside the image.

    Parameters
    ----------
    images : float32 array (B, h, w)
    rows, columns : float32 arrays (B, h, w)
        Where each value is read; they are overwritten.

    Returns
    -------
    float32 array (B, h, w)
    """
    count, height, width = images.shape
    # a border of zeros, so that every place and its three neighbours exist: one before, two behind
    padded = np.zeros((count, height + 3, width + 3), np.float32)
    padded[:, 1:-2, 1:-2] = images
    flat, stride = padded.reshape(-1), width + 3
    for places, size in ((rows, height), (columns, width)):
        np.clip(places, -1, size, out=places)
        places += 1
    whole_rows, whole_columns = rows.astype(np.intp), columns.astype(np.intp)
    rows -= whole_rows
    columns -= whole_columns
    whole_rows *= stride
    whole_rows += whole_columns
    whole_rows += (np.arange(count) * padded[0].size)[:, None, None]

    def between(first: int) -> np.ndarray:
        left = flat[first:].take(whole_rows, mode="clip")
        right = flat[first + 1 :].take(whole_rows, mode="clip")
        right -= left
        right *= columns
        right += left
        return right

    above, below = between(0), between(stride)
    below -= above
    below *= rows
    below += above
    return below
