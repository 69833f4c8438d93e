"""The dock "Virtual detectors": what is drawn is what is counted, and what is counted is a layer."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot

from napari_stem_orient.core.bragg_peaks import BraggPeaks, DetectedBlock
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.gui.canvas.layers import LayerKind, layer_identity
from napari_stem_orient.gui.canvas.scan_region import DIFFRACTION_REGION
from napari_stem_orient.gui.virtual import imager as virtual_imager
from napari_stem_orient.gui.virtual.layers import VirtualLayers, spread
from napari_stem_orient.gui.virtual.pattern import Source
from napari_stem_orient.gui.virtual.widget import VirtualWidget
from napari_stem_orient.steps import virtual as virtual_step
from napari_stem_orient.steps.virtual import VirtualChoice
from napari_stem_orient.virtual.detector import VirtualDetector, bright_field
from napari_stem_orient.virtual.images import VirtualBlock
from opened_scan import read_scan
from patience import Until

pytestmark = pytest.mark.bindings

SCAN, DETECTOR = (6, 8), (48, 56)
CALIBRATION = Calibration(voltage_kv=300, pixel_size_inv_angstrom=0.02, scan_step_nm=2.0)
SPOT = np.arange(48, dtype=np.float32).reshape(SCAN)


def drifting_scan(*, drift_px: int = 0, **calibration: Any) -> DataCube:
    """A direct beam of radius 3 px at (20, 24), moving down with the rows of the scan, and a disk 14 columns from it.

    The beam's pixels hold 100 counts, those of the disk as many as its flat position.
    """
    rows, columns = np.indices(DETECTOR)
    frames = np.zeros((*SCAN, *DETECTOR), dtype=np.uint16)
    for index in range(48):
        y, x = divmod(index, 8)
        middle = 20 + drift_px * y
        frames[y, x] += (100 * (np.hypot(rows - middle, columns - 24) <= 3)).astype(np.uint16)
        frames[y, x] += (index * (np.hypot(rows - middle, columns - 38) <= 3)).astype(np.uint16)
    data = da.from_array(frames, chunks=(1, 8, -1, -1))
    return DataCube(data, CALIBRATION.updated(**calibration), name="drifting.npy")


@pytest.fixture
def dock(qtbot: QtBot) -> VirtualWidget:
    dock = VirtualWidget(ViewerModel())  # type: ignore[arg-type]
    qtbot.addWidget(dock)
    dock.show()
    return dock


@pytest.fixture
def ready(dock: VirtualWidget, until: Until) -> VirtualWidget:
    read_scan(dock.session, drifting_scan(origin_px=(20, 24)))
    until(lambda: dock.view.pattern is not None)
    return dock


def image(dock: VirtualWidget, key: int) -> np.ndarray:
    layer = dock.layers.layer(key)
    return np.empty(0) if layer is None else np.asarray(layer.data)


def all_computed(dock: VirtualWidget) -> bool:
    entries = dock.detectors.entries
    return not dock.imager.running and all(map(dock.imager.up_to_date, entries))


def test_without_a_scan_the_dock_says_what_to_do(dock: VirtualWidget) -> None:
    assert "Open a 4D-STEM scan" in dock.title_label.text()
    assert not dock.bright_button.isEnabled()
    assert not dock.compute_button.isEnabled()


def test_presets_make_layers_of_what_lies_inside_and_outside_the_beam(
    ready: VirtualWidget, until: Until
) -> None:
    ready.bright_button.click()
    ready.dark_button.click()
    until(lambda: all_computed(ready))
    bright, dark = ready.detectors.entries
    assert bright.detector.outer_radius_px == pytest.approx(3, abs=0.5)
    assert bright.detector.outer_radius_px < dark.detector.inner_radius_px < 14 - 3
    assert dark.detector.outer_radius_px == 20.5  # to the upper edge of the detector
    n_pixels = 29  # of a disk of radius 3
    np.testing.assert_allclose(image(ready, dark.key), n_pixels * SPOT, rtol=1e-6)
    assert np.ptp(image(ready, bright.key)) == 0
    layer = ready.layers.layer(dark.key)
    assert layer is not None
    assert layer.name == "Annular dark field"
    assert tuple(layer.scale) == (2.0, 2.0)
    assert layer_identity(layer) == (LayerKind.VIRTUAL_IMAGE, "")
    assert [ready.list_view.note(entry.key) for entry in (bright, dark)] == ["✓", "✓"]


def test_a_click_on_a_reflection_puts_a_disk_on_it(ready: VirtualWidget, until: Until) -> None:
    ready.disk_button.click()
    ready.view.click_at(*ready.view.view_position(36.5, 21.0))  # beside the disk at column 38, row 20
    until(lambda: all_computed(ready) and ready.detectors.entries)
    (entry,) = ready.detectors.entries
    assert entry.detector.centre_px == pytest.approx((0, 14), abs=0.05)
    counts = image(ready, entry.key)
    assert (
        counts.max() > 20 * 47
    )  # the disk has 29 pixels, of which the direct beam's radius as it is seen covers most
    np.testing.assert_allclose(counts, counts.max() / 47 * SPOT, rtol=1e-5)
    assert not ready.disk_button.isChecked()
    assert ready.form.isVisible()


def test_dragging_the_circle_moves_the_detector_and_its_image(ready: VirtualWidget, until: Until) -> None:
    entry = ready.detectors.add(bright_field(4))
    until(lambda: entry.key in ready.view.drawn_items)
    (circle,) = ready.view.drawn_items[entry.key].circles
    circle.translate(14 * 0.02, 0)  # to the disk, in 1/Å
    until(lambda: all_computed(ready))
    moved = ready.detectors.entries[0].detector
    assert moved.centre_px == pytest.approx((0, 14), abs=1e-6)
    np.testing.assert_allclose(image(ready, entry.key), 29 * SPOT, rtol=1e-6)
    assert ready.form.column_box.value() == pytest.approx(14)


def test_the_handle_of_a_small_disk_leaves_the_disk_to_be_moved(ready: VirtualWidget, until: Until) -> None:
    ready.live_box.setChecked(False)
    entry = ready.detectors.add(bright_field(1))
    until(lambda: entry.key in ready.view.drawn_items and ready.view.drawn_items[entry.key].circles)
    (circle,) = ready.view.drawn_items[entry.key].circles
    handle = circle.getHandles()[0]
    assert handle.scenePos() != circle.mapToScene(*circle.size() / 2)
    rim = circle.mapToScene(circle.size() * (0.5 + 0.5 * 2**-0.5))
    gap = handle.scenePos() - rim
    assert min(gap.x(), gap.y()) >= 4
    circle.scale(3, center=(0.5, 0.5))
    assert ready.detectors.entries[0].detector.outer_radius_px == pytest.approx(3)


def test_an_annulus_keeps_its_width_while_its_circles_are_resized(ready: VirtualWidget, until: Until) -> None:
    ready.live_box.setChecked(False)
    ready.dark_button.click()
    (entry,) = ready.detectors.entries
    until(lambda: entry.key in ready.view.drawn_items)
    outer, inner = ready.view.drawn_items[entry.key].circles
    inner.scale(100, center=(0.5, 0.5))
    detector = ready.detectors.entries[0].detector
    assert detector.inner_radius_px == pytest.approx(detector.outer_radius_px - 0.5)
    outer.scale(0.001, center=(0.5, 0.5))
    assert ready.detectors.entries[0].detector.outer_radius_px == pytest.approx(
        detector.inner_radius_px + 0.5
    )
    assert ready.list_view.note(entry.key) == "○ not computed"


def test_numbers_change_the_detector_and_impossible_ones_are_put_back(ready: VirtualWidget) -> None:
    ready.live_box.setChecked(False)
    ready.dark_button.click()
    ready.form.outer_box.setValue(12)
    ready.form.inner_box.setValue(15)
    detector = ready.detectors.entries[0].detector
    assert (detector.inner_radius_px, detector.outer_radius_px) == (ready.form.inner_box.value(), 12)
    assert detector.inner_radius_px < 12
    ready.form.follow_box.setChecked(False)
    assert ready.detectors.entries[0].detector.centre_px == (20, 24)  # where it was seen
    ready.form.follow_box.setChecked(True)
    assert ready.detectors.entries[0].detector == detector


def test_detectors_follow_the_beam_that_the_peaks_know(dock: VirtualWidget, until: Until) -> None:
    read_scan(dock.session, drifting_scan(drift_px=2, origin_px=(25, 24)))
    entry = dock.detectors.add(bright_field(4))
    dock.imager.compute_all()
    until(lambda: all_computed(dock))
    assert np.ptp(image(dock, entry.key)) > 0
    origins = np.stack([20.0 + 2 * (np.arange(48) // 8), np.full(48, 24.0)], axis=1)
    block = DetectedBlock(
        np.arange(48),
        *(np.float32(values) for values in (origins[:, 1], origins[:, 0], np.ones(48))),
        offsets=np.arange(49),
        progress=Progress(48, 48, "patterns"),
    )
    peaks = BraggPeaks.from_blocks(
        [block], scan_shape=SCAN, calibration=CALIBRATION, detector_shape=DETECTOR, origin_px=origins
    )
    dock.session.set_peaks(peaks)
    until(lambda: all_computed(dock))
    np.testing.assert_array_equal(image(dock, entry.key), 2900)


def test_masked_pixels_do_not_count(ready: VirtualWidget, until: Until) -> None:
    entry = ready.detectors.add(bright_field(4))
    mask = np.zeros(DETECTOR, dtype=bool)
    mask[20] = True  # seven pixels of the beam
    ready.session.set_detector_mask(mask)
    ready.compute_button.click()
    until(lambda: all_computed(ready))
    np.testing.assert_array_equal(image(ready, entry.key), 2200)


def test_a_renamed_detector_renames_its_layer_unless_the_user_has(ready: VirtualWidget, until: Until) -> None:
    first, second = ready.detectors.add(bright_field(3)), ready.detectors.add(bright_field(5))
    ready.compute_button.click()
    until(lambda: all_computed(ready))
    layers = [ready.layers.layer(entry.key) for entry in (first, second)]
    assert layers[0] is not None
    assert layers[1] is not None
    layers[1].name = "mine"
    for row, name in enumerate(("beam", "wide")):
        item = ready.list_view.topLevelItem(row)
        assert item is not None
        item.setText(0, name)
    assert [entry.detector.name for entry in ready.detectors.entries] == ["beam", "wide"]
    assert [layer.name for layer in layers if layer is not None] == ["beam", "mine"]
    assert all_computed(ready)  # a name changes no count
    ready.remove_button.click()
    assert [entry.detector.name for entry in ready.detectors.entries] == ["beam"]


def slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the virtual images come row by row, without an end before someone stops."""

    def rows(choice: VirtualChoice, scene: Any, **_: Any) -> Any:
        import time

        detectors = choice.detectors

        for y in range(SCAN[0] - 1):
            counts = np.ones((len(detectors), 8), dtype=np.float32)
            yield VirtualBlock(np.arange(8 * y, 8 * y + 8), counts, Progress(8 * y + 8, 48, "patterns"))
        while True:
            time.sleep(0.01)
            yield VirtualBlock(np.arange(8), counts, Progress(40, 48, "patterns"))

    monkeypatch.setattr("napari_stem_orient.gui.virtual.imager.images_of", rows)


