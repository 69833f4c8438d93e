"""How far measured disks lie from their reflections in a scan, and the tolerance that follows from it."""

from __future__ import annotations

import math

import numpy as np
import torch

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.indexing.pattern_indexer import PatternIndexer
from napari_stem_orient.indexing.verification import EXPLAINED_DEPTH, probabilities

#: Patterns of the scan that are looked at, evenly spread among those with the most disks.
PATTERNS = 192

#: Disks that are needed to tell; with fewer the largest tolerance holds.
FEWEST_DISKS = 60

#: The tolerance in standard deviations (of x, and of y), and its limits in Å⁻¹: wide enough for what calibration
#: errors add elsewhere in the scan, narrow enough to tell lattice parameters apart.
DEVIATIONS = 4.0
SMALLEST_TOLERANCE = 0.02
LARGEST_TOLERANCE = 0.05

#: Patterns count whose best candidate is right with this probability.
SURE = 0.6


@torch.inference_mode()
def measured_position_tolerance(peaks: BraggPeaks, indexer: PatternIndexer) -> float:
    """Position tolerance in Å⁻¹ from the residuals of the disks of a scan's clearest patterns."""
    if all(phase.fitter.largest_tolerance <= SMALLEST_TOLERANCE for phase in indexer.indexers):
        return SMALLEST_TOLERANCE  # large cells, slow to index, whose lattices allow no more anyway
    counts = np.where(peaks.detected, peaks.counts(), 0)
    rich = np.flatnonzero(counts >= max(indexer.parameters.min_disks + 1, np.quantile(counts, 0.5)))
    if not len(rich):
        return LARGEST_TOLERANCE
    chosen = rich[np.linspace(0, len(rich) - 1, min(PATTERNS, len(rich))).astype(int)]
    padded, present = indexer.pad(peaks.select(chosen))
    found = indexer.solve(padded, present)
    probability, best = probabilities(found.evidence).max(dim=1)
    residuals = []
    for phase, phase_indexer in enumerate(indexer.indexers):
        of_phase = found.phase.gather(1, best[:, None])[:, 0] == phase
        rows = torch.nonzero((probability > SURE) & of_phase)[:, 0]
        if not len(rows):
            continue
        rotation = found.rotation[rows, best[rows]][:, None]
        q = torch.as_tensor(padded, device=indexer.device)[rows, :, :2]
        mask = torch.as_tensor(present, device=indexer.device)[rows]
        assignment = phase_indexer.fitter.assign(rotation, q)
        near = phase_indexer.fitter.explains(assignment, within=math.inf, depth=EXPLAINED_DEPTH)
        residuals.append(torch.linalg.vector_norm(assignment.offset[..., :2], dim=-1)[near & mask[:, None]])
    distance = torch.cat(residuals) if residuals else torch.zeros(0)
    if len(distance) < FEWEST_DISKS:
        return LARGEST_TOLERANCE
    # Of two normal deviates, half lie within 1.18 standard deviations of the origin; outliers do not matter to it.
    deviation = float(distance.median()) / math.sqrt(2 * math.log(2))
    return min(LARGEST_TOLERANCE, max(SMALLEST_TOLERANCE, DEVIATIONS * deviation))
