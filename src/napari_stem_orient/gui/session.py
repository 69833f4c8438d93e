"""Session: what is open, detected and indexed in one viewer, and the signals that say so."""

from __future__ import annotations

import threading
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Protocol
from weakref import WeakKeyDictionary

from psygnal import Signal

if TYPE_CHECKING:
    from pathlib import Path

    import napari
    import numpy as np
    from numpy.typing import NDArray

    from napari_stem_orient.core.bragg_peaks import BraggPeaks, DetectedBlock
    from napari_stem_orient.core.calibration import Calibration
    from napari_stem_orient.core.crystal import Crystal
    from napari_stem_orient.core.datacube import DataCube, ScanSummary, SummaryBlock
    from napari_stem_orient.core.orientation_map import IndexedBlock, OrientationMap
    from napari_stem_orient.detection.parameters import DetectionParameters
    from napari_stem_orient.detection.probe import ProbeTemplate


class Step(StrEnum):
    """The four steps from a file to maps, in order."""

    OPEN = "Open"
    DETECT = "Detect"
    INDEX = "Index"
    EXPORT = "Export"


class StepState(Enum):
    """What a step can do now; the value is the word shown to the user."""

    BLOCKED = "waiting"
    READY = "ready"
    RUNNING = "running"
    DONE = "done"
    STALE = "out of date"


class RunningJob(Protocol):
    """What Session needs of a job: that it can be told to stop and say nothing more."""

    def discard(self) -> None:
        """Stop the job and drop whatever it still sends."""


