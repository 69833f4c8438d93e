"""Journals of detections: blocks are kept as they come; a run that broke off, or was not saved, is found again."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.bragg_peaks import BraggPeaks, DetectedBlock
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.core.frames import WITHOUT_PATTERN
from napari_stem_orient.core.made_otherwise import made_otherwise
from napari_stem_orient.core.progress import Job, Progress
from napari_stem_orient.runs.run_journal import (
    ENDING,
    JournalRecord,
    RunJournal,
    append_to_journal,
    date_in_words,
    free_journals,
    has_more_than,
    is_being_written,
    journal_folder,
    kept,
    new_journal_path,
    read_journal,
    remove_free_journals,
)

KIND = "detection"
_BLOCK_ARRAYS = ("positions", "x_px", "y_px", "intensity", "offsets", "significance")


@dataclass(frozen=True, slots=True, eq=False)
class KeptCalibration:
    """What peaks were calibrated with after they had been detected.

    Parameters
    ----------
    calibration, scan
        Of the peaks, and of the scan (None where it was that of the peaks).
    origin_px
        (n_positions, 2) float32; row and column of the direct beam in px, or None.
    recipe
        What was decided until then; empty where an earlier version kept it.
    """

    calibration: Calibration
    scan: Calibration | None
    origin_px: NDArray[np.float32] | None
    recipe: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class InterruptedDetection:
    """A detection that did not come to its end, or whose peaks nobody has saved.

    Parameters
    ----------
    path
        Its journal.
    description
        How it detects: what `describe` gives.
    probe_image
        (det_y, det_x) float32; the image of its template.
    mask
        (det_y, det_x) bool, True where a pixel was not used; None where all were.
    blocks
        What it had done.
    n_done, n_positions
        Number of positions done, and in all.
    modified
        When it was written last, in seconds since 1970.
    calibrated
        The calibration that the peaks were given since, and the direct beam at each position; None where none was.
    choice
        What the user had decided; None of a run of an earlier version.
    """

    path: Path
    description: dict[str, Any]
    probe_image: NDArray[np.float32]
    mask: NDArray[np.bool_] | None
    blocks: tuple[DetectedBlock, ...]
    n_done: int
    n_positions: int
    modified: float
    calibrated: KeptCalibration | None = None
    choice: dict[str, Any] | None = None

    @property
    def finished(self) -> bool:
        """Whether every position is done."""
        return self.n_done == self.n_positions

    def __str__(self) -> str:
        if self.finished:
            when = date_in_words(self.modified)
            return f"the Bragg peaks of all {self.n_positions:,} positions are kept from {when}; they were not saved"
        return f"{self.n_done:,} of {self.n_positions:,} positions are left from a run that was interrupted"


def begin_peaks_journal(
    datacube: DataCube,
    *,
    description: Mapping[str, Any],
    probe_image: NDArray[Any],
    mask: NDArray[np.bool_] | None = None,
    resume_from: BraggPeaks | None = None,
    choice: Mapping[str, Any] | None = None,
    folder: str | Path | None = None,
) -> RunJournal | None:
    """Begin the journal of a detection; None for a scan that is in no file, which nobody could open again.

    Parameters
    ----------
    datacube, description, probe_image, mask
        What is detected, and how; see `InterruptedDetection`.
    resume_from
        What was done before: it is kept first.
    choice
        What the user decided, JSON-able, for whoever goes on with it.
    folder
        Where the journals are; in the user's cache where none is given.
    """
    if datacube.path is None:
        return None
    arrays = {"probe_image": np.asarray(probe_image, dtype=np.float32)}
    if mask is not None:
        arrays["mask"] = np.asarray(mask, dtype=bool)
    note = {"description": dict(description), "scan_shape": list(datacube.scan_shape), "name": datacube.name}
    if choice is not None:
        note["choice"] = dict(choice)
    journal = RunJournal(new_journal_path(KIND, datacube.fingerprint, folder), note, arrays)
    if resume_from is not None:
        keep_block(journal, resume_from.as_block())
    return journal


def keep_block(journal: RunJournal, block: DetectedBlock) -> None:
    """Append a block to a journal."""
    journal.append(
        {
            "done": block.progress.done,
            "total": block.progress.total,
            "unreadable_frames": block.unreadable_frames,
        },
        {name: getattr(block, name) for name in _BLOCK_ARRAYS},
    )


def kept_in_journal(
    job: Job[DetectedBlock, BraggPeaks], journal: RunJournal | None
) -> Job[DetectedBlock, BraggPeaks]:
    """The same detection, each block of which is in the journal before it is handed on; see `kept`."""
    return kept(job, journal, keep_block)


def keep_calibration(
    peaks: BraggPeaks, *, scan: Calibration | None, folder: str | Path | None = None
) -> bool:
    """Keep what peaks are calibrated with by now beside them; False where no journal keeps these peaks.

    Raises
    ------
    OSError
        When the journal cannot be written.
    """
    path = next(iter(_journals_of(peaks, folder)), None)
    if path is None:
        return False
    note = {
        "calibration": peaks.calibration.model_dump(mode="json"),
        "scan": None if scan is None else scan.model_dump(mode="json"),
        "recipe": dict(peaks.recipe),
    }
    arrays = {} if peaks.origin_px is None else {"origin_px": peaks.origin_px}
    append_to_journal(path, note, arrays)
    return True


def journals_of_peaks(peaks: BraggPeaks, *, folder: str | Path | None = None) -> list[Path]:
    """Journals of ended runs that detect in the same scan in the same way, newest first."""
    return _journals_of(peaks, folder)


def remove_kept_peaks(peaks: BraggPeaks, *, folder: str | Path | None = None) -> None:
    """Forget peaks that are safe elsewhere by now, or that nobody wants.

    Those of earlier runs that found the same go too, unless they were calibrated in another way since.
    """
    calibrated = {path: _last_calibration(path) for path in _journals_of(peaks, folder)}
    same = {path for path, other in calibrated.items() if other in (None, peaks.calibration)}
    if not any(calibrated[path] for path in same):  # calibrated after the journal was written last
        same.update(list(calibrated)[:1])
    for path in same:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def remove_saved_peaks(saved: BraggPeaks, *, folder: str | Path | None = None) -> None:
    """Forget what `remove_kept_peaks` does, but for runs that have done positions that peaks in a file lack."""
    if not any(has_more_than(path, saved.detected) for path in _journals_of(saved, folder)):
        remove_kept_peaks(saved, folder=folder)


def _last_calibration(path: Path) -> Calibration | None:
    """What peaks that were found at all positions were calibrated with last; None for others."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        found = [each for each in read_journal(path) if "calibration" in each.note]
        return Calibration.model_validate(found[-1].note["calibration"]) if found else None
    return None


