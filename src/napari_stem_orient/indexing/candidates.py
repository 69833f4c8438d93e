"""Candidates: the solutions that patterns may have, several each, with the evidence for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


def taken(values: Tensor, index: Tensor) -> Tensor:
    """Of values (..., C, *) of candidates those at index (..., c): (..., c, *)."""
    dimension = index.dim() - 1
    beyond = values.shape[dimension + 1 :]
    spread = index.reshape(*index.shape, *[1] * len(beyond)).expand(*index.shape, *beyond)
    return values.gather(dimension, spread)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Solutions of patterns; the leading axes "..." are patterns (B,) or scan rows and columns (R, W).

    rotation (..., C, 3, 3) sample to crystal; similarity (..., C) 0 to 1; evidence (..., C) log odds against "none of
    them is right", -inf where there is no candidate; explained (..., C) number of measured disks that have their
    reflection; phase (..., C) index.
    """

    rotation: Tensor
    similarity: Tensor
    evidence: Tensor
    explained: Tensor
    phase: Tensor

    @classmethod
    def none(cls, *shape: int, device: torch.device) -> Candidates:
        """Places (..., C) for candidates that are not there."""
        whole = torch.zeros(shape, dtype=torch.long, device=device)
        return cls(
            rotation=torch.eye(3, device=device).expand(*shape, 3, 3).clone(),
            similarity=torch.zeros(shape, device=device),
            evidence=torch.full(shape, -torch.inf, device=device),
            explained=whole,
            phase=whole.clone(),
        )

    @classmethod
    def of_all_phases(cls, phases: Sequence[Candidates]) -> Candidates:
        """Candidates of several phases side by side."""
        return cls._joined(phases, lambda parts: torch.cat(parts, dim=phases[0].evidence.dim() - 1))

    @classmethod
    def stacked(cls, rows: Sequence[Candidates]) -> Candidates:
        """Candidates (R, W, C) from R rows (W, C)."""
        return cls._joined(rows, torch.stack)

    @classmethod
    def _joined(cls, parts: Sequence[Candidates], join: Callable[[list[Tensor]], Tensor]) -> Candidates:
        return cls(*(join([getattr(part, item.name) for part in parts]) for item in fields(cls)))

    def take(self, index: Tensor) -> Candidates:
        """The candidates at index (..., c)."""
        return Candidates(*(taken(getattr(self, item.name), index) for item in fields(self)))

    def strongest(self, n: int) -> Candidates:
        """The n candidates with most evidence, or all where there are fewer."""
        if self.evidence.shape[-1] <= n:
            return self
        return self.take(self.evidence.topk(n, dim=-1).indices)

    def patterns(self, rows: Tensor) -> Candidates:
        """The candidates of patterns ``rows`` (m,) of (B, C)."""
        return Candidates(*(getattr(self, item.name)[rows] for item in fields(self)))

    def fill(self, rows: Tensor, others: Candidates) -> None:
        """Put the candidates of m patterns into ``rows`` (m,), in place."""
        for item in fields(self):
            getattr(self, item.name)[rows] = getattr(others, item.name)

    def at(self, *place: slice) -> Candidates:
        """The candidates of a part of the rows and columns."""
        return Candidates(*(getattr(self, item.name)[place] for item in fields(self)))

    def rows(self, width: int) -> list[Candidates]:
        """Rows (W, C) of candidates (R * W, C)."""
        parts = (getattr(self, item.name).split(width) for item in fields(self))
        return [Candidates(*row) for row in zip(*parts, strict=True)]

    def flat(self) -> Candidates:
        """Candidates (R * W, C) of (R, W, C)."""
        return Candidates(*(getattr(self, item.name).flatten(0, 1) for item in fields(self)))

    def fill_where(self, rows: Tensor, where: Tensor, others: Candidates) -> None:
        """Put those candidates (m, C) of m patterns that ``where`` (m, C) names into ``rows`` (m,), in place."""
        for item in fields(self):
            mine, theirs = getattr(self, item.name), getattr(others, item.name)
            chosen = where.reshape(*where.shape, *[1] * (mine.dim() - 2))
            mine[rows] = torch.where(chosen, theirs, mine[rows])

    def best_of_phase(self, phase: int) -> Candidates:
        """The best candidate (B, 1) of one phase; evidence -inf where there is none."""
        evidence = self.evidence.masked_fill(self.phase != phase, -torch.inf)
        best = replace(self, evidence=evidence).take(evidence.argmax(dim=1, keepdim=True))
        return replace(best, phase=torch.full_like(best.phase, phase))
