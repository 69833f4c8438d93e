"""Whether a pattern is probably that of two grains on top of each other."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from napari_stem_orient.indexing.candidates import Candidates
from napari_stem_orient.indexing.neighbours import agreement
from napari_stem_orient.indexing.refine import PatternFitter

#: A disk within this distance of a reflection, in the plane and along the beam in Å⁻¹, is explained by it. Tighter than
#: where candidates are weighed: a disk of another grain lies near some reflection often enough.
NEAR, NEAR_DEPTH = 0.02, 0.08

#: Disks that only the one of the two grains explains: at least so many, and this part of all. With the limits below
#: this is true of five in six simulated patterns that hold 30 % to 50 % of another grain, and of none that hold 5 %.
FEWEST_OWN_DISKS, SMALLEST_SHARE = 3, 0.25

#: The part of all disks that one explains alone at most, and that the two explain together at least.
MOST_ALONE, LEAST_TOGETHER = 0.7, 0.8

#: Orientations nearer to each other than this, in degrees, are one grain.
APART_DEG = 10.0


def explained_disks(fitters: Sequence[PatternFitter], found: Candidates, q: Tensor, mask: Tensor) -> Tensor:
    """Which disks q (B, N, 2), mask (B, N), each candidate (B, C) explains: (B, C, N) bool."""
    explained = torch.zeros(*found.phase.shape, mask.shape[1], dtype=torch.bool, device=mask.device)
    for phase, fitter in enumerate(fitters):
        assignment = fitter.assign(found.rotation, q)
        near = fitter.explains(assignment, within=NEAR, depth=NEAR_DEPTH)
        here = (found.phase == phase) & torch.isfinite(found.evidence)
        explained |= near & mask[:, None] & here[..., None]
    return explained


def are_two_grains(
    fitters: Sequence[PatternFitter], found: Candidates, symmetries: Tensor, q: Tensor, mask: Tensor
) -> Tensor:
    """Patterns (B,) that no candidate explains alone, but two different ones together.

    Parameters
    ----------
    fitters
        One for each phase.
    found
        (B, C) candidates.
    symmetries
        (P, S, 3, 3), see `padded_symmetries`.
    q, mask
        (B, N, 2) in Å⁻¹, (B, N).
    """
    explained = explained_disks(fitters, found, q, mask).float()
    n_disks = mask.sum(dim=1)[:, None, None].clamp_min(1)
    each = explained.sum(dim=-1)
    both = explained @ explained.transpose(1, 2)
    only_one = each[:, :, None] - both  # (B, C, C): disks of the first that are not the second's
    own = torch.minimum(only_one, only_one.transpose(1, 2))
    together = (only_one + each[:, None, :]) / n_disks
    # A Gaussian of half the width is exp(-2) at the whole.
    apart = agreement(found, found, symmetries, width_deg=APART_DEG / 2) < math.exp(-2)
    enough = (own >= FEWEST_OWN_DISKS) & (own / n_disks >= SMALLEST_SHARE) & (together >= LEAST_TOGETHER)
    alone: Tensor = each.amax(dim=1) / n_disks[:, 0, 0]
    return (enough & apart).flatten(1).any(dim=1) & (alone <= MOST_ALONE)


def without_explained(
    fitters: Sequence[PatternFitter], best: Candidates, peaks: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor]:
    """What the best candidates (B, 1) leave of disks (B, N, 3) and mask (B, N), the strongest first.

    Nothing is left where the best explains too much or too little for one of two grains.
    """
    explained = explained_disks(fitters, best, peaks[..., :2], mask)[:, 0]
    share = explained.sum(dim=1) / mask.sum(dim=1).clamp_min(1)
    left = mask & ~explained & ((share >= SMALLEST_SHARE) & (share <= MOST_ALONE))[:, None]
    order = torch.argsort((~left).int(), dim=1, stable=True)
    left = left.gather(1, order)
    return peaks.gather(1, order[..., None].expand_as(peaks)) * left[..., None], left
