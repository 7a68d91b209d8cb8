"""`MLPClassifier` and `MLPRegressor`: scikit-learn's estimators of these names, trained by fastnn's kernels.

Parameters, attributes and methods that scikit-learn's have mean here what they mean there; those that it lacks stand
last. Letters: N samples, I features, O outputs, K classes.
"""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from fastnn.errors import ConfigError, DataError, MissingExtraError

try:
    from sklearn.base import ClassifierMixin, RegressorMixin
except ImportError as error:
    raise MissingExtraError("the estimators need scikit-learn: pip install 'fastnn-cpu[sklearn]'") from error
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels

from fastnn.augment import Augment
from fastnn.callbacks import Callback, Record
from fastnn.kernels.job import Examples
from fastnn.perceptron import Perceptron
from fastnn.schedules import Schedule


class MLPClassifier(ClassifierMixin, Perceptron):  # type: ignore[misc]
    """A multilayer perceptron that tells classes apart, by scikit-learn's interface.

    Two classes have one output, more have one each; a `y` of zeros and ones (N, K) is K labels of which each sample has
    any number.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int
        Units of each hidden layer.
    activation : str or sequence of str
        Of the hidden layers: identity, logistic, tanh, relu, or another one of `fastnn.layers.ACTIVATIONS` (elu, gelu,
        ...); a sequence names one for each.
    solver : {"adam", "sgd", "lbfgs"}
    alpha : float
        Strength of the L2 penalty, which is divided by the number of samples in a batch.
    batch_size : int or "auto"
        "auto" is min(200, N); lbfgs takes all samples at once.
    learning_rate : {"constant", "invscaling", "adaptive"}
        For sgd.
    learning_rate_init, power_t : float
    max_iter : int
        Epochs, or iterations of lbfgs.
    shuffle : bool
    random_state : int, RandomState or None
        Of initial weights, validation split and order: of the same one scikit-learn makes the same.
    tol, n_iter_no_change : float
        Training ends when for more than so many epochs the loss, or the validation score, was no better by `tol`.
    verbose : bool
    warm_start : bool
    momentum : float
    nesterovs_momentum : bool
    early_stopping : bool
        Stop by the validation score, and keep the weights of the best epoch.
    validation_fraction : float
        Of the samples, held out by `early_stopping`, unless `fit` is given a validation set.
    beta_1, beta_2, epsilon : float
        For adam.
    max_fun : int
        Evaluations of the loss, for lbfgs.
    dropout : float or sequence of float
        Rate after each hidden layer; not for lbfgs.
    schedule : str or fastnn.schedules.Schedule, optional
        Takes the place of `learning_rate`, over `max_iter` epochs, for adam too.
    augment : fastnn.Augment, optional
        Changes the training images anew in each epoch.
    image : (int, int), optional
        Height and width, where a sample is an image.
    callbacks : sequence of fastnn.Callback
    n_jobs : int, optional
        Threads: None chooses, -1 takes all there are. The result does not depend on it.
    backend : {"fused", "reference"}
    class_weight : dict or "balanced", optional
        What the samples of each class weigh, in addition to `sample_weight`.

    Attributes
    ----------
    classes_ : array (K,)
    network_ : fastnn.MLP
        The network itself: ``network_.save("digits.safetensors")`` takes it anywhere.
    coefs_, intercepts_ : list of float32 array (I, O) and (O,)
        Views of the network's parameters.
    loss_, best_loss_ : float
    loss_curve_ : list of float
        Training loss of each epoch, penalty included.
    validation_scores_, validation_loss_curve_ : list of float or None
        Of each epoch, without the penalty.
    n_iter_, t_, n_layers_, n_outputs_, n_features_in_ : int
    out_activation_ : str
    """

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
        class_weight: Any = None,
    ):
        super().__init__(
            hidden_layer_sizes,
            activation,
            solver=solver,
            alpha=alpha,
            batch_size=batch_size,
            learning_rate=learning_rate,
            learning_rate_init=learning_rate_init,
            power_t=power_t,
            max_iter=max_iter,
            shuffle=shuffle,
            random_state=random_state,
            tol=tol,
            verbose=verbose,
            warm_start=warm_start,
            momentum=momentum,
            nesterovs_momentum=nesterovs_momentum,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            n_iter_no_change=n_iter_no_change,
            max_fun=max_fun,
            dropout=dropout,
            schedule=schedule,
            augment=augment,
            image=image,
            callbacks=callbacks,
            n_jobs=n_jobs,
            backend=backend,
        )
        self.class_weight = class_weight

    # ------------------------------------------------------------ classes as targets

    def _targets(self, y: np.ndarray, first: bool) -> np.ndarray:
        check_classification_targets(y)
        several = type_of_target(y).startswith("multilabel")
        if first or "classes_" not in vars(self):
            self.classes_, self._several = unique_labels(y), several
        if several != self._several or (several and y.shape[1] != len(self.classes_)):
            raise DataError(f"y is of another kind than the one of the first fit, which knew {self.classes_}")
        if several:
            return y.astype(np.float32)
        if not np.isin(y, self.classes_).all():
            raise DataError(f"y holds classes that the first fit did not know: it knew {self.classes_}")
        indices = np.searchsorted(self.classes_, y)
        return indices if len(self.classes_) > 2 else indices.astype(np.float32)[:, None]

    def _output(self, targets: np.ndarray) -> tuple[int, str, str, list[str] | None]:
        count, names = len(self.classes_), [str(name) for name in self.classes_]
        names = [*names, "another"] if count == 1 else names
        if self._several:
            return count, "sigmoid", "binary_cross_entropy", None
        return (
            (count, "softmax", "cross_entropy", names) if count > 2 else (1, "sigmoid", "binary_cross_entropy", names)
        )

    def _weights(self, y: np.ndarray, sample_weight: Any) -> Any:
        if self.class_weight is None:
            return sample_weight
        try:
            by_class = compute_sample_weight(self.class_weight, y)
            good = np.isfinite(by_class) & (by_class >= 0)
        except (ValueError, TypeError):
            good = np.array(False)
        if not good.all():
            kind = "a list of one dict for each label" if self._several else "a dict"
            raise ConfigError(
                f"class_weight must be 'balanced' or {kind}, from y's classes to numbers of at least 0, "
                f"not {self.class_weight!r}"
            )
        return by_class if sample_weight is None else by_class * np.asarray(sample_weight)

    def _validation_score(self, record: Record, judged: Examples) -> float:
        if not self._several:
            return float(record["val_accuracy"])
        outputs = self.network_.outputs(judged.X, self.backend, self._threads())
        return float(accuracy_score(judged.targets, outputs > 0.5, sample_weight=judged.weights))

    # ------------------------------------------------------------ use

    @available_if(Perceptron.can_go_on)  # type: ignore[untyped-decorator]  # scikit-learn has no types
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Train for one epoch from where the last call ended.

        Parameters
        ----------
        X, y, sample_weight : as for `fit`
        classes : array (K,), optional
            All classes that will ever come; needed by the first call.

        Returns
        -------
        self

        Raises
        ------
        ConfigError
            As `fit`; or no classes in the first call, others in a later one, or the class_weight "balanced".
        DataError, ValueError, DivergedError
            As `fit`.
        """
        first = "network_" not in vars(self)
        if first:
            if classes is None and not type_of_target(y).startswith("multilabel"):
                raise ConfigError("the first call of partial_fit needs classes: all that will ever come")
            several = type_of_target(y).startswith("multilabel")
            self.classes_, self._several = unique_labels(y if several else classes), several
        elif classes is not None and not np.array_equal(self.classes_, unique_labels(classes)):
            raise ConfigError(f"classes differ from those of the first call of partial_fit, {self.classes_}")
        if isinstance(self.class_weight, str):
            raise ConfigError("partial_fit sees too little of the data for class_weight 'balanced'; give a dict")
        return self._fit(X, y, sample_weight, None, first, one_epoch=True)

    def predict(self, X: Any) -> np.ndarray:
        """The class of each sample. Parameters and Raises as of `transform`.

        Returns
        -------
        array (N,) of the dtype of `classes_`, or int64 array (N, K)
            The second is for a `y` of several labels: zeros and ones.
        """
        outputs = self._outputs(X)
        if self._several:
            return (outputs > 0.5).astype(int)
        one = outputs.shape[1] == 1
        found: np.ndarray = self.classes_[
            (outputs[:, 0] > 0.5) * (len(self.classes_) - 1) if one else outputs.argmax(axis=1)
        ]
        return found

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class. Parameters and Raises as of `transform`.

        Returns
        -------
        float32 array (N, K)
        """
        outputs = self._outputs(X)
        if outputs.shape[1] > 1 or self._several:
            return outputs
        return np.hstack([1 - outputs, outputs])

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """The logarithm of `predict_proba`. Parameters, Returns and Raises as of `predict_proba`."""
        with np.errstate(divide="ignore"):
            logarithms: np.ndarray = np.log(self.predict_proba(X))
        return logarithms

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class MLPRegressor(RegressorMixin, Perceptron):  # type: ignore[misc]
    """A multilayer perceptron that predicts numbers, by scikit-learn's interface, with half the squared error.

    Parameters and attributes as of `MLPClassifier`, without classes and their weights; `y` may have several
    columns, of which the loss is the mean. There is no parameter `loss`: scikit-learn's Poisson loss is not here.
    """

    _regresses = True

    def _targets(self, y: np.ndarray, first: bool) -> np.ndarray:
        return y.reshape(len(y), -1)

    def _output(self, targets: np.ndarray) -> tuple[int, str, str, list[str] | None]:
        return targets.shape[1], "identity", "quadratic", None

    def _validation_score(self, record: Record, judged: Examples) -> float:
        outputs = self.network_.outputs(judged.X, self.backend, self._threads())
        return float(r2_score(judged.targets, outputs, sample_weight=judged.weights))

    @available_if(Perceptron.can_go_on)  # type: ignore[untyped-decorator]  # scikit-learn has no types
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one epoch from where the last call ended. Raises as of `fit`.

        Parameters
        ----------
        X, y, sample_weight : as for `fit`

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, None, "network_" not in vars(self), one_epoch=True)

    def predict(self, X: Any) -> np.ndarray:
        """The prediction for each sample. Parameters and Raises as of `transform`.

        Returns
        -------
        float32 array (N,), or (N, O) for several outputs
        """
        outputs = self._outputs(X)
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs
