import json
import os
import pickle
import struct
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load as tensors_in
from safetensors.numpy import save as to_bytes

from fastnn import MLP, Dense, Dropout, Input
from fastnn.errors import ModelFileError, OutputError
from fastnn.formats import safetensors as form
from fastnn.formats.safetensors import Checkpoint, _digest, load, save
from fastnn.layers import ACTIVATIONS, aligned_zeros

finite = st.floats(-(2.0**99), 2.0**99, width=32)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def networks(draw) -> MLP:
    width = draw(st.integers(1, 5))
    each = st.tuples(*[finite] * width)
    layers = [Input(width, draw(finite | each), draw(finite | each))]
    for _ in range(draw(st.integers(0, 2))):
        if draw(st.booleans()):
            layers.append(Dropout(draw(st.floats(0, 0.99))))
        name = draw(st.sampled_from([name for name in ACTIVATIONS if name != "softmax"]))
        layers.append(Dense(draw(st.integers(1, 18)), f"{name}({draw(finite)})" if ACTIVATIONS[name] else name))
    layers.append(Dense(draw(st.integers(2, 17)), draw(st.sampled_from(["softmax", "sigmoid", "identity"]))))
    net = MLP(
        layers, weight_init=draw(st.sampled_from(["he_normal", "uniform(-1, 1)"])), seed=draw(st.integers(0, 2**64 - 1))
    )
    net.epochs = draw(st.integers(0, 2**40))
    net.metadata = draw(st.dictionaries(st.text(), json_values, max_size=3))
    for W, b in net.parameters():
        W[0, 0], b[-1] = draw(finite), draw(finite)
    return net


@given(net=networks(), slots=st.integers(0, 2))
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
def test_all_comes_back(net, slots, tmp_path):
    path, checkpoint = tmp_path / "model.safetensors", None
    if slots:
        rng = np.random.default_rng(slots)
        checkpoint = Checkpoint([], {"epoch": 3, "history": [{"loss": 0.1}]})
        for _ in range(slots):
            checkpoint.state.append(aligned_zeros(net.architecture.size))
            for W, b in net.architecture.views(checkpoint.state[-1]):
                W[:], b[:] = rng.normal(size=W.shape), rng.normal(size=b.shape)
    save(path, net, checkpoint)
    again, kept = load(path, MLP)
    assert (again.layers, again.loss, again.seed, again.epochs) == (net.layers, net.loss, net.seed, net.epochs)
    assert (again.weight_init, again.bias_init) == (net.weight_init, net.bias_init)
    assert again.metadata == net.metadata
    assert again.flat.tobytes() == net.flat.tobytes()
    assert (kept is None) == (checkpoint is None)
    if kept is not None:
        assert kept.progress == checkpoint.progress
        assert [flat.tobytes() for flat in kept.state] == [flat.tobytes() for flat in checkpoint.state]


# ---------------------------------------------------------------- one file, and what may befall it


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture
def net():
    return MLP([Input(2, scale=(0.5, 0.25)), Dense(3, "tanh"), Dense(2, "softmax")], seed=5)


@pytest.fixture
def content(net, path):
    """The bytes of a checkpoint with one state array."""
    net.metadata = {"classes": ["a", "b"]}
    save(path, net, Checkpoint([net.flat], {"epoch": 1}))
    return path.read_bytes()


def refused(path, content: bytes, message: str | None = None) -> None:
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=message) as caught:
        load(path, MLP)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value).splitlines()) == 1


def test_the_form_is_as_documented(content):
    tensors = tensors_in(content)
    assert {name: value.shape for name, value in tensors.items() if "optimizer" not in name} == {
        "layers.0.weight": (2, 3),
        "layers.0.bias": (3,),
        "layers.1.weight": (3, 2),
        "layers.1.bias": (2,),
    }
    assert {name for name in tensors if "optimizer" in name} == {
        f"optimizer.0.{name}" for name in tensors if "optimizer" not in name
    }
    described = json.loads(header_of(content)[0]["__metadata__"]["fastnn"])
    assert described["layers"][1] == {"type": "dense", "units": 3, "activation": "tanh"}
    assert {"numpy", "numba", "python", "fastnn"} == described["versions"].keys()


def test_a_file_cut_anywhere_is_refused(content, path):
    for length in [*range(0, len(content), 7), len(content) - 1]:
        refused(path, content[:length])


def test_a_file_with_more_behind_it_is_refused(content, path):
    refused(path, content + b"\0")
    refused(path, content + content)


@pytest.mark.parametrize("mask", [0x01, 0x80])
def test_a_byte_changed_anywhere_is_refused(mask, content, path):
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= mask
        refused(path, bytes(damaged))


