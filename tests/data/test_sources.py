import os

import numpy as np
import pytest

from fastnn.data import load
from fastnn.errors import ConfigError, DataError


def test_unknown_sources(tmp_path):
    with pytest.raises(DataError, match=r'not exist \(did you mean mnist\?\); give a file, a folder, or "mnist"'):
        load("mnst")
    with pytest.raises(DataError, match=r"holds neither .* nor train\.csv"):
        load(tmp_path)
    (tmp_path / "a.xlsx").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="unknown kind"):
        load(tmp_path / "a.xlsx")
    with pytest.raises(DataError, match=r"unknown kind|does not exist"):
        load(tmp_path / ("x" * 300))


def test_a_folder_where_a_file_is_expected(tmp_path):
    (tmp_path / "train.csv").mkdir()
    with pytest.raises(DataError, match=r"train\.csv"):
        load(tmp_path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_no_permission_to_read(tmp_path):
    for name in ("a.csv", "a.npz"):
        (tmp_path / name).write_text("1,2\n")
        (tmp_path / name).chmod(0)
        with pytest.raises(DataError, match=f"cannot read .*{name}: Permission denied"):
            load(tmp_path / name)


def test_an_error_of_the_system_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text("1,2\n0,3\n")

    def fail(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("fastnn.data.reading.open", fail, raising=False)
    with pytest.raises(DataError, match=r"cannot read .*a\.csv: Permission denied"):
        load(tmp_path / "a.csv")


def test_the_picture_can_be_said(tmp_path):
    np.savez(tmp_path / "a.npz", X=np.zeros((2, 6)), y=[0, 1])
    assert load(tmp_path / "a.npz", image=(2, 3))[0].image == (2, 3)
    for image in ((2, 2), (-2, -3)):
        with pytest.raises(DataError, match="does not fit 6 features"):
            load(tmp_path / "a.npz", image=image)


def test_train_and_test_have_one_type_and_width(tmp_path):
    X = np.ones((2, 3), np.uint8)
    np.savez(tmp_path / "a.npz", x_train=X, y_train=[0, 1], x_test=X + 0.5, y_test=[0, 1])
    train, test = load(tmp_path / "a.npz")
    assert train.X.dtype == test.X.dtype == np.float32
    np.savez(tmp_path / "a.npz", x_train=X, y_train=[0, 1], x_test=X[:, :2], y_test=[0, 1])
    with pytest.raises(DataError, match="not as many features"):
        load(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", x_train=X, y_train=X[:, :2] * 0.5, x_test=X, y_test=X * 0.5)
    with pytest.raises(DataError, match="not as many features and targets"):
        load(tmp_path / "a.npz")


def test_the_classes_of_a_model_can_be_said(tmp_path):
    (tmp_path / "a.csv").write_text("dog,1\ndog,2\n")
    data, _ = load(tmp_path / "a.csv", classes=("cat", "dog"))
    np.testing.assert_array_equal(data.y, [1, 1])
    assert data.classes == ("cat", "dog")


@pytest.mark.parametrize("label", [None, 1.5, True, ["y"]])
@pytest.mark.parametrize("kind", ["csv", "frame"])
def test_a_label_that_is_no_column_is_one_line(tmp_path, kind, label):
    if kind == "frame":
        source = pytest.importorskip("polars").DataFrame({"y": [0, 1], "a": [1, 2]})
    else:
        source = tmp_path / "a.csv"
        source.write_text("y,a\n0,1\n1,2\n")
    assert load(source, np.int64(0))[0].y.tolist() == [0, 1]
    with pytest.raises(ConfigError, match="is no column; give its index, as 0 or -1, or its name") as caught:
        load(source, label)
    assert "\n" not in str(caught.value)
