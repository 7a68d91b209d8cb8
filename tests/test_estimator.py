"""The estimators: scikit-learn's own checks, its own figures, and what its MLP does not have."""

import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
from sklearn import config_context, neural_network
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_classification, make_multilabel_classification, make_regression
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastnn
from fastnn import Augment, Callback, MLPClassifier, MLPRegressor
from fastnn.errors import ConfigError, DivergedError
from fastnn.schedules import Schedule

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# No float32 reaches their bound of 1e-7; see `test_a_weight_of_two_is_the_sample_twice`.
BEYOND_FLOAT32 = {
    "check_sample_weight_equivalence_on_dense_data": "its bound is 1e-7",
    "check_sample_weight_equivalence_on_sparse_data": "its bound is 1e-7",
}


@parametrize_with_checks([MLPClassifier(), MLPRegressor()], expected_failed_checks=lambda estimator: BEYOND_FLOAT32)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


# ---------------------------------------------------------------- as scikit-learn's own MLP

SAMPLES = 300
TASKS = {
    "classes": make_classification(SAMPLES, 10, n_informative=6, n_classes=4, random_state=1),
    "two classes": make_classification(SAMPLES, 10, random_state=1),
    "labels": make_multilabel_classification(SAMPLES, 10, n_classes=3, random_state=1),
    "numbers": make_regression(SAMPLES, 10, n_informative=6, n_targets=1, noise=10, random_state=1),
    "columns": make_regression(SAMPLES, 10, n_informative=6, n_targets=3, noise=10, random_state=1),
}
SETTINGS = {
    "adam": {},
    "two layers": {"hidden_layer_sizes": (20, 10), "activation": "tanh", "alpha": 0.1},
    "no hidden layer": {"hidden_layer_sizes": ()},
    "plain sgd": {"solver": "sgd", "momentum": 0, "learning_rate_init": 0.01, "activation": "logistic"},
    "momentum": {"solver": "sgd", "nesterovs_momentum": False, "learning_rate_init": 0.005, "activation": "identity"},
    "nesterov": {"solver": "sgd", "learning_rate_init": 0.005, "shuffle": False},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1, "power_t": 0.3},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.02, "tol": 0.02,
                 "n_iter_no_change": 2, "max_iter": 60},
    "early": {"early_stopping": True, "n_iter_no_change": 4, "learning_rate_init": 0.01, "max_iter": 60,
              "validation_fraction": 1 / 3},
}  # fmt: skip


def both(task, **settings):
    """The estimator here and scikit-learn's, fitted alike."""
    X, y = TASKS[task]
    y = y / 100 if task in ("numbers", "columns") else y
    X = StandardScaler().fit_transform(X)
    name = "MLPRegressor" if task in ("numbers", "columns") else "MLPClassifier"
    settings = {"hidden_layer_sizes": (16,), "batch_size": 50, "max_iter": 25, "random_state": 3} | settings
    ours, theirs = (getattr(module, name)(**settings).fit(X, y) for module in (fastnn, neural_network))
    return ours, theirs, X, y


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("task", TASKS)
def test_the_loss_curve_is_scikit_learns(task, settings):
    ours, theirs, X, y = both(task, **settings)
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.t_ == theirs.t_
    # 60 epochs of 6 steps, each rounded to 2^-24, may drift apart by some hundred roundings
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-4)
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-4)
    for mine, its in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        np.testing.assert_allclose(mine, its, atol=1e-2)  # Adam moves weights by roundings where gradients are nearly 0
    if settings.get("early_stopping"):
        np.testing.assert_allclose(ours.validation_scores_, theirs.validation_scores_, atol=1e-4)
        assert ours.best_validation_score_ == pytest.approx(theirs.best_validation_score_, abs=1e-4)
        assert ours.best_loss_ is theirs.best_loss_ is None
    else:
        assert ours.best_loss_ == pytest.approx(theirs.best_loss_, rel=1e-4)
    for name in ("n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert np.mean(ours.predict(X) == theirs.predict(X)) > 0.99 or task in ("numbers", "columns")
    assert ours.score(X, y) == pytest.approx(theirs.score(X, y), abs=5e-3)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("task", TASKS)
def test_five_epochs_are_scikit_learns_to_float32(task, settings):
    ours, theirs, _, _ = both(task, **settings | {"max_iter": 5})
    # found: up to 3e-6, most of it where alpha or steps are large, for |W| within an epoch is taken to go straight
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-5)
    for mine, its in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        np.testing.assert_allclose(mine, its, rtol=0, atol=2e-6)  # found: up to 9e-7, some roundings of 2^-24 a step


