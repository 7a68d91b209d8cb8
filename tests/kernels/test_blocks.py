"""Layers and batches that are gone through block by block, each larger than a block, within the bounds of float32."""

from dataclasses import replace

import numpy as np
import pytest

from fastnn import kernels
from fastnn.kernels import KERNELS, cost, plan, simd
from tests.kernels.test_equivalence import CHECKS, FORMS, LARGE, WAY, WAYS, check_train, parametrize_backend, trained


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kernel", ["gradients", "train"])
def test_more_samples_at_once_than_a_block(monkeypatch: pytest.MonkeyPatch, kernel: str, form: str) -> None:
    """One thread takes a batch as a whole: 128, 128 and 34 samples, if it is not cut into pieces."""
    monkeypatch.setattr(plan, "pieces_of", lambda *_: 0)
    CHECKS[kernel](kernels.backend("fused"), replace(LARGE, threads=1, batch_size=290, **FORMS[form]))


@pytest.mark.parametrize("kernel", ["gradients", "train"])
@pytest.mark.parametrize("threads", [1, 2])
def test_more_deltas_than_stay_near(monkeypatch: pytest.MonkeyPatch, threads: int, kernel: str) -> None:
    """Nine panels of 700 samples: of all rows of the gradient some panels, then the next ones."""
    assert cost.DELTA_BYTES < 700 * 130 * 4
    monkeypatch.setattr(plan, "pieces_of", lambda *_: 0)
    case = replace(LARGE, widths=(40, 130, 140, 10), samples=700, batch_size=700, threads=threads)
    CHECKS[kernel](kernels.backend("fused"), case)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_columns_of_batches_whose_deltas_are_far(monkeypatch: pytest.MonkeyPatch, optimizer: str) -> None:
    """Groups of one panel to five, in parts of three at most: the same bits; other ones than in one way."""
    case = replace(WAY, **WAYS["by columns"][0], optimizer=optimizer)
    in_one_way = trained("fused", case)[0]
    monkeypatch.setattr(cost, "FAR", case.batch_size - 1)
    check_train(kernels.backend("fused"), replace(case, threads=2))
    first, *others = (trained("fused", replace(case, threads=threads)) for threads in (1, 2, 3, 10))
    for other in others:
        for one, same in zip(first, other, strict=True):
            np.testing.assert_array_equal(one, same)
    assert np.array_equal(first[0], in_one_way) == (simd.IN_TWO_WAYS == 0)


@pytest.mark.parametrize("kernel", KERNELS)
@parametrize_backend
def test_layers_beyond_a_block_of_weights(backend: str, kernel: str) -> None:
    """Sums that go on where a block has ended: forward over inputs, on the way back over outputs."""
    widths = (plan.DEPTH + 30, 40, plan.DEPTH + 18, 5)
    CHECKS[kernel](kernels.backend(backend), replace(LARGE, widths=widths))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_relu_takes_the_sum_over_all_blocks_of_columns(threads: int, kernel: str) -> None:
    assert len(plan.edges_of(400, 4)) > 2, "of four panels all columns are one block"
    case = replace(LARGE, widths=(400, 130, 70, 10), hidden=("relu", "relu"), dropout=(0.0, 0.0, 0.0), density=0.2)
    CHECKS[kernel](kernels.backend("fused"), replace(case, threads=threads))
