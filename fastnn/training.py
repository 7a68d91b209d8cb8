"""The training loop: epochs, steps, validation, interrupts, and the exact point to go on from."""

import math
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from fastnn.augment import Augment
from fastnn.callbacks import Callback, History, Record, check_callbacks
from fastnn.data.compressed import Compressed
from fastnn.errors import ConfigError, DataError, DivergedError, ModelFileError
from fastnn.formats.safetensors import Checkpoint
from fastnn.kernels import backend as kernels_of
from fastnn.kernels.job import NOTHING, Examples, Job, Totals
from fastnn.layers import aligned_zeros
from fastnn.network import Network
from fastnn.optimizers import Optimizer
from fastnn.pace import Pace
from fastnn.rng import generator
from fastnn.schedules import Schedule
from fastnn.settings import BELOW_ONE, NOT_NEGATIVE, checked

AUGMENTED_AT_ONCE = 2048  # samples between two looks at Ctrl-C


class Fit:
    """One training of a network: all its settings and where it is.

    Parameters
    ----------
    network : Network
        Trained in place.
    examples, validation : Examples
        Training set, and (or None) the set that each epoch is judged on.
    rows : int array (N,), optional
        The samples of `examples` that are trained on, by default all: no copy is made of what is left.
    epochs, batch_size : int
        Batch size 0 is the full batch.
    optimizer : Optimizer
    schedule : Schedule
    weight_decay, clip_norm, label_smoothing : float
        0 for none; see `fastnn.kernels.job.Job`.
    shuffle : bool
        Whether each epoch has an order of its own.
    augment : Augment or None
        What the training inputs are changed by in each epoch.
    image : (int, int) or None
        Height and width of an input, for `augment`.
    callbacks : sequence of Callback
    backend : str
    threads : int or "auto"
        "auto": as many as the work is worth, or one while that is faster; see `fastnn.pace`.
    seed : int
        Of order, dropout and augmentation.
    rows : int array, optional
        The examples that are trained on; by default all.
    best_by : "accuracy" or "loss"
        What the best epoch is best by.

    Attributes
    ----------
    epoch, step : int
        The current epoch and step in it, from 0.
    history : History
    loss, accuracy : float
        Running means of this epoch; accuracy is None for regression.
    rate : float
        The learning rate of an epoch's first step: of the present one, or of the one that has just ended.
    samples_per_second : float
    compile_seconds : float
    train_seconds : float
        Of all epochs, and of what `MLP.fit` did to the input before them; without compilation and callbacks.
    compiled : bool
        Whether the kernels were compiled now, not found in the cache.
    stop : bool
        Set it to end after this epoch.

    Raises
    ------
    ConfigError, DataError
        Settings out of range, or nothing to train on.
    """

    def __init__(
        self,
        network: Network,
        examples: Examples,
        validation: Examples | None,
        *,
        epochs: int,
        batch_size: int,
        optimizer: Optimizer,
        schedule: Schedule,
        weight_decay: float,
        clip_norm: float,
        label_smoothing: float,
        shuffle: bool,
        augment: Augment | None,
        image: tuple[int, int] | None,
        callbacks: Sequence[Callback],
        backend: str,
        threads: int | str,
        seed: int,
        rows: np.ndarray | None = None,
        best_by: str = "accuracy",
    ):
        if best_by not in ("accuracy", "loss"):
            raise ConfigError(f"best_by must be accuracy or loss, not {best_by!r}")
        if not len(examples):
            raise DataError("there are no samples to train on")
        self.rows = np.arange(len(examples)) if rows is None else rows
        for part, chosen, name in ((examples, self.rows, "training"), (validation, slice(None), "validation")):
            if part is not None and part.weights is not None and not part.weights[chosen].any():
                raise DataError(f"all samples of the {name} set have weight 0")
        epochs = checked(epochs, NOT_NEGATIVE, "epochs", int)
        batch_size = checked(batch_size, NOT_NEGATIVE, "batch_size", int)
        weight_decay = checked(weight_decay, NOT_NEGATIVE, "weight_decay")
        clip_norm = checked(clip_norm, NOT_NEGATIVE, "clip_norm")
        label_smoothing = checked(label_smoothing, BELOW_ONE, "label_smoothing")
        if augment is not None and not isinstance(augment, Augment):
            raise ConfigError(f"augment must be an Augment, such as Augment(shift=2), not {augment!r}")
        if augment is not None and isinstance(examples.X, Compressed):
            raise DataError("a sparse matrix cannot be augmented; give X as an array: X.toarray()")
        if augment is not None:
            augment.check(image, examples.X.shape[1])
        check_callbacks(callbacks)
        if label_smoothing and network.loss == "quadratic":
            raise ConfigError("label smoothing needs cross_entropy or binary_cross_entropy, not the quadratic loss")
        self.network, self.examples, self.validation = network, examples, validation
        self.epochs, self.samples = epochs, len(self.rows)
        self.optimizer, self.schedule = optimizer, schedule
        self.shuffle, self.augment, self.image = shuffle, augment, image
        self.callbacks, self.backend, self.seed = callbacks, backend, seed
        size = min(batch_size or self.samples, self.samples)
        self.steps = -(-self.samples // size)
        self.job: Job = network.job(
            examples,
            size,
            threads,
            optimizer=optimizer.name,
            first=optimizer.first,
            second=optimizer.second,
            state=aligned_zeros(optimizer.slots * network.architecture.size).reshape(
                optimizer.slots, network.architecture.size
            ),
            weight_decay=0.0 if optimizer.decoupled else weight_decay,
            clip_norm=clip_norm,
            label_smoothing=label_smoothing,
            seed=seed,
        )
        self.decay = weight_decay if optimizer.decoupled else 0.0
        self.threads = self.job.threads
        self.epoch, self.step, self.rate = 0, 0, optimizer.learning_rate
        self.before = network.epochs  # epochs of earlier fits: this one draws other numbers
        self.history = History(best_by=best_by)
        self._losses: list[float] = []  # its column: to collect it for each epoch would take longer from epoch to epoch
        self.totals = NOTHING
        self.compile_seconds = self.train_seconds = self.epoch_seconds = 0.0
        self.compiled = self.stop = False
        self.pace = Pace(self.threads, threads == "auto" and backend == "fused")
        self._alone = self.job  # the same job on one thread, once it is needed

    # ------------------------------------------------------------ where it is

    @property
    def done(self) -> int:
        """Samples that this epoch has done."""
        return min(self.step * self.job.batch_size, self.samples)

    @property
    def loss(self) -> float:
        """Mean training loss of this epoch so far."""
        return self.totals.mean_loss

    @property
    def accuracy(self) -> float | None:
        """Training accuracy of this epoch so far; None for regression."""
        return self.totals.accuracy if self.examples.classification else None

    @property
    def samples_per_second(self) -> float:
        """Samples that this epoch has done a second."""
        return self.done / self.epoch_seconds if self.epoch_seconds else 0.0

    @property
    def fixed(self) -> dict[str, Any]:
        """The settings that a resumed fit must share; all but the number of epochs."""
        job = self.job
        return {
            "samples": self.samples,
            "validation": 0 if self.validation is None else len(self.validation),
            "batch_size": job.batch_size,
            "optimizer": self.optimizer.settings(),
            "schedule": self.schedule.settings(),
            "weight_decay": job.weight_decay or self.decay,
            "clip_norm": job.clip_norm,
            "label_smoothing": job.label_smoothing,
            "shuffle": self.shuffle,
            "augment": repr(self.augment),
            "backend": self.backend,
            "seed": self.seed,
        }

    def checkpoint(self) -> Checkpoint:
        """What is needed beside the network to go on exactly from here."""
        progress = {
            "epoch": self.epoch,
            "step": self.step,
            "totals": list(self.totals),
            "before": self.before,
            "train_seconds": self.train_seconds,
            "epoch_seconds": self.epoch_seconds,
            "history": self.history.records,
            "fixed": self.fixed,
        }
        return Checkpoint(list(self.job.state), progress)

    def restore(self, network: Network, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint.

        Raises
        ------
        ConfigError
            The checkpoint is of a fit with other settings.
        ModelFileError
            It is damaged.
        """
        progress = checkpoint.progress
        if network.architecture != self.network.architecture:
            raise ConfigError("the checkpoint holds another network than the one to be trained; use the same layers")
        try:
            before = {name: progress["fixed"][name] for name in self.fixed}
            counts = [checked(progress[name], NOT_NEGATIVE, name, int) for name in ("epoch", "step", "before")]
            seconds = [checked(progress[name], NOT_NEGATIVE, name) for name in ("train_seconds", "epoch_seconds")]
            loss, hits, weight = (checked(value, NOT_NEGATIVE, "a total") for value in progress["totals"])
            history = History([dict(record) for record in progress["history"]], self.history.best_by)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(f"the checkpoint cannot be resumed from ({error})") from None
        for name, value in self.fixed.items():
            if before[name] != value:
                raise ConfigError(f"cannot resume: {name} was {before[name]} in the checkpoint and is {value} now")
        if len(history) != counts[0] or len(checkpoint.state) != self.optimizer.slots:
            raise ModelFileError("the checkpoint cannot be resumed from (its parts do not go together)")
        self.epoch, self.step, self.before = counts
        self.train_seconds, self.epoch_seconds = seconds
        self.totals, self.history, self._losses = Totals(loss, hits, weight), history, history["loss"]
        self.network.flat[:] = network.flat
        self.network.epochs = network.epochs
        for slot, kept in zip(self.job.state, checkpoint.state, strict=True):
            slot[:] = kept

    # ------------------------------------------------------------ the loop

    def run(self) -> History:
        """Train to the end.

        Raises
        ------
        DivergedError
            The loss or a weight became NaN or infinite; the network is as it was at the end of the epoch before.
        KeyboardInterrupt
            Ctrl-C, acted on between two steps.
        """
        kernels = kernels_of(self.backend)
        self.compile_seconds, self.compiled = kernels.warm()
        if self.backend == "fused" and self.augment is not None and self.augment.moves:
            from fastnn.kernels import warp

            seconds, compiled = warp.warm()
            self.compile_seconds, self.compiled = self.compile_seconds + seconds, self.compiled or compiled
        self._call("on_fit_begin")
        with _deferred_interrupt() as interrupted:
            # a fit without epochs left still calls back, and a resumed one may be at the very end of an epoch
            while self.epoch < self.epochs and not self.stop:
                good = self.network.flat.copy()
                try:
                    self._one_epoch(kernels, interrupted)
                except DivergedError:
                    self.network.flat[:] = good
                    raise
            self._heed(interrupted)
        self._call("on_fit_end")
        return self.history

    def _one_epoch(self, kernels: Any, interrupted: list[bool]) -> None:
        clock = time.perf_counter()
        drawn = self.before + self.epoch
        order = self._order(drawn)
        self.job.examples = self._alone.examples = self._augmented(drawn, interrupted)
        hyper = self._hyper()
        while self.step < self.steps:
            count, steps = self.pace.next()
            job, part = self._job(count), hyper[self.step : self.step + steps]
            start = time.perf_counter()
            self.totals = kernels.train(job, order, drawn, self.step, part, self.totals)
            self.step += len(part)
            now = time.perf_counter()
            self.pace.took(count, len(part), now - start)
            self.epoch_seconds += now - clock
            self.train_seconds += now - clock
            clock = now
            self._check_loss()
            self._call("on_advance")
            self._heed(interrupted)
        self._check_weights()
        self._finish_epoch(kernels, clock)

    def _job(self, count: int) -> Job:
        """The job on so many threads: the fit's own number, or one."""
        if count == self.threads:
            return self.job
        if self._alone is self.job:
            self._alone = replace(self.job, threads=1, workspace=None)
        return self._alone

    def _heed(self, interrupted: list[bool]) -> None:
        if interrupted:
            self._check_weights()
            self._call("on_interrupt")
            raise KeyboardInterrupt

    def _finish_epoch(self, kernels: Any, clock: float) -> None:
        record: Record = {
            "epoch": self.epoch + 1,
            "learning_rate": self.rate,
            "loss": self.loss,
            "accuracy": self.accuracy,
        }
        if self.validation is not None:
            judged = kernels.score(replace(self.job, examples=self.validation, workspace=None))
            record["val_loss"] = judged.mean_loss
            record["val_accuracy"] = judged.accuracy if self.validation.classification else None
            if not np.isfinite(judged.mean_loss):
                raise self._diverged("validation loss")
        now = time.perf_counter()
        self.epoch_seconds += now - clock
        self.train_seconds += now - clock
        record["seconds"] = self.epoch_seconds
        record["samples_per_second"] = self.samples / self.epoch_seconds
        self.history.records.append(record)
        self._losses.append(self.loss)
        self.epoch += 1
        self.step = 0
        self.epoch_seconds = 0.0
        self.network.epochs = self.before + self.epoch
        self.totals = NOTHING
        for callback in self.callbacks:
            callback.on_epoch_end(self, record)

    def _order(self, epoch: int) -> np.ndarray:
        if not self.shuffle:
            return self.rows
        return generator(self.seed, "shuffle", epoch=epoch).permutation(self.rows)

    def _augmented(self, epoch: int, interrupted: list[bool]) -> Examples:
        if self.augment is None or self.augment == Augment():
            return self.examples
        given = self.examples.X
        assert isinstance(given, np.ndarray)
        X = given.copy()
        for start in range(0, self.samples, AUGMENTED_AT_ONCE):
            part = self.rows[start : start + AUGMENTED_AT_ONCE]
            draw = part, self.image, self.seed, epoch
            X[part] = self.augment.apply(given[part], *draw, self.backend, self.threads)
            self._heed(interrupted)
        return replace(self.examples, X=X, density=None, longest=None)

    def _rates(self) -> np.ndarray:
        found = np.asarray(self.schedule.multipliers(self.epoch, self.epochs, self.steps, tuple(self._losses)))
        if found.shape != (self.steps,) or not (found.min() >= 0 and found.max() < np.inf):  # nor NaN
            raise ConfigError(
                f"the multipliers of the schedule {self.schedule.name} in epoch {self.epoch + 1} must be {self.steps} "
                f"finite numbers of at least 0, one a step, not {np.array2string(found, threshold=4, edgeitems=2)}"
            )
        rates: np.ndarray = self.optimizer.learning_rate * found
        return rates

    def _hyper(self) -> np.ndarray:
        """The kernel's `steps` (S, 3) of this epoch."""
        rates, hyper = self._rates(), np.empty((self.steps, 3))
        self.rate = float(rates[0])
        hyper[:, :2] = self.optimizer.coefficients(rates, self._steps_before())
        hyper[:, 2] = rates * self.decay
        return hyper

    def _steps_before(self) -> int:
        """Steps that the optimiser has taken before this epoch."""
        return self.epoch * self.steps

    def _check_loss(self) -> None:
        if not math.isfinite(self.totals.loss):
            raise self._diverged("loss")

    def _check_weights(self) -> None:
        """Before they may be kept: to read them after each slice took 1.5% of an epoch of 784-2500-2000-..."""
        state = [("state of the optimizer", slot) for slot in self.job.state]
        for what, values in (("weights", self.network.flat), *state):
            if not np.isfinite(values).all():
                raise self._diverged(what)

    def _diverged(self, what: str) -> DivergedError:
        rate, cause = self.optimizer.learning_rate, ""
        some = self.examples.X[:1000]
        values = some.values if isinstance(some, Compressed) else some.astype(np.float64)
        largest = float(np.abs(values).max(initial=0)) * float(np.abs(self.network.architecture.scale).max())
        if largest > 100:
            cause = f"inputs reach {largest:.3g}: scale them to about 1"
        else:
            cause = f"the learning rate {rate:g} of {self.optimizer.name} is likely too high: try {rate / 10:g}"
            cause += "" if self.job.clip_norm else " or clip_norm = 1"
        return DivergedError(
            f"diverged in epoch {self.epoch + 1}: the {what} became NaN or infinite; {cause}", self.epoch + 1
        )

    def _call(self, method: str) -> None:
        for callback in self.callbacks:
            getattr(callback, method)(self)


@contextmanager
def _deferred_interrupt() -> Iterator[list[bool]]:
    """Collect Ctrl-C instead of raising it amid a step; only where this thread may, and nobody else handles it."""
    pressed: list[bool] = []
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield pressed
        return

    def note(number: int, frame: Any) -> None:
        if len(pressed) >= 2:  # the third one means it
            raise KeyboardInterrupt
        pressed.append(True)

    signal.signal(signal.SIGINT, note)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
