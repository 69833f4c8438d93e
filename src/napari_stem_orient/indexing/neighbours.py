"""What the neighbours of a scan position say about its candidates: belief propagation over the eight neighbours.

Every position has some candidates or none. Positions side by side lie in the same grain more often than not, so a
candidate that agrees with what a neighbour probably is gains support; one that agrees with nobody loses nothing, so
that a boundary stays where the patterns put it. What a neighbour says leaves out what it heard from the position
itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from napari_stem_orient.indexing.candidates import Candidates

#: Half of the eight neighbours, as (rows, columns) down and right; the other half are their opposites.
OFFSETS = ((0, 1), (1, -1), (1, 0), (1, 1))


#: Candidates that agree so well are the same.
SAME = 0.5


@dataclass(frozen=True, slots=True)
class Coupling:
    """How much neighbours count; chosen for the likelihood of the truth in simulated scans, on a broad plateau.

    width_deg
        Disorientation, one standard deviation, within which two positions agree: bent lattices, errors of the fit.
    floor
        Weight of a neighbour that is surely something else, relative to one that surely agrees: what a boundary costs.
    unknown
        Weight of a neighbour that nothing is known of.
    strength
        Part of a neighbour's support that counts. Neighbours in a grain err together, so that eight of them know
        hardly more than one and a half.
    n_rounds
        How many positions far a word travels.
    tie, tie_part
        Candidates whose log odds differ by less than ``tie`` are as good as each other: of such a difference only the
        part ``tie_part`` counts. It comes from the fit and is the same in the whole grain, so that many neighbours
        would make a certainty of it.
    """

    width_deg: float = 1.5
    floor: float = 0.1
    unknown: float = 0.3
    strength: float = 0.2
    n_rounds: int = 4
    tie: float = 0.6
    tie_part: float = 0.15


def padded_symmetries(symmetries: Sequence[Tensor]) -> Tensor:
    """Proper rotations (P, S, 3, 3) of all phases, the shorter lists filled up with the identity."""
    longest = max(len(symmetry) for symmetry in symmetries)
    identity = torch.eye(3, device=symmetries[0].device)
    filled = [torch.cat([s, identity.expand(longest - len(s), 3, 3)]) for s in symmetries]
    return torch.stack(filled)


def agreement(a: Candidates, b: Candidates, symmetries: Tensor, *, width_deg: float) -> Tensor:
    """How well candidates (N, C) of patterns and (N, D) of their neighbours agree: (N, C, D), 1 for the same.

    A Gaussian of their disorientation; 0 for different phases. Memory: 4 S C D bytes a pattern.
    """
    equivalents = _equivalents(b, symmetries)  # (N, D, S, 9)
    traces = a.rotation.flatten(-2) @ equivalents.flatten(1, 2).transpose(1, 2)
    trace = traces.unflatten(-1, equivalents.shape[1:3]).amax(dim=-1)
    # 3 - trace = 4 sin²(angle / 2), which is the squared angle where it counts.
    same = torch.exp((trace - 3).clamp_max(0.0) / (2 * math.radians(width_deg) ** 2))
    if len(symmetries) > 1:
        same = same * (a.phase[:, :, None] == b.phase[:, None, :])
    return same


def _equivalents(found: Candidates, symmetries: Tensor) -> Tensor:
    """All symmetric equivalents (N, C, S, 9) of candidates (N, C), each rotation as nine numbers."""
    identity = torch.eye(3, device=symmetries.device)
    # One matrix product for all: that of rotations as vectors of nine with (9, 9 S).
    turns = torch.einsum("psij,lm->pjmsil", symmetries, identity).reshape(len(symmetries), 9, -1)
    rotation = found.rotation.flatten(-2)
    if len(symmetries) == 1:
        only: Tensor = rotation @ turns[0]
        return only.view(*rotation.shape[:2], symmetries.shape[1], 9)
    turned = rotation.new_empty(*rotation.shape[:2], turns.shape[-1])
    for phase, turn in enumerate(turns):
        member = found.phase == phase
        turned[member] = rotation[member] @ turn
    return turned.view(*rotation.shape[:2], symmetries.shape[1], 9)


def distinct(found: Candidates, symmetry: Tensor, *, width_deg: float) -> Candidates:
    """Candidates (B, C) of one phase without those that are the same as a better one: their evidence becomes -inf.

    How often a candidate was proposed is no evidence; the odds of the phase as a whole stay what they are.
    """
    same = agreement(found, found, symmetry[None], width_deg=width_deg) > SAME
    order = found.evidence.argsort(dim=1, descending=True)
    kept = torch.zeros_like(found.evidence, dtype=torch.bool)
    for rank in range(order.shape[1]):
        index = order[:, rank, None]
        like_it = same.gather(1, index[..., None].expand(-1, 1, order.shape[1]))[:, 0]
        kept.scatter_(1, index, ~(like_it & kept).any(dim=1, keepdim=True))
    left = found.evidence.masked_fill(~kept, -torch.inf)
    gone = torch.logsumexp(found.evidence, dim=1, keepdim=True) - torch.logsumexp(left, dim=1, keepdim=True)
    return replace(found, evidence=left + gone)


def pair_slices(offset: tuple[int, int]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where the positions (rows, columns) that have a neighbour at ``offset`` lie, and where those neighbours do."""
    down, right = offset
    return (
        (slice(0, -down or None), slice(max(0, -right), -right if right > 0 else None)),
        (slice(down, None), slice(max(0, right), right if right < 0 else None)),
    )


