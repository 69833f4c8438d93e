"""Detect Bragg disks: the choice, what is measured where nothing was given, and the plan that follows from both."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from numpy.typing import NDArray
from pydantic import BaseModel, Field, model_validator

from napari_stem_orient.core.errors import UserError
from napari_stem_orient.core.progress import Job
from napari_stem_orient.detection.detectors import DETECTORS, DetectionInput, DetectorName
from napari_stem_orient.detection.parameters import DetectionParameters
from napari_stem_orient.steps.choice import Choice, Device, Given
from napari_stem_orient.steps.mask import FoundMask, Mask, MaskChoice, chosen_mask, find_mask
from napari_stem_orient.steps.probe import ProbeChoice, chosen_probe
from napari_stem_orient.steps.recorded import recorded

if TYPE_CHECKING:
    from napari_stem_orient.core.bragg_peaks import BraggPeaks, DetectedBlock
    from napari_stem_orient.core.datacube import DataCube
    from napari_stem_orient.core.scan_summary import SummaryBlock
    from napari_stem_orient.detection.false_alarms import FalseAlarms
    from napari_stem_orient.detection.probe import DirectBeam, ProbeTemplate
    from napari_stem_orient.detection.rejected_maxima import Explained


class GivenDetectionParameters(Given[DetectionParameters]):
    """Parameters that the user gave; all others are measured in a sample of the scan."""

    of: ClassVar[type[BaseModel]] = DetectionParameters


class DetectChoice(Choice):
    """How the Bragg disks of a scan are detected."""

    step: ClassVar[str] = "detect"

    probe: ProbeChoice = Field(default=ProbeChoice(), title="Template")
    mask: MaskChoice = Field(default=MaskChoice(), title="Detector mask")
    parameters: GivenDetectionParameters = Field(
        default=GivenDetectionParameters(),
        title="Parameters",
        description="Parameters of the detection in place of what is measured in a sample of the scan.",
    )
    false_disks_per_pattern: float | None = Field(
        default=None,
        gt=0,
        le=20,
        title="False disks",
        description="How many disks noise alone may make in a pattern: sets the significance. 1 if none is given.",
    )
    detector: DetectorName = Field(
        default="correlation",
        title="Engine",
        description="The detector: our batched one, or py4DSTEM's (slower; the extra py4dstem), to compare.",
    )
    device: Device = Field(
        default="auto",
        title="Device",
        description="What to compute on. auto is the fastest there is.",
    )

    @model_validator(mode="after")
    def _significance_once(self) -> DetectChoice:
        if self.false_disks_per_pattern is not None and "min_significance" in self.parameters:
            raise UserError(
                "the number of false disks in a pattern and the significance say the same",
                fix="leave one out",
                field="false_disks_per_pattern",
            )
        return self


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredScan:
    """What a sample of a scan tells, and what follows for a choice: facts, for people to read.

    Parameters
    ----------
    found
        Its bad pixels, beam stop and saturation.
    beam
        The direct beam; None where the template was chosen so that none is looked for.
    parameters
        Those that suit it; what was given is not among them.
    false_alarms
        How many disks noise alone makes at any significance.
    """

    found: FoundMask
    beam: DirectBeam | None
    parameters: DetectionParameters
    false_alarms: FalseAlarms


@dataclass(frozen=True, slots=True, eq=False)
class DetectPlan:
    """Everything that a detection needs, resolved for one scan, and fixed.

    Parameters
    ----------
    choice
        What the user decided.
    datacube
        The scan.
    probe, parameters, mask
        What is detected with; ``mask`` (det_y, det_x) bool is True where a pixel is not usable, None for all usable.
    measured
        What was measured for it; None for a run that was begun earlier.
    """

    choice: DetectChoice
    datacube: DataCube
    probe: ProbeTemplate
    parameters: DetectionParameters
    mask: Mask | None
    measured: MeasuredScan | None = None

    def description(self) -> dict[str, Any]:
        """How the peaks are made, as it is saved with them."""
        from napari_stem_orient.detection.correlation import describe

        return describe(self.probe, self.parameters, detector=self.choice.detector, mask=self.mask)

    def with_parameters(self, given: GivenDetectionParameters) -> DetectPlan:
        """The plan with other parameters given; nothing is measured again."""
        assert self.measured is not None
        choice = self.choice.changed(parameters=given)
        return replace(self, choice=choice, parameters=given.over(self.measured.parameters))

    def with_engine(self, detector: DetectorName, device: Device | None = None) -> DetectPlan:
        """The plan for another detector, or another device; nothing is measured again."""
        choice = self.choice.changed(detector=detector, device=device or self.choice.device)
        return replace(self, choice=choice)

    def blocks(self, resume_from: BraggPeaks | None = None) -> Job[DetectedBlock, BraggPeaks]:
        """The detection itself, kept nowhere; see `DetectionRun`."""
        given = DetectionInput(
            self.datacube, self.probe, self.parameters, self.choice.device, self.mask, resume_from
        )
        return DETECTORS[self.choice.detector].job(given)

    def collected(self, blocks: Iterable[DetectedBlock]) -> BraggPeaks:
        """Put blocks together, all of them or those done so far."""
        from napari_stem_orient.detection.correlation import collect_peaks

        return self.recorded_in(collect_peaks(self.datacube, blocks, description=self.description()))

    def recorded_in(self, peaks: BraggPeaks) -> BraggPeaks:
        """Peaks that were made so, which say it."""
        scan = self.datacube
        return peaks.with_recipe(recorded(scan.recipe, self.choice, made_from=scan.name))


def plan_detection(
    choice: DetectChoice,
    datacube: DataCube,
    *,
    painted: Mask | None = None,
    mean_pattern: NDArray[Any] | None = None,
) -> Job[SummaryBlock, DetectPlan]:
    """Measure in some 64 patterns of a scan what the user has not given, and plan the detection.

    Parameters
    ----------
    choice
        What the user decided.
    datacube
        The scan.
    painted
        (det_y, det_x) bool, the mask in no file that the choice names by its fingerprint.
    mean_pattern
        (det_y, det_x) mean of all patterns. Where the template is cut out of it and it is not there, the whole scan is
        read, which takes as long as opening it.

    Raises
    ------
    UserError
        No direct beam is found, the radius does not suit the detector, or the mask does not; it names the field.
    ImportError
        The chosen detector is not installed.
    """
    from napari_stem_orient.core.scan_summary import summarise
    from napari_stem_orient.detection.suggestion import sample_frames, suggest_detection

    lacking = DETECTORS[choice.detector].lacking()
    if lacking:
        raise ImportError(lacking)
    if choice.probe.source == "mean" and mean_pattern is None:
        mean_pattern = (yield from summarise(datacube)).mean_pattern
    frames = sample_frames(datacube)
    found = find_mask(frames)
    mask = chosen_mask(choice.mask, found, datacube.detector_shape, painted=painted)
    probe = chosen_probe(choice.probe, datacube, mask=mask, mean_pattern=mean_pattern)
    suggestion = suggest_detection(
        datacube,
        probe=probe,
        flat=choice.probe.source == "synthetic",
        mask=mask,
        bad=None if choice.mask.kind == "none" else found.bad.mask,
        frames=frames,
        false_disks_per_pattern=choice.false_disks_per_pattern,
    )
    beam = suggestion.beam if probe is None else None
    measured = MeasuredScan(found, beam, suggestion.parameters, suggestion.false_alarms)
    parameters = choice.parameters.over(suggestion.parameters)
    return DetectPlan(choice, datacube, suggestion.probe, parameters, mask, measured)


def look_at_pattern(plan: DetectPlan, position: tuple[int, int]) -> Explained:
    """Detect the disks of one pattern and say what is left out and why, always with the batched detector.

    Raises
    ------
    UserError, OSError, IndexError
        It cannot be read, or not be searched.
    """
    from napari_stem_orient.detection.averaging import averaged_pattern
    from napari_stem_orient.detection.rejection import explain_frame

    frame, parameters = averaged_pattern(plan.datacube, plan.parameters, *position, mask=plan.mask)
    return explain_frame(frame, probe=plan.probe, parameters=parameters, mask=plan.mask)
