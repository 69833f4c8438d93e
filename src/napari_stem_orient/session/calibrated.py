"""What becomes of a session's state when its calibration is entered, fitted, confirmed, undone or redone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.merged_calibration import (
    changed_between,
    following_change,
    with_check,
    with_gaps_filled,
)
from napari_stem_orient.session.calibration_state import CalibrationState
from napari_stem_orient.session.history import Change, History
from napari_stem_orient.session.state import MapResult
from napari_stem_orient.steps.calibrate import CalibrateChoice, confirmed_title
from napari_stem_orient.steps.open import GivenCalibration, entered_when_opened
from napari_stem_orient.steps.recorded import recorded

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_stem_orient.calibration.fit import CalibrationFit
    from napari_stem_orient.calibration.measured import Doubt, Measured
    from napari_stem_orient.core.calibration import Quantity
    from napari_stem_orient.core.orientation_map import OrientationMap
    from napari_stem_orient.session.state import ScanState


def with_history_begun(state: ScanState) -> ScanState:
    """The state with nothing done to its calibration yet: other peaks, or another scan, are there."""
    peaks, scan = state.peaks, None if state.datacube is None else state.datacube.calibration
    start = (
        None
        if peaks is None
        else CalibrationState(scan, peaks.calibration, peaks.origin_px, peaks, peaks.recipe)
    )
    return replace(state, history=History(start), calibration_skipped=False)


def with_entered(state: ScanState, calibration: Calibration) -> ScanState:
    """The state after the user has entered a calibration; maps made with another one become stale.

    What the user changes by hand no longer counts as calibrated, unless the new calibration says that it does. The
    direct beam stays where the peaks have it: it was measured with them. Of a scan and peaks that are calibrated
    differently, both get what changed, and keep the rest.
    """
    before, peaks = state.calibration, state.peaks
    if calibration == before:
        return state
    if before is not None:
        calibration = calibration.unchecked_where_changed(before)
    if peaks is None:
        cube = state.datacube
        if cube is None:
            return state
        entered = entered_when_opened(cube.recipe, cube.calibration, calibration)
        return replace(state, datacube=cube.with_calibration(calibration).with_recipe(entered))
    choice = _entering(before, calibration)
    peaks = peaks.with_calibration(following_change(peaks.calibration, before, calibration))
    peaks = peaks.with_recipe(recorded(peaks.recipe, choice))
    return _with_change(state, "Entered", peaks, scan=calibration, choice=choice)


def _entering(before: Calibration | None, after: Calibration) -> CalibrateChoice:
    """What enters again what has changed; a pixel size that follows from an angle is not entered beside it."""
    before = before or Calibration()
    fields = changed_between(before, after)
    if fields & {"pixel_angle_mrad", "voltage_kv"} and after.pixel_angle_mrad is not None:
        fields -= {"pixel_size_inv_angstrom"}
    return CalibrateChoice(
        given=GivenCalibration({name: getattr(after, name) for name in sorted(fields)}),
        confirmed=tuple(q for q in after.checked if q not in before.checked),
        unconfirmed=tuple(
            q for q in before.checked if q not in after.checked and not after.differs_in(before, q)
        ),
        fits=(),
    )


def with_fit(
    state: ScanState,
    fit: CalibrationFit,
    *,
    applied: BraggPeaks | None = None,
    choice: CalibrateChoice | None = None,
) -> ScanState:
    """The state after a fit has found something; the same without peaks.

    Parameters
    ----------
    state
        Before.
    fit
        What was found.
    applied
        The present peaks with it, and with the choice in their recipe, where a job has made them already: for millions
        of peaks that takes longer than a window should wait.
    choice
        What the fit was asked for with.
    """
    if state.peaks is None:
        return state
    peaks = fit.applied_to(state.peaks) if applied is None else applied
    if applied is None and choice is not None:
        peaks = peaks.with_recipe(recorded(state.peaks.recipe, choice))
    scan = peaks.calibration
    if state.datacube is not None:
        scan = with_gaps_filled(scan, state.datacube.calibration)
    return _with_change(
        state, fit.title, peaks, scan=scan, measured=fit.measured, doubts=fit.doubts, choice=choice
    )


def with_restored(
    state: ScanState,
    calibration: Calibration,
    *,
    origin_px: NDArray[np.float32] | None,
    scan: Calibration | None,
    recipe: Mapping[str, Any],
) -> ScanState:
    """The state with what peaks and scan had been calibrated with before the scan was opened again.

    Parameters
    ----------
    state
        Before.
    calibration, origin_px
        Of the peaks; origin_px (n_positions, 2) float32, row and column of the direct beam in px, or None.
    scan
        Of the scan; None where it was that of the peaks.
    recipe
        What was decided until then; empty where nobody knows.
    """
    if state.peaks is None:
        return state
    before = CalibrationState(scan, calibration, origin_px, recipe=recipe or state.peaks.recipe)
    peaks = before.applied_to(state.peaks)
    return _with_change(state, "As it was before", peaks, scan=scan or calibration)


def with_confirmed(state: ScanState, quantity: Quantity, confirmed: bool) -> ScanState:
    """The state in which a quantity of the peaks' calibration counts as calibrated, or no longer."""
    if state.peaks is None or confirmed is (quantity in state.peaks.calibration.checked):
        return state
    # peaks that were opened shall keep their q, and their maps, to the last digit
    peaks = state.peaks.with_checked(with_check(state.peaks.calibration, quantity, confirmed))
    scan = None if state.datacube is None else with_check(state.datacube.calibration, quantity, confirmed)
    choice = CalibrateChoice(**{"confirmed" if confirmed else "unconfirmed": (quantity,)}, fits=())
    peaks = peaks.with_recipe(recorded(peaks.recipe, choice))
    return _with_change(state, confirmed_title(choice), peaks, scan=scan, choice=choice)


