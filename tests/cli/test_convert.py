"""``fastnn convert``: there and back, by suffix."""

import os

import numpy as np
import pytest

from fastnn import load


def test_there_and_back(train, fastnn, tmp_path):
    train()
    model = tmp_path / "run" / "model.safetensors"
    for source, target in ((model, tmp_path / "a.json"), (tmp_path / "a.json", tmp_path / "b.safetensors")):
        code, out, err = fastnn("convert", source, target)
        assert (code, out, err) == (0, f"the model is in {target}\n", "")
    one, other = load(model), load(tmp_path / "b.safetensors")
    np.testing.assert_array_equal(one.flat, other.flat)
    assert one.metadata == other.metadata


def test_other_suffixes_are_refused(refused, tmp_path):
    assert "ends in .safetensors or .json" in refused("convert", tmp_path / "a.json", tmp_path / "b.pkl")


def test_that_the_state_of_training_is_left_behind_is_said(train, fastnn, tmp_path):
    train()
    last, target = tmp_path / "run" / "last.safetensors", tmp_path / "a.safetensors"
    said = f"the model is in {target}\nthe state of its training is not in it: keep {last} to resume from\n"
    assert fastnn("convert", last, target) == (0, said, "")
    np.testing.assert_array_equal(load(last).flat, load(target).flat)


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
def test_a_file_is_not_converted_onto_itself(train, refused, tmp_path, monkeypatch):
    train()
    last, link = tmp_path / "run" / "last.safetensors", tmp_path / "link.safetensors"
    link.symlink_to(last)
    monkeypatch.chdir(tmp_path / "run")
    content = last.read_bytes()
    for target in (last, link, "last.safetensors", tmp_path / "run" / ".." / "run" / "last.safetensors"):
        assert "is the model itself; write to another file" in refused("convert", last, target)
    assert last.read_bytes() == content
