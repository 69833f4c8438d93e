"""Other programs see in our files the symmetry that the map was made with, about the crystal's own axes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import orix.io
import pytest
from orix.crystal_map import CrystalMap
from orix.quaternion import Orientation
from orix.vector import Miller, Vector3d

from example_maps import empty_map
from napari_stem_orient.core.crystal import Crystal, load_crystal
from napari_stem_orient.core.orientation import (
    multiply,
    normalise,
    quaternion_to_matrix,
    random_quaternions,
    symmetry_quaternions,
)
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.io.maps import export_ang, open_orientation_map, save_orientation_map

Cell = tuple[float, float, float, float, float, float]
Write = Callable[[OrientationMap, Path], None]


def crystal_of(space_group: int, lattice: Cell) -> Crystal:
    atoms = np.array([[0.0, 0, 0], [1 / 3, 2 / 3, 0.25]])
    return Crystal(f"number {space_group}", lattice, ("Ti", "O"), atoms, np.ones(2), space_group)


TETRAGONAL: Cell = (4, 4, 6, 90, 90, 90)
HEXAGONAL: Cell = (4, 4, 6, 90, 90, 120)
CUBIC: Cell = (5, 5, 5, 90, 90, 90)
MONOCLINIC: Cell = (5.15, 5.21, 5.32, 90, 99.22, 90)

#: Crystals of the 32 point groups (in b-unique and hexagonal axes), by their name, with EDAX's code.
CRYSTALS: dict[str, tuple[Crystal, str]] = {
    "1": (crystal_of(1, (4, 5, 6, 80, 85, 95)), "1"),
    "-1": (crystal_of(2, (4, 5, 6, 80, 85, 95)), "1"),
    "2": (crystal_of(4, MONOCLINIC), "20"),
    "m": (crystal_of(7, MONOCLINIC), "20"),
    "2/m": (crystal_of(14, MONOCLINIC), "20"),
    "222": (crystal_of(19, (4, 5, 6, 90, 90, 90)), "22"),
    "mm2": (crystal_of(33, (4, 5, 6, 90, 90, 90)), "22"),
    "mmm": (crystal_of(62, (4, 5, 6, 90, 90, 90)), "22"),
    "4": (crystal_of(75, TETRAGONAL), "4"),
    "-4": (crystal_of(82, TETRAGONAL), "4"),
    "4/m": (crystal_of(87, TETRAGONAL), "4"),
    "422": (crystal_of(92, TETRAGONAL), "42"),
    "4mm": (crystal_of(99, TETRAGONAL), "42"),
    "-42m": (crystal_of(122, TETRAGONAL), "42"),
    "-4m2": (crystal_of(115, TETRAGONAL), "42"),
    "4/mmm": (crystal_of(136, TETRAGONAL), "42"),
    "3": (crystal_of(144, HEXAGONAL), "3"),
    "-3": (crystal_of(148, HEXAGONAL), "3"),
    "321": (crystal_of(152, HEXAGONAL), "32"),
    "312": (crystal_of(151, HEXAGONAL), "32"),
    "3m1": (crystal_of(161, HEXAGONAL), "32"),
    "31m": (crystal_of(159, HEXAGONAL), "32"),
    "-3m1": (crystal_of(166, HEXAGONAL), "32"),
    "-31m": (crystal_of(162, HEXAGONAL), "32"),
    "6": (crystal_of(173, HEXAGONAL), "6"),
    "-6": (crystal_of(174, HEXAGONAL), "6"),
    "6/m": (crystal_of(176, HEXAGONAL), "6"),
    "622": (crystal_of(180, HEXAGONAL), "62"),
    "6mm": (crystal_of(186, HEXAGONAL), "62"),
    "-6m2": (crystal_of(187, HEXAGONAL), "62"),
    "-62m": (crystal_of(189, HEXAGONAL), "62"),
    "6/mmm": (crystal_of(194, HEXAGONAL), "62"),
    "23": (crystal_of(198, CUBIC), "23"),
    "m-3": (crystal_of(205, CUBIC), "23"),
    "432": (crystal_of(213, CUBIC), "43"),
    "-43m": (crystal_of(216, CUBIC), "43"),
    "m-3m": (crystal_of(225, CUBIC), "43"),
}
FILES: dict[str, Write] = {".h5": save_orientation_map, ".ang": export_ang}


def map_of(quaternion: np.ndarray, crystal: Crystal, scan_shape: tuple[int, int]) -> OrientationMap:
    made = empty_map(scan_shape, (crystal,))
    made.quaternion[:] = quaternion
    made.phase_id[:] = 0
    made.score[:] = 0.9
    return made


def written_and_loaded(made: OrientationMap, path: Path) -> CrystalMap:
    FILES[path.suffix](made, path)
    return orix.io.load(str(path), **({"autogen_names": False} if path.suffix == ".ang" else {}))


def orientations_of(loaded: CrystalMap) -> Orientation:
    phase = next(phase for number, phase in loaded.phases if number != -1)
    return Orientation(loaded.rotations.data, symmetry=phase.point_group)


@pytest.mark.parametrize("ending", FILES)
@pytest.mark.parametrize("point_group", CRYSTALS)
def test_orix_sees_all_equivalents_of_an_orientation_as_one(
    tmp_path: Path, point_group: str, ending: str
) -> None:
    crystal, _ = CRYSTALS[point_group]
    operators = symmetry_quaternions(crystal.proper_point_group)
    one, other = random_quaternions(2, np.random.default_rng(8))
    # Far apart in the scan, so that nothing but the symmetry makes them equal: every other position is elsewhere.
    equivalents = multiply(operators, one)
    quaternion = np.empty((2 * len(operators), 4))
    quaternion[::2], quaternion[1::2] = equivalents, other
    loaded = written_and_loaded(map_of(quaternion, crystal, (2, len(operators))), tmp_path / f"map{ending}")
    found = orientations_of(loaded)[::2]
    assert np.rad2deg(found.angle_with(found[0])).max() < 0.01
    # And by the symmetry of the file alone: orix draws all the equivalents itself.
    group = found.symmetry
    assert len(symmetry_quaternions(group)) == len(operators)


@pytest.mark.parametrize("ending", FILES)
@pytest.mark.parametrize("point_group", CRYSTALS)
def test_what_the_file_says_is_equivalent_is_equivalent_to_us(
    tmp_path: Path, point_group: str, ending: str
) -> None:
    """The axes of the symmetry in the file, in its own cell, are those of the crystal's operators."""
    crystal, _ = CRYSTALS[point_group]
    q = random_quaternions(1, np.random.default_rng(9))
    loaded = written_and_loaded(map_of(np.repeat(q, 4, axis=0), crystal, (2, 2)), tmp_path / f"map{ending}")
    rotation = loaded.rotations[0].to_matrix()[0]
    operators = quaternion_to_matrix(symmetry_quaternions(crystal.proper_point_group))
    ours = operators @ quaternion_to_matrix(q[0])
    theirs = quaternion_to_matrix(symmetry_quaternions(orientations_of(loaded).symmetry)) @ rotation
    # In the sample, the crystal's a axis has the same set of directions for both, and so has c.
    lattice = loaded.phases[0 if ending == ".h5" else 1].structure.lattice
    for direction in ((0.3, 0.5, 0.7), (1.0, -0.2, 0.4)):
        mine = np.array(direction) @ crystal.direct_basis @ ours
        cell = np.linalg.solve(lattice.base.T, rotation @ mine[0])
        yours = (cell @ lattice.base) @ theirs
        for vector in yours:
            assert np.abs(mine - vector).max(axis=1).min() < 2e-3 * np.linalg.norm(vector)