def hear_neighbours(evidence: Tensor, agreements: Sequence[Tensor], coupling: Coupling) -> Tensor:
    """The evidence with the neighbours' support.

    Parameters
    ----------
    evidence
        (R, W, C) of a part of the scan: log odds against "none is right", -inf where there is no candidate.
    agreements
        For each of OFFSETS the agreement (R', W', C, C) of all pairs of that offset, as `pair_slices` lays them out.
    coupling

    Returns
    -------
    evidence : (R, W, C); exact for rows at least ``coupling.n_rounds`` from rows that are missing.
    """
    evidence = _with_ties(evidence, coupling)
    heard = [[torch.zeros_like(evidence) for _ in OFFSETS] for _ in range(2)]
    belief = evidence
    for _ in range(coupling.n_rounds):
        words = [[torch.zeros_like(evidence) for _ in OFFSETS] for _ in range(2)]
        for number, (offset, same) in enumerate(zip(OFFSETS, agreements, strict=True)):
            here, there = pair_slices(offset)
            # Each leaves out what the other told it.
            of_here = (belief - heard[0][number])[here]
            of_there = (belief - heard[1][number])[there]
            words[0][number][here] = _word(of_there, same, coupling)
            words[1][number][there] = _word(of_here, same.transpose(-1, -2), coupling)
        heard = words
        belief = evidence + sum(heard[0]) + sum(heard[1])
    return belief


def _with_ties(evidence: Tensor, coupling: Coupling) -> Tensor:
    """Evidence (..., C) whose small differences from the best candidate are made smaller; its sum of odds is kept."""
    behind = evidence.amax(dim=-1, keepdim=True) - evidence
    behind = torch.where(torch.isfinite(evidence), behind, torch.inf)
    nearer = behind - (1 - coupling.tie_part) * behind.clamp_max(coupling.tie)
    tied = torch.where(torch.isfinite(evidence), -nearer, -torch.inf)
    total = torch.logsumexp(evidence, dim=-1, keepdim=True) - torch.logsumexp(tied, dim=-1, keepdim=True)
    return torch.where(torch.isfinite(evidence), tied + total, evidence)


def _word(belief: Tensor, same: Tensor, coupling: Coupling) -> Tensor:
    """Support (..., C) >= 0 from neighbours that believe (..., D), with agreement (..., C, D)."""
    probability = torch.softmax(torch.cat([belief, torch.zeros_like(belief[..., :1])], dim=-1), dim=-1)
    known = 1 - probability[..., -1:]
    agreeing = (same @ probability[..., :-1, None])[..., 0]
    apart = coupling.floor * known + coupling.unknown * (1 - known)
    return coupling.strength * torch.log1p((1 - coupling.floor) * agreeing / apart)
