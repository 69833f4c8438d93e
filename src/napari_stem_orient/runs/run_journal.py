"""RunJournal: what a long run has done so far, appended to a file as it comes, so that a crash loses none of it.

A file is a line that names the format and then records. A record is its length and a checksum, 8 bytes each, and its
content: one line of JSON that says which arrays follow, and their bytes. The first record holds what was run. A record
that is cut off or damaged ends the file; what came before it is whole.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.progress import Job, RecordType, ResultType

SIGNATURE = b"napari-stem-orient journal 1\n"
ENDING = ".journal"
#: All journals together take no more than this, and none is kept longer; the oldest go first.
LARGEST_BYTES = 4 * 10**9
OLDEST_DAYS = 60
#: Seconds between two times that the operating system is asked to write what it still holds: a power cut loses no more.
SECONDS_PER_SYNC = 5.0

#: Where a file is locked on Windows, which lets nobody else read a locked part: far behind its end.
_LOCK_OFFSET = 2**40

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class JournalRecord:
    """One record: ``note``, JSON-able values, and ``arrays`` by their names."""

    note: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


class RunJournal:
    """A journal that is being written. No method raises when a file cannot be written: `problem` says so.

    Parameters
    ----------
    path
        The file to begin; its folder is made.
    note, arrays
        What is run: the first record.

    Attributes
    ----------
    path
    problem
        Why nothing more is kept, in words; "" while all is well.
    made_room
        What older journals had kept that are removed for this one, each in words.
    """

    def __init__(self, path: Path, note: Mapping[str, Any], arrays: Arrays) -> None:
        self.path, self.problem = path, ""
        self.made_room: tuple[str, ...] = ()
        self._file = -1
        self._size = 0
        self._n_records = 0
        self._synced = time.monotonic()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.made_room = make_room(path.parent)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            self._file = os.open(path, flags, 0o600)
            lock(self._file)
            self._write(SIGNATURE)
        except OSError as error:
            self._give_up(error)
        self.append(note, arrays)

    def append(self, note: Mapping[str, Any], arrays: Arrays) -> None:
        """Keep one more record; it survives the end of this program as soon as this returns."""
        if self._file < 0:
            return
        try:
            self._write(_record(note, arrays))
            self._n_records += 1
            if time.monotonic() - self._synced > SECONDS_PER_SYNC:
                os.fsync(self._file)
                self._synced = time.monotonic()
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        """End writing; the file stays, unless it holds no more than what was run."""
        if self._file < 0:
            return
        with contextlib.suppress(OSError):
            os.close(self._file)
        self._file = -1
        if self._n_records < 2:
            self.remove()

    def remove(self) -> None:
        """End writing and remove the file: what it kept is safe elsewhere."""
        self.close()
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)

    def _write(self, content: bytes) -> None:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(self._file, rest) :]
        self._size += len(content)

    def _give_up(self, error: OSError) -> None:
        """Keep what is whole, and write no more."""
        full = error.errno in (errno.ENOSPC, errno.EDQUOT if hasattr(errno, "EDQUOT") else errno.ENOSPC)
        why = "the disk is full" if full else str(error.strerror or error)
        self.problem = f"no journal is kept of this run ({why}, {self.path.parent}): a crash would lose it"
        if self._file >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._size)
        self.close()


def kept(
    job: Job[RecordType, ResultType],
    journal: RunJournal | None,
    keep: Callable[[RunJournal, RecordType], None],
    *,
    finish: Callable[[RunJournal, ResultType], None] | None = None,
) -> Job[RecordType, ResultType]:
    """The same job, each record of which ``keep`` puts into the journal before it is handed on.

    ``finish`` puts what only the result knows into it. The journal is closed in the end, and stays: whoever has the
    result safe removes it.
    """
    try:
        while True:
            try:
                record = next(job)
            except StopIteration as finished:
                result: ResultType = finished.value
                if journal is not None and finish is not None:
                    finish(journal, result)
                return result
            if journal is not None:
                keep(journal, record)
            yield record
    finally:
        job.close()
        if journal is not None:
            journal.close()


def read_journal(path: Path) -> Iterator[JournalRecord]:
    """The whole records of a journal, the first of which says what was run; none where it is no journal."""
    with path.open("rb") as file:
        if file.read(len(SIGNATURE)) != SIGNATURE:
            return
        while True:
            head = file.read(16)
            if len(head) < 16:
                return
            size = int.from_bytes(head[:8], "little")
            if size > os.fstat(file.fileno()).st_size:
                return
            content = file.read(size)
            if len(content) < size or _checksum(content) != head[8:]:
                return
            yield _content(content)


def append_to_journal(path: Path, note: Mapping[str, Any], arrays: Arrays) -> None:
    """Append a record to a journal that was closed, in the place of a last one that was cut off.

    Raises
    ------
    OSError
        When it is gone, cannot be written, or another program is writing it.
    """
    file = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        lock(file)
        end, size = len(SIGNATURE), os.fstat(file).st_size
        while end + 16 <= size:
            os.lseek(file, end, os.SEEK_SET)
            following = end + 16 + int.from_bytes(os.read(file, 8), "little")
            if following > size:
                break
            end = following
        os.ftruncate(file, end)
        os.lseek(file, end, os.SEEK_SET)
        rest = memoryview(_record(note, arrays))
        while rest:
            rest = rest[os.write(file, rest) :]
        os.fsync(file)
    finally:
        os.close(file)


def journal_folder(folder: str | Path | None = None) -> Path:
    """Folder of the journals: in the user's cache where none is given."""
    from platformdirs import user_cache_path

    if folder is None:
        folder = user_cache_path("napari-stem-orient", appauthor=False) / "interrupted-runs"
    return Path(folder)


