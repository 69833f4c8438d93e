"""What a Session promises about the calibration: changes that can be undone exactly, and what counts as calibrated."""

from __future__ import annotations

import numpy as np
import pytest

from inspect_scene import PLAIN_CALIBRATION, Scene, make_scene
from napari_stem_orient.calibration.fit import CalibrationFit
from napari_stem_orient.calibration.measured import Measurand, Measured
from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.gui.calibrate.status import Status, known_text, status_of
from napari_stem_orient.session.rules import StageState
from napari_stem_orient.session.session import Session
from napari_stem_orient.session.state import Stage
from watched import watched


@pytest.fixture(scope="module")
def scene() -> Scene:
    return make_scene((4, 6), PLAIN_CALIBRATION)


@pytest.fixture
def session(scene: Scene) -> Session:
    session = Session()
    session.set_datacube(scene.datacube)
    session.set_peaks(scene.peaks)
    return session


def peaks_of(session: Session) -> BraggPeaks:
    assert session.peaks is not None
    return session.peaks


def size_fit(peaks: BraggPeaks, size: float) -> CalibrationFit:
    calibration = peaks.calibration.updated(pixel_size_inv_angstrom=size).with_checked("pixel size")
    told = (Measured(Measurand.PIXEL_SIZE, size, 0.0001, "1/Å"),)
    return CalibrationFit("Pixel size", calibration, peaks.origin_px, told)


def origin_fit(peaks: BraggPeaks) -> CalibrationFit:
    """The beam wanders by half a pixel a column."""
    column = np.arange(peaks.n_positions) % peaks.scan_shape[1]
    origin = np.stack([np.full(peaks.n_positions, 48.0), 47.0 + 0.5 * column], axis=1).astype(np.float32)
    calibration = peaks.calibration.updated(origin_px=tuple(origin.mean(axis=0).tolist()))
    beam = ((Measurand.ORIGIN_ROW, 48.0), (Measurand.ORIGIN_COLUMN, 48.25))
    told = tuple(Measured(what, value, 0.01, "px") for what, value in beam)
    return CalibrationFit("Origin (plane)", calibration.with_checked("origin"), origin, told)


def test_undo_gives_back_calibration_and_origins_to_the_last_digit(session: Session, scene: Scene) -> None:
    session.apply_calibration(origin_fit(peaks_of(session)))
    after_origin = peaks_of(session)
    session.apply_calibration(size_fit(peaks_of(session), 0.0260))
    assert session.calibration_changes == ("Origin (plane)", "Pixel size")
    assert session.calibration is not None
    assert session.calibration.pixel_size_inv_angstrom == 0.0260
    session.undo_calibration()
    assert peaks_of(session).calibration == after_origin.calibration
    np.testing.assert_array_equal(peaks_of(session).origin_px, after_origin.origin_px)
    assert peaks_of(session).fingerprint == after_origin.fingerprint
    session.undo_calibration()
    assert peaks_of(session) is scene.peaks
    assert peaks_of(session).origin_px is None
    assert session.datacube is not None
    assert session.datacube.calibration == scene.datacube.calibration
    session.undo_calibration()  # there is nothing more
    assert peaks_of(session) is scene.peaks


def test_redo_does_again_what_was_undone_until_something_else_is_done(session: Session) -> None:
    session.apply_calibration(origin_fit(peaks_of(session)))
    session.apply_calibration(size_fit(peaks_of(session), 0.0260))
    done = peaks_of(session)
    session.undo_calibration()
    session.undo_calibration()
    session.redo_calibration()
    session.redo_calibration()
    assert peaks_of(session).fingerprint == done.fingerprint
    session.undo_calibration()
    session.apply_calibration(size_fit(peaks_of(session), 0.0270))
    session.redo_calibration()
    assert peaks_of(session).calibration.pixel_size_inv_angstrom == 0.0270


def test_a_map_fits_again_once_the_calibration_is_as_it_was(session: Session, scene: Scene) -> None:
    session.set_map(scene.truth)
    assert session.stage_state(Stage.INDEX) is StageState.DONE
    session.apply_calibration(size_fit(peaks_of(session), 0.0260))
    assert session.stage_state(Stage.INDEX) is StageState.STALE
    session.undo_calibration()
    assert session.stage_state(Stage.INDEX) is StageState.DONE


def test_a_fit_settles_the_step_and_its_undoing_opens_it_again(session: Session) -> None:
    assert session.stage_state(Stage.CALIBRATE) is StageState.READY
    session.apply_calibration(size_fit(peaks_of(session), 0.0260))
    assert session.stage_state(Stage.CALIBRATE) is StageState.DONE
    session.undo_calibration()
    assert session.stage_state(Stage.CALIBRATE) is StageState.READY


def test_other_peaks_begin_without_steps(session: Session, scene: Scene) -> None:
    session.skip_calibration()
    session.apply_calibration(size_fit(peaks_of(session), 0.0260))
    session.set_peaks(scene.peaks)
    assert session.calibration_changes == ()
    assert session.stage_state(Stage.CALIBRATE) is StageState.READY
    session.undo_calibration()
    assert peaks_of(session) is scene.peaks


