"""A crystal in a recipe stands for one structure: the one that was chosen, or none."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from napari_stem_orient.core.crystal import Crystal, load_crystal
from napari_stem_orient.core.crystal_error import CrystalError
from napari_stem_orient.steps.crystals import CrystalChoice, loaded

GOLD = """data_gold
_cell_length_a {a}
_cell_length_b {a}
_cell_length_c {a}
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'F m -3 m'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Au1 Au 0 0 0
"""


def through_yaml(choice: CrystalChoice) -> CrystalChoice:
    return CrystalChoice.model_validate(yaml.safe_load(yaml.safe_dump(choice.model_dump(mode="json"))))


def test_a_built_in_crystal_is_named(tmp_path: Path) -> None:
    choice = CrystalChoice.of(load_crystal("SrTiO3"))
    assert (choice.source, choice.path, choice.structure) == ("SrTiO3", None, None)
    assert loaded([through_yaml(choice)]) == (load_crystal("SrTiO3"),)


def test_a_cif_is_named_and_refused_when_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "gold#1.cif"
    path.write_text(GOLD.format(a=4.0782))
    choice = through_yaml(CrystalChoice.of(load_crystal(path)))
    assert choice.path == path
    assert choice.load().lattice[0] == 4.0782
    path.write_text(GOLD.format(a=4.2))
    with pytest.raises(CrystalError, match="another structure than the one that was chosen"):
        choice.load()
    assert choice.model_copy(update={"fingerprint": ""}).load().lattice[0] == 4.2


def test_a_structure_of_a_file_with_several_is_named_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "two.cif"
    path.write_text(GOLD.format(a=4.0782) + GOLD.format(a=4.1).replace("data_gold", "data_strained"))
    choice = CrystalChoice.of(load_crystal(path, block="strained"))
    assert choice.source == f"{path}#strained"
    assert choice.path == path
    assert through_yaml(choice).load().lattice[0] == 4.1


def test_a_crystal_without_a_file_is_written_down_in_full() -> None:
    crystal = Crystal.from_dict(load_crystal("Ti").to_dict())
    choice = through_yaml(CrystalChoice.of(crystal))
    assert choice.source == ""
    assert choice.load() == load_crystal("Ti")


def test_a_choice_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="a name, a CIF or its structure"):
        CrystalChoice()
