"""The desk as a whole: from a file to maps in a few clicks, any order of clicks, and a viewer closed mid-run."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari import Viewer
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QAbstractButton, QApplication, QComboBox

from inspect_scene import make_scene, run_map
from napari_stem_orient.calibration import origin
from napari_stem_orient.calibration.fit import CalibrationFit
from napari_stem_orient.calibration.measured import Doubt, DoubtKind
from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.gui.calibrate.widget import CalibrateWidget
from napari_stem_orient.gui.canvas.layers import LayerKind, layer_identity
from napari_stem_orient.gui.desk_widget import OrientationMappingWidget
from napari_stem_orient.gui.detect.widget import DetectWidget
from napari_stem_orient.gui.index.widget import IndexWidget
from napari_stem_orient.gui.jobs.sessions import session_of
from napari_stem_orient.gui.open.widget import OpenWidget
from napari_stem_orient.io.simulated_scans import save_simulated_scan  # noqa: F401
from napari_stem_orient.session.rules import StageState
from napari_stem_orient.session.state import Stage
from patience import Until

pytestmark = pytest.mark.bindings

NAME = "napari-stem-orient"
SELDOM = (Doubt(DoubtKind.BEAM_SELDOM_FOUND, 0.03),)


@pytest.fixture
def viewer(make_napari_viewer_proxy: Callable[..., Viewer]) -> Viewer:
    return make_napari_viewer_proxy()


@pytest.fixture
def desk(viewer: Viewer) -> OrientationMappingWidget:
    _, widget = viewer.window.add_plugin_dock_widget(NAME, "Orientation mapping")
    assert isinstance(widget, OrientationMappingWidget)
    return widget


@pytest.fixture
def scan_file(polycrystal: DataCube, tmp_path: Path) -> Path:
    """The polycrystal without its calibration, in a file."""
    np.save(tmp_path / "scan.npy", polycrystal.data.compute())
    return tmp_path / "scan.npy"


def panels(desk: OrientationMappingWidget) -> tuple[OpenWidget, DetectWidget, IndexWidget]:
    opening, detecting, indexing = (desk.panels[step] for step in (Stage.OPEN, Stage.DETECT, Stage.INDEX))
    assert isinstance(opening, OpenWidget)
    assert isinstance(detecting, DetectWidget)
    assert isinstance(indexing, IndexWidget)
    return opening, detecting, indexing


def kinds(viewer: Viewer) -> set[LayerKind]:
    return {identity[0] for layer in viewer.layers if (identity := layer_identity(layer)) is not None}


def test_a_scan_goes_from_open_to_maps(
    viewer: Viewer, desk: OrientationMappingWidget, polycrystal: DataCube, until: Until
) -> None:
    session = desk.session
    _, detecting, indexing = panels(desk)
    assert [section.unfolded for section in desk.sections.values()] == [True] + [False] * 4
    session.set_datacube(polycrystal)
    until(detecting.run_button.isEnabled)
    assert kinds(viewer) == {LayerKind.DARK_FIELD}
    assert desk.sections[Stage.DETECT].unfolded
    detecting.run_button.click()
    until(lambda: session.stage_state(Stage.DETECT) is StageState.DONE)
    assert desk.sections[Stage.CALIBRATE].unfolded
    calibrating = desk.panels[Stage.CALIBRATE]
    assert isinstance(calibrating, CalibrateWidget)
    calibrating.go_on_button.click()
    assert session.stage_state(Stage.CALIBRATE) is StageState.DONE
    assert not desk.sections[Stage.CALIBRATE].unfolded
    assert desk.sections[Stage.INDEX].unfolded
    until(lambda: indexing.device_box.count() > 0)
    indexing.crystals.add("Cu")
    until(indexing.run_button.isEnabled)
    indexing.run_button.click()
    until(lambda: session.stage_state(Stage.INDEX) is StageState.DONE)
    assert desk.sections[Stage.EXPORT].unfolded
    until(lambda: {"ipf_z", "ipf_x", "phase", "score"} <= kinds(viewer))
    (in_colour,) = [layer for layer in viewer.layers if (layer_identity(layer) or ("",))[0] == "ipf_z"]
    until(lambda: np.asarray(in_colour.data).any())
    assert "done" in desk.sections[Stage.INDEX].note.text()


def test_a_file_without_calibration_keeps_the_open_step_in_sight(
    desk: OrientationMappingWidget, scan_file: Path, until: Until
) -> None:
    opening, _, _ = panels(desk)
    opening.open_path(scan_file)
    until(lambda: desk.session.summary is not None and desk.session.running_job(Stage.OPEN) is None)
    assert desk.sections[Stage.OPEN].unfolded
    assert "pixel size" in opening.missing_label.text()
    note = desk.sections[Stage.OPEN].note.text()
    assert note == "○ needs pixel size (1/Å) and accelerating voltage (kV)"


def test_a_pixel_size_that_calibrate_finds_does_not_lead_back_to_detect(
    desk: OrientationMappingWidget, polycrystal: DataCube, until: Until
) -> None:
    session = desk.session
    gap = polycrystal.calibration.updated(pixel_size_inv_angstrom=None)
    session.set_datacube(DataCube(polycrystal.data, gap))
    until(lambda: session.summary is not None and session.running_job(Stage.OPEN) is None)
    assert session.stage_state(Stage.OPEN) is StageState.BLOCKED
    assert desk.sections[Stage.DETECT].unfolded  # goes on: Calibrate can find the pixel size
    desk.sections[Stage.DETECT].set_unfolded(False)
    desk.sections[Stage.CALIBRATE].set_unfolded(True)
    session.set_calibration(polycrystal.calibration)
    assert session.stage_state(Stage.OPEN) is StageState.DONE
    assert not desk.sections[Stage.DETECT].unfolded
    assert desk.sections[Stage.CALIBRATE].unfolded


def test_what_a_waiting_step_needs_stands_beside_its_title(desk: OrientationMappingWidget) -> None:
    assert desk.sections[Stage.DETECT].note.text() == "○ needs an open scan"
    assert "Bragg peaks and a crystal" in desk.sections[Stage.INDEX].note.toolTip()


def test_the_desk_is_narrow_enough_for_a_small_screen(desk: OrientationMappingWidget) -> None:
    for section in desk.sections.values():
        section.set_unfolded(True)
    for panel in desk.panels.values():
        assert panel.minimumSizeHint().width() <= 380, panel


def test_what_was_said_of_another_scan_is_taken_back(desk: OrientationMappingWidget) -> None:
    for step in list(Stage)[1:]:
        desk.panels[step].show_message("said of the scan before")
    desk.session.set_datacube(None)
    assert [desk.panels[step].message_label.text() for step in Stage][1:] == [""] * 4


def test_the_question_for_a_scan_shape_is_seen_although_the_step_was_folded(
    desk: OrientationMappingWidget, tmp_path: Path, until: Until
) -> None:
    """The file may come by drag and drop or File > Open while another stage is in sight."""
    np.save(tmp_path / "stack.npy", np.zeros((6, 8, 8), dtype=np.uint8))
    scene, (opening, *_) = make_scene(), panels(desk)
    desk.session.set_peaks(scene.peaks)
    run_map(desk.session, scene)
    desk.sections[Stage.OPEN].set_unfolded(False)
    opening.open_path(tmp_path / "stack.npy")
    until(lambda: desk.session.running_job(Stage.OPEN) is None)
    assert not opening.shape_row.isHidden()
    assert desk.sections[Stage.OPEN].unfolded


def test_a_warning_of_a_fit_is_scrolled_into_sight_in_a_low_dock(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    desk = OrientationMappingWidget(ViewerModel())  # type: ignore[arg-type]
    qtbot.addWidget(desk)

    def doubtful(peaks: BraggPeaks, **_: Any) -> CalibrationFit:
        return CalibrationFit("Origin", peaks.calibration, peaks.origin_px, (), SELDOM)

    monkeypatch.setattr(origin, "fit_origins", doubtful)
    desk.session.set_peaks(make_scene().peaks)
    desk.sections[Stage.CALIBRATE].set_unfolded(True)
    desk.resize(370, 230)
    desk.show()
    panel = desk.panels[Stage.CALIBRATE]
    assert isinstance(panel, CalibrateWidget)
    desk.scroll_area.ensureWidgetVisible(panel.rows.fit_buttons["origin"])
    panel.rows.fit_buttons["origin"].click()
    until(lambda: "⚠" in panel.report_label.text())
    until(lambda: panel.report_label.visibleRegion().boundingRect() == panel.report_label.rect())


def test_the_first_opening_of_the_desk_waits_for_no_library_that_it_does_not_need() -> None:
    """They take most of a second with warm files, and several on a cold disk."""
    libraries = ("pyqtgraph", "scipy.ndimage", "dask.array", "torch", "orix", "pandas", "h5py")
    code = (
        "import sys, napari, napari.layers; from napari._qt.qt_viewer import QtViewer; before = set(sys.modules); "
        "import napari_stem_orient.gui.desk_widget; "
        f"print([name for name in {libraries} if name in set(sys.modules) - before])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_why_a_file_cannot_be_opened_stays_in_sight(
    desk: OrientationMappingWidget, tmp_path: Path, until: Until, errors: list[str]
) -> None:
    """Something is open already, so that the stage is done again when the attempt has ended."""
    scene, (opening, *_) = make_scene(), panels(desk)
    desk.session.set_peaks(scene.peaks)
    desk.sections[Stage.OPEN].set_unfolded(True)
    opening.open_path(tmp_path / "no scan.npy")
    until(lambda: desk.session.running_job(Stage.OPEN) is None)
    assert "does not exist" in opening.message_label.text()
    assert desk.sections[Stage.OPEN].unfolded


def test_the_names_of_both_methods_do_not_push_cancel_out_of_sight(
    viewer: Viewer, desk: OrientationMappingWidget
) -> None:
    scene = make_scene()
    desk.session.set_peaks(scene.peaks)
    for method in ("transformer", "template"):
        run_map(desk.session, scene, method=method)
    opening, _, indexing = panels(desk)
    opening.dataset_box.addItem("/4DSTEM_experiment/data/datacubes/datacube_0/data")
    opening.dataset_row.show()
    for section in desk.sections.values():
        section.set_unfolded(True)
    assert not indexing.results.isHidden()
    inside, bar = desk.scroll_area.widget(), desk.scroll_area.verticalScrollBar()
    assert inside is not None
    assert bar is not None
    assert inside.minimumSizeHint().width() + bar.sizeHint().width() <= desk.minimumWidth()


def test_step_widgets_of_their_own_share_the_session_with_the_desk(
    viewer: Viewer, desk: OrientationMappingWidget, polycrystal: DataCube, until: Until
) -> None:
    _, alone = viewer.window.add_plugin_dock_widget(NAME, "Detect")
    assert isinstance(alone, DetectWidget)
    assert alone.session is desk.session
    desk.session.set_datacube(polycrystal)
    _, detecting, _ = panels(desk)
    until(lambda: alone.run_button.isEnabled() and detecting.run_button.isEnabled())
    detecting.run_button.click()
    assert not alone.run_button.isEnabled()
    until(lambda: desk.session.stage_state(Stage.DETECT) is StageState.DONE)
    assert alone.save_button.isEnabled()


def test_closing_the_viewer_in_the_middle_of_a_run_ends_its_jobs(
    make_napari_viewer_proxy: Callable[..., Viewer], polycrystal: DataCube, until: Until, qapp: QApplication
) -> None:
    viewer = make_napari_viewer_proxy()
    _, desk = viewer.window.add_plugin_dock_widget(NAME, "Orientation mapping")
    large = DataCube(polycrystal.data.repeat(12, axis=0), polycrystal.calibration)
    desk.session.set_datacube(large)
    _, detecting, _ = panels(desk)
    until(detecting.run_button.isEnabled)
    detecting.run_button.click()
    until(lambda: detecting.job_bar.job is not None and detecting.job_bar.job.progress is not None)
    job = detecting.job_bar.job
    viewer.close()
    qapp.processEvents()
    until(lambda: not job.running)
    until(lambda: not [t for t in threading.enumerate() if t.name.startswith("job:")])


def test_a_removed_dock_ends_its_job_and_the_next_desk_goes_on(
    viewer: Viewer, polycrystal: DataCube, until: Until, qapp: QApplication
) -> None:
    dock, desk = viewer.window.add_plugin_dock_widget(NAME, "Orientation mapping")
    desk.session.set_datacube(polycrystal)
    _, detecting, _ = panels(desk)
    until(detecting.run_button.isEnabled)
    detecting.run_button.click()
    session = desk.session
    until(lambda: session.stage_state(Stage.DETECT) is StageState.DONE)
    del detecting, desk
    viewer.window.remove_dock_widget(dock)
    _, again = viewer.window.add_plugin_dock_widget(NAME, "Orientation mapping")
    assert again.session is session
    assert again.sections[Stage.CALIBRATE].unfolded


@pytest.mark.parametrize("seed", [0, 1])
def test_no_order_of_clicks_ends_in_a_traceback(
    viewer: Viewer,
    desk: OrientationMappingWidget,
    polycrystal: DataCube,
    tmp_path: Path,
    save_file_as: Callable[[Path | None], None],
    errors: list[str],
    monkeypatch: pytest.MonkeyPatch,
    qapp: QApplication,
    until: Until,
    seed: int,
) -> None:
    """Press every button and turn every choice in random order, with files that suit and files that do not."""
    uncaught: list[Any] = []
    monkeypatch.setattr(sys, "excepthook", lambda *error: uncaught.append(error))
    np.save(tmp_path / "scan.npy", polycrystal.data[:4, :4].compute())
    (tmp_path / "junk.h5").write_bytes(b"junk")
    answers = [
        None,
        tmp_path / "scan.npy",
        tmp_path / "junk.h5",
        tmp_path / "out.h5",
        tmp_path / "missing" / "x.h5",
    ]
    chance = random.Random(seed)
    for _ in range(120):
        save_file_as(chance.choice(answers))
        _do_something(desk, polycrystal, chance)
        qapp.processEvents()
    desk.session.discard_jobs()
    until(lambda: all(not panel._jobs for panel in desk.panels.values()))
    assert not uncaught
    assert not any("unexpected" in error for error in errors), errors


def _do_something(desk: OrientationMappingWidget, polycrystal: DataCube, chance: random.Random) -> None:
    controls = [
        widget
        for kind in (QAbstractButton, QComboBox)
        for widget in desk.findChildren(kind)
        if widget.isEnabled()
    ]
    what = chance.choice(["press", "press", "press", "scan", "position", "crystal", "calibrate"])
    session = desk.session
    if what == "scan" and chance.random() < 0.3:
        session.set_datacube(polycrystal)
    elif what == "position":
        session.set_position((chance.randrange(14), chance.randrange(14)))
    elif what == "crystal":
        session.set_crystals(())
        desk.panels[Stage.INDEX].crystals.add(chance.choice(["Cu", "Si", "nonsense"]))  # type: ignore[attr-defined]
    elif what == "calibrate" and session.calibration is not None:
        pixel_size = chance.choice([None, 0.02, 0.03])
        session.set_calibration(session.calibration.updated(pixel_size_inv_angstrom=pixel_size))
    else:
        control = chance.choice(controls)
        if isinstance(control, QComboBox) and control.count():
            control.setCurrentIndex(chance.randrange(control.count()))
            control.activated.emit(control.currentIndex())
        elif isinstance(control, QAbstractButton):
            control.click()
    _ = session_of(desk.panels[Stage.OPEN].viewer)
