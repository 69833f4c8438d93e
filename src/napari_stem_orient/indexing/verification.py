"""Which of several refined candidates is right: physical features, their weights, and the error to expect."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_stem_orient.core.solutions import FINE_ERROR_DEG, TYPICAL_GROSS_ERROR_DEG
from napari_stem_orient.indexing.refine import PatternFitter

#: Similarities are taken twice: (intensity exponent, excitation width in Å⁻¹). The first trusts intensities and wants
#: reflections near the Ewald sphere, the second asks for hardly more than presence.
SHARP = (0.25, 0.012)
DIFFUSE = (0.1, 0.03)

#: A disk within so many position tolerances of a reflection, and this far along the beam in Å⁻¹, is explained by it.
EXPLAINED_WITHIN = 1.5
EXPLAINED_DEPTH = 0.08

#: Weights of the features, fitted by benchmarks/fit_verifier.py to Bloch-wave patterns of Cu that py4DSTEM simulated,
#: with missing and spurious disks, noise and detection thresholds; fitted to other structure types as well they choose
#: no better. Multinomial logit: differences are log odds.
WEIGHTS = {
    "sharp_similarity": 11.64,
    "diffuse_similarity": 9.42,
    "explained_part": 8.17,
    "excitation_rms": -0.68,
    "explained_q": 6.48,
}

#: Log odds that none of the candidates is right, fitted to patterns of a crystal of each structure type that has a
#: model: intercept, and slopes in the best candidate's weighted features and in the logarithm of the number of disks.
#: Few disks fit well by chance.
NONE_RIGHT = (6.81, -0.29, -1.13)


@dataclass(frozen=True, slots=True)
class Verification:
    """How well candidates explain their patterns; every tensor is (B, C).

    similarity is the score that a map shows, 0 to 1; evidence is the log odds of the candidate against "none of them is
    right"; explained is the number of measured disks that have their reflection.
    """

    similarity: Tensor
    evidence: Tensor
    explained: Tensor


def verification_features(
    fitter: PatternFitter, rotation: Tensor, q: Tensor, intensity: Tensor, mask: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """Features by name and the number of explained disks, all (B, C).

    Parameters
    ----------
    fitter
        Knows the crystal.
    rotation
        (B, C, 3, 3) refined candidates, sample to crystal.
    q, intensity, mask
        (B, N, 2) in Å⁻¹, (B, N) relative to the strongest, (B, N) True where there is a disk.
    """
    assignment = fitter.assign(rotation, q)
    _, s = fitter.reflections(rotation)
    depth = assignment.offset[..., 2]
    within = EXPLAINED_WITHIN * fitter.position_tolerance
    explained = fitter.explains(assignment, within=within, depth=EXPLAINED_DEPTH) & mask[:, None]
    weight = (intensity.clamp_min(0.0) ** 0.25 * mask)[:, None] * explained
    everything = (intensity.clamp_min(0.0) ** 0.25 * mask).sum(-1)[:, None].clamp_min(1e-6)
    length = torch.linalg.vector_norm(assignment.vector[..., :2], dim=-1)
    features = {
        name: fitter.similarity(assignment, s, intensity, exponent=exponent, width=fitter.swept_width(width))
        for name, (exponent, width) in (("sharp_similarity", SHARP), ("diffuse_similarity", DIFFUSE))
    }
    mean_square = (weight * depth * depth).sum(-1) / weight.sum(-1).clamp_min(1e-6)
    features["explained_part"] = explained.sum(-1) / mask.sum(-1)[:, None].clamp_min(1)
    features["excitation_rms"] = torch.sqrt(mean_square) / 0.01
    features["explained_q"] = (weight * length).sum(-1) / everything
    return features, explained.sum(-1)


def verify(
    fitter: PatternFitter, rotation: Tensor, q: Tensor, intensity: Tensor, mask: Tensor
) -> Verification:
    """Weigh the evidence for refined candidates; parameters as for `verification_features`."""
    features, explained = verification_features(fitter, rotation, q, intensity, mask)
    evidence = torch.stack([weight * features[name] for name, weight in WEIGHTS.items()]).sum(dim=0)
    n_disks = mask.sum(dim=1, keepdim=True).clamp_min(1).to(evidence.dtype)
    best = evidence.amax(dim=1, keepdim=True)
    none_right = NONE_RIGHT[0] + NONE_RIGHT[1] * best + NONE_RIGHT[2] * torch.log(n_disks)
    against_none = evidence - torch.logsumexp(evidence, dim=1, keepdim=True) - none_right
    return Verification(features["diffuse_similarity"], against_none, explained)


def probabilities(evidence: Tensor) -> Tensor:
    """Probability (B, C) of each candidate from its log odds; what is missing to 1 is that none is right."""
    against = torch.cat([evidence, torch.zeros_like(evidence[:, :1])], dim=1)
    return torch.softmax(against, dim=1)[:, :-1]


def expected_error_deg(
    evidence: Tensor,
    angle_deg: Tensor,
    n_disks: Tensor,
    *,
    gross_error_deg: Tensor | float = TYPICAL_GROSS_ERROR_DEG,
) -> Tensor:
    """Expected error in degrees (B,) of the chosen candidates.

    Parameters
    ----------
    evidence
        (B, C) of all candidates of all phases, log odds against none of them.
    angle_deg
        (B, C) disorientation of each candidate from the chosen one; a wrong phase counts as a gross error.
    n_disks
        (B,) number of measured disks.
    gross_error_deg
        Error where no candidate is right; a number, or (B,).
    """
    probability = probabilities(evidence)
    none_right = 1 - probability.sum(dim=1)
    fine = FINE_ERROR_DEG * math.sqrt(12) / torch.sqrt(n_disks.clamp_min(1).to(evidence.dtype))
    return none_right * gross_error_deg + (probability * angle_deg).sum(dim=1) + fine
