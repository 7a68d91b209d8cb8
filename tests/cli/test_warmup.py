"""`fastnn warmup`: says what it did, and fails where its work is lost."""

from pathlib import Path

import pytest
from numba.core import config

from fastnn.kernels import cache, fused, launch


def test_the_kernels_are_ready_afterwards(fastnn):
    code, out, err = fastnn("warmup")
    folder = cache.state(fused.make).folder
    assert (code, err) == (0, "")
    assert out.count("\n") == 1
    assert out.startswith((f"found in {folder}, and loaded in ", "compiled in "))
    assert str(folder) in out
    assert cache.state(fused.make).fresh
    assert launch.compiled(fused.make, None)[1].compiled is False  # this process has them


@pytest.mark.parametrize(
    ("compiled", "state", "code", "line"),
    [
        (True, cache.State(Path("folder"), 1, 2, True), 0, "compiled in 12.3 s, and stored in folder"),
        (False, cache.State(Path("folder"), 1, 2, True), 0, "found in folder, and loaded in 12.3 s"),
        (True, cache.State(None, reason="they are not kept: no"), 1, "compiled in 12.3 s, but they are not kept: no"),
    ],
)
def test_what_it_says(fastnn, monkeypatch, compiled, state, code, line):
    monkeypatch.setattr(fused, "warm", lambda: launch.Compilation(12.34, compiled))
    monkeypatch.setattr(cache, "state", lambda make: state)
    assert fastnn("warmup") == (code, line + "\n", "")


def test_without_a_compiler_it_is_refused(refused, monkeypatch):
    monkeypatch.setattr(config, "DISABLE_JIT", 1)
    assert "NUMBA_DISABLE_JIT is set; unset it" in refused("warmup")