def test_it_has_all_parameters_that_scikit_learns_has_with_the_same_defaults():
    for name in ("MLPClassifier", "MLPRegressor"):
        ours, theirs = (getattr(module, name)().get_params() for module in (fastnn, neural_network))
        theirs.pop("loss", None)
        assert {name: ours[name] for name in theirs} == theirs


def test_partial_fit_goes_on_as_scikit_learns():
    X, y = TASKS["classes"]
    X = StandardScaler().fit_transform(X)
    made = [module.MLPClassifier((16,), random_state=0, batch_size=50) for module in (fastnn, neural_network)]
    for begin in (0, 100, 200, 0, 100, 200):
        for one in made:
            one.partial_fit(X[begin : begin + 100], y[begin : begin + 100], classes=np.arange(4))
    np.testing.assert_allclose(made[0].loss_curve_, made[1].loss_curve_, rtol=1e-6)  # 12 steps of float32
    assert made[0].t_ == made[1].t_ == 600


def test_a_warm_start_goes_on_as_scikit_learns():
    X, y = TASKS["numbers"]
    settings = {"hidden_layer_sizes": (8,), "warm_start": True, "max_iter": 5, "random_state": 0}
    made = [module.MLPRegressor(**settings) for module in (fastnn, neural_network)]
    for one in made:
        one.fit(X, y / 100).fit(X, y / 100)
    np.testing.assert_allclose(made[0].loss_curve_, made[1].loss_curve_, rtol=1e-6)  # 20 steps of float32
    assert len(made[0].loss_curve_) == 10


@pytest.mark.parametrize("factor", [0.1, 10.0])
def test_the_penalty_is_divided_by_what_a_batch_weighs(factor):
    X, y = TASKS["classes"]
    X, weights = StandardScaler().fit_transform(X), np.full(len(X), factor)
    settings = {"hidden_layer_sizes": (8,), "alpha": 5.0, "max_iter": 5, "random_state": 0, "batch_size": 50}
    made = [module.MLPClassifier(**settings).fit(X, y, weights) for module in (fastnn, neural_network)]
    np.testing.assert_allclose(made[0].loss_curve_, made[1].loss_curve_, rtol=2e-4)  # |W| within an epoch: a mean
    np.testing.assert_allclose(made[0].coefs_[0], made[1].coefs_[0], rtol=0, atol=2e-6)  # 30 steps of float32


@pytest.mark.parametrize("task", ["classes", "two classes", "labels", "numbers"])
def test_lbfgs_comes_to_scikit_learns_loss(task):
    ours, theirs, _, _ = both(task, solver="lbfgs", max_iter=500, alpha=3.0, activation="identity")
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-5)  # found: up to 2e-6, where both end near the minimum


