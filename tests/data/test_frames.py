"""Data frames and Parquet files: what NumPy would give, and one clear line for what cannot be learnt from."""

import datetime
import tracemalloc

import numpy as np
import pytest

import fastnn
from fastnn.data import load
from fastnn.data.features import load_features
from fastnn.errors import DataError, MissingExtraError

pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

COLUMNS = {
    "kind": ["cat", "dog", "cat", "bird"],
    "size": [0.5, 1.5, 0.25, -2.0],
    "legs": [4, 4, 4, 2],
    "wild": [False, True, False, True],
}
FRAMES = {
    "pandas": pandas.DataFrame,
    "polars": polars.DataFrame,
    "arrow": pyarrow.table,
    "parquet": pyarrow.table,
}


@pytest.fixture(params=FRAMES)
def source(request, tmp_path):
    """Makes a source of each kind of the same columns."""

    def make(columns):
        frame = FRAMES[request.param](columns)
        if request.param != "parquet":
            return frame
        parquet.write_table(frame, tmp_path / "a.parquet")
        return tmp_path / "a.parquet"

    return make


@pytest.mark.parametrize("label", ["kind", 0, -4])
def test_all_kinds_give_the_same(source, label):
    data, test = load(source(COLUMNS), label)
    assert test is None
    assert data.classes == ("bird", "cat", "dog")
    assert data.y.tolist() == [1, 2, 1, 0]
    np.testing.assert_array_equal(data.X, np.float32([[0.5, 4, 0], [1.5, 4, 1], [0.25, 4, 0], [-2, 2, 1]]))


def test_numbers_with_a_fraction_are_a_regression_and_small_whole_ones_bytes(source):
    data, _ = load(source({"y": [0.5, 1.25], "a": [1, 255], "b": [0, 3]}), "y")
    assert data.classes is None
    assert (data.X.dtype, data.X.tolist()) == (np.uint8, [[1, 0], [255, 3]])


def test_a_network_trains_on_a_frame_and_predicts_from_one():
    frame = polars.DataFrame(COLUMNS)
    data, _ = load(frame, "kind")
    net = fastnn.MLP.from_sizes([3, 4, 3])
    X = frame.drop("kind").cast(polars.Float32)
    net.fit(X, data.y, epochs=2)
    np.testing.assert_array_equal(net.predict(X), net.predict(data.X))


@pytest.mark.parametrize(
    ("columns", "label", "message"),
    [
        (
            {"y": [1, 0], "a": ["red", "blue"]},
            "y",
            "the column 'a' is of the type String, not a number; encode or drop",
        ),
        ({"y": [1, 0], "a": [1.0, None]}, "y", "the column 'a' is missing in 1 rows"),
        ({"y": ["x", None], "a": [1.0, 2.0]}, "y", "the label 'y' is missing in 1 rows"),
        ({"y": [1, 0], "a": [1, 2]}, "z", "has no column 'z'; it has y, a"),
        ({"y": [1, 0], "a": [1, 2]}, 2, "has 2 columns, and no column 2"),
        ({"y": [1, 0]}, "y", "has no columns of features"),
    ],
)
def test_what_cannot_be_learnt_from_is_named(columns, label, message):
    with pytest.raises(DataError, match=message):
        load(polars.DataFrame(columns), label)


def test_nan_is_named():
    with pytest.raises(DataError, match="not a finite float32"):
        load(polars.DataFrame({"y": [0, 1], "a": [1.0, float("nan")]}), "y")