@pytest.mark.parametrize("point_group", CRYSTALS)
def test_ang_has_the_code_of_edax_for_the_laue_class(tmp_path: Path, point_group: str) -> None:
    crystal, code = CRYSTALS[point_group]
    export_ang(map_of(random_quaternions(4, np.random.default_rng(0)), crystal, (2, 2)), tmp_path / "map.ang")
    lines = (tmp_path / "map.ang").read_text().splitlines()
    assert [line.split()[-1] for line in lines if line.startswith("# Symmetry")] == [code]


@pytest.mark.parametrize("ending", FILES)
@pytest.mark.parametrize("point_group", ["-43m", "6mm", "4mm", "312", "2/m", "23", "-3", "1"])
def test_one_noisy_grain_has_no_boundary_in_orix(tmp_path: Path, point_group: str, ending: str) -> None:
    crystal, _ = CRYSTALS[point_group]
    rng = np.random.default_rng(5)
    n = 20 * 20
    operators = symmetry_quaternions(crystal.proper_point_group)
    noise = normalise(np.column_stack([np.ones(n), rng.standard_normal((n, 3)) * np.deg2rad(0.5) / 2]))
    quaternion = multiply(
        operators[rng.integers(len(operators), size=n)], multiply(noise, random_quaternions(1, rng))
    )
    loaded = written_and_loaded(map_of(quaternion, crystal, (20, 20)), tmp_path / f"map{ending}")
    found = orientations_of(loaded)
    assert np.rad2deg(found[1:].angle_with(found[:-1])).max() < 5
    # Not even for a program that knows no symmetry.
    assert np.rad2deg(loaded.rotations[1:].angle_with(loaded.rotations[:-1])).max() < 5


