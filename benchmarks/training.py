"""The rows of the table of peers, and the main net on MNIST: time, arithmetic, memory and accuracy."""

from statistics import median

from benchmarks.epochs import Training, in_turn
from benchmarks.peers.rows import ROWS, Task
from benchmarks.peers.work import flops
from fastnn import MLP, Dense, Input
from fastnn.data import load
from fastnn.kernels import backend
from fastnn.kernels.limits import fma_peak

# The ways of training: backend and threads.
WAYS = {"fused": ("fused", 2), "fused, 1 thread": ("fused", 1), "reference": ("reference", 2)}


class Peers:
    """An epoch of each row, in order as the peers train it. All are measured once, before the figures are asked for."""

    params = (list(ROWS), list(WAYS))
    param_names = ("row", "way")

    def setup_cache(self):
        """By row and way: seconds of an epoch, its useful GFLOP, and the GFLOP/s that the machine can do at most."""
        from threadpoolctl import threadpool_limits  # for NumPy, whose threads the reference backend uses

        backend("fused").warm()
        peaks = {threads: fma_peak(threads) for _, threads in WAYS.values()}
        found = {}
        for name, row in ROWS.items():
            task = Task(row)
            work = flops(task) / 1e9
            trainings = {way: training_of(task, *settings) for way, settings in WAYS.items()}
            slow = trainings.pop("reference")  # an epoch of it is enough, and takes up to some seconds
            seconds = dict(zip(trainings, map(median, in_turn(list(trainings.values()), least=1)), strict=True))
            with threadpool_limits(WAYS["reference"][1]):
                seconds["reference"] = slow.epoch()
            found |= {(name, way): (taken, work, peaks[WAYS[way][1]]) for way, taken in seconds.items()}
        return found

    setup_cache.timeout = 300

    def track_epoch_time(self, found, row, way):
        return found[row, way][0]

    def track_useful_gflops(self, found, row, way):
        seconds, work, _ = found[row, way]
        return work / seconds

    def track_share_of_fma_peak(self, found, row, way):
        seconds, work, peak = found[row, way]
        return work / seconds / peak

    track_epoch_time.unit = "s"
    track_useful_gflops.unit = "GFLOP/s"
    track_share_of_fma_peak.unit = "fraction"


def training_of(task, backend, threads):
    """A row at work."""
    row = task.row
    how = {"scale": task.scale, "batch": row.batch, "rate": row.rate, "threads": threads, "backend": backend}
    return Training(row.sizes, row.activation, task.raw, task.labels, shuffle=False, **how)


class Mnist:
    """784-300-10 on MNIST as users train it."""

    params = ("fused", "reference")
    param_names = ("backend",)
    timeout = 120
    # a fit takes long enough to be timed alone, and is warm after setup
    number, repeat, rounds, warmup_time = 1, (3, 5, 4.0), 1, 0

    def setup_cache(self):
        """Compile in a process of its own: none that is measured compiles, so none has the compiler in its memory."""
        backend("fused").warm()

    def setup(self, backend):
        self.train, self.test = load("mnist")
        self.net = MLP([Input(784, scale=1 / 255), Dense(300, "relu"), Dense(10, "softmax")])
        self.how = {"batch_size": 100, "optimizer": "sgd", "backend": backend}
        self.net.fit(self.test.X[:1000], self.test.y[:1000], epochs=1, **self.how)
        self.net.reset()

    def time_one_epoch_fit(self, backend):
        """A whole fit of one epoch: checks and converts the input, and trains."""
        self.net.fit(self.train.X, self.train.y, epochs=1, **self.how)

    def peakmem_one_epoch_fit(self, backend):
        """The whole process: Python, libraries, MNIST and the fit."""
        self.net.fit(self.train.X, self.train.y, epochs=1, **self.how)

    def track_test_accuracy(self, backend):
        """After three epochs from the same seed: the same for any number of threads."""
        self.net.fit(self.train.X, self.train.y, epochs=3, **self.how)
        return self.net.evaluate(self.test.X, self.test.y)["accuracy"]

    track_test_accuracy.unit = "fraction"
