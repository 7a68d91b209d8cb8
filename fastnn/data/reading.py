"""Opening and reading files that may be missing, cut short, damaged or lying, in bounded memory."""

import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, cast

from fastnn.errors import DataError

CHUNK = 2**20
# Compressed data may expand to a gigabyte, or to 100 times its size if that is more. Real data stays far below
# (MNIST: 5 times); a bomb reaches 1000.
FREE_EXPANSION = 2**30
EXPANSION = 100


def expansion_limit(compressed: int) -> int:
    """The most bytes that `compressed` bytes of deflated data are allowed to become."""
    return max(FREE_EXPANSION, EXPANSION * compressed)


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[tuple[IO[bytes], int]]:
    """Open a plain or gzip-compressed file (told apart by content, not by name).

    Parameters
    ----------
    path : path-like

    Yields
    ------
    (file, limit) : (binary file, int)
        The content, decompressed, and the most bytes that it may hold: exact for a plain file.

    Raises
    ------
    DataError
        The file is missing, unreadable or a folder; or what is read inside the ``with`` is a damaged gzip.
    """
    try:
        with open(path, "rb") as raw:
            size = os.fstat(raw.fileno()).st_size
            if raw.peek(2)[:2] == b"\x1f\x8b":
                with gzip.GzipFile(fileobj=raw) as unpacked:
                    yield cast(IO[bytes], unpacked), expansion_limit(size)
            else:
                yield raw, size
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; check the path") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is a damaged or cut gzip file ({error}); fetch it again") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


def read_up_to(file: IO[bytes], count: int) -> bytearray:
    """Read `count` bytes, fewer if the file ends before; memory grows with what is really there."""
    content = bytearray()
    while piece := file.read(min(CHUNK, count - len(content))):
        content += piece
    return content
