"""Columns in another order are seen, not taken for each other, wherever both sides name them."""

import pytest

from fastnn import load

REFERENCE = ("--backend", "reference")


@pytest.fixture
def model(train, tmp_path):
    assert train()[0] == 0
    return tmp_path / "run" / "model.safetensors"


def moved(table, order, header=True, label=True):
    """The table with its columns in another order; perhaps without header, or without its label."""
    rows = [line.split(",") for line in table.read_text().splitlines()][0 if header else 1 :]
    path = table.with_name("moved.csv")
    path.write_text("\n".join(",".join([row[0]] * label + [row[k] for k in order]) for row in rows) + "\n")
    return path


def test_a_model_knows_the_names_of_its_features(model):
    assert load(model).metadata["features"] == ["a", "b", "c", "d"]


@pytest.mark.parametrize("order", [(4, 3, 2, 1), (1, 3, 2, 4)])
def test_evaluate_refuses_columns_in_another_order(refused, model, table, order):
    line = refused("evaluate", model, "--data", moved(table, order), *REFERENCE)
    place = next(k for k in range(4) if order[k] != k + 1)
    assert f"feature {place + 1} is {'abcd'[order[place] - 1]!r}, where the network was trained with" in line


def test_predict_refuses_columns_in_another_order(refused, model, table):
    line = refused("predict", model, moved(table, (2, 1, 3, 4), label=False), *REFERENCE)
    assert "feature 1 is 'b', where the network was trained with 'a'" in line


def test_a_validation_file_has_the_same_columns(refused, table):
    assert "feature 1 is 'b'" in refused(
        *("train", "--data", table, "--validation", moved(table, (2, 1, 3, 4)), "--out", table.parent / "new")
    )


def test_the_same_order_and_files_without_names_are_taken(fastnn, model, table):
    for path in (table, moved(table, (1, 2, 3, 4), header=False)):
        code, _, err = fastnn("evaluate", model, "--data", path, *REFERENCE)
        assert (code, err) == (0, "")


def test_frames_and_parquet_have_names(fastnn, refused, model, table):
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_csv(table)
    frame[["kind", "b", "a", "c", "d"]].to_parquet(table.with_suffix(".parquet"))
    assert "feature 1 is 'b'" in refused("evaluate", model, "--data", table.with_suffix(".parquet"), *REFERENCE)
    assert "feature 1 is 'b'" in refused("predict", model, table.with_suffix(".parquet"), "--label", "kind", *REFERENCE)


def test_data_written_as_csv_keep_their_names(fastnn, model, table, tmp_path):
    assert fastnn("inspect", table, "--csv", tmp_path / "again.csv")[0] == 0
    assert (tmp_path / "again.csv").read_text().splitlines()[0] == "label,a,b,c,d"
    assert fastnn("evaluate", model, "--data", tmp_path / "again.csv", *REFERENCE)[0] == 0


def test_features_without_names_are_no_pixels(fastnn, table, tmp_path):
    bare = moved(table, (1, 2, 3, 4), header=False)
    assert fastnn("inspect", bare, "--csv", tmp_path / "again.csv")[0] == 0
    assert (tmp_path / "again.csv").read_text().splitlines()[0] == "label,x0,x1,x2,x3"
