import gzip
import math
import struct
import tracemalloc

import numpy as np
import pytest
from conftest import CODES
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fastnn.data import idx, load
from fastnn.errors import DataError

IMAGES = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
LABELS = np.array([0, 1, 1], np.uint8)
HUGE = bytes([0, 0, 8, 3]) + struct.pack(">3I", 2**31, 28, 28)


@given(
    values=st.sampled_from(list(CODES)).flatmap(
        lambda code: arrays.arrays(code, arrays.array_shapes(max_dims=4, max_side=5))
    ),
    pack=st.booleans(),
)
def test_round_trip(tmp_path_factory, idx_bytes, values, pack):
    path = tmp_path_factory.getbasetemp() / "any-idx"
    path.write_bytes(gzip.compress(idx_bytes(values)) if pack else idx_bytes(values))
    read = idx.read(path)
    assert read.dtype.newbyteorder("=") == values.dtype
    np.testing.assert_array_equal(read, values)


@given(
    code=st.sampled_from([*CODES.values(), 0, 10]),
    shape=st.lists(st.integers(0, 6), max_size=9),
    body=st.binary(max_size=40),
    pack=st.booleans(),
)
def test_any_header_is_true_or_refused(tmp_path_factory, code, shape, body, pack):
    path = tmp_path_factory.getbasetemp() / "any-header"
    content = bytes([0, 0, code, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + body
    path.write_bytes(gzip.compress(content) if pack else content)
    try:
        values = idx.read(path)
    except DataError:
        values = None
    sizes = {8: 1, 9: 1, 11: 2, 12: 4, 13: 4, 14: 8}
    true = code in sizes and 1 <= len(shape) <= 8 and 0 < math.prod(shape) * sizes[code] == len(body)
    assert true == (values is not None)
    assert values is None or (values.shape == tuple(shape) and values.tobytes() == body)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize(
    ("header", "body"),
    [
        (HUGE, b"\0" * 100),
        # Below what a gzip may expand to: only reading it shows the lie.
        (bytes([0, 0, 8, 3]) + struct.pack(">3I", 2**20, 28, 28), b"\0" * 100),
        (bytes([0, 0, 14, 8]) + struct.pack(">8I", *[2**32 - 1] * 8), b""),
        (bytes([0, 0, 8, 3]) + struct.pack(">3I", 0, 2**32 - 1, 2**32 - 1), b""),
    ],
)
def test_a_lying_header_allocates_nothing(tmp_path, pack, header, body):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(pack(header + body))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"its IDX header promises .* elements"):
            idx.read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * 2**20  # a piece of reading and what a gzip needs, whatever the header says


def test_a_gzip_is_not_expanded_beyond_its_header(tmp_path, idx_bytes):
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(idx_bytes(LABELS) + bytes(2**25)))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="but more follow"):
            idx.read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * 2**20


def test_a_gzip_that_expands_too_much_is_not_read(tmp_path, idx_bytes, monkeypatch):
    path = tmp_path / "zeros.gz"
    path.write_bytes(gzip.compress(idx_bytes(np.zeros((1000, 100), np.uint8))))
    assert idx.read(path).shape == (1000, 100)
    monkeypatch.setattr("fastnn.data.reading.FREE_EXPANSION", 1000)
    with pytest.raises(DataError, match="more than the file can hold"):
        idx.read(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw[:-1], "cut short"),
        (lambda raw: raw + b"\0", "more follow"),
        (lambda raw: b"\1" + raw[1:], "not an IDX file"),
        (lambda raw: raw[:2] + b"\x0a" + raw[3:], "not an IDX file"),
        (lambda raw: raw[:3] + b"\0" + raw[4:], "not an IDX file"),
        (lambda raw: raw[:3], "not an IDX file"),
        (lambda raw: b"", "not an IDX file"),
        (lambda raw: raw[:9], "ends inside its IDX header"),
        (lambda raw: gzip.compress(raw)[:-9], "damaged or cut gzip"),
        (lambda raw: gzip.compress(raw)[:-8] + bytes(8), "damaged or cut gzip"),
        (lambda raw: gzip.compress(raw)[:10] + b"\xff" * 30, "damaged or cut gzip"),
        (lambda raw: gzip.compress(raw) + b"rest", "damaged or cut gzip"),
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path, idx_bytes, change, message):
    path = tmp_path / "images"
    path.write_bytes(change(idx_bytes(IMAGES)))
    with pytest.raises(DataError, match=message) as caught:
        idx.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_folder_with_both_pairs(tmp_path, idx_folder, suffix):
    train, test = load(idx_folder(tmp_path, suffix, train=(IMAGES, LABELS), t10k=(IMAGES[:2], LABELS[:2])))
    np.testing.assert_array_equal(train.X, IMAGES.reshape(3, 20))
    np.testing.assert_array_equal(train.y, [0, 1, 1])
    assert train.X.dtype == np.uint8
    assert train.X.flags.c_contiguous
    assert train.y.dtype == np.int64
    assert train.classes == test.classes == ("0", "1")
    assert train.image == test.image == (4, 5)
    np.testing.assert_array_equal(test.X, IMAGES[:2].reshape(2, 20))


def test_a_folder_may_lack_the_test_pair_and_use_dots(tmp_path, idx_bytes):
    (tmp_path / "train-images.idx3-ubyte").write_bytes(idx_bytes(IMAGES))
    (tmp_path / "train-labels.idx1-ubyte").write_bytes(idx_bytes(LABELS))
    (tmp_path / "train-images-idx3-ubyte").mkdir()  # some archives unpack to folders named so
    train, test = load(tmp_path)
    assert len(train) == 3
    assert test is None


def test_other_element_types(tmp_path, idx_folder):
    train, _ = load(idx_folder(tmp_path, train=(np.array([[-1.5, 2], [3, 4]], np.float32), np.array([1, 0], np.int32))))
    assert train.X.dtype == np.float32
    assert train.image is None
    np.testing.assert_array_equal(train.X, [[-1.5, 2], [3, 4]])
    np.testing.assert_array_equal(train.y, [1, 0])


@pytest.mark.parametrize("part", ["train", "t10k"])
@pytest.mark.parametrize("role", ["images-idx3", "labels-idx1"])
def test_a_missing_half_is_named(tmp_path, idx_folder, part, role):
    idx_folder(tmp_path, train=(IMAGES, LABELS), t10k=(IMAGES, LABELS))
    (tmp_path / f"{part}-{role}-ubyte").unlink()
    with pytest.raises(DataError, match=f"lacks the {part.replace('t10k', 'test')}-{role[:6]} file"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES, LABELS[:2], "holds 3 images, but .* 2 labels"),
        (IMAGES, IMAGES, "dimensions where labels have one"),
        (LABELS, LABELS, "features of shape"),
        (np.full((2, 2), np.nan), LABELS[:2], "row 1, column 1: nan"),
    ],
)
def test_a_pair_that_does_not_fit(tmp_path, idx_folder, images, labels, message):
    with pytest.raises(DataError, match=message):
        load(idx_folder(tmp_path, train=(images, labels)))
