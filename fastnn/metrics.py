"""Figures that judge a classifier beyond its accuracy.

Letters: N samples, K classes.
"""

from typing import NamedTuple

import numpy as np


class PerClass(NamedTuple):
    """How well each class is found.

    Parameters
    ----------
    precision : float64 array (K,)
        The right ones among all that were taken for the class; NaN if none was.
    recall : float64 array (K,)
        The right ones among all that are of the class; NaN if none is.
    f1 : float64 array (K,)
        The harmonic mean of both: twice the right ones among those taken for the class and those of it; NaN if there
        are neither.
    samples : int64 array (K,)
        How many samples are of the class.
    """

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    samples: np.ndarray


def per_class(true: np.ndarray, predicted: np.ndarray, classes: int) -> PerClass:
    """Precision, recall and F1 of each class (van Rijsbergen: "Information retrieval", 1979, chapter 7).

    Parameters
    ----------
    true, predicted : int array (N,)
        Class indices from 0.
    classes : int
        K.
    """
    samples = np.bincount(true, minlength=classes)
    taken = np.bincount(predicted, minlength=classes)
    right = np.bincount(true[true == predicted], minlength=classes)
    with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN that is promised
        return PerClass(right / taken, right / samples, 2 * right / (taken + samples), samples)