def test_lbfgs_ignores_early_stopping_and_counts_no_samples_as_scikit_learns():
    settings = {"solver": "lbfgs", "alpha": 3.0, "activation": "identity"}
    ours, theirs, X, y = both("classes", **settings, early_stopping=True)
    np.testing.assert_array_equal(ours.coefs_[0], both("classes", **settings)[0].coefs_[0])
    assert ours.t_ == theirs.t_ == 0
    assert not hasattr(ours, "validation_scores_")
    for one in (ours, theirs):
        one.set_params(solver="adam", early_stopping=False, max_iter=3).fit(X, y)
        one.set_params(solver="lbfgs", warm_start=True).fit(X, y)
    assert ours.t_ == theirs.t_ == 3 * SAMPLES


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_one_number_weighs_all_samples_as_scikit_learns(solver):
    X, y = TASKS["classes"]
    settings = {"hidden_layer_sizes": (8,), "solver": solver, "max_iter": 5, "random_state": 0, "alpha": 1.0}
    ours = [MLPClassifier(**settings).fit(X, y, weight) for weight in (2.0, np.full(len(X), 2.0))]
    np.testing.assert_array_equal(ours[0].coefs_[0], ours[1].coefs_[0])
    theirs = neural_network.MLPClassifier(**settings).fit(X, y, 2.0)
    assert ours[0].loss_ == pytest.approx(theirs.loss_, rel=1e-3)  # |W| within an epoch: a mean


def test_lbfgs_minimises_the_sum_over_columns():
    ours, theirs, X, y = both("columns", solver="lbfgs", max_iter=500, activation="identity")
    assert ours.score(X, y) > theirs.score(X, y) - 1e-3


# ---------------------------------------------------------------- at home in scikit-learn


@pytest.fixture(scope="module")
def digits():
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return (X / 16).astype(np.float32), y


def test_it_works_in_pipelines_searches_and_calibration(digits):
    X, y = digits
    pipe = make_pipeline(StandardScaler(), MLPClassifier((32,), max_iter=20, learning_rate_init=0.01, random_state=0))
    assert cross_val_score(pipe, X, y, cv=3).mean() > 0.9
    search = GridSearchCV(pipe, {"mlpclassifier__hidden_layer_sizes": [(2,), (32,)]}, cv=2, n_jobs=2).fit(X, y)
    assert search.best_params_ == {"mlpclassifier__hidden_layer_sizes": (32,)}
    calibrated = CalibratedClassifierCV(pipe, cv=2).fit(X, y)
    assert calibrated.score(X, y) > 0.9


def test_copies_and_pickles_are_as_good_and_clones_are_not_fitted(digits):
    X, y = digits
    net = MLPClassifier((16,), max_iter=5, random_state=0).fit(X, y)
    again = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(again.predict_proba(X), net.predict_proba(X))
    again.partial_fit(X, y)
    net.partial_fit(X, y)
    np.testing.assert_array_equal(again.coefs_[0], net.coefs_[0])
    assert not hasattr(clone(net), "coefs_")
    net.coefs_[1][:] = 0
    assert np.ptp(net.predict_proba(X), axis=0).max() == 0, "coefs_ are the network's own"


def test_weights_find_their_way_through_a_pipeline(digits):
    X, y = digits
    weights = np.where(y == 8, 0.0, 1.0)
    with config_context(enable_metadata_routing=True):
        net = MLPClassifier((16,), learning_rate_init=0.01, max_iter=10, random_state=0).set_fit_request(
            sample_weight=True
        )
        pipe = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), net).fit(
            X, y, sample_weight=weights
        )
    assert 8 not in pipe.predict(X)


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_frames_give_the_features_their_names(digits, kind):
    frames = pytest.importorskip(kind)
    X, y = digits
    names = [f"pixel {k}" for k in range(X.shape[1])]
    frame = frames.DataFrame(X, columns=names) if kind == "pandas" else frames.DataFrame(X, schema=names)
    net = MLPClassifier((16,), max_iter=3, random_state=0).fit(frame, frames.Series(y))
    assert net.feature_names_in_.tolist() == names
    plain = MLPClassifier((16,), max_iter=3, random_state=0).fit(X, y)
    np.testing.assert_array_equal(net.predict_proba(frame), plain.predict_proba(X))
    assert net.set_output(transform=kind).transform(frame).shape == (len(X), 16)


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_frames_give_what_is_predicted_its_name(digits, kind):
    X, y = digits
    table, net = pytest.importorskip(kind).DataFrame({"weight": y, "height": 2 * y}), MLPRegressor((4,), max_iter=1)
    for given, names in ((table, ["weight", "height"]), (table["height"], ["height"]), (y, None)):
        assert net.fit(X, given).network_.metadata["outputs"] == names


