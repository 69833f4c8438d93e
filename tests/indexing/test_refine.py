"""Refinement: disks get the right hkl, candidates some degrees off come back, wrong ones score low."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.core.orientation import (
    disorientation_angle_deg,
    matrix_to_quaternion,
    quaternion_to_matrix,
    random_quaternions,
)
from napari_stem_orient.indexing.refine import PatternFitter, rotation_from_vector
from napari_stem_orient.indexing.refinement_parameters import RefinementParameters
from napari_stem_orient.simulation.kinematic import simulate_pattern


def fitter(name: str = "Cu", **changes: float) -> PatternFitter:
    return PatternFitter(
        load_crystal(name),
        voltage_kv=300,
        q_limit=1.5,
        parameters=RefinementParameters(**changes),
        device=torch.device("cpu"),
    )


def scene(name: str, seed: int, n: int = 20) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Disks q (n, N, 2) and intensity (n, N) of n random orientations (n, 4)."""
    truth = random_quaternions(n, np.random.default_rng(seed))
    q, intensity = torch.zeros(n, 60, 2), torch.zeros(n, 60)
    for row, orientation in enumerate(truth):
        pattern = simulate_pattern(
            load_crystal(name), orientation, voltage_kv=300, q_max=1.5, minimum_intensity=5e-3
        )
        m = min(60, len(pattern.q_x))
        q[row, :m, 0] = torch.as_tensor(pattern.q_x[:m])
        q[row, :m, 1] = torch.as_tensor(pattern.q_y[:m])
        intensity[row, :m] = torch.as_tensor(pattern.intensity[:m])
    return q, intensity, truth


def as_rotations(quaternions: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(quaternion_to_matrix(quaternions)).float()[:, None]


@pytest.mark.parametrize("name", ["Cu", "Ti", "LiCoO2"])
def test_disks_get_the_hkl_they_were_simulated_with(name: str) -> None:
    orientation = random_quaternions(1, np.random.default_rng(4))
    pattern = simulate_pattern(load_crystal(name), orientation[0], voltage_kv=300, q_max=1.5)
    q = torch.as_tensor(np.stack([pattern.q_x, pattern.q_y], axis=-1))[None]
    fit = fitter(name)
    assignment = fit.assign(as_rotations(orientation), q)
    g = fit.g[assignment.reflection[0, 0]].numpy()
    expected = pattern.hkl @ load_crystal(name).reciprocal_basis
    np.testing.assert_allclose(g, expected, atol=1e-5)
    assert assignment.offset[0, 0, :, :2].abs().max() < 1e-4
    np.testing.assert_allclose(-assignment.offset[0, 0, :, 2], pattern.excitation_error, atol=2e-3)


@pytest.mark.parametrize("name", ["Cu", "Ti", "LiCoO2"])
def test_orientations_two_degrees_off_come_back(name: str) -> None:
    q, intensity, truth = scene(name, seed=0, n=80)
    generator = torch.Generator().manual_seed(0)
    off = torch.nn.functional.normalize(torch.randn((80, 1, 3), generator=generator), dim=-1) * np.deg2rad(
        2.0
    )
    fit = fitter(name)
    start = as_rotations(truth) @ rotation_from_vector(off)
    refined = fit.fit_tilt(fit.fit_positions(start, q, intensity**0.25), q, intensity)
    group = load_crystal(name).proper_point_group
    error = disorientation_angle_deg(matrix_to_quaternion(refined[:, 0].numpy()), truth, group)
    # Four or five disks of one row leave the tilt about that row open: such patterns do not count here.
    enough = ((intensity > 0).sum(dim=1) >= 8).numpy()
    assert enough.sum() >= 30
    assert np.median(error[enough]) < 0.5
    assert (error[enough] < 2.0).mean() > 0.85


def test_the_true_orientation_scores_near_one_and_a_wrong_one_low() -> None:
    q, intensity, truth = scene("Cu", seed=1)
    wrong = random_quaternions(len(truth), np.random.default_rng(99))
    candidates = torch.cat([as_rotations(truth), as_rotations(wrong)], dim=1)
    score = fitter().score(candidates, q, intensity)
    assert score[:, 0].median() > 0.9
    assert (score[:, 0] > score[:, 1] + 0.1).float().mean() > 0.85


def test_spurious_disks_lower_the_score() -> None:
    q, intensity, truth = scene("Cu", seed=2)
    fit = fitter()
    before = fit.score(as_rotations(truth), q, intensity)
    q[:, -3:] = torch.tensor([[0.33, 0.21], [-0.4, 0.11], [0.05, 0.52]])
    intensity[:, -3:] = intensity.amax(dim=1, keepdim=True)
    assert torch.all(fit.score(as_rotations(truth), q, intensity) < before)


def test_an_empty_pattern_changes_nothing_and_scores_zero() -> None:
    q, intensity = torch.zeros(1, 5, 2), torch.zeros(1, 5)
    start = as_rotations(random_quaternions(1, np.random.default_rng(0)))
    fit = fitter()
    refined = fit.fit_tilt(fit.fit_positions(start, q, intensity), q, intensity)
    assert torch.isfinite(refined).all()
    assert float(fit.score(refined, q, intensity)) == pytest.approx(0.0, abs=1e-6)


def test_rotation_vectors_turn_by_their_length() -> None:
    turn = rotation_from_vector(torch.tensor([0.0, 0.0, np.pi / 2], dtype=torch.float64))
    np.testing.assert_allclose(turn.numpy() @ [1, 0, 0], [0, 1, 0], atol=1e-9)


def test_scale_and_origin_come_back_where_they_are_asked_for() -> None:
    q, intensity, truth = scene("Cu", seed=3)
    shift = torch.tensor([0.006, -0.004])
    fit = fitter()
    wrong = (q - shift) / 1.01
    fitted = fit.corrected(as_rotations(truth), wrong, intensity**0.25)
    rich = (intensity > 0) & ((intensity > 0).sum(dim=1) >= 8)[:, None]
    before, after = ((disks - q).norm(dim=-1)[rich] for disks in (wrong, fitted[:, 0]))
    assert before.numel() > 50
    # Priors hold back the rest: few disks say little.
    assert float(after.median()) < 0.35 * float(before.median())


def test_few_disks_change_the_calibration_little() -> None:
    q, intensity, truth = scene("Cu", seed=3, n=4)
    alone = torch.zeros_like(intensity)
    alone[:, 0] = 1.0
    moved = q + torch.tensor([0.05, 0.0])
    fitted = fitter().corrected(as_rotations(truth), moved, alone)
    assert float((fitted[:, 0, 0] - moved[:, 0]).norm(dim=-1).max()) < 0.05
