"""One change of a Session is told once, whatever it touches, and everybody hears of changes in the same order."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from napari_stem_orient.calibration.fit import CalibrationFit
from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.session.session import Session
from napari_stem_orient.session.state import ScanState, Stage
from napari_stem_orient.steps.detect import DetectChoice

CALIBRATION = Calibration(voltage_kv=200, pixel_size_inv_angstrom=0.02, origin_px=(8, 8))


def scan(name: str, calibration: Calibration = CALIBRATION) -> Any:
    cube = SimpleNamespace(
        scan_shape=(1, 2),
        detector_shape=(16, 16),
        calibration=calibration,
        opened_as=name,
        name=name,
        recipe={},
    )
    cube.with_calibration = lambda new: scan(name, new)
    cube.with_recipe = lambda new: SimpleNamespace(**{**vars(cube), "recipe": new})
    return cube


def found(source: str) -> BraggPeaks:
    return BraggPeaks.from_lists(
        [[[0.1, 0, 1]], [[0, 0.1, 1]]], (1, 2), CALIBRATION, source_fingerprint=source
    )


def fit(peaks: BraggPeaks) -> CalibrationFit:
    return CalibrationFit("Pixel size", peaks.calibration.updated(pixel_size_inv_angstrom=0.021), None)


def opened() -> Session:
    session = Session()
    session.set_datacube(scan("A"))
    session.set_peaks(found("A"), of_open_scan=True)
    session.set_position((0, 1))
    return session


CHANGES: list[tuple[str, Callable[[Session], object]]] = [
    ("another scan", lambda session: session.set_datacube(scan("B"))),
    ("peaks of another scan", lambda session: session.open_peaks(found("B"))),
    ("a fit", lambda session: session.apply_calibration(fit(session.peaks))),  # type: ignore[arg-type]
    ("a value entered", lambda session: session.set_calibration(CALIBRATION.updated(scan_step_nm=3))),
    ("a value confirmed", lambda session: session.confirm_calibration("ellipse")),
    ("a mask", lambda session: session.set_detector_mask(np.eye(16, dtype=bool))),
    ("a position", lambda session: session.set_position((0, 0))),
    ("a job", lambda session: session.begin(Stage.DETECT, SimpleNamespace(discard=lambda: None))),
]


@pytest.mark.parametrize(("what", "change"), CHANGES)
def test_every_change_is_told_once(what: str, change: Callable[[Session], object]) -> None:
    session = opened()
    told: list[tuple[ScanState, ScanState]] = []
    session.changed.connect(lambda before, after: told.append((before, after)))
    before = session.state
    change(session)
    assert len(told) == 1
    assert told[0][0] is before
    assert told[0][1] is session.state


def test_what_the_user_decides_about_a_step_is_kept_in_the_state_and_validated() -> None:
    session = opened()
    told: list[ScanState] = []
    session.changed.connect(lambda _, after: told.append(after))
    assert session.state.choice(DetectChoice) == DetectChoice()
    session.choose(DetectChoice, detector="py4DSTEM")
    session.choose(DetectChoice, detector="py4DSTEM")
    assert len(told) == 1
    assert session.state.choice(DetectChoice).given_fields() == {"detector": "py4DSTEM"}
    with pytest.raises(ValueError, match="false_disks_per_pattern"):
        session.choose(DetectChoice, false_disks_per_pattern=100)
    assert session.state.choice(DetectChoice).false_disks_per_pattern is None


def test_what_is_as_it_was_is_not_told() -> None:
    session = opened()
    told: list[object] = []
    session.changed.connect(lambda *_: told.append(1))
    session.set_position((0, 1))
    session.set_calibration(CALIBRATION)
    session.set_four_indices(False)
    session.confirm_calibration("ellipse", False)
    session.undo_calibration()
    assert told == []


def test_a_state_that_was_there_is_never_changed() -> None:
    session = opened()
    before, peaks = session.state, session.peaks
    session.set_datacube(scan("B"))
    assert before.peaks is peaks
    assert before.source.name == "A"
    assert session.state.peaks is None
    with pytest.raises(AttributeError, match="change it with Session"):
        session.peaks = peaks  # type: ignore[misc]


def test_changes_made_by_a_listener_reach_all_others_in_the_order_in_which_they_were_made() -> None:
    session = opened()
    heard: list[tuple[int, int | None]] = []

    def look_elsewhere(before: ScanState, after: ScanState) -> None:
        if after.opening != before.opening:
            session.set_position((0, 1))

    def note(_: ScanState, after: ScanState) -> None:
        heard.append((after.opening, None if after.position is None else after.position[1]))

    session.changed.connect(look_elsewhere)
    session.changed.connect(note)
    opening = session.state.opening
    session.set_datacube(scan("B"))
    assert heard == [(opening + 1, None), (opening + 1, 1)]
