"""Batches of patterns against several crystals: the transformer proposes, physics refines and chooses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_stem_orient.core.answers import IndexedBlock
from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.core.reason import Reason
from napari_stem_orient.core.scattering_vectors import PeakSelection
from napari_stem_orient.core.solutions import MOST_CANDIDATES
from napari_stem_orient.device import in_halving_batches
from napari_stem_orient.indexing.candidates import Candidates, taken
from napari_stem_orient.indexing.model_trust import gross_error_deg, log_odds_of_missing
from napari_stem_orient.indexing.neighbours import Coupling, distinct, padded_symmetries
from napari_stem_orient.indexing.parameters import IndexParameters
from napari_stem_orient.indexing.proposals import Proposals
from napari_stem_orient.indexing.refine import PatternFitter
from napari_stem_orient.indexing.solution_block import may_be_two_grains, solution_block
from napari_stem_orient.indexing.two_grains import are_two_grains, without_explained
from napari_stem_orient.indexing.verification import verify
from napari_stem_orient.transformer.loss import symmetry_matrices
from napari_stem_orient.transformer.model_card import outside_trained_range
from napari_stem_orient.transformer.model_folder import OrientationModel
from napari_stem_orient.transformer.tokens import strongest_peaks

#: Values (patterns x candidates x reflections) that one batch may hold: some 0.5 GB with all the temporaries.
LARGEST_BATCH_VALUES = 6_000_000

#: Patterns of one batch at most, so that memory does not grow with the scan; a GPU wants more at once.
LARGEST_BATCH_OF_CPU = 1024
LARGEST_BATCH_OF_GPU = 16_384


#: Of the candidates of several views, so many times those of one are fitted to the end.
FITTED_PART = 1.5


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
        self.outside_trained_range = outside_trained_range(
            model.card, crystal, voltage_kv=calibration.voltage_kv, q_limit_inv_angstrom=q_limit
        )
        self._log_odds_of_missing = log_odds_of_missing(model.card)
        self.gross_error_deg = gross_error_deg(crystal, self._log_odds_of_missing)
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
        q, intensity = _disks(peaks, mask)
        if self.parameters.refine:
            rotation, q = self.refine(rotation, q, intensity)
        else:
            rotation = rotation[:, :1]
        found = verify(self.fitter, rotation, q, intensity, mask)
        label = torch.full_like(found.explained, phase)
        evidence = found.evidence - self._log_odds_of_missing
        return Candidates(rotation, found.similarity, evidence, found.explained, label)

    @property
    def n_found(self) -> int:
        """Candidates that each pattern gets."""
        if not self.parameters.refine:
            return 1
        n_proposed = min(self.parameters.n_candidates, self.model.card.network.n_candidates)
        return min(n_proposed * self.parameters.n_views, round(FITTED_PART * n_proposed))

    def proposed(self, rotation: Tensor, reference: Candidates, peaks: Tensor, mask: Tensor) -> Candidates:
        """Fit and weigh orientations that come from elsewhere, on the scale of a candidate that each pattern has.

        Parameters
        ----------
        rotation
            (B, X, 3, 3), proposed.
        reference
            (B, 1) of this phase; evidence -inf where a pattern has none.
        peaks, mask
            As for `candidates`.
        """
        q, intensity = _disks(peaks, mask)
        rotation, fitted = self.refine(rotation, q, intensity)
        together = torch.cat([reference.rotation, rotation], dim=1)
        if self.parameters.fit_calibration:
            weight = intensity**self.parameters.intensity_exponent
            fitted = torch.cat([self.fitter.corrected(reference.rotation, q, weight), fitted], dim=1)
        found = verify(self.fitter, together, fitted, intensity, mask)
        evidence = reference.evidence + found.evidence[:, 1:] - found.evidence[:, :1]
        bare = ~torch.isfinite(reference.evidence[:, 0])
        if bool(bare.any()):
            # A pattern without a candidate of its own: each proposal stands alone.
            for slot in range(1, together.shape[1]):
                places = fitted[bare, slot, None] if fitted.dim() == 4 else fitted[bare]
                alone = verify(self.fitter, together[bare, slot, None], places, intensity[bare], mask[bare])
                evidence[bare, slot - 1] = alone.evidence[:, 0] - self._log_odds_of_missing
        label = reference.phase.expand(-1, rotation.shape[1])
        return Candidates(rotation, found.similarity[:, 1:], evidence, found.explained[:, 1:], label)

    def propose(self, peaks: Tensor, mask: Tensor) -> Tensor:
        """Rotations (B, K, 3, 3) that the transformer proposes, the likeliest of each view first."""
        n_views = self.parameters.n_views if self.parameters.refine else 1
        if n_views == 1:
            return self._proposed_in_view(peaks, mask)
        seen = []
        for turn in _quarter_turns(n_views, like=peaks):
            turned = torch.cat([peaks[..., :2] @ turn[:2, :2], peaks[..., 2:]], dim=-1)
            seen.append(self._proposed_in_view(turned, mask) @ turn.T)
        return torch.cat(seen, dim=1)

    def _proposed_in_view(self, peaks: Tensor, mask: Tensor) -> Tensor:
        config = self.model.card.network
        scale = self.crystal.lattice_scale
        scaled = peaks[:, : config.n_tokens] * peaks.new_tensor([scale, scale, 1.0])
        conditions = peaks.new_tensor(self._conditions).expand(len(peaks), 2)
        proposal = self.model.network(scaled, mask[:, : config.n_tokens], conditions)
        logit = proposal.candidate_logits[:, self._phase_of_model]
        likely = logit.topk(min(self.parameters.n_candidates, logit.shape[1]), dim=1).indices
        return taken(proposal.rotations[:, self._phase_of_model], likely)

    def refine(self, rotation: Tensor, q: Tensor, intensity: Tensor) -> tuple[Tensor, Tensor]:
        """Fit positions, then tilts, of candidates (B, K, 3, 3); the disks come back as they were fitted.

        These are q (B, N, 2), or (B, K, N, 2) where pixel size and origin were fitted as well.
        """
        weight = intensity**self.parameters.intensity_exponent
        rotation = self.fitter.fit_positions(rotation, q, weight)
        if rotation.shape[1] > self.n_found:
            score = self.fitter.score(rotation, q, intensity)
            rotation = taken(rotation, score.topk(self.n_found, dim=1).indices)
        if self.parameters.fit_calibration:
            q = self.fitter.corrected(rotation, q, weight)
            rotation = self.fitter.fit_positions(rotation, q, weight)
        return self.fitter.fit_tilt(rotation, q, intensity), q


def _disks(peaks: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Positions (B, N, 2) in Å⁻¹ and intensities (B, N) relative to each pattern's strongest."""
    intensity = peaks[..., 2] * mask
    return peaks[..., :2], intensity / intensity.amax(dim=1, keepdim=True).clamp_min(1e-20)


