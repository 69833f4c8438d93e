"""The Calibrate stage: fits that are applied, shown and undone; what is entered, confirmed and taken from files."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QFocusEvent
from qtpy.QtWidgets import QApplication

from inspect_scene import PLAIN_CALIBRATION, Scene, make_scene, run_map
from napari_stem_orient.calibration import origin, ring_pattern, shape
from napari_stem_orient.calibration.fit import CalibrationFit
from napari_stem_orient.calibration.measured import Doubt, DoubtKind
from napari_stem_orient.calibration.measured_quantities import values_of
from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.calibration import Calibration, Quantity
from napari_stem_orient.core.crystal import Crystal, load_crystal
from napari_stem_orient.gui.calibrate.views import HistogramView, OriginView, VectorMapView
from napari_stem_orient.gui.calibrate.widget import CalibrateWidget
from napari_stem_orient.io import calibration_files
from napari_stem_orient.session.rules import StageState
from napari_stem_orient.session.state import Stage
from napari_stem_orient.steps.index import IndexChoice
from napari_stem_orient.steps.recorded import recorded
from patience import Until
from shown_panel import ShowPanel

pytestmark = pytest.mark.bindings

SELDOM = (Doubt(DoubtKind.BEAM_SELDOM_FOUND, 0.03),)
AS_BEFORE = (Doubt(DoubtKind.NO_BETTER_THAN_BEFORE),)
SELDOM_IN_WORDS = "The direct beam was found at 3 % of the positions only: check it in the pattern."


@pytest.fixture(scope="module")
def scene() -> Scene:
    return make_scene((4, 6), PLAIN_CALIBRATION)


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fits with answers that are known, in place of the real ones; they leave their names here."""
    called: list[str] = []

    def known(name: str, **changes: Any) -> Callable[..., CalibrationFit]:
        def fit(peaks: BraggPeaks, *args: Any, **keywords: Any) -> CalibrationFit:
            called.append(" ".join([name, *(crystal.name for crystal in (args[0] if args else ()))]))
            quantities = [name] if name != "shape" else ["ellipse", "pixel size"]
            calibration = peaks.calibration.updated(**changes).with_checked(*quantities)  # type: ignore[arg-type]
            told = [value for q in quantities for value in values_of(calibration, q)]  # type: ignore[arg-type]
            measured = tuple(replace(value, error=0.0001) for value in told)
            return CalibrationFit(name.capitalize(), calibration, peaks.origin_px, measured)

        return fit

    monkeypatch.setattr(origin, "fit_origins", known("origin", origin_px=(47.5, 48.5)))
    monkeypatch.setattr(shape, "fit_ellipse", known("ellipse", ellipse_ratio=1.02))
    monkeypatch.setattr(shape, "fit_pixel_size", known("pixel size", pixel_size_inv_angstrom=0.026))
    monkeypatch.setattr(shape, "fit_shape", known("shape", ellipse_ratio=1.03, pixel_size_inv_angstrom=0.027))
    return called


@pytest.fixture
def panel(show_panel: ShowPanel) -> CalibrateWidget:
    return show_panel(CalibrateWidget)


@pytest.fixture
def ready(panel: CalibrateWidget, scene: Scene) -> CalibrateWidget:
    panel.session.set_peaks(scene.peaks)
    return panel


def idle(panel: CalibrateWidget) -> bool:
    return panel.session.running_job(Stage.CALIBRATE) is None


def calibration(panel: CalibrateWidget) -> Calibration:
    assert panel.session.peaks is not None
    return panel.session.peaks.calibration


def test_without_peaks_nothing_can_be_pressed_and_it_says_why(panel: CalibrateWidget) -> None:
    assert panel.state_label.text() == "Needs Bragg peaks."
    buttons = (panel.fit_all_button, panel.undo_button, panel.go_on_button, *panel.rows.fit_buttons.values())
    assert not any(button.isEnabled() for button in buttons)
    assert panel.comparison.isHidden()