def test_what_is_entered_by_hand_no_longer_counts_as_calibrated(session: Session) -> None:
    session.apply_calibration(origin_fit(peaks_of(session)))
    session.apply_calibration(size_fit(peaks_of(session), 0.0260))
    assert peaks_of(session).calibration.checked == ("origin", "pixel size")
    assert session.calibration is not None
    session.set_calibration(session.calibration.updated(pixel_size_inv_angstrom=0.03))
    assert peaks_of(session).calibration.checked == ("origin",)
    assert session.calibration_changes[-1] == "Entered"
    session.undo_calibration()
    assert peaks_of(session).calibration.checked == ("origin", "pixel size")


def test_the_direct_beam_stays_where_the_peaks_have_it(session: Session) -> None:
    session.apply_calibration(origin_fit(peaks_of(session)))
    origin = peaks_of(session).origin_px
    session.set_calibration(PLAIN_CALIBRATION.updated(voltage_kv=200.0, origin_px=(10.0, 10.0)))
    np.testing.assert_array_equal(peaks_of(session).origin_px, origin)
    assert "origin" in peaks_of(session).calibration.checked


def test_calibrated_peaks_that_are_opened_beside_their_scan_keep_what_is_not_changed(scene: Scene) -> None:
    """The scan knows the calibration of its file, the peaks that of yesterday's fit."""
    fitted = PLAIN_CALIBRATION.updated(
        pixel_size_inv_angstrom=0.026, ellipse_ratio=1.03, checked=("ellipse", "pixel size")
    )
    session = Session()
    session.set_datacube(scene.datacube)
    session.set_peaks(scene.peaks.with_calibration(fitted))
    session.set_calibration(scene.datacube.calibration.updated(scan_step_nm=7.0, scan_rotation_deg=12.0))
    assert peaks_of(session).calibration == fitted.updated(scan_step_nm=7.0, scan_rotation_deg=12.0)
    session.set_calibration(session.calibration.updated(pixel_size_inv_angstrom=0.03))  # type: ignore[union-attr]
    assert peaks_of(session).calibration.pixel_size_inv_angstrom == 0.03
    assert peaks_of(session).calibration.checked == ("ellipse",)


def test_what_peaks_do_not_know_comes_from_their_scan_and_is_not_lost_by_a_fit(scene: Scene) -> None:
    session = Session()
    session.set_datacube(scene.datacube)
    session.set_peaks(scene.peaks.with_calibration(Calibration(origin_px=(48.0, 48.0))))
    session.apply_calibration(size_fit(peaks_of(session), 0.0260))
    assert session.calibration is not None
    assert session.calibration.voltage_kv == PLAIN_CALIBRATION.voltage_kv is not None
    session.set_calibration(session.calibration.updated(scan_step_nm=7.0))
    assert peaks_of(session).calibration.voltage_kv == PLAIN_CALIBRATION.voltage_kv
    assert peaks_of(session).calibration.checked == ("pixel size",)


def test_a_confirmed_value_is_calibrated_also_for_the_map_made_with_it(
    session: Session, scene: Scene
) -> None:
    session.set_map(scene.truth)
    changed = watched(session, "current_map")
    session.confirm_calibration("ellipse")
    session.confirm_calibration("rotation")
    assert peaks_of(session).calibration.checked == ("ellipse", "rotation")
    assert session.stage_state(Stage.INDEX) is StageState.DONE
    current = session.current_map
    assert isinstance(current, OrientationMap)
    assert current.calibration.unchecked() == ("origin", "pixel size")
    assert changed[-1] is current
    session.confirm_calibration("ellipse", False)
    assert session.current_map is not None
    assert session.current_map.calibration.checked == ("rotation",)
    assert session.calibration_changes == ("Ellipse confirmed", "Rotation confirmed", "Ellipse not confirmed")


def test_a_quantity_is_told_in_the_words_of_its_fit_while_that_is_in_force(session: Session) -> None:
    def text() -> str:
        peaks = peaks_of(session)
        return known_text(peaks.calibration, "pixel size", peaks.origin_px, session.history.done)

    assert text() == "0.025 1/Å"
    session.apply_calibration(size_fit(peaks_of(session), 0.0260))
    session.apply_calibration(origin_fit(peaks_of(session)))
    assert text() == "0.0260 ± 0.0001 1/Å"
    assert session.calibration is not None
    session.set_calibration(session.calibration.updated(pixel_size_inv_angstrom=0.03))
    assert text() == "0.03 1/Å"


def test_a_status_tells_calibrated_entered_and_unknown_apart() -> None:
    unknown = Calibration()
    assert status_of(unknown, "pixel size") is Status.UNKNOWN
    assert status_of(unknown, "rotation") is Status.UNKNOWN
    entered = unknown.updated(pixel_size_inv_angstrom=0.02, flip=True)
    assert status_of(entered, "pixel size") is Status.ENTERED
    assert status_of(entered, "rotation") is Status.ENTERED
    assert status_of(entered.with_checked("rotation"), "rotation") is Status.CALIBRATED
