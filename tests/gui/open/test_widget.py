"""The Open stage: files of every kind, the question for a scan shape, and calibrations with gaps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent
from qtpy.QtWidgets import QPushButton

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.gui.open.widget import OpenWidget, missing_text, scan_shape_from_text, size_text
from napari_stem_orient.gui.parts.number_box import NumberBox
from napari_stem_orient.io import scans
from napari_stem_orient.io.peaks import save_bragg_peaks
from napari_stem_orient.session.rules import StageState
from napari_stem_orient.session.state import Stage
from patience import Until

pytestmark = pytest.mark.bindings

CALIBRATION = Calibration(voltage_kv=300, pixel_size_inv_angstrom=0.02, scan_step_nm=2, origin_px=(8, 8))


@pytest.fixture
def panel(qtbot: QtBot) -> OpenWidget:
    panel = OpenWidget(ViewerModel())  # type: ignore[arg-type]
    qtbot.addWidget(panel)
    return panel


def patterns(*shape: int) -> np.ndarray:
    frames = np.random.default_rng(0).poisson(2, shape).astype(np.uint16)
    frames[..., 6:10, 6:10] += 50
    return frames


def is_open(panel: OpenWidget) -> bool:
    """Whether a scan is open and read, whatever its calibration lacks."""
    session = panel.session
    return session.scan_shape is not None and session.running_job(Stage.OPEN) is None


def test_a_scan_opens_and_its_virtual_dark_field_is_summed(
    until: Until, panel: OpenWidget, tmp_path: Path
) -> None:
    np.save(tmp_path / "scan.npy", patterns(4, 5, 16, 16))
    panel.open_path(tmp_path / "scan.npy")
    until(lambda: is_open(panel) and panel.session.summary is not None)
    assert "scan 4 x 5, detector 16 x 16 px, uint16" in panel.info_label.text()
    assert panel.session.summary is not None
    assert panel.session.summary.dark_field.shape == (4, 5)
    assert "pixel size (1/Å)" in panel.missing_label.text()
    assert panel.session.stage_state(Stage.OPEN) is StageState.BLOCKED
    assert panel.session.stage_needs(Stage.OPEN) == ["pixel size (1/Å)", "accelerating voltage (kV)"]


def test_open_is_done_only_when_nothing_is_missing_and_a_link_leads_to_what_is(
    until: Until, panel: OpenWidget, tmp_path: Path
) -> None:
    np.save(tmp_path / "scan.npy", patterns(4, 5, 16, 16))
    panel.open_path(tmp_path / "scan.npy")
    until(lambda: is_open(panel))
    seen: list[object] = []
    panel.must_be_seen.connect(seen.append)
    for name, number in (("voltage_kv", 200), ("pixel_size_inv_angstrom", 0.0125)):
        assert panel.session.stage_state(Stage.OPEN) is not StageState.DONE
        assert name in panel.missing_label.links
        panel.missing_label.linkActivated.emit(name)
        box = panel.form.editor(name)
        assert isinstance(box, NumberBox)
        assert seen[-1] is box
        window = panel.window()
        assert window is not None
        assert window.focusWidget() is box
        box.setValue(number)
        assert name not in panel.missing_label.links
    assert panel.session.stage_state(Stage.OPEN) is StageState.DONE


def test_after_a_refused_file_the_scan_before_is_not_taken_for_it(
    until: Until, panel: OpenWidget, tmp_path: Path, errors: list[str]
) -> None:
    panel.session.set_datacube(DataCube(_lazy(patterns(2, 3, 16, 16)), CALIBRATION, name="good"))
    until(lambda: is_open(panel) and panel.session.summary is not None)
    assert panel.session.stage_state(Stage.OPEN) is StageState.DONE
    panel.open_path(tmp_path / "bad.h5")
    until(lambda: panel.session.running_job(Stage.OPEN) is None)
    assert panel.session.stage_state(Stage.OPEN) is StageState.BLOCKED
    assert panel.session.stage_needs(Stage.OPEN) == ["another file: bad.h5 could not be opened"]
    assert panel.state_label.text() == "Needs another file: bad.h5 could not be opened."
    assert not panel.state_label.isHidden()
    assert panel.info_label.text().startswith("Still open: good:")
    np.save(tmp_path / "scan.npy", patterns(4, 5, 16, 16))
    panel.open_path(tmp_path / "scan.npy")
    until(lambda: is_open(panel) and panel.session.scan_shape == (4, 5))
    assert panel.state_label.isHidden()
    assert not panel.info_label.text().startswith("Still")


def test_while_a_scan_shape_is_asked_for_open_is_not_done(
    until: Until, panel: OpenWidget, tmp_path: Path
) -> None:
    panel.session.set_datacube(DataCube(_lazy(patterns(2, 3, 16, 16)), CALIBRATION))
    until(lambda: is_open(panel) and panel.session.summary is not None)
    np.save(tmp_path / "stack.npy", patterns(24, 16, 16))
    panel.open_path(tmp_path / "stack.npy")
    until(lambda: not panel.shape_row.isHidden() and panel.session.running_job(Stage.OPEN) is None)
    assert panel.session.stage_needs(Stage.OPEN) == ["the scan shape of stack.npy"]
    panel.shape_button.click()
    until(lambda: is_open(panel) and panel.session.scan_shape == (4, 6))
    assert panel.session.stage_needs(Stage.OPEN) == ["pixel size (1/Å)", "accelerating voltage (kV)"]


def test_a_typed_pixel_size_reaches_scan_and_peaks_and_is_missing_no_more(
    until: Until, panel: OpenWidget, tmp_path: Path
) -> None:
    np.save(tmp_path / "scan.npy", patterns(4, 5, 16, 16))
    panel.open_path(tmp_path / "scan.npy")
    until(lambda: is_open(panel))
    box = panel.form.editor("pixel_size_inv_angstrom")
    assert isinstance(box, NumberBox)
    assert box.text() == "missing"
    box.setValue(0.0125)
    assert panel.session.calibration is not None
    assert panel.session.calibration.pixel_size_inv_angstrom == 0.0125
    assert "pixel size" not in panel.missing_label.text()
    assert "accelerating voltage (kV)" in panel.missing_label.text()


def test_a_pixel_angle_becomes_a_pixel_size_with_the_voltage_and_follows_it(
    until: Until, panel: OpenWidget
) -> None:
    known = Calibration(pixel_angle_mrad=0.5)
    panel.session.set_datacube(DataCube(_lazy(patterns(2, 3, 16, 16)), known))
    until(lambda: is_open(panel))
    assert "0.5 mrad a pixel: the pixel size follows from the voltage" in panel.missing_label.text()
    for voltage, wavelength in ((300, 0.019687), (200, 0.025079)):
        editor = panel.form.editor("voltage_kv")
        editor.set_number(voltage)
        editor.valueChanged.emit(float(voltage))
        size = panel.session.calibration.pixel_size_inv_angstrom
        assert size == pytest.approx(0.5e-3 / wavelength, rel=1e-4)
        assert panel.form.editor("pixel_size_inv_angstrom").number() == pytest.approx(size)


def test_a_stack_asks_for_its_scan_shape_and_opens_with_the_answer(
    until: Until, panel: OpenWidget, tmp_path: Path
) -> None:
    np.save(tmp_path / "stack.npy", patterns(24, 16, 16))
    panel.open_path(tmp_path / "stack.npy")
    until(lambda: not panel.shape_row.isHidden())
    assert "24 frames" in panel.shape_label.text()
    assert panel.shape_box.itemText(0) == "4 x 6"
    panel.shape_box.setEditText("3 x 8")
    panel.shape_button.click()
    until(lambda: is_open(panel))
    assert panel.session.scan_shape == (3, 8)
    assert panel.shape_row.isHidden()


def test_a_frame_too_many_can_be_left_out_by_a_button_and_by_the_boxes(
    until: Until, panel: OpenWidget, tmp_path: Path
) -> None:
    frames = patterns(25, 16, 16)
    np.save(tmp_path / "stack.npy", frames)
    panel.open_path(tmp_path / "stack.npy")
    until(lambda: not panel.shape_row.isHidden())
    panel.shape_box.setEditText("4 x 6")
    panel.shape_button.click()
    until(lambda: "One too many for 4 x 6" in panel.message_label.text())
    until(lambda: not panel.shape_row.ways_out.isHidden())
    assert panel.shape_box.currentText() == "4 x 6"
    assert panel.session.datacube is None
    buttons = panel.shape_row.ways_out.findChildren(QPushButton)
    assert [button.text() for button in buttons if not button.isHidden()] == [
        "Leave out the first",
        "Leave out the last",
    ]
    next(button for button in buttons if button.text() == "Leave out the first").click()
    until(lambda: is_open(panel))
    assert np.array_equal(panel.session.datacube.pattern(0, 0), frames[1])
    assert "Frames 2 to 25 of 25 are the scan" in panel.info_label.text()
    panel.frames_button.click()  # opened again, with the other end
    assert panel.shape_row.first_box.number() == 2
    panel.shape_row.first_box.set_number(None)
    panel.shape_row.last_box.set_number(24)
    panel.shape_button.click()
    until(lambda: is_open(panel) and "Frames 1 to 24 of 25" in panel.info_label.text())
    assert np.array_equal(panel.session.datacube.pattern(0, 0), frames[0])


def test_a_lost_frame_can_be_said_and_is_told(until: Until, panel: OpenWidget, tmp_path: Path) -> None:
    np.save(tmp_path / "stack.npy", patterns(23, 16, 16))
    panel.open_path(tmp_path / "stack.npy", scan_shape=(4, 6))
    until(lambda: not panel.shape_row.ways_out.isHidden())
    panel.shape_box.setEditText("4 x 6")
    panel.shape_row.lost_line.setText("banana")
    panel.shape_button.click()
    assert "'banana' is no position of the scan" in panel.message_label.text()
    panel.shape_row.lost_line.setText("7")
    panel.shape_button.click()
    until(lambda: is_open(panel))
    assert "1 of 24 positions have no pattern" in panel.info_label.text()
    assert np.array_equal(panel.session.datacube.missing.ravel().nonzero()[0], [6])


def test_patterns_that_are_missing_and_peaks_that_were_left_out_are_told(
    until: Until, panel: OpenWidget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def truncated(path: Path, **_: object) -> None:
        raise scans.NeedsScanShape(path.name, 4, n_promised=8)

    np.save(tmp_path / "stack.npy", patterns(4, 16, 16))
    with monkeypatch.context() as patched:
        patched.setattr(scans, "open_datacube", truncated)
        panel.open_path(tmp_path / "stack.npy")
        until(lambda: not panel.shape_row.isHidden())
    assert panel.shape_label.text().startswith("4 frames of the 8 that the header tells of")
    lists = [np.array([[8.0, 8.0, 1.0]], dtype=np.float32)] * 6
    peaks = BraggPeaks.from_lists(lists, (2, 3), CALIBRATION, parameters={"left_out_not_finite": 7})
    save_bragg_peaks(peaks, tmp_path / "peaks.h5")
    panel.open_path(tmp_path / "peaks.h5")
    until(lambda: panel.session.peaks is not None)
    assert panel.message_label.text() == ("6 Bragg peaks opened. 7 that were NaN or infinite were left out.")


@pytest.mark.parametrize("typed", ["5 x 5", "banana", "0 x 24"])
def test_a_scan_shape_that_does_not_fit_is_refused_in_words(
    until: Until, panel: OpenWidget, tmp_path: Path, errors: list[str], typed: str
) -> None:
    np.save(tmp_path / "stack.npy", patterns(24, 16, 16))
    panel.open_path(tmp_path / "stack.npy")
    until(lambda: not panel.shape_row.isHidden())
    panel.shape_box.setEditText(typed)
    panel.shape_button.click()
    until(lambda: panel.message_label.text() != "")
    until(lambda: panel.session.running_job(Stage.OPEN) is None)
    assert "24 frames" in panel.message_label.text() or "rows x columns" in panel.message_label.text()
    assert panel.session.datacube is None
    assert not panel.shape_row.isHidden()
    assert not any("Traceback" in error for error in errors)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("scan.xyz", b"what is this"),
        ("scan.h5", b"\x89HDF\r\n\x1a\n truncated"),
        ("scan.mib", b""),
        ("gone.blo", None),
    ],
)
def test_a_file_that_cannot_be_read_leaves_a_sentence_and_what_was_open(
    until: Until, panel: OpenWidget, tmp_path: Path, errors: list[str], name: str, content: bytes | None
) -> None:
    panel.session.set_datacube(DataCube(_lazy(patterns(2, 3, 16, 16)), CALIBRATION))
    until(lambda: is_open(panel))
    if content is not None:
        (tmp_path / name).write_bytes(content)
    panel.open_path(tmp_path / name)
    until(lambda: panel.session.running_job(Stage.OPEN) is None)
    assert name in panel.message_label.text()
    assert len(errors) == 1
    assert panel.session.datacube is not None


def test_the_dataset_of_a_file_with_several_scans_can_be_chosen(
    until: Until, panel: OpenWidget, tmp_path: Path
) -> None:
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["first"] = patterns(2, 3, 16, 16)
        file["second"] = patterns(4, 4, 16, 16)
    panel.open_path(tmp_path / "two.h5")
    until(lambda: is_open(panel))
    assert not panel.dataset_row.isHidden()
    assert panel.dataset_box.count() == 2
    other = 1 - panel.dataset_box.currentIndex()
    before = panel.session.scan_shape
    panel.dataset_box.setCurrentIndex(other)
    panel.dataset_box.activated.emit(other)
    until(lambda: is_open(panel) and panel.session.scan_shape != before)
    assert {before, panel.session.scan_shape} == {(2, 3), (4, 4)}


def test_peaks_open_as_peaks(until: Until, panel: OpenWidget, tmp_path: Path) -> None:
    peaks = BraggPeaks.from_lists([np.array([[0.1, 0.2, 5.0]])] * 6, (2, 3), CALIBRATION)
    save_bragg_peaks(peaks, tmp_path / "peaks.h5")
    panel.open_path(tmp_path / "peaks.h5")
    until(lambda: panel.session.peaks is not None)
    assert panel.session.stage_state(Stage.OPEN) is StageState.DONE
    assert "6 Bragg peaks" in panel.info_label.text()


def test_a_dropped_file_opens(until: Until, panel: OpenWidget, tmp_path: Path) -> None:
    np.save(tmp_path / "scan.npy", patterns(2, 2, 16, 16))
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(tmp_path / "scan.npy"))])
    event = QDropEvent(
        QPointF(5, 5),
        Qt.DropAction.CopyAction,
        data,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    panel.dropEvent(event)
    until(lambda: is_open(panel))


def test_the_dialog_and_the_path_line_open_too(
    until: Until, panel: OpenWidget, tmp_path: Path, save_file_as: Callable[[Path | None], None]
) -> None:
    np.save(tmp_path / "one.npy", patterns(2, 2, 16, 16))
    np.save(tmp_path / "two.npy", patterns(3, 3, 16, 16))
    save_file_as(None)
    panel.open_button.click()
    assert panel.session.running_job(Stage.OPEN) is None
    save_file_as(tmp_path / "one.npy")
    panel.open_button.click()
    until(lambda: is_open(panel) and panel.session.scan_shape == (2, 2))
    panel.path_line.setText(f'"{tmp_path / "two.npy"}"')
    panel.path_line.returnPressed.emit()
    until(lambda: is_open(panel) and panel.session.scan_shape == (3, 3))


def test_opening_another_file_while_one_is_read_drops_the_first(
    until: Until, panel: OpenWidget, tmp_path: Path
) -> None:
    np.save(tmp_path / "one.npy", patterns(40, 40, 16, 16))
    np.save(tmp_path / "two.npy", patterns(3, 3, 16, 16))
    panel.open_path(tmp_path / "one.npy")
    panel.open_path(tmp_path / "two.npy")
    until(lambda: is_open(panel) and panel.session.summary is not None)
    assert panel.session.scan_shape == (3, 3)


def test_patterns_that_are_not_numbers_are_counted_and_told(until: Until, panel: OpenWidget) -> None:
    frames = patterns(3, 3, 16, 16).astype(np.float32)
    frames[1, 1] = np.nan
    panel.session.set_datacube(DataCube(_lazy(frames), CALIBRATION))
    until(lambda: panel.session.summary is not None)
    assert "1 patterns hold NaN" in panel.message_label.text()


@pytest.mark.parametrize(
    ("text", "shape"),
    [("64 x 48", (64, 48)), ("64×48", (64, 48)), ("64,48", (64, 48)), ("64", None), ("a x b", None)],
)
def test_scan_shapes_can_be_written_in_several_ways(text: str, shape: tuple[int, int] | None) -> None:
    assert scan_shape_from_text(text) == shape


def test_sizes_and_gaps_are_said_in_words() -> None:
    assert size_text(88_100_000) == "88.1 MB"
    assert size_text(10_500_000_000) == "10.5 GB"
    assert missing_text(CALIBRATION) == ""
    assert "positions, not nm" in missing_text(Calibration(voltage_kv=300, pixel_size_inv_angstrom=0.02))


def _lazy(frames: np.ndarray):
    import dask.array as da

    return da.from_array(frames, chunks=(1, -1, -1, -1))