def test_every_row_says_what_is_known_and_whether_it_is_calibrated(ready: CalibrateWidget) -> None:
    rows = ready.rows.rows
    assert rows["origin"].title_label.text() == "● Origin"
    assert rows["origin"].value_label.text() == "row 48.00, column 48.00 px"
    assert rows["ellipse"].title_label.text() == "○ Ellipse"
    assert rows["ellipse"].value_label.text() == "unknown, taken as a circle"
    assert rows["pixel size"].value_label.text() == "0.025 1/Å"
    assert not any(row.tick.isChecked() for row in rows.values())
    rows["pixel size"].tick.click()
    assert calibration(ready).checked == ("pixel size",)
    assert rows["pixel size"].title_label.text() == "✓ Pixel size"


def test_a_fit_is_applied_told_shown_and_undone(
    ready: CalibrateWidget, fits: list[str], until: Until
) -> None:
    assert not ready.rows.fit_buttons["pixel size"].isEnabled()  # no crystal yet
    ready.crystal_box.choose("Cu")
    ready.rows.fit_buttons["pixel size"].click()
    assert ready.session.stage_state(Stage.CALIBRATE) is StageState.RUNNING
    assert not ready.fit_all_button.isEnabled()
    until(lambda: idle(ready))
    assert fits == ["pixel size Cu"]
    assert calibration(ready).pixel_size_inv_angstrom == 0.026
    assert ready.rows.rows["pixel size"].value_label.text() == "0.0260 ± 0.0001 1/Å"
    assert "Pixel size: 0.0260 ± 0.0001 1/Å" in ready.report_label.text()
    assert ready.comparison.view == "histogram"
    assert "Pixel size" in ready.undo_button.toolTip()
    ready.undo_button.click()
    assert calibration(ready) == PLAIN_CALIBRATION
    assert ready.rows.rows["pixel size"].value_label.text() == "0.025 1/Å"
    ready.redo_button.click()
    assert calibration(ready).pixel_size_inv_angstrom == 0.026


def test_fit_all_takes_the_origin_first_and_the_crystals_of_the_session(
    ready: CalibrateWidget, fits: list[str], until: Until
) -> None:
    ready.session.set_crystals((load_crystal("Cu"), load_crystal("Cu2O")))
    assert ready.crystal_box.box.currentText() == "Cu and Cu2O"
    ready.fit_all_button.click()
    until(lambda: idle(ready))
    assert fits == ["origin", "shape Cu Cu2O"]
    assert ready.session.calibration_changes == ("Origin", "Shape")
    assert calibration(ready).unchecked() == ("rotation",)
    assert (calibration(ready).origin_px, calibration(ready).ellipse_ratio) == ((47.5, 48.5), 1.03)


def test_fit_all_without_a_crystal_leaves_the_pixel_size(
    ready: CalibrateWidget, fits: list[str], until: Until
) -> None:
    ready.fit_all_button.click()
    until(lambda: idle(ready))
    assert fits == ["origin", "ellipse"]
    assert calibration(ready).unchecked() == ("pixel size", "rotation")


