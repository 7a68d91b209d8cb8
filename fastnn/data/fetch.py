"""Data from a URL: fetched once, checked, and kept in the user's cache folder. By pooch."""

import os
import re
from pathlib import Path

from fastnn.errors import DataError, MissingExtraError, OutputError

SECONDS = 30  # without a byte


def is_url(source: object) -> bool:
    """Whether a source is to be fetched."""
    return isinstance(source, str) and source.lower().startswith(("http://", "https://"))


def fetch(url: str, folder: str | os.PathLike[str] | None = None) -> Path:
    """The file that a URL leads to.

    Parameters
    ----------
    url : str
        ``https://host/digits.npz#sha256=<64 hex digits>``: what does not have this checksum is refused. Without one
        the checksum of what came is logged, and what is in the cache already is taken as it is.
    folder : path-like, optional
        Where it is kept, by default the user's cache folder for fastnn.

    Returns
    -------
    Path

    Raises
    ------
    DataError
        The URL leads nowhere, the transfer was cut short, or the checksum is another one.
    MissingExtraError
        pooch is not installed.
    OutputError
        It cannot be kept.
    """
    try:
        import pooch
        from requests import RequestException
    except ImportError:
        raise MissingExtraError("data from a URL need pooch: pip install 'fastnn-cpu[frames]'") from None
    address, _, check = url.partition("#")
    if check and not re.fullmatch(r"sha256=[0-9a-fA-F]{64}", check):
        raise DataError(f"{url}: behind # stands sha256= and 64 hex digits")
    known = f"sha256:{check.partition('=')[2].lower()}" if check else None
    try:
        place = folder or pooch.os_cache("fastnn")
        downloader = pooch.HTTPDownloader(timeout=SECONDS)
        return Path(pooch.retrieve(address, known, path=place, downloader=downloader))
    except RequestException as error:  # an OSError too, so first
        raise DataError(f"{address} cannot be fetched: {_reason(error)}") from None
    except ValueError as error:
        raise DataError(f"{address}: {' '.join(str(error).split())}") from None
    except OSError as error:
        raise OutputError(f"{address} cannot be kept: {error.strerror or error}") from None


def _reason(error: BaseException) -> str:
    """What lies at the root of a failed transfer: above it, each library tells of its own pools and retries."""
    below = (error.__cause__, getattr(error, "reason", None), *error.args)
    root = next((cause for cause in below if isinstance(cause, BaseException)), None)
    if root is not None:
        return _reason(root)
    return " ".join(str(getattr(error, "strerror", None) or error).split())
