"""Autosave: a session that is kept beside the journals while it is not saved, and found again after a crash."""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path

from napari_stem_orient.runs import run_journal

_ENDING, _LOCK_ENDING = ".session.h5", ".lock"
#: So many are kept of windows that ended without being saved; the oldest go first.
MOST_KEPT = 5


class Autosave:
    """The place of one window's session. A lock beside it says that the window is open, and ends with the program.

    Parameters
    ----------
    folder
        Where it is; beside the journals in the user's cache where none is given.

    Attributes
    ----------
    path
        Of the session file, which need not be there.
    """

    def __init__(self, folder: Path | None = None) -> None:
        folder = autosave_folder() if folder is None else folder
        name = uuid.uuid4().hex[:12]
        self.path, self._lock_path = folder / f"{name}{_ENDING}", folder / f"{name}{_LOCK_ENDING}"
        self._lock = -1

    def begin(self) -> None:
        """Make the folder, and say that the window is open; OSError where that cannot be."""
        if self._lock >= 0:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self._lock_path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            run_journal.lock(file)
        except OSError:
            os.close(file)
            raise
        self._lock = file

    def clear(self) -> None:
        """Remove what is kept: it is safe elsewhere, or nobody wants it."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Say that the window is closed; what is kept stays."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
            if not self.path.exists():
                with contextlib.suppress(OSError):
                    self._lock_path.unlink(missing_ok=True)


def autosave_folder() -> Path:
    """Where sessions are kept."""
    return run_journal.journal_folder() / "sessions"


def left_behind(folder: Path | None = None) -> list[Path]:
    """Sessions of windows that are open no more, newest first; those beyond `MOST_KEPT` are removed."""
    found = []
    for path in (autosave_folder() if folder is None else folder).glob(f"*{_ENDING}"):
        lock = _lock_of(path)
        with contextlib.suppress(OSError):  # another program may remove one at any time
            if not path.name.startswith(".") and not run_journal.is_being_written(lock):
                found.append((path.stat().st_mtime, path))
    newest = [path for _, path in sorted(found, reverse=True)]
    for path in newest[MOST_KEPT:]:
        remove(path)
    return newest[:MOST_KEPT]


def remove(path: Path) -> None:
    """Remove a session that was left behind."""
    for each in (path, _lock_of(path)):
        with contextlib.suppress(OSError):
            each.unlink(missing_ok=True)


def _lock_of(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(_ENDING) + _LOCK_ENDING)
