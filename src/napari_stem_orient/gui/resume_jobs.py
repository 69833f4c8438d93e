"""Jobs around interrupted detections: blocks kept in a journal, and what another run has left of a scan."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_stem_orient.core.bragg_peaks import BraggPeaks, DetectedBlock
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.gui.step_jobs import DetectionTask

if TYPE_CHECKING:
    from napari_stem_orient.core.datacube import DataCube

DETECTORS = {"torch": "correlation", "py4DSTEM": "py4DSTEM"}


@dataclass(frozen=True, slots=True)
class JournalLost:
    """Record that the journal of a run can be kept no longer, and why; the run goes on."""

    text: str
    progress: Progress


def with_journal(
    task: DetectionTask, job: Generator[DetectedBlock, None, BraggPeaks]
) -> Generator[DetectedBlock | JournalLost, None, BraggPeaks]:
    """The same detection, kept in a journal until it is done; stopped or crashed, the journal stays."""
    from napari_stem_orient.detection.correlation import describe, start_of_detection
    from napari_stem_orient.io.peaks_journal import (
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
    kept = kept_in_journal(job, journal)
    told = False
    try:
        while True:
            try:
                block = next(kept)
            except StopIteration as finished:
                peaks: BraggPeaks = finished.value
                break
            yield block
            if journal is not None and journal.problem and not told:
                told = True
                yield JournalLost(journal.problem, block.progress)
    finally:
        kept.close()
    if journal is not None:
        journal.remove()
        remove_interrupted_detections(task.datacube)
    return peaks


@dataclass(frozen=True, slots=True, eq=False)
class InterruptedRun:
    """A detection that broke off: the task that goes on with it, and what is left in words."""

    task: DetectionTask
    words: str


def interrupted_run(datacube: DataCube) -> InterruptedRun | None:
    """The interrupted detection of a scan that came furthest and can be gone on with; None where there is none."""
    from napari_stem_orient.detection.correlation import collect_peaks
    from napari_stem_orient.detection.parameters import DetectionParameters
    from napari_stem_orient.detection.probe import ProbeTemplate
    from napari_stem_orient.io.peaks_journal import find_interrupted_detections

    engines = {detector: engine for engine, detector in DETECTORS.items()}
    for run in find_interrupted_detections(datacube):
        try:
            probe = run.description["probe"]
            task = DetectionTask(
                datacube=datacube,
                probe=ProbeTemplate(run.probe_image, probe["radius_px"], probe["source"]),
                parameters=DetectionParameters(**run.description["detection"]),
                engine=engines[run.description["detector"]],
                mask=run.mask,
                resume_from=collect_peaks(datacube, run.blocks, description=run.description),
            )
        except (KeyError, ValueError):
            continue  # of another version of this program
        return InterruptedRun(task, str(run))
    return None


def forget_interrupted_runs(datacube: DataCube) -> None:
    """Remove what interrupted detections of a scan have left."""
    from napari_stem_orient.io.peaks_journal import remove_interrupted_detections

    remove_interrupted_detections(datacube)
