"""CIFs as databases and mailboxes hold them: read as what they say, told where something was decided, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest

from cif_texts import LAMNO3, PBNM_CELL, cubic, hexagonal, text_of
from napari_stem_orient.core.crystal import Crystal, load_crystal
from napari_stem_orient.core.crystal_error import CrystalError, SeveralStructures
from napari_stem_orient.core.orientation import TOWARD_GUN, matrix_to_quaternion
from napari_stem_orient.core.zone_axes import zone_axis_uvw

CU = [("Cu1", "Cu", 0, 0, 0)]
FD3M_2 = [op.triplet() for op in gemmi.SpaceGroup("F d -3 m:2").operations()]
SPINEL = [("Mg", "Mg", 0.125, 0.125, 0.125), ("Al", "Al", 0.5, 0.5, 0.5), ("O", "O", 0.2624, 0.2624, 0.2624)]


def read(folder: Path, *args: Any, **tags: Any) -> Crystal:
    path = folder / "crystal.cif"
    path.write_text(text_of(*args, **tags))
    return load_crystal(path)


def shortest_distance(crystal: Crystal) -> float:
    steps = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    difference = crystal.fractional[:, None, None] - crystal.fractional[None, :, None] + steps
    distance = np.linalg.norm(difference @ crystal.direct_basis, axis=-1)
    return float(distance[distance > 1e-6].min())


def beam_along(crystal: Crystal, direction: np.ndarray) -> np.ndarray:
    """An orientation (4,) in which a Cartesian crystal direction points to the gun."""
    z = direction / np.linalg.norm(direction)
    x = np.cross(z, [0.3, 0.5, 0.8])
    x /= np.linalg.norm(x)
    sample = np.array([x, np.cross(TOWARD_GUN, [1, 0, 0]), [0, 0, 1]])
    to_crystal = np.stack([x, np.cross(z, x), z], axis=1)
    sample = np.stack([np.array([1.0, 0, 0]), np.cross(TOWARD_GUN, [1.0, 0, 0]), TOWARD_GUN], axis=1)
    return matrix_to_quaternion(to_crystal @ sample.T)


# --- where the atoms are ---


@pytest.mark.parametrize("digits", [2, 3, 4, 5, 6])
def test_thirds_of_few_digits_are_thirds(tmp_path: Path, digits: int) -> None:
    third, two_thirds = round(1 / 3, digits), round(2 / 3, digits)
    titanium = read(tmp_path, hexagonal(2.9506, 4.6788), [("Ti1", "Ti", third, two_thirds, 0.25)], number=194)
    assert titanium.formula == "Ti2"
    assert titanium.structure_type == "hcp"
    np.testing.assert_allclose(titanium.fractional[0, :2], [1 / 3, 2 / 3], atol=1e-9)
    diboride = [("Al1", "Al", 0, 0, 0), ("B1", "B", third, two_thirds, 0.5)]
    assert read(tmp_path, hexagonal(3.006, 3.252), diboride, number=191).formula == "AlB2"
    zinc_oxide = [("Zn1", "Zn", third, two_thirds, 0), ("O1", "O", third, two_thirds, 0.3821)]
    assert read(tmp_path, hexagonal(3.25, 5.2066), zinc_oxide, number=186).formula == "O2Zn2"


def test_sixths_of_four_digits_are_sixths(tmp_path: Path) -> None:
    # kagome net: 1/6 1/3 and its mirror positions; x, 2x with x = 1/6 is 6-fold
    crystal = read(tmp_path, hexagonal(7.0, 5.0), [("Fe", "Fe", 0.1667, 0.3333, 0)], name="P 6/m m m")
    assert crystal.formula == "Fe6"


def test_the_site_on_a_screw_axis_of_quartz_is_threefold(tmp_path: Path) -> None:
    sites = [("Si", "Si", 0.4697, 0, 0.6667), ("O", "O", 0.4135, 0.2669, 0.7858)]
    crystal = read(tmp_path, hexagonal(4.916, 5.4054), sites, name="P 32 2 1")
    assert crystal.formula == "O6Si3"
    assert shortest_distance(crystal) == pytest.approx(1.605, abs=0.02)  # Si-O


def test_split_sites_stay_where_they_are(tmp_path: Path) -> None:
    # half an atom on either side of a mirror, 0.4 Å apart: disorder, and no atom on the mirror
    sites = [("O1", "O", 0, 0, 0.04, 0.5), ("Cu1", "Cu", 0.5, 0.5, 0.5, 1)]
    crystal = read(tmp_path, (5, 5.5, 5, 90, 90, 90), sites, name="P m m m", columns="label type x y z occ")
    assert crystal.formula == "CuO2"
    assert sorted(crystal.fractional[:, 2].tolist()) == pytest.approx([0.04, 0.5, 0.96])


def test_a_listed_copy_is_left_out_and_told(tmp_path: Path) -> None:
    sites = [*CU, ("Cu2", "Cu", 0.5, 0.5, 0)]
    crystal = read(tmp_path, cubic(3.615), sites, name="F m -3 m")
    assert crystal.formula == "Cu4"
    assert "Cu2 is a copy of Cu1" in " ".join(crystal.notes)


def test_two_kinds_of_one_element_on_a_site_are_one(tmp_path: Path) -> None:
    sites = [("Fe1", "Fe2+", 0, 0, 0, 0.4), ("Fe2", "Fe3+", 0, 0, 0, 0.6)]
    crystal = read(tmp_path, cubic(2.8665), sites, name="I m -3 m", columns="label type x y z occ")
    assert (crystal.formula, crystal.structure_type) == ("Fe2", "bcc")
    np.testing.assert_allclose(crystal.occupancy, 1.0)


# --- the file's own operations come first ---


def test_listed_operations_choose_the_origin(tmp_path: Path) -> None:
    # LiMn2O4, a spinel: lithium on 8a, manganese on 16d, whatever a table takes for the usual origin
    sites = [
        ("Li", "Li", 0.125, 0.125, 0.125),
        ("Mn", "Mn", 0.5, 0.5, 0.5),
        ("O", "O", 0.2632, 0.2632, 0.2632),
    ]
    crystal = read(
        tmp_path, cubic(8.245), sites, name="F d -3 m :2", hall="-F 4vw 2vw 3", operations=FD3M_2, number=227
    )
    assert crystal.formula == "Li8Mn16O32"
    assert shortest_distance(crystal) == pytest.approx(1.94, abs=0.03)  # Mn-O of the octahedra


def test_operations_win_against_a_name_and_say_so(tmp_path: Path) -> None:
    body_centred = [op.triplet() for op in gemmi.SpaceGroup("I m -3 m").operations()]
    crystal = read(tmp_path, cubic(2.8665), [("Fe", "Fe", 0, 0, 0)], name="F m -3 m", operations=body_centred)
    assert (crystal.formula, crystal.space_group) == ("Fe2", 229)
    assert "names F m -3 m, but its operations are those of I m -3 m" in " ".join(crystal.notes)


def test_a_loop_shorter_than_the_named_group_is_completed_and_told(tmp_path: Path) -> None:
    crystal = read(tmp_path, cubic(3.6149), CU, name="F m -3 m", number=225, operations=["x, y, z"])
    assert (crystal.formula, crystal.structure_type) == ("Cu4", "fcc")
    assert "lists 1 symmetry operation, F m -3 m has 192" in " ".join(crystal.notes)
    without_centring = [op.triplet() for op in gemmi.SpaceGroup("F m -3 m").operations().sym_ops]
    crystal = read(tmp_path, cubic(3.6149), CU, name="F m -3 m", operations=without_centring)
    assert crystal.formula == "Cu4"


def test_a_short_loop_is_right_where_all_atoms_are_listed(tmp_path: Path) -> None:
    four = [
        ("Cu1", "Cu", 0, 0, 0),
        ("Cu2", "Cu", 0.5, 0.5, 0),
        ("Cu3", "Cu", 0.5, 0, 0.5),
        ("Cu4", "Cu", 0, 0.5, 0.5),
    ]
    crystal = read(tmp_path, cubic(3.6149), four, name="F m -3 m", operations=["x, y, z"])
    assert (crystal.formula, crystal.structure_type, crystal.notes) == ("Cu4", "fcc", ())


def test_the_formula_decides_whether_a_short_loop_was_meant(tmp_path: Path) -> None:
    # simple cubic polonium that is wrongly called face-centred: one atom in the cell, says Z
    crystal = read(
        tmp_path,
        cubic(3.359),
        [("Po", "Po", 0, 0, 0)],
        name="F m -3 m",
        operations=["x,y,z"],
        formula="Po",
        z=1,
    )
    assert (crystal.formula, crystal.space_group) == ("Po", 221)


def test_generators_are_completed(tmp_path: Path) -> None:
    generators = ["x,y,z", "-x,y+1/2,-z+1/2", "-x,-y,-z"]
    crystal = read(tmp_path, (5, 6, 7, 90, 100, 90), [("Fe", "Fe", 0.1, 0.2, 0.3)], operations=generators)
    assert (crystal.formula, crystal.space_group) == ("Fe4", 14)
    assert "make a group of 4" in " ".join(crystal.notes)


def test_a_misprint_among_the_operations_is_told(tmp_path: Path) -> None:
    operations = [op.triplet() for op in gemmi.SpaceGroup("P b n m").operations()]
    operations[5] = (
        operations[5].replace("-z", "z") if "-z" in operations[5] else operations[5].replace("z", "-z")
    )
    crystal = read(tmp_path, PBNM_CELL, LAMNO3, name="P b n m", operations=operations)
    assert crystal.formula == "La4Mn4O12"
    assert "1 symmetry operation of the file's list cannot be: those of P b n m" in crystal.notes[0]


def test_what_is_no_operation_is_named(tmp_path: Path) -> None:
    with pytest.raises(CrystalError, match="'x, y, w' is no symmetry operation"):
        read(tmp_path, cubic(3.6), CU, operations=["x, y, w"])
    with pytest.raises(CrystalError, match="make no group"):
        read(tmp_path, cubic(3.6), CU, operations=["x,y,z", "x+y,y,z"])


@pytest.mark.parametrize(
    "tag",
    ["_space_group_symop_operation_xyz", "_space_group_symop.operation_xyz", "_symmetry_equiv_pos_as_xyz"],
)
def test_one_operation_without_a_loop_is_read(tmp_path: Path, tag: str) -> None:
    path = tmp_path / "crystal.cif"
    path.write_text(text_of(cubic(3.6), CU).replace("loop_", f"{tag} 'x,y,z'\nloop_", 1))
    assert load_crystal(path).formula == "Cu"


# --- names, numbers and Hall symbols ---


@pytest.mark.parametrize(
    ("tags", "formula", "group"),
    [
        ({"hall": "-F 4 2 3"}, "Cu4", 225),
        ({"name": "F m -3 m S"}, "Cu4", 225),
        ({"name": "fm-3m"}, "Cu4", 225),
        ({"name": "F_m_-3_m"}, "Cu4", 225),
        ({"name": "F m 3 m"}, "Cu4", 225),
        ({"name": "F 4/m -3 2/m"}, "Cu4", 225),
        ({"number": 229}, "Cu2", 229),
        ({"name": "F d -3 m :1"}, "Cu8", 227),
        ({"name": "F d -3 m S"}, "Cu8", 227),
        ({"name": "P 1"}, "Cu", 221),
    ],
)
def test_a_space_group_has_many_names(tmp_path: Path, tags: dict[str, Any], formula: str, group: int) -> None:
    crystal = read(tmp_path, cubic(5.4), CU, **tags)
    assert (crystal.formula, crystal.space_group) == (formula, group)


@pytest.mark.parametrize("name", ["F d -3 m", "F d -3 m Z", "F d -3 m :2", "F d -3 m:2", "Fd-3mZ"])
def test_the_origin_of_a_spinel_is_found(tmp_path: Path, name: str) -> None:
    crystal = read(tmp_path, cubic(8.083), SPINEL, name=name, number=227)
    assert crystal.formula == "Al16Mg8O32"
    assert shortest_distance(crystal) == pytest.approx(1.92, abs=0.01)


@pytest.mark.parametrize("z", [2, 4])
def test_z_decides_between_two_origins(tmp_path: Path, z: int) -> None:
    # (1/4, 1/4, 1/4) of P n n n is the 2-fold site 222 of origin 2, and the 4-fold inversion centre of origin 1;
    # (0, 0, 0) is the other way round
    sites = [("Fe", "Fe", 0.25, 0.25, 0.25)] + [("O", "O", 0, 0, 0)] * (z == 2)
    tags = {"formula": "Fe O2", "z": 2} if z == 2 else {"formula": "Fe", "z": 4}
    crystal = read(tmp_path, (5.0, 5.5, 6.0, 90, 90, 90), sites, name="P n n n", **tags)
    assert crystal.formula == ("Fe2O4" if z == 2 else "Fe4")
    assert "P n n n was read as" in " ".join(crystal.notes)


def test_an_origin_that_nothing_decides_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(
        CrystalError, match=r"can be read as P n n n:1 or P n n n:2, .*_space_group_name_H-M_alt"
    ):
        read(tmp_path, (11, 12, 13, 90, 90, 90), [("Fe", "Fe", 0.1, 0.13, 0.11)], name="P n n n")


def test_rhombohedral_axes_are_seen_from_the_cell(tmp_path: Path) -> None:
    sites = [("Bi1", "Bi", 0.234, 0.234, 0.234)]
    crystal = read(tmp_path, (4.746, 4.746, 4.746, 57.23, 57.23, 57.23), sites, name="R -3 m")
    assert (crystal.formula, crystal.space_group) == ("Bi6", 166)
    assert shortest_distance(crystal) == pytest.approx(3.07, abs=0.01)
    assert crystal.lattice[0] == pytest.approx(2 * 4.746 * np.sin(np.deg2rad(57.23 / 2)), rel=1e-5)
    # [111] of the rhombohedral axes is the three-fold axis, and is called so
    three_fold = crystal.direct_basis[2]
    assert np.abs(zone_axis_uvw(beam_along(crystal, three_fold), crystal)).tolist() == [1, 1, 1]
    # (111) of those axes is the basal plane (003)
    assert np.abs(crystal.quoted_indices(np.array([0, 0, 3]))).tolist() == [1, 1, 1]
    assert "directions and planes are given in the axes of the file" in " ".join(crystal.notes)


def test_the_choice_of_origin_may_stand_apart(tmp_path: Path) -> None:
    path = tmp_path / "crystal.cif"
    text = text_of(cubic(5.431), CU, name="F d -3 m")
    for choice, formula in (("1", "Cu8"), ("2", "Cu16")):
        path.write_text(text.replace("loop_", f"_space_group.IT_coordinate_system_code {choice}\nloop_", 1))
        assert load_crystal(path).formula == formula


def test_a_short_monoclinic_symbol_has_the_axis_that_the_cell_has(tmp_path: Path) -> None:
    iron = [("Fe", "Fe", 0.1, 0.2, 0.3)]
    crystal = read(tmp_path, (5, 6, 7, 90, 90, 100), iron, name="P 21/b")
    assert (crystal.space_group, crystal.setting) == (14, "P 1 1 21/b")
    two_fold = np.asarray(crystal.proper_point_group.data)[-1]
    np.testing.assert_allclose(np.abs(two_fold), [0, 0, 0, 1], atol=1e-9)


def test_a_number_alone_is_the_standard_setting_if_the_atoms_allow(tmp_path: Path) -> None:
    pnma = [(label, kind, y, z, x) for label, kind, x, y, z in LAMNO3]
    crystal = read(tmp_path, (5.47, 7.75, 5.49, 90, 90, 90), pnma, number=62)
    assert (crystal.formula, crystal.notes) == ("La4Mn4O12", ())
    # in Pnma the atoms of a Pbnm cell would be 0.3 Å apart; two other settings would do
    with pytest.raises(CrystalError, match="can be read as P b n m or P n a m"):
        read(tmp_path, PBNM_CELL, LAMNO3, number=62)


def test_symbols_that_contradict_each_other_are_told_or_refused(tmp_path: Path) -> None:
    # with the body-centred group the cell would hold 2 units, says Z; with the face-centred one 4
    tags = {"hall": "-I 4 2 3", "name": "F m -3 m", "formula": "Cu"}
    crystal = read(tmp_path, cubic(3.615), CU, z=4, **tags)
    assert (crystal.formula, crystal.space_group) == ("Cu4", 225)
    assert "the Hall symbol is that of I m -3 m, the file names F m -3 m" in crystal.notes[0]


def test_a_wrong_z_makes_no_other_setting_of_a_number(tmp_path: Path) -> None:
    # number 1 is P 1; F 1 would hold four atoms, as Z says
    crystal = read(tmp_path, cubic(3.6), CU, number=1, formula="Cu", z=4)
    assert crystal.formula == "Cu"
    assert "the file says Z = 4, but the cell holds 1 units" in " ".join(crystal.notes)


def test_no_space_group_is_refused_with_what_to_add(tmp_path: Path) -> None:
    with pytest.raises(CrystalError, match=r"does not tell its symmetry; add the symmetry operations"):
        read(tmp_path, cubic(3.6), CU)
    with pytest.raises(CrystalError, match="names the space group 'F x y z', which is not known"):
        read(tmp_path, cubic(3.6), CU, name="F x y z")
    with pytest.raises(CrystalError, match="'F m -3 m', which is not number 227"):
        read(tmp_path, cubic(3.6), CU, name="F m -3 m", number=227)


# --- the cell stays the user's ---


def test_pbnm_stays_pbnm_and_its_c_axis_is_001(tmp_path: Path) -> None:
    crystal = read(tmp_path, PBNM_CELL, LAMNO3, name="P b n m", number=62)
    assert crystal.lattice == PBNM_CELL
    assert (crystal.formula, crystal.space_group_name) == ("La4Mn4O12", "Pbnm (62)")
    assert shortest_distance(crystal) == pytest.approx(1.92, abs=0.03)
    along_c = beam_along(crystal, crystal.direct_basis[2])
    assert zone_axis_uvw(along_c, crystal).tolist() == [0, 0, 1]
    assert np.linalg.norm(crystal.direct_basis[2]) == pytest.approx(7.75)
    # n glide: of h 0 l only h + l even; b glide: of 0 k l only k even (Pbnm, not Pnma)
    assert crystal.notes == ()


def test_p21n_stays_p21n(tmp_path: Path) -> None:
    sites = [("Fe", "Fe", 0.1, 0.2, 0.3), ("S", "S", 0.4, 0.1, 0.1)]
    cell = (5.15, 5.21, 6.78, 90, 102.0, 90)
    crystal = read(tmp_path, cell, sites, name="P 21/n")
    assert crystal.lattice == cell
    assert (crystal.formula, crystal.space_group_name) == ("Fe4S4", "P21/n (14)")
    two_fold = np.asarray(crystal.proper_point_group.data)[-1]
    np.testing.assert_allclose(np.abs(two_fold), [0, 0, 1, 0], atol=1e-9)
    for axis, uvw in zip(crystal.direct_basis, np.eye(3, dtype=int).tolist(), strict=True):
        assert zone_axis_uvw(beam_along(crystal, axis), crystal).tolist() == uvw
    # worked by hand: -x+1/2, y+1/2, -z+1/2 is the screw of P 21/n
    image = np.array([0.5 - 0.1, 0.5 + 0.2, 0.5 - 0.3])
    assert np.abs(crystal.fractional - image).max(axis=1).min() < 1e-9


@pytest.mark.parametrize(
    ("name", "cell", "formula"),
    [
        ("I 2/a", (9.0, 6.0, 10.0, 90, 98, 90), "Fe8"),
        ("C -1", (8.1, 12.8, 7.2, 94, 117, 88), "Fe4"),
        ("P -1", (7.2, 8.1, 9.9, 100, 110, 65), "Fe2"),
        ("F -1", (12.0, 13.0, 14.0, 85, 95, 100), "Fe8"),
        ("P c a b", (9.0, 18.0, 5.2, 90, 90, 90), "Fe8"),
        ("P 2/m 1 1", (12.0, 7.0, 8.0, 105, 90, 90), "Fe4"),
        ("F 4/m m m", (24.0, 24.0, 12.0, 90, 90, 90), "Fe64"),
    ],
)
def test_unusual_settings_keep_their_cell(
    tmp_path: Path, name: str, cell: tuple[float, ...], formula: str
) -> None:
    crystal = read(tmp_path, cell, [("Fe", "Fe", 0.11, 0.17, 0.23)], name=name)
    assert crystal.lattice == cell
    assert crystal.formula == formula
    assert crystal.quoted_axes is None


def test_shared_sites_are_read_in_any_setting(tmp_path: Path) -> None:
    sites = [(*site, 1) for site in LAMNO3[1:]]
    shared = [("La", "La", 0.99, 0.02, 0.25, 0.7), ("Sr", "Sr", 0.99, 0.02, 0.25, 0.3), *sites]
    crystal = read(tmp_path, PBNM_CELL, shared, name="P b n m", columns="label type x y z occ")
    assert (crystal.formula, crystal.space_group) == ("La4Mn4O12Sr4", 62)
    assert crystal.composition == pytest.approx({"La": 2.8, "Sr": 1.2, "Mn": 4, "O": 12})
    alloy = [("Fe1", "Fe", 0, 0, 0, 0.6), ("Ni1", "Ni", 0, 0, 0, 0.4)]
    crystal = read(
        tmp_path, (2.54, 2.54, 2.54, 60, 60, 60), alloy, name="P 1", columns="label type x y z occ"
    )
    assert (crystal.formula, crystal.structure_type) == ("Fe4Ni4", "fcc")
    assert crystal.lattice[0] == pytest.approx(2.54 * np.sqrt(2), rel=1e-5)


# --- elements ---


@pytest.mark.parametrize("symbol", ["Wat", "T", "M1", "X", "OH", "O-H", "H2O", "Qq"])
def test_what_is_no_element_is_refused_by_name(tmp_path: Path, symbol: str) -> None:
    with pytest.raises(
        CrystalError, match=r"no chemical element; give each site its element in _atom_site_type"
    ):
        read(tmp_path, cubic(5.0), [("A1", symbol, 0, 0, 0)], name="P 1")
    with pytest.raises(CrystalError, match="no chemical element"):
        read(tmp_path, cubic(5.0), [(f"{symbol}1", 0, 0, 0)], name="P 1", columns="label x y z")


@pytest.mark.parametrize(
    ("symbol", "element"),
    [
        ("Fe3+", "Fe"),
        ("O2-", "O"),
        ("Fe+3", "Fe"),
        ("O-2", "O"),
        ("CU", "Cu"),
        ("D", "H"),
        ("Siva", "Si"),
        ("U6+", "U"),
    ],
)
def test_types_with_charges_are_elements(tmp_path: Path, symbol: str, element: str) -> None:
    crystal = read(tmp_path, cubic(5.0), [("A1", symbol, 0, 0, 0)], name="P 1")
    assert crystal.elements == (element,)


@pytest.mark.parametrize(
    ("label", "formula", "element"),
    [
        ("Fe1", "", "Fe"),
        ("O_w", "", "O"),
        ("Si(2)", "", "Si"),
        ("FeT", "Fe3 O4", "Fe"),
        ("OA", "Fe3 O4", "O"),
    ],
)
def test_labels_stand_for_types(tmp_path: Path, label: str, formula: str, element: str) -> None:
    sites = [(label, 0, 0, 0), ("Fe9" if element == "O" else "O9", 0.5, 0.5, 0.5)]
    text = text_of(cubic(5.0), sites, columns="label x y z", name="P 1")
    path = tmp_path / "crystal.cif"
    path.write_text(
        text.replace("loop_", f"_chemical_formula_sum '{formula}'\nloop_", 1) if formula else text
    )
    assert load_crystal(path).elements[0] == element


def test_vacancies_and_dummies_are_left_out_and_told(tmp_path: Path) -> None:
    sites = [("Fe1", "Fe", 0, 0, 0, 0.9), ("Va1", "Va", 0, 0, 0, 0.1), ("O1", "O", 0.5, 0.5, 0.5, 1)]
    crystal = read(tmp_path, cubic(4.212), sites, name="F m -3 m", columns="label type x y z occ")
    assert crystal.formula == "Fe4O4"
    assert crystal.notes == ("site Va1 is left out: no atom is there",)


# --- checks ---


def test_a_cell_that_has_not_the_symmetry_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CrystalError, match=r"no cell 3\.6 3\.7 3\.6 90 90 90 .* has the symmetry F m -3 m"):
        read(tmp_path, (3.6, 3.7, 3.6, 90, 90, 90), CU, name="F m -3 m")
    # edges that were fitted freely, a tenth of a per cent apart
    crystal = read(tmp_path, (3.6, 3.603, 3.6, 90, 90, 90), CU, name="F m -3 m")
    assert crystal.notes == ("the cell is not quite that of F m -3 m: off by 0.06 %",)
    np.testing.assert_allclose(abs(np.linalg.det(crystal.point_group_operations)), 1.0)
    with pytest.raises(CrystalError, match="no cell has the angles"):
        read(tmp_path, (3.6, 3.7, 3.6, 20, 90, 150), CU, name="P 1")


def test_atoms_on_top_of_each_other_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(CrystalError, match=r"atoms Cu1 and O1 are 0\.36 Å apart"):
        read(tmp_path, cubic(3.6), [*CU, ("O1", "O", 0.1, 0, 0)], name="P 1")
    with pytest.raises(CrystalError, match=r"Cu1 and Ni1 lie on one place, .* add up to 2\.00"):
        read(tmp_path, cubic(3.6), [*CU, ("Ni1", "Ni", 0, 0, 0)], name="F m -3 m")


def test_another_crystal_than_the_formula_says_is_refused(tmp_path: Path) -> None:
    salt = [("Na1", "Na", 0, 0, 0), ("Cl1", "Cl", 0.5, 0.5, 0.5)]
    with pytest.raises(CrystalError, match=r"holds Cl4 Na4 .*not 'Na Br'"):
        read(tmp_path, cubic(5.64), salt, name="F m -3 m", formula="Na Br")
    # magnesium and aluminium exchanged: twice as much of the one, half of the other
    with pytest.raises(CrystalError, match=r"holds Al16 Mg8 O32 .*not 'Mg2 Al O4'"):
        read(tmp_path, cubic(8.083), SPINEL, name="F d -3 m :2", formula="Mg2 Al O4")


def test_a_number_of_formula_units_that_differs_is_told(tmp_path: Path) -> None:
    crystal = read(tmp_path, cubic(3.615), CU, name="F m -3 m", formula="Cu", z=2)
    assert crystal.notes == ("the file says Z = 2, but the cell holds 4 units of the sum formula",)
    assert read(tmp_path, cubic(3.615), CU, name="F m -3 m", formula="Cu4", z=4).notes == ()


def test_a_density_that_differs_is_told(tmp_path: Path) -> None:
    # copper has 8.93 g/cm³: 4 x 63.55 u in (3.615 Å)³
    crystal = read(tmp_path, cubic(3.615), CU, name="F m -3 m", density=2.23)
    assert crystal.notes == ("the file says 2.23 g/cm³, but the cell has 8.93 g/cm³",)


def test_vanadyl_bonds_are_no_reason_to_worry_but_metals_that_touch_are(tmp_path: Path) -> None:
    # V=O of V2O5 is 1.58 Å; two iron atoms have never been nearer than 2.2 Å in a metal
    vanadyl = [("V1", "V", 0, 0, 0), ("O1", "O", 0, 0, 0.158)]
    assert read(tmp_path, cubic(10), vanadyl, name="P 4 m m").notes == ()
    crystal = read(tmp_path, cubic(1.9), [("Fe", "Fe", 0, 0, 0)], name="P m -3 m")
    assert crystal.notes == ("atoms Fe and Fe are only 1.90 Å apart: check the file",)


# --- files ---


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_any_encoding_is_read(tmp_path: Path, encoding: str, newline: str) -> None:
    text = text_of(cubic(3.615), CU, name="F m -3 m").replace(
        "loop_", "_publ_author_name 'Müller, K.'\nloop_", 1
    )
    path = tmp_path / "crystal.cif"
    path.write_bytes(text.replace("\n", newline).encode(encoding))
    assert load_crystal(path).formula == "Cu4"


def test_data_names_of_the_new_dictionaries_are_read(tmp_path: Path) -> None:
    text = text_of(cubic(3.615), CU).replace("_cell_", "_cell.").replace("_atom_site_", "_atom_site.")
    names = "_space_group.name_H-M_alt 'F m -3 m'\n_space_group.IT_number 225\nloop_"
    path = tmp_path / "crystal.cif"
    path.write_text(text.replace("loop_", names, 1))
    crystal = load_crystal(path)
    assert (crystal.formula, crystal.lattice[0], crystal.notes) == ("Cu4", 3.615, ())


def test_the_operations_of_a_magnetic_group_move_atoms(tmp_path: Path) -> None:
    # MnO-like: the centring that turns the moments over moves the atoms all the same
    operations = "loop_\n_space_group_symop_magn_operation.xyz\nx,y,z,+1\n-x,-y,-z,+1\n"
    centrings = "loop_\n_space_group_symop_magn_centering.xyz\nx,y,z,+1\nx+1/2,y+1/2,z,-1\n"
    text = text_of((4.0, 5.0, 6.0, 85, 95, 100), [("Mn", "Mn", 0.1, 0.2, 0.3)])
    path = tmp_path / "crystal.cif"
    path.write_text(text.replace("loop_", operations + centrings + "loop_", 1))
    crystal = load_crystal(path)
    assert (crystal.formula, crystal.space_group_name, crystal.notes) == ("Mn4", "C-1 (2)", ())


def test_sites_without_labels_are_read(tmp_path: Path) -> None:
    assert (
        read(tmp_path, cubic(3.615), [("Cu", 0, 0, 0)], columns="type x y z", name="F m -3 m").formula
        == "Cu4"
    )


def test_one_of_several_structures_must_be_named(tmp_path: Path) -> None:
    path = tmp_path / "two.cif"
    copper = text_of(cubic(3.615), CU, name="F m -3 m", block="first")
    nickel = text_of(cubic(3.524), [("Ni1", "Ni", 0, 0, 0)], name="F m -3 m", block="second")
    path.write_text("data_global\n_journal_year 2003\n" + copper + nickel)
    with pytest.raises(
        SeveralStructures, match=r"holds 2 structures; .*two\.cif#first, two\.cif#second"
    ) as caught:
        load_crystal(path)
    assert caught.value.blocks == ("first", "second")
    assert load_crystal(path, block="second").elements[0] == "Ni"
    assert load_crystal(f"{path}#first").elements[0] == "Cu"
    assert load_crystal(f"{path}#first").name != load_crystal(f"{path}#second").name
    with pytest.raises(CrystalError, match="no structure 'third'; it holds first, second"):
        load_crystal(f"{path}#third")


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "crystal.cif"
    path.write_text(text_of(cubic(3.615), [*CU, ("Cu2", "Cu", 0.5)], name="F m -3 m"))
    with pytest.raises(CrystalError, match=r"crystal\.cif cannot be read as a CIF \(line \d+: "):
        load_crystal(path)


def test_version_2_and_a_long_list_of_reflections_are_no_hindrance(tmp_path: Path) -> None:
    path = tmp_path / "crystal.cif"
    reflections = "loop_\n_refln_index_h\n_refln_index_k\n_refln_F_meas\n" + "1 2 3.5(2)\n" * 20_000
    path.write_text("#\\#CIF_2.0\n" + text_of(cubic(3.615), CU, name="F m -3 m") + reflections)
    assert load_crystal(path).formula == "Cu4"


@pytest.mark.parametrize(
    "content", [b"", b"\x89PNG\r\n\x1a\n\x00\x00\xff\xfe", b"data_x\n", b"data_x\nloop_\n"]
)
def test_what_is_no_structure_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "crystal.cif"
    path.write_bytes(content)
    with pytest.raises(CrystalError, match=r"crystal\.cif (has no atoms|cannot be read as a CIF)"):
        load_crystal(path)


def test_data_names_that_stand_twice_are_no_reason_to_refuse(tmp_path: Path) -> None:
    path = tmp_path / "crystal.cif"
    path.write_text(
        text_of(cubic(3.615), CU, name="F m -3 m").replace("loop_", "_cell_length_a 3.615\nloop_", 1)
    )
    assert load_crystal(path).formula == "Cu4"
