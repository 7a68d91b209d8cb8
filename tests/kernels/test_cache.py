"""What is said of the cache of compiled kernels, without compiling: on a small kernel in a folder of its own."""

import importlib.util

import pytest
from numba.core import config

from fastnn.kernels import cache, launch

TINY = """
from numba import njit

def make(stamp, cache):
    @njit(cache=cache)
    def add(x):
        return x + stamp
    return add
"""


@pytest.fixture
def make(tmp_path, monkeypatch):
    """The factory of a small kernel that is cached beside its source, in tmp_path."""
    path = tmp_path / "package" / "tiny.py"
    path.parent.mkdir(mode=0o700)
    path.write_text(TINY)
    monkeypatch.setattr(config, "CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    monkeypatch.setattr(launch, "stamp", lambda: 1)
    found = importlib.util.spec_from_file_location("tiny", path)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module.make


def test_a_kernel_is_fresh_once_it_is_compiled_until_its_sources_change(make, monkeypatch):
    assert cache.state(make)[1:] == (0, 0, False, "")
    kernel = launch.with_cache(make)
    assert cache.state(make).entries == 0  # looking has compiled nothing
    assert kernel(1) == 2
    found = cache.state(make)
    assert str(found.folder) == kernel.stats.cache_path
    assert (found.entries, found.fresh) == (1, True)
    assert found.size == sum(path.stat().st_size for path in found.folder.glob("*.nbc")) > 0
    monkeypatch.setattr(launch, "stamp", lambda: 2)
    assert cache.state(make)[1:4] == (1, found.size, False)


def test_a_kernel_for_another_cpu_is_not_fresh(make, monkeypatch):
    launch.with_cache(make)(1)
    monkeypatch.setattr(config, "CPU_FEATURES", "")
    monkeypatch.setattr(config, "CPU_NAME", "generic")
    assert not cache.state(make).fresh


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
def test_what_is_damaged_is_not_fresh(make, kind):
    launch.with_cache(make)(1)
    (path,) = cache.state(make).folder.glob(f"*.{kind}")
    path.write_bytes(path.read_bytes()[:20]) if kind == "nbi" else path.unlink()
    assert not cache.state(make).fresh


def test_why_there_is_no_cache(make, monkeypatch):
    monkeypatch.setattr(launch, "others_may_write", lambda folder: True)
    monkeypatch.setattr(launch, "only_mine", lambda folder: False)
    found = cache.state(make)
    assert found.folder is None
    assert not found.fresh
    assert "others may write to" in found.reason
    assert "NUMBA_CACHE_DIR" in found.reason
