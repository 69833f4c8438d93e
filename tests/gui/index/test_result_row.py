"""The row of results: they are listed by name, one is chosen, and one that is in no file goes after a question only."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QMessageBox

from example_maps import example_map
from napari_stem_orient.gui.index.result_row import ResultRow
from napari_stem_orient.session.session import Session

pytestmark = pytest.mark.gui


@pytest.fixture
def row(qtbot: QtBot) -> ResultRow:
    session = Session()
    for n_candidates in (4, 8):
        session.set_map(replace(example_map((3, 4)), parameters={"n_candidates": n_candidates}))
    made = ResultRow(session)
    made.session = session  # type: ignore[attr-defined]
    qtbot.addWidget(made)
    made.refresh()
    return made


def session_of_row(row: ResultRow) -> Session:
    return row.session  # type: ignore[attr-defined, no-any-return]


def test_results_are_listed_by_name_and_the_current_one_is_chosen(row: ResultRow) -> None:
    assert [row.box.itemText(i) for i in range(row.box.count())] == ["Transformer", "Transformer 2"]
    assert row.box.currentData() == "transformer 2"
    row.box.setCurrentIndex(0)
    session = session_of_row(row)
    assert session.current_map is session.orientation_maps["transformer"]


def test_a_saved_result_goes_at_once(row: ResultRow) -> None:
    session = session_of_row(row)
    assert session.current_map is not None
    session.mark_saved(session.current_map)
    row.remove_button.click()
    assert list(session.orientation_maps) == ["transformer"]
    row.refresh()
    assert row.isHidden()


@pytest.mark.parametrize("remove", [True, False])
def test_a_result_that_is_in_no_file_goes_after_a_question_only(
    row: ResultRow, qtbot: QtBot, remove: bool
) -> None:
    session = session_of_row(row)
    row.remove_button.click()
    box = row.question
    assert box is not None
    qtbot.addWidget(box)
    assert "Map of peaks (transformer 2), 12 positions, is in no file." in box.text()
    assert len(session.orientation_maps) == 2
    named = {button.text().replace("&", ""): button for button in box.buttons()}
    button = named["Remove"] if remove else box.button(QMessageBox.StandardButton.Cancel)
    button.click()
    assert len(session.orientation_maps) == (1 if remove else 2)
