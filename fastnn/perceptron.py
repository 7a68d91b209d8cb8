"""What `MLPClassifier` and `MLPRegressor` share: their parameters, and how they train by scikit-learn's rules.

Letters: N samples, I features, O outputs.
"""

import warnings
from collections.abc import Sequence
from numbers import Number
from typing import Any, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.validation import check_is_fitted, validate_data

from fastnn import parameters
from fastnn.augment import Augment
from fastnn.callbacks import Callback, Record
from fastnn.errors import ConfigError, DataError
from fastnn.imitation import Dictated, Imitation, PlainEpsilon, Progress, Rules, initialize
from fastnn.kernels.job import Examples
from fastnn.kernels.threads import available
from fastnn.layers import Dense, Dropout, Input, Layer
from fastnn.lbfgs import minimize
from fastnn.model import MLP, take
from fastnn.optimizers import SGD, Momentum, Nesterov, Optimizer
from fastnn.schedules import Schedule, make_schedule

VALIDATED = ("validation_scores_", "best_validation_score_", "validation_loss_curve_")
FORM: dict[str, Any] = {"accept_sparse": "csr", "dtype": [np.float32, np.uint8]}  # of X


def names_of(y: Any) -> list[str] | None:
    """What a frame or a column of one calls the targets; None for an array, and where a name is no text."""
    names = getattr(y, "columns", None)
    names = [getattr(y, "name", None)] if names is None else list(names)
    return names if names and all(isinstance(name, str) and name for name in names) else None


