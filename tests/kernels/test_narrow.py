"""Narrow nets, whose samples lie side by side, within the bounds of float32: each loss, and batches cut in each way."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fastnn import kernels
from fastnn.kernels import plan
from tests.cases import OUTPUTS, Case
from tests.kernels.test_equivalence import CHECKS

NARROW = Case((24, 8, 3), ("tanh",), samples=300, batch_size=140)


@pytest.mark.parametrize("kernel", ["gradients", "train"])
@pytest.mark.parametrize(
    "settings",
    [
        *({"output": output, "loss": loss} for output, loss in OUTPUTS),
        {"weighted": True, "label_smoothing": 0.1, "optimizer": "nesterov", "clip_norm": 0.05},
        {"real": False, "scaling": "each", "widths": (13, 3, 2)},
        {"widths": (24, 12, 3)},  # of more units than are summed at once, and no whole panel
        {"samples": 2700, "batch_size": 2400, "threads": 2},  # more than a block of samples in a piece
        {"samples": 513, "batch_size": 512, "threads": 3},  # a last batch with which most pieces have nothing
    ],
    ids=str,
)
def test_narrow_nets_of_each_kind(settings: dict[str, Any], kernel: str) -> None:
    case, fused = replace(NARROW, **settings), kernels.backend("fused")
    CHECKS[kernel](fused, case)
    job = case.job()
    fused.train(job, case.order(), 0, 0, case.steps(1))
    assert job.workspace.words[plan.NARROW]


@pytest.mark.parametrize("threads", [1, 2])
def test_pieces_lie_apart(threads: int) -> None:
    """Samples 0..64 and 64..140, whole groups: each stands in its piece's place, and nothing in the gap between."""
    case = replace(NARROW, threads=threads)
    job = case.job()
    kernels.backend("fused").train(job, case.order()[:140], 0, 0, case.steps(1))
    work, gap = job.workspace, plan.PIECES_APART
    assert work.words[plan.PIECES] == 2
    there = np.flatnonzero(work.losses)
    assert there.tolist() == [*range(64), *range(64 + gap, 140 + gap)]
    assert len(work.losses) >= 140 + gap
