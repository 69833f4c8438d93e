"""ScanRecord: where a scan lay, and by what it is known again when it has moved."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.errors import UserError
from napari_stem_orient.steps.open import OpenChoice, open_scan

if TYPE_CHECKING:
    from napari_stem_orient.core.datacube import DataCube

_SAMPLES = 64  # places in a file that are looked at: a fraction of a second, on a network drive too
_SAMPLE_BYTES = 4096
_MOST_FILES = 4096  # of a folder


class ScanRecord(BaseModel):
    """Which scan a session is about.

    A file that was copied has another time, and so another fingerprint: it counts as the same where its size and its
    content, at 64 places, are.

    Attributes
    ----------
    name : of the scan
    path : as it was when the session was saved; None of a scan that is in no file
    relative_path : from the folder of the session file, with "/"; None where there is none, from one drive to another
    fingerprint : of the file as it was when the scan was opened
    content : see `content_of`; empty where there was no file
    part, scan_shape, detector_shape, dtype : what of the file the scan is, and what is in it
    choice : how it is read
    calibration : in force when the session was saved
    """

    model_config = ConfigDict(frozen=True)

    name: str
    path: str | None
    relative_path: str | None = None
    fingerprint: str
    content: str = ""
    part: str = ""
    scan_shape: tuple[int, int]
    detector_shape: tuple[int, int]
    dtype: str
    choice: OpenChoice = OpenChoice()
    calibration: Calibration

    @property
    def file_name(self) -> str:
        """Of the file or folder, without its folder."""
        return self.name if self.path is None else self.path.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]


@dataclass(frozen=True, slots=True, eq=False)
class AbsentScan:
    """The scan of a session that was opened without it: its record, and the fields of the state that go with it."""

    record: ScanRecord
    kept: Mapping[str, Any]


def record_of(datacube: DataCube, choice: OpenChoice, session_path: Path) -> ScanRecord:
    """The record of a scan that was read in a way, for a session file at a path."""
    path = datacube.path
    return ScanRecord(
        name=datacube.name,
        path=None if path is None else str(path.absolute()),
        relative_path=None if path is None else _relative(path, session_path),
        fingerprint=datacube.opened_as,
        content="" if path is None or not path.exists() else content_of(path),
        part=datacube.part,
        scan_shape=datacube.scan_shape,
        detector_shape=datacube.detector_shape,
        dtype=str(datacube.data.dtype),
        choice=choice,
        calibration=datacube.calibration,
    )


def moved_to(record: ScanRecord, session_path: Path) -> ScanRecord:
    """The same record in a session file at another path."""
    if record.path is None:
        return record
    return record.model_copy(update={"relative_path": _relative(Path(record.path), session_path)})


def places_of(record: ScanRecord, session_path: Path) -> Iterator[Path]:
    """Where the scan may be, likeliest first: as it lay beside the session file, and where it was."""
    if record.relative_path is not None:
        yield Path(os.path.normpath(session_path.absolute().parent / record.relative_path))
    if record.path is not None:
        yield Path(record.path)


def find_scan(record: ScanRecord, session_path: Path) -> DataCube | None:
    """Open the scan of a session where it is, in its calibration of then; None where it is at neither place.

    Raises
    ------
    UserError
        Where only another file is there, or the scan cannot be opened.
    """
    refused: UserError | OSError | None = None
    for place in places_of(record, session_path):
        if place.exists():
            try:
                return open_recorded(record, place)
            except (UserError, OSError) as error:
                refused = refused or error
    if refused is not None:
        raise refused
    return None


def open_recorded(record: ScanRecord, path: Path) -> DataCube:
    """Open the scan of a session from a file, in its calibration of then.

    Raises
    ------
    UserError
        The file is another one, or was written anew since, or cannot be read.
    """
    datacube = open_scan(path, record.choice)
    same = datacube.opened_as == record.fingerprint or (
        datacube.part == record.part and record.content != "" and content_of(path) == record.content
    )
    shape = (datacube.scan_shape, datacube.detector_shape, str(datacube.data.dtype))
    if not same or shape != (record.scan_shape, record.detector_shape, record.dtype):
        raise UserError(
            f"{path.name} is not the scan that this session was made from, or was written anew since",
            value=str(path),
            fix="open it by itself to work with it",
        )
    return datacube.with_calibration(record.calibration)


def content_of(path: Path) -> str:
    """Short text that a copy of a file or folder shares: from its size and 64 places in it, or its files' sizes.

    Of a folder of very many files, the first 4,096 by name stand for all.
    """
    digest = hashlib.blake2b(digest_size=12)
    if path.is_dir():
        files = list(islice(_files_in(path), _MOST_FILES))
        for each in files:
            digest.update(f"{each.relative_to(path).as_posix()} {each.stat().st_size}\n".encode())
        for each in files[:: max(1, len(files) // _SAMPLES)]:
            with each.open("rb") as file:
                digest.update(file.read(_SAMPLE_BYTES))
        return digest.hexdigest()
    size = path.stat().st_size
    digest.update(str(size).encode())
    with path.open("rb") as file:
        for index in range(_SAMPLES):
            file.seek((size - _SAMPLE_BYTES) * index // (_SAMPLES - 1) if size > _SAMPLE_BYTES else 0)
            digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def _files_in(folder: Path) -> Iterator[Path]:
    """All files in a folder, in an order that a copy has too: that in which a disk lists them is its own."""
    for where, folders, names in os.walk(folder):
        folders.sort()
        yield from filter(Path.is_file, (Path(where, name) for name in sorted(names)))


def _relative(path: Path, session_path: Path) -> str | None:
    try:
        return Path(os.path.relpath(path.absolute(), session_path.absolute().parent)).as_posix()
    except ValueError:  # another drive of Windows
        return None
