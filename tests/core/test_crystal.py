"""Crystals: lattices, reflections and symmetry with known answers, and CIFs good and bad."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from napari_stem_orient.core.builtin_crystals import crystal_system_of
from napari_stem_orient.core.crystal import BUILTIN_CRYSTALS, Crystal, load_crystal
from napari_stem_orient.core.crystal_error import CrystalError
from napari_stem_orient.core.zone_axes import zone_axis_uvw

P1_COPPER = """data_Cu
_cell_length_a 3.615
_cell_length_b 3.615
_cell_length_c 3.615
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1'
loop_
_symmetry_equiv_pos_as_xyz
'x, y, z'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
"""
FOUR_ATOMS = "Cu0 Cu 0 0 0 1\nCu1 Cu 0 0.5 0.5 1\nCu2 Cu 0.5 0 0.5 1\nCu3 Cu 0.5 0.5 0 1\n"


#: Atomic masses in u.
MASSES = {
    "Fe": 55.85,
    "W": 183.84,
    "Mo": 95.95,
    "Cr": 52.0,
    "Ta": 180.95,
    "Nb": 92.91,
    "V": 50.94,
    "C": 12.01,
}
MASSES |= {
    "Si": 28.09,
    "Ge": 72.63,
    "Ga": 69.72,
    "As": 74.92,
    "In": 114.82,
    "P": 30.97,
    "Zn": 65.38,
    "S": 32.06,
}
MASSES |= {
    "Cd": 112.41,
    "Te": 127.6,
    "Na": 22.99,
    "Cl": 35.45,
    "Mg": 24.31,
    "O": 16.0,
    "Ni": 58.69,
    "Ti": 47.87,
}
MASSES |= {"N": 14.01, "Pb": 207.2, "Zr": 91.22, "Co": 58.93}


def write(folder: Path, text: str) -> Path:
    path = folder / "crystal.cif"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", BUILTIN_CRYSTALS)
def test_built_in_structures_have_the_space_group_they_say(name: str) -> None:
    import spglib

    crystal = load_crystal(name)
    kinds = np.unique(crystal.elements, return_inverse=True)[1]
    dataset = spglib.get_symmetry_dataset((crystal.direct_basis, crystal.fractional, kinds))
    assert dataset.number == crystal.space_group
    assert Crystal.from_dict(crystal.to_dict()) == crystal


def test_fcc_reflections_are_all_odd_or_all_even() -> None:
    hkl, g = load_crystal("Cu").reflections(1.2)
    parity = hkl % 2
    assert np.all((parity == parity[:, :1]).all(axis=1))
    shortest = np.linalg.norm(g, axis=1).min()
    assert shortest == pytest.approx(np.sqrt(3) / 3.6149, rel=1e-6)
    assert (np.linalg.norm(g, axis=1) < shortest * 1.001).sum() == 8


def test_hexagonal_basis_has_a_along_e1_and_c_star_along_e3() -> None:
    ti = load_crystal("Ti")
    np.testing.assert_allclose(ti.direct_basis[0], [2.9508, 0, 0], atol=1e-9)
    np.testing.assert_allclose(ti.reciprocal_basis[2], [0, 0, 1 / 4.6855], atol=1e-9)
    np.testing.assert_allclose(ti.direct_basis @ ti.reciprocal_basis.T, np.eye(3), atol=1e-12)


@pytest.mark.parametrize(("name", "atoms_per_point"), [("Cu", 4), ("Fe (bcc)", 2), ("LiCoO2", 3), ("Ti", 1)])
def test_primitive_cell_is_the_cell_over_its_lattice_points(name: str, atoms_per_point: int) -> None:
    crystal = load_crystal(name)
    volume = abs(np.linalg.det(crystal.primitive_basis))
    assert volume * atoms_per_point == pytest.approx(crystal.volume)
    hkl, g = crystal.reflections(1.0)
    indices = g @ crystal.primitive_basis.T
    np.testing.assert_allclose(indices, np.rint(indices), atol=1e-6)
    assert len(hkl)


def test_structure_types_are_recognised() -> None:
    types = {
        name: load_crystal(name).structure_type for name in ("Cu", "Fe (bcc)", "Ti", "Si", "GaAs", "MgO")
    }
    assert list(types.values()) == ["fcc", "bcc", "hcp", "diamond", "zinc blende", "rock salt"]
    assert load_crystal("LiCoO2").structure_type is None


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("bcc", ("Fe (bcc)", "W", "Mo", "Cr", "Ta", "Nb", "V")),
        ("diamond", ("Si", "Ge", "C (diamond)")),
        ("zinc blende", ("GaAs", "InP", "ZnS", "CdTe")),
        ("rock salt", ("NaCl", "MgO", "NiO", "TiN", "PbTe")),
        ("hcp", ("Ti", "Mg", "Zn", "Zr", "Co", "Cd")),
    ],
)
def test_builtin_crystals_have_the_density_of_the_handbooks(kind: str, names: tuple[str, ...]) -> None:
    # g/cm³: tells a wrong cell edge or a missing atom
    density = {"Fe (bcc)": 7.87, "W": 19.3, "Mo": 10.2, "Cr": 7.15, "Ta": 16.4, "Nb": 8.57, "V": 6.0}
    density |= {"Si": 2.33, "Ge": 5.32, "C (diamond)": 3.51, "GaAs": 5.32, "InP": 4.81, "ZnS": 4.09}
    density |= {"CdTe": 5.86, "NaCl": 2.17, "MgO": 3.6, "NiO": 6.72, "TiN": 5.40, "PbTe": 8.16}
    density |= {"Ti": 4.51, "Mg": 1.74, "Zn": 7.13, "Zr": 6.52, "Co": 8.86, "Cd": 8.69}
    for name in names:
        crystal = load_crystal(name)
        assert crystal.structure_type == kind
        grams = sum(MASSES[element] for element in crystal.elements) * 1.66054e-24
        assert grams / (crystal.volume * 1e-24) == pytest.approx(density[name], rel=0.025), name


def test_space_groups_belong_to_their_crystal_systems() -> None:
    systems = {name: load_crystal(name).crystal_system for name in ("Cu", "Ti", "LiCoO2")}
    assert systems == {"Cu": "cubic", "Ti": "hexagonal", "LiCoO2": "trigonal"}
    limits = [crystal_system_of(number) for number in (1, 2, 3, 15, 16, 74, 75, 142, 143, 167, 168, 194, 195)]
    assert len(set(limits)) == 7
    assert limits[0] == limits[1] == "triclinic"
    assert limits[-1] == crystal_system_of(230) == "cubic"


def test_a_disordered_alloy_has_the_type_of_its_sites() -> None:
    # half copper, half gold on every site: eight atoms in the list, yet fcc and not rock salt
    copper = load_crystal("Cu")
    alloy = Crystal(
        "Cu50Au50",
        (3.85, 3.85, 3.85, 90.0, 90.0, 90.0),
        ("Cu",) * 4 + ("Au",) * 4,
        np.tile(copper.fractional, (2, 1)),
        np.full(8, 0.5),
        space_group=225,
    )
    assert alloy.structure_type == "fcc"
    assert len(alloy.centring_translations) == 4


def test_symmetry_is_restored_where_a_cif_declares_p1(tmp_path: Path) -> None:
    crystal = load_crystal(write(tmp_path, P1_COPPER + FOUR_ATOMS))
    assert crystal.space_group == 225
    assert crystal.structure_type == "fcc"
    assert len(crystal.proper_point_group.data) == 24


def test_primitive_cell_in_a_cif_becomes_the_conventional_one(tmp_path: Path) -> None:
    edge = 3.615 / np.sqrt(2)
    text = P1_COPPER.replace("3.615", f"{edge:.6f}").replace(" 90", " 60") + "Cu0 Cu 0 0 0 1\n"
    crystal = load_crystal(write(tmp_path, text))
    assert crystal.space_group == 225
    assert crystal.lattice[0] == pytest.approx(3.615, rel=1e-4)
    assert len(crystal.elements) == 4


def test_cif_without_atoms_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(CrystalError, match=r"crystal\.cif"):
        load_crystal(write(tmp_path, P1_COPPER))


def test_text_that_is_no_cif_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(CrystalError, match=r"crystal\.cif"):
        load_crystal(write(tmp_path, "this is not a structure"))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("_cell_length_a", "_other_length_a", r"crystal\.cif has no whole cell; add _cell_length_a"),
        ("_atom_site_fract_z", "_atom_site_note", r"where its atoms are; add _atom_site_fract_z"),
        ("Cu2 Cu 0.5 0", "Cu2 Cu ? 0", r"where atom Cu2 is \(_atom_site_fract_x is \?\)"),
        ("Cu2 Cu 0.5 0 0.5", "Cu2 Cu 0.5 0 .", r"where atom Cu2 is \(_atom_site_fract_z is \.\)"),
        ("0.5 0.5 0 1", "0.5 0.5 0 -1", "occupancies from 0 to 1"),
    ],
)
def test_a_cif_that_leaves_out_what_the_structure_needs_is_refused(
    tmp_path: Path, old: str, new: str, reason: str
) -> None:
    text = P1_COPPER + FOUR_ATOMS
    assert old in text
    with pytest.raises(CrystalError, match=reason):
        load_crystal(write(tmp_path, text.replace(old, new)))


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(CrystalError, match="LiCoO2"):
        load_crystal("Unobtainium")
    with pytest.raises(CrystalError, match="check the path"):
        load_crystal("missing.cif")


def test_monoclinic_two_fold_axis_is_b(tmp_path: Path) -> None:
    crystal = Crystal(
        "m", (5.1, 8.5, 5.1, 90, 109.46, 90), ("Mn",), np.zeros((1, 3)), np.ones(1), space_group=12
    )
    axes = np.asarray(crystal.proper_point_group.data)
    two_fold = axes[np.abs(axes[:, 0]) < 0.5][0]
    np.testing.assert_allclose(np.abs(two_fold), [0, 0, 1, 0], atol=1e-9)


def test_every_cif_at_hand_is_read_with_its_symmetry(measured_data: Path) -> None:
    for path in sorted((measured_data / "cifs").glob("*.cif")):
        crystal = load_crystal(path)
        assert crystal.space_group > 1, path.name
        assert len(crystal.reflections(1.0)[0]), path.name


C_UNIQUE = [np.eye(3), np.diag([-1, -1, 1]), -np.eye(3), np.diag([1, 1, -1])]


def test_point_group_operations_stand_in_the_crystals_own_axes() -> None:
    # worked by hand: in P 1 1 2/m the two-fold axis is c, whatever the number 10 is by default
    lattice = (4.0, 5.0, 6.0, 90.0, 90.0, 105.0)
    crystal = Crystal("m", lattice, ("Mn",), np.zeros((1, 3)), np.ones(1), 10, rotations=np.array(C_UNIQUE))
    expected = np.array([[-1, 0, 0], [0, -1, 0], [0, 0, 1]], dtype=float)
    assert min(np.abs(crystal.point_group_operations - expected).max(axis=(1, 2))) < 1e-12
    two_fold = np.asarray(crystal.proper_point_group.data)[-1]
    np.testing.assert_allclose(np.abs(two_fold), [0, 0, 0, 1], atol=1e-9)
    assert Crystal.from_dict(crystal.to_dict()) == crystal


def test_the_standard_group_is_not_written_down() -> None:
    copper = load_crystal("Cu")
    rotations = np.rint(copper.point_group_operations)
    again = dataclasses.replace(copper, rotations=rotations)
    assert again == copper
    assert "rotations" not in again.to_dict()


def test_directions_and_planes_are_quoted_in_the_users_cell() -> None:
    # the primitive axes of face-centred copper: a' = (b + c)/2 and so on; [001] of the cube is a' + b' - c'
    primitive = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    copper = dataclasses.replace(load_crystal("Cu"), quoted_axes=primitive)
    along_z = np.array([0.0, 1.0, 0.0, 0.0])  # half a turn about x: [001] points to the gun
    assert zone_axis_uvw(along_z, copper).tolist() == [1, 1, -1]
    # the plane (200) of the cube: intercepts give h' = k + l over 2 and so on
    assert copper.quoted_indices(np.array([[2, 0, 0], [1, 1, 1]])).tolist() == [[0, 1, 1], [1, 1, 1]]
    assert Crystal.from_dict(copper.to_dict()) == copper


def test_atoms_that_are_listed_three_times_make_no_lattice() -> None:
    # as programs write thirds with four digits: three copies of one atom a thousandth of an Å apart
    copies = np.array([[0.3333, 0.6667, 0.25], [0.3333, 0.6666, 0.25], [0.3334, 0.6667, 0.25]])
    atoms = np.concatenate([copies, 1 - copies])
    crystal = Crystal("Ti", (2.95, 2.95, 4.68, 90, 90, 120), ("Ti",) * 6, atoms, np.full(6, 1 / 3), 194)
    assert len(crystal.centring_translations) == 1
    assert np.linalg.det(crystal.primitive_basis) != 0
