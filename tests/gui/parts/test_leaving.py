"""Before a window closes, or another scan opens, the user is asked once, in words, about what is not saved."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from napari import Viewer
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QFileDialog, QMainWindow

from example_maps import example_block
from napari_stem_orient.core.answers import IndexedBlock
from napari_stem_orient.core.bragg_peaks import BraggPeaks, DetectedBlock
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.detection.correlation import collect_peaks
from napari_stem_orient.gui.open.widget import OpenWidget
from napari_stem_orient.gui.parts.leaving import LossBox, leaving_of
from napari_stem_orient.io.maps import open_orientation_map, save_orientation_map
from napari_stem_orient.io.peaks import open_bragg_peaks
from napari_stem_orient.runs.map_journal import begin_map_journal, find_kept_maps, map_kept_in_journal
from napari_stem_orient.runs.peaks_journal import begin_peaks_journal, find_interrupted_detections, keep_block
from napari_stem_orient.session.session import Session
from napari_stem_orient.session.state import Stage
from napari_stem_orient.steps.open import OpenedFile
from patience import Until

pytestmark = pytest.mark.bindings

SHAPE = (3, 4)
CALIBRATION = Calibration(voltage_kv=300.0, pixel_size_inv_angstrom=0.02)
DESCRIPTION = {"detector": "correlation", "detection": {}, "probe": {"radius_px": 2.0, "source": "x"}}


def scan_in(folder: Path, name: str) -> DataCube:
    path = folder / name
    path.write_bytes(b"frames")
    return DataCube(da.zeros((*SHAPE, 8, 8), dtype=np.uint8), CALIBRATION, name=name, path=path)


def peaks_of(scan: DataCube) -> BraggPeaks:
    """Peaks of a finished detection, in their journal."""
    n = scan.n_positions
    block = DetectedBlock(
        positions=np.arange(n),
        x_px=np.full(n, 4.0, np.float32),
        y_px=np.full(n, 4.0, np.float32),
        intensity=np.ones(n, np.float32),
        offsets=np.arange(n + 1),
        progress=Progress(n, n, "patterns"),
    )
    journal = begin_peaks_journal(scan, description=DESCRIPTION, probe_image=np.ones((8, 8), np.float32))
    assert journal is not None
    keep_block(journal, block)
    journal.close()
    return collect_peaks(scan, [block], description=DESCRIPTION)


def indexing(peaks: BraggPeaks) -> tuple[OrientationMap, Iterator[IndexedBlock]]:
    """An empty map, and the job that fills it in one block and keeps it in a journal."""
    start = OrientationMap.empty(
        peaks, (load_crystal("Cu"), load_crystal("Cu2O")), method="transformer", parameters={}
    )

    def job() -> Generator[IndexedBlock, None, OrientationMap]:
        filled = start.copy()
        filled.fill(example_block(peaks.n_positions))
        yield example_block(peaks.n_positions)
        return filled

    return start, map_kept_in_journal(job(), begin_map_journal(start))


def map_of(peaks: BraggPeaks) -> OrientationMap:
    """A finished map, in its journal."""
    _, job = indexing(peaks)
    while True:
        try:
            next(job)
        except StopIteration as finished:
            return finished.value


@pytest.fixture
def window(qtbot: QtBot) -> QMainWindow:
    window = QMainWindow()
    qtbot.addWidget(window)
    return window


@pytest.fixture
def panel(window: QMainWindow, qtbot: QtBot) -> OpenWidget:
    panel = OpenWidget(ViewerModel())  # type: ignore[arg-type]
    window.setCentralWidget(panel)
    window.show()
    qtbot.waitExposed(window)
    return panel


@pytest.fixture
def session(panel: OpenWidget) -> Session:
    return panel.session


@pytest.fixture
def results(
    session: Session, panel: OpenWidget, tmp_path: Path, until: Until
) -> tuple[BraggPeaks, OrientationMap]:
    """Peaks and a map of scan A, neither of them saved."""
    scan = scan_in(tmp_path, "A.npy")
    peaks = peaks_of(scan)
    session.set_datacube(scan)
    until(lambda: session.running_job(Stage.OPEN) is None)
    session.set_peaks(peaks)
    orientation_map = map_of(peaks)
    session.set_map(orientation_map)
    return peaks, orientation_map


def close_as_a_user(window: QMainWindow) -> None:
    """From within the event loop, where a user's clicks come from."""
    QTimer.singleShot(0, window.close)


def question(session: Session) -> LossBox:
    box = leaving_of(session).box
    assert box is not None
    return box


