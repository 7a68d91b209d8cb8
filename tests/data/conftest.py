import gzip
import struct

import numpy as np
import pytest

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


@pytest.fixture(scope="session")
def idx_bytes():
    """An array as the bytes of an IDX file; `shape` lets the header lie."""

    def build(values, shape=None):
        values = np.asarray(values)
        shape = values.shape if shape is None else shape
        code = CODES[values.dtype.str[1:]]
        return (
            bytes([0, 0, code, len(shape)])
            + struct.pack(f">{len(shape)}I", *shape)
            + values.astype(values.dtype.newbyteorder(">")).tobytes()
        )

    return build


@pytest.fixture(scope="session")
def idx_folder(idx_bytes):
    """Write a folder of IDX files named as MNIST's: `sets` maps "train" and "t10k" to (images, labels)."""

    def write(folder, suffix="", **sets):
        for part, (images, labels) in sets.items():
            for name, values in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
                content = idx_bytes(values)
                (folder / (name + suffix)).write_bytes(gzip.compress(content) if suffix == ".gz" else content)
        return folder

    return write