def test_a_cancelled_computation_leaves_what_was_counted(
    ready: VirtualWidget, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    slowly(monkeypatch)
    ready.live_box.setChecked(False)
    entry = ready.detectors.add(bright_field(4))
    ready.compute_button.click()
    assert ready.job_bar.isVisible()
    assert ready.list_view.note(entry.key) == "▶ computing"
    until(lambda: image(ready, entry.key).size and np.isfinite(image(ready, entry.key)[:5]).all())
    ready.job_bar.cancel_button.click()
    until(lambda: not ready.imager.running)
    assert "Stopped" in ready.message_label.text()
    assert np.isnan(image(ready, entry.key)[5]).all()
    assert ready.compute_button.isEnabled()
    assert not ready.save_button.isEnabled()


@pytest.mark.parametrize("live", [False, True])
def test_an_image_is_out_of_date_when_the_mask_changes_while_it_is_computed(
    ready: VirtualWidget, until: Until, live: bool
) -> None:
    ready.live_box.setChecked(live)
    entry = ready.detectors.add(bright_field(4))
    ready.compute_button.click()
    mask = np.zeros(DETECTOR, dtype=bool)
    mask[20] = True  # seven pixels of the beam
    ready.session.set_detector_mask(mask)
    if live:
        until(lambda: all_computed(ready))
        np.testing.assert_array_equal(image(ready, entry.key), 2200)
        return
    until(lambda: not ready.imager.running)
    np.testing.assert_array_equal(image(ready, entry.key), 2900)
    assert ready.list_view.note(entry.key) == "⚠ out of date"
    assert not ready.save_button.isEnabled()


def test_a_live_computation_shows_its_bar_only_when_it_takes_long(
    ready: VirtualWidget, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    slowly(monkeypatch)
    monkeypatch.setattr(virtual_imager, "LATE_MS", 0)
    ready.bright_button.click()
    assert not ready.job_bar.isVisible()
    until(ready.job_bar.isVisible)
    ready.session.set_datacube(None)
    until(lambda: not ready.job_bar.isVisible())


def test_the_pattern_of_what_is_drawn_over_the_map(ready: VirtualWidget, until: Until) -> None:
    ready.chooser.use_button.click()
    assert "no region is drawn" in ready.message_label.text()
    ready.chooser.draw_button.click()
    assert ready.chooser.title == "Draw over the map."
    shapes = ready.viewer.layers[DIFFRACTION_REGION.layer_name]
    shapes.add_rectangles([[-0.5, 1.5], [-0.5, 3.5], [0.5, 3.5], [0.5, 1.5]])  # row 0, columns 2 and 3
    until(lambda: ready.chooser.region is not None)
    region = ready.chooser.region
    assert region is not None
    assert region.n_positions == 2
    assert region.mean[20, 38] == 2.5
    until(lambda: ready.view.pattern is region.mean)
    assert ready.title_label.text() == "Mean of the region: 2 patterns"
    ready.chooser.source_box.setCurrentText(Source.REGION_MAXIMUM)
    until(lambda: ready.view.pattern is region.maximum)


def test_the_pattern_of_a_region_follows_beam_and_mask(ready: VirtualWidget, until: Until) -> None:
    marked = np.zeros(SCAN, dtype=int)
    marked[5, 7] = 3
    ready.viewer.add_labels(marked)
    ready.chooser.use_button.click()
    until(lambda: ready.chooser.region is not None)
    first = ready.chooser.region
    mask = np.zeros(DETECTOR, dtype=bool)
    mask[20, 38] = True
    ready.session.set_detector_mask(mask)
    until(lambda: ready.chooser.region is not first)
    masked = ready.chooser.region
    assert masked is not None
    assert masked.mean[20, 38] != 47
    ready.chooser.source_box.setCurrentText(Source.MEAN)
    ready.session.set_calibration(CALIBRATION.updated(origin_px=(22, 25)))
    assert ready.chooser.region is masked  # nobody looks at it
    ready.chooser.source_box.setCurrentText(Source.REGION)
    until(lambda: ready.chooser.region is not masked)
    assert ready.chooser.origin_px == (22, 25)


def test_a_region_that_is_not_read_to_its_end_is_not_waited_for(
    ready: VirtualWidget, until: Until, monkeypatch: pytest.MonkeyPatch, errors: list[str]
) -> None:
    def broken(*_args: Any, **_keywords: Any) -> Any:
        yield SimpleNamespace(mean=np.ones(DETECTOR, np.float32), progress=Progress(1, 48, "patterns"))
        raise OSError("the disk is gone")

    monkeypatch.setattr(virtual_step, "virtual_diffraction", broken)
    ready.viewer.add_labels(np.ones(SCAN, dtype=int))
    ready.chooser.use_button.click()
    until(lambda: "the disk is gone" in ready.message_label.text())
    assert "Draw region" in ready.chooser.title
    assert ready.chooser.pattern is None


def test_labels_mark_a_region_too(ready: VirtualWidget, until: Until) -> None:
    marked = np.zeros(SCAN, dtype=int)
    marked[5, 7] = 3
    ready.viewer.add_labels(marked)
    ready.chooser.use_button.click()
    until(lambda: ready.chooser.region is not None)
    assert ready.chooser.region is not None
    assert ready.chooser.region.mean[20, 38] == 47


def test_single_patterns_and_the_maximum_can_be_looked_at(ready: VirtualWidget, until: Until) -> None:
    ready.chooser.source_box.setCurrentText(Source.POSITION)
    assert ready.chooser.title == "Click a position in the map."
    ready.session.set_position((2, 5))
    until(lambda: ready.view.pattern is not None and ready.view.pattern[20, 38] == 21)
    ready.chooser.source_box.setCurrentText(Source.MAXIMUM)
    until(lambda: ready.view.pattern is not None and ready.view.pattern[20, 38] == 47)


def test_a_pattern_opens_in_a_window_of_its_own_with_the_beam_at_zero(
    ready: VirtualWidget, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows: list[ViewerModel] = []

    def window(**keywords: Any) -> ViewerModel:
        windows.append(ViewerModel(**keywords))
        return windows[-1]

    monkeypatch.setattr("napari.Viewer", window)
    ready.chooser.open_button.click()
    (layer,) = windows[0].layers
    np.testing.assert_array_equal(layer.data, ready.session.mean_pattern)
    assert layer.data_to_world((20, 24)) == pytest.approx((0, 0))
    assert layer.data_to_world((20, 25)) == pytest.approx((0, 0.2))  # 0.02 1/Å are 0.2 1/nm


def test_another_scan_takes_images_and_region_away(ready: VirtualWidget, until: Until) -> None:
    ready.bright_button.click()
    ready.chooser.draw_button.click()
    until(lambda: all_computed(ready))
    read_scan(ready.session, drifting_scan(drift_px=1, origin_px=(20, 24)))
    names = [layer.name for layer in ready.viewer.layers]
    assert names == ["Virtual dark field"]
    (entry,) = ready.detectors.entries  # of the same detector: it stays
    assert ready.list_view.note(entry.key) == "○ not computed"
    assert ready.message_label.text() == "Detectors as in the last scan."


def test_images_are_saved_with_their_detectors(
    ready: VirtualWidget, until: Until, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not ready.save_button.isEnabled()
    ready.detectors.add(bright_field(4))
    ready.compute_button.click()
    until(ready.save_button.isEnabled)
    path = tmp_path / "images.npy"
    monkeypatch.setattr("napari_stem_orient.gui.virtual.widget.ask_save_file", lambda *_, **__: path)
    ready.save_button.click()
    until(lambda: ready.message_label.text() == "Saved images.npy.")
    np.testing.assert_array_equal(np.load(path), np.full((1, *SCAN), 2900))


def test_an_error_is_one_line_and_leaves_the_dock_usable(
    ready: VirtualWidget, until: Until, errors: list[str]
) -> None:
    ready.live_box.setChecked(False)
    ready.detectors.add(VirtualDetector(name="far", centre_px=(0, 99)))
    ready.compute_button.click()
    until(lambda: errors)
    assert "“far” lies outside the detector of 48 x 56 px" in ready.message_label.text()
    assert ready.compute_button.isEnabled()


def test_a_coarse_grid_stands_for_its_surroundings() -> None:
    positions = np.array([0, 4, 24, 28])  # rows 0 and 3, columns 0 and 4 of 6 x 8
    coarse = spread(positions, np.array([1, 2, 3, 4], dtype=np.float32), SCAN)
    np.testing.assert_array_equal(coarse[:2, :3], 1)
    np.testing.assert_array_equal(coarse[:2, 3:], 2)
    np.testing.assert_array_equal(coarse[2:, 3:], 4)


def test_what_a_layer_shows_stays_until_it_is_overwritten(ready: VirtualWidget) -> None:
    viewer = ViewerModel()
    layers = VirtualLayers(viewer)  # type: ignore[arg-type]
    entry = ready.detectors.add(bright_field(4))

    def block(row: int, value: float, done: int) -> VirtualBlock:
        counts = np.full((1, 8), value, dtype=np.float32)
        return VirtualBlock(np.arange(8 * row, 8 * row + 8), counts, Progress(done, 48, "patterns"))

    for value in (1.0, 2.0):
        layers.start((entry,), SCAN, CALIBRATION)
        layers.fill(block(0, value, 8))
        if value == 1:
            layers.fill(block(1, value, 16))
        layers.paint()
    layer = layers.layer(entry.key)
    assert layer is not None
    assert layer.data[:2, 0].tolist() == [2, 1]
    assert np.isnan(layer.data[2:]).all()
    layers.close()
