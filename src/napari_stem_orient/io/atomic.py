"""A file that is complete or not there: written beside its place under another name, then moved into it.

Every file that this program writes comes this way, so that none takes the place of a scan that is being read, nor of a
file of somebody else without being told to.
"""

from __future__ import annotations

import errno
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS}


class WouldDestroyScan(ValueError):  # noqa: N818 - it says what is the matter
    """A file that was to be written in the place of one that an open scan is read from."""


@contextmanager
def complete_or_absent(
    path: str | Path, *, replaces: tuple[str, ...] = (), overwrite: bool = False
) -> Iterator[Path]:
    """Give a temporary path to write to, and move the file to `path` when the block ends without an error.

    What was at `path` before stays whole until then, and nothing is left behind after an error.

    Parameters
    ----------
    path
        The file.
    replaces
        Kinds of files of this program (`own_files`) that may be replaced.
    overwrite
        Whether any other may be, but for those that an open scan is read from.

    Raises
    ------
    WouldDestroyScan
        When a scan that is open in this process is read from `path`, whatever it is called.
    FileExistsError
        When there is a file already that may not be replaced.
    PermissionError
        When the folder or the file cannot be written to.
    FileNotFoundError
        When the folder does not exist.
    OSError
        When the disk is full, or for any other reason; each message names the path and the fix.
    """
    path = Path(path)
    refuse_place(path, replaces=replaces, overwrite=overwrite)
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


def refuse_place(path: Path, *, replaces: tuple[str, ...] = (), overwrite: bool = False) -> None:
    """Raise what `complete_or_absent` raises before anything is written."""
    _refuse_scan_in_use(path)
    if overwrite:
        return
    from napari_stem_orient.io.own_files import what_keeps_from_replacing

    what = what_keeps_from_replacing(path, replaces)
    if what:
        raise FileExistsError(f"{path} is there already and {what}: give another name, or overwrite=True")


def _refuse_scan_in_use(path: Path) -> None:
    datacube = sys.modules.get("napari_stem_orient.core.datacube")  # not loaded: nothing is open
    for scan in [] if datacube is None else datacube.files_in_use():
        from napari_stem_orient.io.scan_members import is_written_over, scan_members

        kept = is_written_over(path, scan_members(scan))
        if kept is not None:
            what = "is" if kept == scan else f"belongs to {scan.name}, which is"
            raise WouldDestroyScan(
                f"{path} {what} read by a scan that is open, and would be destroyed: give another name"
            )


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
