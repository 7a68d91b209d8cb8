import gzip
import re
import shutil
from importlib import resources

import numpy as np
import pytest

from fastnn.data import load, mnist
from fastnn.errors import DataError


def test_mnist_is_embedded():
    train, test = load("mnist")
    assert (train.X.shape, test.X.shape) == ((60000, 784), (10000, 784))
    assert train.X.dtype == test.X.dtype == np.uint8
    assert train.image == (28, 28)
    assert train.classes == tuple("0123456789")
    np.testing.assert_array_equal(np.bincount(test.y), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009])
    assert train.y[:5].tolist() == [5, 0, 4, 1, 9]


def test_the_attribution_says_what_is_checked():
    text = (resources.files("fastnn.data") / "files" / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\b[0-9a-f]{64}\b", text)) == {digest for pair in mnist.SHA256.values() for digest in pair}
    assert "CC BY-SA 3.0" in text


def test_a_single_changed_pixel_is_noticed(tmp_path, monkeypatch):
    shutil.copytree(resources.files("fastnn.data") / "files", tmp_path / "files")
    path = tmp_path / "files" / "t10k-images-idx3-ubyte.gz"
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[5000] ^= 1
    path.write_bytes(gzip.compress(content, 1))
    monkeypatch.setattr(resources, "files", lambda package: tmp_path)
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz is not the original file"):
        load("mnist")
