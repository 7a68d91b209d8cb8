"""``fastnn convert``: there and back, by suffix."""

import numpy as np

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
