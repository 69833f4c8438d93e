"""What becomes of a session's state when a scan, peaks or a map are opened: all that is in it belongs to one scan."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_stem_orient.core.merged_calibration import with_gaps_filled
from napari_stem_orient.session.calibrated import with_checks, with_entered, with_history_begun
from napari_stem_orient.session.results import with_current
from napari_stem_orient.session.source import Source
from napari_stem_orient.steps.detect import DetectChoice
from napari_stem_orient.steps.open import entered_when_opened

if TYPE_CHECKING:
    from napari_stem_orient.core.bragg_peaks import BraggPeaks
    from napari_stem_orient.core.calibration import Calibration
    from napari_stem_orient.core.datacube import DataCube
    from napari_stem_orient.core.orientation_map import OrientationMap
    from napari_stem_orient.session.state import ScanState


def with_scan(state: ScanState, datacube: DataCube | None) -> ScanState:
    """The state with a scan open, or with the one that is open closed and its results kept.

    What there is of another scan is let go. The same scan opened again keeps its results, and the calibration in force;
    what that does not know is taken from the file.
    """
    of_this_scan = datacube is None or state.belongs(datacube) is not False
    absent = state.absent if of_this_scan and datacube is not None else None
    if datacube is not None and state.datacube is not None and of_this_scan:
        return _with_scan_again(state, datacube, state.datacube.calibration)
    state = _without_patterns(state) if of_this_scan else without_scan(state)
    source = state.source if datacube is None else state.source.joined_by(datacube)
    known = absent is not None and datacube is not None and absent.record.fingerprint == datacube.opened_as
    kept = absent.kept if absent is not None and known else {}
    return with_history_begun(replace(state, source=source, datacube=datacube, absent=None, **kept))


def _with_scan_again(state: ScanState, datacube: DataCube, in_force: Calibration) -> ScanState:
    """The state with the same scan opened again: once it has been read, it is only read on from where it lies now."""
    known = with_gaps_filled(in_force, datacube.calibration)
    entered = entered_when_opened(datacube.recipe, datacube.calibration, in_force)
    datacube, mask = datacube.with_calibration(in_force).with_recipe(entered), state.detector_mask
    if state.summary is not None:
        return with_entered(replace(state, datacube=datacube), known)
    choices = state.choices
    state = _without_patterns(state)
    state = replace(state, source=state.source.joined_by(datacube), datacube=datacube)
    state = replace(state, detector_mask=mask, choices=choices)
    return with_entered(with_history_begun(state), known)


def with_peaks(state: ScanState, peaks: BraggPeaks | None, *, of_open_scan: bool = False) -> ScanState:
    """The state with detected or opened peaks, complete or not.

    Parameters
    ----------
    state
        Before.
    peaks
        Where they are of another scan than the one that is open, that one is let go.
    of_open_scan
        They were detected in the open scan just now. Where their fingerprint is another one all the same, the file has
        changed while it was open, which `stale_because` tells.
    """
    if peaks is not None and not of_open_scan:
        state = _joined_by(state, peaks)
    return with_history_begun(replace(state, peaks=peaks))


def with_map(state: ScanState, orientation_map: OrientationMap) -> ScanState:
    """The state with a finished, stopped or opened map as the current one; that of another scan is let go."""
    state = _joined_by(state, orientation_map)
    return with_current(state, with_checks(state, orientation_map))


def with_started_map(state: ScanState, orientation_map: OrientationMap) -> ScanState:
    """The state with an empty or resumed map as the current one; to index with crystals that were lent chooses them."""
    choice = state.to_index
    choice = replace(choice, chosen=choice.chosen or bool(choice.crystals), carried=False)
    return with_current(replace(state, to_index=choice), orientation_map)


def without_scan(state: ScanState) -> ScanState:
    """The state with all let go that belongs to the scan that is open; the crystals stay, as a proposal."""
    choice = state.to_index
    state = replace(
        _without_patterns(state),
        source=Source(),
        absent=None,
        peaks=None,
        results={},
        current=None,
        exported_map=None,
        to_index=replace(choice, carried=bool(choice.crystals)),
    )
    return with_history_begun(state)


def _without_patterns(state: ScanState) -> ScanState:
    """The state with no scan open, what was chosen for it gone, and no job left that is about it."""
    detection = state.choice(DetectChoice)
    engine = DetectChoice(detector=detection.detector, device=detection.device)  # not about the scan
    return replace(
        state,
        choices={**state.choices, DetectChoice.step: engine},
        opening=state.opening + 1,
        datacube=None,
        summary=None,
        mean_pattern=None,
        probe=None,
        detection_parameters=None,
        detector_mask=None,
        position=None,
        preview=None,
        runs={},
    )


def _joined_by(state: ScanState, result: BraggPeaks | OrientationMap) -> ScanState:
    """The state with a result counted as of its scan; what is open is let go where the result is of another one."""
    if state.belongs(result) is False:
        state = without_scan(state)
    return replace(state, source=state.source.joined_by(result))
