"""From candidates and their evidence to the block of a map: the answer, its confidence, the runner-up, the reason."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_stem_orient.core.orientation import matrix_to_quaternion
from napari_stem_orient.core.orientation_map import ARRAY_NAMES, IndexedBlock
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.core.reason import Reason
from napari_stem_orient.indexing.candidates import Candidates
from napari_stem_orient.indexing.verification import (
    TYPICAL_GROSS_ERROR_DEG,
    expected_error_deg,
    probabilities,
)
from napari_stem_orient.transformer.loss import geodesic_distance

if TYPE_CHECKING:
    from napari_stem_orient.indexing.parameters import IndexParameters

#: A solution this far from the best one, in degrees, is another answer.
RUNNER_UP_DISTANCE_DEG = 10.0

#: A wrong phase counts as an error of so many degrees.
WRONG_PHASE_DEG = 45.0

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
) -> IndexedBlock:
    """The answers to patterns.

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
    _write_best(block, found, best, rows=np.flatnonzero(fitting))
    block.confidence_deg[fitting] = error.cpu().numpy()[fitting]
    _write_runner_up(
        block, found, other, rows=np.flatnonzero(fitting & torch.isfinite(value[:, 0]).cpu().numpy())
    )
    _withdraw(block, np.flatnonzero(fitting & ~sure))
    return block


def _write_best(block: IndexedBlock, found: Candidates, best: Tensor, *, rows: NDArray[np.int64]) -> None:
    block.quaternion[rows], block.score[rows], block.phase_id[rows] = _solution(found, best, rows)
    explained = found.explained.gather(1, best)[:, 0].cpu().numpy()[rows]
    block.explained_disks[rows] = explained
    block.unexplained_disks[rows] -= explained.astype(np.uint16)
    probability = probabilities(found.evidence)
    same = probability * (found.phase == found.phase.gather(1, best))
    share = same.sum(dim=1) / probability.sum(dim=1).clamp_min(1e-20)
    block.phase_probability[rows] = share.cpu().numpy()[rows]


def _write_runner_up(
    block: IndexedBlock, found: Candidates, other: Tensor, *, rows: NDArray[np.int64]
) -> None:
    quaternion, score, phase = _solution(found, other, rows)
    block.alternative_quaternion[rows] = quaternion
    block.alternative_score[rows] = score
    block.alternative_phase_id[rows] = phase


def _withdraw(block: IndexedBlock, rows: NDArray[np.int64]) -> None:
    """Take answers back that are not sure enough, and keep both."""
    block.rejected_phase_id[rows] = block.phase_id[rows]
    block.phase_id[rows] = -1
    block.unexplained_disks[rows] += block.explained_disks[rows]
    block.explained_disks[rows] = 0
    block.phase_probability[rows] = np.nan


def may_be_two_grains(block: IndexedBlock) -> NDArray[np.bool_]:
    """(m,) bool: patterns of disks enough for two whose answer is not sure, or for which there is none."""
    n_disks = block.explained_disks + block.unexplained_disks
    unsure = ~(block.confidence_deg < UNSURE_DEG) & (block.reason != Reason.TOO_FEW_DISKS)
    return np.asarray(unsure & (n_disks >= FEWEST_DISKS_OF_TWO))


def reject(block: IndexedBlock, rows: NDArray[np.int64], reason: Reason) -> None:
    """Leave rows of a block without an answer, for a reason."""
    nothing = IndexedBlock.not_indexed(block.positions[rows], reason, progress=block.progress)
    unexplained = block.unexplained_disks[rows] + block.explained_disks[rows]
    for name in ARRAY_NAMES:
        getattr(block, name)[rows] = getattr(nothing, name)
    block.unexplained_disks[rows] = unexplained


def angle_from_deg(found: Candidates, best: Tensor, symmetries: Tensor) -> Tensor:
    """Disorientation (B, C) in degrees of every candidate from the one at index (B, 1)."""
    chosen = found.take(best)
    angle = torch.full_like(found.similarity, WRONG_PHASE_DEG)
    for phase, symmetry in enumerate(symmetries):
        same = (found.phase == phase) & (chosen.phase == phase)
        degrees = geodesic_distance(found.rotation, chosen.rotation[:, 0], symmetry) * (180 / math.pi)
        angle = torch.where(same, degrees, angle)
    return angle


def _solution(
    found: Candidates, index: Tensor, rows: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.int64]]:
    """Quaternion (m, 4), similarity (m,) and phase (m,) of the candidates at index (B, 1) of patterns ``rows`` (m,)."""
    chosen = found.take(index)
    return (
        matrix_to_quaternion(chosen.rotation[:, 0].cpu().numpy()[rows]),
        chosen.similarity[:, 0].clamp(0, 1).cpu().numpy()[rows],
        chosen.phase[:, 0].cpu().numpy()[rows],
    )
