"""The parts of a step that are measured are the step."""

import numpy as np
import pytest

from benchmarks.parts import PARTS, repeated, training_of
from fastnn.kernels import backend
from fastnn.kernels.plan import prepare


@pytest.mark.parametrize("name", PARTS)
def test_all_parts_in_a_row_are_a_step(name):
    task, training = training_of(name)
    job, batch = training.fit.job, task.row.batch
    order, steps, start = np.arange(batch), np.array([[0.5, 0.0, 0.0]]), job.parameters.copy()
    backend("fused").train(job, order, 0, 0, steps)
    expected = job.parameters.copy()
    assert not np.array_equal(start, expected)
    job.parameters[:] = start
    plan = prepare(job, batch, False)
    for part in PARTS[name]:
        if not part.within:
            repeated(part.work)(plan.at_words, batch, order.ctypes.data, steps.ctypes.data, 1)
    np.testing.assert_array_equal(job.parameters, expected)
