"""The rules by which a session tells what each stage needs and can do: pure functions of its state."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from napari_stem_orient.session.state import Stage

if TYPE_CHECKING:
    from napari_stem_orient.session.state import ScanState

#: What the rules look at: where none of it has changed, no stage has.
RULE_FIELDS = (
    "opening",
    "datacube",
    "has_mean_pattern",
    "summary",
    "open_needs",
    "probe",
    "detector_mask",
    "peaks",
    "history",
    "calibration_skipped",
    "to_index",
    "model_needed",
    "results",
    "current",
    "exported_map",
    "saved",
    "runs",
)


class StageState(Enum):
    """What a stage can do now; the value is the word shown to the user."""

    BLOCKED = "waiting"
    READY = "ready"
    RUNNING = "running"
    DONE = "done"
    STALE = "out of date"


def stage_state(state: ScanState, stage: Stage) -> StageState:
    """What a stage can do now. A stopped stage is READY, with `is_partial` true."""
    if stage in state.runs:
        return StageState.RUNNING
    if _has_result(state, stage):
        if stale_because(state, stage):
            return StageState.STALE
        if not is_partial(state, stage) and not _open_lacks(state, stage):
            return StageState.DONE
    return StageState.BLOCKED if stage_needs(state, stage) else StageState.READY


def stage_needs(state: ScanState, stage: Stage) -> list[str]:
    """What is still missing before a stage can run, or Open is done, in plain words; empty when nothing is."""
    if stage is Stage.OPEN:
        return _open_lacks(state, stage)
    if stage is Stage.DETECT:
        return _detection_needs(state)
    if stage is Stage.CALIBRATE:
        return [] if state.peaks is not None else ["Bragg peaks"]
    if stage is Stage.INDEX:
        peaks = state.peaks
        needs = ["Bragg peaks"] if peaks is None else list(peaks.calibration.missing_for_indexing())
        needs += [] if state.crystals else ["a crystal"]
        return needs if state.model_needed is None else [*needs, state.model_needed]
    if stage is Stage.EXPORT and state.current_map is None and state.peaks is None:
        return ["peaks or an orientation map"]
    return []


def is_partial(state: ScanState, stage: Stage) -> bool:
    """Whether the stage was stopped and holds results for some positions only; it can be resumed."""
    if stage is Stage.DETECT:
        return state.peaks is not None and not bool(state.peaks.detected.all())
    if stage is Stage.INDEX:
        current = state.current_map
        return current is not None and not bool(current.done.all())
    return False


def stale_because(state: ScanState, stage: Stage) -> str | None:
    """Why the result of a stage no longer fits what it was made from, in plain words; None if it fits."""
    peaks, current = state.peaks, state.current_map
    if stage is Stage.DETECT and _file_has_changed(state):
        return "the file of the scan has changed since it was opened: open it again"
    if stage is Stage.INDEX and current is not None and peaks is not None:
        if current.peaks_fingerprint not in (None, state.peaks_fingerprint):
            return "the peaks or their calibration changed"
        made_with = [crystal.fingerprint for crystal in current.crystals]
        if state.crystals and made_with != [crystal.fingerprint for crystal in state.crystals]:
            return "the crystals changed"
    if stage is Stage.EXPORT and state.exported_map is not current:
        return "the map changed after it was saved"
    return None


def calibration_settled(state: ScanState) -> bool:
    """Whether something was fitted, confirmed or skipped; where the direct beam is comes with the peaks."""
    checked = () if state.peaks is None else state.peaks.calibration.checked
    fitted = any(change.measured for change in state.history.done)
    return state.calibration_skipped or fitted or any(quantity != "origin" for quantity in checked)


def doubts(state: ScanState) -> str:
    """Say which results nobody can tell to be of the open scan, because their files do not say; empty for none."""
    peaks, current = state.peaks, state.current_map
    if state.datacube is None:
        return ""
    unsure = ["the Bragg peaks"] if peaks is not None and peaks.source_fingerprint is None else []
    if current is not None and current.source_fingerprint is None:
        of_peaks = peaks is not None and current.peaks_fingerprint == state.peaks_fingerprint
        unsure += [] if of_peaks else ["the orientation map"]
    if not unsure:
        return ""
    verb, their = (
        ("were", "their files do") if len(unsure) > 1 or "peaks" in unsure[0] else ("was", "its file does")
    )
    return f"Whether {' and '.join(unsure)} {verb} made from this scan, {their} not say: only the scan shape agrees."


def _open_lacks(state: ScanState, stage: Stage) -> list[str]:
    """What Open still has to be told of the file chosen last, or of the scan that is open."""
    if stage is not Stage.OPEN:
        return []
    if state.open_needs is not None:
        return [state.open_needs]
    calibration = state.calibration
    if calibration is None or (state.datacube is None and state.peaks is None):
        return []  # a map alone has a calibration that nobody can change
    return list(calibration.missing_for_indexing())


def _file_has_changed(state: ScanState) -> bool:
    """Whether disks were detected in another state of the file than the one that was opened."""
    if state.datacube is None or state.peaks is None:
        return False
    return state.source.has(state.peaks) is False


def _detection_needs(state: ScanState) -> list[str]:
    if state.datacube is None:
        return ["an open scan"]
    if state.mean_pattern is None:
        being_read = Stage.OPEN in state.runs
        return [f"the mean pattern{' (being read)' if being_read else ': open the scan again'}"]
    return [] if state.probe is not None else ["a probe template (being measured)"]


def _has_result(state: ScanState, stage: Stage) -> bool:
    if stage is Stage.OPEN:
        return state.scan_shape is not None
    if stage is Stage.DETECT:
        return state.peaks is not None
    if stage is Stage.CALIBRATE:
        return state.peaks is not None and calibration_settled(state)
    return (state.current_map if stage is Stage.INDEX else state.exported_map) is not None
