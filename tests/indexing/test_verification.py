"""Verification: evidence prefers the truth, and the expected error tells clear answers from ambiguous ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_stem_orient.core.crystal import Crystal, load_crystal
from napari_stem_orient.core.orientation import quaternion_to_matrix, random_quaternions
from napari_stem_orient.indexing.refine import PatternFitter
from napari_stem_orient.indexing.refinement_parameters import RefinementParameters
from napari_stem_orient.indexing.verification import (
    WEIGHTS,
    expected_error_deg,
    probabilities,
    verification_features,
    verify,
)
from napari_stem_orient.simulation.kinematic import simulate_pattern

Q_MAX = 1.5


def fitter_of(crystal: Crystal) -> PatternFitter:
    return PatternFitter(
        crystal, voltage_kv=300, q_limit=Q_MAX, parameters=RefinementParameters(), device=torch.device("cpu")
    )


CU = load_crystal("Cu")
FITTER = fitter_of(CU)


def scene(seed: int, crystal: Crystal = CU) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """One pattern with its true and 20 random orientations (1, 21, 3, 3), q, intensity, mask."""
    rng = np.random.default_rng(seed)
    while True:
        truth = random_quaternions(1, rng)
        pattern = simulate_pattern(crystal, truth[0], voltage_kv=300, q_max=Q_MAX, minimum_intensity=5e-3)
        if len(pattern.q_x) >= 8:
            break
    candidates = np.concatenate([truth, random_quaternions(20, rng)])
    rotation = torch.as_tensor(quaternion_to_matrix(candidates)).float()[None]
    q = torch.as_tensor(np.stack([pattern.q_x, pattern.q_y], axis=-1))[None]
    intensity = torch.as_tensor(pattern.intensity / pattern.intensity.max())[None]
    return rotation, q, intensity, torch.ones(intensity.shape, dtype=torch.bool)


@pytest.mark.parametrize("seed", range(5))
def test_evidence_prefers_the_truth_over_random_orientations(seed: int) -> None:
    rotation, q, intensity, mask = scene(seed)
    found = verify(FITTER, rotation, q, intensity, mask)
    assert int(found.evidence.argmax(dim=1)) == 0
    assert int(found.explained[0, 0]) == q.shape[1]
    assert float(found.similarity[0, 0]) > 0.6


def test_every_weight_has_its_feature_and_padding_changes_none() -> None:
    rotation, q, intensity, mask = scene(0)
    features, _ = verification_features(FITTER, rotation, q, intensity, mask)
    assert set(features) == set(WEIGHTS)
    padded, _ = verification_features(
        FITTER,
        rotation,
        torch.cat([q, torch.zeros(1, 4, 2)], dim=1),
        torch.cat([intensity, torch.zeros(1, 4)], dim=1),
        torch.cat([mask, torch.zeros(1, 4, dtype=torch.bool)], dim=1),
    )
    for name, value in features.items():
        torch.testing.assert_close(padded[name], value, atol=1e-4, rtol=1e-4)


def test_expected_error_is_small_for_a_clear_answer_and_large_between_two() -> None:
    angle = torch.tensor([[0.0, 40.0]])
    n_disks = torch.tensor([20])
    clear = expected_error_deg(torch.tensor([[10.0, -10.0]]), angle, n_disks)
    torn = expected_error_deg(torch.tensor([[10.0, 10.0]]), angle, n_disks)
    same = expected_error_deg(torch.tensor([[10.0, 10.0]]), torch.tensor([[0.0, 0.5]]), n_disks)
    assert float(clear) < 1.5
    # Two equal answers 40° apart: the expectation is half of that.
    assert float(torn) == pytest.approx(20.0, abs=1.5)
    assert float(same) < 1.5


def test_what_fits_badly_is_not_trusted() -> None:
    angle = torch.tensor([[0.0, 40.0]])
    good = expected_error_deg(torch.tensor([[5.0, -10.0]]), angle, torch.tensor([20]))
    poor = expected_error_deg(torch.tensor([[-1.0, -10.0]]), angle, torch.tensor([20]))
    assert float(poor) > float(good) + 10


@pytest.mark.parametrize("name", ["Cu", "Fe (bcc)", "Ti", "Si", "NaCl", "Cu2O"])
def test_forecast_that_none_is_right_serves_every_structure_type(name: str) -> None:
    """Of patterns with disks enough, spoilt as measured ones are, the truth is believed wherever it is a candidate."""
    crystal, rng = load_crystal(name), np.random.default_rng(11)
    fitter, believed, doubted = fitter_of(crystal), [], []
    for seed in range(12):
        rotation, q, intensity, _ = scene(seed, crystal)
        kept = torch.as_tensor(rng.random(q.shape[1]) > 0.2)[None]
        q = q + torch.as_tensor(rng.normal(0, 0.01, q.shape), dtype=q.dtype)
        intensity = intensity * torch.as_tensor(rng.lognormal(0, 0.7, intensity.shape), dtype=intensity.dtype)
        intensity = intensity * kept / (intensity * kept).amax()
        with_truth = verify(fitter, rotation, q, intensity, kept)
        without = verify(fitter, rotation[:, 1:], q, intensity, kept)
        believed.append(float(probabilities(with_truth.evidence).sum()))
        doubted.append(float(probabilities(without.evidence).sum()))
    assert np.mean(believed) > 0.85
    assert np.mean(doubted) < 0.25
