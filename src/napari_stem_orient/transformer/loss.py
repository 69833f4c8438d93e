"""Symmetry-aware geodesic loss, winner takes all over the candidates, and cross-entropy for the logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.orientation import quaternion_to_matrix, symmetry_quaternions
from napari_stem_orient.transformer.network import Proposal

#: The part of the loss that all candidates share, so that no candidate is left behind.
SHARED_PART = 0.03

#: Candidates this near to the winner, in radians, are right as well.
LOGIT_TEMPERATURE_RAD = 0.1


@dataclass(frozen=True, slots=True)
class LossTerms:
    """The loss and, for the report, each pattern's errors in radians: best candidate and chosen candidate (B,)."""

    total: Tensor
    best_error: Tensor
    chosen_error: Tensor


def symmetry_matrices(crystals: Sequence[Crystal], device: torch.device) -> list[Tensor]:
    """For each crystal its proper rotations (S, 3, 3)."""
    return [
        torch.as_tensor(quaternion_to_matrix(symmetry_quaternions(c.proper_point_group))).float().to(device)
        for c in crystals
    ]


def geodesic_distance(rotations: Tensor, truth: Tensor, symmetry: Tensor) -> Tensor:
    """Smallest angle in radians between rotations (B, K, 3, 3) and truth (B, 3, 3) over symmetry (S, 3, 3): (B, K)."""
    equivalents = symmetry @ truth[:, None]  # (B, S, 3, 3)
    trace = torch.einsum("bkij,bsij->bks", rotations, equivalents).amax(dim=-1)
    # |R - S|² = 6 - 2 tr = 8 sin²(angle / 2); the arcsine keeps its gradient where the arccosine loses it.
    chord = torch.sqrt((3.0 - trace).clamp_min(0.0) / 4.0 + 1e-7)
    return 2 * torch.asin(chord.clamp_max(1 - 1e-6))


def orientation_loss(
    proposal: Proposal, truth: Tensor, phase: Tensor, symmetries: list[Tensor], *, weight: Tensor
) -> LossTerms:
    """Loss of a batch.

    Parameters
    ----------
    proposal
        What the network said.
    truth
        (B, 3, 3) true rotations.
    phase
        (B,) true phase.
    symmetries
        For each phase its proper rotations (S, 3, 3).
    weight
        (B,) weight of each pattern; 0 leaves it out.
    """
    n = len(truth)
    rows = torch.arange(n, device=truth.device)
    distance = truth.new_zeros(n, proposal.rotations.shape[2])
    for index, symmetry in enumerate(symmetries):
        member = phase == index
        rotations = proposal.rotations[member, index]
        distance[member] = geodesic_distance(rotations, truth[member], symmetry)
    logits = proposal.candidate_logits[rows, phase]
    best = distance.min(dim=1).values
    regression = (1 - SHARED_PART) * best + SHARED_PART * distance.mean(dim=1)
    target = torch.softmax(-distance.detach() / LOGIT_TEMPERATURE_RAD, dim=1)
    choice = functional.cross_entropy(logits, target, reduction="none")
    which_phase = functional.cross_entropy(proposal.phase_logits, phase, reduction="none")
    loss = regression + 0.1 * choice + 0.3 * which_phase
    total = (loss * weight).sum() / weight.sum().clamp_min(1.0)
    chosen = distance[rows, logits.argmax(dim=1)]
    return LossTerms(total, best.detach(), chosen.detach())
