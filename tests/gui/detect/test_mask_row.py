"""The detector mask in the Detect stage: found by itself, painted, kept in files; preview and detection obey it."""

from __future__ import annotations

from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot

from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.detection.rejected_maxima import Explained, Rejection
from napari_stem_orient.gui.detect import mask_row
from napari_stem_orient.gui.detect.mask_painting import MASK_NAME, PATTERN_NAME
from napari_stem_orient.gui.detect.widget import DetectWidget
from napari_stem_orient.session.session import Session
from napari_stem_orient.session.state import Stage
from napari_stem_orient.steps.detect import DetectChoice
from opened_scan import read_scan
from patience import Until
from shown_panel import ShowPanel

HOT = ((20, 30), (70, 12), (71, 80))


@pytest.fixture(scope="module")
def hot_scan(polycrystal: DataCube) -> DataCube:
    """A scan with three hot pixels."""
    data = np.asarray(polycrystal.data.compute()).copy()
    for y, x in HOT:
        data[:, :, y, x] += 2000
    return DataCube(da.from_array(data, chunks=(5, 6, -1, -1)), polycrystal.calibration, name="hot")


@pytest.fixture
def panel(show_panel: ShowPanel) -> DetectWidget:
    return show_panel(DetectWidget)


@pytest.fixture
def ready(panel: DetectWidget, hot_scan: DataCube, until: Until) -> DetectWidget:
    read_scan(panel.session, hot_scan)
    until(panel.run_button.isEnabled)
    return panel


def masked(session: Session) -> list[tuple[int, ...]]:
    mask = session.detector_mask
    return [] if mask is None else sorted(tuple(int(i) for i in place) for place in np.argwhere(mask))


def test_hot_pixels_are_left_out_by_themselves_and_the_panel_says_so(ready: DetectWidget) -> None:
    assert masked(ready.session) == sorted(HOT)
    assert ready.mask_row.folding.note.text() == "3 hot pixels are left out"
    assert ready.session.detection_parameters is not None


def test_all_pixels_are_used_where_the_user_says_so(ready: DetectWidget) -> None:
    ready.mask_row.clear_button.click()
    assert ready.session.detector_mask is None
    assert ready.mask_row.folding.note.text() == "All pixels are used"
    assert not ready.mask_row.clear_button.isEnabled()


def test_what_is_found_again_joins_the_mask_that_is_there(ready: DetectWidget, until: Until) -> None:
    mask = np.zeros((96, 96), dtype=bool)
    mask[5, 5] = True
    ready.session.set_detector_mask(mask)
    ready.mask_row.find_button.click()
    until(lambda: len(masked(ready.session)) == 4)
    assert (5, 5) in masked(ready.session)
    until(lambda: "3 hot pixels" in ready.message_label.text())


def test_a_painted_mask_is_taken_and_the_maps_come_back(ready: DetectWidget) -> None:
    viewer = ready.viewer
    before = [(layer.name, layer.visible) for layer in viewer.layers]
    ready.mask_row.paint_button.click()
    assert [layer.name for layer in viewer.layers if layer.visible] == [PATTERN_NAME, MASK_NAME]
    painted = viewer.layers[MASK_NAME]
    assert painted.mode == "paint"
    assert int(painted.data.sum()) == 3  # what is masked already is there to be changed
    units = {tuple(str(unit) for unit in layer.units) for layer in viewer.layers}
    assert len(units) == 1
    painted.data[40:44, 50:60] = 1
    ready.mask_row.use_button.click()
    assert len(masked(ready.session)) == 43
    assert ready.mask_row.folding.note.text() == "43 pixels are left out (0.47 %)"
    assert [(layer.name, layer.visible) for layer in viewer.layers] == before


def test_a_cancelled_painting_changes_nothing(ready: DetectWidget) -> None:
    before = [(layer.name, layer.visible) for layer in ready.viewer.layers]
    ready.mask_row.paint_button.click()
    ready.viewer.layers[MASK_NAME].data[:] = 1
    ready.mask_row.cancel_button.click()
    assert masked(ready.session) == sorted(HOT)
    assert [(layer.name, layer.visible) for layer in ready.viewer.layers] == before


def test_a_wholly_painted_or_deleted_mask_is_refused_in_words(ready: DetectWidget) -> None:
    ready.mask_row.paint_button.click()
    ready.viewer.layers[MASK_NAME].data[:] = 1
    ready.mask_row.use_button.click()
    assert "leave some pixels usable" in ready.message_label.text()
    ready.mask_row.paint_button.click()
    ready.viewer.layers.remove(MASK_NAME)
    ready.mask_row.use_button.click()
    assert "is gone" in ready.message_label.text()
    assert masked(ready.session) == sorted(HOT)
    assert PATTERN_NAME not in ready.viewer.layers


def test_another_scan_ends_the_painting_and_forgets_the_mask(
    ready: DetectWidget, polycrystal: DataCube, until: Until
) -> None:
    ready.mask_row.paint_button.click()
    read_scan(ready.session, polycrystal)
    assert PATTERN_NAME not in ready.viewer.layers
    until(lambda: ready.session.detection_parameters is not None)
    assert ready.session.detector_mask is None


