"""A session that is saved and opened again shows what it showed; one that was left behind is offered, once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QMainWindow, QPushButton

from inspect_scene import Scene
from napari_stem_orient.gui.canvas.layers import layer_identity
from napari_stem_orient.gui.canvas.map_layers import map_layers_of
from napari_stem_orient.gui.jobs.sessions import session_of
from napari_stem_orient.gui.parts.autosaver import Autosaver, autosaver_of
from napari_stem_orient.gui.parts.opener import opener_of
from napari_stem_orient.gui.parts.session_bar import SessionBar
from napari_stem_orient.gui.parts.session_files import SessionFiles, session_files_of
from napari_stem_orient.runs.autosaves import Autosave, left_behind
from napari_stem_orient.runs.map_journal import begin_map_journal, journals_of_map
from napari_stem_orient.runs.peaks_journal import begin_peaks_journal, journals_of_peaks
from napari_stem_orient.session.session import Session
from napari_stem_orient.session.state import Stage
from napari_stem_orient.session.unsaved import unsaved_results
from patience import Until
from saved_scene import scan_file, work_on


class Window:
    """A viewer without its window, and what saves and opens its session."""

    def __init__(self) -> None:
        self.viewer = ViewerModel()
        self.session: Session = session_of(self.viewer)
        self.painter = map_layers_of(self.viewer, self.session)
        self.files: SessionFiles = session_files_of(self.viewer)
        self.said: list[str] = []
        self.files.said.connect(self.said.append)

    def close(self) -> None:
        self.files.close()
        self.painter.close()
        autosaver = self.session.autosaver
        if isinstance(autosaver, Autosaver):
            autosaver.close()

    def looks(self) -> list[tuple[object, ...]]:
        return [
            (
                layer_identity(layer),
                layer.name,
                layer.visible,
                layer.opacity,
                str(layer.blending),
                _map_of(layer),
            )
            for layer in self.viewer.layers
            if layer_identity(layer) is not None
        ]


def _map_of(layer: object) -> object:
    colormap = getattr(layer, "colormap", None)
    limits = getattr(layer, "contrast_limits", ())
    return getattr(colormap, "name", None), tuple(map(float, limits or ())), getattr(layer, "gamma", None)


@pytest.fixture
def window() -> Iterator[Window]:
    window = Window()
    yield window
    window.close()


@pytest.fixture
def again() -> Iterator[Window]:
    window = Window()
    yield window
    window.close()


@pytest.fixture
def scan(scene: Scene, tmp_path: Path) -> Path:
    return scan_file(scene, tmp_path / "data")


@pytest.fixture
def worked(window: Window, scene: Scene, scan: Path) -> Window:
    """A day's work, its layers arranged by the user."""
    work_on(window.session, scene, scan)
    window.painter.show_all()
    layers = {layer_identity(layer): layer for layer in window.viewer.layers}
    score = layers["score", "transformer"]
    score.visible, score.opacity, score.blending = True, 0.6, "additive"
    score.contrast_limits, score.gamma, score.colormap = (0.2, 0.9), 1.5, "magma"
    layers["ipf_z", "transformer"].visible = False
    window.viewer.layers.move(window.viewer.layers.index(score), 0)
    window.viewer.scene.camera.center, window.viewer.scene.camera.zoom = (0, 7.0, 9.0), 12.5
    return window


def save(window: Window, path: Path, until: Until) -> None:
    window.files.save(path)
    until(lambda: window.said[-1] == f"Saved {path.name}.")


def test_layers_look_as_they_did_and_the_calibration_is_undone_as_before(
    worked: Window, again: Window, tmp_path: Path, until: Until
) -> None:
    path = tmp_path / "day.session.h5"
    save(worked, path, until)
    opener_of(again.session).open(path)
    until(lambda: again.session.peaks is not None and again.looks() == worked.looks())
    assert again.session.position == (3, 5)
    camera = again.viewer.scene.camera
    assert (*camera.center[-2:], camera.zoom) == (7.0, 9.0, 12.5)
    for session in (worked.session, again.session):
        session.undo_calibration()
    assert again.session.calibration == worked.session.calibration
    assert again.session.calibration_changes == worked.session.calibration_changes
    assert again.said[-1] == "“day.session.h5” is as it was."


def test_what_is_in_a_session_file_is_not_asked_about(worked: Window, tmp_path: Path, until: Until) -> None:
    assert len(unsaved_results(worked.session.state)) == 3
    save(worked, tmp_path / "day.session.h5", until)
    assert unsaved_results(worked.session.state) == ()


class Job:
    def discard(self) -> None: ...


def test_what_a_run_finds_while_a_session_is_written_stays_in_its_journals(
    worked: Window, tmp_path: Path, until: Until, journals: Path
) -> None:
    session = worked.session
    maps = session.orientation_maps
    for each in maps.values():
        begin_map_journal(each).close()
    session.set_peaks(
        replace(session.peaks, source_fingerprint=session.datacube.fingerprint), of_open_scan=True
    )
    peaks = begin_peaks_journal(
        session.datacube,
        description=session.peaks.parameters,
        probe_image=session.probe.image,
        resume_from=session.peaks,
    )
    peaks.close()
    assert journals_of_peaks(session.peaks) == [peaks.path]
    session.begin(Stage.INDEX, Job())
    session.begin(Stage.DETECT, Job())
    worked.files.save(tmp_path / "day.session.h5")
    session.discard_jobs()  # they end while it is written, and their journals are free by then
    until(lambda: worked.said[-1] == "Saved day.session.h5.")
    assert journals_of_map(maps["template"]) == []
    assert len(journals_of_map(maps["transformer"])) == 1
    assert journals_of_peaks(session.peaks) == [peaks.path]
    save(worked, tmp_path / "later.session.h5", until)
    assert list(journals.iterdir()) == []