@pytest.mark.parametrize("size", [0, 1, 7, 99_999_999, 2**31, 2**63, 2**64 - 1])
def test_a_header_that_lies_about_its_size_is_refused(size, content, path):
    refused(path, struct.pack("<Q", size) + content[8:])


@pytest.mark.parametrize(
    "content",
    [b"", b"\0", b"no model at all, but a text", pickle.dumps({"a": 1}), b"\x89PNG\r\n\x1a\n" + bytes(99), bytes(64)],
)
def test_what_is_no_safetensors_file_is_refused(content, path):
    refused(path, content)


def test_models_of_others_are_refused(path):
    refused(path, to_bytes({"a": np.zeros(3, np.float32)}), "not a model of fastnn")
    refused(path, to_bytes({"a": np.zeros(3, np.float32)}, {"format": "pt"}), "not a model of fastnn")


def test_paths_that_are_no_file(tmp_path):
    for path, message in ((tmp_path, "it is a folder"), (tmp_path / "a" / "b", "no such model file")):
        with pytest.raises(ModelFileError, match=message):
            load(path, MLP)


def test_a_file_that_may_not_be_read_is_not_called_missing(path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(ModelFileError, match="cannot be read: Permission denied"):
        load(path, MLP)


# ---------------------------------------------------------------- hostile files, whose checksum is right


def header_of(content: bytes) -> tuple[dict, bytes]:
    size = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def forged(content: bytes, change=None, **tensors: np.ndarray | None) -> bytes:
    """The file with a changed description (a function of the dict, or the text itself) and changed tensors."""
    text = header_of(content)[0]["__metadata__"]["fastnn"]
    if callable(change):
        described = json.loads(text)
        change(described)
        text = json.dumps(described)
    elif change is not None:
        text = change
    kept = {name: value for name, value in (tensors_in(content) | tensors).items() if value is not None}
    return to_bytes(kept, {"fastnn": text, "sha256": _digest(text, kept)})


def test_the_forgery_itself_is_good(content, path, net):
    path.write_bytes(forged(content, lambda described: described.update(epochs=8)))
    again, kept = load(path, MLP)
    assert again.epochs == 8
    assert again.flat.tobytes() == net.flat.tobytes() == kept.state[0].tobytes()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("layers.0.weight", None, r"layers\.0\.weight must be float32 \(2, 3\) but is missing"),
        ("layers.1.bias", None, r"layers\.1\.bias must be float32 \(2,\) but is missing"),
        ("layers.0.weight", np.zeros((3, 2), np.float32), r"must be float32 \(2, 3\) but is float32 \(3, 2\)"),
        ("layers.0.weight", np.zeros(6, np.float32), r"but is float32 \(6,\)"),
        ("layers.0.bias", np.zeros(1, np.float32), r"but is float32 \(1,\)"),
        ("layers.0.weight", np.zeros((2, 3)), "but is float64"),
        ("layers.0.weight", np.full((2, 3), np.nan, np.float32), r"layers\.0\.weight holds NaN or infinite values"),
        ("layers.1.bias", np.array([0, -np.inf], np.float32), r"layers\.1\.bias holds NaN"),
        ("optimizer.0.layers.1.bias", None, r"optimizer\.0\.layers\.1\.bias must be float32 \(2,\) but is missing"),
        ("optimizer.0.layers.0.weight", np.full((2, 3), np.nan, np.float32), "holds NaN"),
        ("optimizer.1.layers.0.bias", np.zeros(3, np.float32), r"optimizer\.1\.layers\.0\.weight .* is missing"),
    ],
)
def test_tensors_that_do_not_fit_are_named(name, value, message, content, path):
    refused(path, forged(content, **{name: value}), message)


@pytest.mark.parametrize(
    ("change", "tensors", "message"),
    [
        ("{}", {}, "the description of the model is damaged"),
        ("[", {}, "the description of the model is damaged"),
        (None, {"layers.0.weight": np.zeros((3, 2), np.float32)}, "must be float32"),
        (None, {"layers.0.weight": np.zeros((2, 3))}, "must be float32"),
        (None, {"optimizer.0.layers.1.weight": np.zeros((2, 3), np.float32)}, "must be float32"),
        (
            None,
            {"optimizer.1.layers.0.weight": np.zeros((2, 3), np.float32)},
            r"optimizer\.1\.layers\.0\.bias .* missing",
        ),
        (None, {"more": np.zeros(9, np.float32)}, "holds 'more', which is no tensor of the network"),
        (None, {"optimizer.": np.zeros(9, np.float32)}, "is missing"),
        (lambda d: d.pop("progress"), {}, r"holds 'optimizer\.0\.layers\.0\.bias', which is no tensor"),
    ],
)
def test_no_tensor_is_read_before_all_are_known_to_be_needed(change, tensors, message, content, path, monkeypatch):
    class Unread:
        """An open file whose tensors may be looked at only."""

        def __init__(self, *arguments, **named):
            self.file = safe_open(*arguments, **named)
            self.metadata, self.keys, self.get_slice = self.file.metadata, self.file.keys, self.file.get_slice

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def get_tensor(self, name):
            raise AssertionError(f"{name} is read")

    monkeypatch.setattr(form, "safe_open", Unread)
    refused(path, forged(content, change, **tensors), message)


