"""DetectionRun: a detection that is kept in a journal as it goes; and what earlier runs have left of a scan."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from napari_stem_orient.core.made_otherwise import made_otherwise
from napari_stem_orient.detection.parameters import DetectionParameters
from napari_stem_orient.steps.detect import DetectChoice, DetectPlan, GivenDetectionParameters
from napari_stem_orient.steps.journal_notices import JournalNotice, with_notices
from napari_stem_orient.steps.mask import painted_mask
from napari_stem_orient.steps.probe import ProbeChoice

if TYPE_CHECKING:
    from napari_stem_orient.core.bragg_peaks import BraggPeaks, DetectedBlock
    from napari_stem_orient.core.datacube import DataCube
    from napari_stem_orient.runs.peaks_journal import InterruptedDetection, KeptCalibration
    from napari_stem_orient.runs.run_journal import RunJournal

MEASURED_AGAIN = {
    "min_significance": 0.05,
    "min_spacing_px": 0.11,
    "edge_px": 0.11,
    "min_absolute_intensity": 0.0,
    "counts_per_electron": 0.0,
}
"""What is measured, and by how much it may differ when it is measured again: one step of its rounding, or 1 %."""


class DetectionRun:
    """One detection of a scan, kept in a journal until whoever has its peaks safe forgets it.

    Parameters
    ----------
    plan
        What is detected, and how.
    resume_from
        Peaks of an earlier run, made in the same way: what they have is not done again.
    replaces_others
        Its peaks, once they are whole, take the place of what other runs like it have left of this scan.

    Attributes
    ----------
    plan
    blocks
        What is done so far, with what was done before.
    """

    def __init__(
        self, plan: DetectPlan, *, resume_from: BraggPeaks | None = None, replaces_others: bool = False
    ) -> None:
        self.plan = plan
        self.blocks: list[DetectedBlock] = [] if resume_from is None else [resume_from.as_block()]
        self._resume_from, self._replaces_others = resume_from, replaces_others
        self._journal: RunJournal | None = None

    def job(self) -> Generator[DetectedBlock | JournalNotice, None, BraggPeaks]:
        """Detect what is left to do; each block is in the journal before it is handed on.

        Raises
        ------
        UserError
            The earlier peaks were made otherwise, before a journal says that they were made like this.
        """
        from napari_stem_orient.detection.correlation import start_of_detection
        from napari_stem_orient.runs.peaks_journal import (
            begin_peaks_journal,
            kept_in_journal,
            remove_interrupted_detections,
        )

        plan = self.plan
        start_of_detection(plan.datacube, self._resume_from, plan.description())
        self._journal = begin_peaks_journal(
            plan.datacube,
            description=plan.description(),
            probe_image=plan.probe.image,
            mask=plan.mask,
            resume_from=self._resume_from,
            choice=plan.choice.given_fields(),
        )
        if self._resume_from is not None and self.is_kept:
            self._forget_others_like_this()  # the new journal has all that they have
        peaks = yield from with_notices(kept_in_journal(self._noted(), self._journal), self._journal)
        if self._replaces_others and self._journal is not None and self.is_kept:
            # peaks that were found otherwise stay until somebody saves or discards them
            remove_interrupted_detections(
                plan.datacube, description=plan.description(), keep=self._journal.path
            )
        return peaks

    def _noted(self) -> Generator[DetectedBlock, None, BraggPeaks]:
        """The detection, whose blocks are remembered here."""
        job = self.plan.blocks(self._resume_from)
        try:
            while True:
                try:
                    block = next(job)
                except StopIteration as finished:
                    peaks: BraggPeaks = finished.value
                    return self.plan.recorded_in(peaks)
                self.blocks.append(block)
                yield block
        finally:
            job.close()

    @property
    def is_kept(self) -> bool:
        """Whether a journal has all that is done."""
        return self._journal is not None and not self._journal.problem

    def so_far(self) -> BraggPeaks | None:
        """The peaks of the positions that are done, also of a run that was stopped; None before there are any."""
        return self.collected() if self.blocks else None

    def collected(self) -> BraggPeaks:
        """The peaks of the positions that are done."""
        return self.plan.collected(self.blocks)

    def forget(self, *, others: bool = True) -> None:
        """Remove the journals of this run and of ``others`` like it: what they keep is safe, or nobody wants it."""
        if self._journal is not None:
            self._journal.remove()
        if others:
            self._forget_others_like_this()

    def _forget_others_like_this(self) -> None:
        from napari_stem_orient.runs.peaks_journal import remove_interrupted_detections

        remove_interrupted_detections(self.plan.datacube, description=self.plan.description())


@dataclass(frozen=True, slots=True, eq=False)
class LeftDetection:
    """What a detection has left that broke off, or whose peaks nobody has saved.

    Parameters
    ----------
    plan
        Goes on with it as it was begun.
    peaks
        Those of the positions that are done.
    n_done, n_positions
        Number of positions done, and in all.
    modified
        When it was kept last, in seconds since 1970.
    path
        Its journal.
    calibrated
        What whole peaks were calibrated with since; None where they were not.
    """

    plan: DetectPlan
    peaks: BraggPeaks
    n_done: int
    n_positions: int
    modified: float
    path: Path
    calibrated: KeptCalibration | None = None

    @property
    def finished(self) -> bool:
        """Whether every position is done."""
        return self.n_done == self.n_positions

    def __str__(self) -> str:
        from napari_stem_orient.runs.run_journal import date_in_words

        if self.finished:
            when = date_in_words(self.modified)
            return f"the Bragg peaks of all {self.n_positions:,} positions are kept from {when}; they were not saved"
        return f"{self.n_done:,} of {self.n_positions:,} positions are left from a run that was interrupted"

    def differs_from(self, plan: DetectPlan) -> tuple[str, ...]:
        """What it was detected with that this plan does not detect with; empty where the plan can go on with it."""
        description = self.plan.description()
        return made_otherwise(description, as_begun(plan, description).description())

    def forget(self) -> None:
        """Remove its journal: nobody wants it."""
        self.path.unlink(missing_ok=True)


def left_detections(datacube: DataCube) -> list[LeftDetection]:
    """What detections of a scan have left, the one that came furthest first; not those of other versions."""
    from napari_stem_orient.runs.peaks_journal import find_interrupted_detections

    found = (_left(run, datacube) for run in find_interrupted_detections(datacube))
    return [left for left in found if left is not None]


@dataclass(frozen=True, slots=True)
class Resumable:
    """What a plan can go on from.

    Parameters
    ----------
    plan
        Goes on with them: what was measured is as it was when they were begun, but for what was given since.
    peaks
        The earlier peaks, or those of a run that was left, whichever came further; None where there are none.
    left
        The run that was left, if there is one that was made in the same way.
    other
        The run that came furthest of those that were made otherwise, where none was made in the same way.
    """

    plan: DetectPlan
    peaks: BraggPeaks | None
    left: LeftDetection | None = None
    other: LeftDetection | None = None


def resumable(plan: DetectPlan, *, earlier: BraggPeaks | None = None) -> Resumable:
    """Look for what a plan can go on from: earlier peaks, of a file for instance, or the journals of runs.

    Raises
    ------
    UserError
        The earlier peaks were made otherwise, or are of another scan.
    """
    from napari_stem_orient.detection.correlation import start_of_detection

    if earlier is not None:
        same = as_begun(plan, earlier.parameters)
        start_of_detection(plan.datacube, earlier, same.description())
    found = left_detections(plan.datacube)
    left = next((each for each in found if not each.differs_from(plan)), None)
    other = found[0] if found and left is None else None
    if left is None or (earlier is not None and earlier.detected.sum() >= left.n_done):
        return Resumable(
            plan if earlier is None else as_begun(plan, earlier.parameters), earlier, left, other
        )
    begun = as_begun(plan, left.plan.description())
    return Resumable(replace(begun, probe=left.plan.probe), left.peaks, left, other)


def plan_to_go_on(plan: DetectPlan, peaks: BraggPeaks) -> DetectPlan | None:
    """The plan that goes on with partial peaks of this scan; None where they are whole, or were made otherwise."""
    begun = as_begun(plan, peaks.parameters)
    if peaks.detected.all() or made_otherwise(peaks.parameters, begun.description()):
        return None
    return begun


def as_begun(plan: DetectPlan, earlier: Mapping[str, Any]) -> DetectPlan:
    """The plan with what was measured for earlier peaks, where it was measured again with other last digits.

    A run goes on as it was begun: what the user gave counts as it is given, but a radius of 2.501 px in the place of
    2.500 px must not make another threshold of noise out of the same patterns.

    Parameters
    ----------
    plan
        What is wanted.
    earlier
        Description of the peaks that there are.
    """
    begun = dict(earlier.get("detection") or {})
    taken = {
        name: begun[name]
        for name, step in MEASURED_AGAIN.items()
        if name in begun
        and name not in plan.choice.parameters
        and math.isclose(begun[name], getattr(plan.parameters, name), rel_tol=0.01, abs_tol=step)
    }
    return replace(plan, parameters=plan.parameters.model_copy(update=taken))


def _left(run: InterruptedDetection, datacube: DataCube) -> LeftDetection | None:
    """A run as it can be gone on with; None where it is of another version of this program."""
    from napari_stem_orient.detection.probe import ProbeTemplate

    try:
        probe, parameters = run.description["probe"], DetectionParameters(**run.description["detection"])
        plan = DetectPlan(
            choice=_choice_of(run, parameters),
            datacube=datacube,
            probe=ProbeTemplate(run.probe_image, probe["radius_px"], probe["source"]),
            parameters=parameters,
            mask=run.mask,
        )
        peaks = plan.collected(run.blocks)
    except (KeyError, TypeError, ValueError):
        return None
    return LeftDetection(
        plan,
        peaks,
        run.n_done,
        run.n_positions,
        run.modified,
        run.path,
        run.calibrated if run.finished else None,
    )


def _choice_of(run: InterruptedDetection, parameters: DetectionParameters) -> DetectChoice:
    """What was chosen for a run; of one that was begun by an earlier version, what it was detected with."""
    try:
        choice = DetectChoice.model_validate(run.choice)
        # a painted mask is in no file: all that was left out with it stands for it
        return choice.changed(mask=painted_mask(run.mask)) if choice.mask.kind == "painted" else choice
    except ValidationError:
        probe = run.description["probe"]
        known = {
            "synthetic": ProbeChoice(radius_px=probe["radius_px"]),
            "mean pattern": ProbeChoice(source="mean"),
        }
        return DetectChoice(
            probe=known.get(probe["source"], ProbeChoice()),
            parameters=GivenDetectionParameters(parameters.model_dump()),
            mask=painted_mask(run.mask),
            detector=run.description["detector"],
        )
