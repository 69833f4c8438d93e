"""IPF colours whose answers are known by hand, and the key that explains them."""

from __future__ import annotations

import numpy as np
import pytest
from orix.crystal_map import Phase
from orix.plot import IPFColorKeyTSL
from orix.quaternion import Orientation
from orix.vector import Vector3d

from example_maps import empty_map, example_map
from napari_stem_orient.core.crystal import Crystal, load_crystal
from napari_stem_orient.core.ipf import (
    SampleDirection,
    colour_key_image,
    colour_key_labels,
    colour_key_position,
    direction_colours,
    ipf_colours,
    map_colours,
)
from napari_stem_orient.core.orientation import (
    matrix_to_quaternion,
    multiply,
    random_quaternions,
    symmetry_quaternions,
)

RED, GREEN, BLUE = [255, 0, 0], [0, 255, 0], [0, 0, 255]


def crystal_of(space_group: int, lattice: tuple[float, float, float, float, float, float]) -> Crystal:
    return Crystal("test", lattice, ("Cu",), np.zeros((1, 3)), np.ones(1), space_group)


CUBIC = load_crystal("Cu")
HEXAGONAL = load_crystal("Ti")
TRIGONAL = load_crystal("LiCoO2")
ORTHORHOMBIC = crystal_of(47, (4.0, 5.0, 6.0, 90.0, 90.0, 90.0))
LAUE_CLASSES = {
    "-1": crystal_of(2, (4.0, 5.0, 6.0, 80.0, 85.0, 95.0)),
    "2/m": crystal_of(10, (4.0, 5.0, 6.0, 90.0, 105.0, 90.0)),
    "mmm": ORTHORHOMBIC,
    "4/m": crystal_of(83, (4.0, 4.0, 6.0, 90.0, 90.0, 90.0)),
    "4/mmm": crystal_of(123, (4.0, 4.0, 6.0, 90.0, 90.0, 90.0)),
    "-3": crystal_of(147, (4.0, 4.0, 6.0, 90.0, 90.0, 120.0)),
    "-3m1": crystal_of(164, (4.0, 4.0, 6.0, 90.0, 90.0, 120.0)),
    "-31m": crystal_of(162, (4.0, 4.0, 6.0, 90.0, 90.0, 120.0)),
    "6/m": crystal_of(175, (4.0, 4.0, 6.0, 90.0, 90.0, 120.0)),
    "6/mmm": HEXAGONAL,
    "m-3": crystal_of(200, (4.0, 4.0, 4.0, 90.0, 90.0, 90.0)),
    "m-3m": CUBIC,
}


def orientation_with(rows: list[list[float]]) -> np.ndarray:
    """The quaternion whose matrix (sample to crystal) has as columns sample x, y, z in the crystal."""
    columns = np.array(rows, dtype=float).T
    return matrix_to_quaternion(columns / np.linalg.norm(columns, axis=0))


def direction_of(crystal: Crystal, uvw: tuple[int, int, int]) -> np.ndarray:
    return np.asarray(uvw, dtype=float) @ crystal.direct_basis


@pytest.mark.parametrize(
    ("crystal", "uvw", "colour"),
    [
        (CUBIC, (0, 0, 1), RED),
        (CUBIC, (1, 0, 1), GREEN),
        (CUBIC, (1, 1, 1), BLUE),
        (HEXAGONAL, (0, 0, 1), RED),
        (HEXAGONAL, (1, 0, 0), GREEN),
        (HEXAGONAL, (2, 1, 0), BLUE),
        (ORTHORHOMBIC, (0, 0, 1), RED),
        (ORTHORHOMBIC, (1, 0, 0), GREEN),
        (ORTHORHOMBIC, (0, 1, 0), BLUE),
        (TRIGONAL, (0, 0, 1), RED),
        (TRIGONAL, (1, -1, 0), GREEN),
        (TRIGONAL, (2, 1, 0), BLUE),
    ],
)
def test_the_corners_of_the_key_are_red_green_and_blue(
    crystal: Crystal, uvw: tuple[int, int, int], colour: list[int]
) -> None:
    assert np.abs(direction_colours(direction_of(crystal, uvw), crystal)[0].astype(int) - colour).max() <= 2


def test_a_cube_axis_along_the_beam_is_red_out_of_plane_and_its_neighbours_show_in_plane() -> None:
    # Sample x along [101], y along [-101], z (the way the electrons go) along [0-10]; right-handed.
    quaternion = orientation_with([[1, 0, 1], [-1, 0, 1], [0, -1, 0]])[None]
    assert ipf_colours(quaternion, CUBIC, direction="z")[0].tolist() == RED
    assert np.abs(ipf_colours(quaternion, CUBIC, direction="x")[0].astype(int) - GREEN).max() <= 2
    assert np.abs(ipf_colours(quaternion, CUBIC, direction="y")[0].astype(int) - GREEN).max() <= 2


def test_in_plane_x_and_y_are_told_apart() -> None:
    # Sample x along [111], y along [-110], z along [-1-12].
    quaternion = orientation_with([[1, 1, 1], [-1, 1, 0], [-1, -1, 2]])[None]
    assert np.abs(ipf_colours(quaternion, CUBIC, direction="x")[0].astype(int) - BLUE).max() <= 2
    assert np.abs(ipf_colours(quaternion, CUBIC, direction="y")[0].astype(int) - GREEN).max() <= 2


