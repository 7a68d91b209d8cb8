import numpy as np
import pytest

from fastnn.data import Dataset
from fastnn.errors import DataError

X = np.arange(12, dtype=np.uint8).reshape(4, 3)


def test_take():
    data = Dataset(X, np.array([0, 1, 2, 0]), ("a", "b", "c"), (1, 3))
    assert len(data) == 4
    for rows in (np.array([2, 0]), np.array([True, False, True, False]), slice(0, 2)):
        taken = data.take(rows)
        np.testing.assert_array_equal(taken.X, X[rows])
        np.testing.assert_array_equal(taken.y, data.y[rows])
        assert (taken.X.dtype, taken.classes, taken.image) == (np.uint8, data.classes, data.image)
        assert taken.X.flags.c_contiguous
    assert data.take(slice(None, None, 2)).X.flags.c_contiguous


def test_shapes_that_do_not_go_together():
    with pytest.raises(DataError, match=r"\(4, 3\) and y of shape \(3,\)"):
        Dataset(X, np.zeros(3, int))
    with pytest.raises(DataError, match="do not go together"):
        Dataset(X[0], np.zeros(3, int))
    with pytest.raises(DataError, match="2 x 2 pixels does not fit 3 features"):
        Dataset(X, np.zeros(4, int), image=(2, 2))
