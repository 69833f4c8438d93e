"""From candidates and their evidence to the block of a map: the answer, its confidence, the runner-up, the reason."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_stem_orient.core.answers import NOT_INDEXED, IndexedBlock
from napari_stem_orient.core.orientation import matrix_to_quaternion
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.core.reason import Reason
from napari_stem_orient.core.solutions import (
    MOST_CANDIDATES,
    NO_CANDIDATE,
    RUNNER_UP_DISTANCE_DEG,
    TYPICAL_GROSS_ERROR_DEG,
    WRONG_PHASE_DEG,
    Solutions,
)
from napari_stem_orient.indexing.candidates import Candidates
from napari_stem_orient.indexing.quaternions import quaternions_of
from napari_stem_orient.indexing.verification import expected_error_deg, probabilities
from napari_stem_orient.transformer.loss import geodesic_distance

if TYPE_CHECKING:
    from napari_stem_orient.indexing.parameters import IndexParameters

#: An answer whose expected error is larger, in degrees, may be taken back for two grains, given that many disks.
UNSURE_DEG = 10.0
FEWEST_DISKS_OF_TWO = 8


def explains_enough(found: Candidates, n_disks: Tensor, parameters: IndexParameters) -> Tensor:
    """Which candidates (..., C) of patterns with n_disks (...) may be an answer at all, by the physics alone.

    Patterns with fewer disks than are asked for have candidates from their neighbours only: all disks must agree.
    """
    if not parameters.refine:  # the published method answers whatever it is asked
        return torch.isfinite(found.evidence)
    fewest = parameters.min_disks
    needed = torch.where(n_disks >= fewest, torch.full_like(n_disks, fewest - 1), n_disks)
    return (found.similarity >= parameters.minimum_score) & (found.explained >= needed[..., None])


def solution_block(
    found: Candidates,
    *,
    n_disks: NDArray[np.int64],
    symmetries: Tensor,
    parameters: IndexParameters,
    positions: NDArray[np.int64],
    progress: Progress,
    gross_error_deg: Tensor | None = None,
    pattern_evidence: Tensor | None = None,
) -> IndexedBlock:
    """The answers to patterns, with the candidates that they were chosen from.

    Parameters
    ----------
    found
        (B, C); with the neighbours' support where they were asked.
    n_disks
        (B,) measured disks.
    symmetries
        (P, S, 3, 3), see `padded_symmetries`.
    parameters
    positions
        (B,) flat scan positions.
    progress
    gross_error_deg
        (P,) error to expect of each phase where no candidate is right; that of good models where None.
    pattern_evidence
        (B, C) evidence by the patterns alone; that of ``found`` where None.
    """
    counted = torch.as_tensor(n_disks, device=found.evidence.device)
    fits = explains_enough(found, counted, parameters)
    best = found.evidence.argmax(dim=1, keepdim=True)
    angle = angle_from_deg(found, best, symmetries)
    gross = (
        TYPICAL_GROSS_ERROR_DEG
        if gross_error_deg is None
        else gross_error_deg[found.phase.gather(1, best)[:, 0]]
    )
    error = expected_error_deg(found.evidence, angle, counted, gross_error_deg=gross)
    elsewhere = found.evidence.masked_fill(angle < RUNNER_UP_DISTANCE_DEG, -torch.inf)
    value, other = elsewhere.max(dim=1, keepdim=True)

    there = torch.isfinite(found.evidence.gather(1, best)[:, 0]).cpu().numpy()
    fitting = fits.gather(1, best)[:, 0].cpu().numpy() & there
    sure = (error <= parameters.largest_expected_error_deg).cpu().numpy()
    reason = np.where(sure, Reason.INDEXED, Reason.AMBIGUOUS)
    reason = np.where(fitting, reason, np.where(there, Reason.NO_PHASE_FITS, Reason.TOO_FEW_DISKS))
    block = IndexedBlock.not_indexed(positions, reason.astype(np.uint8), progress=progress)
    block.unexplained_disks[:] = n_disks
    kept, runner_up = _kept(found, best, other, there_is_another=torch.isfinite(value))
    solutions = _solutions(found, kept, found.evidence if pattern_evidence is None else pattern_evidence)
    block = replace(block, solutions=solutions)
    rows = np.flatnonzero(fitting)
    block.choice[rows] = 0
    block.runner_up[rows] = runner_up.cpu().numpy()[rows]
    _write_best(block, found, best, rows=rows)
    block.confidence_deg[rows] = error.cpu().numpy()[rows]
    _withdraw(block, np.flatnonzero(fitting & ~sure))
    return block


def _kept(
    found: Candidates, best: Tensor, other: Tensor, *, there_is_another: Tensor
) -> tuple[Tensor, Tensor]:
    """Which candidates a map keeps (B, K), the best first, and the number (B,) of the runner-up among them.

    These are the ones with most evidence; the runner-up at index ``other`` (B, 1) is one of them even where many are
    nearly the same as the best.
    """
    number = min(found.evidence.shape[1], MOST_CANDIDATES)
    kept = found.evidence.scatter(1, best, torch.inf).topk(number, dim=1).indices
    left_out = there_is_another & ~(kept == other).any(dim=1, keepdim=True)
    kept[:, -1:] = torch.where(left_out, other, kept[:, -1:])
    place = (kept == other).int().argmax(dim=1)
    return kept, torch.where(there_is_another[:, 0], place, NO_CANDIDATE)


def _solutions(found: Candidates, kept: Tensor, pattern_evidence: Tensor) -> Solutions:
    """The candidates at index ``kept`` (B, K) as a map holds them."""
    chosen = found.take(kept)
    phase = torch.where(torch.isfinite(chosen.evidence), chosen.phase, NO_CANDIDATE)
    return Solutions.of(
        quaternions_of(chosen.rotation).cpu().numpy(),
        phase.cpu().numpy(),
        chosen.similarity.clamp(0, 1).cpu().numpy(),
        explained_disks=chosen.explained.cpu().numpy(),
        evidence=chosen.evidence.cpu().numpy(),
        pattern_evidence=pattern_evidence.gather(1, kept).cpu().numpy(),
    )


def _write_best(block: IndexedBlock, found: Candidates, best: Tensor, *, rows: NDArray[np.int64]) -> None:
    chosen = found.take(best)
    block.quaternion[rows] = matrix_to_quaternion(chosen.rotation[:, 0].cpu().numpy()[rows])
    block.score[rows] = chosen.similarity[:, 0].clamp(0, 1).cpu().numpy()[rows]
    block.phase_id[rows] = chosen.phase[:, 0].cpu().numpy()[rows]
    explained = chosen.explained[:, 0].cpu().numpy()[rows]
    block.explained_disks[rows] = explained
    block.unexplained_disks[rows] -= explained.astype(np.uint16)
    probability = probabilities(found.evidence)
    same = probability * (found.phase == chosen.phase)
    share = same.sum(dim=1) / probability.sum(dim=1).clamp_min(1e-20)
    block.phase_probability[rows] = share.cpu().numpy()[rows]


def _withdraw(block: IndexedBlock, rows: NDArray[np.int64]) -> None:
    """Take answers back that are not sure enough; which they were and their runners-up stay."""
    block.phase_id[rows] = NOT_INDEXED
    block.unexplained_disks[rows] += block.explained_disks[rows]
    block.explained_disks[rows] = 0
    block.phase_probability[rows] = np.nan


def may_be_two_grains(block: IndexedBlock) -> NDArray[np.bool_]:
    """(m,) bool: patterns of disks enough for two whose answer is not sure, or for which there is none."""
    n_disks = block.explained_disks + block.unexplained_disks
    unsure = ~(block.confidence_deg < UNSURE_DEG) & (block.reason != Reason.TOO_FEW_DISKS)
    return np.asarray(unsure & (n_disks >= FEWEST_DISKS_OF_TWO))


def angle_from_deg(found: Candidates, best: Tensor, symmetries: Tensor) -> Tensor:
    """Disorientation (B, C) in degrees of every candidate from the one at index (B, 1)."""
    chosen = found.take(best)
    angle = torch.full_like(found.similarity, WRONG_PHASE_DEG)
    for phase, symmetry in enumerate(symmetries):
        same = (found.phase == phase) & (chosen.phase == phase)
        degrees = geodesic_distance(found.rotation, chosen.rotation[:, 0], symmetry) * (180 / math.pi)
        angle = torch.where(same, degrees, angle)
    return angle