def _journals_of(peaks: BraggPeaks, folder: str | Path | None) -> list[Path]:
    """The journals of the runs that detect in the same scan in the same way, newest first."""
    if peaks.source_fingerprint is None:
        return []
    made_by = json.loads(json.dumps(dict(peaks.parameters)))  # as it comes out of a file
    for found_out in ("unreadable_frames", WITHOUT_PATTERN):
        made_by.pop(found_out, None)
    found = []
    for path in free_journals(KIND, peaks.source_fingerprint, folder):
        begun = next(read_journal(path), None)
        if begun is not None and begun.note.get("description") == made_by:
            found.append(path)
    return found


def find_interrupted_detections(
    datacube: DataCube, *, folder: str | Path | None = None
) -> list[InterruptedDetection]:
    """Detections of this scan that were interrupted or not saved, the one with most positions first.

    Peak memory: all their peaks.
    """
    if datacube.path is None:
        return []
    found = (_read(path, datacube) for path in free_journals(KIND, datacube.fingerprint, folder))
    return sorted((run for run in found if run is not None), key=lambda run: run.n_done, reverse=True)


def remove_interrupted_detections(
    datacube: DataCube,
    *,
    description: Mapping[str, Any],
    keep: Path | None = None,
    folder: str | Path | None = None,
) -> None:
    """Forget the detections of this scan that a run like them has made needless.

    That are those that detect in this very way, for others have found what no other run has; and of these not what was
    calibrated after its end, nor what another program is at, nor the journal ``keep``.
    """
    if datacube.path is None:
        return

    def is_needless(path: Path) -> bool:
        if path == keep:
            return False
        begun = next(read_journal(path), None)
        if begun is None:
            return True
        made_by = begun.note.get("description")
        if made_by is None or made_otherwise(made_by, description):
            return False
        run = _read(path, datacube)
        return run is None or not (run.finished and run.calibrated is not None)

    remove_free_journals(KIND, datacube.fingerprint, folder, which=is_needless)


def running_detections(datacube: DataCube, *, folder: str | Path | None = None) -> tuple[Path, ...]:
    """Journals of this scan that a program, this one or another, is writing."""
    pattern = f"{KIND}-{datacube.fingerprint}-*{ENDING}"
    return tuple(path for path in journal_folder(folder).glob(pattern) if is_being_written(path))


def _read(path: Path, datacube: DataCube) -> InterruptedDetection | None:
    """What a journal holds; None where it holds no position of this scan."""
    try:
        records = read_journal(path)
        begun = next(records, None)
        if begun is None or tuple(begun.note["scan_shape"]) != datacube.scan_shape:
            return None
        kept = list(records)
        blocks = tuple(_block(record) for record in kept if "calibration" not in record.note)
        calibrated = [_calibrated(record) for record in kept if "calibration" in record.note]
        done = np.zeros(datacube.n_positions, dtype=bool)
        for block in blocks:
            done[block.positions] = True
        if not done.any() or begun.arrays["probe_image"].shape != datacube.detector_shape:
            return None
    except (OSError, KeyError, ValueError, TypeError, IndexError):
        return None
    return InterruptedDetection(
        path=path,
        description=begun.note["description"],
        probe_image=begun.arrays["probe_image"],
        mask=begun.arrays.get("mask"),
        blocks=blocks,
        n_done=int(done.sum()),
        n_positions=datacube.n_positions,
        modified=path.stat().st_mtime,
        calibrated=calibrated[-1] if calibrated else None,
        choice=begun.note.get("choice"),
    )


def _calibrated(record: JournalRecord) -> KeptCalibration:
    scan = record.note["scan"]
    return KeptCalibration(
        calibration=Calibration.model_validate(record.note["calibration"]),
        scan=None if scan is None else Calibration.model_validate(scan),
        origin_px=record.arrays.get("origin_px"),
        recipe=record.note.get("recipe", {}),
    )


def _block(record: JournalRecord) -> DetectedBlock:
    progress = Progress(record.note["done"], record.note["total"], "patterns")
    unreadable = record.note.get("unreadable_frames", 0)  # runs of earlier versions did not keep it
    return DetectedBlock(progress=progress, unreadable_frames=unreadable, **record.arrays)