def test_it_shows_itself_in_a_notebook(digits):
    assert "MLPClassifier" in MLPClassifier((16,))._repr_html_()


# ---------------------------------------------------------------- what scikit-learn's MLP has not


def test_a_weight_of_two_is_the_sample_twice(digits):
    X, y = digits[0][:400], digits[1][:400]
    weights = np.random.default_rng(0).integers(0, 4, len(X))
    settings = {"max_iter": 8, "random_state": 0, "solver": "sgd", "learning_rate_init": 0.1, "batch_size": 4000}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a batch of more than all samples has all of them
        weighted = MLPClassifier((16,), **settings).fit(X, y, sample_weight=weights)
        repeated = MLPClassifier((16,), **settings).fit(np.repeat(X, weights, axis=0), np.repeat(y, weights))
    for one, other in zip(weighted.coefs_, repeated.coefs_, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)  # 8 steps of sums of 600 float32 values


def test_class_weights_multiply_those_of_samples(digits):
    X, y = digits
    by_class = MLPClassifier((8,), max_iter=4, random_state=0, class_weight={3: 5.0}).fit(X, y, np.full(len(y), 2.0))
    by_sample = MLPClassifier((8,), max_iter=4, random_state=0).fit(X, y, np.where(y == 3, 10.0, 2.0))
    np.testing.assert_array_equal(by_class.coefs_[0], by_sample.coefs_[0])
    few = np.flatnonzero((y == 0) | ((y == 1) & (np.arange(len(y)) < 200)))
    X, y = X[few], y[few]
    balanced, by_hand = ({0: len(y) / 2 / np.sum(y == 0), 1: len(y) / 2 / np.sum(y == 1)}, "balanced")
    nets = [MLPClassifier((8,), max_iter=4, random_state=0, class_weight=one).fit(X, y) for one in (balanced, by_hand)]
    np.testing.assert_array_equal(nets[0].coefs_[0], nets[1].coefs_[0])
    balanced = nets[1]
    with pytest.raises(ConfigError, match="balanced"):
        balanced.partial_fit(X, y)


def test_each_layer_may_have_its_own_activation_and_dropout(digits):
    X, y = digits
    net = MLPClassifier((32, 16), ("elu", "gelu"), dropout=(0.2, 0.0), max_iter=40, random_state=0).fit(X, y)
    assert net.network_.architecture.activations == ("elu", "gelu", "softmax")
    assert net.network_.architecture.dropout[1] == 0.2
    assert net.score(X, y) > 0.9
    same = MLPClassifier((32, 16), ("elu", "gelu"), dropout=(0.2, 0.0), max_iter=40, random_state=0, n_jobs=2)
    np.testing.assert_array_equal(same.fit(X, y).coefs_[0], net.coefs_[0])
    with pytest.raises(ConfigError, match="activation has 1 values for 2 hidden layers"):
        MLPClassifier((32, 16), ("elu",)).fit(X, y)


def test_a_validation_set_of_ones_own_is_judged_on(digits):
    X, y = digits
    net = MLPClassifier((16,), max_iter=6, random_state=0).fit(X[:1000], y[:1000], X_val=X[1000:], y_val=y[1000:])
    assert net.validation_scores_[-1] == pytest.approx(net.score(X[1000:], y[1000:]))
    loss = net.network_.evaluate(X[1000:], y[1000:])["loss"]
    assert net.validation_loss_curve_[-1] == pytest.approx(loss)
    early = MLPClassifier((16,), max_iter=60, random_state=0, early_stopping=True, learning_rate_init=0.05)
    early.fit(X[:1000], y[:1000], X_val=X[1000:], y_val=y[1000:])
    assert early.score(X[1000:], y[1000:]) == pytest.approx(max(early.validation_scores_))
    words = MLPClassifier(early_stopping=True, max_iter=3).fit(X, np.array([f"digit {k}" for k in y]))
    assert words.predict(X[:1])[0].startswith("digit ")


