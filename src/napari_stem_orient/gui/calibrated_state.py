"""CalibratedState: scan, peaks and maps of a Session with the calibration in force, and the steps that led to it."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_stem_orient.gui.calibration_history import CalibrationHistory, CalibrationState, CalibrationStep
from napari_stem_orient.gui.calibration_status import (
    carried_over,
    with_check,
    with_measured_origin,
    with_unknown_from,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_stem_orient.calibration.fit import CalibrationFit
    from napari_stem_orient.core.bragg_peaks import BraggPeaks
    from napari_stem_orient.core.calibration import Calibration, Quantity
    from napari_stem_orient.core.datacube import DataCube
    from napari_stem_orient.core.orientation_map import OrientationMap


class CalibratedState:
    """The part of a Session that is about calibration; change it in the main thread only.

    Attributes
    ----------
    datacube, peaks, current_map
        What is there now, or None.
    orientation_maps
        The last map of each method ("transformer", "template").
    peaks_fingerprint
        Fingerprint of the peaks, None where there are none.
    history
        What was done to the calibration of the peaks; read it, and change it with the methods.
    """

    peaks_changed = Signal(object)  # BraggPeaks | None: other peaks, or the same with another calibration
    calibration_changed = Signal(object)  # Calibration
    calibration_steps_changed = Signal()  # a step was taken, undone or redone, or there are other peaks
    map_changed = Signal(object)  # OrientationMap | None: another map is current, or this one is complete
    steps_changed = Signal()  # a state, or what a step needs, may have changed

    def __init__(self) -> None:
        self.datacube: DataCube | None = None
        self.peaks: BraggPeaks | None = None
        self.orientation_maps: dict[str, OrientationMap] = {}
        self.current_map: OrientationMap | None = None
        self.peaks_fingerprint: str | None = None
        self.history = CalibrationHistory()
        self._calibration_skipped = False

    @property
    def calibration(self) -> Calibration | None:
        """The calibration in force: of the scan, else of the peaks, else of the map."""
        for source in (self.datacube, self.peaks, self.current_map):
            if source is not None:
                return source.calibration
        return None

    def set_calibration(self, calibration: Calibration) -> None:
        """Apply a calibration to scan and peaks; maps made with another one become stale.

        What the user changes by hand no longer counts as calibrated, unless the new calibration says that it does.
        The direct beam stays where the peaks have it: it was measured with them. Of a scan and peaks that are
        calibrated differently, both get what changed, and keep the rest.
        """
        require_main_thread()
        before = self.calibration
        if calibration == before:
            return
        if before is not None:
            calibration = calibration.unchecked_where_changed(before)
        peaks = self.peaks
        if peaks is None:
            if self.datacube is not None:
                self.datacube = self.datacube.with_calibration(calibration)
            self.calibration_changed.emit(calibration)
            self.steps_changed.emit()
            return
        of_peaks = carried_over(peaks.calibration, calibration, before)
        peaks = peaks.with_calibration(with_measured_origin(of_peaks, peaks.calibration))
        self._take_step("Entered", peaks, scan=calibration)

    def apply_calibration(self, fit: CalibrationFit, *, applied: BraggPeaks | None = None) -> None:
        """Apply what a step of the calibration has found to scan and peaks; nothing happens without peaks.

        Parameters
        ----------
        fit
            What was found.
        applied
            The present peaks with it, where they have been computed already: for millions of peaks that takes longer
            than a window should wait.
        """
        require_main_thread()
        if self.peaks is not None:
            peaks = fit.applied_to(self.peaks) if applied is None else applied
            scan = peaks.calibration
            if self.datacube is not None:
                scan = with_unknown_from(scan, self.datacube.calibration)
            self._take_step(fit.title, peaks, scan=scan, lines=fit.lines, note=fit.note)

    def restore_calibration(
        self,
        calibration: Calibration,
        *,
        origin_px: NDArray[np.float32] | None,
        scan: Calibration | None,
    ) -> None:
        """Give the peaks, and the scan, what they had been calibrated with before the scan was opened again.

        Parameters
        ----------
        calibration, origin_px
            Of the peaks; origin_px (n_positions, 2) float32, row and column of the direct beam in px, or None.
        scan
            Of the scan; None where it was that of the peaks.
        """
        require_main_thread()
        if self.peaks is not None:
            state = CalibrationState(scan, calibration, origin_px)
            self._take_step("As it was before", state.applied_to(self.peaks), scan=scan or calibration)

    def confirm_calibration(self, quantity: Quantity, confirmed: bool = True) -> None:
        """Count a quantity of the peaks' calibration as calibrated, or no longer."""
        require_main_thread()
        if self.peaks is None or confirmed is (quantity in self.peaks.calibration.checked):
            return
        # not computed anew: peaks that were opened shall keep their q, and their maps, to the last digit
        peaks = replace(self.peaks, calibration=with_check(self.peaks.calibration, quantity, confirmed))
        scan = None if self.datacube is None else self.datacube.calibration
        title = f"{quantity.capitalize()} {'confirmed' if confirmed else 'not confirmed'}"
        self._take_step(title, peaks, scan=None if scan is None else with_check(scan, quantity, confirmed))

    def undo_calibration(self) -> None:
        """Give scan and peaks back the calibration and the origins that they had before the last step."""
        require_main_thread()
        self._restore(self.history.undo())

    def redo_calibration(self) -> None:
        """Take again the step that was undone last."""
        require_main_thread()
        self._restore(self.history.redo())

    def skip_calibration(self) -> None:
        """Go on with the calibration as it is."""
        require_main_thread()
        self._calibration_skipped = True
        self.steps_changed.emit()

    @property
    def calibration_steps(self) -> tuple[str, ...]:
        """What was done to the calibration since the peaks were detected or opened, in titles."""
        return tuple(step.title for step in self.history.done)

    @property
    def calibration_settled(self) -> bool:
        """Whether something was fitted, confirmed or skipped; where the direct beam is comes with the peaks."""
        checked = () if self.peaks is None else self.peaks.calibration.checked
        fitted = any(step.lines for step in self.history.done)
        return self._calibration_skipped or fitted or any(quantity != "origin" for quantity in checked)

    def _begin_history(self) -> None:
        self.history.begin(self.peaks, scan=None if self.datacube is None else self.datacube.calibration)
        self._calibration_skipped = False
        self.calibration_steps_changed.emit()

    def _take_step(
        self,
        title: str,
        peaks: BraggPeaks,
        *,
        scan: Calibration | None,
        lines: tuple[tuple[str, str], ...] = (),
        note: str = "",
    ) -> None:
        as_at_first = self.history.start is not None and self.history.start.has_q_of(peaks)
        state = CalibrationState(
            scan, peaks.calibration, peaks.origin_px, peaks=peaks if as_at_first else None
        )
        self.history.add(CalibrationStep(title, state, lines, note))
        self._show(peaks, scan)

    def _restore(self, state: CalibrationState | None) -> None:
        if state is not None and self.peaks is not None:
            self._show(state.applied_to(self.peaks), state.scan)

    def _show(self, peaks: BraggPeaks, scan: Calibration | None) -> None:
        """Put the same peaks, and the scan, with another calibration in the place of those before."""
        if self.datacube is not None and scan is not None:
            self.datacube = self.datacube.with_calibration(scan)
        self.peaks, self.peaks_fingerprint = peaks, peaks.fingerprint
        self.calibration_changed.emit(self.calibration)
        self.peaks_changed.emit(peaks)
        self.calibration_steps_changed.emit()
        self._bring_maps_in_line()
        self.steps_changed.emit()

    def _bring_maps_in_line(self) -> None:
        """Let the maps of these very peaks know what of the calibration is confirmed by now."""
        before = self.current_map
        for method, orientation_map in self.orientation_maps.items():
            self.orientation_maps[method] = self._with_checks(orientation_map)
            if orientation_map is before:
                self.current_map = self.orientation_maps[method]
        if self.current_map is not before:
            self.map_changed.emit(self.current_map)

    def _with_checks(self, orientation_map: OrientationMap) -> OrientationMap:
        """The map with the calibration of its peaks, of which more may have been confirmed since it was made."""
        peaks = self.peaks
        if peaks is None or orientation_map.peaks_fingerprint != self.peaks_fingerprint:
            return orientation_map
        if orientation_map.calibration == peaks.calibration:
            return orientation_map
        return replace(orientation_map, calibration=peaks.calibration)


def require_main_thread() -> None:
    """Refuse to go on in the thread of a worker."""
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(
            "Session was changed from a worker thread; send a record to the main thread instead"
        )