def asked(session: Session) -> Callable[[], bool]:
    return lambda: leaving_of(session).box is not None


LINES = "Map of A, 12 positions, not saved\nBragg peaks of A, 12 positions, not saved."


@pytest.mark.usefixtures("results")
def test_closing_asks_in_words_and_cancel_leaves_all_as_it_is(
    window: QMainWindow, session: Session, until: Until, journals: Path
) -> None:
    close_as_a_user(window)
    until(asked(session))
    box = question(session)
    assert window.isVisible()
    assert box.text() == LINES
    assert "60 days" in box.informativeText()
    close_as_a_user(window)  # asks no second question beside the first
    until(lambda: leaving_of(session).box not in (None, box))
    question(session).cancel_button.click()
    until(lambda: leaving_of(session).box is None)
    assert window.isVisible()
    assert len(list(journals.iterdir())) == 2


def test_what_is_kept_on_closing_is_found_again(
    results: tuple[BraggPeaks, OrientationMap],
    window: QMainWindow,
    session: Session,
    until: Until,
    tmp_path: Path,
) -> None:
    peaks, orientation_map = results
    close_as_a_user(window)
    until(asked(session))
    keep = question(session).keep_button
    assert keep is not None
    keep.click()
    until(lambda: not window.isVisible())
    again = dataclasses.replace(scan_in(tmp_path, "B.npy"), name="A.npy", path=tmp_path / "A.npy")
    (run,) = find_interrupted_detections(again)
    assert run.finished
    (kept,) = find_kept_maps(scan=again.fingerprint, peaks=None)
    assert kept.finished
    assert str(kept).startswith("a map of Cu and Cu2O at all 12 positions is kept from ")
    assert np.array_equal(kept.orientation_map.quaternion, orientation_map.quaternion)
    assert kept.orientation_map.crystals == orientation_map.crystals
    assert kept.orientation_map.peaks_fingerprint == peaks.fingerprint


@pytest.mark.usefixtures("results")
def test_discard_closes_and_leaves_no_journal(
    window: QMainWindow, session: Session, until: Until, journals: Path
) -> None:
    close_as_a_user(window)
    until(asked(session))
    question(session).discard_button.click()
    until(lambda: not window.isVisible())
    assert list(journals.iterdir()) == []


