import gzip

import numpy as np
import pytest

from fastnn.data.features import load_features
from fastnn.errors import DataError


def write(path, content):
    path.write_text(content)
    return path


def test_a_csv_with_and_without_header(tmp_path):
    plain, named = write(tmp_path / "a.csv", "1,2\n3,4\n"), write(tmp_path / "b.CSV", "x,y\n1,2\n3,4\n")
    for path in (plain, named):
        X = load_features(path, 2)
        np.testing.assert_array_equal(X, [[1, 2], [3, 4]])
        assert X.dtype == np.uint8


def test_a_csv_of_a_single_column(tmp_path):
    np.testing.assert_array_equal(load_features(write(tmp_path / "a.csv", "0.5\n-1\n"), 1), np.float32([[0.5], [-1]]))


@pytest.mark.parametrize("label", ["kind", -1, 2])
def test_the_label_is_left_out_where_there_is_one(tmp_path, label):
    with_label = write(tmp_path / "a.csv", "x,y,kind\n1,2,cat\n3,4,dog\n")
    np.testing.assert_array_equal(load_features(with_label, 2, label), [[1, 2], [3, 4]])


def test_no_column_is_left_out_where_none_is_one_too_many(tmp_path):
    without = write(tmp_path / "a.csv", "x,y\n1,2\n3,4\n")
    np.testing.assert_array_equal(load_features(without, 2, 0), [[1, 2], [3, 4]])


def test_an_npz_needs_no_labels_and_its_test_set_comes_first(tmp_path):
    np.savez(tmp_path / "a.npz", X=np.float32([[1.5, 2]]))
    np.testing.assert_array_equal(load_features(tmp_path / "a.npz", 2), np.float32([[1.5, 2]]))
    np.savez(tmp_path / "b.npz", x_train=np.ones((3, 2, 2)), x_test=np.zeros((1, 2, 2)), y_test=np.array([None]))
    np.testing.assert_array_equal(load_features(tmp_path / "b.npz", 4), [[0, 0, 0, 0]])


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_an_idx_file_of_images(tmp_path, idx_bytes, pack):
    images = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    (tmp_path / "images").write_bytes(pack(idx_bytes(images)))
    np.testing.assert_array_equal(load_features(tmp_path / "images", 6), images.reshape(2, 6))


@pytest.mark.parametrize(
    ("content", "width", "label", "message"),
    [
        ("1,2,3\n", 2, None, "has 3 features, but the model takes 2; if one of them is the label, name it by --label"),
        ("1,2,3\n", 5, None, "has 3 features, but the model takes 5$"),
        ("1,2\n3,x\n", 2, None, r"line 2, column 2: 'x' is not a number"),
        ("1,2\n3,nan\n", 2, None, r"line 2, column 2: nan is not a finite"),
        ("1,2\n3\n", 2, None, r"line 2 has 1 columns where the first line has 2"),
        ("x,y\n", 2, None, "has a header but no rows"),
        ("x,y\n1,2\n", 2, "kind", "has no column named 'kind'"),
        ("", 2, None, "is empty"),
    ],
)
def test_bad_csv_files_are_refused(tmp_path, content, width, label, message):
    with pytest.raises(DataError, match=message):
        load_features(write(tmp_path / "a.csv", content), width, label)


def test_other_bad_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        load_features(tmp_path / "missing", 2)
    with pytest.raises(DataError, match="is not an IDX file"):
        load_features(write(tmp_path / "words", "words, words"), 2)
    np.savez(tmp_path / "a.npz", y=np.zeros(3))
    with pytest.raises(DataError, match="has no train features"):
        load_features(tmp_path / "a.npz", 2)
