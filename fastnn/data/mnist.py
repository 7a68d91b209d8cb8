"""MNIST, embedded in the package: 60,000 training and 10,000 test images of handwritten digits (files/README.md)."""

from contextlib import ExitStack
from importlib import resources

from fastnn.data.dataset import Table
from fastnn.data.idx import read_pair

# SHA-256 of the uncompressed files, images and labels.
SHA256 = {
    "train": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    "t10k": (
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
}


def read() -> list[Table]:
    """The training and the test set.

    Returns
    -------
    [train, test] : list of Table
        X uint8 (60000, 784) and (10000, 784), labels uint8 0..9.

    Raises
    ------
    DataError
        A file is missing, or not the original to the last bit.
    """
    folder = resources.files("fastnn.data") / "files"
    tables = []
    with ExitStack() as stack:
        for part, sha256 in SHA256.items():
            names = (f"{part}-images-idx3-ubyte.gz", f"{part}-labels-idx1-ubyte.gz")
            images, labels = (stack.enter_context(resources.as_file(folder / name)) for name in names)
            tables.append(read_pair(images, labels, sha256))
    return tables
