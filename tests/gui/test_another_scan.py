"""Two scans of one shape: what was made of the first is never shown, said or saved as of the second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QFileDialog, QMessageBox, QPushButton

from example_maps import example_map, no_peaks
from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.gui.detect.widget import DetectWidget
from napari_stem_orient.gui.export.widget import ExportWidget
from napari_stem_orient.gui.index.widget import IndexWidget
from napari_stem_orient.gui.jobs.sessions import session_of
from napari_stem_orient.gui.open.widget import OpenWidget
from napari_stem_orient.io.maps import save_orientation_map
from napari_stem_orient.io.peaks import save_bragg_peaks
from napari_stem_orient.io.scans import open_datacube
from napari_stem_orient.session.rules import StageState
from napari_stem_orient.session.session import Session
from napari_stem_orient.session.state import Stage
from patience import Until

SHAPE = (4, 5)


def write_scan(path: Path, seed: int) -> Path:
    frames = np.random.default_rng(seed).poisson(2, (*SHAPE, 16, 16)).astype(np.uint16)
    frames[..., 6:10, 6:10] += 50
    np.save(path, frames)
    return path


@pytest.fixture
def scans(tmp_path: Path) -> tuple[Path, Path]:
    """Files of two scans, A and B, of one shape."""
    return write_scan(tmp_path / "A.npy", 0), write_scan(tmp_path / "B.npy", 1)


def map_of(path: Path, calibration: Calibration | None = None) -> OrientationMap:
    made = example_map(SHAPE)
    return replace(made, name=path.stem, source_fingerprint=open_datacube(path).fingerprint)


def peaks_of(path: Path) -> BraggPeaks:
    return replace(no_peaks(SHAPE), name=path.stem, source_fingerprint=open_datacube(path).fingerprint)


class Window:
    """The panels Open, Detect, Index and Export of one viewer, without its window."""

    def __init__(self, qtbot: QtBot, until: Until) -> None:
        self.viewer: Any = ViewerModel()
        self.until = until
        self.session: Session = session_of(self.viewer)
        self.open = OpenWidget(self.viewer)
        self.detect = DetectWidget(self.viewer)
        self.index = IndexWidget(self.viewer)
        self.export = ExportWidget(self.viewer)
        for panel in (self.open, self.detect, self.index, self.export):
            qtbot.addWidget(panel)

    def read(self, path: Path) -> None:
        """Open a file, and wait until it is read."""
        self.open.open_path(path)
        self.until(lambda: self.session.running_job(Stage.OPEN) is None)

    def names(self) -> list[str]:
        return [layer.name for layer in self.viewer.layers]

    def question(self) -> QMessageBox | None:
        boxes = self.open.findChildren(QMessageBox)
        return boxes[-1] if boxes else None

    def answer(self, button: str) -> None:
        self.until(self.question)
        box = self.question()
        assert box is not None
        found = box.findChild(QPushButton, button)
        if found is None:
            box.button(QMessageBox.StandardButton.Cancel).click()
        else:
            found.click()
        self.until(lambda: self.question() is None)


@pytest.fixture
def window(qtbot: QtBot, until: Until) -> Window:
    return Window(qtbot, until)


def open_with_results(window: Window, path: Path) -> None:
    window.read(path)
    window.session.set_peaks(peaks_of(path))
    window.session.set_crystals((load_crystal("Cu"),))
    window.session.set_map(map_of(path))
    window.session.painter.show_all()  # type: ignore[attr-defined]
    window.session.set_position((1, 1))


def test_another_scan_of_the_same_shape_takes_the_results_of_the_first_away(
    window: Window, scans: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = scans
    open_with_results(window, first)
    assert "IPF-Z" in window.names()
    window.read(second)
    session = window.session
    assert window.names() == ["Virtual dark field"]
    assert session.peaks is session.current_map is None
    assert session.stage_state(Stage.INDEX) is StageState.BLOCKED
    assert not window.export.save_button.isEnabled()
    proposed: list[str] = []

    def ask(*arguments: Any, **_: Any) -> tuple[str, str]:
        proposed.append(str(arguments[2]))
        return "", ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", ask)
    session.set_map(map_of(second))
    window.export.save_button.click()
    assert Path(proposed[0]).name == "B_map.h5"


def test_crystals_and_settings_of_the_last_scan_stay_and_say_so(
    window: Window, scans: tuple[Path, Path]
) -> None:
    open_with_results(window, scans[0])
    assert window.index.lent_label.isHidden()
    window.read(scans[1])
    assert [crystal.name for crystal in window.session.crystals] == ["Cu"]
    assert not window.index.lent_label.isHidden()
    assert "as in the last scan" in window.index.lent_label.text()
    window.index.crystals.add("Al")
    assert window.index.lent_label.isHidden()


def test_the_same_scan_opened_again_keeps_what_was_made_of_it(
    window: Window, scans: tuple[Path, Path]
) -> None:
    open_with_results(window, scans[0])
    before, results = window.names(), (window.session.peaks, window.session.current_map)
    window.read(scans[0])
    assert window.names() == before
    assert (window.session.peaks, window.session.current_map) == results
    assert "open already" in window.open.message_label.text()


def test_a_file_that_was_written_anew_in_place_is_another_scan(
    window: Window, scans: tuple[Path, Path]
) -> None:
    open_with_results(window, scans[0])
    write_scan(scans[0], 2)
    window.read(scans[0])
    assert window.session.peaks is window.session.current_map is None
    assert window.names() == ["Virtual dark field"]


def test_a_scan_joins_its_map_and_lets_that_of_another_go(
    window: Window, scans: tuple[Path, Path], tmp_path: Path
) -> None:
    save_orientation_map(map_of(scans[0]), tmp_path / "map.h5")
    window.read(tmp_path / "map.h5")
    window.read(scans[0])
    assert window.session.current_map is not None
    window.read(scans[1])
    assert window.session.current_map is None
    assert window.names() == ["Virtual dark field"]


@pytest.mark.parametrize("answer", ["open_alone", "use_together", "cancel"])
@pytest.mark.parametrize("kind", ["map", "peaks"])
def test_a_result_of_another_scan_is_asked_about(
    window: Window, scans: tuple[Path, Path], tmp_path: Path, answer: str, kind: str
) -> None:
    first, second = scans
    if kind == "map":
        save_orientation_map(map_of(first), tmp_path / "result.h5")
    else:
        save_bragg_peaks(peaks_of(first), tmp_path / "result.h5")
    window.read(second)
    window.read(tmp_path / "result.h5")
    window.until(window.question)
    box = window.question()
    assert box is not None
    assert "another scan than “B”" in box.text()
    assert "“A”" in box.informativeText()
    session = window.session
    assert session.current_map is session.peaks is None  # nothing is taken before the answer
    window.answer(answer)
    result = session.current_map if kind == "map" else session.peaks
    assert (result is not None) is (answer != "cancel")
    assert (session.datacube is not None) is (answer != "open_alone")
    if answer == "open_alone":
        assert session.source.name == "A"
        assert "“B” was closed" in window.open.message_label.text()


def test_a_map_that_does_not_say_of_which_scan_it_is_opens_and_that_is_told(
    window: Window, scans: tuple[Path, Path], tmp_path: Path
) -> None:
    save_orientation_map(example_map(SHAPE), tmp_path / "old.h5")
    window.read(scans[0])
    window.read(tmp_path / "old.h5")
    assert window.question() is None
    assert window.session.current_map is not None
    for label in (window.open.message_label, window.open.info_label):
        assert "Whether the orientation map was made from this scan, its file does not say" in label.text()
    window.read(scans[1])  # it was taken for the first
    assert window.session.current_map is None
    assert "does not say" not in window.open.info_label.text()


def test_what_a_job_finds_in_the_first_scan_never_reaches_the_second(
    window: Window, scans: tuple[Path, Path], save_file_as: Callable[[Path | None], None], qtbot: QtBot
) -> None:
    """Jobs that no stage waits for: a template from vacuum, bad pixels, suggested parameters."""
    window.read(scans[0])
    window.until(lambda: window.session.probe is not None)
    taken: list[object] = []
    job = window.detect.run(
        _endless(), title="A job", about_scan=True, on_record=taken.append, on_stopped=taken.clear
    )
    window.until(lambda: taken)
    window.read(scans[1])
    window.until(lambda: not job.running)
    number = len(taken)
    qtbot.wait(50)
    assert len(taken) == number > 0  # neither a record nor the callback of its end


def _endless() -> Any:
    import time

    from napari_stem_orient.gui.jobs.workers import PlainProgress

    while True:
        time.sleep(0.005)
        yield PlainProgress(0)
