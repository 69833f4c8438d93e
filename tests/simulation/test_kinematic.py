"""Kinematic patterns: positions known by hand, excitation errors of py4DSTEM, gradients."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import torch

from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.core.orientation import (
    matrix_to_quaternion,
    py4dstem_from_sample,
    quaternion_about_z,
    quaternion_to_matrix,
    random_quaternions,
)
from napari_stem_orient.simulation.kinematic import KinematicSimulator, excitation_error, simulate_pattern

HALF_TURN_ABOUT_X = np.array([0.0, 1, 0, 0])  # [001] toward the gun, [100] along sample x


def test_silicon_001_spots_lie_where_the_lattice_says() -> None:
    pattern = simulate_pattern(load_crystal("Si"), HALF_TURN_ABOUT_X, voltage_kv=200, q_max=0.8)
    spots = {tuple(h): (x, y) for h, x, y in zip(pattern.hkl, pattern.q_x, pattern.q_y, strict=True)}
    # 220 at sqrt(8)/a; b of the crystal lies along -y, for [001] looks at the gun.
    assert spots[(2, 2, 0)] == pytest.approx((2 / 5.431, -2 / 5.431), abs=1e-6)
    assert spots[(4, 0, 0)] == pytest.approx((4 / 5.431, 0), abs=1e-6)
    assert (2, 0, 0) not in spots


def test_in_plane_rotation_turns_the_pattern_from_x_toward_y() -> None:
    cu = load_crystal("Cu")
    # phi1 turns the crystal's axes in the sample, from x toward y.
    turned = quaternion_to_matrix(HALF_TURN_ABOUT_X) @ quaternion_to_matrix(quaternion_about_z(np.pi / 6)).T
    pattern = simulate_pattern(cu, matrix_to_quaternion(turned), voltage_kv=300, q_max=0.7)
    spot = next(i for i, h in enumerate(pattern.hkl) if tuple(h) == (2, 0, 0))
    angle = np.rad2deg(np.arctan2(pattern.q_y[spot], pattern.q_x[spot]))
    assert angle == pytest.approx(30.0, abs=1e-4)


def test_zero_layer_reflections_lie_outside_the_ewald_sphere_by_half_lambda_g_squared() -> None:
    g = torch.tensor([[1.0, 0, 0]], dtype=torch.float64)
    assert float(excitation_error(g, 0.02)) == pytest.approx(-0.5 * 0.02, rel=1e-3)


def test_tilting_breaks_the_friedel_symmetry() -> None:
    cu = load_crystal("Cu")
    tilt = np.array([np.cos(0.01), np.sin(0.01), 0, 0])
    rotation = quaternion_to_matrix(HALF_TURN_ABOUT_X) @ quaternion_to_matrix(tilt)
    pattern = simulate_pattern(cu, matrix_to_quaternion(rotation), voltage_kv=200)
    intensity = {tuple(h): i for h, i in zip(pattern.hkl, pattern.intensity, strict=True)}
    assert intensity[(0, 2, 0)] != pytest.approx(intensity[(0, -2, 0)], rel=0.1)


@pytest.mark.parametrize("name", ["Cu", "Ti", "LiCoO2"])
@pytest.mark.parametrize("precession_deg", [0.0, 1.0])
def test_positions_and_excitation_errors_equal_py4dstem(
    name: str, precession_deg: float, py4dstem: ModuleType
) -> None:
    numbers = {"Cu": 29, "Ti": 22, "Li": 3, "Co": 27, "O": 8}
    crystal = load_crystal(name)
    theirs = py4dstem.process.diffraction.Crystal(
        crystal.fractional, [numbers[e] for e in crystal.elements], list(crystal.lattice)
    )
    theirs.setup_diffraction(200e3)
    theirs.calculate_structure_factors(1.5)
    orientation = random_quaternions(1, np.random.default_rng(1))[0]
    expected = theirs.generate_diffraction_pattern(
        orientation_matrix=py4dstem_from_sample(orientation),
        sigma_excitation_error=0.02,
        tol_excitation_error_mult=4,
        keep_qz=True,
        precession_angle_degrees=precession_deg or None,
    ).data
    expected = expected[(expected["h"] != 0) | (expected["k"] != 0) | (expected["l"] != 0)]
    s_expected = theirs.excitation_errors(np.stack([expected["qx"], expected["qy"], expected["qz"]]))
    pattern = simulate_pattern(
        crystal, orientation, voltage_kv=200, minimum_intensity=0, precession_angle_deg=precession_deg
    )
    ours = {tuple(h): i for i, h in enumerate(pattern.hkl)}
    index = [ours[hkl] for hkl in zip(expected["h"], expected["k"], expected["l"], strict=True)]
    np.testing.assert_allclose(pattern.q_x[index], expected["qy"], atol=1e-5)
    np.testing.assert_allclose(pattern.q_y[index], expected["qx"], atol=1e-5)
    np.testing.assert_allclose(pattern.excitation_error[index], s_expected, atol=1e-5)
    assert np.corrcoef(pattern.intensity[index], expected["intensity"])[0, 1] > 0.97


def test_precession_equals_the_mean_over_many_tilted_beams() -> None:
    cu = load_crystal("Cu")
    q = random_quaternions(1, np.random.default_rng(2))[0]
    simulator = KinematicSimulator(
        cu, voltage_kv=200, precession_angle_deg=1.0, dtype=torch.float64, excitation_width=0.02
    )
    batch = simulator.simulate(torch.as_tensor(quaternion_to_matrix(q))[None])
    g = (simulator.g @ torch.as_tensor(quaternion_to_matrix(q))).numpy()
    s = batch.excitation_error[0].numpy()
    azimuth = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    tilt = np.sin(np.deg2rad(1.0))
    swung = s[:, None] + tilt * (g[:, :1] * np.cos(azimuth) + g[:, 1:2] * np.sin(azimuth))
    expected = simulator.strength.numpy() * np.exp(-0.5 * (swung / 0.02) ** 2).mean(axis=1)
    np.testing.assert_allclose(batch.intensity[0].numpy(), expected, atol=2e-3)


def test_intensities_are_differentiable_in_the_orientation() -> None:
    simulator = KinematicSimulator(load_crystal("Cu"), voltage_kv=300, q_max=1.0, dtype=torch.float64)
    start = torch.as_tensor(quaternion_to_matrix(random_quaternions(2, np.random.default_rng(0))))

    def intensity(rotation: torch.Tensor) -> torch.Tensor:
        return simulator.simulate(rotation).intensity.sum()

    assert torch.autograd.gradcheck(intensity, (start.requires_grad_(True),), eps=1e-7, atol=1e-4)


def test_a_q_limit_without_reflections_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="raise the largest q"):
        KinematicSimulator(load_crystal("Cu"), voltage_kv=300, q_max=0.2)