def test_a_description_that_is_too_long_is_not_parsed(content, path, monkeypatch):
    monkeypatch.setattr(form, "LARGEST", len(header_of(content)[0]["__metadata__"]["fastnn"]))
    load(path, MLP)
    monkeypatch.setattr(form, "LARGEST", form.LARGEST - 1)
    refused(path, content, "its description is longer than")


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is told in another unit, or not at all")
def test_a_huge_file_that_describes_nothing_takes_no_memory(path):
    header = {
        "__metadata__": {"fastnn": "{}", "sha256": ""},
        "a": {"dtype": "F32", "shape": [2**28], "data_offsets": [0, 2**30]},
    }
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + 2**30)  # a hole: nothing of it is on the disk
    code = """if True:
        import resource, sys
        from fastnn import MLP
        from fastnn.errors import ModelFileError
        from fastnn.formats.safetensors import load
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            load(sys.argv[1], MLP)
        except ModelFileError:
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert int(done.stdout) < 100 * 1024, "kilobytes"


def bfloat(content: bytes) -> bytes:
    header, body = header_of(content)
    header["layers.0.weight"] |= {"dtype": "BF16", "shape": [4, 3]}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def test_numbers_that_numpy_lacks_are_refused(content, path):
    refused(path, bfloat(content))


DAMAGES = [
    lambda d: d.update(version=2),
    lambda d: d.update(version="1"),
    lambda d: d.pop("version"),
    lambda d: d.pop("layers"),
    lambda d: d.update(layers=None),
    lambda d: d.update(layers=[]),
    lambda d: d.update(layers="input"),
    lambda d: d["layers"].reverse(),
    lambda d: d["layers"].append({"type": "conv"}),
    lambda d: d["layers"].append({"type": ["dense"]}),
    lambda d: d["layers"][0].update(width=10**12),
    lambda d: d["layers"][0].update(width=2.0),
    lambda d: d["layers"][0].update(width=None),
    lambda d: d["layers"][0].update(scale=[1.0, 2.0, 3.0]),
    lambda d: d["layers"][0].update(scale=10**400),
    lambda d: d["layers"][0].update(scale={"a": 1}),
    lambda d: d["layers"][0].update(scale=float("nan")),
    lambda d: d["layers"][0].update(shift=1e300),
    lambda d: d["layers"][0].update(__class__="os.system"),
    lambda d: d["layers"][1].update(units=10**15),
    lambda d: d["layers"][1].update(units="auto"),
    lambda d: d["layers"][1].update(activation="softmax"),
    lambda d: d["layers"][1].update(activation=None),
    lambda d: d["layers"][1].update(activation="__import__('os')"),
    lambda d: d.update(loss="quadratic"),
    lambda d: d.update(loss={"a": 1}),
    lambda d: d.update(weight_init="he"),
    lambda d: d.update(weight_init=["he_normal"]),
    lambda d: d.update(bias_init="he_normal"),
    lambda d: d.update(seed=-1),
    lambda d: d.update(seed="0"),
    lambda d: d.update(epochs=float("inf")),
    lambda d: d.update(epochs=[]),
    lambda d: d.update(metadata=5),
    lambda d: d.update(metadata="text"),
    lambda d: d.update(progress=5),
    "",
    "[]",
    "null",
    '"text"',
    "{",
    "[" * 100_000,
    '{"version": ' + "1" * 5000 + "}",
]


@pytest.mark.parametrize("damage", DAMAGES, ids=range(len(DAMAGES)))
def test_descriptions_that_make_no_sense_are_refused(damage, content, path):
    refused(path, forged(content, damage))


def test_a_later_form_says_so(content, path):
    refused(path, forged(content, lambda d: d.update(version=2)), "form 2 of the file is not known; upgrade fastnn")


# ---------------------------------------------------------------- writing


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_to_write_leaves_the_old_model(step, content, net, path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    net.flat[:] = 0
    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        with pytest.raises(OutputError, match="No space left on device"):
            save(path, net)
    assert path.read_bytes() == content
    assert os.listdir(path.parent) == [path.name]
    save(path, net)
    assert not load(path, MLP)[0].flat.any()


def test_what_is_no_json_is_not_written(content, net, path):
    net.metadata["thing"] = object()
    with pytest.raises(TypeError):
        save(path, net)
    assert path.read_bytes() == content
