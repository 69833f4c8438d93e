"""Save dialogs never lead to a file of the open scan, and ask before they replace one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QMessageBox

from example_maps import example_map
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.gui.export_widget import ExportWidget
from napari_stem_orient.io.own_files import TABLE, kind_of_own_file
from patience import Until

Answer = Callable[[Path | None], None]
CONTENT = "the work of a day"


@pytest.fixture
def panel(qtbot: QtBot, tmp_path: Path) -> ExportWidget:
    """The Export panel with a map and an open scan of two files, scan.mib and scan.hdr."""
    panel = ExportWidget(ViewerModel())  # type: ignore[arg-type]
    qtbot.addWidget(panel)
    for ending in ("mib", "hdr"):
        (tmp_path / f"scan.{ending}").write_text(CONTENT)
    scan = DataCube(da.zeros((3, 4, 8, 8), dtype=np.uint16), Calibration())
    panel.session.set_datacube(replace(scan, path=tmp_path / "scan.mib"))
    panel.session.set_map(example_map())
    return panel


@pytest.mark.parametrize("name", ["scan.mib", "scan.hdr", "link.csv"])
def test_a_file_of_the_open_scan_is_refused_in_words(
    panel: ExportWidget, tmp_path: Path, save_file_as: Answer, name: str
) -> None:
    (tmp_path / "link.csv").symlink_to(tmp_path / "scan.hdr")
    save_file_as(tmp_path / name)
    panel.csv_button.click()
    assert panel.message_label.text() == (
        f"{name} belongs to the open scan and would destroy it: choose another name."
    )
    assert {path.read_text() for path in tmp_path.iterdir()} == {CONTENT}


@pytest.mark.parametrize(
    ("answer", "replaced"),
    [(QMessageBox.StandardButton.No, False), (QMessageBox.StandardButton.Yes, True)],
)
def test_a_file_whose_ending_was_left_out_is_replaced_after_a_question_only(
    panel: ExportWidget,
    until: Until,
    tmp_path: Path,
    save_file_as: Answer,
    monkeypatch: pytest.MonkeyPatch,
    answer: QMessageBox.StandardButton,
    replaced: bool,
) -> None:
    table = tmp_path / "table.csv"
    table.write_text(CONTENT)
    monkeypatch.setattr(QMessageBox, "question", lambda *_args, **_keywords: answer)
    save_file_as(tmp_path / "table")
    panel.csv_button.click()
    if replaced:
        until(lambda: panel.message_label.text() == "Saved table.csv.")
        assert kind_of_own_file(table) == TABLE
    else:
        assert table.read_text() == CONTENT
