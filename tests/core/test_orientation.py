"""Conventions, each against an answer worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.core.orientation import (
    PY4DSTEM_TO_SAMPLE,
    conjugate,
    disorientation_angle_deg,
    euler_bunge_deg,
    from_euler_bunge_deg,
    fundamental_zone_axes,
    matrix_to_quaternion,
    misorientation_angle_deg,
    multiply,
    normalise,
    py4dstem_from_sample,
    quaternion_about_z,
    quaternion_to_matrix,
    random_quaternions,
    reduce_to_fundamental,
    sample_from_py4dstem,
    symmetry_quaternions,
    zone_axis_direction,
)
from napari_stem_orient.core.zone_axes import format_zone_axis, zone_axis_uvw

CU = load_crystal("Cu")
LAUE_EXAMPLES = {
    "Cu": 24,
    "Ti": 12,
    "LiCoO2": 6,
    "SrTiO3": 24,
}


@st.composite
def quaternions(draw: st.DrawFn) -> np.ndarray:
    seed = draw(st.integers(0, 2**32 - 1))
    return random_quaternions(1, np.random.default_rng(seed))[0]


def test_identity_has_the_beam_along_minus_c_of_a_cubic_crystal() -> None:
    identity = np.array([1.0, 0, 0, 0])
    np.testing.assert_allclose(zone_axis_direction(identity), [0, 0, -1])
    assert tuple(zone_axis_uvw(identity, CU)) == (0, 0, -1)


def test_crystal_turned_by_180_degrees_about_x_shows_001_to_the_gun() -> None:
    half_turn = np.array([0.0, 1, 0, 0])
    assert tuple(zone_axis_uvw(half_turn, CU)) == (0, 0, 1)


def test_bunge_angles_of_a_turn_about_the_beam() -> None:
    # Sample to crystal by phi1 = 30° about z: the crystal's a axis lies at +30° from sample x toward y.
    orientation = from_euler_bunge_deg([30.0, 0, 0])
    a_in_sample = quaternion_to_matrix(orientation).T @ [1.0, 0, 0]
    np.testing.assert_allclose(a_in_sample, [np.cos(np.pi / 6), np.sin(np.pi / 6), 0], atol=1e-12)


def test_hexagonal_zone_axes_use_the_lattice_vectors() -> None:
    ti = load_crystal("Ti")
    # The gun along the Cartesian e1, which is a = [100].
    rotation = np.array([[0.0, 0, -1], [0, 1, 0], [1, 0, 0]])
    assert tuple(zone_axis_uvw(matrix_to_quaternion(rotation), ti)) == (1, 0, 0)


def test_py4dstem_axes_are_down_right_and_toward_the_gun() -> None:
    # Its x axis (down) is our y, its y axis (right) our x, its z axis points against the beam.
    np.testing.assert_array_equal(PY4DSTEM_TO_SAMPLE @ [1, 0, 0], [0, 1, 0])
    np.testing.assert_array_equal(PY4DSTEM_TO_SAMPLE @ [0, 1, 0], [1, 0, 0])
    np.testing.assert_array_equal(PY4DSTEM_TO_SAMPLE @ [0, 0, 1], [0, 0, -1])
    assert np.linalg.det(PY4DSTEM_TO_SAMPLE) == pytest.approx(1)


@given(quaternions())
@settings(max_examples=25, deadline=None)
def test_conversions_return_to_where_they_began(q: np.ndarray) -> None:
    for there_and_back in (
        matrix_to_quaternion(quaternion_to_matrix(q)),
        from_euler_bunge_deg(euler_bunge_deg(q)),
        sample_from_py4dstem(py4dstem_from_sample(q)),
    ):
        assert misorientation_angle_deg(q, there_and_back) < 1e-4


@given(quaternions(), quaternions())
@settings(max_examples=25, deadline=None)
def test_products_of_quaternions_are_products_of_matrices(a: np.ndarray, b: np.ndarray) -> None:
    product = quaternion_to_matrix(multiply(a, b))
    np.testing.assert_allclose(product, quaternion_to_matrix(a) @ quaternion_to_matrix(b), atol=1e-12)
    np.testing.assert_allclose(multiply(a, conjugate(a)), [1, 0, 0, 0], atol=1e-12)


@pytest.mark.parametrize(("name", "order"), LAUE_EXAMPLES.items())
def test_symmetric_orientations_have_zero_disorientation(name: str, order: int) -> None:
    group = load_crystal(name).proper_point_group
    operators = symmetry_quaternions(group)
    assert len(operators) == order
    q = random_quaternions(5, np.random.default_rng(0))
    equivalents = multiply(operators[:, None], q[None])
    assert disorientation_angle_deg(equivalents, q[None], group).max() < 1e-4
    reduced = reduce_to_fundamental(equivalents, group)
    assert misorientation_angle_deg(reduced, reduced[:1]).max() < 1e-4


def test_sigma_3_twin_is_60_degrees_about_111() -> None:
    twin = np.array([np.cos(np.pi / 6), *(np.sin(np.pi / 6) / np.sqrt(3) * np.ones(3))])
    q = random_quaternions(1, np.random.default_rng(3))[0]
    assert disorientation_angle_deg(multiply(twin, q), q, CU.proper_point_group) == pytest.approx(60.0)


def test_disorientation_agrees_with_orix() -> None:
    from orix.quaternion import Orientation

    a, b = random_quaternions(8, np.random.default_rng(1)), random_quaternions(8, np.random.default_rng(2))
    group = CU.proper_point_group
    theirs = np.rad2deg(Orientation(a, symmetry=group).angle_with(Orientation(b, symmetry=group)))
    np.testing.assert_allclose(disorientation_angle_deg(a, b, group), theirs, atol=1e-5)


def test_between_two_crystals_both_symmetries_count() -> None:
    q = random_quaternions(1, np.random.default_rng(5))[0]
    ti = load_crystal("Ti")
    turned = multiply(symmetry_quaternions(ti.proper_point_group)[3], q)
    angle = disorientation_angle_deg(q, turned, CU.proper_point_group, ti.proper_point_group)
    assert angle == pytest.approx(0.0, abs=1e-4)


def test_fundamental_zone_axes_cover_a_24th_of_the_sphere() -> None:
    directions = fundamental_zone_axes(CU.proper_point_group, spacing_deg=2.0)
    whole_sphere = 4 * np.pi / np.deg2rad(2.0) ** 2
    assert len(directions) == pytest.approx(whole_sphere / 24, rel=0.05)


def test_mirrored_matrices_are_refused() -> None:
    with pytest.raises(ValueError, match="not a proper rotation"):
        matrix_to_quaternion(np.diag([1.0, 1.0, -1.0]))


def test_zone_axes_read_as_crystallographers_write_them() -> None:
    assert format_zone_axis((1, -1, 2)) == "[11\u03042]"
    assert format_zone_axis((10, 0, 1)) == "[10 0 1]"


def test_quaternion_about_z_turns_x_toward_y() -> None:
    turned = quaternion_to_matrix(quaternion_about_z(np.pi / 2)) @ [1.0, 0, 0]
    np.testing.assert_allclose(turned, [0, 1, 0], atol=1e-12)
    assert normalise([-1.0, 0, 0, 0])[0] == 1
