"""Where arrays are; and what stands between layers: panels of units, and the input 1 that a bias is the weight of."""

import numpy as np

from fastnn.layers import LANES as PANEL


def panels_of(width: int) -> int:
    """How many panels so many units take."""
    return -(-width // PANEL)


def write_ones(values: np.ndarray, width: int, batch: int, jump: int, narrow: bool) -> None:
    """Behind the `width` units of an input, which begins with `values`, stands the 1 that a bias is the weight of."""
    if narrow:
        groups = panels_of(batch)
        values[: groups * (width + 1) * PANEL].reshape(groups, width + 1, PANEL)[:, width] = 1
    else:
        start = width // PANEL * jump + width % PANEL
        values[start : start + PANEL * batch : PANEL] = 1


def address_of(array: np.ndarray | None) -> int:
    """Where an array begins; 0 for none. Where training has emptied the caches, `array.ctypes` took 14 us."""
    return 0 if array is None else int(array.__array_interface__["data"][0])
