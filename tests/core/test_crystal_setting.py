"""Cells in which other programs know a crystal's symmetry: the axes are where they say, the crystal is the same."""

from __future__ import annotations

import numpy as np
import pytest

from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.crystal_setting import (
    CrystalSetting,
    colour_key_setting,
    laue_class,
    orix_setting,
    setting_with,
)
from napari_stem_orient.core.orientation import (
    quaternion_to_matrix,
    symmetry_quaternions,
)

Cell = tuple[float, float, float, float, float, float]
FLIP_A, FLIP_B, FLIP_C = np.diag([1, -1, -1]), np.diag([-1, 1, -1]), np.diag([-1, -1, 1])
SWAP_AB = np.array([[0, 1, 0], [1, 0, 0], [0, 0, -1]])
SWAP_MINUS = -np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]])
CYCLE = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]])
THREE_C = np.array([[0, -1, 0], [1, -1, 0], [0, 0, 1]])
FOUR_C = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]])
FOUR_A = CYCLE @ FOUR_C @ CYCLE.T
# Half a face diagonal of a C-centred cell with a 9 Å, b 6 Å, beta 100°, and its angle to c.
HALF = np.hypot(9, 6) / 2
OFF = np.degrees(np.arccos(4.5 * np.cos(np.radians(100)) / HALF))


def crystal_with(lattice: Cell, *generators: np.ndarray) -> Crystal:
    """A crystal with two atoms, whose rotations (columns of fractional coordinates) come from generators."""
    group = [np.eye(3)]
    for _ in range(6):
        products = np.array([g @ member for g in (np.eye(3), *generators) for member in group])
        group = list(np.unique(np.round(products) + 0.0, axis=0))
    return Crystal(
        "test",
        lattice,
        ("Ti", "O"),
        np.array([[0.0, 0, 0], [0.11, 0.23, 0.37]]),
        np.array([1.0, 0.5]),
        space_group=1,
        rotations=np.array(group, dtype=np.int64),
    )


#: Cells of the same kind in unusual axes, with the class and orix's group for their own axes ("" where it has none).
CASES: dict[str, tuple[Crystal, str, str]] = {
    "triclinic": (crystal_with((4, 5, 6, 80, 85, 95)), "-1", "Ci"),
    "monoclinic b": (crystal_with((5.15, 5.21, 5.32, 90, 99.2, 90), FLIP_B), "2/m", "C2y"),
    "monoclinic c": (crystal_with((5.1, 5.3, 5.2, 90, 90, 99.2), FLIP_C), "2/m", "C2h"),
    "monoclinic a": (crystal_with((5.2, 5.1, 5.3, 99.2, 90, 90), FLIP_A), "2/m", "C2x"),
    "monoclinic, primitive cell of C": (
        crystal_with((HALF, HALF, 7.0, OFF, OFF, 2 * np.degrees(np.arctan(6 / 9))), SWAP_MINUS),
        "2/m",
        "",
    ),
    "orthorhombic": (crystal_with((4, 5, 6, 90, 90, 90), FLIP_A, FLIP_B), "mmm", "D2h"),
    "tetragonal": (crystal_with((4, 4, 6, 90, 90, 90), FOUR_C), "4/m", "C4h"),
    "tetragonal along a": (crystal_with((6, 4, 4, 90, 90, 90), FOUR_A), "4/m", ""),
    "tetragonal along a, mirrors": (crystal_with((6, 4, 4, 90, 90, 90), FOUR_A, FLIP_B), "4/mmm", ""),
    "trigonal": (crystal_with((4, 4, 6, 90, 90, 120), THREE_C), "-3", "S6"),
    "trigonal, P321": (crystal_with((4, 4, 6, 90, 90, 120), THREE_C, SWAP_AB), "-3m", "D3d"),
    "trigonal, P312": (crystal_with((4, 4, 6, 90, 90, 120), THREE_C, SWAP_MINUS), "-3m", "D3y"),
    "rhombohedral axes": (crystal_with((5, 5, 5, 33, 33, 33), CYCLE, SWAP_MINUS), "-3m", ""),
    "rhombohedral axes, R-3": (crystal_with((5, 5, 5, 70, 70, 70), CYCLE), "-3", ""),
    "hexagonal": (crystal_with((4, 4, 6, 90, 90, 120), THREE_C, FLIP_C), "6/m", "C6h"),
    "hexagonal, mirrors": (crystal_with((4, 4, 6, 90, 90, 120), THREE_C, FLIP_C, SWAP_AB), "6/mmm", "D6h"),
    "cubic 23": (crystal_with((4, 4, 4, 90, 90, 90), CYCLE, FLIP_C), "m-3", "Th"),
    "cubic": (crystal_with((4, 4, 4, 90, 90, 90), CYCLE, FOUR_C), "m-3m", "Oh"),
    "primitive cell of fcc": (
        crystal_with((2.556, 2.556, 2.556, 60, 60, 60), CYCLE, np.array([[1, 1, 1], [0, 0, -1], [-1, 0, 0]])),
        "m-3m",
        "",
    ),
}


