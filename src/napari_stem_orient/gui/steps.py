"""Steps: the way from a file to maps, and the rules by which a Session tells what each step needs and can do."""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_stem_orient.gui.session import Session


class Step(StrEnum):
    """The five steps from a file to maps, in order; no other waits for Calibrate."""

    OPEN = "Open"
    DETECT = "Detect"
    CALIBRATE = "Calibrate"
    INDEX = "Index"
    EXPORT = "Export"


class StepState(Enum):
    """What a step can do now; the value is the word shown to the user."""

    BLOCKED = "waiting"
    READY = "ready"
    RUNNING = "running"
    DONE = "done"
    STALE = "out of date"


def step_state(session: Session, step: Step) -> StepState:
    """What a step can do now. A stopped step is READY, with `is_partial` true."""
    if session.running_job(step) is not None:
        return StepState.RUNNING
    if _has_result(session, step):
        if stale_because(session, step):
            return StepState.STALE
        if not is_partial(session, step) and not _open_lacks(session, step):
            return StepState.DONE
    return StepState.BLOCKED if step_needs(session, step) else StepState.READY


def step_needs(session: Session, step: Step) -> list[str]:
    """What is still missing before a step can run, or Open is done, in plain words; empty when nothing is."""
    if step is Step.OPEN:
        return _open_lacks(session, step)
    if step is Step.DETECT:
        return _detection_needs(session)
    if step is Step.CALIBRATE:
        return [] if session.peaks is not None else ["Bragg peaks"]
    if step is Step.INDEX:
        peaks = session.peaks
        needs = ["Bragg peaks"] if peaks is None else list(peaks.calibration.missing_for_indexing())
        needs += [] if session.crystals else ["a crystal"]
        return needs if session.model_needed is None else [*needs, session.model_needed]
    if step is Step.EXPORT and session.current_map is None and session.peaks is None:
        return ["peaks or an orientation map"]
    return []


def is_partial(session: Session, step: Step) -> bool:
    """Whether the step was stopped and holds results for some positions only; it can be resumed."""
    if step is Step.DETECT:
        return session.peaks is not None and not bool(session.peaks.detected.all())
    if step is Step.INDEX:
        return session.current_map is not None and not bool(session.current_map.done.all())
    return False


def stale_because(session: Session, step: Step) -> str | None:
    """Why the result of a step no longer fits what it was made from, in plain words; None if it fits."""
    peaks, current = session.peaks, session.current_map
    if step is Step.DETECT and _file_has_changed(session):
        return "the file of the scan has changed since it was opened: open it again"
    if step is Step.INDEX and current is not None and peaks is not None:
        if current.peaks_fingerprint not in (None, session.peaks_fingerprint):
            return "the peaks or their calibration changed"
        made_with = [crystal.fingerprint for crystal in current.crystals]
        if session.crystals and made_with != [crystal.fingerprint for crystal in session.crystals]:
            return "the crystals changed"
    if step is Step.EXPORT and session.exported_map is not current:
        return "the map changed after it was saved"
    return None


def _open_lacks(session: Session, step: Step) -> list[str]:
    """What Open still has to be told of the file chosen last, or of the scan that is open."""
    if step is not Step.OPEN:
        return []
    if session.open_needs is not None:
        return [session.open_needs]
    calibration = session.calibration
    if calibration is None or (session.datacube is None and session.peaks is None):
        return []  # a map alone has a calibration that nobody can change
    return list(calibration.missing_for_indexing())


def _file_has_changed(session: Session) -> bool:
    """Whether disks were detected in another state of the file than the one that was opened."""
    if session.datacube is None or session.peaks is None:
        return False
    return session.identity.has(session.peaks) is False


def _detection_needs(session: Session) -> list[str]:
    if session.datacube is None:
        return ["an open scan"]
    if session.mean_pattern is None:
        being_read = session.running_job(Step.OPEN) is not None
        return [f"the mean pattern{' (being read)' if being_read else ': open the scan again'}"]
    return [] if session.probe is not None else ["a probe template (being measured)"]


def _has_result(session: Session, step: Step) -> bool:
    if step is Step.OPEN:
        return session.scan_shape is not None
    if step is Step.DETECT:
        return session.peaks is not None
    if step is Step.CALIBRATE:
        return session.peaks is not None and session.calibration_settled
    return (session.current_map if step is Step.INDEX else session.exported_map) is not None
