"""The Export stage: what it writes is there and complete, and what it cannot write it says."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QPushButton

from example_maps import example_map
from napari_stem_orient.gui.export.widget import ExportWidget
from napari_stem_orient.io.maps import open_orientation_map
from napari_stem_orient.session.rules import StageState
from napari_stem_orient.session.state import Stage
from patience import Until

pytestmark = pytest.mark.bindings

Answer = Callable[[Path | None], None]


@pytest.fixture
def panel(qtbot: QtBot) -> ExportWidget:
    panel = ExportWidget(ViewerModel())  # type: ignore[arg-type]
    qtbot.addWidget(panel)
    return panel


@pytest.fixture
def ready(panel: ExportWidget) -> ExportWidget:
    panel.session.set_map(example_map())
    return panel


def button(panel: ExportWidget, what: str) -> QPushButton:
    found = {
        "map": panel.save_button,
        "ang": panel.ang_button,
        "csv": panel.csv_button,
        "png": panel.figure_button,
    }
    return found[what]


def test_without_results_there_is_nothing_to_write(panel: ExportWidget) -> None:
    assert not panel.save_button.isEnabled()
    assert not panel.peaks_button.isEnabled()
    assert panel.open_button.isEnabled()
    assert panel.state_label.text() == "Needs peaks or an orientation map."


@pytest.mark.parametrize(
    ("what", "name"), [("map", "m.h5"), ("ang", "m.ang"), ("csv", "m.csv"), ("png", "m.png")]
)
def test_each_button_writes_its_file(
    ready: ExportWidget, until: Until, tmp_path: Path, save_file_as: Answer, what: str, name: str
) -> None:
    save_file_as(tmp_path / name)
    button(ready, what).click()
    until(lambda: ready.message_label.text() == f"Saved {name}.")
    assert (tmp_path / name).stat().st_size > 100


def test_a_saved_map_counts_as_exported_until_it_changes(
    ready: ExportWidget, until: Until, tmp_path: Path, save_file_as: Answer
) -> None:
    assert ready.session.stage_state(Stage.EXPORT) is StageState.READY
    save_file_as(tmp_path / "m.h5")
    ready.save_button.click()
    until(lambda: ready.session.stage_state(Stage.EXPORT) is StageState.DONE)
    assert open_orientation_map(tmp_path / "m.h5").scan_shape == (3, 4)
    ready.session.set_map(example_map())
    assert ready.session.stage_state(Stage.EXPORT) is StageState.STALE


def test_a_saved_map_opens_again(
    panel: ExportWidget, until: Until, tmp_path: Path, save_file_as: Answer
) -> None:
    from napari_stem_orient.io.maps import save_orientation_map

    save_orientation_map(example_map(), tmp_path / "m.h5")
    save_file_as(tmp_path / "m.h5")
    panel.open_button.click()
    until(lambda: panel.session.current_map is not None)
    assert panel.session.stage_state(Stage.EXPORT) is StageState.DONE


def test_a_cancelled_dialog_writes_nothing(ready: ExportWidget, save_file_as: Answer) -> None:
    save_file_as(None)
    for what in ("map", "ang", "csv", "png"):
        button(ready, what).click()
    ready.open_button.click()
    assert not ready._jobs


@pytest.mark.skipif(os.name == "nt", reason="folders are not read-only in this way on Windows")
def test_a_folder_that_cannot_be_written_is_named(
    ready: ExportWidget, until: Until, tmp_path: Path, save_file_as: Answer, errors: list[str]
) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file, not a folder")
    save_file_as(blocked / "m.h5")
    ready.save_button.click()
    until(lambda: bool(errors))
    assert "blocked" in ready.message_label.text()
    assert ready.save_button.isEnabled()