def assert_axes_are_where_the_name_says(crystal: Crystal, setting: CrystalSetting) -> None:
    ours = quaternion_to_matrix(symmetry_quaternions(crystal.proper_point_group))
    theirs = quaternion_to_matrix(symmetry_quaternions(setting.symmetry))
    turned = setting.turn @ ours @ setting.turn.T
    assert len(turned) == len(theirs)
    for operator in turned:
        assert np.abs(theirs - operator).max(axis=(1, 2)).min() < 1e-3


def assert_same_crystal(crystal: Crystal, setting: CrystalSetting) -> None:
    structure = setting.structure(crystal)
    base = structure.lattice.base
    assert np.linalg.det(setting.cell) > 0
    np.testing.assert_allclose(base[0, 1:], 0, atol=1e-9)  # a along x
    assert base[0, 0] > 0
    np.testing.assert_allclose(base[1, 2], 0, atol=1e-9)  # b in the x-y plane, so that c* is along z
    n_cells = round(np.linalg.det(setting.cell))
    assert len(structure) == n_cells * len(crystal.elements)
    # Every atom, turned back, is an atom of the crystal; and no two are the same.
    for element, position in zip(crystal.elements, crystal.fractional, strict=True):
        atoms = np.array([atom.xyz_cartn for atom in structure if atom.element == element])
        fractional = atoms @ setting.turn @ np.linalg.inv(crystal.direct_basis) - position
        np.testing.assert_allclose(fractional, np.rint(fractional), atol=1e-6)
        in_cell = np.round(np.array([a.xyz for a in structure if a.element == element]) % 1, 4) % 1
        assert len(np.unique(in_cell, axis=0)) == n_cells


@pytest.mark.parametrize("name", CASES)
def test_every_setting_has_a_cell_that_orix_names(name: str) -> None:
    crystal, laue, own = CASES[name]
    assert laue_class(crystal) == laue
    setting = orix_setting(crystal)
    assert setting.is_own == bool(own)
    if own:
        assert setting.group == own
    assert_axes_are_where_the_name_says(crystal, setting)
    assert_same_crystal(crystal, setting)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("monoclinic", ["C2y", "C2h"])
def test_a_cell_of_the_convention_can_be_had_for_every_setting(name: str, monoclinic: str) -> None:
    crystal, _, _ = CASES[name]
    if laue_class(crystal) == "-1":
        pytest.skip("a triclinic crystal has no axes to turn")
    setting = setting_with(crystal, (), otherwise=monoclinic)
    assert_axes_are_where_the_name_says(crystal, setting)
    assert_same_crystal(crystal, setting)


@pytest.mark.parametrize("name", CASES)
def test_colour_keys_have_the_laue_class_of_the_crystal_with_its_axes(name: str) -> None:
    crystal, laue, _ = CASES[name]
    setting = colour_key_setting(crystal)
    assert setting.symmetry.name == laue
    assert_axes_are_where_the_name_says(crystal, setting)


def test_rhombohedral_axes_become_the_hexagonal_ones_of_the_textbook() -> None:
    # a_hex = a_r - b_r (or an equivalent), c_hex = a_r + b_r + c_r: three times the volume.
    crystal = CASES["rhombohedral axes"][0]
    setting = orix_setting(crystal)
    assert setting.cell[2].tolist() == [1, 1, 1]
    assert sorted(setting.cell[0].tolist()) == [-1, 0, 1]
    a, b, c, *angles = setting.structure(crystal).lattice.abcABG()
    half = np.deg2rad(33) / 2
    np.testing.assert_allclose([a, b], 2 * 5 * np.sin(half))
    np.testing.assert_allclose(c, 5 * np.sqrt(3 + 6 * np.cos(2 * half)))
    np.testing.assert_allclose(angles, [90, 90, 120], atol=1e-6)


def test_the_primitive_cell_of_fcc_becomes_the_cube() -> None:
    crystal = CASES["primitive cell of fcc"][0]
    lattice = orix_setting(crystal).structure(crystal).lattice
    np.testing.assert_allclose(lattice.abcABG(), [2.556 * np.sqrt(2)] * 3 + [90] * 3, atol=1e-6)


def test_a_monoclinic_crystal_with_another_unique_axis_gets_b_along_it() -> None:
    crystal = CASES["monoclinic a"][0]
    setting = setting_with(crystal, ("C2y",), otherwise="C2y")
    assert np.abs(setting.cell[1]).tolist() == [1, 0, 0]
    a, b, c, alpha, beta, gamma = setting.structure(crystal).lattice.abcABG()
    np.testing.assert_allclose([alpha, gamma], 90, atol=1e-6)
    assert (b, beta) == (pytest.approx(5.2), pytest.approx(99.2))
    assert sorted((round(a, 3), round(c, 3))) == [5.1, 5.3]
