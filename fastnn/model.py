"""`MLP`: a network that can fit, predict, evaluate and save. The public face of fastnn."""

import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn.augment import Augment
from fastnn.callbacks import Callback, History, RestoreBest
from fastnn.data import split_rows
from fastnn.errors import ConfigError, DataError, ModelFileError
from fastnn.formats import FORMATS, check_suffix, format_of, safetensors
from fastnn.kernels import backend as kernels_of
from fastnn.kernels.job import Examples
from fastnn.network import Network
from fastnn.optimizers import Optimizer, make_optimizer
from fastnn.rng import check_seed
from fastnn.schedules import Schedule, make_schedule
from fastnn.training import Fit


class MLP(Network):
    """A multilayer perceptron.

    ``MLP([Input(784, scale=1 / 255), Dense(300, "relu"), Dense(10, "softmax")])``

    Parameters and Raises as of `fastnn.network.Network`.
    """

    def fit(
        self,
        X: np.ndarray,
        y: np.ndarray,
        *,
        epochs: int = 10,
        batch_size: int = 64,
        optimizer: str | Optimizer = "sgd",
        schedule: str | Schedule = "constant",
        validation: tuple[np.ndarray, ...] | float | None = None,
        sample_weight: np.ndarray | None = None,
        weight_decay: float = 0.0,
        clip_norm: float = 0.0,
        label_smoothing: float = 0.0,
        shuffle: bool = True,
        augment: Augment | None = None,
        callbacks: Sequence[Callback] = (),
        backend: str = "fused",
        threads: int | str = "auto",
        seed: int | None = None,
        resume: str | os.PathLike[str] | None = None,
        best_by: str = "accuracy",
        restore_best: bool = False,
    ) -> History:
        """Train from the current parameters on; the result does not depend on the number of threads.

        Parameters
        ----------
        X : array (N, I)
            Raw input; uint8 stays uint8.
        y : array (N,) or (N, O)
            Class indices, one-hot rows, or targets.
        epochs : int
        batch_size : int
            0 for the full batch. The last batch of an epoch may be smaller.
        optimizer : str or Optimizer
            A name of `fastnn.optimizers.OPTIMIZERS`, or ``Adam(learning_rate=0.002)``.
        schedule : str or Schedule
            A name of `fastnn.schedules.SCHEDULES`, or ``Linear(final=0.01)``, or an instance of a subclass of your own.
        validation : (X, y), (X, y, sample_weight) or float, optional
            What each epoch is judged on; a fraction is drawn from the training data and not trained on.
        sample_weight : array (N,), optional
            At least 0.
        weight_decay : float
            lambda; ``lambda W`` is added to the gradient of the weights (AdamW: apart from it).
        clip_norm : float
            Largest norm of the gradient; 0 for no limit.
        label_smoothing : float
            Share of each target that is spread over all classes; from 0 to below 1.
        shuffle : bool
            Draw a new order in each epoch.
        augment : Augment, optional
            Needs ``metadata["image"] = [height, width]`` if it moves pixels.
        callbacks : sequence of Callback
        backend : {"fused", "reference"}
        threads : int or "auto"
        seed : int, optional
            Of order, dropout, augmentation and the validation split; by default the network's.
        resume : path-like, optional
            A ``last.safetensors`` of `fastnn.callbacks.Checkpoint`: go on from there, bit for bit as if the fit had
            not been interrupted. All settings but `epochs` must be the same.
        best_by : "accuracy" or "loss"
            What the best epoch is best by, on the validation set (accuracy first, then loss; or loss alone).
        restore_best : bool
            End with the weights of that epoch, not of the last one.

        Returns
        -------
        History

        Raises
        ------
        ConfigError, DataError, ModelFileError
            Settings, arrays or a checkpoint that do not fit.
        DivergedError
            The loss or a weight became NaN or infinite.
        """
        start = time.perf_counter()
        seed = self.seed if seed is None else check_seed(seed)
        examples = self.examples(X, y, sample_weight)
        rows: np.ndarray | None = None
        judged: Examples | None = None
        if isinstance(validation, (int, float, np.number)) and not isinstance(validation, bool):
            if validation:
                rows, held = split_rows(len(examples), validation, seed)
                judged = take(examples, held)
        elif validation is not None:
            if not isinstance(validation, (tuple, list)) or len(validation) not in (2, 3):
                raise ConfigError("validation must be (X, y), (X, y, sample_weight) or a fraction of the training data")
            judged = self.examples(*validation)
            if not len(judged):
                raise DataError("the validation set is empty")
        image = self.metadata.get("image")
        fit = Fit(
            self,
            examples,
            judged,
            epochs=epochs,
            batch_size=batch_size,
            optimizer=make_optimizer(optimizer),
            schedule=make_schedule(schedule),
            weight_decay=weight_decay,
            clip_norm=clip_norm,
            label_smoothing=label_smoothing,
            shuffle=shuffle,
            augment=augment,
            image=None if image is None else (int(image[0]), int(image[1])),
            callbacks=[*callbacks, RestoreBest()] if restore_best else callbacks,
            backend=backend,
            threads=threads,
            seed=seed,
            rows=rows,
            best_by=best_by,
        )
        if resume is not None:
            network, checkpoint = safetensors.load(resume, Network)
            if checkpoint is None:
                raise ModelFileError(
                    f"{resume}: a model without the state of its training; resume from last.safetensors"
                )
            fit.restore(network, checkpoint)
        fit.train_seconds += time.perf_counter() - start  # the input's checks and conversion belong to training
        return fit.run()

    def predict_proba(self, X: np.ndarray, backend: str = "fused", threads: int | str = "auto") -> np.ndarray:
        """The outputs, or the probabilities that they stand for. Parameters and Raises as of `outputs`.

        Returns
        -------
        float32 array (N, O)
            Of one output a for two classes (N, 2): 1 - a, a.
        """
        outputs = self.outputs(X, backend, threads)
        if outputs.shape[1] == 1 and self.classifies:
            return np.hstack([1 - outputs, outputs])
        return outputs

    def predict(self, X: np.ndarray, backend: str = "fused", threads: int | str = "auto") -> np.ndarray:
        """The classes of samples, or of a network for regression its outputs. Parameters and Raises as of `outputs`.

        Returns
        -------
        int64 array (N,) of class indices, or float32 array (N, O)
        """
        if not self.classifies:
            return self.outputs(X, backend, threads)
        classes: np.ndarray = self.predict_proba(X, backend, threads).argmax(axis=1)
        return classes

    def evaluate(
        self,
        X: np.ndarray,
        y: np.ndarray,
        sample_weight: np.ndarray | None = None,
        backend: str = "fused",
        threads: int | str = "auto",
    ) -> dict[str, float | None]:
        """Judge the network on samples.

        Parameters
        ----------
        X, y, sample_weight : as for `examples`
            Here `y` must be given.
        backend, threads : as for `outputs`

        Returns
        -------
        dict
            ``{"loss": ..., "accuracy": ...}``: the mean loss, and the share of right classes (None for regression).

        Raises
        ------
        ConfigError
            An unknown backend, or a number of threads out of range.
        DataError
            As `examples`; or there are no samples.
        """
        examples = self.examples(X, y, sample_weight)
        if not len(examples):
            raise DataError("there are no samples to evaluate on")
        totals = kernels_of(backend).score(self.job(examples, threads=threads, forward=True))
        return {"loss": totals.mean_loss, "accuracy": totals.accuracy if examples.classification else None}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a file, atomically; `fastnn.load` reads it.

        Parameters
        ----------
        path : path-like
            ``.json`` is JSON that can be read by eye, ``.onnx`` and ``.html`` are for other programs and cannot be
            loaded again; ``.safetensors`` and anything else is safetensors, but for suffixes of other formats.

        Raises
        ------
        ConfigError
            The suffix is that of a format which fastnn does not write, such as ``.pkl``, or the format cannot hold
            this network.
        OutputError
            The file cannot be written.
        """
        check_suffix(path, *FORMATS)
        format_of(path).save(path, self)


def load(path: str | os.PathLike[str]) -> MLP:
    """Read a model that `MLP.save` wrote. Loading a hostile file can fail, but never run code.

    Parameters
    ----------
    path : path-like
        As for `MLP.save`, but for the forms that cannot be loaded again.

    Returns
    -------
    MLP

    Raises
    ------
    ModelFileError
        The file is missing, cut short, altered, or no model of fastnn.
    """
    found = format_of(path).load(path, MLP)
    return found if isinstance(found, MLP) else found[0]


def take(examples: Examples, rows: np.ndarray) -> Examples:
    """Copies of some examples: those of the numbers `rows`."""

    def part(values: Any) -> Any:
        return None if values is None else values[rows]

    return Examples(
        examples.X[rows],
        part(examples.labels),
        part(examples.targets),
        part(examples.weights),
        examples.classification,
    )
