"""That the products beside fastnn's kernels are those of the kernels' own layers. No time is judged here."""

import numpy as np
import pytest

from benchmarks import products
from fastnn.kernels import limits
from fastnn.roofline import ROWS, SQUARE, WIDE


@pytest.mark.parametrize("shape", [WIDE, SQUARE], ids=str)
@pytest.mark.parametrize("kernel", products.KERNELS)
def test_the_same_product_as_the_kernel_of_the_roofline(monkeypatch, kernel, shape):
    sizes = (*shape.widths, shape.batch)
    left, right = products.matrices(kernel, *sizes)
    assert left.shape[1] == right.shape[0]
    assert sorted({*left.shape, *right.shape}) == sorted(set(sizes))
    inputs, outputs, samples = sizes
    shapes = {"forward": (samples, outputs), "way back": (samples, inputs), "gradient": (inputs, outputs)}
    assert (left @ right).shape == shapes[kernel]
    counted = []
    monkeypatch.setattr(limits, "rate", lambda run, operands, flops: counted.append(flops) or 1.0)
    name = f"{kernel} {inputs} x {outputs}, B {samples}"
    assert name in {row.name for row in ROWS}
    assert {measure() for measure in products.row_of(name, sizes).values()} == {1.0}
    assert counted == [2.0 * inputs * outputs * samples] * len(counted)
    assert len(counted) > 1


def test_others_are_run_as_often_as_they_are_asked_to(monkeypatch):
    left, right = np.ones((2, 3), np.float32), np.ones((3, 4), np.float32)
    seen, product = [], np.matmul
    monkeypatch.setattr(np, "matmul", lambda *given, out: seen.append(product(*given, out=out)))
    products.by_numpy(left, right)(3)
    assert len(seen) == 3
    assert (seen[0] == 3).all()