def new_journal_path(kind: str, fingerprint: str, folder: str | Path | None = None) -> Path:
    """Where the journal of a run of some kind on data with a fingerprint begins."""
    return journal_folder(folder) / f"{kind}-{fingerprint}-{uuid.uuid4().hex[:8]}{ENDING}"


def free_journals(kind: str, fingerprint: str, folder: str | Path | None = None) -> list[Path]:
    """Journals that no running program is writing, newest first."""
    found = []
    for path in journal_folder(folder).glob(f"{kind}-{fingerprint}-*{ENDING}"):
        with contextlib.suppress(OSError):  # another program may remove one at any time
            if path.is_file() and not is_being_written(path):
                found.append((path.stat().st_mtime, path))
    return [path for _, path in sorted(found, reverse=True)]


def has_more_than(path: Path, done: NDArray[np.bool_]) -> bool:
    """Whether a journal keeps a position (n,) bool that is not done; one that cannot be read keeps none."""
    with contextlib.suppress(OSError, IndexError):
        kept = (record.arrays.get("positions") for record in read_journal(path))
        return any(positions is not None and not done[positions].all() for positions in kept)
    return False


def remove_free_journals(
    kind: str,
    fingerprint: str,
    folder: str | Path | None = None,
    *,
    which: Callable[[Path], bool] = lambda _: True,
) -> None:
    """Remove the journals that no running program is writing; those only of which ``which`` says so."""
    for path in free_journals(kind, fingerprint, folder):
        with contextlib.suppress(OSError):
            if which(path):
                path.unlink(missing_ok=True)


def is_being_written(path: Path) -> bool:
    """Whether a running program, this one included, holds the journal open."""
    try:
        file = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    except OSError:
        return False
    try:
        lock(file)
    except OSError as error:
        return error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
    finally:
        os.close(file)
    return False


def make_room(folder: Path) -> tuple[str, ...]:
    """Remove journals that nobody has come back for: too old, or too large all together; say what they had kept."""
    files = []
    for path in folder.glob(f"*{ENDING}"):
        with contextlib.suppress(OSError):
            files.append((path.stat().st_mtime, path.stat().st_size, path))
    total = sum(size for _, size, _ in files)
    removed = []
    for modified, size, path in sorted(files, key=lambda entry: entry[0]):
        old = time.time() - modified > OLDEST_DAYS * 86400
        if (old or total > LARGEST_BYTES) and not is_being_written(path):
            with contextlib.suppress(
                OSError
            ):  # what cannot be removed keeps no other journal from being written
                words = _kept_words(path, modified=modified, old=old)
                path.unlink(missing_ok=True)
                total -= size
                removed.append(words)
    return tuple(removed)


def limits_in_words() -> str:
    """How long, and how much, journals keep."""
    return (
        f"within {OLDEST_DAYS} days; beyond {LARGEST_BYTES / 1e9:.0f} GB of such results the oldest go first"
    )


def date_in_words(modified: float) -> str:
    """When a journal was written last, in local time: "30 Nov 2026, 14:05"."""
    moment = time.localtime(modified)
    return f"{moment.tm_mday} {time.strftime('%b %Y, %H:%M', moment)}"


def _kept_words(path: Path, *, modified: float, old: bool) -> str:
    begun = next(read_journal(path), None)
    name = str((begun.note.get("name") if begun else None) or "a scan")
    why = (
        f"they are older than {OLDEST_DAYS} days"
        if old
        else "all results kept took more than the 4 GB that they may"
    )
    why = why.replace("4 GB", f"{LARGEST_BYTES / 1e9:.0f} GB")
    return f"unsaved results of {name} of {date_in_words(modified)} are no longer kept: {why}"


def _record(note: Mapping[str, Any], arrays: Arrays) -> bytes:
    whole = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
    described = {name: [values.dtype.str, list(values.shape)] for name, values in whole.items()}
    line = json.dumps({"note": dict(note), "arrays": described}).encode() + b"\n"
    content = line + b"".join(values.tobytes() for values in whole.values())
    return len(content).to_bytes(8, "little") + _checksum(content) + content


def _content(content: bytes) -> JournalRecord:
    end = content.index(b"\n") + 1
    described = json.loads(content[:end])
    arrays = {}
    for name, (kind, shape) in described["arrays"].items():
        dtype, number = np.dtype(kind), math.prod(shape)
        arrays[name] = np.frombuffer(content, dtype, count=number, offset=end).reshape(shape)
        end += number * dtype.itemsize
    return JournalRecord(described["note"], arrays)


def _checksum(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=8).digest()


def lock(file: int) -> None:
    """Lock an open file until it is closed, or the program ends in whatever way; OSError where another holds it."""
    try:
        import fcntl
    except ImportError:
        import msvcrt

        os.lseek(file, _LOCK_OFFSET, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        finally:
            os.lseek(file, 0, os.SEEK_SET)
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (
            errno.ENOLCK,
            errno.ENOTSUP,
            errno.ENOSYS,
        ):  # some network folders know no locks
            raise
