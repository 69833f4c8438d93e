"""Zone axes: within 1°, or said to be off by as much as they are; with four indices where they are wanted."""

from __future__ import annotations

import numpy as np
import pytest

from napari_stem_orient.core.crystal import Crystal, load_crystal
from napari_stem_orient.core.orientation import matrix_to_quaternion, random_quaternions, zone_axis_direction
from napari_stem_orient.core.solution import orientation_in_words, zone_axis_in_words
from napari_stem_orient.core.zone_axes import (
    four_indices,
    has_four_indices,
    zone_axis_off_deg,
    zone_axis_text,
    zone_axis_uvw,
)

CU, TI, LICOO2 = load_crystal("Cu"), load_crystal("Ti"), load_crystal("LiCoO2")
MONOCLINIC = Crystal("zirconia", (5.15, 5.21, 5.32, 90, 99.2, 90), ("Zr",), np.zeros((1, 3)), np.ones(1), 14)


def seen_along(crystal: Crystal, direction: np.ndarray) -> np.ndarray:
    """The orientation (4,) in which a Cartesian direction of the crystal points to the gun."""
    z = -np.asarray(direction, dtype=float) / np.linalg.norm(direction)
    x = np.cross([0.3, 0.5, -0.8], z)
    x /= np.linalg.norm(x)
    return matrix_to_quaternion(np.stack([x, np.cross(z, x), z], axis=1))


def tilted(crystal: Crystal, uvw: tuple[int, int, int], degrees: float) -> np.ndarray:
    axis = np.array(uvw) @ crystal.direct_basis
    axis /= np.linalg.norm(axis)
    aside = np.cross(axis, [0.267, 0.534, 0.801])
    aside /= np.linalg.norm(aside)
    return seen_along(crystal, np.cos(np.deg2rad(degrees)) * axis + np.sin(np.deg2rad(degrees)) * aside)


def by_trying_all(quaternion: np.ndarray, crystal: Crystal, largest: int = 9) -> tuple[int, float]:
    """The smallest largest index that comes within 1°, or 0; and the least angle of all, by brute force."""
    span = np.arange(-largest, largest + 1)
    every = np.stack(np.meshgrid(span, span, span, indexing="ij"), axis=-1).reshape(-1, 3)
    every = every[np.abs(every).any(axis=1)]
    cartesian = every @ crystal.direct_basis
    cosine = cartesian @ zone_axis_direction(quaternion) / np.linalg.norm(cartesian, axis=1)
    angle = np.rad2deg(np.arccos(np.clip(cosine, -1, 1)))
    near = np.abs(every[angle <= 1]).max(axis=1)
    return int(near.min()) if len(near) else 0, float(angle.min())


@pytest.mark.parametrize("crystal", [CU, TI, LICOO2, MONOCLINIC], ids=lambda crystal: crystal.name)
def test_zone_axes_are_the_smallest_within_a_degree_or_the_nearest(crystal: Crystal) -> None:
    quaternion = random_quaternions(300, np.random.default_rng(2))
    uvw = zone_axis_uvw(quaternion, crystal)
    off = zone_axis_off_deg(quaternion, crystal, uvw)
    for q, indices, angle in zip(quaternion, uvw, off, strict=True):
        smallest, least = by_trying_all(q, crystal)
        assert np.gcd.reduce(indices) == 1
        if smallest:
            assert angle <= 1 + 1e-6
            assert np.abs(indices).max() == smallest
        else:
            assert angle == pytest.approx(least, abs=1e-4)
            assert f"({angle:.1f}° off)" in zone_axis_text(q, crystal)


@pytest.mark.parametrize("uvw", [(0, 0, 1), (1, -1, 2), (3, 1, 0), (9, 5, -1)])
@pytest.mark.parametrize("crystal", [CU, TI, LICOO2, MONOCLINIC], ids=lambda crystal: crystal.name)
def test_an_exact_zone_axis_is_named_without_a_remark(crystal: Crystal, uvw: tuple[int, int, int]) -> None:
    quaternion = seen_along(crystal, np.array(uvw) @ crystal.direct_basis)
    found = zone_axis_uvw(quaternion, crystal)
    assert zone_axis_off_deg(quaternion, crystal, found) < 1
    assert "off" not in zone_axis_text(quaternion, crystal)
    if max(uvw) < 9:
        assert found.tolist() == list(uvw)


