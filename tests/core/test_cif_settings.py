"""Every tabulated setting of every space group is read right: by its operations, its name, its Hall symbol."""

from __future__ import annotations

from pathlib import Path

import gemmi
import numpy as np
import pytest

from napari_stem_orient.core.crystal import Crystal, load_crystal
from napari_stem_orient.core.crystal_error import CrystalError

SITES = {
    "Fe": (0.1686, 0.1251, 0.0277),  # a general position
    "O": (0.0, 0.0, 0.0),  # on the symmetry elements at the origin, if there are any
    "S": (0.5, 0.25, 0.125),
    "Mg": (0.2973, 0.2973, 0.2973),  # on the body diagonal
}
TABLE = list(gemmi.spacegroup_table())


def settings(*, every: int) -> list[gemmi.SpaceGroup]:
    """Some of the tabulated settings, the troublesome ones among them: second origins and unusual centrings."""
    unusual = [
        g
        for g in TABLE
        if g.hm in ("C -1", "F -1", "P b n m", "P 1 21/n 1", "C 42/a m d", "F d -3 m", "R -3 m")
    ]
    return list({g.xhm(): g for g in (*unusual, *TABLE[::every])}.values())


def cell_of(group: gemmi.SpaceGroup) -> tuple[float, ...]:
    """A large cell, so that no atoms are close, with the metric of the setting and no other."""
    system = group.crystal_system_str()
    if group.ext == "R":
        return (44.0, 44.0, 44.0, 76.0, 76.0, 76.0)
    if system == "monoclinic":
        angles = {axis: 103.0 if axis == group.monoclinic_unique_axis() else 90.0 for axis in "abc"}
        return (42.0, 45.5, 51.0, *angles.values())
    return {
        "triclinic": (42.0, 45.5, 51.0, 82.0, 97.0, 104.0),
        "orthorhombic": (42.0, 45.5, 51.0, 90.0, 90.0, 90.0),
        "tetragonal": (42.0, 42.0, 51.0, 90.0, 90.0, 90.0),
        "trigonal": (44.0, 44.0, 58.0, 90.0, 90.0, 120.0),
        "hexagonal": (44.0, 44.0, 58.0, 90.0, 90.0, 120.0),
        "cubic": (47.0, 47.0, 47.0, 90.0, 90.0, 90.0),
    }[system]


def cif(group: gemmi.SpaceGroup, how: str) -> str:
    """A structure in this setting: its symmetry by "all" that files give, or by one of it alone."""
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    lines = ["data_x", *(f"_cell_{name} {value}" for name, value in zip(names, cell_of(group), strict=True))]
    if how in ("all", "name"):
        lines.append(f"_symmetry_space_group_name_H-M '{group.xhm()}'")
    if how == "all":
        lines.append(f"_symmetry_Int_Tables_number {group.number}")
    if how == "hall":
        lines.append(f"_symmetry_space_group_name_Hall\n;{group.hall}\n;")
    if how in ("all", "operations"):
        lines += ["loop_", "_symmetry_equiv_pos_as_xyz", *(f"'{op.triplet()}'" for op in group.operations())]
    lines += ["loop_", "_atom_site_label", *(f"_atom_site_fract_{axis}" for axis in "xyz")]
    lines += [f"{element}1 {x} {y} {z}" for element, (x, y, z) in SITES.items()]
    return "\n".join(lines) + "\n"


def expected_atoms(group: gemmi.SpaceGroup) -> set[tuple[str, tuple[int, ...]]]:
    """All atoms of the cell, by gemmi's own application of each operation; coordinates in 1e-5."""
    atoms = set()
    for element, position in SITES.items():
        for op in group.operations():
            image = np.rint(np.array(op.apply_to_xyz(list(position))) * 1e5).astype(int) % 100_000
            atoms.add((element, tuple(image.tolist())))
    return atoms


def atoms_of(crystal: Crystal) -> set[tuple[str, tuple[int, ...]]]:
    rounded = np.rint(crystal.fractional * 1e5).astype(int) % 100_000
    return {(e, tuple(r)) for e, r in zip(crystal.elements, rounded.tolist(), strict=True)}


def check(folder: Path, group: gemmi.SpaceGroup, how: str) -> None:
    path = folder / "x.cif"
    path.write_text(cif(group, how))
    crystal = load_crystal(path)
    expected = expected_atoms(group)
    assert crystal.space_group == group.number, (group.xhm(), how)
    if group.ext == "R":
        # Rhombohedral axes are calculated in hexagonal ones, and directions quoted in the file's.
        assert len(crystal.elements) == 3 * len(expected), (group.xhm(), how)
        lengths = np.linalg.norm(crystal.quoted_basis, axis=1)
        np.testing.assert_allclose(lengths, 44.0, rtol=1e-5)
        return
    assert atoms_of(crystal) == expected, (group.xhm(), how)
    assert len(crystal.elements) == len(expected)
    assert crystal.lattice == pytest.approx(cell_of(group))
    assert crystal.quoted_axes is None
    rotations = {tuple(map(tuple, (np.array(op.rot) // 24).tolist())) for op in group.operations()}
    operations = (
        np.linalg.inv(crystal.direct_basis.T) @ crystal.point_group_operations @ crystal.direct_basis.T
    )
    assert {tuple(map(tuple, np.rint(r).astype(int).tolist())) for r in operations} == rotations, group.xhm()


@pytest.mark.parametrize("how", ["all", "operations", "name", "hall"])
def test_a_setting_is_read_as_its_operations_say(tmp_path: Path, how: str) -> None:
    for group in settings(every=23):
        check(tmp_path, group, how)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["all", "operations", "name", "hall"])
def test_every_tabulated_setting_is_read_as_its_operations_say(tmp_path: Path, how: str) -> None:
    for group in TABLE:
        check(tmp_path, group, how)


COPPER = """data_cu
_cell_length_a {a}
_cell_length_b {a}
_cell_length_c {a}
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'F m -3 m'
{more}
loop_
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Cu1 0 0 0
"""


def test_a_file_that_names_two_space_groups_is_refused_with_both(tmp_path: Path) -> None:
    path = tmp_path / "cu.cif"
    path.write_text(COPPER.format(a=3.615, more="_space_group_name_H-M_alt 'P m -3 m'"))
    with pytest.raises(CrystalError, match=r"names two space groups, 'P m -3 m' and 'F m -3 m'"):
        load_crystal(path)


def test_two_names_of_one_space_group_are_no_contradiction(tmp_path: Path) -> None:
    path = tmp_path / "cu.cif"
    path.write_text(COPPER.format(a=3.615, more="_space_group_name_H-M_alt 'F m 3 m'"))
    assert load_crystal(path).space_group == 225


def test_a_cell_in_picometres_is_refused(tmp_path: Path) -> None:
    # 4 x 63.546 u in (361.5 Å)³ are 8.9e-6 g/cm³
    path = tmp_path / "cu.cif"
    path.write_text(COPPER.format(a=361.5, more=""))
    with pytest.raises(CrystalError, match=r"density is 8.9e-06 g/cm³; cell lengths must be in Å, not in pm"):
        load_crystal(path)
