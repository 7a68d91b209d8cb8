"""JSON models: all comes back to the bit, they can be read by eye, and what is damaged is one clear error."""

import contextlib
import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastnn import MLP, Dense, Dropout, Input, load
from fastnn.errors import ConfigError, ModelFileError, OutputError
from fastnn.formats import json as form
from tests.formats.test_safetensors import networks


@pytest.fixture
def saved(tmp_path):
    net = MLP([Input(3, 0.5), Dense(4, "elu(0.5)"), Dropout(0.1), Dense(2, "softmax")], seed=5)
    net.metadata = {"metrics": {"test_accuracy": 0.5}, "classes": ["a", "b"]}
    net.save(tmp_path / "model.json")
    return net, tmp_path / "model.json"


@given(net=networks())
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
def test_all_comes_back(net, tmp_path):
    path = tmp_path / "model.json"
    net.save(path)
    again = load(path)
    assert (again.layers, again.loss, again.seed, again.epochs) == (net.layers, net.loss, net.seed, net.epochs)
    assert again.metadata == net.metadata
    np.testing.assert_array_equal(again.flat, net.flat)


def test_it_can_be_read_by_eye(saved):
    net, path = saved
    found = json.loads(path.read_text())
    assert list(found) == ["format", "sizes", "activations", "metrics", "description", "weights", "biases"]
    assert found["sizes"] == [3, 4, 2]
    assert found["activations"] == ["elu", "softmax"]
    assert found["metrics"] == {"test_accuracy": 0.5}
    for W, b, (true_W, true_b) in zip(found["weights"], found["biases"], net.parameters(), strict=True):
        np.testing.assert_array_equal(np.float32(W), true_W)
        np.testing.assert_array_equal(np.float32(b), true_b)
    assert max(map(len, path.read_text().splitlines())) < 2000


def test_cut_at_any_place_it_is_one_error(saved):
    text = saved[1].read_text()
    for end in range(0, len(text) - 2, 7):
        saved[1].write_text(text[:end])
        with pytest.raises(ModelFileError, match=r"model\.json"):
            load(saved[1])


@given(place=st.integers(0, 10**6), byte=st.integers(0, 255))
@settings(max_examples=300, suppress_health_check=list(HealthCheck))
def test_a_byte_altered_is_no_crash(saved, place, byte):
    content = bytearray(saved[1].read_bytes())
    content[place % len(content)] = byte
    path = saved[1].with_name("altered.json")
    path.write_bytes(content)
    with contextlib.suppress(ModelFileError):
        assert np.isfinite(load(path).flat).all()


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": "fastnn"}', "[" * 10**5, '{"format": "fastnn", "weights": 1, "biases": 2}', "NaN"],
)
def test_what_is_no_model(tmp_path, text):
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(ModelFileError, match=r"model\.json"):
        load(tmp_path / "model.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: found["weights"][0].pop(), "must be float32 \\(3, 4\\)"),
        (lambda found: found["biases"].pop(), "damaged"),
        (lambda found: found["weights"][0][0].__setitem__(0, 1e39), "NaN or infinite"),
        (lambda found: found["weights"][0][0].__setitem__(0, "many"), "damaged"),
        (lambda found: found["description"].__setitem__("version", 9), "form 9"),
        (lambda found: found["description"]["layers"][1].__setitem__("units", 10**12), "must be float32"),
    ],
)
def test_what_does_not_go_together(saved, change, message):
    found = json.loads(saved[1].read_text())
    change(found)
    saved[1].write_text(json.dumps(found))
    with pytest.raises(ModelFileError, match=message):
        load(saved[1])


def test_too_large_a_file_is_not_read(saved, monkeypatch):
    monkeypatch.setattr(form, "LARGEST", 100)
    with pytest.raises(ModelFileError, match="larger than 100 bytes"):
        load(saved[1])


def test_what_could_not_be_read_again_is_not_written(saved, monkeypatch):
    net, path = saved
    content = path.read_bytes()
    monkeypatch.setattr(form, "LARGEST", len(content))
    net.save(path)
    load(path)
    monkeypatch.setattr(form, "LARGEST", len(content) - 1)
    with pytest.raises(ConfigError, match=r"model\.json: .* bytes, but JSON models end at .* as \.safetensors"):
        net.save(path)
    assert path.read_bytes() == content


def test_a_model_of_more_than_a_million_parameters_fits(tmp_path):
    net = MLP.from_sizes([784, 1000, 500, 10])
    net.save(tmp_path / "model.json")
    assert (tmp_path / "model.json").stat().st_size < form.LARGEST / 2
    np.testing.assert_array_equal(load(tmp_path / "model.json").flat, net.flat)


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is told in another unit, or not at all")
@pytest.mark.parametrize("unit", ['{"":0},', "[" * 900 + "]" * 900 + ","], ids=["small", "deep"])
def test_what_hostile_text_becomes_in_memory(unit, tmp_path):
    count = 2**22 // len(unit)
    (tmp_path / "model.json").write_text("[" + unit * count + "0]")
    code = """if True:
        import resource, sys
        from fastnn import load
        from fastnn.errors import ModelFileError
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            load(sys.argv[1])
        except ModelFileError:
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "model.json"], capture_output=True, text=True)
    factor = int(done.stdout) * 1024 / (count * len(unit))
    assert factor <= 50, "the limit's comment says so"
    assert factor * form.LARGEST < 2**32


def test_no_file_and_no_folder(tmp_path):
    with pytest.raises(ModelFileError, match="no such model file"):
        load(tmp_path / "absent.json")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(ModelFileError, match="it is a folder"):
        load(tmp_path / "folder.json")
    with pytest.raises(OutputError):
        MLP([Input(1), Dense(1)]).save(tmp_path / "absent" / "model.json")


@pytest.mark.parametrize(("name", "value"), [("sizes", [3, 5, 2]), ("activations", ["relu", "softmax"])])
def test_what_is_read_by_eye_must_be_true(saved, name, value):
    _, path = saved
    form = json.loads(path.read_text())
    path.write_text(json.dumps(form | {name: value}))
    with pytest.raises(ModelFileError, match=f"{name} are .* but the rest of it says"):
        load(path)
