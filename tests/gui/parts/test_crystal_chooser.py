"""The list of crystals: headings, order, a search, and what came from files."""

from __future__ import annotations

from pathlib import Path

import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt

from napari_stem_orient.core.crystal import BUILTIN_CRYSTALS
from napari_stem_orient.gui.parts.crystal_chooser import YOURS, CrystalChooser, builtin_groups
from napari_stem_orient.gui.parts.crystal_list import CrystalChoice, CrystalList
from napari_stem_orient.gui.parts.stage_panel import JobPanel

CIF = """data_mine
_cell_length_a 4.0
_cell_length_b 4.0
_cell_length_c 4.0
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'F m -3 m'
_space_group_IT_number 225
loop_
_space_group_symop_operation_xyz
x,y,z
x,y+1/2,z+1/2
x+1/2,y,z+1/2
x+1/2,y+1/2,z
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Al1 Al 0 0 0
"""


@pytest.fixture
def chooser(qtbot: QtBot) -> CrystalChooser:
    chooser = CrystalChooser()
    qtbot.addWidget(chooser)
    chooser.show()
    return chooser


def lines(chooser: CrystalChooser) -> list[tuple[str, bool]]:
    """Each line of the list, and whether it can be chosen."""
    model = chooser.model()
    assert model is not None
    found = []
    for row in range(chooser.count()):
        flags = model.flags(model.index(row, 0))
        found.append((chooser.itemText(row), bool(flags & Qt.ItemFlag.ItemIsSelectable)))
    return found


def test_every_built_in_crystal_stands_once_under_its_structure_type(chooser: CrystalChooser) -> None:
    groups = dict(builtin_groups())
    assert {"Al", "Cu", "Ag", "Au", "Fe (fcc)"} <= set(groups["fcc"])
    assert groups["diamond"] == ("C (diamond)", "Ge", "Si")
    assert groups["perovskite"] == ("SrTiO3",)
    names = [name for members in groups.values() for name in members]
    assert sorted(names) == sorted(BUILTIN_CRYSTALS)
    assert all(list(members) == sorted(members, key=str.casefold) for members in groups.values())
    shown = lines(chooser)
    assert shown[0] == ("Built in: fcc", False)
    assert [text for text, selectable in shown if selectable] == names


def test_a_heading_is_no_crystal(chooser: CrystalChooser) -> None:
    chosen: list[str] = []
    chooser.chosen.connect(chosen.append)
    chooser.activated.emit(0)
    assert chosen == []
    chooser.activated.emit(chooser.findText("Si"))
    assert chosen == ["Si"]
    assert chooser.currentText() == ""


@pytest.mark.parametrize(("typed", "name"), [("si", "Si"), ("licoo", "LiCoO2"), ("perovsk", "SrTiO3")])
def test_a_name_its_beginning_or_a_structure_type_is_found(
    qtbot: QtBot, chooser: CrystalChooser, typed: str, name: str
) -> None:
    chosen: list[str] = []
    chooser.chosen.connect(chosen.append)
    line = chooser.lineEdit()
    assert line is not None
    completer = line.completer()
    assert completer is not None
    qtbot.keyClicks(line, typed)
    offered = completer.completionModel()
    assert offered is not None
    texts = [str(offered.index(row, 0).data()) for row in range(offered.rowCount())]
    assert any(text.startswith(name) for text in texts)
    popup = completer.popup()
    assert popup is not None
    popup.hide()
    qtbot.keyClick(line, Qt.Key.Key_Return)
    assert chosen == [name]
    assert line.text() == ""


def test_choosing_what_the_search_offers_empties_the_line(qtbot: QtBot, chooser: CrystalChooser) -> None:
    chosen: list[str] = []
    chooser.chosen.connect(chosen.append)
    line = chooser.lineEdit()
    assert line is not None
    completer = line.completer()
    assert completer is not None
    completer.activated[str].emit("Ge  ·  diamond")
    assert chosen == ["Ge"]
    qtbot.waitUntil(lambda: line.text() == "")


def test_what_is_no_crystal_is_said_and_a_crystal_from_a_file_is_offered_again(
    qtbot: QtBot, tmp_path: Path
) -> None:
    panel = JobPanel(ViewerModel())  # type: ignore[arg-type]
    qtbot.addWidget(panel)
    choice = CrystalChoice()
    crystals = CrystalList(panel, chosen=choice)
    panel.content.addWidget(crystals)
    line = crystals.add_box.lineEdit()
    assert line is not None
    qtbot.keyClicks(line, "kryptonite")
    qtbot.keyClick(line, Qt.Key.Key_Return)
    assert "“kryptonite” is none of the crystals" in panel.message_label.text()
    (tmp_path / "mine.cif").write_text(CIF)
    crystals.add(tmp_path / "mine.cif")
    (mine,) = choice.crystals
    crystals.list.setCurrentRow(0)
    crystals.remove_button.click()
    assert choice.crystals == ()
    shown = lines(crystals.add_box)
    assert shown[:2] == [(YOURS, False), (mine.name, True)]
    crystals.add_box.activated.emit(1)
    assert choice.crystals == (mine,)
