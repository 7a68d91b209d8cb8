"""The first layer's parameters, group by group: they are all there, and they come back."""

from contextlib import suppress

import numpy as np
import pytest

from fastnn.kernels.apart import Apart, bring_back
from fastnn.kernels.job import Examples, Job
from fastnn.layers import Architecture, Dense, Input


def job() -> Job:
    net = Architecture.of([Input(5), Dense(70), Dense(3)])
    flat = np.arange(net.size, dtype=np.float32)
    return Job(net, flat, Examples(np.ones((1, 5), np.float32)), state=np.stack([flat + 0.25, flat + 0.5]))


def test_groups_stand_by_themselves_and_what_they_become_comes_back():
    mine, widths = job(), [32, 48]
    apart, before = Apart.of(widths, 6, 3), [mine.parameters.copy(), *mine.state.copy()]
    with suppress(KeyboardInterrupt), apart.moved(mine):
        for own, flat in zip(apart.room, before, strict=True):
            rows = flat[: 6 * 80].reshape(6, 80)
            groups = [own[b : b + 6 * width].reshape(6, width) for b, width in apart.places.tolist()]
            np.testing.assert_array_equal(np.hstack(groups), rows)
        apart.room += 1000
        raise KeyboardInterrupt
    for now, flat in zip([mine.parameters, *mine.state], before, strict=True):
        np.testing.assert_array_equal(now[: 6 * 80], flat[: 6 * 80] + 1000)
        np.testing.assert_array_equal(now[6 * 80 :], flat[6 * 80 :])


class Interrupting:
    """Stands for an array: the first time that something is put into it, Ctrl-C comes."""

    def __init__(self):
        self.held = None
        self.calls = 0

    def __setitem__(self, place, values):
        self.calls += 1
        if self.calls == 1:
            raise KeyboardInterrupt
        self.held = values


def test_an_interrupt_while_all_is_brought_back_waits_until_it_is():
    there, other = Interrupting(), np.zeros(3)
    with pytest.raises(KeyboardInterrupt):
        bring_back([(np.ones(3), other), (np.full(3, 2.0), there)])
    np.testing.assert_array_equal(there.held, np.full(3, 2.0))
    np.testing.assert_array_equal(other, np.ones(3))