@pytest.mark.parametrize("direction", ["x", "y", "z"])
@pytest.mark.parametrize("crystal", [CUBIC, HEXAGONAL, ORTHORHOMBIC, TRIGONAL])
def test_colours_are_those_of_orix(crystal: Crystal, direction: SampleDirection) -> None:
    quaternion = random_quaternions(500, np.random.default_rng(3))
    point_group = crystal.phase.point_group
    axis = {"x": Vector3d.xvector(), "y": Vector3d.yvector(), "z": Vector3d.zvector()}[direction]
    key = IPFColorKeyTSL(point_group.laue, direction=axis)
    expected = key.orientation2color(Orientation(quaternion, symmetry=point_group.laue))
    ours = ipf_colours(quaternion.astype(np.float32), crystal, direction=direction)
    assert np.abs(ours / 255 - expected).max() < 0.01


@pytest.mark.parametrize("laue_class", LAUE_CLASSES)
def test_symmetric_equivalents_have_one_colour(laue_class: str) -> None:
    crystal = LAUE_CLASSES[laue_class]
    quaternion = random_quaternions(40, np.random.default_rng(4))
    reference = ipf_colours(quaternion, crystal, direction="x").astype(int)
    for operator in symmetry_quaternions(crystal.proper_point_group):
        equivalent = ipf_colours(multiply(operator, quaternion), crystal, direction="x").astype(int)
        assert np.abs(equivalent - reference).max() <= 2


@pytest.mark.parametrize("laue_class", LAUE_CLASSES)
def test_the_marker_lies_on_its_own_colour_in_the_key(laue_class: str) -> None:
    crystal = LAUE_CLASSES[laue_class]
    image = colour_key_image(crystal, size_px=400)
    quaternion = random_quaternions(60, np.random.default_rng(5))
    colours = ipf_colours(quaternion, crystal, direction="y").astype(int)
    close = 0
    for one, colour in zip(quaternion, colours, strict=True):
        row, column = colour_key_position(one, crystal, "y", size_px=400)
        pixel = image[round(row), round(column)]
        close += int(np.abs(pixel[:3].astype(int) - colour).max() <= 12 and pixel[3] > 0)
    # Near the corners the hue turns within a pixel.
    assert close >= 57


@pytest.mark.parametrize("laue_class", LAUE_CLASSES)
def test_the_key_is_transparent_outside_its_sector_and_full_inside(laue_class: str) -> None:
    image = colour_key_image(LAUE_CLASSES[laue_class], size_px=200)
    assert max(image.shape[:2]) == 200
    assert image.shape[2] == 4
    assert (image[..., 3] == 0).any()
    assert (image[..., 3] == 255).mean() > 0.3


def test_key_labels_name_the_corners_where_they_are() -> None:
    labels = {label.text: label for label in colour_key_labels(CUBIC, size_px=300)}
    assert set(labels) == {"[001]", "[101]", "[111]"}
    image = colour_key_image(CUBIC, size_px=300)
    height, width = image.shape[:2]
    assert (labels["[001]"].row, labels["[001]"].column) == pytest.approx((height - 1, 0), abs=1)
    assert (labels["[101]"].row, labels["[101]"].column) == pytest.approx((height - 1, width - 1), abs=1)
    assert labels["[111]"].row == pytest.approx(0, abs=1)
    assert labels["[111]"].outward[0] < 0


@pytest.mark.parametrize("laue_class", LAUE_CLASSES)
def test_every_key_has_three_labels_inside_the_image(laue_class: str) -> None:
    crystal = LAUE_CLASSES[laue_class]
    labels = colour_key_labels(crystal, size_px=100)
    height, width = colour_key_image(crystal, size_px=100).shape[:2]
    assert len({label.text for label in labels}) >= 3
    assert all(-1 <= label.row <= height and -1 <= label.column <= width for label in labels)


def test_map_colours_are_black_where_not_indexed_and_each_phase_has_its_own_key() -> None:
    crystal_map = example_map((5, 6), ("Cu", "Ti"))
    colours = map_colours(crystal_map, direction="z")
    assert not colours[~crystal_map.indexed].any()
    for phase in (0, 1):
        here = crystal_map.phase_id == phase
        expected = ipf_colours(crystal_map.quaternion[here], crystal_map.crystals[phase], direction="z")
        assert np.array_equal(colours[here], expected)
    some = np.array([7, 2, 3])
    assert np.array_equal(map_colours(crystal_map, positions=some), colours[some])


def test_no_orientation_has_no_colour() -> None:
    assert ipf_colours(np.zeros((0, 4)), CUBIC).shape == (0, 3)
    assert not map_colours(empty_map((2, 3))).any()


def test_an_unknown_sample_direction_is_named() -> None:
    with pytest.raises(ValueError, match='"w" is not known; choose'):
        ipf_colours(np.array([[1, 0, 0, 0]]), CUBIC, direction="w")  # type: ignore[arg-type]


def test_the_laue_classes_under_test_are_all_eleven() -> None:
    names = {Phase(space_group=c.space_group).point_group.laue.name for c in LAUE_CLASSES.values()}
    assert len(names) == 11
