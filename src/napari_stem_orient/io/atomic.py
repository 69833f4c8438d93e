"""A file that is complete or not there: written beside its place under another name, then moved into it."""

from __future__ import annotations

import errno
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def complete_or_absent(path: str | Path) -> Iterator[Path]:
    """Give a temporary path to write to, and move the file to `path` when the block ends without an error.

    What was at `path` before stays whole until then, and nothing is left behind after an error.

    Raises
    ------
    PermissionError
        When the folder or the file cannot be written to.
    FileNotFoundError
        When the folder does not exist.
    OSError
        When the disk is full, or for any other reason; each message names the path and the fix.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem[:80]}-{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder; give the name of a file in it")
        if not path.parent.is_dir():
            raise FileNotFoundError(f"there is no folder {path.parent}; create it or choose another")
        try:
            yield temporary
            temporary.replace(path)
        except (OSError, RuntimeError) as error:
            told = _told(error, path)
            if told is None:
                raise
            raise told from error
    finally:
        _remove(temporary)


def _told(error: OSError | RuntimeError, path: Path) -> OSError | None:
    """Return the error in words with its fix; None for one that says nothing about the file system.

    h5py raises its own OSError and RuntimeError with the system's reason in the text only.
    """
    number = getattr(error, "errno", None)
    text = str(error)
    if number == errno.ENOSPC or "No space left" in text:
        return OSError(
            f"{path} could not be written: the disk is full; free some space or choose another folder"
        )
    if number in _NOT_ALLOWED or "Permission denied" in text or "Read-only file system" in text:
        return PermissionError(
            f"{path} cannot be written: {path.parent} is read-only for you; choose another folder"
        )
    if isinstance(error, OSError):
        return OSError(f"{path} could not be written: {text}; choose another folder or name")
    return None


def _remove(temporary: Path) -> None:
    try:
        temporary.unlink(missing_ok=True)
    except OSError:
        # A folder that cannot be written to holds no temporary file of ours either.
        return
