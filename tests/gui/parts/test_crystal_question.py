"""A CIF in a panel: one of several structures is asked for, and what had to be decided is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from qtpy.QtWidgets import QInputDialog

from napari_stem_orient.gui.index.widget import IndexWidget
from patience import Until
from shown_panel import ShowPanel

STRUCTURE = """data_{block}
_cell_length_a {edge}
_cell_length_b {edge}
_cell_length_c {edge}
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M '{group}'
loop_
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
{element} {x} {x} {x}
"""


@pytest.fixture
def panel(show_panel: ShowPanel, until: Until) -> IndexWidget:
    panel = show_panel(IndexWidget)
    until(lambda: panel.device_box.count() > 0)
    return panel


@pytest.fixture
def two_structures(tmp_path: Path) -> Path:
    path = tmp_path / "two.cif"
    copper = STRUCTURE.format(block="copper", edge=3.615, group="F m -3 m", element="Cu", x=0)
    path.write_text(
        copper + STRUCTURE.format(block="nickel", edge=3.524, group="F m -3 m", element="Ni", x=0)
    )
    return path


def test_one_of_several_structures_is_asked_for(
    panel: IndexWidget,
    two_structures: Path,
    save_file_as: Callable[[Path | None], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def choose(_parent: object, _title: str, text: str, names: list[str], *_: object) -> tuple[str, bool]:
        asked.append(text)
        return names[1], True

    monkeypatch.setattr(QInputDialog, "getItem", choose)
    save_file_as(two_structures)
    panel.crystals.cif_button.click()
    assert asked == ["two.cif holds 2 structures. Which one?"]
    assert [crystal.name for crystal in panel.session.crystals] == ["two nickel"]
    monkeypatch.setattr(QInputDialog, "getItem", lambda *_: ("", False))
    panel.crystals.cif_button.click()
    assert len(panel.session.crystals) == 1
    assert panel.message_label.text() == ""


def test_what_was_decided_about_a_crystal_is_told_and_stays_in_its_tooltip(
    panel: IndexWidget, tmp_path: Path
) -> None:
    path = tmp_path / "silicon.cif"
    path.write_text(STRUCTURE.format(block="si", edge=5.431, group="F d -3 m", element="Si", x=0.125))
    panel.crystals.add(path)
    told = "silicon: F d -3 m was read as F d -3 m:2."
    assert panel.message_label.text() == told
    assert panel.message_label.isVisible()
    item = panel.crystals.list.item(0)
    assert item is not None
    assert "diamond" in item.text()
    assert "Si8 in the cell, space group Fd-3m (227)" in item.toolTip()
    assert told in item.toolTip()


def test_a_crystal_that_is_refused_says_what_to_do(panel: IndexWidget, tmp_path: Path) -> None:
    path = tmp_path / "water.cif"
    path.write_text(STRUCTURE.format(block="w", edge=5, group="P 1", element="Wat", x=0))
    panel.crystals.add(path)
    assert "no chemical element; give each site its element" in panel.message_label.text()
    assert panel.session.crystals == ()
