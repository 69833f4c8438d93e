"""A grain is written with one of its symmetric equivalents, whatever the noise at the edge of the zone."""

from __future__ import annotations

import numpy as np
import pytest

from example_maps import empty_map, example_map
from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.core.one_variant import one_variant_per_grain
from napari_stem_orient.core.orientation import (
    disorientation_angle_deg,
    from_euler_bunge_deg,
    misorientation_angle_deg,
    multiply,
    normalise,
    random_quaternions,
    symmetry_quaternions,
)
from napari_stem_orient.core.orientation_map import OrientationMap


def noisy_grains(
    name: str, grain: np.ndarray, orientations: np.ndarray, noise_deg: float = 0.5
) -> OrientationMap:
    """A map (rows, columns) of grain numbers, every position with an equivalent drawn by chance, and noise."""
    rng = np.random.default_rng(4)
    made = empty_map(grain.shape, (name,))
    operators = symmetry_quaternions(load_crystal(name).proper_point_group)
    n = grain.size
    noise = np.column_stack([np.ones(n), rng.standard_normal((n, 3)) * np.deg2rad(noise_deg) / 2])
    drawn = operators[rng.integers(len(operators), size=n)]
    made.quaternion[:] = multiply(drawn, multiply(normalise(noise), orientations[grain.ravel()]))
    made.phase_id[:] = 0
    return made


@pytest.mark.parametrize("name", ["Cu", "Ti", "LiCoO2"])
def test_one_noisy_grain_has_no_step_even_without_symmetry(name: str) -> None:
    # Half the angle of a symmetry axis: the very edge of the fundamental zone, where noise decides the side.
    half = {"Cu": 45.0, "Ti": 30.0, "LiCoO2": 60.0}[name]
    edge = from_euler_bunge_deg([[half, 0.0, 0.0]])
    made = noisy_grains(name, np.zeros((30, 40), dtype=int), edge)
    group = load_crystal(name).proper_point_group
    chosen = one_variant_per_grain(made)
    assert disorientation_angle_deg(chosen, made.quaternion, group).max() < 0.05  # float32
    assert misorientation_angle_deg(chosen, chosen[0]).max() < 5
    assert np.all(chosen[:, 0] >= 0)


def test_two_grains_and_a_gap_are_each_continuous() -> None:
    orientations = random_quaternions(2, np.random.default_rng(1))
    grain = np.zeros((20, 20), dtype=int)
    grain[:, 11:] = 1
    made = noisy_grains("Cu", grain, orientations)
    made.phase_id[np.arange(20) * 20 + 5] = -1  # a column that is not indexed cuts the first grain in two
    before = made.quaternion.copy()
    chosen = one_variant_per_grain(made).reshape(20, 20, 4)
    for part in (chosen[:, :5], chosen[:, 6:11], chosen[:, 11:]):
        assert misorientation_angle_deg(part, part[0, 0]).max() < 5
    np.testing.assert_array_equal(made.quaternion, before)
    np.testing.assert_allclose(chosen[:, 5], before.reshape(20, 20, 4)[:, 5])


def test_phases_side_by_side_are_reduced_each_by_its_own_symmetry() -> None:
    made = example_map((6, 7), ("Cu", "LiCoO2"))
    chosen = one_variant_per_grain(made)
    for phase, crystal in enumerate(made.crystals):
        here = made.phase_id == phase
        angle = disorientation_angle_deg(chosen[here], made.quaternion[here], crystal.proper_point_group)
        assert angle.max() < 0.05  # float32


@pytest.mark.parametrize("scan_shape", [(1, 1), (1, 6), (6, 1)])
def test_lines_and_single_positions_are_reduced_too(scan_shape: tuple[int, int]) -> None:
    made = noisy_grains(
        "Cu", np.zeros(scan_shape, dtype=int), random_quaternions(1, np.random.default_rng(2))
    )
    chosen = one_variant_per_grain(made)
    assert misorientation_angle_deg(chosen, chosen[0]).max() < 5


def test_a_map_without_anything_indexed_stays_as_it_is() -> None:
    made = empty_map((3, 4))
    np.testing.assert_array_equal(one_variant_per_grain(made), made.quaternion)