def test_a_fit_that_comes_too_late_changes_nothing(
    ready: CalibrateWidget, monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    """The user typed another voltage while the fit was running."""

    def slow(peaks: BraggPeaks, crystals: object = ()) -> CalibrationFit:
        time.sleep(0.3)
        return CalibrationFit("Ellipse", peaks.calibration.updated(ellipse_ratio=1.5), None, ())

    monkeypatch.setattr(shape, "fit_ellipse", slow)
    ready.rows.fit_buttons["ellipse"].click()
    ready.session.set_calibration(PLAIN_CALIBRATION.updated(voltage_kv=80.0))
    until(lambda: idle(ready))
    assert calibration(ready).ellipse_ratio == 1.0
    assert "Fit again" in ready.message_label.text()


def test_why_a_fit_is_not_possible_is_said(
    ready: CalibrateWidget, monkeypatch: pytest.MonkeyPatch, until: Until, errors: list[str]
) -> None:
    def impossible(peaks: BraggPeaks, crystals: object = ()) -> CalibrationFit:
        raise ValueError("3 disks are too few for an ellipse; detect more")

    monkeypatch.setattr(shape, "fit_ellipse", impossible)
    ready.rows.fit_buttons["ellipse"].click()
    until(lambda: idle(ready))
    assert "too few for an ellipse" in ready.message_label.text()
    assert ready.rows.fit_buttons["ellipse"].isEnabled()


def test_a_rotation_that_is_entered_can_be_undone(ready: CalibrateWidget) -> None:
    ready.rows.rotation_box.setValue(35.0)
    ready.rows.flip_box.click()
    assert (calibration(ready).scan_rotation_deg, calibration(ready).flip) == (35.0, True)
    assert ready.rows.rows["rotation"].value_label.text() == "35°, mirrored"
    ready.undo_button.click()
    assert not ready.rows.flip_box.isChecked()
    ready.undo_button.click()
    assert ready.rows.rotation_box.number() == 0.0


def test_a_rotation_is_entered_for_the_peaks_beside_a_scan_that_is_calibrated_otherwise(
    panel: CalibrateWidget, scene: Scene
) -> None:
    fitted = PLAIN_CALIBRATION.updated(ellipse_ratio=1.03, scan_rotation_deg=5.0).with_checked(
        "ellipse", "rotation"
    )
    panel.session.set_datacube(
        scene.datacube.with_calibration(PLAIN_CALIBRATION.updated(scan_rotation_deg=35.0))
    )
    panel.session.set_peaks(scene.peaks.with_calibration(fitted))
    panel.rows.rotation_box.setValue(35.0)
    entered = fitted.updated(scan_rotation_deg=35.0, checked=("ellipse",))
    assert calibration(panel) == entered
    assert panel.session.calibration == entered


def test_rotation_and_mirroring_come_from_a_file_and_nothing_else_does(
    ready: CalibrateWidget,
    monkeypatch: pytest.MonkeyPatch,
    save_file_as: Callable[[Path | None], None],
    until: Until,
) -> None:
    other = Calibration(scan_rotation_deg=-12.5, flip=True, pixel_size_inv_angstrom=0.5, ellipse_ratio=1.4)
    monkeypatch.setattr(calibration_files, "read_calibration", lambda _: (other, None))
    save_file_as(Path("defocused.h5"))
    ready.rows.file_button.click()
    until(lambda: idle(ready))
    assert calibration(ready) == PLAIN_CALIBRATION.updated(scan_rotation_deg=-12.5, flip=True)
    assert ready.session.calibration_changes == ("Rotation from defocused.h5",)


def test_a_standard_with_rings_gives_ellipse_and_pixel_size_but_no_direct_beam(
    ready: CalibrateWidget,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    save_file_as: Callable[[Path | None], None],
    until: Until,
) -> None:
    def fit(image: np.ndarray, crystal: Crystal, *, start: Calibration) -> CalibrationFit:
        assert (image.shape, float(image.mean()), crystal.name) == ((32, 32), 2.0, "Au")
        found = start.updated(pixel_size_inv_angstrom=0.03, ellipse_ratio=1.01, origin_px=(5.0, 6.0))
        checked = found.with_checked("origin", "ellipse", "pixel size")
        told = [value for quantity in ("origin", "pixel size") for value in values_of(checked, quantity)]
        return CalibrationFit("Ring pattern", checked, None, tuple(told))

    monkeypatch.setattr(ring_pattern, "fit_ring_pattern", fit)
    np.save(tmp_path / "gold.npy", np.full((1, 1, 32, 32), 2, dtype=np.uint8))
    save_file_as(tmp_path / "gold.npy")
    ready.session.set_crystals((load_crystal("Cu"), load_crystal("Cu2O")))
    assert not ready.rows.rings_button.isEnabled()  # a standard is of one crystal
    ready.crystal_box.choose("Au")
    ready.rows.rings_button.click()
    until(lambda: idle(ready))
    assert calibration(ready) == PLAIN_CALIBRATION.updated(
        pixel_size_inv_angstrom=0.03, ellipse_ratio=1.01, checked=("ellipse", "pixel size")
    )
    assert ready.session.calibration_changes == ("Pixel size from gold.npy",)
    assert "32 x 32 px, the scan's detector 96 x 96" in ready.report_label.text()
    assert ready.rows.rows["pixel size"].value_label.text() == "0.03 1/Å"


def test_a_file_that_knows_no_rotation_leaves_the_one_that_is_there(
    ready: CalibrateWidget,
    monkeypatch: pytest.MonkeyPatch,
    save_file_as: Callable[[Path | None], None],
    until: Until,
    errors: list[str],
) -> None:
    monkeypatch.setattr(calibration_files, "read_calibration", lambda _: (Calibration(voltage_kv=200), None))
    save_file_as(Path("scan.mib"))
    ready.rows.rotation_box.setValue(35.0)
    ready.rows.file_button.click()
    until(lambda: idle(ready))
    assert "scan.mib does not say how the detector is turned" in ready.message_label.text()
    assert calibration(ready).scan_rotation_deg == 35.0


def test_a_calibration_from_a_file_keeps_the_direct_beam_of_the_peaks(
    ready: CalibrateWidget,
    monkeypatch: pytest.MonkeyPatch,
    save_file_as: Callable[[Path | None], None],
    until: Until,
) -> None:
    other = Calibration(
        pixel_size_inv_angstrom=0.03, ellipse_ratio=1.4, origin_px=(1.0, 2.0), checked=("ellipse",)
    )
    monkeypatch.setattr(
        calibration_files, "read_calibration", lambda _: (other, np.ones((3, 2), dtype=np.float32))
    )
    save_file_as(Path("standard.json"))
    ready.open_button.click()
    until(lambda: idle(ready))
    assert calibration(ready) == PLAIN_CALIBRATION.updated(
        pixel_size_inv_angstrom=0.03, ellipse_ratio=1.4, checked=("ellipse",)
    )


@pytest.mark.parametrize("view", ["map", "histogram", "origin"])
def test_each_view_shows_the_calibration_before_and_after(
    ready: CalibrateWidget, fits: list[str], until: Until, view: str
) -> None:
    ready.crystal_box.choose("Cu")
    ready.rows.fit_buttons["pixel size"].click()
    until(lambda: idle(ready))
    comparison = ready.comparison
    comparison.view_box.setCurrentIndex(["map", "histogram", "origin"].index(view))

    def drawn() -> bool:
        content = comparison.views.content
        return content is not None and content.view == view and content.before is not None

    until(drawn)
    shown = comparison.views.currentWidget()
    if view == "map":
        assert isinstance(shown, VectorMapView)
        after = shown.image.mapRectToParent(shown.image.boundingRect()).width()
        comparison.before_button.click()
        before = shown.image.mapRectToParent(shown.image.boundingRect()).width()
        assert after / before == pytest.approx(0.026 / 0.025)
        ring = np.hypot(*shown.rings[0].getData())[:180]  # the innermost: 111 of Cu
        np.testing.assert_allclose(ring, np.sqrt(3) / 3.615, rtol=2e-3)
    elif view == "histogram":
        assert isinstance(shown, HistogramView)
        q_before, q_after = shown.before.getData()[0], shown.after.getData()[0]
        assert q_after[-1] / q_before[-1] == pytest.approx(0.026 / 0.025, rel=1e-3)
    else:
        assert isinstance(shown, OriginView)
        np.testing.assert_allclose(shown.images[0, 1].image, 48.0)
        assert shown.images[1, 0].image.shape == (4, 6)


def test_a_map_of_these_peaks_can_refine_the_calibration(
    ready: CalibrateWidget, scene: Scene, monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    from napari_stem_orient.core.progress import Progress
    from napari_stem_orient.indexing import joint_calibration
    from napari_stem_orient.indexing.joint_calibration import JointCalibration, RefinementProgress

    def refine(peaks: BraggPeaks, orientation_map: object, **_: Any) -> Any:
        yield RefinementProgress(Progress(0, 2, "steps"), "orientations")
        refined = peaks.calibration.updated(pixel_size_inv_angstrom=0.0252).with_checked("pixel size")
        told = values_of(refined, "pixel size")
        fit = CalibrationFit("Refined from the map", refined, peaks.origin_px, told)
        return JointCalibration(fit, 0.5, 0.75, 0.004, 0.001, 24, 300)

    monkeypatch.setattr(joint_calibration, "refine_calibration", refine)
    assert ready.map_checks.isHidden()
    run_map(ready.session, scene)
    assert ready.session.current_map is not None
    made = recorded(ready.session.peaks.recipe, IndexChoice())  # type: ignore[union-attr]
    ready.session.set_map(replace(ready.session.current_map, recipe=made))
    assert ready.map_checks.refine_button.isEnabled()
    ready.map_checks.refine_button.click()
    until(lambda: idle(ready))
    assert calibration(ready).pixel_size_inv_angstrom == 0.0252
    assert ready.session.peaks is not None
    steps = ready.session.peaks.recipe["steps"]
    assert [step["step"] for step in steps[-2:]] == ["index", "calibrate"]  # a refinement needs the map
    assert "0.500 → 0.750" in ready.map_checks.report_label.text()
    assert ready.session.stage_state(Stage.INDEX) is StageState.STALE
    assert not ready.map_checks.refine_button.isEnabled()  # the map is of another calibration now
    assert "Index again" in ready.map_checks.report_label.text()
    ready.session.confirm_calibration("ellipse")
    assert "index again first" in ready.map_checks.stale_label.text()
    assert not ready.map_checks.stale_label.isHidden()
    ready.undo_button.click()
    ready.undo_button.click()
    assert ready.session.stage_state(Stage.INDEX) is StageState.DONE
    assert ready.map_checks.refine_button.isEnabled()
    assert ready.map_checks.stale_label.isHidden()
    ready.map_checks.refine_button.click()
    ready.session.confirm_calibration("ellipse")  # while it is computed
    until(lambda: idle(ready))
    assert calibration(ready).pixel_size_inv_angstrom == 0.025
    assert "was not used" in ready.message_label.text()
    assert ready.map_checks.report_label.isHidden()


def test_a_refinement_that_gains_nothing_changes_nothing_and_says_so(
    ready: CalibrateWidget, scene: Scene, monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    from napari_stem_orient.core.progress import Progress
    from napari_stem_orient.indexing import joint_calibration
    from napari_stem_orient.indexing.joint_calibration import JointCalibration, RefinementProgress

    def refine(peaks: BraggPeaks, orientation_map: object, **_: Any) -> Any:
        yield RefinementProgress(Progress(0, 2, "steps"), "orientations")
        other = peaks.calibration.updated(pixel_size_inv_angstrom=0.0252)
        fit = CalibrationFit("Refined from the map", other, peaks.origin_px, (), AS_BEFORE)
        return JointCalibration(fit, 0.75, 0.75, 0.002, 0.002, 24, 300)

    monkeypatch.setattr(joint_calibration, "refine_calibration", refine)
    run_map(ready.session, scene)
    before = calibration(ready)
    ready.map_checks.refine_button.click()
    until(lambda: idle(ready))
    assert calibration(ready) == before
    assert ready.session.stage_state(Stage.INDEX) is StageState.DONE
    assert "stays as it was." in ready.map_checks.report_label.text()
    assert not ready.map_checks.report_label.isHidden()


def test_what_another_pixel_size_would_do_stands_in_a_table(
    ready: CalibrateWidget, scene: Scene, monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    from types import SimpleNamespace

    from napari_stem_orient.core.progress import Progress
    from napari_stem_orient.indexing import sensitivity

    table = SimpleNamespace(
        header=lambda **_: ("Pixel size", "Median change"),
        rows=lambda **_: [("-1 %", "0.8°"), ("+1 %", "0.9°")],
        n_positions=17,
    )
    told: list[str] = []

    def job(*_args: Any, **_keywords: Any) -> Any:
        yield sensitivity.SensitivityProgress(Progress(0, 2, "steps"), "-1 %", "17 are indexed again")
        return table

    monkeypatch.setattr(sensitivity, "calibration_sensitivity", job)
    original = ready.show_message
    monkeypatch.setattr(ready, "show_message", lambda text: (told.append(text), original(text)))
    run_map(ready.session, scene)
    ready.map_checks.sensitivity_button.click()
    until(lambda: idle(ready))
    assert "17 are indexed again" in told
    assert ready.message_label.text().startswith("17 of ")
    cells = ready.map_checks.table
    texts = [[cells.item(row, column).text() for column in range(2)] for row in range(2)]  # type: ignore[union-attr]
    assert texts == [["-1 %", "0.8°"], ["+1 %", "0.9°"]]
    assert ready.session.calibration_changes == ()
    ready.session.set_map(None)
    assert cells.isHidden()
    run_map(ready.session, scene)
    ready.map_checks.sensitivity_button.click()
    ready.session.confirm_calibration("ellipse")  # while it is computed
    until(lambda: idle(ready))
    assert cells.isHidden()
    assert "ask again" in ready.message_label.text()


def test_the_crystal_is_that_of_the_session_until_another_is_chosen(
    ready: CalibrateWidget, save_file_as: Callable[[Path | None], None]
) -> None:
    box = ready.crystal_box

    def names() -> list[str]:
        return [crystal.name for crystal in box.crystals]

    assert names() == []
    ready.session.set_crystals((load_crystal("Cu"),))
    assert names() == ["Cu"]
    box.box.activated.emit(box.box.findText("Au"))
    assert names() == ["Au"]
    ready.session.set_crystals((load_crystal("Al"),))
    assert names() == ["Au"]
    box.box.activated.emit(box.box.findText("Al"))
    assert names() == ["Al"]
    ready.session.set_crystals((load_crystal("Ni"),))
    assert names() == ["Ni"]
    save_file_as(None)
    box.box.activated.emit(box.box.findText("CIF…"))
    assert (names(), box.box.currentText()) == (["Ni"], "Ni")
    assert isinstance(box.crystals[0], Crystal)


def test_the_crystal_list_has_headings_an_order_and_a_search(ready: CalibrateWidget, qtbot: QtBot) -> None:
    box = ready.crystal_box.box
    texts = [box.itemText(row) for row in range(box.count())]
    assert texts[:4] == ["No crystal", "CIF…", "Built in: fcc", "Ag"]
    line = box.lineEdit()
    assert line is not None
    for typed, name in (("si", "Si"), ("perovsk", "SrTiO3"), ("licoo", "LiCoO2")):
        line.selectAll()
        qtbot.keyClicks(line, typed)
        completer = line.completer()
        assert completer is not None
        popup = completer.popup()
        assert popup is not None
        popup.hide()
        qtbot.keyClick(line, Qt.Key.Key_Return)
        assert [crystal.name for crystal in ready.crystal_box.crystals] == [name]
        assert box.currentText() == name
    texts = [box.itemText(row) for row in range(box.count())]
    assert texts[:3] == ["No crystal", "CIF…", "Chosen before"]
    assert texts.count("LiCoO2") == 1


def test_a_search_that_was_given_up_leaves_the_crystal_as_it_was_and_says_so(
    ready: CalibrateWidget, qtbot: QtBot
) -> None:
    box = ready.crystal_box.box
    ready.crystal_box.choose("Cu")
    line = box.lineEdit()
    assert line is not None
    line.selectAll()
    qtbot.keyClicks(line, "A")
    QApplication.sendEvent(box, QFocusEvent(QEvent.Type.FocusOut, Qt.FocusReason.MouseFocusReason))
    assert box.currentText() == "Cu"
    line.selectAll()
    qtbot.keyClicks(line, "kryptonite")
    qtbot.keyClick(line, Qt.Key.Key_Return)
    assert "“kryptonite” is none of the crystals" in ready.message_label.text()
    qtbot.keyClick(line, Qt.Key.Key_Escape)
    assert box.currentText() == "Cu"
    assert [crystal.name for crystal in ready.crystal_box.crystals] == ["Cu"]


def test_index_starts_with_the_crystal_that_the_calibration_was_made_with(
    ready: CalibrateWidget, fits: list[str], until: Until
) -> None:
    session = ready.session

    def fit(quantity: Quantity, crystal: str) -> None:
        ready.crystal_box.choose(crystal)
        ready.rows.fit_buttons[quantity].click()
        until(lambda: idle(ready))

    fit("origin", "Au")  # which no crystal has a part in
    assert session.crystals == ()
    fit("pixel size", "Au")
    assert session.crystals == (load_crystal("Au"),)
    assert session.crystals_lent
    fit("ellipse", "Cu")
    assert session.crystals == (load_crystal("Cu"),)
    assert ready.crystal_box.box.currentText() == "Cu"


def test_what_was_chosen_in_index_stays_when_the_calibration_takes_another_crystal(
    ready: CalibrateWidget, fits: list[str], scene: Scene, until: Until
) -> None:
    session = ready.session
    for chosen in ((load_crystal("Al"),), ()):  # also that there shall be none
        session.set_crystals(chosen)
        ready.crystal_box.choose("Cu")
        ready.rows.fit_buttons["pixel size"].click()
        until(lambda: idle(ready))
        assert session.crystals == chosen
        assert not session.crystals_lent


def test_a_crystal_from_calibrate_that_was_indexed_with_is_chosen(
    ready: CalibrateWidget, fits: list[str], scene: Scene, until: Until
) -> None:
    ready.session.lend_crystals((load_crystal("Cu"),))
    run_map(ready.session, scene)
    assert not ready.session.crystals_lent
    ready.session.lend_crystals((load_crystal("Au"),))
    assert ready.session.crystals == (load_crystal("Cu"),)


def test_a_warning_of_the_origin_is_still_there_when_the_rings_are_fitted_too(
    ready: CalibrateWidget, fits: list[str], monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    def doubtful(peaks: BraggPeaks, **_: Any) -> CalibrationFit:
        return CalibrationFit("Origin", peaks.calibration, peaks.origin_px, (), SELDOM)

    monkeypatch.setattr(origin, "fit_origins", doubtful)
    ready.crystal_box.choose("Cu")
    ready.fit_all_button.click()
    until(lambda: idle(ready))
    assert ready.report_label.text().startswith("Shape")
    assert f"⚠ Origin: {SELDOM_IN_WORDS}" in ready.report_label.text()
    ready.undo_button.click()
    assert ready.report_label.text() == f"Origin\n⚠ {SELDOM_IN_WORDS}"
    ready.session.confirm_calibration("rotation")
    assert "⚠" not in ready.report_label.text()


def test_the_vector_maps_before_and_after_are_shown_in_one_frame(
    ready: CalibrateWidget, fits: list[str], until: Until
) -> None:
    ready.crystal_box.choose("Cu")
    ready.rows.fit_buttons["pixel size"].click()
    until(lambda: idle(ready))
    comparison = ready.comparison
    comparison.view_box.setCurrentIndex(0)

    def drawn() -> bool:
        content = comparison.views.content
        return content is not None and content.view == "map" and content.before is not None

    until(drawn)
    shown = comparison.views.vector_map
    sizes = []
    for button in (comparison.after_button, comparison.before_button):
        button.click()
        frame = shown.ground.rect()
        sizes.append((frame, shown.getPlotItem().getViewBox().viewRange()))
        assert frame.contains(shown.image.mapRectToParent(shown.image.boundingRect()))
    assert sizes[0] == sizes[1]
    right = shown.image.mapRectToParent(shown.image.boundingRect()).right()
    assert sizes[0][0].right() / right == pytest.approx(0.026 / 0.025)  # that of the larger one
