import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fastnn.metrics import per_class

pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=50)


@given(pairs)
def test_each_class_by_the_definition(rows):
    true, predicted = np.array(rows).T
    found = per_class(true, predicted, 5)
    for index in range(5):
        right = ((true == index) & (predicted == index)).sum()
        taken, there = (predicted == index).sum(), (true == index).sum()
        np.testing.assert_equal(found.precision[index], right / taken if taken else np.nan)
        np.testing.assert_equal(found.recall[index], right / there if there else np.nan)
        np.testing.assert_equal(found.f1[index], 2 * right / (taken + there) if taken + there else np.nan)
        assert found.samples[index] == there


def test_a_class_without_samples_is_nan_and_not_zero():
    found = per_class(np.array([0, 0]), np.array([0, 2]), 4)
    np.testing.assert_equal(found.precision, [1, np.nan, 0, np.nan])
    np.testing.assert_equal(found.recall, [0.5, np.nan, np.nan, np.nan])
    np.testing.assert_equal(found.f1, [2 / 3, np.nan, 0, np.nan])
