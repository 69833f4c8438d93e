"""The detectors of Bragg disks that there are: one list of names, titles and jobs, for whoever lets one be chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from napari_stem_orient.core.py4dstem_extra import why_no_py4dstem

if TYPE_CHECKING:
    from napari_stem_orient.core.bragg_peaks import BraggPeaks, DetectedBlock
    from napari_stem_orient.core.datacube import DataCube
    from napari_stem_orient.core.progress import Job
    from napari_stem_orient.detection.detector_mask import Mask
    from napari_stem_orient.detection.parameters import DetectionParameters
    from napari_stem_orient.detection.probe import ProbeTemplate

DetectorName = Literal["correlation", "py4DSTEM"]


@dataclass(frozen=True, slots=True)
class DetectionInput:
    """All that a detector is given.

    ``device`` is "auto", "cpu", "cuda" or "mps"; ``mask`` (det_y, det_x) bool is True where a pixel is not usable;
    ``resume_from`` is what was done before.
    """

    datacube: DataCube
    probe: ProbeTemplate
    parameters: DetectionParameters
    device: str = "auto"
    mask: Mask | None = None
    resume_from: BraggPeaks | None = None


DetectionJob = Callable[[DetectionInput], "Job[DetectedBlock, BraggPeaks]"]


@dataclass(frozen=True, slots=True)
class Detector:
    """One way to find disks.

    Parameters
    ----------
    name, title
        As it is saved with peaks, and as a user reads it.
    job
        From the input to the job.
    lacking
        Says why it cannot be used here and what would help; "" where it can.
    """

    name: DetectorName
    title: str
    job: DetectionJob
    lacking: Callable[[], str] = str


def _by_correlation(given: DetectionInput) -> Job[DetectedBlock, BraggPeaks]:
    from napari_stem_orient.detection import correlation  # torch comes with it

    return correlation.detect_bragg_peaks(
        given.datacube,
        probe=given.probe,
        parameters=given.parameters,
        device=given.device,
        mask=given.mask,
        resume_from=given.resume_from,
    )


def _by_py4dstem(given: DetectionInput) -> Job[DetectedBlock, BraggPeaks]:
    from napari_stem_orient.detection.py4dstem import detect_with_py4dstem

    return detect_with_py4dstem(
        given.datacube,
        probe=given.probe,
        parameters=given.parameters,
        mask=given.mask,
        resume_from=given.resume_from,
    )


DETECTORS: dict[DetectorName, Detector] = {
    detector.name: detector
    for detector in (
        Detector("correlation", "Batched (torch)", _by_correlation),
        Detector("py4DSTEM", "py4DSTEM", _by_py4dstem, why_no_py4dstem),
    )
}