def test_a_session_that_is_written_says_nothing_of_the_maps_that_are_open_by_then(
    worked: Window, tmp_path: Path, until: Until
) -> None:
    session = worked.session
    worked.files.save(tmp_path / "day.session.h5")
    other = session.current_map.copy()
    session.set_map(other)  # of the same name
    session.mark_saved(other)
    until(lambda: worked.said[-1] == "Saved day.session.h5.")
    assert session.current_map is other
    assert session.saved.has(other)
    assert unsaved_results(session.state) == ()


def test_a_session_that_cannot_be_written_is_told_and_stays_unsaved(
    worked: Window, tmp_path: Path, until: Until, errors: list[str]
) -> None:
    worked.files.save(tmp_path / "no such folder" / "day.session.h5")
    until(lambda: errors)
    assert "there is no folder" in worked.said[-1]
    assert len(unsaved_results(worked.session.state)) == 3


def test_a_scan_that_has_moved_is_asked_for_once(
    worked: Window,
    again: Window,
    qtbot: QtBot,
    tmp_path: Path,
    until: Until,
    save_file_as: Callable[[Path | None], None],
) -> None:
    path = tmp_path / "day.session.h5"
    save(worked, path, until)
    moved = tmp_path / "elsewhere.npy"
    shutil.move(tmp_path / "data" / "scan_A.npy", moved)
    save_file_as(moved)
    window = QMainWindow()
    qtbot.addWidget(window)
    again.files.shown_in(window)
    again.files.open(path)
    until(lambda: again.files.box is not None)
    assert again.files.box.text() == "scan_A.npy is not where it was when this session was saved."
    click(qtbot, again, "find")
    until(lambda: again.session.datacube is not None)
    assert again.session.datacube.path == moved
    assert again.session.peaks is not None
    assert again.files.box is None


@pytest.mark.parametrize("button", ["find", "without"])
def test_without_its_scan_a_session_opens_with_its_results(
    worked: Window,
    again: Window,
    qtbot: QtBot,
    tmp_path: Path,
    until: Until,
    save_file_as: Callable[[Path | None], None],
    button: str,
) -> None:
    path = tmp_path / "day.session.h5"
    save(worked, path, until)
    shutil.rmtree(tmp_path / "data")
    save_file_as(None)  # the question for the file is left without an answer
    window = QMainWindow()
    qtbot.addWidget(window)
    again.files.shown_in(window)
    again.files.open(path)
    until(lambda: again.files.box is not None)
    click(qtbot, again, button)
    until(lambda: again.session.peaks is not None)
    assert again.session.datacube is None
    assert list(again.session.orientation_maps) == ["template", "transformer"]
    assert "without its scan" in again.said[-1]


def click(qtbot: QtBot, window: Window, name: str) -> None:
    assert window.files.box is not None
    qtbot.mouseClick(window.files.box.findChild(QPushButton, name), Qt.MouseButton.LeftButton)


# --- what was left behind ----------------------------------------------------------------------------------------


def crash(window: Window, until: Until) -> None:
    """Keep the session as a window that ends without a word does."""
    autosaver = autosaver_of(window.viewer)
    autosaver.keep()
    until(lambda: left_behind() == [] and autosaver._place.path.exists() and not autosaver.busy)
    autosaver._place.close()


def test_a_session_that_was_left_behind_is_offered_and_comes_back(
    worked: Window, again: Window, until: Until, qtbot: QtBot
) -> None:
    crash(worked, until)
    bar = SessionBar(again.viewer)
    qtbot.addWidget(bar)
    bar.show()
    until(bar.offer_row.isVisible)
    assert "Map of scan_A (transformer), 192 positions" in bar.offer_row.label.text()
    bar.offer_row.open_button.click()
    until(lambda: again.session.peaks is not None)
    assert not bar.offer_row.isVisible()
    assert len(unsaved_results(again.session.state)) == 3
    # it is kept here by now, and offered to nobody else
    until(lambda: not autosaver_of(again.viewer).busy and autosaver_of(again.viewer)._taken is None)
    assert left_behind() == []


def test_what_nobody_wants_is_offered_no_more(
    worked: Window, again: Window, until: Until, qtbot: QtBot
) -> None:
    crash(worked, until)
    bar = SessionBar(again.viewer)
    qtbot.addWidget(bar)
    bar.show()
    until(bar.offer_row.isVisible)
    bar.offer_row.discard_button.click()
    until(lambda: left_behind() == [])
    assert not bar.offer_row.isVisible()


def test_a_session_that_was_saved_is_kept_no_longer(worked: Window, tmp_path: Path, until: Until) -> None:
    autosaver = autosaver_of(worked.viewer)
    autosaver.keep()
    until(lambda: autosaver._place.path.exists() and not autosaver.busy)
    save(worked, tmp_path / "day.session.h5", until)
    until(lambda: not autosaver._place.path.exists())


def test_the_session_of_an_open_window_is_offered_to_no_other(tmp_path: Path) -> None:
    place = Autosave(tmp_path)
    place.begin()
    place.path.write_bytes(b"session")
    assert left_behind(tmp_path) == []
    place.close()
    assert left_behind(tmp_path) == [place.path]
    place.clear()
    assert left_behind(tmp_path) == []
