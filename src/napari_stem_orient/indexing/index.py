"""Bragg peaks -> orientation map: the transformer proposes, physics refines and chooses, block by block."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.orientation import matrix_to_quaternion
from napari_stem_orient.core.orientation_map import IndexedBlock, OrientationMap, Reason
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.device import choose_device, in_halving_batches
from napari_stem_orient.indexing.confidence import expected_error_deg
from napari_stem_orient.indexing.refine import PatternFitter, RefinementParameters
from napari_stem_orient.network.loss import geodesic_distance
from napari_stem_orient.network.model_folder import OrientationModel, find_models, load_model
from napari_stem_orient.network.tokens import strongest_peaks
from napari_stem_orient.network.training import symmetry_matrices

#: A solution this far from the best one, in degrees, is another answer.
RUNNER_UP_DISTANCE_DEG = 10.0

#: A block aims at this time, in seconds: several a second, yet large enough to be quick.
BLOCK_SECONDS = 0.15

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
        3,
        ge=1,
        le=64,
        title="Candidates refined to the end",
        description="The best so many candidates also get their tilt fitted",
    )
    min_disks: int = Field(
        4, ge=2, le=100, title="Fewest disks", description="Patterns with fewer Bragg disks are not indexed"
    )
    max_disks: int = Field(
        48, ge=4, le=256, title="Most disks", description="Strongest Bragg disks that are used in a pattern"
    )
    minimum_score: float = Field(
        0.3,
        ge=0,
        le=1,
        title="Lowest score",
        description="Patterns that no crystal explains better than this (0 to 1) are not indexed",
    )


@dataclass(frozen=True, slots=True)
class Candidates:
    """Solutions of B patterns: rotation (B, C, 3, 3), score (B, C), logit (B, C) and explained disks (B, C)."""

    rotation: Tensor
    score: Tensor
    logit: Tensor
    explained: Tensor


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
        self._phase = phase
        self._curvature = calibration.wavelength_angstrom / crystal.lattice_scale
        self.fitter = PatternFitter(
            crystal,
            voltage_kv=calibration.voltage_kv,
            q_limit=q_limit,
            parameters=parameters,
            precession_angle_deg=calibration.precession_angle_deg,
            device=device,
        )

    def candidates(self, peaks: Tensor, mask: Tensor) -> Candidates:
        """Solutions for peaks (B, N, 3) = q_x, q_y in Å⁻¹ and intensity, mask (B, N)."""
        rotation, logit = self._propose(peaks, mask)
        q, intensity = peaks[..., :2], peaks[..., 2] * mask
        intensity = intensity / intensity.amax(dim=1, keepdim=True).clamp_min(1e-20)
        if not self.parameters.refine:
            chosen = logit.argmax(dim=1, keepdim=True)
            rotation, logit = _take(rotation, chosen), logit.gather(1, chosen)
        else:
            rotation, logit = self._refine(rotation, logit, q, intensity)
        return Candidates(
            rotation,
            self.fitter.score(rotation, q, intensity),
            logit,
            self.fitter.explained_disks(rotation, q, mask),
        )

    def _propose(self, peaks: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        config = self.model.card.network
        scaled = peaks[:, : config.n_tokens] * peaks.new_tensor(
            [self.crystal.lattice_scale, self.crystal.lattice_scale, 1.0]
        )
        curvature = peaks.new_full((len(peaks),), self._curvature)
        proposal = self.model.network(scaled, mask[:, : config.n_tokens], curvature)
        logit = torch.log_softmax(proposal.candidate_logits[:, self._phase], dim=1)
        likely = logit.topk(min(self.parameters.n_candidates, logit.shape[1]), dim=1)
        return _take(proposal.rotations[:, self._phase], likely.indices), likely.values

    def _refine(self, rotation: Tensor, logit: Tensor, q: Tensor, intensity: Tensor) -> tuple[Tensor, Tensor]:
        weight = intensity**self.parameters.intensity_exponent
        rotation = self.fitter.fit_positions(rotation, q, weight)
        first = self.fitter.score(rotation, q, intensity)
        best = first.topk(min(self.parameters.n_refined, first.shape[1]), dim=1).indices
        rotation = self.fitter.fit_tilt(_take(rotation, best), q, intensity)
        return rotation, logit.gather(1, best)


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

    @property
    def q_limit(self) -> float:
        """Disks farther out than this, in Å⁻¹, are left out."""
        return self.indexers[0].fitter.q_limit

    @property
    def direct_beam_radius(self) -> float:
        """Peaks within this distance of the origin, in Å⁻¹, cannot be reflections of any of the crystals."""
        shortest = min(float(i.fitter.g.norm(dim=1).min()) for i in self.indexers)
        return 0.6 * shortest

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
        found = [indexer.candidates(*on_device) for indexer in self.indexers]
        rotation = torch.cat([c.rotation for c in found], dim=1)
        score = torch.cat([c.score for c in found], dim=1)
        explained = torch.cat([c.explained for c in found], dim=1)
        phase = torch.cat(
            [torch.full(c.score.shape[1:], i, device=self.device) for i, c in enumerate(found)]
        ).expand(len(rows), -1)
        best = score.argmax(dim=1, keepdim=True)
        runner_up = self._runner_up(rotation, score, phase, best)
        _write(block, rows, rotation, score, phase, best, runner_up)
        top_score = block.score[rows]
        second = np.nan_to_num(block.alternative_score[rows], nan=0.0)
        n_disks = mask.sum(axis=1)
        n_explained = explained.gather(1, best)[:, 0].cpu().numpy()
        block.confidence_deg[rows] = expected_error_deg(
            score=top_score, runner_up_score=second, n_disks=n_disks, n_explained=n_explained
        )
        unexplained = (top_score < self.parameters.minimum_score) | (
            n_explained < self.parameters.min_disks - 1
        )
        self._reject(block, rows[unexplained])

    def _runner_up(self, rotation: Tensor, score: Tensor, phase: Tensor, best: Tensor) -> Tensor:
        """Index (B, 1) of the best solution that is another one, -1 where all are the same."""
        other = score.clone()
        best_rotation = _take(rotation, best)[:, 0]
        best_phase = phase.gather(1, best)
        for index, symmetry in enumerate(self._symmetries):
            distance = geodesic_distance(rotation, best_rotation, symmetry)
            same = (phase == index) & (best_phase == index)
            near = same & (distance < np.deg2rad(RUNNER_UP_DISTANCE_DEG))
            other = other.masked_fill(near, -1.0)
        value, index_of_other = other.max(dim=1, keepdim=True)
        return torch.where(value >= 0, index_of_other, torch.full_like(index_of_other, -1))

    @staticmethod
    def _reject(block: IndexedBlock, rows: NDArray[np.int64]) -> None:
        block.phase_id[rows] = -1
        block.reason[rows] = Reason.NO_PHASE_FITS
        block.confidence_deg[rows] = np.nan


def _write(
    block: IndexedBlock,
    rows: NDArray[np.int64],
    rotation: Tensor,
    score: Tensor,
    phase: Tensor,
    best: Tensor,
    runner_up: Tensor,
) -> None:
    """Put the best solutions and the runners-up into ``rows`` of the block."""
    block.phase_id[rows] = phase.gather(1, best)[:, 0].cpu().numpy()
    block.quaternion[rows] = matrix_to_quaternion(_take(rotation, best)[:, 0].cpu().numpy())
    block.score[rows] = score.gather(1, best)[:, 0].clamp(0, 1).cpu().numpy()
    block.reason[rows] = Reason.INDEXED
    there = (runner_up[:, 0] >= 0).cpu().numpy()
    index = runner_up.clamp_min(0)
    other_rows = rows[there]
    block.alternative_phase_id[other_rows] = phase.gather(1, index)[:, 0].cpu().numpy()[there]
    block.alternative_score[other_rows] = score.gather(1, index)[:, 0].cpu().numpy()[there]
    block.alternative_quaternion[other_rows] = matrix_to_quaternion(
        _take(rotation, index)[:, 0].cpu().numpy()[there]
    )


def make_pattern_indexer(
    peaks: BraggPeaks,
    crystals: Sequence[Crystal],
    *,
    parameters: IndexParameters,
    models: Sequence[str | Path] = (),
    device: str = "auto",
) -> PatternIndexer:
    """Load the models that know the crystals and set up the fit for the peaks' calibration.

    Raises
    ------
    ValueError
        When the calibration lacks something, there is no crystal, or no model knows one of them.
    """
    missing = peaks.calibration.missing_for_indexing()
    if missing:
        raise ValueError(f"indexing needs the {' and the '.join(missing)}; enter it in the Open step")
    if not crystals:
        raise ValueError("no crystal to index with; add at least one")
    chosen = choose_device(device)
    folders = find_models(crystals, folders=models)
    loaded = {folder: load_model(folder, device=chosen) for folder in set(folders.values())}
    by_name = {crystal.name: loaded[folders[crystal.name]] for crystal in crystals}
    q_limit = visible_q_limit(peaks, largest=min(m.card.q_limit_inv_angstrom[1] for m in loaded.values()))
    return PatternIndexer(
        [
            PhaseIndexer(
                crystal,
                by_name[crystal.name],
                calibration=peaks.calibration,
                q_limit=q_limit,
                parameters=parameters,
                device=chosen,
            )
            for crystal in crystals
        ],
        parameters=parameters,
        device=chosen,
    )


def visible_q_limit(peaks: BraggPeaks, *, largest: float = 2.0) -> float:
    """How far out in Å⁻¹ disks are seen in this scan: what is beyond cannot be missed."""
    q = np.hypot(peaks.q_x, peaks.q_y)
    q = q[np.isfinite(q)]
    if len(q) == 0:
        return largest
    return float(min(largest, max(0.5, 1.02 * np.quantile(q, 0.995))))


def index_bragg_peaks(
    peaks: BraggPeaks,
    crystals: Sequence[Crystal],
    *,
    parameters: IndexParameters | None = None,
    models: Sequence[str | Path] = (),
    device: str = "auto",
    resume_from: OrientationMap | None = None,
) -> Generator[IndexedBlock, None, OrientationMap]:
    """Index a whole scan.

    Parameters
    ----------
    peaks
        With pixel size and voltage in their calibration.
    crystals
        The phases that each pattern is tried against.
    parameters
        See IndexParameters.
    models
        Model folders that come before the shipped ones.
    device
        "auto", "cpu", "cuda" or "mps".
    resume_from
        A map of the same peaks that was stopped: only its remaining positions are indexed.

    Yields
    ------
    IndexedBlock
        Several times a second. Peak memory: about 1 GB besides the peaks, whatever the size of the scan.

    Returns
    -------
    The finished map.
    """
    parameters = parameters or IndexParameters()
    crystals = tuple(crystals)
    indexer = make_pattern_indexer(peaks, crystals, parameters=parameters, models=models, device=device)
    result = resume_from or OrientationMap.empty(
        peaks,
        crystals,
        method="transformer",
        parameters=parameters.model_dump(mode="json"),
        model={i.crystal.name: i.model.identity for i in indexer.indexers},
    )
    result = result.copy()
    for block in _indexed_blocks(indexer, peaks, result.remaining_positions):
        result.fill(block)
        yield block
    return result


def _indexed_blocks(
    indexer: PatternIndexer, peaks: BraggPeaks, remaining: NDArray[np.int64]
) -> Iterator[IndexedBlock]:
    """Index the remaining positions; those without detected peaks come first, as not indexed."""
    detected = peaks.detected[remaining]
    total, done = len(remaining), int((~detected).sum())
    if done:
        progress = Progress(done, total, "patterns")
        yield IndexedBlock.not_indexed(remaining[~detected], Reason.NOT_DETECTED, progress=progress)
    for positions in _timed_blocks(remaining[detected]):
        selection = peaks.select(positions)
        padded, mask = strongest_peaks(
            selection.q_x,
            selection.q_y,
            selection.intensity,
            selection.offsets,
            n_peaks=indexer.parameters.max_disks,
            direct_beam_radius=indexer.direct_beam_radius,
            q_max=indexer.q_limit,
        )
        done += len(positions)
        yield indexer.index(padded, mask, positions, progress=Progress(done, total, "patterns"))


def _timed_blocks(positions: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Cut positions into blocks whose size follows the time that the last one took."""
    size, start = 64, 0
    while start < len(positions):
        begun = time.monotonic()
        yield positions[start : start + size]
        start += size
        taken = max(time.monotonic() - begun, 1e-3)
        size = int(np.clip(size * min(4.0, BLOCK_SECONDS / taken), 16, 8192))
