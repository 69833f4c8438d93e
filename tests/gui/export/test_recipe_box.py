"""Recipes in the window: what was done there is shown, saved, and repeated by the command line to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot
from qtpy.QtGui import QGuiApplication

from example_maps import example_map
from napari_stem_orient.cli.main import main
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.gui.calibrate.widget import CalibrateWidget
from napari_stem_orient.gui.detect.widget import DetectWidget
from napari_stem_orient.gui.export.widget import ExportWidget
from napari_stem_orient.gui.index.widget import IndexWidget
from napari_stem_orient.gui.parts.opener import opener_of
from napari_stem_orient.indexing.methods import MethodName
from napari_stem_orient.io.maps import open_orientation_map
from napari_stem_orient.io.peaks import open_bragg_peaks
from napari_stem_orient.session.session import Session
from napari_stem_orient.session.state import Stage
from napari_stem_orient.steps.detect import DetectChoice
from napari_stem_orient.steps.index import IndexChoice
from napari_stem_orient.steps.open import OpenChoice
from napari_stem_orient.steps.recipe_text import open_recipe
from patience import Until

Answer = Callable[[Path | None], None]


class Desk:
    """The panels of one session, without a window."""

    def __init__(self, qtbot: QtBot, until: Until) -> None:
        viewer: Any = ViewerModel()
        self.detect, self.calibrate = DetectWidget(viewer), CalibrateWidget(viewer)
        self.index, self.export = IndexWidget(viewer), ExportWidget(viewer)
        self.panels = (self.detect, self.calibrate, self.index, self.export)
        for panel in self.panels:
            qtbot.addWidget(panel)
        self.index.show()
        self.session: Session = self.detect.session
        self.until = until
        until(lambda: self.index.device_box.count() > 0)

    def open(self, path: Path) -> None:
        opener_of(self.session).open(path)
        self.until(lambda: self.session.summary is not None)

    def done(self, stage: Stage) -> None:
        self.until(lambda: self.session.running_job(stage) is None)


@pytest.fixture
def desk(qtbot: QtBot, until: Until) -> Desk:
    return Desk(qtbot, until)


@pytest.fixture
def scan_file(polycrystal: DataCube, tmp_path: Path) -> Path:
    """The polycrystal without its calibration, in a file."""
    np.save(tmp_path / "scan.npy", polycrystal.data.compute())
    return tmp_path / "scan.npy"


def walk(desk: Desk, scan: Path, calibration: Calibration) -> None:
    """From a file to a map, as a user goes: enter, mask, choose a value, detect, calibrate, index."""
    desk.open(scan)
    entered = Calibration(
        voltage_kv=calibration.voltage_kv, pixel_size_inv_angstrom=calibration.pixel_size_inv_angstrom
    )
    opener_of(desk.session).enter_calibration(entered)
    masked = np.zeros((96, 96), dtype=bool)
    masked[3:9, 80:90] = True
    desk.session.set_detector_mask(masked)
    desk.until(lambda: desk.detect.planner.ready)
    desk.detect.form.editor("edge_px").setValue(5.0)  # type: ignore[attr-defined]
    desk.until(desk.detect.run_button.isEnabled)
    desk.detect.run_button.click()
    desk.done(Stage.DETECT)
    desk.calibrate.fit_all_button.click()
    desk.done(Stage.CALIBRATE)
    desk.session.confirm_calibration("rotation")
    desk.index.crystals.add("Cu")
    desk.index.forms[MethodName.TRANSFORMER].editor("n_candidates").setValue(5)  # type: ignore[attr-defined]
    desk.until(desk.index.run_button.isEnabled)
    desk.index.run_button.click()
    desk.done(Stage.INDEX)


def test_a_recipe_recorded_in_the_window_makes_equal_peaks_and_an_equal_map(
    desk: Desk, scan_file: Path, polycrystal: DataCube, tmp_path: Path, save_file_as: Answer
) -> None:
    walk(desk, scan_file, polycrystal.calibration)
    made, peaks = desk.session.current_map, desk.session.peaks
    assert made is not None
    assert peaks is not None
    box = desk.export.recipe_box
    box.show_button.click()
    assert "edge_px: 5.0" in box.text.toPlainText()
    save_file_as(tmp_path / "r.yaml")
    box.save_button.click()
    desk.until((tmp_path / "r.yaml").exists)
    assert (tmp_path / "r_mask.npy").exists()  # it was painted, and in no file
    assert (
        main(["run", str(tmp_path / "r.yaml"), str(scan_file), "--output", str(tmp_path / "out"), "--quiet"])
        == 0
    )
    again = open_bragg_peaks(tmp_path / "out" / "scan_peaks.h5")
    for name in ("x_px", "y_px", "intensity", "offsets", "significance", "q_x", "q_y", "origin_px"):
        assert np.array_equal(getattr(again, name), getattr(peaks, name)), name
    assert again.calibration == peaks.calibration
    replayed = open_orientation_map(tmp_path / "out" / "scan_map.h5")
    for name, values in made.arrays().items():
        assert np.array_equal(replayed.arrays()[name], values, equal_nan=values.dtype.kind == "f"), name
    assert made.indexed_fraction > 0.5
    names = [step["step"] for step in made.recipe["steps"]]
    assert names[:2] == ["open", "detect"]
    assert names[-1] == "index"
    assert "calibrate" in names


def test_what_is_chosen_by_now_is_not_what_was_done(desk: Desk, scan_file: Path) -> None:
    desk.open(scan_file)
    desk.until(lambda: desk.detect.planner.ready)
    desk.until(desk.detect.run_button.isEnabled)
    desk.detect.run_button.click()
    desk.done(Stage.DETECT)
    desk.detect.form.editor("edge_px").setValue(7.0)  # type: ignore[attr-defined]
    box = desk.export.recipe_box
    box.show_button.click()
    assert "edge_px" not in box.text.toPlainText()
    box.copy_button.click()
    clipboard = QGuiApplication.clipboard()
    assert clipboard is not None
    assert clipboard.text() == box.text.toPlainText()


def test_an_opened_recipe_sets_the_panels(
    desk: Desk, scan_file: Path, tmp_path: Path, save_file_as: Answer
) -> None:
    (tmp_path / "r.yaml").write_text(
        "version: 1\nsteps:\n- step: open\n  calibration: {voltage_kv: 120}\n- step: detect\n"
        "  probe: {radius_px: 3.5}\n  parameters: {edge_px: 6}\n- step: index\n  crystals: [{source: Cu2O}]\n"
        "  parameters: {n_candidates: 3}\n"
    )
    desk.open(scan_file)
    desk.until(lambda: desk.detect.planner.ready)
    save_file_as(tmp_path / "r.yaml")
    desk.export.recipe_box.open_button.click()
    desk.until(lambda: [crystal.name for crystal in desk.session.crystals] == ["Cu2O"])
    desk.until(lambda: desk.detect.planner.ready)
    state = desk.session.state
    assert state.choice(DetectChoice).probe.radius_px == 3.5
    desk.until(lambda: getattr(desk.session.detection_parameters, "edge_px", None) == 6)
    assert state.calibration is not None
    assert state.calibration.voltage_kv == 120
    assert state.choice(IndexChoice).parameters.model_dump()["n_candidates"] == 3
    assert desk.index.choice.crystals[0].source == "Cu2O"


def test_a_broken_recipe_changes_nothing_and_says_its_line(
    desk: Desk, tmp_path: Path, save_file_as: Answer, errors: list[str]
) -> None:
    (tmp_path / "r.yaml").write_text("version: 1\nsteps:\n- step: detect\n  parameters: {edge_px: -6}\n")
    save_file_as(tmp_path / "r.yaml")
    before = desk.session.state
    desk.export.recipe_box.open_button.click()
    desk.until(lambda: "line 4" in desk.export.message_label.text() or errors)
    assert desk.session.state.choices == before.choices


def test_a_result_of_an_earlier_version_says_that_it_knows_no_recipe(desk: Desk) -> None:
    desk.session.set_map(example_map())
    box = desk.export.recipe_box
    assert not box.save_button.isEnabled()
    assert "does not say how it was made" in box.note.text()


def test_saved_results_hold_the_recipe(
    desk: Desk, scan_file: Path, tmp_path: Path, save_file_as: Answer
) -> None:
    desk.open(scan_file)
    desk.until(lambda: desk.detect.planner.ready)
    desk.until(desk.detect.run_button.isEnabled)
    desk.detect.run_button.click()
    desk.done(Stage.DETECT)
    save_file_as(tmp_path / "peaks.h5")
    desk.export.peaks_button.click()
    desk.until((tmp_path / "peaks.h5").exists)
    assert [type(step) for step in open_recipe(tmp_path / "peaks.h5").steps] == [OpenChoice, DetectChoice]
