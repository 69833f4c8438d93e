"""Four indices at will: chosen beside the zone axis, they hold for both panels, the status bar and the table."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot

from example_maps import example_map
from napari_stem_orient.core.orientation import matrix_to_quaternion
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.core.reason import Reason
from napari_stem_orient.core.solutions import packed_rotations
from napari_stem_orient.gui.canvas.solution_text import status_text
from napari_stem_orient.gui.export.widget import ExportWidget
from napari_stem_orient.gui.inspect.solution_panel import SolutionPanel
from patience import Until

pytestmark = pytest.mark.gui

Answer = Callable[[Path | None], None]


def along_a(crystal: str) -> OrientationMap:
    """A map of one orientation, with the a axis toward the gun."""
    found = example_map((2, 2), (crystal,))
    found.quaternion[:] = matrix_to_quaternion([[0.0, 0, -1], [0, 1, 0], [1, 0, 0]])
    found.solutions.rotation[:] = packed_rotations(found.quaternion)[:, None]
    found.phase_id[:] = 0
    found.reason[:] = Reason.INDEXED
    return found


def test_four_indices_are_offered_for_hexagonal_crystals_only(qtbot: QtBot) -> None:
    panel = SolutionPanel()
    qtbot.addWidget(panel)
    panel.show()
    panel.set_solution(along_a("Ti").at(0, 0))
    assert panel.four_indices.isVisible()
    panel.set_solution(along_a("Cu").at(0, 0))
    assert not panel.four_indices.isVisible()


def test_the_choice_is_shown_and_told(qtbot: QtBot) -> None:
    panel = SolutionPanel()
    qtbot.addWidget(panel)
    told: list[bool] = []
    panel.four_indices_toggled.connect(told.append)
    panel.set_solution(along_a("Ti").at(0, 0))
    assert "[100]" in panel.text
    panel.four_indices.click()
    assert "[21\u03041\u03040]" in panel.text
    assert told == [True]
    panel.set_four_indices(False)
    assert "[100]" in panel.text
    assert told == [True]


def test_the_session_tells_the_status_bar_and_the_table(
    qtbot: QtBot, until: Until, tmp_path: Path, save_file_as: Answer
) -> None:
    found = along_a("Ti")
    assert "Ti [100]" in status_text(found, (0, 0))
    assert "Ti [21\u03041\u03040]" in status_text(found, (0, 0), four=True)
    panel = ExportWidget(ViewerModel())  # type: ignore[arg-type]
    qtbot.addWidget(panel)
    panel.session.set_map(found)
    panel.session.set_four_indices(True)
    save_file_as(tmp_path / "m.csv")
    panel.csv_button.click()
    until(lambda: panel.message_label.text() == "Saved m.csv.")
    with (tmp_path / "m.csv").open(encoding="utf-8", newline="") as file:
        row = next(csv.DictReader(file))
    uvtw = np.array([int(row[name]) for name in "uvtw"])
    assert uvtw[:3].sum() == 0
    assert sorted(np.abs(uvtw).tolist()) == [0, 1, 1, 2]
