import numpy as np
import pytest

from fastnn.data import load
from fastnn.data.dataset import Table
from fastnn.data.labels import targets
from fastnn.errors import ConfigError, DataError


def table(labels):
    labels = np.array(labels, dtype=object if isinstance(labels[0], str) else None)
    return Table(np.zeros((len(labels), 1), np.uint8), labels, "file")


@pytest.mark.parametrize(
    ("labels", "y", "classes"),
    [
        ([0, 2, 1], [0, 2, 1], ("0", "1", "2")),
        ([0, 3], [0, 3], ("0", "1", "2", "3")),  # a class may lack examples
        ([1.0, 0.0], [1, 0], ("0", "1")),
        ([True, False], [1, 0], ("0", "1")),
        (["1", "0"], [1, 0], ("0", "1")),
        (["1.0", "0"], [1, 0], ("0", "1")),
        (["10", "9", "x"], [0, 1, 2], ("10", "9", "x")),
        ([[1], [0]], [1, 0], ("0", "1")),
        ([[0, 0, 1], [1, 0, 0]], [2, 0], ("0", "1", "2")),
    ],
)
def test_classes(labels, y, classes):
    found, names = targets(table(labels))
    np.testing.assert_array_equal(found, y)
    assert found.dtype == np.int64
    assert names == classes


@pytest.mark.parametrize(
    ("labels", "task", "y"),
    [
        ([0.5, 2, 1], "auto", [[0.5], [2], [1]]),
        (["0.5", "-2"], "auto", [[0.5], [-2]]),
        ([3, 3, -4], "regression", [[3], [3], [-4]]),
        (["3", "1e3"], "regression", [[3], [1000]]),
        ([[0, 2], [1, 3]], "auto", [[0, 2], [1, 3]]),
        ([[0, 1], [1, 0]], "regression", [[0, 1], [1, 0]]),
    ],
)
def test_regression(labels, task, y):
    found, names = targets(table(labels), task)
    np.testing.assert_array_equal(found, np.array(y, np.float32))
    assert found.dtype == np.float32
    assert names is None


@pytest.mark.parametrize(
    ("labels", "task", "classes", "message"),
    [
        ([0, 1, -1], "auto", None, "file, row 3: the label -1 is negative"),
        ([0, 1, -1.0], "classification", None, "row 3: the label -1 is negative"),
        ([1, 1], "auto", None, "two classes"),
        (["a", "a"], "auto", None, "two classes"),
        ([0.5, 1], "classification", None, "fractional part"),
        ([0.5, 1], "auto", ["0", "1"], "fractional part"),
        ([[1, 2], [3, 4]], "classification", None, "several in a row"),
        ([0, 250000], "auto", None, "go up to 250000, but only 2 different ones occur"),
        ([0, np.inf], "regression", None, "row 2: a label is not a finite float32"),
        ([0, 1e39], "regression", None, "row 2: a label is not a finite float32"),
        (["1", "x"], "regression", None, "row 2: the label 'x' is not a number"),
        (["1", ""], "regression", None, "row 2: the label '' is not a number"),
        (["a", "", "b"], "auto", None, "row 2: the label is missing"),
        ([0, 2], "auto", ["a", "b"], "row 2: the label 2 is beyond the classes learnt, 0 to 1"),
        (["b", "fish"], "auto", ["a", "b"], r"row 2: the label 'fish' is none of the 2 classes learnt \('a', 'b'\)"),
    ],
)
def test_unusable_labels(labels, task, classes, message):
    with pytest.raises(DataError, match=message):
        targets(table(labels), task, classes)


def test_unknown_task():
    with pytest.raises(ConfigError, match="guess"):
        targets(table([0, 1]), "guess")


@pytest.mark.parametrize(
    ("labels", "classes", "y"),
    [
        ([1, 1], ["0", "1", "2"], [1, 1]),
        (["dog"], ["cat", "dog"], [1]),
        (["1", "2"], ["1", "2", "x"], [0, 1]),  # by name, though they look like indices
        (["1", "2.0"], ["0", "1", "2"], [1, 2]),
    ],
)
def test_labels_are_read_by_the_classes_of_a_model(labels, classes, y):
    found, names = targets(table(labels), classes=classes)
    np.testing.assert_array_equal(found, y)
    assert names == tuple(classes)


def test_the_test_set_must_be_of_the_classes_of_the_training_set(tmp_path):
    X, y = np.zeros((3, 2)), np.array([0, 1, 1])
    np.savez(tmp_path / "a.npz", x_train=X, y_train=y, x_test=X, y_test=[0, 0, 0])
    assert load(tmp_path / "a.npz")[1].classes == ("0", "1")
    np.savez(tmp_path / "a.npz", x_train=X, y_train=y, x_test=X, y_test=[0, 2, 0])
    with pytest.raises(DataError, match="row 2: the label 2 is beyond the classes learnt"):
        load(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", x_train=X, y_train=y, x_test=X, y_test=[0, 0.5, 0])
    with pytest.raises(DataError, match="fractional part"):
        load(tmp_path / "a.npz")


def test_the_test_set_of_a_regression_is_one_too(tmp_path):
    X = np.zeros((3, 2))
    np.savez(tmp_path / "a.npz", x_train=X, y_train=[0, 0.5, 1], x_test=X, y_test=[7, 7, 7])
    _, test = load(tmp_path / "a.npz")
    assert test.classes is None
    np.testing.assert_array_equal(test.y, np.full((3, 1), 7, np.float32))