class Session:
    """The state of one viewer, free of Qt; change it in the main thread only.

    Read the attributes, change them with the methods, and connect bound methods to the signals
    (psygnal keeps bound methods weakly).

    Attributes
    ----------
    datacube, summary, probe, peaks, current_map, position
        What is there now, or None.
    mean_pattern
        (det_y, det_x) float32, over the blocks read so far, or None.
    detection_parameters
        What the forms of the Detect step show, or None before they were suggested.
    preview
        Disks of the pattern at `position` with the parameters now in the form, or None.
    orientation_maps
        The last map of each method ("transformer", "template").
    painter
        Whatever paints the layers of this viewer, kept alive here.
    """

    datacube_changed = Signal(object)  # DataCube | None: another scan is open
    summary_filled = Signal(object)  # SummaryBlock
    summary_changed = Signal(object)  # ScanSummary | None
    probe_changed = Signal(object)  # ProbeTemplate | None
    detection_parameters_changed = Signal(object)  # DetectionParameters | None
    detection_filled = Signal(object)  # DetectedBlock
    preview_changed = Signal(object)  # DetectedBlock of the one pattern at `position` | None
    peaks_changed = Signal(object)  # BraggPeaks | None: other peaks, or the same with another calibration
    calibration_changed = Signal(object)  # Calibration
    crystals_changed = Signal(object)  # tuple[Crystal, ...]
    model_offered = Signal(object)  # Path of a model folder that was trained or chosen elsewhere
    map_started = Signal(object)  # OrientationMap: all positions not done, or a resumed one
    map_filled = Signal(object, object)  # OrientationMap, IndexedBlock
    map_changed = Signal(object)  # OrientationMap | None: another map is current, or this one is complete
    position_changed = Signal(object)  # (y, x) | None
    steps_changed = Signal()  # a state, or what a step needs, may have changed

    def __init__(self) -> None:
        self.datacube: DataCube | None = None
        self.summary: ScanSummary | None = None
        self.mean_pattern: NDArray[np.float32] | None = None
        self.probe: ProbeTemplate | None = None
        self.detection_parameters: DetectionParameters | None = None
        self.peaks: BraggPeaks | None = None
        self.preview: DetectedBlock | None = None
        self.crystals: tuple[Crystal, ...] = ()
        self.orientation_maps: dict[str, OrientationMap] = {}
        self.current_map: OrientationMap | None = None
        self.position: tuple[int, int] | None = None
        self.painter: object | None = None
        self._running: dict[Step, RunningJob] = {}
        self._peaks_fingerprint: str | None = None
        self._exported: OrientationMap | None = None
        self._model_needed: str | None = None

    # --- what is there -------------------------------------------------------------------------------------

    @property
    def scan_shape(self) -> tuple[int, int] | None:
        """(scan_y, scan_x) of whatever is open: the scan, else the peaks, else the map."""
        for source in (self.datacube, self.peaks, self.current_map):
            if source is not None:
                return source.scan_shape
        return None

    @property
    def calibration(self) -> Calibration | None:
        """The calibration in force: of the scan, else of the peaks, else of the map."""
        for source in (self.datacube, self.peaks, self.current_map):
            if source is not None:
                return source.calibration
        return None

    # --- Open ----------------------------------------------------------------------------------------------

    def set_datacube(self, datacube: DataCube | None) -> None:
        """Open another scan: running jobs are discarded, peaks and maps of another shape are let go."""
        _require_main_thread()
        self.discard_jobs()
        self.datacube, self.summary, self.mean_pattern = datacube, None, None
        self.probe, self.detection_parameters = None, None
        results = [self.peaks, *self.orientation_maps.values()]
        keep = datacube is None or all(
            result is None or result.scan_shape == datacube.scan_shape for result in results
        )
        if not keep:
            self._forget_peaks_and_maps()
        self._set_position(None)
        self.datacube_changed.emit(datacube)
        if not keep:
            self.peaks_changed.emit(None)
            self.map_changed.emit(None)
        self.steps_changed.emit()

    def fill_summary(self, block: SummaryBlock) -> None:
        """Take a block of virtual-image values, and the mean pattern so far."""
        _require_main_thread()
        first = self.mean_pattern is None
        self.mean_pattern = block.mean_pattern
        self.summary_filled.emit(block)
        if first:
            self.steps_changed.emit()

    def set_summary(self, summary: ScanSummary | None) -> None:
        """Take the complete virtual images and patterns of the scan."""
        _require_main_thread()
        self.summary = summary
        if summary is not None:
            self.mean_pattern = summary.mean_pattern
        self.summary_changed.emit(summary)
        self.steps_changed.emit()

    def set_calibration(self, calibration: Calibration) -> None:
        """Apply a calibration to scan and peaks; maps made with another one become stale."""
        _require_main_thread()
        if calibration == self.calibration:
            return
        if self.datacube is not None:
            self.datacube = self.datacube.with_calibration(calibration)
        if self.peaks is not None:
            # the direct beam was measured with the peaks, and is better than what a file says
            measured = self.peaks.calibration.origin_px
            self.peaks = self.peaks.with_calibration(
                calibration if measured is None else calibration.updated(origin_px=measured)
            )
            self._peaks_fingerprint = self.peaks.fingerprint
        self.calibration_changed.emit(calibration)
        if self.peaks is not None:
            self.peaks_changed.emit(self.peaks)
        self.steps_changed.emit()

    # --- Detect --------------------------------------------------------------------------------------------

    def set_probe(self, probe: ProbeTemplate | None) -> None:
        """Take the probe template that detection will use; its radius is the radius of the disks."""
        _require_main_thread()
        self.probe = probe
        self.probe_changed.emit(probe)
        self.steps_changed.emit()

    def set_detection_parameters(self, parameters: DetectionParameters | None) -> None:
        """Take the parameters that the next detection and the preview use."""
        _require_main_thread()
        if parameters != self.detection_parameters:
            self.detection_parameters = parameters
            self.detection_parameters_changed.emit(parameters)

    def set_preview(self, preview: DetectedBlock | None) -> None:
        """Take the disks found in the pattern at `position` with the parameters now in the form."""
        _require_main_thread()
        self.preview = preview
        self.preview_changed.emit(preview)

    def fill_detection(self, block: DetectedBlock) -> None:
        """Pass on a block of detected peaks; the peaks themselves come with `set_peaks`."""
        _require_main_thread()
        self.detection_filled.emit(block)

    def set_peaks(self, peaks: BraggPeaks | None) -> None:
        """Take detected or opened peaks, complete or not; a scan or map of another shape is let go."""
        _require_main_thread()
        if peaks is not None:
            if self.scan_shape not in (None, peaks.scan_shape):
                self.discard_jobs()
                self._set_position(None)
            if self.datacube is not None and self.datacube.scan_shape != peaks.scan_shape:
                self.peaks = None
                self.set_datacube(None)
            if any(old.scan_shape != peaks.scan_shape for old in self.orientation_maps.values()):
                self._forget_peaks_and_maps()
                self.map_changed.emit(None)
        self.peaks = peaks
        self._peaks_fingerprint = None if peaks is None else peaks.fingerprint
        self.peaks_changed.emit(peaks)
        self.steps_changed.emit()

    # --- Index ---------------------------------------------------------------------------------------------

    def set_crystals(self, crystals: tuple[Crystal, ...]) -> None:
        """Choose the crystals to index with."""
        _require_main_thread()
        self.crystals = tuple(crystals)
        self.crystals_changed.emit(self.crystals)
        self.steps_changed.emit()

    def offer_model(self, folder: Path, crystals: tuple[Crystal, ...]) -> None:
        """Index with a model that has just been trained for these crystals, which join those chosen."""
        _require_main_thread()
        self.model_offered.emit(folder)
        self.set_crystals((*self.crystals, *(c for c in crystals if c not in self.crystals)))

    def set_model_needed(self, what: str | None) -> None:
        """Say what the chosen method lacks to index the crystals, or that it lacks nothing."""
        _require_main_thread()
        if what != self._model_needed:
            self._model_needed = what
            self.steps_changed.emit()

    def start_map(self, orientation_map: OrientationMap) -> None:
        """Make an empty or resumed map the current one; blocks go into it with `fill_map`."""
        _require_main_thread()
        self.orientation_maps[orientation_map.method] = orientation_map
        self.current_map = orientation_map
        self.map_started.emit(orientation_map)
        self.steps_changed.emit()

    def fill_map(self, block: IndexedBlock) -> None:
        """Write a block of solutions into the current map."""
        _require_main_thread()
        if self.current_map is None:
            return
        self.current_map.fill(block)
        self.map_filled.emit(self.current_map, block)

    def set_map(self, orientation_map: OrientationMap | None) -> None:
        """Take a finished, stopped or opened map, or choose one of `orientation_maps`, as the current one."""
        _require_main_thread()
        if orientation_map is not None:
            if self.scan_shape not in (None, orientation_map.scan_shape):
                self.peaks, self._peaks_fingerprint = None, None
                self.orientation_maps.clear()
                self.current_map = None
                self.set_datacube(None)
                self.peaks_changed.emit(None)
            self.orientation_maps[orientation_map.method] = orientation_map
        self.current_map = orientation_map
        self.map_changed.emit(orientation_map)
        self.steps_changed.emit()

    def open_map(self, orientation_map: OrientationMap) -> None:
        """Take a map from a file; an indexing run that is under way is discarded."""
        _require_main_thread()
        job = self._running.pop(Step.INDEX, None)
        if job is not None:
            job.discard()
        self.set_map(orientation_map)
        self.mark_exported()

    def mark_exported(self) -> None:
        """Remember that the current map is saved."""
        self._exported = self.current_map
        self.steps_changed.emit()

    # --- position ------------------------------------------------------------------------------------------

    def set_position(self, position: tuple[int, int] | None) -> None:
        """Choose the probe position (y, x) that is looked at; a position outside the scan is ignored."""
        _require_main_thread()
        shape = self.scan_shape
        if position is not None:
            if shape is None or not (0 <= position[0] < shape[0] and 0 <= position[1] < shape[1]):
                return
            position = (int(position[0]), int(position[1]))
        if position != self.position:
            self._set_position(position)

    # --- steps ---------------------------------------------------------------------------------------------

    def begin(self, step: Step, job: RunningJob) -> None:
        """Note that a step runs; a job that this step still had is discarded."""
        _require_main_thread()
        old = self._running.get(step)
        self._running[step] = job
        if old is not None:
            old.discard()
        self.steps_changed.emit()

    def end(self, step: Step, job: RunningJob) -> None:
        """Note that this job of the step has ended; nothing happens if the step has a newer job."""
        _require_main_thread()
        if self._running.get(step) is job:
            del self._running[step]
            self.steps_changed.emit()

    def running_job(self, step: Step) -> RunningJob | None:
        """The job that runs for a step, or None."""
        return self._running.get(step)

    def discard_jobs(self) -> None:
        """Stop every running job and drop whatever it still sends."""
        jobs = list(self._running.values())
        self._running.clear()
        for job in jobs:
            job.discard()
        if jobs:
            self.steps_changed.emit()

    def step_state(self, step: Step) -> StepState:
        """What a step can do now. A stopped step is READY, with `is_partial` true."""
        if step in self._running:
            return StepState.RUNNING
        if self._result_of(step) is not None:
            if self.stale_because(step):
                return StepState.STALE
            if not self.is_partial(step):
                return StepState.DONE
        return StepState.BLOCKED if self.step_needs(step) else StepState.READY

    def step_needs(self, step: Step) -> list[str]:
        """What is still missing before a step can run, in plain words; empty when it can."""
        if step is Step.DETECT:
            if self.datacube is None:
                return ["an open scan"]
            reading = " (being read)" if Step.OPEN in self._running else ": open the scan again"
            if self.mean_pattern is None:
                return [f"the mean pattern{reading}"]
            return [] if self.probe is not None else ["a probe template (being measured)"]
        if step is Step.INDEX:
            needs = (
                ["Bragg peaks"] if self.peaks is None else list(self.peaks.calibration.missing_for_indexing())
            )
            needs += [] if self.crystals else ["a crystal"]
            return needs if self._model_needed is None else [*needs, self._model_needed]
        if step is Step.EXPORT:
            return (
                []
                if self.current_map is not None or self.peaks is not None
                else ["peaks or an orientation map"]
            )
        return []

    def is_partial(self, step: Step) -> bool:
        """Whether the step was stopped and holds results for some positions only; it can be resumed."""
        if step is Step.DETECT:
            return self.peaks is not None and not bool(self.peaks.detected.all())
        if step is Step.INDEX:
            return self.current_map is not None and not bool(self.current_map.done.all())
        return False

    def stale_because(self, step: Step) -> str | None:
        """Why the result of a step no longer fits what it was made from, in plain words; None if it fits."""
        if step is Step.DETECT and self.peaks is not None and self.datacube is not None:
            source = self.peaks.source_fingerprint
            if source is not None and source != self.datacube.fingerprint:
                return "the peaks are of another scan"
        if step is Step.INDEX and self.current_map is not None and self.peaks is not None:
            if self.current_map.peaks_fingerprint not in (None, self._peaks_fingerprint):
                return "the peaks or their calibration changed"
            made_with = [crystal.fingerprint for crystal in self.current_map.crystals]
            if self.crystals and made_with != [crystal.fingerprint for crystal in self.crystals]:
                return "the crystals changed"
        if step is Step.EXPORT and self._exported is not self.current_map:
            return "the map changed after it was saved"
        return None

    # --- private -------------------------------------------------------------------------------------------

    def _result_of(self, step: Step) -> object | None:
        if step is Step.OPEN:
            return self.datacube if self.datacube is not None else self.peaks or self.current_map
        if step is Step.DETECT:
            return self.peaks
        return self.current_map if step is Step.INDEX else self._exported

    def _set_position(self, position: tuple[int, int] | None) -> None:
        self.position = position
        self.preview = None
        self.position_changed.emit(position)
        self.preview_changed.emit(None)

    def _forget_peaks_and_maps(self) -> None:
        self.peaks, self.current_map, self._exported, self._peaks_fingerprint = None, None, None, None
        self.orientation_maps.clear()


_sessions: WeakKeyDictionary[object, Session] = WeakKeyDictionary()


def session_of(napari_viewer: napari.Viewer) -> Session:
    """Return the one Session of a viewer.

    Every docked widget is given a proxy of its own, so the key is the viewer behind it.
    """
    viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)
    session = _sessions.get(viewer)
    if session is None:
        session = _sessions[viewer] = Session()
    return session


def _require_main_thread() -> None:
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(
            "Session was changed from a worker thread; send a record to the main thread instead"
        )
