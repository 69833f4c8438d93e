"""The loss: symmetric answers cost nothing, and only the nearest candidate has to be right."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.core.orientation import (
    disorientation_angle_deg,
    quaternion_to_matrix,
    random_quaternions,
)
from napari_stem_orient.indexing.refine import rotation_from_vector
from napari_stem_orient.transformer.loss import geodesic_distance, orientation_loss, symmetry_matrices
from napari_stem_orient.transformer.network import Proposal

CU = load_crystal("Cu")
SYMMETRY = symmetry_matrices([CU], torch.device("cpu"))


def rotations(n: int, seed: int = 0) -> torch.Tensor:
    return torch.as_tensor(quaternion_to_matrix(random_quaternions(n, np.random.default_rng(seed)))).float()


def test_distance_is_the_disorientation_angle() -> None:
    a = random_quaternions(6, np.random.default_rng(0))
    b = random_quaternions(6, np.random.default_rng(1))
    distance = geodesic_distance(
        torch.as_tensor(quaternion_to_matrix(a))[:, None].float(),
        torch.as_tensor(quaternion_to_matrix(b)).float(),
        SYMMETRY[0],
    )[:, 0]
    expected = np.deg2rad(disorientation_angle_deg(a, b, CU.proper_point_group))
    np.testing.assert_allclose(distance.numpy(), expected, atol=2e-3)


def test_every_symmetric_equivalent_is_right() -> None:
    truth = rotations(3)
    equivalents = (SYMMETRY[0] @ truth[:, None])[:, :24]
    assert geodesic_distance(equivalents, truth, SYMMETRY[0]).max() < math.radians(0.1)


def proposal_of(candidates: torch.Tensor, logits: torch.Tensor) -> Proposal:
    return Proposal(candidates[:, None], logits[:, None], torch.zeros(len(candidates), 1))


def test_one_right_candidate_is_enough_and_its_logit_should_win() -> None:
    truth = rotations(5)
    wrong = truth @ rotation_from_vector(torch.tensor([0.4, 0.0, 0.0]))
    candidates = torch.stack([wrong, truth], dim=1)
    zero = torch.zeros(5, dtype=torch.long)
    weight = torch.ones(5)
    right = orientation_loss(
        proposal_of(candidates, torch.tensor([[-9.0, 9.0]]).repeat(5, 1)),
        truth,
        zero,
        SYMMETRY,
        weight=weight,
    )
    misled = orientation_loss(
        proposal_of(candidates, torch.tensor([[9.0, -9.0]]).repeat(5, 1)),
        truth,
        zero,
        SYMMETRY,
        weight=weight,
    )
    assert right.best_error.max() < math.radians(0.1)
    assert right.total < misled.total
    assert misled.chosen_error.min() == pytest.approx(0.4, abs=1e-2)


def test_gradient_is_finite_even_at_the_answer() -> None:
    truth = rotations(2)
    candidates = truth[:, None].clone().requires_grad_(True)
    loss = orientation_loss(
        proposal_of(candidates, torch.zeros(2, 1)),
        truth,
        torch.zeros(2, dtype=torch.long),
        SYMMETRY,
        weight=torch.ones(2),
    )
    loss.total.backward()
    assert candidates.grad is not None
    assert torch.isfinite(candidates.grad).all()


def test_patterns_of_weight_zero_do_not_count() -> None:
    truth = rotations(2)
    candidates = torch.stack([truth[0], rotations(1, seed=9)[0]])[:, None]
    loss = orientation_loss(
        proposal_of(candidates, torch.zeros(2, 1)),
        truth,
        torch.zeros(2, dtype=torch.long),
        SYMMETRY,
        weight=torch.tensor([1.0, 0.0]),
    )
    assert loss.total < 0.01
