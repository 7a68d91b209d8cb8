"""``fastnn export``: what it may write to."""

import pytest

from fastnn import MLP


@pytest.fixture
def model(tmp_path):
    MLP.from_sizes([3, 2]).save(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize(
    ("option", "other"), [("--onnx", "good.html"), ("--html", "good.onnx")], ids=["a graph", "a page"]
)
@pytest.mark.parametrize("suffix", ["of the other", ".safetensors", ".json", ".pkl", ".npz", ".PT"])
def test_suffixes_of_other_formats_are_refused_before_anything_is_written(
    option, other, suffix, model, refused, tmp_path
):
    own, foreign = f".{option[2:]}", other[4:]
    bad = f"bad{suffix.replace('of the other', foreign)}"
    said = refused("export", model, option, tmp_path / bad, f"--{foreign[1:]}", tmp_path / other)
    assert f"{bad}: {bad[3:].lower()} is the suffix of another format; use a name that ends in {own}" in said
    assert list(tmp_path.iterdir()) == [model]


@pytest.mark.parametrize("name", ["page", "page.html", "page.HTML", "page.v2"])
def test_other_names_are_fine(name, model, fastnn, tmp_path):
    assert fastnn("export", model, "--html", tmp_path / name) == (0, f"the page is in {tmp_path / name}\n", "")
    assert (tmp_path / name).read_text(encoding="utf-8").startswith("<!")


def test_the_model_is_not_replaced(model, refused):
    content = model.read_bytes()
    assert "is the model itself; write to another file" in refused("export", model, "--html", model)
    assert model.read_bytes() == content
