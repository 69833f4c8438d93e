"""Journals of detections: each finished block is kept as it comes, and an interrupted run is found again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.bragg_peaks import BraggPeaks, DetectedBlock
from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.core.progress import Job, Progress
from napari_stem_orient.io.run_journal import (
    JournalRecord,
    RunJournal,
    free_journals,
    kept,
    new_journal_path,
    read_journal,
    remove_free_journals,
)

KIND = "detection"
_BLOCK_ARRAYS = ("positions", "x_px", "y_px", "intensity", "offsets", "significance")


@dataclass(frozen=True, slots=True, eq=False)
class InterruptedDetection:
    """A detection that did not come to its end.

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
    """

    path: Path
    description: dict[str, Any]
    probe_image: NDArray[np.float32]
    mask: NDArray[np.bool_] | None
    blocks: tuple[DetectedBlock, ...]
    n_done: int
    n_positions: int

    def __str__(self) -> str:
        return f"{self.n_done:,} of {self.n_positions:,} positions are left from a run that was interrupted"


def begin_peaks_journal(
    datacube: DataCube,
    *,
    description: Mapping[str, Any],
    probe_image: NDArray[Any],
    mask: NDArray[np.bool_] | None = None,
    resume_from: BraggPeaks | None = None,
    folder: str | Path | None = None,
) -> RunJournal | None:
    """Begin the journal of a detection; None for a scan that is in no file, which nobody could open again.

    Parameters
    ----------
    datacube, description, probe_image, mask
        What is detected, and how; see `InterruptedDetection`.
    resume_from
        What was done before: it is kept first.
    folder
        Where the journals are; in the user's cache where none is given.
    """
    if datacube.path is None:
        return None
    arrays = {"probe_image": np.asarray(probe_image, dtype=np.float32)}
    if mask is not None:
        arrays["mask"] = np.asarray(mask, dtype=bool)
    note = {"description": dict(description), "scan_shape": list(datacube.scan_shape), "name": datacube.name}
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


def find_interrupted_detections(
    datacube: DataCube, *, folder: str | Path | None = None
) -> list[InterruptedDetection]:
    """Detections of this scan that were interrupted, the one with most positions first.

    Peak memory: all their peaks.
    """
    if datacube.path is None:
        return []
    found = (_read(path, datacube) for path in free_journals(KIND, datacube.fingerprint, folder))
    return sorted((run for run in found if run is not None), key=lambda run: run.n_done, reverse=True)


def remove_interrupted_detections(
    datacube: DataCube, *, description: Mapping[str, Any] | None = None, folder: str | Path | None = None
) -> None:
    """Forget the interrupted detections of this scan; those that another program is at are left alone.

    With a ``description`` only those that detect in this very way: others have found what no other run has.
    """
    if datacube.path is None:
        return

    def made_so(path: Path) -> bool:
        begun = next(read_journal(path), None)
        return begun is None or description in (None, begun.note.get("description"))

    remove_free_journals(KIND, datacube.fingerprint, folder, which=made_so)


def _read(path: Path, datacube: DataCube) -> InterruptedDetection | None:
    """What a journal holds; None where it holds no position of this scan."""
    try:
        records = read_journal(path)
        begun = next(records, None)
        if begun is None or tuple(begun.note["scan_shape"]) != datacube.scan_shape:
            return None
        blocks = tuple(_block(record) for record in records)
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
    )


def _block(record: JournalRecord) -> DetectedBlock:
    progress = Progress(record.note["done"], record.note["total"], "patterns")
    unreadable = record.note.get("unreadable_frames", 0)  # runs of earlier versions did not keep it
    return DetectedBlock(progress=progress, unreadable_frames=unreadable, **record.arrays)
