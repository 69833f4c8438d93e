"""Where the questions for a file begin: with the open scan, then where the last one ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.gui.parts.file_dialogs import ask_folder, ask_open_file, ask_save_file
from napari_stem_orient.gui.parts.stage_panel import JobPanel


class Dialogs:
    """Stands in for Qt's dialogs: notes where each begins, and answers with one path."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun: list[str] = []
        self.answer = ""
        for question in ("getOpenFileName", "getSaveFileName"):
            monkeypatch.setattr(QFileDialog, question, self._ask_file)
        monkeypatch.setattr(QFileDialog, "getExistingDirectory", self._ask_folder)

    def _ask_file(self, _: QWidget, __: str, start: str, *_rest: Any) -> tuple[str, str]:
        self.begun.append(start)
        return self.answer, ""

    def _ask_folder(self, _: QWidget, __: str, start: str, *_rest: Any) -> str:
        self.begun.append(start)
        return self.answer


@pytest.fixture
def dialogs(monkeypatch: pytest.MonkeyPatch) -> Dialogs:
    return Dialogs(monkeypatch)


@pytest.fixture
def panel(qtbot: QtBot) -> JobPanel:
    panel = JobPanel(ViewerModel())  # type: ignore[arg-type]
    qtbot.addWidget(panel)
    return panel


def open_scan(panel: JobPanel, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.touch()
    data = da.zeros((2, 2, 4, 4), chunks=-1)
    panel.session.set_datacube(DataCube(data, Calibration(), name=path.name, path=path))


def test_dialogs_begin_with_the_open_scan_and_then_where_the_last_one_ended(
    panel: JobPanel, dialogs: Dialogs, tmp_path: Path
) -> None:
    inside = QWidget(panel)  # a part of the panel finds the same Session
    open_scan(panel, tmp_path / "scans" / "a.h5")
    results = tmp_path / "results"
    results.mkdir()
    ask_open_file(inside, "Open")
    ask_save_file(panel, "Save", start=Path("a_peaks.h5"), kinds="*.h5")
    assert dialogs.begun == [str(tmp_path / "scans"), str(tmp_path / "scans" / "a_peaks.h5")]
    dialogs.answer = str(results / "a_peaks.h5")
    assert ask_save_file(panel, "Save", start=Path("a_peaks.h5"), kinds="*.h5") == results / "a_peaks.h5"
    ask_save_file(panel, "Save", start=tmp_path / "scans" / "a_map.h5", kinds="*.h5")
    ask_open_file(panel, "Open")
    assert dialogs.begun[-2:] == [str(results / "a_map.h5"), str(results)]


def test_another_scan_begins_in_its_own_folder_and_crystals_where_they_lie(
    panel: JobPanel, dialogs: Dialogs, tmp_path: Path
) -> None:
    open_scan(panel, tmp_path / "one" / "a.h5")
    cifs = tmp_path / "cifs"
    cifs.mkdir()
    ask_open_file(panel, "Add a crystal", purpose="crystals")
    dialogs.answer = str(cifs / "Si.cif")
    ask_open_file(panel, "Add a crystal", purpose="crystals")
    dialogs.answer = ""
    ask_save_file(panel, "Save", start=Path("a_peaks.h5"), kinds="*.h5")
    assert dialogs.begun[-1] == str(tmp_path / "one" / "a_peaks.h5")  # not beside the crystals
    open_scan(panel, tmp_path / "two" / "b.h5")
    ask_open_file(panel, "Open")
    ask_open_file(panel, "Add a crystal", purpose="crystals")
    assert dialogs.begun[-2:] == [str(tmp_path / "two"), str(cifs)]


def test_models_have_a_place_of_their_own_and_a_folder_that_is_gone_is_none(
    panel: JobPanel, dialogs: Dialogs, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    ask_folder(panel, "Save the model", start=models, purpose="models")
    ask_open_file(panel, "Open", start=tmp_path / "gone")
    assert dialogs.begun == [str(models), ""]
