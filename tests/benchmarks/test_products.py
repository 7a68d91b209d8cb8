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
    name, row = products.row_of(kernel, shape)
    assert name in {row.name for row in ROWS}
    assert {measure() for measure in row.values()} == {1.0}
    assert counted == [2.0 * inputs * outputs * samples] * len(counted)
    assert len(counted) > 1


@pytest.mark.parametrize("who", products.OTHERS)
def test_others_write_the_product_as_often_as_they_are_asked_to(monkeypatch, who):
    left, right = (np.random.default_rng(0).normal(size=size).astype(np.float32) for size in ((2, 3), (3, 4)))
    out, multiplied = np.zeros((2, 4), np.float32), []
    run, product = products.OTHERS[who](left, right, out), np.matmul
    monkeypatch.setattr(np, "matmul", lambda *given, out: multiplied.append(product(*given, out=out)))
    run(3)
    assert len(multiplied) == 3 * (who == "numpy")
    np.testing.assert_allclose(out, left @ right, atol=1e-6)  # of three products next to 1, float32


def test_the_bare_loops_are_made_anew_each_time():
    for name, prepare in products.bare().items():
        first, second = prepare(), prepare()
        assert first.flops == second.flops > 0
        assert first.operands is not second.operands, name
