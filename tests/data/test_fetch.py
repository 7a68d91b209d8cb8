"""Data from a URL, of a server on this machine: good, cut short, of a wrong checksum, and not there."""

import errno
import gc
import hashlib
import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from fastnn.data import fetch, load
from fastnn.errors import DataError, MissingExtraError

pytest.importorskip("pooch")
# requests leaves the socket of a transfer that failed to the garbage collector, which `cache` calls
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture
def server(tmp_path):
    """The address of a server, and how often it was asked: it has /good.npz, and cuts off /cut.npz."""
    np.savez(tmp_path / "good.npz", X=np.arange(6).reshape(3, 2), y=[0, 1, 0])
    content, asked = (tmp_path / "good.npz").read_bytes(), []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            if self.path not in ("/good.npz", "/cut.npz"):
                return self.send_error(404)
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content if self.path == "/good.npz" else content[:100])
            return None

        def log_message(self, *words):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", asked, hashlib.sha256(content).hexdigest()
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield tmp_path / "cache"
    gc.collect()


def test_what_is_good_is_fetched_once_and_read_as_a_file(server, cache):
    address, asked, digest = server
    for _ in range(2):
        data, _ = load(f"{address}/good.npz#sha256={digest.upper()}")
        assert data.X.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert asked == ["/good.npz"]
    assert len(list(cache.rglob("*.npz"))) == 1


def test_without_a_checksum_it_is_taken_as_it_is(server, tmp_path):
    path = fetch(f"{server[0]}/good.npz", tmp_path / "here")
    assert path.parent == tmp_path / "here"


@pytest.mark.parametrize(
    ("file", "check", "message"),
    [
        ("good.npz", "#sha256=" + "0" * 64, "does not match"),
        ("good.npz", "#sha256=12", "64 hex digits"),
        ("none.npz", "", "cannot be fetched: 404"),
        ("cut.npz", "", "cannot be fetched"),
    ],
)
def test_what_is_not_good_is_one_line_and_leaves_nothing(server, cache, file, check, message):
    with pytest.raises(DataError, match=message) as caught:
        load(f"{server[0]}/{file}{check}")
    assert "\n" not in str(caught.value)
    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_nobody_there_is_one_line(cache):
    with socket.socket() as closed:  # bound, so that nobody else takes the port, but it does not listen
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}/a.npz"
        with pytest.raises(DataError) as caught:
            load(address)
    assert str(caught.value) == f"{address} cannot be fetched: {os.strerror(errno.ECONNREFUSED)}"


def test_a_host_without_an_address_is_named(cache, monkeypatch):
    def unknown(*arguments, **settings):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(DataError) as caught:
        load("http://nowhere.invalid/a.npz")
    assert str(caught.value) == "http://nowhere.invalid/a.npz cannot be fetched: Name or service not known"


def test_without_pooch_the_command_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pooch", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'fastnn-cpu\[frames\]'"):
        load("http://127.0.0.1:9/a.npz")
