"""What augmentation costs, and an epoch of each recipe."""

import time
from statistics import median

import numpy as np

from fastnn import recipes
from fastnn.augment import Augment
from fastnn.config import Config
from fastnn.data import load
from fastnn.kernels import backend, warp
from fastnn.runs import Parts, build, fit

AT_ONCE = 2048  # samples, as the training loop takes them
KINDS = {
    "affine": Augment(shift=2, rotate=15, scale=0.15, shear=10),
    "elastic": Augment(elastic=(34, 4)),
    "affine and elastic": Augment(shift=2, rotate=15, scale=0.15, shear=10, elastic=(34, 4)),
    "noise": Augment(noise=0.1),
}


class Augmentation:
    """Seconds for 60,000 digits, by the compiled kernel on one thread and two, and by NumPy."""

    params = (list(KINDS), ["fused", "fused, 1 thread", "reference"])
    param_names = ("kind", "way")

    def setup(self, kind, way):
        self.X, self.rows = load("mnist")[0].X, np.arange(60_000)
        self.how = (way.split(",")[0], 1 if "1" in way else 2)
        warp.warm()

    def track_seconds(self, kind, way):
        taken = []
        for epoch in range(3):
            start = time.perf_counter()
            for at in range(0, len(self.X), AT_ONCE):
                part = slice(at, at + AT_ONCE)
                KINDS[kind].apply(self.X[part], self.rows[part], (28, 28), 0, epoch, *self.how)
            taken.append(time.perf_counter() - start)
        return median(taken)

    track_seconds.unit = "s"
    track_seconds.timeout = 120


class RecipeEpochs:
    """Seconds of an epoch of each recipe, its augmentation and validation with it."""

    params = recipes.names()
    param_names = ("recipe",)

    def setup(self, name):
        backend("fused").warm()
        warp.warm()

    def track_epoch_time(self, name):
        config = Config.of(recipes.read(name), {"training.epochs": 3})
        parts = Parts.of(config)
        return median(fit(config, build(config, parts), parts)["seconds"])

    track_epoch_time.unit = "s"
    track_epoch_time.timeout = 120
