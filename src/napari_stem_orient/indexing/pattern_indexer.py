"""Batches of patterns against several crystals: the transformer proposes, physics refines and chooses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from napari_stem_orient.core.bragg_peaks import BraggPeaks, PeakSelection
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.orientation import matrix_to_quaternion
from napari_stem_orient.core.orientation_map import IndexedBlock, Reason
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.device import in_halving_batches
from napari_stem_orient.indexing.refine import PatternFitter, RefinementParameters
from napari_stem_orient.indexing.verification import expected_error_deg, verify
from napari_stem_orient.network.loss import geodesic_distance, symmetry_matrices
from napari_stem_orient.network.model_folder import OrientationModel
from napari_stem_orient.network.tokens import strongest_peaks

#: A solution this far from the best one, in degrees, is another answer.
RUNNER_UP_DISTANCE_DEG = 10.0

#: A wrong phase counts as an error of so many degrees.
WRONG_PHASE_DEG = 45.0

#: Values (patterns x candidates x reflections) that one batch may hold: some 0.5 GB with all the temporaries.
LARGEST_BATCH_VALUES = 6_000_000


class IndexParameters(RefinementParameters):
    """How patterns are indexed by the transformer."""

    n_candidates: int = Field(
        8,
        ge=1,
        le=64,
        title="Candidates",
        description="Orientations that the transformer proposes for each pattern and phase",
    )
    refine: bool = Field(
        True,
        title="Refine and verify",
        description="Fit every candidate to the measured disks and choose by the fit; "
        "off, with one candidate, is the published method",
    )
    n_refined: int = Field(
        6,
        ge=1,
        le=64,
        title="Candidates refined to the end",
        description="The best so many candidates also get their tilt fitted",
        json_schema_extra={"advanced": True},
    )
    min_disks: int = Field(
        4, ge=2, le=100, title="Fewest disks", description="Patterns with fewer Bragg disks are not indexed"
    )
    max_disks: int = Field(
        48, ge=4, le=256, title="Most disks", description="Strongest Bragg disks that are used in a pattern"
    )
    minimum_score: float = Field(
        0.25,
        ge=0,
        le=1,
        title="Lowest score",
        description="Patterns that no crystal explains better than this (0 to 1) are not indexed",
    )


@dataclass(frozen=True, slots=True)
class Candidates:
    """Solutions of B patterns.

    rotation (B, C, 3, 3) sample to crystal; similarity (B, C) 0 to 1; evidence (B, C) log odds against "none of them
    is right"; explained (B, C) number of measured disks that have their reflection; phase (B, C) index.
    """

    rotation: Tensor
    similarity: Tensor
    evidence: Tensor
    explained: Tensor
    phase: Tensor

    @classmethod
    def of_all_phases(cls, phases: Sequence[Candidates]) -> Candidates:
        """Candidates of several phases side by side."""
        return cls(*(torch.cat([getattr(c, name) for c in phases], dim=1) for name in cls.__slots__))


class PhaseIndexer:
    """Finds orientations of one crystal: its model proposes, its fitter refines."""

    def __init__(
        self,
        crystal: Crystal,
        model: OrientationModel,
        *,
        calibration: Calibration,
        q_limit: float,
        parameters: IndexParameters,
        device: torch.device,
    ) -> None:
        phase = model.phase_index(crystal)
        if phase is None or calibration.voltage_kv is None:
            raise ValueError(
                f"model {model.card.name} does not know {crystal.name}, or the voltage is missing"
            )
        self.crystal = crystal
        self.model = model
        self.parameters = parameters
        self._phase_of_model = phase
        self._conditions = (calibration.wavelength_angstrom / crystal.lattice_scale, crystal.axial_ratio)
        self.fitter = PatternFitter(
            crystal,
            voltage_kv=calibration.voltage_kv,
            q_limit=q_limit,
            parameters=parameters,
            precession_angle_deg=calibration.precession_angle_deg,
            device=device,
        )

    def candidates(self, peaks: Tensor, mask: Tensor, *, phase: int) -> Candidates:
        """Solutions for peaks (B, N, 3) = q_x, q_y in Å⁻¹ and intensity, mask (B, N); labelled as ``phase``."""
        rotation = self.propose(peaks, mask)
        q, intensity = peaks[..., :2], peaks[..., 2] * mask
        intensity = intensity / intensity.amax(dim=1, keepdim=True).clamp_min(1e-20)
        rotation = self.refine(rotation, q, intensity) if self.parameters.refine else rotation[:, :1]
        found = verify(self.fitter, rotation, q, intensity, mask)
        label = torch.full_like(found.explained, phase)
        return Candidates(rotation, found.similarity, found.evidence, found.explained, label)

    def propose(self, peaks: Tensor, mask: Tensor) -> Tensor:
        """Rotations (B, K, 3, 3) that the transformer proposes, the likeliest first."""
        config = self.model.card.network
        scale = self.crystal.lattice_scale
        scaled = peaks[:, : config.n_tokens] * peaks.new_tensor([scale, scale, 1.0])
        conditions = peaks.new_tensor(self._conditions).expand(len(peaks), 2)
        proposal = self.model.network(scaled, mask[:, : config.n_tokens], conditions)
        logit = proposal.candidate_logits[:, self._phase_of_model]
        likely = logit.topk(min(self.parameters.n_candidates, logit.shape[1]), dim=1).indices
        return _take(proposal.rotations[:, self._phase_of_model], likely)

    def refine(self, rotation: Tensor, q: Tensor, intensity: Tensor) -> Tensor:
        """Fit positions of all candidates, then tilts of the best: (B, n_refined, 3, 3)."""
        rotation = self.fitter.fit_positions(rotation, q, intensity**self.parameters.intensity_exponent)
        if self.parameters.n_refined < rotation.shape[1]:
            first = self.fitter.score(rotation, q, intensity)
            rotation = _take(rotation, first.topk(self.parameters.n_refined, dim=1).indices)
        return self.fitter.fit_tilt(rotation, q, intensity)


def _take(rotation: Tensor, index: Tensor) -> Tensor:
    """Rotations (B, C, 3, 3) at index (B, c)."""
    return rotation.gather(1, index[..., None, None].expand(-1, -1, 3, 3))


class PatternIndexer:
    """Indexes batches of patterns against several crystals and says which phase and orientation each has."""

    def __init__(
        self, indexers: Sequence[PhaseIndexer], *, parameters: IndexParameters, device: torch.device
    ) -> None:
        self.indexers = tuple(indexers)
        self.parameters = parameters
        self.device = device
        self._symmetries = symmetry_matrices([i.crystal for i in self.indexers], device)
        # Nearer to the origin than this, in Å⁻¹, no crystal has a reflection.
        self._direct_beam_radius = 0.6 * min(float(i.fitter.g.norm(dim=1).min()) for i in self.indexers)

    def pad(self, peaks: BraggPeaks | PeakSelection) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """The disks that count as (B, N, 3) and their mask (B, N): without the direct beam, in sight, the strongest."""
        return strongest_peaks(
            peaks.q_x,
            peaks.q_y,
            peaks.intensity,
            peaks.offsets,
            n_peaks=self.parameters.max_disks,
            direct_beam_radius=self._direct_beam_radius,
            q_max=self.indexers[0].fitter.q_limit,
        )

    @property
    def batch_size(self) -> int:
        """Patterns that fit into one batch's memory."""
        values = max(i.fitter.n_reflections for i in self.indexers) * self.parameters.n_candidates
        return max(1, LARGEST_BATCH_VALUES // values)

    @torch.inference_mode()
    def index(
        self,
        peaks: NDArray[np.float32],
        mask: NDArray[np.bool_],
        positions: NDArray[np.int64],
        *,
        progress: Progress,
    ) -> IndexedBlock:
        """Index patterns: peaks (B, N, 3), mask (B, N), at flat scan positions (B,)."""
        block = IndexedBlock.not_indexed(positions, Reason.TOO_FEW_DISKS, progress=progress)
        count = mask.sum(axis=1)
        worth = np.flatnonzero(count >= self.parameters.min_disks)
        # Patterns of similar numbers of disks go together: padding would be half of the work.
        order = worth[np.argsort(count[worth], kind="stable")]

        def work(start: int, stop: int) -> None:
            rows = order[start:stop]
            longest = int(count[rows].max())
            self._solve(peaks[rows, :longest], mask[rows, :longest], rows, block)

        for _ in in_halving_batches(work, len(order), batch_size=self.batch_size, device=self.device):
            pass
        return block

    def _solve(
        self,
        peaks: NDArray[np.float32],
        mask: NDArray[np.bool_],
        rows: NDArray[np.int64],
        block: IndexedBlock,
    ) -> None:
        """Solve one batch and write it into ``rows`` of the block."""
        on_device = torch.as_tensor(peaks).to(self.device), torch.as_tensor(mask).to(self.device)
        found = Candidates.of_all_phases(
            [indexer.candidates(*on_device, phase=i) for i, indexer in enumerate(self.indexers)]
        )
        best = found.evidence.argmax(dim=1, keepdim=True)
        angle = self._angle_from_best_deg(found, best)
        elsewhere = found.evidence.masked_fill(angle < RUNNER_UP_DISTANCE_DEG, -torch.inf)
        value, other = elsewhere.max(dim=1, keepdim=True)
        similarity = found.similarity.gather(1, best)[:, 0]
        n_disks = on_device[1].sum(dim=1)
        error = expected_error_deg(found.evidence, angle, n_disks)
        n_explained = found.explained.gather(1, best)[:, 0]
        fits = (similarity >= self.parameters.minimum_score) & (n_explained >= self.parameters.min_disks - 1)

        there = torch.isfinite(value[:, 0]).cpu().numpy()
        quaternion, score, phase = _solution(found, best)
        block.quaternion[rows], block.score[rows], block.phase_id[rows] = quaternion, score, phase
        block.confidence_deg[rows] = error.cpu().numpy()
        block.reason[rows] = Reason.INDEXED
        quaternion, score, phase = _solution(found, other)
        block.alternative_quaternion[rows[there]] = quaternion[there]
        block.alternative_score[rows[there]] = score[there]
        block.alternative_phase_id[rows[there]] = phase[there]
        self._reject(block, rows[~fits.cpu().numpy()])

    def _angle_from_best_deg(self, found: Candidates, best: Tensor) -> Tensor:
        """Disorientation (B, C) in degrees of every candidate from the best one (B, 1)."""
        best_rotation = _take(found.rotation, best)[:, 0]
        best_phase = found.phase.gather(1, best)
        angle = torch.full_like(found.similarity, WRONG_PHASE_DEG)
        for phase, symmetry in enumerate(self._symmetries):
            same = (found.phase == phase) & (best_phase == phase)
            degrees = geodesic_distance(found.rotation, best_rotation, symmetry) * (180 / math.pi)
            angle = torch.where(same, degrees, angle)
        return angle

    @staticmethod
    def _reject(block: IndexedBlock, rows: NDArray[np.int64]) -> None:
        """Take back solutions that explain too little of their patterns."""
        block.phase_id[rows] = -1
        block.reason[rows] = Reason.NO_PHASE_FITS
        block.score[rows] = 0
        block.confidence_deg[rows] = np.nan
        block.alternative_phase_id[rows] = -1
        block.alternative_quaternion[rows] = np.nan
        block.alternative_score[rows] = np.nan


def _solution(
    found: Candidates, index: Tensor
) -> tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.int64]]:
    """Quaternion (B, 4), similarity (B,) and phase (B,) of the candidates at index (B, 1)."""
    return (
        matrix_to_quaternion(_take(found.rotation, index)[:, 0].cpu().numpy()),
        found.similarity.gather(1, index)[:, 0].clamp(0, 1).cpu().numpy(),
        found.phase.gather(1, index)[:, 0].cpu().numpy(),
    )