@pytest.mark.parametrize("cut", [0, 1, 10, 100, -1])
def test_a_damaged_parquet_file_is_one_line(tmp_path, cut):
    parquet.write_table(pyarrow.table(COLUMNS), tmp_path / "a.parquet")
    (tmp_path / "a.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:cut])
    with pytest.raises(DataError, match=r"a\.parquet is damaged or no Parquet file") as caught:
        load(tmp_path / "a.parquet")
    assert "\n" not in str(caught.value)


def test_a_parquet_file_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    zeros = pyarrow.table({f"c{k}": np.zeros(100_000, np.float32) for k in range(4)})
    parquet.write_table(zeros, tmp_path / "a.parquet")
    monkeypatch.setattr("fastnn.data.reading.FREE_EXPANSION", 2**20)
    with pytest.raises(DataError, match="expands from"):
        load(tmp_path / "a.parquet")


def test_features_alone_are_read_for_predictions(tmp_path):
    parquet.write_table(pyarrow.table({"a": [1, 2], "b": [3, 4]}), tmp_path / "a.parquet")
    assert load_features(tmp_path / "a.parquet", 2).tolist() == [[1, 3], [2, 4]]
    assert load_features(tmp_path / "a.parquet", 1, "a").tolist() == [[3], [4]]


@pytest.mark.parametrize("package", ["narwhals", "pyarrow"])
def test_without_a_package_the_command_is_named(tmp_path, monkeypatch, package):
    parquet.write_table(pyarrow.table(COLUMNS), tmp_path / "a.parquet")
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'fastnn-cpu\[frames\]'"):
        load(tmp_path / "a.parquet", "kind")


def test_names_that_are_numbers_and_labels_from_the_end():
    data, _ = load(pandas.DataFrame(np.float32([[0.5, 1], [1.5, 0]])), -1)
    assert (data.X.tolist(), data.y.tolist()) == ([[0.5], [1.5]], [1, 0])
    with pytest.raises(DataError, match="has no column 'y'; it has 0, 1"):
        load(pandas.DataFrame(np.zeros((2, 2))), "y")


@pytest.mark.parametrize(
    "frame",
    [
        pandas.DataFrame([[1, 2, 3]], columns=["a", "a", "b"]),
        polars.DataFrame({"a": [1], "b": [2]}).lazy(),
        np.zeros((3, 2)),
        None,
    ],
    ids=["twice", "lazy", "array", "nothing"],
)
def test_what_is_no_plain_frame_is_one_line(frame):
    with pytest.raises(DataError) as caught:
        load(frame, 0)
    assert "\n" not in str(caught.value)


def test_lists_and_repeated_words_do_not_fill_the_memory(tmp_path, monkeypatch):
    parquet.write_table(pyarrow.table({"y": [0], "a": [list(range(100_000))]}), tmp_path / "lists.parquet")
    with pytest.raises(DataError, match="the column 'a' holds lists"):
        load(tmp_path / "lists.parquet")
    words = pyarrow.table({"y": ["w" * 1000, "v"] * 25_000, "a": np.arange(50_000)})
    parquet.write_table(words, tmp_path / "words.parquet")
    monkeypatch.setattr("fastnn.data.reading.FREE_EXPANSION", 2**20)  # as text these would be 25 MB
    assert load(tmp_path / "words.parquet", "y")[0].classes == ("v", "w" * 1000)


@pytest.mark.parametrize("words", [["w" * 1000, "v"], [datetime.date(2000, 1, 1), datetime.date(2000, 1, 2)]])
def test_a_label_that_is_a_word_costs_no_string_per_row(tmp_path, words):
    rows = 50_000
    table = pyarrow.table({"y": words * (rows // 2), "a": np.zeros(rows, np.uint8)})
    parquet.write_table(table, tmp_path / "a.parquet")
    load(tmp_path / "a.parquet", "y")  # what is imported for it does not count
    tracemalloc.start()
    data, _ = load(tmp_path / "a.parquet", "y")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [data.classes[index] for index in data.y[:3]] == [str(word) for word in (*words, words[0])]
    assert peak < 60 * rows  # a string takes 50 bytes and its place in a list 8, and there were two of each


def test_words_are_numbered_alike_in_all_parts_of_a_file(tmp_path):
    table = pyarrow.table({"y": ["b", "a", "c", "b", "a", "d"], "a": np.arange(6)})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    data, _ = load(tmp_path / "a.parquet", "y")
    assert (data.classes, data.y.tolist()) == (("a", "b", "c", "d"), [1, 0, 2, 1, 0, 3])


def test_words_of_a_frame_may_be_categories():
    words = ["b", "a", "b", "c"]
    for y, kind in ((pandas.Categorical(words), "pandas"), (polars.Series(words, dtype=polars.Categorical), "polars")):
        data, _ = load(FRAMES[kind]({"y": y, "a": np.arange(4)}), "y")
        assert (data.classes, data.y.tolist()) == (("a", "b", "c"), [1, 0, 1, 2])


def test_labels_that_are_lists_are_named():
    with pytest.raises(DataError, match=r"the label 'y' is of the type List\(Int64\), neither a number nor a word"):
        load(pyarrow.table({"y": [[1], [2]], "a": [1, 2]}), "y")


def test_long_words_are_refused_before_they_are_read(tmp_path, monkeypatch):
    words = [f"{k}" + "w" * 2**20 for k in range(4)]
    parquet.write_table(pyarrow.table({"y": words, "a": np.arange(4)}), tmp_path / "a.parquet", compression="zstd")
    monkeypatch.setattr("fastnn.data.reading.FREE_EXPANSION", 2**21)
    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", None)
    with pytest.raises(DataError, match="expands from"):
        load(tmp_path / "a.parquet", "y")


def test_a_wide_frame_is_gone_through_once(source, monkeypatch):
    import narwhals

    asked = []

    def counted(name):
        original = getattr(narwhals.DataFrame, name)
        return lambda frame, *arguments: (asked.append(name), original(frame, *arguments))[1]

    for name in ("__getitem__", "get_column", "select", "iter_columns"):
        monkeypatch.setattr(narwhals.DataFrame, name, counted(name))
    X = np.random.default_rng(0).normal(size=(5, 3000)).astype(np.float32)
    data, _ = load(source({"y": [0, 1, 0, 1, 1], **{f"x{k}": column for k, column in enumerate(X.T)}}), "y")
    np.testing.assert_array_equal(data.X, X)
    assert sorted(asked) == ["__getitem__", "get_column", "iter_columns"]  # the label by the first two, then all