class Perceptron(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """What both estimators share: all parameters, and how they train."""

    network_: MLP
    _regresses = False
    # where partial_fit goes on: the rate, the optimiser's state, and the steps that it has taken
    _rate: Dictated
    _state: np.ndarray | None
    _state_of: str
    _taken: int
    _progress: Progress

    def _output(self, targets: np.ndarray) -> tuple[int, str, str, list[str] | None]:
        """O, activation and loss of the last layer, and the names of the classes."""
        raise NotImplementedError

    def _targets(self, y: np.ndarray, first: bool) -> np.ndarray:
        """What the network is trained on, of what the user gave."""
        raise NotImplementedError

    def _validation_score(self, record: Record, judged: Examples) -> float:
        """The score of the network as it is; `record` is the epoch's."""
        raise NotImplementedError

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (100,),
        activation: str | Sequence[str] = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: float | Sequence[float] = 0.0,
        schedule: str | Schedule | None = None,
        augment: Augment | None = None,
        image: tuple[int, int] | None = None,
        callbacks: Sequence[Callback] = (),
        n_jobs: int | None = None,
        backend: str = "fused",
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.dropout = dropout
        self.schedule = schedule
        self.augment = augment
        self.image = image
        self.callbacks = callbacks
        self.n_jobs = n_jobs
        self.backend = backend

    # ------------------------------------------------------------ what a fit found

    @property
    def coefs_(self) -> list[np.ndarray]:
        """W (I, O) of each layer: float32 views, so that writing to them changes the estimator."""
        return [W for W, _ in self._fitted("coefs_").parameters()]

    @property
    def intercepts_(self) -> list[np.ndarray]:
        """b (O,) of each layer: float32 views."""
        return [b for _, b in self._fitted("intercepts_").parameters()]

    @property
    def n_layers_(self) -> int:
        """Layers, input and output counted."""
        return len(self._fitted("n_layers_").architecture.widths)

    @property
    def n_outputs_(self) -> int:
        """O of the last layer."""
        return self._fitted("n_outputs_").architecture.widths[-1]

    @property
    def out_activation_(self) -> str:
        """The last layer's activation, by scikit-learn's name."""
        name = self._fitted("out_activation_").architecture.activations[-1]
        return next((other for other, ours in parameters.ACTIVATIONS.items() if ours == name), name)

    @property
    def _n_features_out(self) -> int:
        return self.network_.architecture.widths[-2]

    def _fitted(self, name: str) -> MLP:
        if "network_" not in vars(self):
            raise AttributeError(f"{type(self).__name__} has no {name} before it is fitted")
        return self.network_

    # ------------------------------------------------------------ parameters

    def _threads(self) -> int | str:
        if self.n_jobs is None:
            return "auto"
        return self.n_jobs if self.n_jobs > 0 else available()

    def _optimizer(self) -> Optimizer:
        rate = self.learning_rate_init
        if self.solver == "adam":
            return PlainEpsilon(rate, self.beta_1, self.beta_2, self.epsilon)
        if not self.momentum:
            return SGD(rate)
        return (Nesterov if self.nesterovs_momentum else Momentum)(rate, self.momentum)

    # ------------------------------------------------------------ fit

    def fit(self, X: Any, y: Any, sample_weight: Any = None, X_val: Any = None, y_val: Any = None) -> Self:
        """Train.

        Parameters
        ----------
        X : array, data frame or sparse matrix (N, I)
            Taken as float32; uint8 stays uint8.
        y : array (N,) or (N, O)
        sample_weight : array (N,) or float, optional
        X_val, y_val : as X and y, optional
            A validation set: `validation_scores_` and `validation_loss_curve_` are of it.

        Returns
        -------
        self

        Raises
        ------
        ConfigError, DataError, ValueError
            Parameters or data that do not fit.
        DivergedError
            The loss or a weight became NaN or infinite.
        """
        if (X_val is None) != (y_val is None):
            raise DataError(f"a validation set is both X_val and y_val; {'Xy'[y_val is None]}_val is missing")
        goes_on = self.warm_start and "network_" in vars(self)
        return self._fit(X, y, sample_weight, None if X_val is None else (X_val, y_val), first=not goes_on)

    def can_go_on(self) -> bool:
        """Whether there is a `partial_fit`: AttributeError for lbfgs."""
        if self.solver == "lbfgs":
            raise AttributeError("partial_fit needs the solver adam or sgd, not lbfgs")
        return True

    def _fit(self, X: Any, y: Any, sample_weight: Any, validation: Any, first: bool, one_epoch: bool = False) -> Self:
        before = dict(vars(self))
        try:
            self._prepare_and_train(X, y, sample_weight, validation, first, one_epoch)
        except Exception:  # what is fitted stays so, with nothing of a fit that failed
            self.__dict__.clear()
            self.__dict__.update(before)
            raise
        return self

    def _prepare_and_train(
        self, X: Any, y: Any, sample_weight: Any, validation: Any, first: bool, one_epoch: bool
    ) -> None:
        parameters.check(self, one_epoch, validation is not None)
        outputs = names_of(y)
        X, y = self._checked(X, y, first)
        targets = self._targets(y, first and not one_epoch)
        sample_weight = np.full(len(y), sample_weight) if isinstance(sample_weight, Number) else sample_weight
        sample_weight = self._weights(y, sample_weight)
        draw = check_random_state(self.random_state)
        if first:
            self._begin(X, targets, draw, outputs)
        elif self._layers(X.shape[1], targets) != self.network_.layers:
            raise ConfigError("the layers are set to others than those that are fitted: a fit that goes on keeps them")
        examples = self.network_.examples(X, targets, sample_weight)
        if self.solver == "lbfgs":
            self._minimize(examples)
            return
        rows, judged = None, None
        if validation is not None:
            try:
                X_val, y_val = self._checked(validation[0], validation[1], False)
                judged = self.network_.examples(X_val, self._targets(y_val, False))
            except ValueError as error:
                raise parameters.of_validation(error) from error
        elif self.early_stopping:
            rows, held = self._split(targets, draw)
            judged = take(examples, held)
        self._train(examples, rows, judged, draw, one_epoch)

    def _checked(self, X: Any, y: Any, first: bool) -> tuple[Any, np.ndarray]:
        X, y = validate_data(self, X, y, reset=first, multi_output=True, y_numeric=self._regresses, **FORM)
        y = y.toarray() if issparse(y) else y
        return X, column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

    def _weights(self, y: np.ndarray, sample_weight: Any) -> Any:
        return sample_weight

    def _layers(self, inputs: int, targets: np.ndarray) -> tuple[Layer, ...]:
        hidden, activations, rates = parameters.hidden(self)
        layers: list[Layer] = [Input(inputs)]
        for units, activation, rate in zip(hidden, activations, rates, strict=True):
            layers += [Dense(units, activation), *([Dropout(rate)] if rate else [])]
        outputs, output, _, _ = self._output(targets)
        return *layers, Dense(outputs, output)

    def _begin(self, X: Any, targets: np.ndarray, draw: np.random.RandomState, outputs: list[str] | None) -> None:
        """Make the network, with its initial weights."""
        layers = self._layers(X.shape[1], targets)
        _, _, loss, classes = self._output(targets)
        self.network_ = MLP(layers, loss=loss)
        features = getattr(self, "feature_names_in_", None)
        self.network_.metadata = {
            "classes": classes,
            "image": None if self.image is None else [int(side) for side in self.image],
            "largest": float(X.max()) if X.shape[0] else None,
            "features": None if features is None else [str(name) for name in features],
            "outputs": outputs if classes is None else None,
        }
        activations = parameters.hidden(self)[1]
        initialize(self.network_, activations[0] if activations else "identity", draw)
        self._progress, self._rate, self._state, self._state_of, self._taken = Progress(), Dictated(), None, "", 0

    def _split(self, targets: np.ndarray, draw: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
        """Rows to train and rows to validate on, as scikit-learn draws them: only two classes keep their shares."""
        two = not self._regresses and targets.ndim == 2 and targets.shape[1] == 1
        rows, held = train_test_split(
            np.arange(len(targets)),
            random_state=draw,
            test_size=self.validation_fraction,
            stratify=targets if two else None,
        )
        if len(held) < 2:
            raise DataError("the validation set has fewer than 2 samples; raise validation_fraction")
        return rows, held

    def _minimize(self, examples: Examples) -> None:
        found = minimize(self.network_, examples, self.alpha, self.max_iter, self.max_fun, self.tol, self.backend,
                         self._threads())  # fmt: skip
        for name in ("loss_curve_", "best_loss_", *VALIDATED):  # of another solver's fit before
            self.__dict__.pop(name, None)
        self.n_iter_, self.t_ = found.iterations, self._progress.samples
        self.loss_ = found.loss / (self.n_outputs_ if self._regresses else 1)
        if not found.converged:
            warnings.warn(f"lbfgs did not converge ({found.why}); raise max_iter, or scale the data",
                          ConvergenceWarning, stacklevel=4)  # fmt: skip

    def _train(self, examples: Examples, rows: Any, judged: Any, draw: np.random.RandomState, one_epoch: bool) -> None:
        network, samples = self.network_, len(examples) if rows is None else len(rows)
        batch = min(200, samples) if isinstance(self.batch_size, str) else self.batch_size
        if batch > samples:
            warnings.warn(f"batch_size {batch} is more than the {samples} samples; one batch has all", stacklevel=4)
            batch = samples
        chosen = slice(None) if rows is None else rows
        weight = 1.0 if examples.weights is None else float(examples.weights[chosen].mean()) or 1.0  # 0: `Fit` says so
        draws = self.augment is not None or any(network.architecture.dropout)
        optimizer = self._optimizer()
        if not one_epoch or self._state_of != optimizer.name:
            self._rate, self._state, self._taken = Dictated(), None, 0
        self._state_of = optimizer.name
        rules = Rules(
            self._progress,
            alpha=self.alpha / weight,
            share=1 / self.n_outputs_ if self._regresses else 1.0,
            tol=self.tol,
            patience=self.n_iter_no_change,
            kind=self.learning_rate if self.solver == "sgd" else "constant",
            power_t=self.power_t,
            rate=self._rate if self.schedule is None else None,
            early=self.early_stopping,
            score=None if judged is None else lambda record: self._validation_score(record, judged),
            say=print if self.verbose else None,
        )
        fit = Imitation(
            network,
            examples,
            judged,
            epochs=1 if one_epoch else self.max_iter,
            batch_size=batch,
            optimizer=optimizer,
            schedule=self._rate if self.schedule is None else make_schedule(self.schedule),
            weight_decay=self.alpha / (batch * weight),
            clip_norm=0.0,
            label_smoothing=0.0,
            shuffle=self.shuffle,
            augment=self.augment,
            image=None if self.image is None else (int(self.image[0]), int(self.image[1])),
            callbacks=[rules, *self.callbacks],
            backend=self.backend,
            threads=self._threads(),
            seed=int(draw.randint(2**31)) if draws else 0,
            rows=rows,
            draw=draw,
            taken=self._taken,
        )
        if self._state is not None:
            fit.job.state[...] = self._state
        interrupted = False
        try:
            fit.run()
        except KeyboardInterrupt:
            interrupted = True
            warnings.warn("training was interrupted; the weights are those of that moment", stacklevel=4)
        self._state, self._taken = np.array(fit.job.state), fit.taken + fit.epoch * fit.steps
        self._say_what_was_found(fit.epoch, judged is not None)
        if not (one_epoch or rules.converged or interrupted) and fit.epoch == self.max_iter:
            warnings.warn(f"the {self.max_iter} epochs of max_iter ended before training converged; raise max_iter",
                          ConvergenceWarning, stacklevel=4)  # fmt: skip

    def _say_what_was_found(self, epochs: int, validated: bool) -> None:
        found = self._progress
        if self.early_stopping and found.best is not None:
            self.network_.flat[:] = found.best
        self.n_iter_, self.t_, self.loss_curve_ = epochs, found.samples, found.losses
        self.loss_ = found.losses[-1] if found.losses else float("nan")
        self.best_loss_ = None if self.early_stopping else found.best_loss
        self.validation_scores_ = found.scores if validated else None
        self.best_validation_score_ = max(found.scores) if validated and found.scores else None
        self.validation_loss_curve_ = found.validation_losses if validated else None

    # ------------------------------------------------------------ use

    def _outputs(self, X: Any, network: MLP | None = None) -> np.ndarray:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, **FORM)  # which checks the values already
        network = network or self.network_
        examples = network.examples(X) if issparse(X) else Examples(np.ascontiguousarray(X))
        return network.forward(examples, self.backend, self._threads())

    def transform(self, X: Any) -> np.ndarray:
        """The activations of the last hidden layer.

        Parameters
        ----------
        X : as for `fit`

        Returns
        -------
        float32 array (N, O)
            Without hidden layers X itself (N, I), float32 or uint8.

        Raises
        ------
        ValueError
            Data that do not fit, or an estimator that is not fitted (NotFittedError).
        """
        check_is_fitted(self)
        hidden = self.network_.without_last()
        if hidden is not None:
            return self._outputs(X, hidden)
        same: np.ndarray = validate_data(self, X, reset=False, **FORM)
        return same

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
