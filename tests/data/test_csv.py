import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastnn.data import csv, load
from fastnn.errors import DataError


@pytest.fixture
def write(tmp_path):
    def write(text, name="a.csv"):
        content = text if isinstance(text, bytes) else text.encode()
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return tmp_path / name

    return write


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "A.CSV"])
def test_kaggles_form(write, name):
    train, test = load(write("label,pixel0,pixel1,pixel2\n1,0,255,3\n0,7,8,9\n1,1,1,1\n", name))
    assert test is None
    assert train.X.dtype == np.uint8
    assert train.X.flags.c_contiguous
    np.testing.assert_array_equal(train.X, [[0, 255, 3], [7, 8, 9], [1, 1, 1]])
    np.testing.assert_array_equal(train.y, [1, 0, 1])
    assert train.classes == ("0", "1")
    assert train.image is None


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("1,20,30\n0,40,50\n", 0),
        ("20,30,1\n40,50,0\n", -1),
        ("20,1,30\n40,0,50\n", 1),
        ("a,b,c\n20,1,30\n40,0,50\n", "b"),
        ("a,b,c\n20,1,30\n40,0,50\n", 1),
        (" 1 , 20,30\r\n0,40, 50\r\n\r\n", 0),
        ('"1","20","30"\n"0","40","50"', 0),
        ("\ufeff1,20,30\n0,40,50\n", 0),
        ("label,0,1\n1,20,30\n0,40,50\n", 0),  # columns named by numbers
        ("0,1,2\n20,1,30\n40,0,50\n", "1"),
        ("\n\n1,20,30\n\n0,40,50\n\n", 0),
        ("1,2e1,3.0e1\n0,40.0,+50\n", 0),
    ],
)
def test_headers_and_label_columns(write, text, label):
    train, _ = load(write(text), label=label)
    np.testing.assert_array_equal(train.X, [[20, 30], [40, 50]])
    assert train.X.dtype == np.uint8
    np.testing.assert_array_equal(train.y, [1, 0])


@pytest.mark.parametrize("odd", ["-1", "256", "0.5", "1e9"])
def test_features_beyond_a_byte_are_float32(write, odd):
    train, _ = load(write(f"0,1\n1,{odd}\n"))
    assert train.X.dtype == np.float32
    np.testing.assert_array_equal(train.X, np.array([[1], [float(odd)]], np.float32))


def test_names_of_classes(write):
    train, _ = load(write('species,length\nsetosa,1\n"virginica, false",2\nasper,3\nsetosa,4\n'))
    assert train.classes == ("asper", "setosa", "virginica, false")
    np.testing.assert_array_equal(train.y, [1, 2, 0, 1])


def test_names_of_classes_without_a_header(write):
    train, _ = load(write("c#,1\nc,2\n"))
    assert train.classes == ("c", "c#")
    assert len(train) == 2


def test_many_blocks(write, monkeypatch):
    monkeypatch.setattr(csv, "VALUES", 12)  # 4 rows of 3 at a time
    X = np.arange(60).reshape(30, 2) % 250
    y = np.arange(30) % 7
    rows = [f"{label},{a},{b}" for label, (a, b) in zip(y, X.tolist(), strict=True)]
    rows.insert(10, "")
    train, _ = load(write("\n".join(rows)))
    np.testing.assert_array_equal(train.X, X)
    np.testing.assert_array_equal(train.y, y)
    rows[25] = "3,0.5,1"
    train, _ = load(write("\n".join(rows)))
    assert train.X.dtype == np.float32
    np.testing.assert_array_equal(train.X[24], [0.5, 1])
    np.testing.assert_array_equal(train.X[:24], X[:24])
    rows[26] = "3,x,1"
    with pytest.raises(DataError, match="line 27, column 2: 'x' is not a number"):
        load(write("\n".join(rows)))


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 3), st.floats(width=32, allow_nan=False, allow_infinity=False), st.integers(0, 255)),
        min_size=2,
        max_size=20,
    ).filter(lambda rows: len({row[0] for row in rows}) > 1),
    header=st.booleans(),
)
def test_round_trip(tmp_path_factory, rows, header):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    lines = ["what,first,second"] * header + [f"{label},{a!r},{b}" for label, a, b in rows]
    path.write_text("\n".join(lines))
    train, _ = load(path)
    np.testing.assert_array_equal(train.X, np.array([row[1:] for row in rows], np.float32))
    assert train.y.tolist() == [row[0] for row in rows]
    assert (train.X.dtype == np.uint8) == all(a == int(a) and 0 <= a <= 255 for _, a, _ in rows)


