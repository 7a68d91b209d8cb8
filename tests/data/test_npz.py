import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fastnn.data import load
from fastnn.errors import DataError

X = np.arange(12, dtype=np.uint8).reshape(3, 4)
Y = np.array([0, 1, 1])


def npy(values):
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def header_only(text):
    """The start of an .npy file whose header says `text`."""
    text = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def archive(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path


@pytest.mark.parametrize(
    "keys",
    [
        "x_train y_train x_test y_test",
        "X_train y_train X_test y_test",
        "xtrain ytrain xtest ytest",
        "train_images train_labels test_images test_labels",
        "train_X train_y test_X test_y",
        "data target data_test target_test",
    ],
)
def test_spellings(tmp_path, keys):
    path = tmp_path / "Set.NPZ.npz"
    np.savez_compressed(path, **dict(zip(keys.split(), (X, Y, X[:2] + 1, Y[:2]), strict=True)), other=np.zeros(3))
    train, test = load(path)
    np.testing.assert_array_equal(train.X, X)
    np.testing.assert_array_equal(test.X, X[:2] + 1)
    np.testing.assert_array_equal(train.y, Y)
    np.testing.assert_array_equal(test.y, Y[:2])
    assert train.X.dtype == test.X.dtype == np.uint8


@given(
    features=st.sampled_from(["u1", "i2", "u4", "i8", "f2", "f4", "f8", "?"]).flatmap(
        lambda kind: arrays.arrays(
            kind,
            (4, 3),
            elements={"allow_nan": False, "allow_infinity": False, "max_value": 1000, "min_value": -1000}
            if kind[0] == "f"
            else None,
        )
    ),
    fortran=st.booleans(),
)
def test_round_trip(tmp_path_factory, features, fortran):
    path = tmp_path_factory.getbasetemp() / "any.npz"
    np.savez(path, X=np.asfortranarray(features) if fortran else features, y=[0, 1, 2, 1])
    train, test = load(path)
    assert test is None
    assert train.X.flags.c_contiguous
    small = features.dtype.kind in "iub" and features.min() >= 0 and features.max() <= 255
    assert train.X.dtype == (np.uint8 if small else np.float32)
    np.testing.assert_array_equal(train.X, features.astype(np.float32))


def test_pictures_keep_their_shape(tmp_path):
    np.savez(tmp_path / "a.npz", X=X.reshape(3, 2, 2), y=Y)
    assert load(tmp_path / "a.npz")[0].image == (2, 2)


@pytest.mark.parametrize("labels", [["dog", "cat", "cat"], [b"dog", b"cat", b"cat"], [["dog"], ["cat"], ["cat"]]])
def test_labels_of_text(tmp_path, labels):
    np.savez(tmp_path / "a.npz", X=X, y=labels)
    train, _ = load(tmp_path / "a.npz")
    assert train.classes == ("cat", "dog")
    assert train.y.tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"X": X}, "has no train labels"),
        ({"y": Y}, "has no train features"),
        ({"a": X, "b": Y}, "has no train features, no train labels"),
        ({"x_train": X, "y_train": Y, "x_test": X}, "has no test labels"),
        ({"X": X, "x_train": X, "y": Y}, "both X.npy and x_train.npy could be the train features"),
        ({"X": X, "y": Y[:2]}, "do not match"),
        ({"X": X, "y": np.array(3)}, "do not match"),
        ({"X": X, "y": np.zeros((3, 1, 1))}, "do not match"),
        ({"X": Y, "y": Y}, "features of shape"),
        ({"X": X[:, :0], "y": Y}, "is empty"),
        ({"X": np.array([["a"] * 2] * 3), "y": Y}, "elements of type <U1"),
        ({"X": X.astype(complex), "y": Y}, "elements of type complex128"),
        ({"X": X, "y": np.array([["a", "b"]] * 3)}, "text in 2 columns"),
        ({"X": X, "y": np.array([b"a", b"\xff", b"b"])}, "not valid text"),
        ({"X": X, "y": np.array([65, 2**31, 66], np.uint32).view("U1")}, "not valid text"),
        ({"X": np.where(X == 5, np.inf, 1), "y": Y}, "row 2, column 2"),
        ({"X": X * 1e60, "y": Y}, "row 1, column 2: 1e\\+60 is not a finite float32"),
    ],
)
def test_unusable_arrays(tmp_path, members, message):
    path = archive(tmp_path / "a.npz", **{name: npy(values) for name, values in members.items()})
    with pytest.raises(DataError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_pickled_objects_are_refused(tmp_path):
    buffer = io.BytesIO()
    np.save(buffer, np.array([print, 1, 2], dtype=object))
    with pytest.raises(DataError, match="elements of type object"):
        load(archive(tmp_path / "a.npz", X=npy(X), y=buffer.getvalue()))


@pytest.mark.parametrize(
    "shape",
    ["(2147483648, 28, 28)", "(4, 4)", "(3, 3)", "(-3, -4)", "(0, 99999999999, 99999999999)"],
)
def test_a_lying_header_allocates_nothing(tmp_path, shape):
    header = header_only(f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}")
    path = archive(tmp_path / "a.npz", X=header + bytes(12), y=npy(Y))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="its header promises"):
            load(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * 2**20


@pytest.mark.parametrize(
    "text", ["{'descr': (", "{}", "", "{'descr': 'x', 'fortran_order': False, 'shape': (3,)}", "(" * 99]
)
def test_a_header_of_junk_is_refused(tmp_path, text):
    path = archive(tmp_path / "a.npz", X=header_only(text), y=npy(Y))
    with pytest.raises(DataError, match=r"X\.npy is damaged or no NumPy array"):
        load(path)


def test_elements_without_size_are_refused(tmp_path):
    header = header_only("{'descr': '<U0', 'fortran_order': False, 'shape': (99999999999,)}")
    with pytest.raises(DataError, match="elements of type <U0"):
        load(archive(tmp_path / "a.npz", X=npy(X), y=header))


def test_a_compression_bomb_is_refused_unread(tmp_path):
    path = archive(tmp_path / "a.npz", X=npy(X), y=npy(Y))
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")  # the directory's entry of X; 24 bytes on: the size that it expands to
    content[entry + 24 : entry + 28] = struct.pack("<I", 2**31)
    path.write_bytes(content)
    with pytest.raises(DataError, match="claims to expand from"):
        load(path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: b"",
        lambda raw: b"no archive",
        lambda raw: raw[:-30],
        lambda raw: raw.replace(b"NUMPY", b"MUMPY"),
        lambda raw: raw.replace(b"'shape'", b"'shapes"),
        lambda raw: raw[:150] + bytes([raw[150] ^ 1]) + raw[151:],
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path, damage):
    path = tmp_path / "a.npz"
    np.savez(path, X=X, y=Y)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"a\.npz"):
        load(path)


@given(position=st.integers(0, 10**6), value=st.integers(0, 255))
def test_any_changed_byte_is_harmless_or_refused(tmp_path_factory, position, value):
    path = tmp_path_factory.getbasetemp() / "changed.npz"
    np.savez_compressed(path, X=X, y=Y)
    content = bytearray(path.read_bytes())
    content[position % len(content)] = value
    path.write_bytes(content)
    try:
        train, _ = load(path)
    except DataError:
        return
    np.testing.assert_array_equal(train.X, X)
    np.testing.assert_array_equal(train.y, Y)
