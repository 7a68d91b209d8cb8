"""``fastnn predict``: a CSV of what a model says of each row."""

import csv
import gzip
import struct

import numpy as np
import pytest

from fastnn import MLP, Dense, Input, load


def rows_of(text):
    return list(csv.reader(text.splitlines()))


@pytest.fixture
def model(train, tmp_path):
    assert train()[0] == 0
    return tmp_path / "run" / "model.safetensors"


@pytest.fixture
def features(tmp_path):
    X = np.float32([[3, 0, 0, 0.5], [0, 3, 0, 0], [0, 0, 3, -1]])
    path = tmp_path / "features.csv"
    np.savetxt(path, X, delimiter=",")
    return path, X


REFERENCE = ["--backend", "reference"]


def test_label_and_probability_of_each_row(fastnn, model, features):
    path, X = features
    code, out, err = fastnn("predict", model, path, *REFERENCE)
    assert (code, err) == (0, "")
    head, *rows = rows_of(out)
    assert head == ["row", "label", "probability"]
    expected = load(model).predict_proba(X, backend="reference")
    assert [row[0] for row in rows] == ["1", "2", "3"]
    assert [row[1] for row in rows] == [("A0", "B1", "C2")[index] for index in expected.argmax(axis=1)]
    np.testing.assert_array_equal(np.float32([row[2] for row in rows]), expected.max(axis=1))


def test_all_adds_a_column_for_each_class(fastnn, model, features):
    path, X = features
    head, *rows = rows_of(fastnn("predict", model, path, "--all", *REFERENCE)[1])
    assert head == ["row", "label", "probability", "A0", "B1", "C2"]
    expected = load(model).predict_proba(X, backend="reference")
    np.testing.assert_array_equal(np.float32([row[3:] for row in rows]), expected)


def test_out_writes_the_same_to_a_file(fastnn, model, features, tmp_path):
    _, out, _ = fastnn("predict", model, features[0], *REFERENCE)
    assert fastnn("predict", model, features[0], "--out", tmp_path / "p.csv", *REFERENCE) == (0, "", "")
    assert (tmp_path / "p.csv").read_bytes() == out.encode()


def test_the_training_table_without_its_label(fastnn, model, table):
    for label in ("kind", 0):
        assert len(rows_of(fastnn("predict", model, table, "--label", label, *REFERENCE)[1])) == 61


def test_npz_and_idx_files(fastnn, model, features, tmp_path):
    _, X = features
    _, expected, _ = fastnn("predict", model, features[0], *REFERENCE)
    np.savez(tmp_path / "f.npz", X=X)
    assert fastnn("predict", model, tmp_path / "f.npz", *REFERENCE)[1] == expected
    header = bytes([0, 0, 0x0D, 3]) + struct.pack(">3I", 3, 2, 2)
    (tmp_path / "f-idx3").write_bytes(gzip.compress(header + X.astype(">f4").tobytes()))
    assert fastnn("predict", model, tmp_path / "f-idx3", *REFERENCE)[1] == expected


def test_class_names_that_csv_must_quote(fastnn, tmp_path):
    network = MLP([Input(1), Dense(2, "softmax")], bias_init="uniform(0, 1)")
    network.metadata = {"classes": ['a, "b"', "ü"]}
    network.save(tmp_path / "m.safetensors")
    (tmp_path / "f.csv").write_text("0\n")
    head, row = rows_of(fastnn("predict", tmp_path / "m.safetensors", tmp_path / "f.csv", "--all", *REFERENCE)[1])
    assert head[3:] == ['a, "b"', "ü"]
    assert row[1] in head[3:]


@pytest.mark.parametrize(("outputs", "head"), [(1, ["row", "value"]), (2, ["row", "value_1", "value_2"])])
def test_a_regression_gives_values(fastnn, tmp_path, outputs, head):
    network = MLP([Input(2), Dense(outputs)], weight_init="constant(0.5)")
    network.metadata = {"classes": None}
    network.save(tmp_path / "m.safetensors")
    (tmp_path / "f.csv").write_text("1,2\n3,4\n")
    out = rows_of(fastnn("predict", tmp_path / "m.safetensors", tmp_path / "f.csv", *REFERENCE)[1])
    assert out == [head, ["1", *["1.5"] * outputs], ["2", *["3.5"] * outputs]]


def test_a_single_sigmoid_output_is_two_classes(fastnn, tmp_path):
    network = MLP([Input(1), Dense(1, "sigmoid")], weight_init="constant(1)")
    network.save(tmp_path / "m.safetensors")
    (tmp_path / "f.csv").write_text("-9\n9\n")
    out = rows_of(fastnn("predict", tmp_path / "m.safetensors", tmp_path / "f.csv", "--all", *REFERENCE)[1])
    assert out[0] == ["row", "label", "probability", "0", "1"]
    assert [row[1] for row in out[1:]] == ["0", "1"]


# ---------------------------------------------------------------- what is refused


def test_a_bad_model_is_refused(refused, model, features, tmp_path):
    path = features[0]
    assert "missing" in refused("predict", tmp_path / "missing.safetensors", path)
    assert "features.csv" in refused("predict", path, path)
    content = model.read_bytes()
    for damaged in (content[:100], content[:-1], content[:-2] + bytes([content[-2] ^ 1, content[-1]])):
        model.write_bytes(damaged)
        assert "model.safetensors" in refused("predict", model, path)


def test_a_description_that_names_other_classes_is_refused(refused, features, tmp_path):
    network = MLP([Input(4), Dense(3, "softmax")])
    for names in (["a", "b"], ["a", "b", 3], "abc", {"a": 1, "b": 2, "c": 3}):
        network.metadata = {"classes": names}
        network.save(tmp_path / "m.safetensors")
        assert "does not name as many" in refused("predict", tmp_path / "m.safetensors", features[0])


def test_features_that_do_not_fit_are_refused(refused, model, table, tmp_path):
    assert "missing.csv does not exist" in refused("predict", model, tmp_path / "missing.csv")
    (tmp_path / "wide.csv").write_text("1,2,3,4,5\n")
    assert "has 5 features, but the model takes 4; if one" in refused("predict", model, tmp_path / "wide.csv")
    assert "is not a number" in refused("predict", model, table)


def test_an_output_that_cannot_be_written_is_refused(refused, model, features, tmp_path):
    assert "cannot write" in refused("predict", model, features[0], "--out", tmp_path / "none" / "p.csv", *REFERENCE)


def test_a_submission_for_kaggle(fastnn, model, features, tmp_path):
    path, X = features
    code, out, _ = fastnn("predict", model, path, "--kaggle", *REFERENCE)
    assert code == 0
    named = load(model).metadata["classes"]
    expected = [named[index] for index in load(model).predict(X, backend="reference")]
    assert rows_of(out) == [["ImageId", "Label"], *([str(row), name] for row, name in enumerate(expected, 1))]


def test_a_submission_has_no_probabilities(refused, model, features):
    assert "no place for --all" in refused("predict", model, features[0], "--kaggle", "--all", *REFERENCE)