def _quarter_turns(number: int, *, like: Tensor) -> list[Tensor]:
    """So many rotations (3, 3) about z by multiples of 90°, the identity first."""
    quarter = like.new_tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    return [torch.linalg.matrix_power(quarter, times) for times in range(number)]


class PatternIndexer:
    """Indexes batches of patterns against several crystals and says which phase and orientation each has."""

    def __init__(
        self, indexers: Sequence[PhaseIndexer], *, parameters: IndexParameters, device: torch.device
    ) -> None:
        self.indexers = tuple(indexers)
        self.parameters = parameters
        self.device = device
        self.coupling = Coupling()
        self.symmetries = padded_symmetries(symmetry_matrices([i.crystal for i in self.indexers], device))
        self.gross_error_deg = tuple(indexer.gross_error_deg for indexer in self.indexers)
        self._gross_error_deg = torch.tensor(self.gross_error_deg, device=device)
        self._is_outside_trained_range = any(i.outside_trained_range for i in self.indexers)
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
        views = self.parameters.n_views if self.parameters.refine else 1
        values = max(i.fitter.n_reflections for i in self.indexers) * self.parameters.n_candidates * views
        most = LARGEST_BATCH_OF_CPU if self.device.type == "cpu" else LARGEST_BATCH_OF_GPU
        return max(1, min(most, LARGEST_BATCH_VALUES // values))

    @property
    def measured(self) -> dict[str, Any]:
        """What was measured in the scan, for the record; nothing where the parameters say it all."""
        if not self.parameters.refine or self.parameters.position_tolerance is not None:
            return {}
        return {
            "position_tolerance_inv_angstrom": {
                indexer.crystal.name: round(indexer.fitter.position_tolerance, 5) for indexer in self.indexers
            }
        }

    @property
    def n_kept(self) -> int:
        """Candidates of all phases that are kept for each pattern."""
        return min(MOST_CANDIDATES, sum(indexer.n_found for indexer in self.indexers))

    @torch.inference_mode()
    def index(
        self,
        peaks: NDArray[np.float32],
        mask: NDArray[np.bool_],
        positions: NDArray[np.int64],
        *,
        progress: Progress,
    ) -> IndexedBlock:
        """Index patterns, each for itself: peaks (B, N, 3), mask (B, N), at flat scan positions (B,)."""
        found = self.solve(peaks, mask)
        block = self.decide(found, mask.sum(axis=1), positions, progress=progress)
        self.look_for_two_grains(block, found, lambda rows: (peaks[rows], mask[rows]))
        return block

    @torch.inference_mode()
    def solve(self, peaks: NDArray[np.float32], mask: NDArray[np.bool_]) -> Candidates:
        """Candidates (B, n_kept) of patterns; patterns with too few disks have none."""
        found = Candidates.none(len(peaks), self.n_kept, device=self.device)
        count = mask.sum(axis=1)
        worth = np.flatnonzero(count >= self.parameters.min_disks)

        def work(rows: Tensor, *disks: Tensor) -> None:
            width_deg = self.coupling.width_deg
            phases = [
                distinct(indexer.candidates(*disks, phase=phase), self.symmetries[phase], width_deg=width_deg)
                for phase, indexer in enumerate(self.indexers)
            ]
            found.fill(rows, Candidates.of_all_phases(phases).strongest(self.n_kept))

        self._in_batches(work, peaks, mask, worth)
        return found

    @torch.inference_mode()
    def solve_proposed(
        self, proposals: Proposals, own: Candidates, peaks: NDArray[np.float32], mask: NDArray[np.bool_]
    ) -> Candidates:
        """Candidates (m, X) from what neighbours propose to m patterns that have candidates ``own`` (m, C)."""
        found = Candidates.none(*proposals.phase.shape, device=self.device)

        def work(rows: Tensor, *disks: Tensor) -> None:
            for phase, indexer in enumerate(self.indexers):
                wanted = proposals.there[rows] & (proposals.phase[rows] == phase)
                chosen = wanted.any(dim=1)
                if bool(chosen.any()):
                    here = rows[chosen]
                    reference = own.patterns(here).best_of_phase(phase)
                    solved = indexer.proposed(
                        proposals.rotation[here], reference, *(d[chosen] for d in disks)
                    )
                    found.fill_where(here, wanted[chosen], solved)

        self._in_batches(work, peaks, mask, np.arange(len(peaks)))
        return found

    @torch.inference_mode()
    def decide(
        self,
        found: Candidates,
        n_disks: NDArray[np.int64],
        positions: NDArray[np.int64],
        *,
        progress: Progress,
        pattern_evidence: Tensor | None = None,
    ) -> IndexedBlock:
        """Answers (B,) from candidates (B, C) of patterns with ``n_disks`` (B,) disks; see `solution_block`."""
        block = solution_block(
            found,
            n_disks=n_disks,
            symmetries=self.symmetries,
            parameters=self.parameters,
            positions=positions,
            progress=progress,
            gross_error_deg=self._gross_error_deg,
            pattern_evidence=pattern_evidence,
        )
        if self._is_outside_trained_range:
            block.reason[block.reason == Reason.NO_PHASE_FITS] = Reason.OUTSIDE_TRAINED_RANGE
        return block

    @torch.inference_mode()
    def look_for_two_grains(
        self,
        block: IndexedBlock,
        found: Candidates,
        disks: Callable[[NDArray[np.int64]], tuple[NDArray[np.float32], NDArray[np.bool_]]],
    ) -> None:
        """Take back answers of a block that are not sure where two grains explain what none does alone.

        Parameters
        ----------
        block
            Made of ``found``; changed in place.
        found
            (B, C) candidates.
        disks
            Gives the padded disks and mask of rows (m,) of the block.
        """
        rows = np.flatnonzero(may_be_two_grains(block))
        if not len(rows):
            return
        peaks, mask = disks(rows)
        fitters = [indexer.fitter for indexer in self.indexers]
        there = found.patterns(torch.as_tensor(rows, device=self.device))
        best = there.take(there.evidence.argmax(dim=1, keepdim=True))
        on_device = torch.as_tensor(peaks).to(self.device), torch.as_tensor(mask).to(self.device)
        rest, left = without_explained(fitters, best, *on_device)
        second = self.solve(rest.cpu().numpy(), left.cpu().numpy())
        every = Candidates.of_all_phases([there, second])
        two = are_two_grains(fitters, every, self.symmetries, on_device[0][..., :2], on_device[1])
        block.withdraw(rows[two.cpu().numpy()], Reason.TWO_GRAINS)

    def _in_batches(
        self,
        work: Callable[..., None],
        peaks: NDArray[np.float32],
        mask: NDArray[np.bool_],
        worth: NDArray[np.int64],
    ) -> None:
        """Call ``work(rows, peaks, mask)`` for batches of the patterns ``worth`` it, on the device."""
        count = mask.sum(axis=1)
        # Patterns of similar numbers of disks go together: padding would be half of the work.
        order = worth[np.argsort(count[worth], kind="stable")]

        def batch(start: int, stop: int) -> None:
            rows = order[start:stop]
            longest = max(1, int(count[rows].max()))
            disks = (torch.as_tensor(values[rows, :longest]).to(self.device) for values in (peaks, mask))
            work(torch.as_tensor(rows, device=self.device), *disks)

        for _ in in_halving_batches(batch, len(order), batch_size=self.batch_size, device=self.device):
            pass