@pytest.mark.parametrize(
    ("text", "label", "message"),
    [
        ("", 0, "a.csv is empty"),
        ("\n\n", 0, "a.csv is empty"),
        ("label,a,b\n", 0, "has a header but no rows"),
        ("label,a,b\n", "label", "has a header but no rows"),
        ("1\n2\n", 0, "single column"),
        ("1;2;3\n2;3;4\n", 0, "single column"),
        ("label,a\n1,2\n0,3\n", "digit", "no column named 'digit'; its first line reads .'label', 'a'."),
        ("1,2\n0,3\n", "label", "no column named 'label'"),
        ("1,2\n0,3\n", 2, "no column 2 for the label, only 0 to 1"),
        ("1,2\n0,3\n", -3, "no column -3"),
        ("label,a,b\n1,2,3\n0,x,4\n", 0, r"line 3, column 2 \('a'\): 'x' is not a number"),
        ("1,2,3\n\n0,4,five\n", 0, "line 3, column 3: 'five' is not a number"),
        ("1,2,3\n0,4,\n", 0, "line 2, column 3: the value is missing"),
        ("1,\n0,4\n", 0, "line 1, column 2: the value is missing"),
        ("2,3,a\n4,x,b\n", -1, "line 2, column 2: 'x' is not a number"),
        ("1,2,3\n0,4\n", 0, "line 2 has 2 columns where the first line has 3"),
        ("1,2,3\n0,4,5,6\n", 0, "line 2 has 4 columns where the first line has 3"),
        ("label,a,b\n0,4\n1,5\n", 0, "line 2 has 2 columns where the first line has 3"),
        ("1,2,3\n0,nan,5\n", 0, "line 2, column 2: nan is not a finite float32"),
        ("nan,2,3\n0,1,5\n", 0, "line 1: a label is not a finite float32"),
        ("l,a,b\n1,2,3\n0,4,-inf\n", 0, "line 3, column 3: -inf is not a finite float32"),
        ("1,2,3\n0,1e39,5\n", 0, r"line 2, column 2: 1e\+39 is not a finite float32"),
        ("l,a\n1,2\n\n-1,3\n", 0, "line 4: the label -1 is negative"),
        ("a,2\n,3\nb,4\n", 0, "line 2: the label is missing"),
        ("1,2\n1,3\n", 0, "all labels are the same"),
        (b"\xff\xfe1\x00,\x002\x00", 0, "is not UTF-8 text"),
        (b"1,2\n\x00,\x00\n", 0, "line 2, column 2: .* is not a number"),
        ('1,2\n0,"3\n1,4\n', 0, "line.*2"),
    ],
)
def test_unusable_text_is_refused_by_place(write, text, label, message):
    path = write(text)
    with pytest.raises(DataError, match=message) as caught:
        load(path, label=label)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_long_junk_makes_a_short_message(write):
    with pytest.raises(DataError) as caught:
        load(write("1,2\n0," + "x" * 100_000))
    assert len(str(caught.value)) < 300


def test_endless_lines_and_gzip_bombs_are_refused(write, monkeypatch):
    monkeypatch.setattr(csv, "LONGEST_LINE", 1000)
    with pytest.raises(DataError, match="line 2 has more than 1000 characters"):
        load(write("1,2\n" + "0" * 2000))
    monkeypatch.setattr("fastnn.data.reading.FREE_EXPANSION", 5000)
    with pytest.raises(DataError, match="expands to more than"):
        load(write("1,2\n" * 100_000, "a.csv.gz"))


def test_a_folder(write, tmp_path):
    write("label,a\n1,2\n0,3\n2,3\n", "train.csv")
    assert load(tmp_path)[1] is None
    write("label,a\n1,0.5\n", "test.csv.gz")
    train, test = load(tmp_path)
    assert train.X.dtype == test.X.dtype == np.float32
    np.testing.assert_array_equal(test.X, [[0.5]])
    assert test.classes == ("0", "1", "2")
    np.testing.assert_array_equal(test.y, [1])


@pytest.mark.parametrize("text", ["a\n1\n2\n", "a,b\n1,1\n2,0\n", "1,2,3\n0,1,2\n", "a,label\n0,1\n"])
def test_a_test_set_of_other_columns_is_refused(write, tmp_path, text):
    write("label,a\n1,2\n0,3\n", "train.csv")
    write(text, "test.csv")
    with pytest.raises(DataError, match=r"test\.csv(: its columns are not those of train\.csv| has a single column)"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("header", "image"),
    [
        ("label,pixel0,pixel1,pixel2,pixel3", (2, 2)),
        ("label,pixel1,pixel2,pixel3,pixel4", (2, 2)),
        ("label,pixel0,pixel2,pixel1,pixel3", None),
        ("label,pixel0,pixel1,pixel2", None),
        ("label,a,b,c,d", None),
        ("label,pixel0", None),
    ],
)
def test_a_header_that_numbers_the_pixels_of_a_square_says_that_rows_are_images(tmp_path, header, image):
    path = tmp_path / "k.csv"
    path.write_text("\n".join([header, *(label + ",7" * header.count(",") for label in "01")]))
    assert load(path)[0].image == image
    (tmp_path / "bare.csv").write_text("1,2,3,4,5\n0,2,3,4,5\n")
    assert load(tmp_path / "bare.csv")[0].image is None
