"""ScanState: the open scan of a Session, the position looked at, its jobs, and what goes when another one is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol
from weakref import WeakSet

from psygnal import Signal

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.gui.calibrated_state import CalibratedState, require_main_thread
from napari_stem_orient.gui.calibration_status import with_unknown_from
from napari_stem_orient.gui.scan_identity import ScanIdentity
from napari_stem_orient.gui.steps import Step

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_stem_orient.core.bragg_peaks import DetectedBlock
    from napari_stem_orient.core.datacube import DataCube, ScanSummary, SummaryBlock
    from napari_stem_orient.detection.parameters import DetectionParameters
    from napari_stem_orient.detection.probe import ProbeTemplate
    from napari_stem_orient.gui.scan_identity import OfScan


class RunningJob(Protocol):
    """What Session needs of a job: that it can be told to stop and say nothing more."""

    def discard(self) -> None:
        """Stop the job and drop whatever it still sends."""


class ScanState(CalibratedState):
    """The part of a Session that is about the open scan; change it in the main thread only.

    All that is in a Session belongs to one scan. Scans are told apart by the fingerprints of their data, see
    `ScanIdentity`: two scans of one shape are two scans, and the same one opened again is the same.

    Attributes
    ----------
    datacube, summary, probe, position
        What is there now, or None.
    identity
        Which scan that is.
    exported_map, open_needs
        The map that was saved last, and what the file chosen last needs to be open; or None.
    """

    another_scan_opens = Signal()  # before anything of the scan that is open is let go
    datacube_changed = Signal(object)  # DataCube | None: another scan is open
    summary_filled = Signal(object)  # SummaryBlock
    summary_changed = Signal(object)  # ScanSummary | None
    detector_mask_changed = Signal(object)  # (det_y, det_x) bool array | None
    preview_changed = Signal(object)  # DetectedBlock of the one pattern at `position` | None
    position_changed = Signal(object)  # (y, x) | None

    def __init__(self) -> None:
        super().__init__()
        self.identity = ScanIdentity()
        self.summary: ScanSummary | None = None
        self.mean_pattern: NDArray[np.float32] | None = None
        self.probe: ProbeTemplate | None = None
        self.detection_parameters: DetectionParameters | None = None
        self.detector_mask: NDArray[np.bool_] | None = None
        self.preview: DetectedBlock | None = None
        self.position: tuple[int, int] | None = None
        self.exported_map: OrientationMap | None = None
        self.open_needs: str | None = None
        self._running: dict[Step, RunningJob] = {}
        self._attended: WeakSet[RunningJob] = WeakSet()

    # --- what is there -------------------------------------------------------------------------------------

    @property
    def scan_shape(self) -> tuple[int, int] | None:
        """(scan_y, scan_x) of whatever is open: the scan, else the peaks, else the map."""
        for source in (self.datacube, self.peaks, self.current_map):
            if source is not None:
                return source.scan_shape
        return None

    def contains(self, position: tuple[int, int]) -> bool:
        """Whether a probe position (y, x) lies in what is open."""
        shape = self.scan_shape
        return shape is not None and 0 <= position[0] < shape[0] and 0 <= position[1] < shape[1]

    def belongs(self, something: OfScan) -> bool | None:
        """Whether a scan or a result is of the scan that is open, if any; None where nothing tells."""
        if self.scan_shape is None:
            return True
        if something.scan_shape != self.scan_shape:
            return False
        return True if self._goes_with_results(something) else self.identity.has(something)

    def _goes_with_results(self, something: OfScan) -> bool:
        """Whether a map was made from the very peaks that are here, or the peaks are those of a map that is here."""
        maps = self.orientation_maps.values()
        if isinstance(something, OrientationMap):
            made_from, source = something.peaks_fingerprint, something.source_fingerprint
            of_peaks = made_from is not None and made_from == self.peaks_fingerprint
            same_source = (
                self.peaks is not None and source is not None and source == self.peaks.source_fingerprint
            )
            return of_peaks or same_source or any(each is something for each in maps)
        if isinstance(something, BraggPeaks) and maps:
            return any(each.peaks_fingerprint == something.fingerprint for each in maps)
        return False

    def count_as_open_scan(self, result: BraggPeaks | OrientationMap) -> None:
        """Count a result as of the open scan in spite of its fingerprint: the user has said that it is."""
        require_main_thread()
        if result.scan_shape != self.scan_shape:
            raise ValueError(
                f"a result on a scan of {' x '.join(map(str, result.scan_shape))} positions is not of the open scan; "
                "open it alone"
            )
        self.identity.join(result)

    # --- opening -------------------------------------------------------------------------------------------

    def set_datacube(self, datacube: DataCube | None) -> None:
        """Open a scan, or close the one that is open and keep its results.

        What there is of another scan is let go, and running jobs are discarded. The same scan opened again keeps its
        results, and the calibration in force; what that does not know is taken from the file.
        """
        require_main_thread()
        of_this_scan = datacube is None or self.belongs(datacube) is not False
        again = datacube is not None and self.datacube is not None and of_this_scan
        known = None
        if datacube is not None and self.datacube is not None and again:
            known = with_unknown_from(self.datacube.calibration, datacube.calibration)
            datacube = datacube.with_calibration(self.datacube.calibration)
            if self.summary is not None:
                self._read_on_from(datacube)
                self.set_calibration(known)
                return
        mask = self.detector_mask if again else None
        had_results = self.peaks is not None or bool(self.orientation_maps)
        self.discard_jobs()
        if not of_this_scan:
            self._another_scan_is_opened()
        self._forget_scan()
        self.datacube, self.detector_mask = datacube, mask
        if datacube is not None:
            self.identity.join(datacube)
        self._set_position(None)
        self._begin_history()
        self.datacube_changed.emit(datacube)
        self.detector_mask_changed.emit(mask)
        if had_results and not of_this_scan:
            self.peaks_changed.emit(None)
            self.map_changed.emit(None)
        self.steps_changed.emit()
        if known is not None:
            self.set_calibration(known)

    def _read_on_from(self, datacube: DataCube) -> None:
        """Read from the file as it was opened last, for it may lie elsewhere by now; all that was made of it stays."""
        self.datacube = datacube
        self.summary_changed.emit(self.summary)
        self.steps_changed.emit()

    def _make_room_for(self, result: BraggPeaks | OrientationMap) -> None:
        """Let go what is open where a result is of another scan, and tell whoever shows it."""
        if self.belongs(result) is not False:
            return
        self._another_scan_is_opened()
        self._set_position(None)
        self._begin_history()
        self.datacube_changed.emit(None)
        self.detector_mask_changed.emit(None)
        self.peaks_changed.emit(None)
        self.map_changed.emit(None)

    def _another_scan_is_opened(self) -> None:
        """Let go all that belongs to the scan that is open, whatever its shape, and nothing else.

        Every way to another scan leads through here: a scan, peaks or a map that is opened.
        """
        self.another_scan_opens.emit()
        self.discard_jobs()
        self._forget_scan()
        self.peaks, self.current_map, self.exported_map, self.peaks_fingerprint = None, None, None, None
        self.orientation_maps.clear()
        self.identity.forget()

    def _forget_scan(self) -> None:
        self.datacube, self.summary, self.mean_pattern = None, None, None
        self.probe, self.detection_parameters, self.detector_mask = None, None, None

    def set_open_needs(self, what: str | None) -> None:
        """Say that the file chosen last is not open, and what it needs, while the scan before stays open."""
        require_main_thread()
        if what != self.open_needs:
            self.open_needs = what
            self.steps_changed.emit()

    def fill_summary(self, block: SummaryBlock) -> None:
        """Take a block of virtual-image values, and the mean pattern so far."""
        require_main_thread()
        first = self.mean_pattern is None
        self.mean_pattern = block.mean_pattern
        self.summary_filled.emit(block)
        if first:
            self.steps_changed.emit()

    def set_summary(self, summary: ScanSummary | None) -> None:
        """Take the complete virtual images and patterns of the scan."""
        require_main_thread()
        self.summary = summary
        if summary is not None:
            self.mean_pattern = summary.mean_pattern
        self.summary_changed.emit(summary)
        self.steps_changed.emit()

    # --- position ------------------------------------------------------------------------------------------

    def set_position(self, position: tuple[int, int] | None) -> None:
        """Choose the probe position (y, x) that is looked at; a position outside the scan is ignored."""
        require_main_thread()
        if position is not None:
            if not self.contains(position):
                return
            position = (int(position[0]), int(position[1]))
        if position != self.position:
            self._set_position(position)

    def _set_position(self, position: tuple[int, int] | None) -> None:
        self.position = position
        self.preview = None
        self.position_changed.emit(position)
        self.preview_changed.emit(None)

    # --- jobs ----------------------------------------------------------------------------------------------

    def begin(self, step: Step, job: RunningJob) -> None:
        """Note that a step runs; a job that this step still had is discarded."""
        require_main_thread()
        if step is Step.OPEN:
            self.open_needs = None
        old = self._running.get(step)
        self._running[step] = job
        if old is not None:
            old.discard()
        self.steps_changed.emit()

    def end(self, step: Step, job: RunningJob) -> None:
        """Note that this job of the step has ended; nothing happens if the step has a newer job."""
        require_main_thread()
        if self._running.get(step) is job:
            del self._running[step]
            self.steps_changed.emit()

    def running_job(self, step: Step) -> RunningJob | None:
        """The job that runs for a step, or None."""
        return self._running.get(step)

    def attend(self, job: RunningJob) -> None:
        """Discard a job when another scan is opened, though no step waits for it: what it finds is about this one."""
        require_main_thread()
        self._attended.add(job)

    def discard_job(self, step: Step) -> None:
        """Stop the running job of a step, if it has one, and drop whatever it still sends."""
        job = self._running.pop(step, None)
        if job is not None:
            job.discard()
            self.steps_changed.emit()

    def discard_jobs(self) -> None:
        """Stop every job that is about the open scan and drop whatever it still sends."""
        jobs = [*self._running.values(), *self._attended]
        self._running.clear()
        self._attended.clear()
        for job in jobs:
            job.discard()
        if jobs:
            self.steps_changed.emit()
