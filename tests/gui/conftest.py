"""What the tests of the window share: nothing of ours may be left behind, and small scans to work on."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QCoreApplication, QEvent
from qtpy.QtWidgets import QApplication, QFileDialog, QWidget

from inspect_scene import Scene, make_scene
from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.gui.canvas.map_layers import MapLayers, map_layers_of
from napari_stem_orient.gui.jobs import sessions, workers
from napari_stem_orient.gui.jobs.sessions import session_of
from napari_stem_orient.runs import run_journal
from napari_stem_orient.session.session import Session
from patience import Until
from shown_panel import Panel, ShowPanel


@pytest.fixture(autouse=True)
def nothing_left_behind(qapp: QApplication) -> Iterator[None]:
    """Fail where a widget of ours outlives its test, or the thread of a job does."""
    yield
    for session in list(sessions._sessions.values()):
        if session.autosaver is not None:
            session.autosaver.close()  # what the window does when it goes; a test may have had none
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    qapp.processEvents()
    gc.collect()
    for thread in threading.enumerate():
        if thread.name.startswith("job:"):
            thread.join(60)
    qapp.processEvents()
    widgets = [widget for widget in qapp.topLevelWidgets() if _is_ours(widget)]
    assert not widgets, f"widgets that outlived their test: {widgets}"
    threads = [thread.name for thread in threading.enumerate() if thread.name.startswith("job:")]
    assert not threads, f"jobs that outlived their test: {threads}"


def _is_ours(widget: QWidget) -> bool:
    return type(widget).__module__.startswith("napari_stem_orient")


@pytest.fixture(autouse=True)
def journals(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep unsaved results of each test in a folder of its own: another test must not be offered them."""
    folder = tmp_path_factory.mktemp("journals")
    monkeypatch.setattr(run_journal, "journal_folder", lambda _folder=None: folder)
    return folder


@pytest.fixture
def until(qtbot: QtBot) -> Until:
    """Wait until something holds, patiently: a busy computer must not fail a test."""

    def wait(condition: Callable[[], object]) -> None:
        qtbot.waitUntil(lambda: bool(condition()), timeout=150_000)

    return wait


@pytest.fixture
def errors(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the errors that jobs show as napari notifications."""
    shown: list[str] = []
    monkeypatch.setattr(workers, "show_error", shown.append)
    return shown


@pytest.fixture
def viewer(qapp: QApplication) -> Iterator[ViewerModel]:
    """A viewer without its window: all that the maps need, in a tenth of the time."""
    viewer = ViewerModel()
    yield viewer
    map_layers_of(viewer, session_of(viewer)).close()


@pytest.fixture
def session(viewer: ViewerModel) -> Session:
    """What is open in the viewer."""
    return session_of(viewer)


@pytest.fixture
def maps(viewer: ViewerModel, session: Session) -> MapLayers:
    """The layers of the viewer that show its maps."""
    return map_layers_of(viewer, session)


@pytest.fixture
def show_panel(qtbot: QtBot) -> ShowPanel:
    """Show a panel by itself."""

    def show(kind: type[Panel]) -> Panel:
        panel = kind(ViewerModel())  # type: ignore[arg-type]
        qtbot.addWidget(panel)
        panel.show()
        return panel

    return show


@pytest.fixture(scope="session")
def scene() -> Scene:
    """Four grains of Cu and Cu2O with a strip of vacuum, and all that a calibration can do to a pattern."""
    return make_scene()


@pytest.fixture(scope="session")
def polycrystal() -> DataCube:
    """A scan of 10 x 12 positions on three grains of Cu and a strip of vacuum, 64 x 64 px, with its calibration."""
    from napari_stem_orient.simulation.polycrystal import simulate_polycrystal

    job = simulate_polycrystal(
        [load_crystal("Cu")],
        scan_shape=(10, 12),
        detector_shape=(96, 96),
        n_grains=3,
        electrons_per_pattern=2e5,
        seed=3,
    )
    while True:
        try:
            next(job)
        except StopIteration as finished:
            datacube: DataCube = finished.value.datacube
            return datacube


@pytest.fixture
def save_file_as(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path | None], None]:
    """Answer every question for a file or a folder with one path; None stands for Cancel."""

    def answer(path: Path | None) -> None:
        name = "" if path is None else str(path)
        for question in ("getOpenFileName", "getSaveFileName"):
            monkeypatch.setattr(QFileDialog, question, lambda *_args, **_keywords: (name, ""))
        monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_args, **_keywords: name)

    return answer
