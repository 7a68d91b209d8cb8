"""Training on MNIST: backend x architecture x threads."""

from statistics import median

from fastnn import MLP, Dense, Input, kernels
from fastnn.data import load

ARCHITECTURES = {"784-30-10": [30], "784-300-10": [300], "784-300-100-10": [300, 100]}
SETTINGS = {"batch_size": 100, "optimizer": "sgd"}


class Training:
    params = (["fused", "reference"], list(ARCHITECTURES), [1, 2])
    param_names = ("backend", "architecture", "threads")
    timeout = 120
    # a fit takes long enough to be timed alone, and is warm after setup
    number, repeat, rounds, warmup_time = 1, (3, 5, 4.0), 1, 0

    def setup_cache(self):
        """Compile in a process of its own: none that is measured compiles, so none has the compiler in its memory."""
        kernels.backend("fused").warm()

    def setup(self, backend, architecture, threads):
        from threadpoolctl import threadpool_limits  # for NumPy, whose threads the reference backend uses

        threadpool_limits(threads)
        self.train, self.test = load("mnist")
        self.net = network(architecture)
        self.how = SETTINGS | {"backend": backend, "threads": threads}
        network(architecture).fit(self.test.X[:1000], self.test.y[:1000], epochs=1, **self.how)

    def time_one_epoch_fit(self, backend, architecture, threads):
        """A whole fit of one epoch: checks and converts the input, and trains."""
        self.net.fit(self.train.X, self.train.y, epochs=1, **self.how)

    def track_epoch_time(self, backend, architecture, threads):
        """An epoch of a longer fit, which has the input in its form already."""
        return median(self.net.fit(self.train.X, self.train.y, epochs=4, **self.how)["seconds"][1:])

    def peakmem_one_epoch_fit(self, backend, architecture, threads):
        """The whole process: Python, libraries, MNIST and the fit."""
        self.net.fit(self.train.X, self.train.y, epochs=1, **self.how)

    def track_test_accuracy(self, backend, architecture, threads):
        """After three epochs from the same seed: the same for any number of threads."""
        self.net.fit(self.train.X, self.train.y, epochs=3, **self.how)
        return self.net.evaluate(self.test.X, self.test.y)["accuracy"]

    track_epoch_time.unit = "s"
    track_test_accuracy.unit = "fraction"


def network(architecture):
    hidden = [Dense(units, "relu") for units in ARCHITECTURES[architecture]]
    return MLP([Input(784, scale=1 / 255), *hidden, Dense(10, "softmax")])
