"""``fastnn inspect``: what is in the data, as tables, as a picture, and as Kaggle's CSV."""

import numpy as np
import pytest

from fastnn.data import load
from tests.samples import pictures


@pytest.fixture
def images(tmp_path):
    X, y = pictures(40)
    np.savez(tmp_path / "images.npz", X=X.reshape(-1, 5, 5), y=y)
    return tmp_path / "images.npz"


def test_counts_classes_and_ranges(fastnn, table):
    code, out, err = fastnn("inspect", table)
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert ["rows", "60"] in lines
    assert ["features", "4"] in lines
    assert ["classes", "3"] in lines
    for name in ("A0", "B1", "C2"):
        assert [name, "20"] in lines


def test_a_regression_has_targets(fastnn, tmp_path):
    (tmp_path / "a.csv").write_text("0.5,1,2\n1.5,3,4\n-2,5,6\n")
    code, out, _ = fastnn("inspect", tmp_path / "a.csv")
    assert code == 0
    assert "regression 1 target, from -2 to 1.5" in [" ".join(line.split()) for line in out.splitlines()]


def test_mnist_itself(fastnn):
    code, out, _ = fastnn("inspect", "mnist")
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert ["rows", "60,000", "10,000"] in lines
    assert ["0", "5,923", "980"] in lines


def test_the_csv_is_read_back_as_it_was(fastnn, images, tmp_path):
    path = tmp_path / "train.csv"
    code, out, _ = fastnn("inspect", images, "--csv", path, "--rows", 30)
    assert code == 0
    assert f"30 rows are in {path}" in out
    assert path.read_text().splitlines()[0] == "label," + ",".join(f"pixel{k}" for k in range(25))
    there, back = load(images)[0], load(path)[0]
    np.testing.assert_array_equal(back.X, there.X[:30])
    np.testing.assert_array_equal(back.y, there.y[:30])
    assert back.X.dtype == np.uint8


def test_names_with_commas_survive(fastnn, tmp_path):
    (tmp_path / "a.csv").write_text('x,"one, two"\n1,"a,b"\n2,"c"\n')
    assert fastnn("inspect", tmp_path / "a.csv", "--label", 1, "--csv", tmp_path / "b.csv")[0] == 0
    assert load(tmp_path / "b.csv")[0].classes == ("a,b", "c")


def test_the_picture(fastnn, images, tmp_path):
    code, _, _ = fastnn("inspect", images, "--picture", tmp_path / "images.png")
    assert code == 0
    assert (tmp_path / "images.png").read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def drawn(monkeypatch):
    """What pictures were asked to show."""
    asked = []
    monkeypatch.setattr("fastnn.pictures.grid", lambda *given: asked.append(given))
    return asked


def test_the_picture_of_many_classes_shows_some(fastnn, drawn, tmp_path):
    np.savez(tmp_path / "many.npz", X=np.zeros((50, 4), np.uint8).reshape(-1, 2, 2), y=np.arange(50) // 2)
    assert fastnn("inspect", tmp_path / "many.npz", "--picture", tmp_path / "a.png")[0] == 0
    ((shown, titles, _, _, _, footing, columns),) = drawn
    assert (len(shown), columns, footing) == (40, 20, "one column a class, the first 20 of 25")
    assert titles == [str(index) for index in range(20)] * 2


def test_the_picture_of_a_regression_has_no_classes(fastnn, drawn, tmp_path):
    np.savez(tmp_path / "values.npz", X=np.zeros((50, 2, 2), np.uint8), y=np.arange(50) / 4)
    assert fastnn("inspect", tmp_path / "values.npz", "--picture", tmp_path / "a.png")[0] == 0
    ((shown, titles, _, _, _, footing, columns),) = drawn
    assert (len(shown), columns, footing) == (36, 6, "the first images, each with its target")
    assert titles == [f"{index / 4:g}" for index in range(36)]


def test_no_picture_of_what_is_no_image(refused, table, tmp_path):
    assert "--image" in refused("inspect", table, "--picture", tmp_path / "a.png")


def test_too_many_rows(refused, table):
    assert "60 training rows, not 100" in refused("inspect", table, "--rows", 100)
