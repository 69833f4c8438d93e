"""Session: what is open, detected and indexed in one viewer, and the signals that say so."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from psygnal import Signal

from napari_stem_orient.gui import steps
from napari_stem_orient.gui.calibrated_state import require_main_thread
from napari_stem_orient.gui.constants_of_python import keep_constants
from napari_stem_orient.gui.scan_state import RunningJob, ScanState
from napari_stem_orient.gui.steps import Step, StepState
from napari_stem_orient.gui.unsaved import SavedResults

if TYPE_CHECKING:
    from pathlib import Path

    import napari
    import numpy as np
    from numpy.typing import NDArray

    from napari_stem_orient.core.bragg_peaks import BraggPeaks, DetectedBlock
    from napari_stem_orient.core.crystal import Crystal
    from napari_stem_orient.core.orientation_map import IndexedBlock, OrientationMap
    from napari_stem_orient.detection.parameters import DetectionParameters
    from napari_stem_orient.detection.probe import ProbeTemplate


__all__ = ["RunningJob", "Session", "Step", "StepState", "session_of"]


class Session(ScanState):
    """The state of one viewer, free of Qt; change it in the main thread only.

    Read the attributes, change them with the methods, and connect bound methods to the signals
    (psygnal keeps bound methods weakly).

    Attributes
    ----------
    datacube, summary, probe, peaks, current_map, position
        What is there now, or None; all of it belongs to one scan.
    identity
        Which scan that is.
    crystals_carried
        Whether the crystals to index with, and the settings, are those that were chosen for the scan before.
    mean_pattern
        (det_y, det_x) float32, over the blocks read so far, or None.
    detection_parameters
        What the forms of the Detect step show, or None before they were suggested.
    detector_mask
        (det_y, det_x) bool, True where a detector pixel is not to be used, or None.
    preview
        Disks of the pattern at `position` with the parameters now in the form, or None.
    orientation_maps
        The last map of each method ("transformer", "template").
    four_indices
        Whether zone axes of hexagonal crystals are shown and written with four indices.
    model_folders
        Folders of models that the user chose or trained, beside the shipped ones.
    peaks_fingerprint, model_needed, exported_map
        Fingerprint of the peaks, what the chosen method lacks, and the map that was saved last, or None.
    open_needs
        What the file that was chosen last needs before it is open ("another file: x.h5 could not be opened"); None
        where what is open is that file.
    saved
        Which results are in a file.
    painter
        Whatever paints the layers of this viewer, kept alive here.
    leaving
        Whatever asks before results are replaced or closed, kept here.
    """

    probe_changed = Signal(object)  # ProbeTemplate | None
    detection_parameters_changed = Signal(object)  # DetectionParameters | None
    detection_filled = Signal(object)  # DetectedBlock
    crystals_changed = Signal(object)  # tuple[Crystal, ...]
    model_offered = Signal(object)  # Path of a model folder that was trained or chosen elsewhere
    four_indices_changed = Signal(bool)
    value_wanted = Signal(object)  # missing_values.Wanted: something that is missing, to be filled in
    map_started = Signal(object)  # OrientationMap: all positions not done, or a resumed one
    map_filled = Signal(object, object)  # OrientationMap, IndexedBlock

    def __init__(self) -> None:
        super().__init__()
        self.crystals: tuple[Crystal, ...] = ()
        self._crystals_chosen = False
        self.painter: object | None = None
        self.four_indices = False
        self.leaving: object | None = None
        self.model_folders: tuple[Path, ...] = ()
        self.model_needed: str | None = None
        self.crystals_carried = False
        self.saved = SavedResults()

    def set_four_indices(self, wanted: bool) -> None:
        """Give zone axes of hexagonal crystals four indices [uvtw] instead of three, or three again."""
        require_main_thread()
        if wanted != self.four_indices:
            self.four_indices = wanted
            self.four_indices_changed.emit(wanted)

    # --- Detect --------------------------------------------------------------------------------------------

    def set_probe(self, probe: ProbeTemplate | None) -> None:
        """Take the probe template that detection will use; its radius is the radius of the disks."""
        require_main_thread()
        self.probe = probe
        self.probe_changed.emit(probe)
        self.steps_changed.emit()

    def set_detection_parameters(self, parameters: DetectionParameters | None) -> None:
        """Take the parameters that the next detection and the preview use."""
        require_main_thread()
        if parameters != self.detection_parameters:
            self.detection_parameters = parameters
            self.detection_parameters_changed.emit(parameters)

    def set_detector_mask(self, mask: NDArray[np.bool_] | None) -> None:
        """Take the detector pixels (det_y, det_x) that are not to be used, or none.

        Raises
        ------
        ValueError
            Where the mask has another shape than the detector of the open scan.
        """
        require_main_thread()
        if mask is not None and self.datacube is not None and mask.shape != self.datacube.detector_shape:
            raise ValueError(
                f"a mask of {' x '.join(map(str, mask.shape))} px does not fit the detector of "
                f"{' x '.join(map(str, self.datacube.detector_shape))} px"
            )
        self.detector_mask = mask
        self.detector_mask_changed.emit(mask)
        self.steps_changed.emit()

    def set_preview(self, preview: DetectedBlock | None) -> None:
        """Take the disks found in the pattern at `position` with the parameters now in the form."""
        require_main_thread()
        self.preview = preview
        self.preview_changed.emit(preview)

    def fill_detection(self, block: DetectedBlock) -> None:
        """Pass on a block of detected peaks; the peaks themselves come with `set_peaks`."""
        require_main_thread()
        self.detection_filled.emit(block)

    def set_peaks(self, peaks: BraggPeaks | None, *, of_open_scan: bool = False) -> None:
        """Take detected or opened peaks, complete or not.

        Parameters
        ----------
        peaks
            Where they are of another scan than the one that is open, that one is let go.
        of_open_scan
            They were detected in the open scan just now. Where their fingerprint is another one all the same, the file
            has changed while it was open, which `stale_because` tells.
        """
        require_main_thread()
        if peaks is not None and not of_open_scan:
            self._make_room_for(peaks)
            self.identity.join(peaks)
        self.peaks = peaks
        self.peaks_fingerprint = None if peaks is None else peaks.fingerprint
        self._begin_history()
        self.peaks_changed.emit(peaks)
        self.steps_changed.emit()

    def open_peaks(self, peaks: BraggPeaks) -> None:
        """Take peaks from a file."""
        self.set_peaks(peaks)
        self.saved.note_opened(peaks)
        self.steps_changed.emit()

    # --- Index ---------------------------------------------------------------------------------------------

    def set_crystals(self, crystals: tuple[Crystal, ...]) -> None:
        """Choose the crystals to index with."""
        require_main_thread()
        self._crystals_chosen = True
        self.crystals_carried = False
        self._take_crystals(crystals)

    def lend_crystals(self, crystals: tuple[Crystal, ...]) -> None:
        """Index with the crystals that the calibration was made with, unless crystals were chosen to index with."""
        require_main_thread()
        if not self._crystals_chosen and crystals and crystals != self.crystals:
            self._take_crystals(crystals)

    @property
    def crystals_lent(self) -> bool:
        """Whether the crystals are those of the calibration, and nobody has chosen them to index with."""
        return bool(self.crystals) and not self._crystals_chosen

    def offer_model(self, folder: Path, crystals: tuple[Crystal, ...]) -> None:
        """Index with a model that has just been trained for these crystals, which join those chosen."""
        require_main_thread()
        self.model_offered.emit(folder)
        self.set_crystals((*self.crystals, *(c for c in crystals if c not in self.crystals)))

    def set_model_folders(self, folders: tuple[Path, ...]) -> None:
        """Remember the folders of models that the user chose or trained."""
        require_main_thread()
        self.model_folders = folders

    def set_model_needed(self, what: str | None) -> None:
        """Say what the chosen method lacks to index the crystals, or that it lacks nothing."""
        require_main_thread()
        if what != self.model_needed:
            self.model_needed = what
            self.steps_changed.emit()

    def start_map(self, orientation_map: OrientationMap) -> None:
        """Make an empty or resumed map the current one; blocks go into it with `fill_map`."""
        require_main_thread()
        self.orientation_maps[orientation_map.method] = orientation_map
        self.current_map = orientation_map
        self._crystals_chosen |= bool(self.crystals)  # to index with what was lent is to choose it
        self.crystals_carried = False
        self.map_started.emit(orientation_map)
        self.steps_changed.emit()

    def fill_map(self, block: IndexedBlock) -> None:
        """Write a block of solutions into the current map."""
        require_main_thread()
        if self.current_map is None:
            return
        self.current_map.fill(block)
        self.map_filled.emit(self.current_map, block)

    def set_map(self, orientation_map: OrientationMap | None) -> None:
        """Take a finished, stopped or opened map, or choose one of `orientation_maps`, as the current one."""
        require_main_thread()
        if orientation_map is not None:
            self._make_room_for(orientation_map)
            self.identity.join(orientation_map)
            orientation_map = self._with_checks(orientation_map)
            self.orientation_maps[orientation_map.method] = orientation_map
        self.current_map = orientation_map
        self.map_changed.emit(orientation_map)
        self.steps_changed.emit()

    def open_map(self, orientation_map: OrientationMap) -> None:
        """Take a map from a file; an indexing run that is under way is discarded.

        Where it is of another scan than the one that is open, that one is let go.
        """
        require_main_thread()
        self.discard_job(Step.INDEX)
        self.set_map(orientation_map)
        if self.current_map is not None:
            self.mark_saved(self.current_map)

    def mark_saved(self, result: BraggPeaks | OrientationMap) -> None:
        """Remember that a result is in a file, as it is now."""
        self.saved.note(result)
        if result is self.current_map:
            self.exported_map = self.current_map
        self.steps_changed.emit()

    # --- steps ---------------------------------------------------------------------------------------------

    def step_state(self, step: Step) -> StepState:
        """What a step can do now. A stopped step is READY, with `is_partial` true."""
        return steps.step_state(self, step)

    def step_needs(self, step: Step) -> list[str]:
        """What is still missing before a step can run, in plain words; empty when it can."""
        return steps.step_needs(self, step)

    def is_partial(self, step: Step) -> bool:
        """Whether the step was stopped and holds results for some positions only; it can be resumed."""
        return steps.is_partial(self, step)

    def stale_because(self, step: Step) -> str | None:
        """Why the result of a step no longer fits what it was made from, in plain words; None if it fits."""
        return steps.stale_because(self, step)

    # --- private -------------------------------------------------------------------------------------------

    def _take_crystals(self, crystals: tuple[Crystal, ...]) -> None:
        self.crystals = tuple(crystals)
        self.crystals_changed.emit(self.crystals)
        self.steps_changed.emit()

    def _another_scan_is_opened(self) -> None:
        """Let go what belongs to the scan before; the crystals stay, as a proposal."""
        super()._another_scan_is_opened()
        self.crystals_carried = bool(self.crystals)


_sessions: WeakKeyDictionary[object, Session] = WeakKeyDictionary()


def session_of(napari_viewer: napari.Viewer) -> Session:
    """Return the one Session of a viewer.

    Every docked widget is given a proxy of its own, so the key is the viewer behind it.
    """
    viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)
    session = _sessions.get(viewer)
    if session is None:
        keep_constants()  # here, because whatever of ours is opened first comes through here
        session = _sessions[viewer] = Session()
    return session