@pytest.mark.parametrize("ending", FILES)
def test_the_two_fold_axis_of_baddeleyite_is_b(tmp_path: Path, ending: str) -> None:
    zirconia = crystal_of(14, MONOCLINIC)
    # The crystal's own frame is the sample's: b is along y, c* along z.
    loaded = written_and_loaded(
        map_of(np.tile([1.0, 0, 0, 0], (4, 1)), zirconia, (2, 2)), tmp_path / f"map{ending}"
    )
    phase = loaded.phases[0 if ending == ".h5" else 1]
    b = Miller(uvw=[0, 1, 0], phase=phase)
    np.testing.assert_allclose(b.unit.data, [[0, 1, 0]], atol=1e-6)
    # Half a turn about b leaves the orientation as it is, half a turn about c* does not.
    (operator,) = symmetry_quaternions(phase.point_group)[1:]
    np.testing.assert_allclose(np.abs(operator), [0, 0, 1, 0], atol=1e-9)
    about_c = Orientation([[1.0, 0, 0, 0], [0, 0, 0, 1.0]], symmetry=phase.point_group)
    assert np.rad2deg(about_c[0].angle_with(about_c[1])) == pytest.approx(180)


def test_the_two_fold_axes_of_p31m_are_between_the_a_axes_in_h5(tmp_path: Path) -> None:
    # International Tables, P-31m: two-fold axes along [1-10], [120], [210]; along a there is none.
    crystal = crystal_of(162, HEXAGONAL)
    loaded = written_and_loaded(map_of(np.tile([1.0, 0, 0, 0], (4, 1)), crystal, (2, 2)), tmp_path / "map.h5")
    phase = loaded.phases[0]
    axes = [q[1:] for q in symmetry_quaternions(phase.point_group) if abs(q[0]) < 1e-9]
    for uvw in ([1, -1, 0], [1, 2, 0], [2, 1, 0]):
        along = Miller(uvw=[uvw], phase=phase).unit.data[0]
        assert max(abs(axis @ along) for axis in axes) == pytest.approx(1)
    a = Miller(uvw=[[1, 0, 0]], phase=phase).unit.data[0]
    assert max(abs(axis @ a) for axis in axes) == pytest.approx(np.cos(np.pi / 6))


def test_the_two_fold_axes_of_p31m_are_along_a_of_the_cell_in_ang(tmp_path: Path) -> None:
    # EDAX's code 32 has them along a: the cell is the one with a' between a and b, sqrt(3) longer, 30° away.
    crystal = crystal_of(162, HEXAGONAL)
    loaded = written_and_loaded(
        map_of(np.tile([1.0, 0, 0, 0], (4, 1)), crystal, (2, 2)), tmp_path / "map.ang"
    )
    a, b, c, *angles = loaded.phases[1].structure.lattice.abcABG()
    np.testing.assert_allclose(
        [a, b, c, *angles], [4 * np.sqrt(3), 4 * np.sqrt(3), 6, 90, 90, 120], atol=1e-3
    )
    turn = np.rad2deg(loaded.rotations[0].angle)
    assert turn % 60 == pytest.approx(30, abs=0.01)
    # The crystal's own a is along sample x: seen from the file, 30° from a'.
    seen = (loaded.rotations[0] * Vector3d([1, 0, 0])).data[0]
    assert np.rad2deg(np.arccos(abs(seen[0]))) % 60 == pytest.approx(30, abs=0.01)


def test_atoms_are_where_they_are_in_h5(tmp_path: Path) -> None:
    titanium = load_crystal("Ti")
    loaded = written_and_loaded(
        map_of(np.tile([1.0, 0, 0, 0], (4, 1)), titanium, (2, 2)), tmp_path / "map.h5"
    )
    atoms = loaded.phases[0].structure
    found = np.array([atom.xyz for atom in atoms]) % 1
    np.testing.assert_allclose(found, titanium.fractional % 1, atol=1e-9)
    assert {round(float(x), 4) for x in found[:, :2].ravel()} == {0.3333, 0.6667}
    assert [atom.element for atom in atoms] == list(titanium.elements)


@pytest.mark.parametrize("point_group", ["2/m", "321", "-1", "-43m"])
def test_atoms_of_oblique_cells_are_where_they_are_in_h5(tmp_path: Path, point_group: str) -> None:
    crystal, _ = CRYSTALS[point_group]
    loaded = written_and_loaded(map_of(np.tile([1.0, 0, 0, 0], (4, 1)), crystal, (2, 2)), tmp_path / "map.h5")
    structure = loaded.phases[0].structure
    np.testing.assert_allclose([atom.xyz for atom in structure], crystal.fractional, atol=1e-9)
    np.testing.assert_allclose(structure.lattice.base, crystal.direct_basis, atol=1e-6)
    np.testing.assert_allclose(structure.lattice.abcABG(), crystal.lattice, atol=1e-6)


def test_the_crystal_of_the_map_itself_keeps_its_space_group(tmp_path: Path) -> None:
    crystal, _ = CRYSTALS["-43m"]
    save_orientation_map(map_of(np.tile([1.0, 0, 0, 0], (4, 1)), crystal, (2, 2)), tmp_path / "map.h5")
    assert open_orientation_map(tmp_path / "map.h5").crystals == (crystal,)