def test_callbacks_schedules_and_augmentation_are_those_of_fastnn(digits):
    X, y = digits
    seen = []

    class Seen(Callback):
        def on_epoch_end(self, fit, record):
            seen.append(record["learning_rate"])

    settings = {"max_iter": 4, "random_state": 0, "learning_rate_init": 0.01}
    plain = MLPClassifier((16,), **settings).fit(X, y)
    net = MLPClassifier(
        (16,), schedule="linear", callbacks=[Seen()], augment=Augment(shift=1), image=(8, 8), **settings
    )
    net.fit(X, y)
    assert seen == pytest.approx([0.01, 0.0075, 0.005, 0.0025])

    class Halved(Schedule):
        def multipliers(self, epoch, epochs, steps, losses):
            return np.full(steps, 0.5**epoch)

    clone(MLPClassifier((16,), schedule=Halved(), callbacks=[Seen()], **settings)).fit(X, y)
    assert seen[4:] == pytest.approx([0.01, 0.005, 0.0025, 0.00125])
    assert net.loss_curve_[0] > plain.loss_curve_[0], "moved images are harder to learn"


def test_the_last_hidden_layer_is_what_transform_gives(digits):
    X, y = digits
    net = MLPClassifier((16, 8), "tanh", max_iter=5, random_state=0).fit(X, y)
    hidden = X
    for W, b in zip(net.coefs_[:-1], net.intercepts_[:-1], strict=True):
        hidden = np.tanh(hidden @ W + b)
    np.testing.assert_allclose(net.transform(X), hidden, atol=2e-6)  # two layers of tanh, 64 products each
    np.testing.assert_array_equal(MLPClassifier((), max_iter=2).fit(X, y).transform(X), X)


def test_the_network_can_be_saved_with_its_classes(digits, tmp_path):
    X, y = digits
    net = MLPClassifier((16,), max_iter=5, random_state=0).fit(X, y)
    net.network_.save(tmp_path / "digits.safetensors")
    again = fastnn.load(tmp_path / "digits.safetensors")
    np.testing.assert_array_equal(net.classes_[again.predict(X)], net.predict(X))
    assert again.metadata["classes"] == [str(k) for k in range(10)]


def test_bytes_stay_bytes_and_give_the_same_as_floats():
    train, _ = fastnn.data.load("mnist")
    X, y = train.X[:500], train.y[:500]
    nets = [MLPClassifier((8,), max_iter=2, random_state=0).fit(x, y) for x in (X, X.astype(np.float32))]
    np.testing.assert_array_equal(nets[0].predict_proba(X), nets[1].predict_proba(X))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"solver": "newton"}, "solver must be adam or sgd or lbfgs, not 'newton'"),
        ({"activation": "rellu"}, "relu"),
        ({"alpha": -1}, "alpha must be a number at least 0, not -1"),
        ({"hidden_layer_sizes": (0,)}, "hidden_layer_sizes"),
        ({"batch_size": 0}, "batch_size"),
        ({"solver": "lbfgs", "dropout": 0.5}, "^lbfgs knows no epochs, so no dropout; use the solver adam or sgd$"),
        ({"solver": "lbfgs", "schedule": "linear", "callbacks": [Callback()]}, "so no schedule and no callbacks; use"),
        (
            {"callbacks": [Callback(), print]},
            "^callbacks must be a list of Callback but holds <built-in function print>; give",
        ),
        ({"callbacks": Callback}, "^callbacks must be a list of Callback, not <class"),
        ({"hidden_layer_sizes": (10**12,)}, r"^there is no memory for so many parameters; give"),
        ({"hidden_layer_sizes": 10**25}, r"^there is no memory for so many parameters; give"),
        ({"class_weight": "equal"}, "^class_weight must be 'balanced' or a dict, .* not 'equal'$"),
        ({"class_weight": {11: 1.0, 12: 2.0}}, "^class_weight must be"),
        ({"class_weight": {3: -1.0}}, "^class_weight must be"),
        ({"class_weight": {3: "much"}}, "^class_weight must be"),
        ({"augment": Augment(shift=1)}, "image"),
        ({"early_stopping": True, "validation_fraction": 0.0001}, "validation"),
    ],
)
def test_settings_that_cannot_be_are_named(digits, settings, words):
    with pytest.raises(ValueError, match=words):
        MLPClassifier(**settings).fit(*digits)