def with_undone(state: ScanState) -> ScanState:
    """The state with the calibration and the origins that scan and peaks had before the last change."""
    return _with_history(state, state.history.undo())


def with_redone(state: ScanState) -> ScanState:
    """The state in which the change that was undone last is done again."""
    return _with_history(state, state.history.redo())


def with_checks(state: ScanState, orientation_map: OrientationMap) -> OrientationMap:
    """A map with the calibration of its peaks, of which more may have been confirmed since it was made."""
    peaks = state.peaks
    if peaks is None or orientation_map.peaks_fingerprint != state.peaks_fingerprint:
        return orientation_map
    if orientation_map.calibration == peaks.calibration:
        return orientation_map
    return replace(orientation_map, calibration=peaks.calibration)


def _with_change(
    state: ScanState,
    title: str,
    peaks: BraggPeaks,
    *,
    scan: Calibration | None,
    measured: tuple[Measured, ...] = (),
    doubts: tuple[Doubt, ...] = (),
    choice: CalibrateChoice | None = None,
) -> ScanState:
    start = state.history.start
    as_at_first = start is not None and start.has_q_of(peaks)
    after = CalibrationState(
        scan, peaks.calibration, peaks.origin_px, peaks=peaks if as_at_first else None, recipe=peaks.recipe
    )
    history = state.history.with_change(Change(title, after, measured, doubts, choice))
    return _with_calibrated(replace(state, history=history), peaks, scan)


def _with_history(state: ScanState, history: History[CalibrationState]) -> ScanState:
    if history is state.history or history.now is None or state.peaks is None:
        return state
    now = history.now
    return _with_calibrated(replace(state, history=history), now.applied_to(state.peaks), now.scan)


def _with_calibrated(state: ScanState, peaks: BraggPeaks, scan: Calibration | None) -> ScanState:
    """The same peaks, and the scan, with another calibration in the place of those before; their maps know of it."""
    cube = state.datacube
    if cube is not None and scan is not None:
        # peaks that are detected from now on begin with it: their recipe has to say so
        entered = entered_when_opened(cube.recipe, cube.calibration, scan)
        cube = cube.with_calibration(scan).with_recipe(entered)
    state = replace(state, datacube=cube, peaks=peaks)
    results = {}
    for key, result in state.results.items():
        checked = with_checks(state, result.orientation_map)
        results[key] = result if checked is result.orientation_map else MapResult(checked)
    changed = any(results[key] is not result for key, result in state.results.items())
    return replace(state, results=results) if changed else state
