"""A cache that is never stale, shared or missed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastnn
from fastnn.kernels import launch

# in processes and packages of their own
TINY = """
from numba import njit

def make(stamp, cache):
    @njit(cache=cache)
    def add(x):
        return x + stamp
    return add
"""
RUN = """
import sys, warnings
import tiny
from fastnn.kernels import launch
launch.stamp = lambda: int(sys.argv[1])
kernel, found = launch.compiled(tiny.make, lambda kernel: kernel(1))
print(kernel(1), found.compiled, kernel.stats.cache_path)
"""


class Sandbox:
    """A package with one small kernel, and an empty home."""

    def __init__(self, folder: Path):
        self.folder, self.home = folder / "package", folder / "home"
        self.folder.mkdir()
        self.home.mkdir()
        (self.folder / "tiny.py").write_text(TINY)
        (self.folder / "run.py").write_text(RUN)

    def run(self, stamp: int = 1, umask: int = 0o022) -> tuple[str, str, str, str]:
        environment = {k: v for k, v in os.environ.items() if k not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
        root = Path(fastnn.__file__).parents[1]
        environment |= {"HOME": str(self.home), "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, "run.py", str(stamp)],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            umask=umask,
        )
        assert done.returncode == 0, done.stderr
        value, compiled, path = done.stdout.split()
        return value, compiled, path, done.stderr


@pytest.fixture
def sandbox(tmp_path):
    return Sandbox(tmp_path)


def test_the_second_process_finds_the_kernel_until_the_sources_change(sandbox):
    assert sandbox.run(1)[:2] == ("2", "True")
    assert sandbox.run(1)[:2] == ("2", "False")
    assert sandbox.run(5)[:2] == ("6", "True")


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
def test_a_damaged_entry_is_replaced(sandbox, kind):
    """As a crash or a full disk leaves it."""
    sandbox.run()
    (entry,) = (sandbox.folder / "__pycache__").glob(f"tiny.*.{kind}")
    entry.write_bytes(entry.read_bytes()[:20])
    assert sandbox.run()[:2] == ("2", "True")
    assert sandbox.run()[:2] == ("2", "True")
    assert sandbox.run()[:2] == ("2", "False")


def test_a_read_only_package_is_cached_in_the_users_folder(sandbox):
    (sandbox.folder / "__pycache__").write_text("a file, so that no folder can be made here")
    _, compiled, path, errors = sandbox.run()
    assert compiled == "True"
    assert path.startswith(str(sandbox.home))
    assert "Warning" not in errors
    assert sandbox.run()[1] == "False"


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
def test_a_folder_that_others_may_write_is_refused(sandbox, mode):
    shared = sandbox.folder / "__pycache__"
    shared.mkdir()
    shared.chmod(mode)
    _, _, path, errors = sandbox.run()
    assert path.startswith(str(sandbox.home / ".cache" / "fastnn"))
    assert "Warning" not in errors
    assert not list(shared.glob("*.nbi"))
    assert (sandbox.home / ".cache" / "fastnn").stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_a_umask_that_lets_a_group_write_does_not_cost_the_cache(sandbox):
    """The default of many systems: what Numba makes is then open to the group, but not what it stands in."""
    _, compiled, path, errors = sandbox.run(umask=0o002)
    assert compiled == "True"
    assert path.startswith(str(sandbox.home / ".cache" / "fastnn"))
    assert "Warning" not in errors
    assert sandbox.run(umask=0o002)[1] == "False"


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_the_users_folder_is_refused_too_where_others_may_write(sandbox):
    (sandbox.folder / "__pycache__").write_text("no folder")
    shared = sandbox.home / ".cache" / "fastnn"
    shared.mkdir(parents=True)
    shared.chmod(0o775)
    assert sandbox.run(umask=0o002)[3].count("RuntimeWarning") == 1


def test_a_user_without_a_home_has_the_cache_beside_the_sources(sandbox):
    lost = "import pathlib\ndef lost(): raise RuntimeError('no home')\npathlib.Path.home = lost\n"
    (sandbox.folder / "run.py").write_text(lost + RUN)
    assert sandbox.run()[1] == "True"
    assert sandbox.run()[1] == "False"


def test_without_any_folder_it_works_and_warns_once(sandbox):
    (sandbox.folder / "__pycache__").write_text("no folder")
    shutil.rmtree(sandbox.home)
    sandbox.home.write_text("no home")
    value, compiled, _, errors = sandbox.run()
    assert (value, compiled) == ("2", "True")
    assert errors.count("RuntimeWarning") == 1
    assert "NUMBA_CACHE_DIR" in errors


def test_the_stamp_changes_with_every_source(tmp_path):
    sources = Path(launch.__file__).parent
    copy = tmp_path / "fastnn" / "kernels"
    shutil.copytree(sources, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("rng.py", "layers.py"):
        shutil.copy(sources.parent / name, copy.parent)
    before = launch.stamp(copy)
    assert before == launch.stamp()
    for path in [*copy.glob("*.py"), copy.parent / "rng.py", copy.parent / "layers.py"]:
        text = path.read_bytes()
        path.write_bytes(text + b"#")
        assert launch.stamp(copy) != before, path.name
        path.write_bytes(text)


def test_the_real_kernel_is_made_anew_after_an_edit_in_another_file(tmp_path):
    """The trap itself: an edit in rows.py, which fused.py imports, must never meet the old machine code."""
    copy = tmp_path / "fastnn"
    shutil.copytree(Path(fastnn.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__", "*.gz"))
    script = (
        "import numpy as np; from fastnn import *; from fastnn.kernels import fused; found = fused.warm();"
        "net = MLP([Input(1), Dense(1, 'relu')], weight_init='constant(1)');"
        "print(found.compiled, net.outputs(np.ones((1, 1)), threads=1)[0, 0])"
    )
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"} | {"PYTHONPATH": str(tmp_path)}

    def run() -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    assert run() == ["True", "1.0"]
    assert run() == ["False", "1.0"]
    rows = copy / "kernels" / "rows.py"
    text = rows.read_text()
    assert "where(z <= 0.0, 0.0, z)" in text
    rows.write_text(text.replace("where(z <= 0.0, 0.0, z)", "where(z <= 0.0, 0.0, z + z)"))
    assert run() == ["True", "2.0"]
