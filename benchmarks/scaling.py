"""The cost of growth, watched: a few points of each axis of ``python -m benchmarks.growth``."""

import tempfile
from statistics import median

from benchmarks.epochs import in_turn
from benchmarks.growth import memory
from benchmarks.growth.axes import AXES
from benchmarks.growth.measure import training_of
from fastnn.kernels import backend


class _Axis:
    """Some points of an axis, each in a process of its own."""

    param_names = ("line", "value")
    timeout = 120

    def __init_subclass__(cls, axis):
        cls.axis = AXES[axis]
        cls.params = (list(cls.axis.cases), list(cls.axis.few))

    def setup_cache(self):
        """Compile in a process of its own: none that is measured compiles, so none has the compiler in its memory."""
        backend("fused").warm()

    def setup(self, line, value):
        backend("fused").warm()
        self.training = training_of(self.axis.cases[line](value))

    def track_epoch_time(self, line, value):
        (taken,) = in_turn([self.training])
        return median(taken)

    track_epoch_time.unit = "s"


class Samples(_Axis, axis="samples"):
    def peakmem_epoch(self, line, value):
        """The whole process: Python, libraries, the data and the fit."""
        self.training.epoch()


class Width(_Axis, axis="width"):
    pass


class Depth(_Axis, axis="depth"):
    pass


class Batch(_Axis, axis="batch"):
    pass


class Threads(_Axis, axis="threads"):
    pass


class Command:
    """``fastnn train`` on MNIST."""

    timeout = 120

    def setup_cache(self):
        """Nothing is compiled in what is measured."""
        backend("fused").warm()

    def track_peak_of_memory(self):
        with tempfile.TemporaryDirectory() as folder:
            return memory.peak([*memory.TRAIN, "--out", f"{folder}/run"])

    track_peak_of_memory.unit = "bytes"
