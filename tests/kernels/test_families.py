"""Functions of families: parts declare them, kernels have them, whatever else a process has compiled."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba import njit

from fastnn.kernels.compiling import part
from fastnn.kernels.families import family, whole
from fastnn.kernels.vectors import at

ROOT = Path(__file__).parents[2]


def make():
    """A part that fills some floats, by a family; both are new, so that neither is compiled yet."""

    def _fill(b, size, at_out, x_value, more):
        for place in range(size):
            b.store(x_value, at(b, at_out, place))

    fill = family("at_out x_value more", [2, 3], _fill)

    @part
    def fill_both(count, first, second, unused):
        fill(count, first, np.float32(1), unused)
        fill(count, second, np.float32(2), unused)

    return fill_both


def kernels(fill_both):
    @njit
    def run(count, first, second):
        whole()
        fill_both(count, first, second, 7)

    @njit
    def run_in_turn(count, first, second):
        whole()
        fill_both(count, second, first, count)
        fill_both(count, first, second, first)

    return run, run_in_turn


def check(kernel):
    for count, sums in [(2, [2, 4]), (3, [3, 6]), (4, [0, 0])]:  # another size does nothing
        out = np.zeros((2, 4), np.float32)
        kernel(count, out[0].ctypes.data, out[1].ctypes.data)
        assert out.sum(axis=1).tolist() == sums


def test_each_kernel_has_the_functions_of_the_parts_that_it_shares_with_others():
    for kernel in kernels(make()):
        check(kernel)


def test_where_numba_is_not_as_expected_each_part_has_its_own():
    done = in_a_process("families.ONCE = False; [t.check(kernel) for kernel in t.kernels(t.make())]")
    assert done.returncode == 0, done.stderr


def test_each_function_that_is_called_is_in_the_kernel_once():
    first, _ = kernels(make())
    check(first)
    code = first.inspect_llvm(first.signatures[0])
    assert sorted(re.findall(r"define private .*@(fastnn[\w.]+)\(", code)) == ["fastnn_fill.2", "fastnn_fill.3"]
    assert not re.search(r"declare .*@fastnn", code)


@pytest.mark.skipif(sys.platform == "win32", reason="a process that is stopped has another exit code there")
def test_a_kernel_that_forgets_its_functions_stops_instead_of_going_on_without():
    done = in_a_process("t.check(t.forgetful())")
    assert done.returncode < 0, done.stderr
    assert "Error" not in done.stderr


def in_a_process(code):
    code = f"from fastnn.kernels import families; from tests.kernels import test_families as t; {code}"
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)


def forgetful():
    fill_both = make()

    @njit
    def run(count, first, second):
        fill_both(count, first, second, 7)

    return run