@pytest.mark.parametrize("name", ["mask.npy", "mask.tif"])
def test_a_mask_is_saved_and_opened(
    ready: DetectWidget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, until: Until, name: str
) -> None:
    for question in ("ask_open_file", "ask_save_file"):
        monkeypatch.setattr(mask_row, question, lambda *_args, **_keywords: tmp_path / name)
    ready.mask_row.save_button.click()
    until(lambda: "Saved" in ready.message_label.text())
    ready.mask_row.clear_button.click()
    ready.mask_row.open_button.click()
    until(lambda: masked(ready.session) == sorted(HOT))


def test_a_mask_of_another_detector_is_refused_in_words(
    ready: DetectWidget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    np.save(tmp_path / "mask.npy", np.ones((4, 4), dtype=bool))
    monkeypatch.setattr(mask_row, "ask_open_file", lambda *_args, **_keywords: tmp_path / "mask.npy")
    ready.mask_row.open_button.click()
    until(lambda: "4 x 4 px but the detector 96 x 96" in ready.message_label.text())
    assert masked(ready.session) == sorted(HOT)


def disks_of(block: Explained) -> NDArray[np.float32]:
    return np.stack([block.y_px, block.x_px], axis=1)


def test_preview_and_detection_obey_the_mask(ready: DetectWidget, until: Until) -> None:
    session = ready.session
    session.set_position((2, 2))
    until(lambda: session.preview is not None)
    beam = session.probe is not None and disks_of(session.preview)[0]  # type: ignore[arg-type]
    mask = np.zeros((96, 96), dtype=bool)
    y, x = (round(float(value)) for value in beam)
    mask[y - 9 : y + 10, x - 1 : x + 9] = True
    session.set_detector_mask(mask)

    def beam_is_left_out() -> bool:
        shown = session.preview
        return isinstance(shown, Explained) and bool(np.all(np.hypot(*(disks_of(shown) - (y, x)).T) > 3))

    until(lambda: beam_is_left_out() and ready.run_button.isEnabled())
    shown = session.preview
    assert isinstance(shown, Explained)
    assert shown.rejected is not None
    assert Rejection.MASKED in shown.rejected.reasons
    ready.run_button.click()
    until(lambda: session.running_job(Stage.DETECT) is None and session.peaks is not None)
    peaks = session.peaks
    assert peaks is not None
    assert np.hypot(peaks.y_px - y, peaks.x_px - x).min() > 2
    assert peaks.parameters["mask"]["pixels"] == 190


def test_a_beam_stop_is_offered_and_taken_with_a_click(
    panel: DetectWidget, polycrystal: DataCube, until: Until
) -> None:
    rows, columns = np.ogrid[:96, :96]
    stop = np.hypot(rows - 47.5, columns - 47.5) < 7
    data = np.where(stop, 0, np.asarray(polycrystal.data.compute()))
    read_scan(panel.session, DataCube(da.from_array(data, chunks=(5, 6, -1, -1)), polycrystal.calibration))
    until(panel.mask_row.stop_button.isVisible)
    assert panel.session.detector_mask is None or not panel.session.detector_mask[stop].all()
    panel.mask_row.stop_button.click()
    mask = panel.session.detector_mask
    assert mask is not None
    assert mask[stop].all()
    assert mask.sum() < 2 * stop.sum()
    assert panel.mask_row.stop_button.isHidden()


def test_a_saturated_direct_beam_is_told(panel: DetectWidget, polycrystal: DataCube, until: Until) -> None:
    data = np.minimum(np.asarray(polycrystal.data.compute()), 255).astype(np.uint8)
    read_scan(panel.session, DataCube(da.from_array(data, chunks=(5, 6, -1, -1)), polycrystal.calibration))
    until(lambda: panel.session.probe is not None)
    assert "stop at 255 counts" in panel.mask_row.saturated_label.text()
    assert not panel.mask_row.saturated_label.isHidden()


def test_two_panels_of_one_viewer_plan_the_same(qtbot: QtBot, hot_scan: DataCube, until: Until) -> None:
    """A mask that one of them finds, or that is painted there, is none that somebody has painted in the other."""
    viewer = ViewerModel()
    one, other = DetectWidget(viewer), DetectWidget(viewer)  # type: ignore[arg-type]
    for panel in (one, other):
        qtbot.addWidget(panel)
        panel.show()
    read_scan(one.session, hot_scan)
    until(lambda: one.run_button.isEnabled() and other.run_button.isEnabled())
    assert one.planner.choice == DetectChoice()
    assert masked(one.session) == sorted(HOT)
    one.mask_row.paint_button.click()
    viewer.layers[MASK_NAME].data[40:44, 10:12] = 1
    one.mask_row.use_button.click()
    assert one.planner.choice.mask.kind == "painted"
    until(lambda: one.run_button.isEnabled() and other.run_button.isEnabled())
    assert len(masked(one.session)) == len(HOT) + 8
    assert other.planner.plan is not None
    assert np.array_equal(other.planner.plan.mask, one.session.detector_mask)
    assert other.message_label.text() == ""