def test_save_writes_each_result_and_closes_then(
    results: tuple[BraggPeaks, OrientationMap],
    window: QMainWindow,
    session: Session,
    until: Until,
    journals: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proposed: list[str] = []

    def answer(_parent: object, _title: str, start: str, _kinds: str) -> tuple[str, str]:
        proposed.append(start)
        return start, ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", answer)
    close_as_a_user(window)
    until(asked(session))
    save = question(session).save_button
    assert save is not None
    save.click()
    until(lambda: not window.isVisible())
    assert proposed == [str(tmp_path / "A_map.h5"), str(tmp_path / "A_peaks.h5")]
    saved = open_orientation_map(tmp_path / "A_map.h5")
    assert np.array_equal(saved.phase_id, results[1].phase_id)
    assert open_bragg_peaks(tmp_path / "A_peaks.h5").n_peaks == results[0].n_peaks
    assert list(journals.iterdir()) == []


@pytest.mark.usefixtures("results")
def test_save_without_a_file_name_closes_nothing(
    window: QMainWindow, session: Session, until: Until, save_file_as: Callable[[Path | None], None]
) -> None:
    save_file_as(None)
    close_as_a_user(window)
    until(asked(session))
    save = question(session).save_button
    assert save is not None
    save.click()
    until(lambda: leaving_of(session).box is None)
    assert window.isVisible()


def test_nobody_is_asked_about_what_is_saved(
    results: tuple[BraggPeaks, OrientationMap], window: QMainWindow, session: Session, until: Until
) -> None:
    for result in results:
        session.mark_saved(result)
    close_as_a_user(window)
    until(lambda: not window.isVisible())


@pytest.mark.usefixtures("results")
def test_a_script_that_closes_the_window_is_not_asked(
    window: QMainWindow, session: Session, journals: Path
) -> None:
    """Nobody could answer: no event loop runs. The journals keep all of it."""
    assert window.close()
    assert not window.isVisible()
    assert leaving_of(session).box is None
    assert len(list(journals.iterdir())) == 2


def test_viewer_close_is_never_held_back(
    make_napari_viewer: Callable[..., Viewer], until: Until, tmp_path: Path
) -> None:
    """Also within the event loop: napari has removed the layers by then. A user's close is held back."""
    viewer = make_napari_viewer(show=True)
    _, panel = viewer.window.add_plugin_dock_widget("napari-stem-orient", "Open")
    session = panel.session
    scan = scan_in(tmp_path, "A.npy")
    session.set_datacube(scan)
    until(lambda: session.running_job(Stage.OPEN) is None)
    session.set_peaks(peaks_of(scan))
    window = panel.window()
    assert isinstance(window, QMainWindow)
    close_as_a_user(window)
    until(asked(session))
    question(session).cancel_button.click()
    until(lambda: leaving_of(session).box is None)
    assert window.isVisible()
    closed: list[bool] = []
    QTimer.singleShot(0, lambda: (viewer.close(), closed.append(True)))
    until(lambda: closed)
    assert leaving_of(session).box is None


@pytest.mark.usefixtures("results")
def test_another_scan_waits_for_the_answer(
    panel: OpenWidget, session: Session, until: Until, tmp_path: Path
) -> None:
    other = scan_in(tmp_path, "B.npy")
    QTimer.singleShot(0, lambda: panel.opener._on_opened(tmp_path, OpenedFile(other)))
    until(asked(session))
    assert question(session).text() == LINES
    assert session.datacube is not None
    assert session.datacube.name == "A.npy"
    keep = question(session).keep_button
    assert keep is not None
    keep.click()
    until(lambda: session.datacube is not None and session.datacube.name == "B.npy")


@pytest.mark.usefixtures("results")
def test_the_same_scan_again_is_opened_without_a_question(
    panel: OpenWidget, session: Session, until: Until, tmp_path: Path
) -> None:
    opened = session.datacube
    assert opened is not None
    again = dataclasses.replace(opened)
    QTimer.singleShot(0, lambda: panel.opener._on_opened(tmp_path, OpenedFile(again)))
    until(lambda: panel.message_label.text() == "This scan is open already: what was made of it stays.")
    assert session.current_map is not None
    assert leaving_of(session).box is None


def test_a_map_from_a_file_asks_about_the_map_that_it_replaces(
    results: tuple[BraggPeaks, OrientationMap],
    panel: OpenWidget,
    session: Session,
    until: Until,
    tmp_path: Path,
) -> None:
    save_orientation_map(results[1], tmp_path / "map.h5")
    opened = open_orientation_map(tmp_path / "map.h5")
    QTimer.singleShot(0, lambda: panel.opener._on_opened(tmp_path, OpenedFile(opened)))
    until(asked(session))
    assert question(session).text() == "Map of A, 12 positions, not saved."
    question(session).cancel_button.click()
    until(lambda: leaving_of(session).box is None)
    assert session.current_map is results[1]
    assert session.open_needs is not None  # the Open stage says that the file is not open


def test_a_run_is_stopped_and_what_it_has_done_kept(
    panel: OpenWidget, session: Session, window: QMainWindow, until: Until, tmp_path: Path
) -> None:
    scan = scan_in(tmp_path, "A.npy")
    peaks = peaks_of(scan)
    session.set_datacube(scan)
    until(lambda: session.running_job(Stage.OPEN) is None)
    session.open_peaks(peaks)
    start, job = indexing(peaks)

    def endless() -> Iterator[IndexedBlock]:
        block = next(job)
        try:
            while True:
                yield dataclasses.replace(block, progress=Progress(7, 12, "patterns"))
        finally:
            job.close()

    session.start_map(start.copy())
    panel.run(endless(), title="Indexing", stage=Stage.INDEX, on_record=session.fill_map)
    until(lambda: getattr(session.running_job(Stage.INDEX), "progress", None) is not None)
    close_as_a_user(window)
    until(asked(session))
    box = question(session)
    assert box.text() == "The indexing of A is running at 7 of 12 positions."
    assert box.save_button is None
    assert box.keep_button is not None
    box.keep_button.click()
    until(lambda: not window.isVisible())
    panel.close()
    session.discard_jobs()
    until(lambda: find_kept_maps(scan=scan.fingerprint, peaks=None) != [])


def test_peaks_of_a_scan_in_no_file_can_only_be_saved_or_lost(
    session: Session, window: QMainWindow, until: Until, tmp_path: Path
) -> None:
    """There is no file that could be opened again to be offered them."""
    scan = scan_in(tmp_path, "A.npy")
    session.set_datacube(dataclasses.replace(scan, path=None))
    until(lambda: session.running_job(Stage.OPEN) is None)
    session.set_peaks(peaks_of(scan))
    close_as_a_user(window)
    until(asked(session))
    assert question(session).keep_button is None
    assert "or it is lost" in question(session).informativeText()
    QApplication.processEvents()
    question(session).cancel_button.click()