def test_two_degrees_and_a_half_from_001_of_a_cube_is_said_to_be_off() -> None:
    # The neighbours of [001] up to 9 are [019] at 6.3° and [119] at 8.9°: none is within 1°, [001] is the nearest.
    quaternion = tilted(CU, (0, 0, 1), 2.6)
    assert zone_axis_uvw(quaternion, CU).tolist() == [0, 0, 1]
    assert zone_axis_text(quaternion, CU) == "[001] (2.6° off)"
    assert zone_axis_text(tilted(CU, (0, 0, 1), 0.9), CU) == "[001]"
    assert orientation_in_words(quaternion, CU)[1] == "[001] (2.6° off)"


def test_a_layered_crystal_near_its_layers_is_said_to_be_off() -> None:
    # c is five times a: in the plane of a and c*, [901] is atan(14.05 / (9 * 2.816)) = 29.0° out of the layers.
    a, c = LICOO2.lattice[0], LICOO2.lattice[2]
    out = np.arctan(c / (9 * a)) / 2
    quaternion = seen_along(LICOO2, np.array([np.cos(out), 0, np.sin(out)]))
    off = float(zone_axis_off_deg(quaternion, LICOO2, zone_axis_uvw(quaternion, LICOO2)))
    assert off > 1
    assert zone_axis_text(quaternion, LICOO2).endswith(f"({off:.1f}° off)")


@pytest.mark.parametrize(
    ("uvw", "uvtw"),
    [
        ((0, 0, 1), (0, 0, 0, 1)),
        ((1, 0, 0), (2, -1, -1, 0)),
        ((0, 1, 0), (-1, 2, -1, 0)),
        ((1, 1, 0), (1, 1, -2, 0)),
        ((2, 1, 0), (1, 0, -1, 0)),
        ((1, -1, 0), (1, -1, 0, 0)),
        ((1, 0, 1), (2, -1, -1, 3)),
        ((1, 1, 1), (1, 1, -2, 3)),
        ((2, 1, 1), (1, 0, -1, 1)),
    ],
)
def test_four_indices_are_those_of_the_textbook(uvw: tuple[int, ...], uvtw: tuple[int, ...]) -> None:
    # De Graef, table of hexagonal directions: [100] is [2 -1 -1 0], [210] is [1 0 -1 0].
    assert four_indices(uvw).tolist() == list(uvtw)
    a1, a2, c = TI.direct_basis
    a3 = -(a1 + a2)
    three, four = np.array(uvw) @ TI.direct_basis, np.array(uvtw) @ np.array([a1, a2, a3, c])
    np.testing.assert_allclose(np.cross(three, four), 0, atol=1e-9)
    assert three @ four > 0


def test_only_cells_with_120_degrees_have_four_indices() -> None:
    assert [has_four_indices(crystal) for crystal in (TI, LICOO2, CU, MONOCLINIC)] == [
        True,
        True,
        False,
        False,
    ]
    along_a = seen_along(TI, TI.direct_basis[0])
    assert zone_axis_text(along_a, TI, four=True) == "[21\u03041\u03040]"
    assert zone_axis_text(along_a, TI) == "[100]"
    assert zone_axis_text(seen_along(CU, np.array([1.0, 1, 0])), CU, four=True) == "[110]"


def test_no_directions_are_no_zone_axes() -> None:
    assert zone_axis_uvw(np.zeros((0, 4)), CU).shape == (0, 3)
    assert zone_axis_uvw(np.tile([1.0, 0, 0, 0], (2, 5, 1)), CU).shape == (2, 5, 3)


def test_an_answer_in_words_has_as_many_indices_as_wanted() -> None:
    from example_maps import example_map

    solution = next(
        solution for column in range(12) if (solution := example_map((1, 12), ("Ti",)).at(0, column)).indexed
    )
    assert zone_axis_in_words(solution, four=False) == solution.zone_axis
    assert zone_axis_in_words(solution, four=True) == zone_axis_text(solution.quaternion, TI, four=True)
