"""Jobs around results that are kept in journals: blocks as they come, and what earlier runs have left of a scan."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_stem_orient.core.bragg_peaks import BraggPeaks, DetectedBlock
from napari_stem_orient.gui.jobs.stage_jobs import DetectionTask
from napari_stem_orient.steps.journal_notices import JournalNotice, with_notices

if TYPE_CHECKING:
    from pathlib import Path

    from napari_stem_orient.core.calibration import Calibration
    from napari_stem_orient.core.datacube import DataCube
    from napari_stem_orient.core.orientation_map import OrientationMap
    from napari_stem_orient.runs.peaks_journal import KeptCalibration

DETECTORS = {"torch": "correlation", "py4DSTEM": "py4DSTEM"}


def with_journal(
    task: DetectionTask, job: Generator[DetectedBlock, None, BraggPeaks]
) -> Generator[DetectedBlock | JournalNotice, None, BraggPeaks]:
    """The same detection, kept in a journal, which stays until its peaks are saved."""
    from napari_stem_orient.detection.correlation import describe, start_of_detection
    from napari_stem_orient.runs.peaks_journal import (
        begin_peaks_journal,
        kept_in_journal,
        remove_interrupted_detections,
    )

    description = describe(task.probe, task.parameters, detector=DETECTORS[task.engine], mask=task.mask)
    # peaks that were made otherwise are refused before a journal says that they were made like this
    start_of_detection(task.datacube, task.resume_from, description)
    journal = begin_peaks_journal(
        task.datacube,
        description=description,
        probe_image=task.probe.image,
        mask=task.mask,
        resume_from=task.resume_from,
    )
    if task.resume_from is not None and journal is not None and not journal.problem:
        # the new journal, which is being written, has all that they have
        remove_interrupted_detections(task.datacube, description=description)
    peaks = yield from with_notices(kept_in_journal(job, journal), journal)
    if journal is not None and not journal.problem:
        remove_interrupted_detections(task.datacube, keep=journal.path)
    return peaks


@dataclass(frozen=True, slots=True, eq=False)
class InterruptedRun:
    """A detection that broke off, or whose peaks were not saved.

    `task` goes on with it; `words` say what is left; `peaks` are there where it came to its end, and `calibrated` what
    they were calibrated with since.
    """

    task: DetectionTask
    words: str
    path: Path
    peaks: BraggPeaks | None = None
    calibrated: KeptCalibration | None = None


def interrupted_run(datacube: DataCube) -> InterruptedRun | None:
    """The detection of a scan that came furthest and can be gone on with, or taken; None where there is none."""
    from napari_stem_orient.detection.correlation import collect_peaks
    from napari_stem_orient.detection.parameters import DetectionParameters
    from napari_stem_orient.detection.probe import ProbeTemplate
    from napari_stem_orient.runs.peaks_journal import find_interrupted_detections

    engines = {detector: engine for engine, detector in DETECTORS.items()}
    for run in find_interrupted_detections(datacube):
        try:
            probe = run.description["probe"]
            peaks = collect_peaks(datacube, run.blocks, description=run.description)
            task = DetectionTask(
                datacube=datacube,
                probe=ProbeTemplate(run.probe_image, probe["radius_px"], probe["source"]),
                parameters=DetectionParameters(**run.description["detection"]),
                engine=engines[run.description["detector"]],
                mask=run.mask,
                resume_from=peaks,
            )
        except (KeyError, ValueError):
            continue  # of another version of this program
        whole = peaks if run.finished else None
        return InterruptedRun(task, str(run), run.path, whole, run.calibrated)
    return None


def forget_interrupted_runs(datacube: DataCube) -> None:
    """Remove what interrupted detections of a scan have left."""
    from napari_stem_orient.runs.peaks_journal import remove_interrupted_detections

    remove_interrupted_detections(datacube)


def forget_kept(path: Path) -> None:
    """Remove one journal that the user does not want."""
    path.unlink(missing_ok=True)


def keep_calibrated(peaks: BraggPeaks, scan: Calibration | None) -> bool:
    """Keep what the peaks are calibrated with by now, where a journal keeps the peaks."""
    from napari_stem_orient.runs.peaks_journal import keep_calibration

    return keep_calibration(peaks, scan=scan)


@dataclass(frozen=True, slots=True, eq=False)
class OfferedMap:
    """A map that was not saved, its journal, and what is there in words."""

    orientation_map: OrientationMap
    words: str
    path: Path


def kept_map(scan: str | None, peaks: str | None) -> OfferedMap | None:
    """The map of a scan, or of peaks (their fingerprints), that came furthest and was not saved; None without one."""
    from napari_stem_orient.runs.map_journal import find_kept_maps

    found = next(iter(find_kept_maps(scan=scan, peaks=peaks)), None)
    return None if found is None else OfferedMap(found.orientation_map, str(found), found.path)


def save_result(result: BraggPeaks | OrientationMap, path: Path) -> None:
    """Write a result into a file; the journal that has kept it until now goes."""
    from napari_stem_orient.io.maps import save_orientation_map
    from napari_stem_orient.io.peaks import save_bragg_peaks
    from napari_stem_orient.runs.map_journal import remove_interrupted_maps
    from napari_stem_orient.runs.peaks_journal import remove_kept_peaks

    if isinstance(result, BraggPeaks):
        save_bragg_peaks(result, path)
        remove_kept_peaks(result)
    else:
        save_orientation_map(result, path)
        remove_interrupted_maps(result)


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """What journals keep of one scan: its detections, and the maps of these methods.

    `peaks` are those that are there by now; `scan` and `peaks_fingerprint` tell what the maps are of.
    """

    peaks: BraggPeaks | None
    datacube: DataCube | None
    scan: str | None
    peaks_fingerprint: str | None
    methods: tuple[str, ...]


def forget(kept: Kept) -> None:
    """Remove the journals of results that are saved, or that nobody wants."""
    from napari_stem_orient.runs.map_journal import remove_kept_maps
    from napari_stem_orient.runs.peaks_journal import remove_interrupted_detections, remove_kept_peaks

    if kept.peaks is not None:
        remove_kept_peaks(kept.peaks)
    if kept.datacube is not None:
        remove_interrupted_detections(kept.datacube)
    for method in kept.methods:
        remove_kept_maps(scan=kept.scan, peaks=kept.peaks_fingerprint, method=method)