@pytest.mark.parametrize(
    ("validation", "words"),
    [
        ((0, None), "^a validation set is both X_val and y_val; y_val is missing$"),
        ((None, 0), "^a validation set is both X_val and y_val; X_val is missing$"),
        (([[1.0], [2.0]], ["y", "X"]), "^X_val, y_val: X_val has 1 features, but MLPClassifier is expecting 2"),
        (([[1.0, np.nan]], ["y"]), r"^X_val, y_val: Input X_val contains NaN\.$"),
        (([[1.0, 2.0]], ["y", "X"]), "^X_val, y_val: .*inconsistent numbers of samples"),
        (([[1.0, 2.0]], ["z"]), "^X_val, y_val: y_val holds classes that the first fit did not know: .*'X' 'y'"),
    ],
)
def test_what_is_wrong_with_a_validation_set_is_said_of_it(validation, words):
    X, y = np.eye(2)[[0, 1, 0, 1]], np.array(["X", "y", "X", "y"])
    with pytest.raises(ValueError, match=words):
        MLPClassifier((2,), max_iter=1).fit(X, y, X_val=validation[0], y_val=validation[1])


def test_a_fit_that_fails_leaves_what_was_fitted(digits):
    X, y = digits
    net = MLPClassifier((16,), max_iter=3, random_state=0).fit(X, y)
    before = net.predict_proba(X)
    for arguments in ((X[:, :5], y + 0.5), (X[:, :5], y, np.ones(3)), (X, y % 3, None, X, y)):
        with pytest.raises(ValueError, match=r".+"):
            net.fit(*arguments)
        np.testing.assert_array_equal(net.predict_proba(X), before)
    with pytest.raises(ValueError, match="features"):
        net.predict(X[:, :5])
    new = MLPClassifier((16,), max_iter=3)
    with pytest.raises(ValueError, match="sample_weight"):
        new.fit(X, y, np.ones(3))
    assert not hasattr(new, "coefs_")


def test_what_goes_on_goes_on_as_it_was(digits):
    X, y = digits
    net = MLPClassifier((16,), max_iter=2, random_state=0).fit(X, y)
    net.set_params(solver="sgd", learning_rate_init=0.01).partial_fit(X, y)
    net.set_params(solver="adam", learning_rate_init=0.001).partial_fit(X, y)
    assert net.loss_curve_[-1] < net.loss_curve_[0]
    with pytest.raises(ConfigError, match="layers"):
        net.set_params(hidden_layer_sizes=(8,)).partial_fit(X, y)


def test_lbfgs_that_diverges_says_so():
    X, y = TASKS["numbers"]
    with np.errstate(all="ignore"), pytest.raises(DivergedError, match="scale"):
        MLPRegressor((4,), solver="lbfgs").fit(X * 1e30, y)


def test_of_one_class_nothing_else_is_predicted(digits, tmp_path):
    net = MLPClassifier((4,), max_iter=2).fit(digits[0][:20], np.full(20, "seven"))
    assert set(net.predict(digits[0])) == {"seven"}
    net.network_.save(tmp_path / "one.html")


def test_a_fit_that_ends_too_early_says_so(digits):
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        MLPClassifier(max_iter=2).fit(*digits)


def test_without_scikit_learn_the_command_is_named():
    code = "import sys; sys.modules['sklearn'] = None; import fastnn; fastnn.MLPClassifier"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "the estimators need scikit-learn: pip install 'fastnn-cpu[sklearn]'" in done.stderr.splitlines()[-1]
