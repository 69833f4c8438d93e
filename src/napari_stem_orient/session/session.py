"""Session: the state of one viewer, the one signal that it changed, and the streams of blocks on their way into it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakSet

from psygnal import Signal

from napari_stem_orient.session import calibrated, results, rules, scans
from napari_stem_orient.session.of_state import OfState
from napari_stem_orient.session.state import ChoiceType, RunningJob, ScanState, Stage
from napari_stem_orient.steps.detect import DetectChoice
from napari_stem_orient.steps.mask import painted_mask

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from napari_stem_orient.calibration.fit import CalibrationFit
    from napari_stem_orient.core.answers import IndexedBlock
    from napari_stem_orient.core.bragg_peaks import BraggPeaks, DetectedBlock
    from napari_stem_orient.core.calibration import Calibration, Quantity
    from napari_stem_orient.core.crystal import Crystal
    from napari_stem_orient.core.datacube import DataCube
    from napari_stem_orient.core.orientation_map import OrientationMap
    from napari_stem_orient.core.scan_summary import ScanSummary, SummaryBlock
    from napari_stem_orient.detection.parameters import DetectionParameters
    from napari_stem_orient.detection.probe import ProbeTemplate
    from napari_stem_orient.session.recorder import OpenedRecipe
    from napari_stem_orient.session.rules import StageState
    from napari_stem_orient.session.saved import Result
    from napari_stem_orient.session.source import OfScan
    from napari_stem_orient.steps.calibrate import CalibrateChoice
    from napari_stem_orient.steps.choice import Choice


class Session:
    """The state of one viewer, free of Qt; change it in the main thread only.

    Read `state`, or the attributes, which are those of the state. Change it with `update` or a method: each is one
    change of the state and one `changed`. Connect bound methods to the signals (psygnal keeps bound methods weakly).

    Attributes
    ----------
    state
        All that is open, chosen and found, frozen.
    painter, leaving, opener, files, autosaver
        What paints the layers of this viewer, asks before results go, opens files, saves whole sessions, and keeps one
        for the case of a crash: each is kept alive here.
    """

    # queued: where a listener changes the state again, all others hear of the changes in the order in which they came
    changed = Signal(ScanState, ScanState, reemission="queued")  # before, after
    summary_filled = Signal(object)  # SummaryBlock
    detection_filled = Signal(object)  # DetectedBlock
    map_filled = Signal(object, object)  # OrientationMap, IndexedBlock
    # a question to whoever shows a box, and no part of the state
    value_wanted = Signal(object)  # missing_values.Wanted: something that is missing, to be filled in

    def __init__(self) -> None:
        self.state = ScanState()
        self.painter: object | None = None
        self.leaving: object | None = None
        self.opener: object | None = None
        self.files: object | None = None
        self.autosaver: object | None = None
        self._attended: WeakSet[RunningJob] = WeakSet()

    datacube = OfState(lambda state: state.datacube)
    summary = OfState(lambda state: state.summary)
    mean_pattern = OfState(lambda state: state.mean_pattern)
    open_needs = OfState(lambda state: state.open_needs)
    request = OfState(lambda state: state.request)
    position = OfState(lambda state: state.position)
    preview = OfState(lambda state: state.preview)
    probe = OfState(lambda state: state.probe)
    detection_parameters = OfState(lambda state: state.detection_parameters)
    detector_mask = OfState(lambda state: state.detector_mask)
    peaks = OfState(lambda state: state.peaks)
    peaks_fingerprint = OfState(lambda state: state.peaks_fingerprint)
    history = OfState(lambda state: state.history)
    calibration = OfState(lambda state: state.calibration)
    crystals = OfState(lambda state: state.crystals)
    model_folders = OfState(lambda state: state.model_folders)
    orientation_maps = OfState(lambda state: state.orientation_maps)
    current_map = OfState(lambda state: state.current_map)
    exported_map = OfState(lambda state: state.exported_map)
    saved = OfState(lambda state: state.saved)
    four_indices = OfState(lambda state: state.four_indices)
    source = OfState(lambda state: state.source)
    scan_shape = OfState(lambda state: state.scan_shape)
    crystals_lent = OfState(lambda state: state.to_index.lent)
    crystals_carried = OfState(lambda state: state.to_index.carried)
    calibration_settled = OfState(rules.calibration_settled)
    calibration_changes = OfState(lambda state: tuple(change.title for change in state.history.done))

    # --- the one way to change -----------------------------------------------------------------------------

    def update(self, **changes: Any) -> None:
        """Give fields of the state other values: one change, told once, or none where nothing differs."""
        self._become(replace(self.state, **changes))

    def choose(self, kind: type[ChoiceType], **fields: Any) -> None:
        """Take what the user has decided about a step, validated: ``session.choose(DetectChoice, device="cpu")``."""
        self.set_choice(self.state.choice(kind).changed(**fields))

    def set_choice(self, choice: Choice) -> None:
        """Take all that was decided about a step."""
        if choice != self.state.choice(type(choice)):
            self.update(choices={**self.state.choices, choice.step: choice})

    def take_recipe(self, opened: OpenedRecipe) -> None:
        """Choose for detection and indexing what a recipe says; see `recorder.with_choices_of`."""
        from napari_stem_orient.session.recorder import with_choices_of

        self._become(with_choices_of(self.state, opened))

    def restore(self, state: ScanState) -> None:
        """Take a whole state, from a session file, in the place of all that there is; jobs are discarded."""
        self._become(replace(state, opening=self.state.opening + 1, runs={}))

    def _become(self, after: ScanState) -> None:
        require_main_thread()
        before = self.state
        names = tuple(ScanState.__dataclass_fields__)
        if after is before or not after.differs_in(before, *names):
            return
        if after.opening != before.opening:
            self._discard()
        self.state = after
        self.changed.emit(before, after)

    # --- Open ----------------------------------------------------------------------------------------------

    def set_datacube(self, datacube: DataCube | None) -> None:
        """Open a scan, or close the one that is open and keep its results; see `scans.with_scan`."""
        self._become(scans.with_scan(self.state, datacube))

    def fill_summary(self, block: SummaryBlock) -> None:
        """Take a block of virtual-image values, and the mean pattern so far."""
        self.update(mean_pattern=block.mean_pattern)
        self.summary_filled.emit(block)

    def set_summary(self, summary: ScanSummary | None) -> None:
        """Take the complete virtual images and patterns of the scan."""
        mean = self.mean_pattern if summary is None else summary.mean_pattern
        self.update(summary=summary, mean_pattern=mean)

    def set_position(self, position: tuple[int, int] | None) -> None:
        """Choose the probe position (y, x) that is looked at; a position outside the scan is ignored."""
        require_main_thread()
        if position is not None:
            if not self.state.contains(position):
                return
            position = (int(position[0]), int(position[1]))
        if position != self.position:
            self.update(position=position, preview=None)

    def set_four_indices(self, wanted: bool) -> None:
        """Give zone axes of hexagonal crystals four indices [uvtw] instead of three, or three again."""
        self.update(four_indices=wanted)

    def belongs(self, something: OfScan) -> bool | None:
        """Whether a scan or a result is of the scan that is open, if any; None where nothing tells."""
        return self.state.belongs(something)

    def contains(self, position: tuple[int, int]) -> bool:
        """Whether a probe position (y, x) lies in what is open."""
        return self.state.contains(position)

    def count_as_open_scan(self, result: BraggPeaks | OrientationMap) -> None:
        """Count a result as of the open scan in spite of its fingerprint: the user has said that it is."""
        if result.scan_shape != self.scan_shape:
            raise ValueError(
                f"a result on a scan of {' x '.join(map(str, result.scan_shape))} positions is not of the open scan; "
                "open it alone"
            )
        self.update(source=self.source.joined_by(result))

    # --- Detect --------------------------------------------------------------------------------------------

    def set_probe(self, probe: ProbeTemplate | None) -> None:
        """Take the probe template that detection will use; its radius is the radius of the disks."""
        self.update(probe=probe)

    def set_detection_parameters(self, parameters: DetectionParameters | None) -> None:
        """Take the parameters that the next detection and the preview use."""
        self.update(detection_parameters=parameters)

    def set_detector_mask(self, mask: NDArray[np.bool_] | None) -> None:
        """Take the detector pixels (det_y, det_x) that are not to be used, or none, as somebody has painted them.

        Raises
        ------
        ValueError
            Where the mask has another shape than the detector of the open scan.
        """
        if mask is not None and self.datacube is not None and mask.shape != self.datacube.detector_shape:
            raise ValueError(
                f"a mask of {' x '.join(map(str, mask.shape))} px does not fit the detector of "
                f"{' x '.join(map(str, self.datacube.detector_shape))} px"
            )
        choice = self.state.choice(DetectChoice).changed(mask=painted_mask(mask))
        self.update(detector_mask=mask, choices={**self.state.choices, choice.step: choice})

    def set_preview(self, preview: DetectedBlock | None) -> None:
        """Take the disks found in the pattern at `position` with the parameters now in the form."""
        self.update(preview=preview)

    def fill_detection(self, block: DetectedBlock) -> None:
        """Pass on a block of detected peaks; the peaks themselves come with `set_peaks`."""
        require_main_thread()
        self.detection_filled.emit(block)

    def set_peaks(self, peaks: BraggPeaks | None, *, of_open_scan: bool = False) -> None:
        """Take detected or opened peaks, complete or not; see `scans.with_peaks`."""
        self._become(scans.with_peaks(self.state, peaks, of_open_scan=of_open_scan))

    def open_peaks(self, peaks: BraggPeaks) -> None:
        """Take peaks from a file."""
        state = scans.with_peaks(self.state, peaks)
        self._become(replace(state, saved=state.saved.with_opened(peaks)))

    # --- Calibrate -----------------------------------------------------------------------------------------

    def set_calibration(self, calibration: Calibration) -> None:
        """Apply a calibration that was entered to scan and peaks; see `calibrated.with_entered`."""
        self._become(calibrated.with_entered(self.state, calibration))

    def apply_calibration(
        self,
        fit: CalibrationFit,
        *,
        applied: BraggPeaks | None = None,
        choice: CalibrateChoice | None = None,
    ) -> None:
        """Apply what a fit has found to scan and peaks; see `calibrated.with_fit`."""
        self._become(calibrated.with_fit(self.state, fit, applied=applied, choice=choice))

    def restore_calibration(
        self,
        calibration: Calibration,
        *,
        origin_px: NDArray[np.float32] | None,
        scan: Calibration | None,
        recipe: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """Give peaks and scan what they had been calibrated with before; see `calibrated.with_restored`."""
        state = calibrated.with_restored(
            self.state, calibration, origin_px=origin_px, scan=scan, recipe=recipe
        )
        self._become(state)

    def confirm_calibration(self, quantity: Quantity, confirmed: bool = True) -> None:
        """Count a quantity of the peaks' calibration as calibrated, or no longer."""
        self._become(calibrated.with_confirmed(self.state, quantity, confirmed))

    def undo_calibration(self) -> None:
        """Give scan and peaks back the calibration and the origins that they had before the last change."""
        self._become(calibrated.with_undone(self.state))

    def redo_calibration(self) -> None:
        """Do the change again that was undone last."""
        self._become(calibrated.with_redone(self.state))

    def skip_calibration(self) -> None:
        """Go on with the calibration as it is."""
        self.update(calibration_skipped=True)

    # --- Index ---------------------------------------------------------------------------------------------

    def set_crystals(self, crystals: tuple[Crystal, ...]) -> None:
        """Choose the crystals to index with."""
        self._choose_crystals(crystals, chosen=True, carried=False)

    def lend_crystals(self, crystals: tuple[Crystal, ...]) -> None:
        """Index with the crystals that the calibration was made with, unless crystals were chosen to index with."""
        if crystals and not self.state.to_index.chosen:
            self._choose_crystals(crystals)

    def _choose_crystals(self, crystals: tuple[Crystal, ...], **how: bool) -> None:
        choice = replace(self.state.to_index, crystals=tuple(crystals), **how)
        self.update(to_index=choice)

    def offer_model(self, folder: Path, crystals: tuple[Crystal, ...] = ()) -> None:
        """Index with a model that the user has chosen, or has trained for these crystals, which join those chosen."""
        folders = (folder, *(other for other in self.model_folders if other != folder))
        state = replace(self.state, model_folders=folders)
        if crystals:
            more = tuple(crystal for crystal in crystals if crystal not in self.crystals)
            choice = replace(state.to_index, crystals=(*self.crystals, *more), chosen=True)
            state = replace(state, to_index=replace(choice, carried=False))
        self._become(state)

    def set_model_needed(self, what: str | None) -> None:
        """Say what the chosen method lacks to index the crystals, or that it lacks nothing."""
        self.update(model_needed=what)

    def start_map(self, orientation_map: OrientationMap) -> None:
        """Make an empty or resumed map the current one; blocks go into it with `fill_map`."""
        self._become(scans.with_started_map(self.state, orientation_map))

    def fill_map(self, block: IndexedBlock) -> None:
        """Write a block of solutions into the current map."""
        require_main_thread()
        current = self.current_map
        if current is not None:
            current.fill(block)
            self.map_filled.emit(current, block)

    def set_map(self, orientation_map: OrientationMap | None) -> None:
        """Take a finished, stopped or opened map, or choose one of `orientation_maps`, as the current one."""
        if orientation_map is None:
            self.update(current=None)
        else:
            self._become(scans.with_map(self.state, orientation_map))

    def open_map(self, orientation_map: OrientationMap) -> None:
        """Take a map from a file; an indexing run that is under way is discarded.

        Where it is of another scan than the one that is open, that one is let go.
        """
        self.discard_job(Stage.INDEX)
        opened = scans.with_map(self.state, orientation_map)
        self._become(_with_saved(opened, opened.current_map))

    def remove_result(self, name: str) -> None:
        """Let a result go, and its layers with it; files of it stay."""
        self._become(results.without_result(self.state, name))

    # --- files ---------------------------------------------------------------------------------------------

    def mark_saved(self, result: Result) -> None:
        """Remember that a result is in a file, as it is now."""
        self._become(_with_saved(self.state, result))

    def note_journal(self, kind: type[Result], *, lost: bool) -> None:
        """Remember that the journal of the results of this kind has begun, or can be kept no longer."""
        self.update(saved=self.saved.with_journal(kind, lost=lost))

    # --- jobs ----------------------------------------------------------------------------------------------

    def begin(self, stage: Stage, job: RunningJob) -> None:
        """Note that a stage runs; a job that this stage still had is discarded."""
        needs = None if stage is Stage.OPEN else self.open_needs
        old = self.running_job(stage)
        if old is not None:
            old.discard()
        self.update(runs={**self.state.runs, stage: job}, open_needs=needs)

    def end(self, stage: Stage, job: RunningJob) -> None:
        """Note that this job of the stage has ended; nothing happens if the stage has a newer job."""
        if self.running_job(stage) is job:
            self.update(runs=self._runs_without(stage))

    def running_job(self, stage: Stage) -> RunningJob | None:
        """The job that runs for a stage, or None."""
        return self.state.runs.get(stage)

    def attend(self, job: RunningJob) -> None:
        """Discard a job when another scan is opened, though no stage waits for it: what it finds is about this one."""
        require_main_thread()
        self._attended.add(job)

    def discard_job(self, stage: Stage) -> None:
        """Stop the running job of a stage, if it has one, and drop whatever it still sends."""
        job = self.running_job(stage)
        if job is not None:
            job.discard()
            self.update(runs=self._runs_without(stage))

    def _runs_without(self, stage: Stage) -> dict[Stage, RunningJob]:
        return {other: job for other, job in self.state.runs.items() if other is not stage}

    def discard_jobs(self) -> None:
        """Stop every job that is about the open scan and drop whatever it still sends."""
        self._discard()
        self.update(runs={})

    def _discard(self) -> None:
        jobs = [*self.state.runs.values(), *self._attended]
        self._attended.clear()
        for job in jobs:
            job.discard()

    # --- stages --------------------------------------------------------------------------------------------

    def stage_state(self, stage: Stage) -> StageState:
        """What a stage can do now. A stopped stage is READY, with `is_partial` true."""
        return rules.stage_state(self.state, stage)

    def stage_needs(self, stage: Stage) -> list[str]:
        """What is still missing before a stage can run, in plain words; empty when it can."""
        return rules.stage_needs(self.state, stage)

    def is_partial(self, stage: Stage) -> bool:
        """Whether the stage was stopped and holds results for some positions only; it can be resumed."""
        return rules.is_partial(self.state, stage)

    def stale_because(self, stage: Stage) -> str | None:
        """Why the result of a stage no longer fits what it was made from, in plain words; None if it fits."""
        return rules.stale_because(self.state, stage)


def _with_saved(state: ScanState, result: Result | None) -> ScanState:
    if result is None:
        return state
    exported = result if result is state.current_map else state.exported_map
    return replace(state, saved=state.saved.with_file(result), exported_map=cast("Any", exported))


def require_main_thread() -> None:
    """Refuse to go on in the thread of a worker."""
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(
            "Session was changed from a worker thread; send a record to the main thread instead"
        )
