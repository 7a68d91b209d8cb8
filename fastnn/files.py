"""Writing files so that a crash leaves the old content or the new, never a mixture."""

import contextlib
import os
import tempfile
from pathlib import Path

from fastnn.errors import OutputError


def write_atomically(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Write `content` beside `path`, flush it to the disk, and rename it into place.

    Parameters
    ----------
    path : path-like
        The file to make or replace; its folder must exist. A link is followed; what is no file (a device, a pipe) is
        refused, for the renaming would take its place.
    content : bytes or str
        The whole new content; text is written as UTF-8.

    Raises
    ------
    OutputError
        The file cannot be written; what stood there before is untouched.
    """
    target = Path(os.path.realpath(path))
    data = content.encode() if isinstance(content, str) else content
    temporary = None
    if os.path.exists(target) and not os.path.isfile(target):
        raise OutputError(f"cannot write {path}: it is there already, and no file")
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if os.name == "posix":  # mkstemp's 0600 would hide a model from those whom the umask lets read it
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, target)
        temporary = None
        _sync_folder(target.parent)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable where the system can (not on Windows)."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
