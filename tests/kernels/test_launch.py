"""Threads that end together whatever happens to one, and a cache that is never stale, shared or missed."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from numba import njit

import fastnn
from fastnn.kernels import launch
from fastnn.kernels.barrier import finish, state_words, wait
from fastnn.layers import aligned_zeros


@njit(nogil=True)
def meet(state, threads, phases):
    """Each thread does one of the granules of each phase, so that all must wait for each other."""
    for phase in range(phases):
        finish(state, threads, phase, 1, threads)
        if wait(state, threads, phase):
            return True
    return False


class Kernel:
    """Stands for the compiled step: thread `bad` fails at once, the others meet for ever."""

    def __init__(self, bad: int, error: BaseException):
        self.bad, self.error = bad, error
        self.state = aligned_zeros(state_words(4), np.int32)
        self.ended: list[int] = []

    def __call__(self, thread: int, threads: int) -> None:
        if thread == self.bad:
            raise self.error
        assert meet(self.state.ctypes.data, threads, 2**31 - 2)
        self.ended.append(thread)


@pytest.mark.parametrize("error", [MemoryError("no room"), KeyboardInterrupt(), SystemExit(3)])
@pytest.mark.parametrize("bad", [0, 1, 3])
def test_what_stops_one_thread_ends_the_others(bad, error):
    kernel = Kernel(bad, error)
    with pytest.raises(type(error)):
        launch.in_threads(kernel, 4, (), kernel.state)
    assert sorted(kernel.ended) == [thread for thread in range(4) if thread != bad]
    assert threading.active_count() == 1


def test_a_thread_that_cannot_start_ends_the_others(monkeypatch):
    kernel, started, start = Kernel(99, ValueError()), [], threading.Thread.start

    def refuse_third(self: threading.Thread) -> None:
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(self)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", refuse_third)
    with pytest.raises(RuntimeError, match="start new thread"):
        launch.in_threads(kernel, 4, (), kernel.state)
    assert sorted(kernel.ended) == [1, 2]
    assert not any(helper.is_alive() for helper in started)


def test_an_interrupt_while_joining_waits_for_the_helpers(monkeypatch):
    """The helpers work in memory that the caller may free: the interrupt comes out only when they have ended."""
    join, interrupts = threading.Thread.join, []

    def interrupted(self: threading.Thread, timeout: float | None = None) -> None:
        if not interrupts:
            interrupts.append(self)
            raise KeyboardInterrupt
        release.set()  # only who joins once more sees the helper end
        join(self, timeout)

    ended = []
    entered, release = threading.Event(), threading.Event()

    def kernel(thread: int, threads: int) -> None:
        if thread:
            entered.set()
            release.wait(30)
            ended.append(thread)
        else:
            entered.wait(30)

    monkeypatch.setattr(threading.Thread, "join", interrupted)
    with pytest.raises(KeyboardInterrupt):
        launch.in_threads(kernel, 2, (), aligned_zeros(state_words(2), np.int32))
    assert ended == [1]
    assert interrupts


def test_a_thread_that_begins_after_an_interrupt_does_nothing(monkeypatch):
    """An interrupt amid `start`: the system has the thread already, but it begins only when the caller has gone."""
    late, start, entered = [], threading.Thread.start, []

    def interrupted(self: threading.Thread) -> None:
        late.append(self)
        raise KeyboardInterrupt

    def kernel(thread: int, threads: int) -> None:
        entered.append(thread)

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            launch.in_threads(kernel, 2, (), aligned_zeros(state_words(2), np.int32))
    start(late[0])
    late[0].join()
    assert entered == []


# ---------------------------------------------------------------- the cache, in processes and packages of their own

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


class Thread:
    """Stands for a thread that has started."""

    def __init__(self, native_id):
        self.native_id = native_id


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not place threads")
def test_threads_that_start_on_one_cpu_are_spread_out(monkeypatch):
    """Threads 11 and 12 stand on CPU 5 beside the caller, 13 has one for itself; there is no room for a fourth."""
    allowed, moves = {5, 6, 7, 8}, []
    on = {threading.get_native_id(): 5, 11: 5, 12: 5, 13: 7, 14: 5}
    monkeypatch.setattr(launch, "_cpu_of", on.__getitem__)
    monkeypatch.setattr(os, "sched_getaffinity", lambda thread: set(allowed))
    monkeypatch.setattr(os, "sched_setaffinity", lambda thread, cpus: moves.append((thread, cpus)))
    helpers = [Thread(number) for number in (13, 11, 12, 14)]
    launch.spread_out(helpers)
    assert moves == [(threading.get_native_id(), {5}), (13, {7}), (11, {6}), (12, {8})]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="the system does not tell where threads are")
def test_where_a_thread_is():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {max(before)})
        assert launch._cpu_of(threading.get_native_id()) == max(before)
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not place threads")
def test_a_thread_that_has_ended_is_no_error():
    ended = threading.Thread(target=int)
    ended.start()
    ended.join()
    before = os.sched_getaffinity(0)
    try:
        launch.spread_out([ended])
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not place threads")
def test_the_caller_may_go_where_it_could_before():
    before, during = os.sched_getaffinity(0), {}
    launch.in_threads(lambda thread, threads: during.update({thread: os.sched_getaffinity(0)}), 2, (),
                      np.zeros(state_words(2), np.int32))  # fmt: skip
    assert os.sched_getaffinity(0) == before
    assert len(before) == 1 or (during[0].isdisjoint(during[1]) and len(during[0]) == len(during[1]) == 1)
