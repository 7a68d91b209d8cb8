"""Data sets: reading them from files, checking them, dividing and scaling them."""

from fastnn.data.dataset import Dataset
from fastnn.data.fetch import fetch
from fastnn.data.sources import load
from fastnn.data.split import fit_scale, one_hot, shuffle, split, split_rows

__all__ = ["Dataset", "fetch", "fit_scale", "load", "one_hot", "shuffle", "split", "split_rows"]
