"""NeighbourPass: rolls over the rows of a scan and answers each anew once the rows around it have their candidates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.indexing.candidates import Candidates
from napari_stem_orient.indexing.neighbours import OFFSETS, agreement, hear_neighbours, pair_slices
from napari_stem_orient.indexing.pattern_indexer import PatternIndexer
from napari_stem_orient.indexing.proposals import MOST_PROPOSALS, Proposals, propose
from napari_stem_orient.indexing.solution_block import explains_enough

#: Positions that neighbours propose to together, and whose neighbours are heard together; whole rows.
PROPOSED_TOGETHER = 1024
HEARD_TOGETHER = 8192

#: Patterns with fewer disks than this are asked nothing: one disk fits anything.
FEWEST_DISKS_ASKED = 2


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """What positions know once their neighbours were asked.

    positions (m,) flat; found: candidates (m, C) with the neighbours' support; n_disks (m,); pattern_evidence (m, C)
    of the candidates by the patterns alone.
    """

    positions: NDArray[np.int64]
    found: Candidates
    n_disks: NDArray[np.int64]
    pattern_evidence: Tensor


def rows_together(width: int) -> tuple[int, int]:
    """How many rows of a scan are proposed to together, and how many are heard together."""
    return int(np.clip(PROPOSED_TOGETHER // width, 1, 16)), int(np.clip(HEARD_TOGETHER // width, 4, 32))


class NeighbourPass:
    """Second pass of an indexing job: what the neighbours say about the candidates of each position.

    A row is extended by what its neighbours propose as soon as the next row has its candidates, and heard as soon as
    the rows around it are extended. Memory: some 5 kB a position for the rows that wait, about as many as
    `rows_together` says and two times the coupling's rounds; the number of rows of the scan does not matter.

    Parameters
    ----------
    indexer
    peaks
    rows
        Rows of the scan, first and last, that candidates are given for; whatever is not given counts as unknown.
    """

    def __init__(self, indexer: PatternIndexer, peaks: BraggPeaks, *, rows: tuple[int, int]) -> None:
        self._indexer = indexer
        self._peaks = peaks
        self._width = peaks.scan_shape[1]
        self._first, self._end = rows[0], rows[1] + 1
        self._next_extended = self._next_heard = self._first
        self._own: dict[int, Candidates] = {}
        self._n_disks: dict[int, Tensor] = {}
        self._extended: dict[int, Candidates] = {}
        self._sideways: dict[int, Tensor] = {}  # agreements within a row, (1, W - 1, C, C)
        self._upward: dict[int, list[Tensor]] = {}  # of the row before with this one, (1, W', C, C) each

    @property
    def n_rows_kept(self) -> int:
        """How many rows are in memory now."""
        return len(self._own.keys() | self._n_disks.keys() | self._extended.keys() | self._upward.keys())

    @torch.inference_mode()
    def add(self, positions: NDArray[np.int64], found: Candidates, n_disks: NDArray[np.int64]) -> None:
        """Take in the candidates (m, C) of positions (m,) with ``n_disks`` (m,) disks."""
        rows, columns = np.divmod(positions, self._width)
        device = self._indexer.device
        for row in np.unique(rows).tolist():
            chosen = np.flatnonzero(rows == row)
            at = torch.as_tensor(columns[chosen], device=device)
            candidates, counts = self._own_row(row)
            candidates.fill(at, found.patterns(torch.as_tensor(chosen, device=device)))
            counts[at] = torch.as_tensor(n_disks[chosen], device=device)

    def _own_row(self, row: int) -> tuple[Candidates, Tensor]:
        """Candidates (W, C) and numbers of disks (W,) of a row: none where nothing was given, or beyond the scan."""
        if row not in self._own:
            device = self._indexer.device
            self._own[row] = Candidates.none(self._width, self._indexer.n_kept, device=device)
            self._n_disks[row] = torch.zeros(self._width, dtype=torch.long, device=device)
        return self._own[row], self._n_disks[row]

    @torch.inference_mode()
    def advance(self, n_rows: int) -> Iterator[Heard]:
        """Go as far as one can where all rows before ``n_rows`` have been given; empty at times, to be stopped at."""
        extended_together, heard_together = rows_together(self._width)
        rounds = self._indexer.coupling.n_rounds
        finishing = n_rows >= self._end
        while self._next_extended < self._end:
            stop = min(self._next_extended + extended_together, self._end)
            if stop >= n_rows and not finishing:
                break
            self._extend(self._next_extended, stop)
            yield self._heard(stop, stop)
        while self._next_heard < self._end:
            stop = min(self._next_heard + heard_together, self._end)
            if self._next_extended < min(stop + rounds, self._end):
                break
            yield self._heard(self._next_heard, stop)
            self._next_heard = stop
            self._drop_before(stop - rounds)

    def _drop_before(self, row: int) -> None:
        stores: tuple[dict[int, Any], ...] = (self._extended, self._sideways, self._upward, self._n_disks)
        for store in stores:
            for done in [number for number in store if number < row]:
                del store[done]

    def _extend(self, start: int, stop: int) -> None:
        """Add to rows start..stop what their neighbours propose, and see which candidates agree."""
        rows = Candidates.stacked([self._own_row(row)[0] for row in range(start - 1, stop + 1)])
        n_disks = torch.stack([self._own_row(row)[1] for row in range(start, stop)])
        proposals = propose(
            rows,
            self._indexer.symmetries,
            asking=n_disks >= FEWEST_DISKS_ASKED,
            width_deg=self._indexer.coupling.width_deg,
        )
        solved = self._solved(rows.at(slice(1, -1)).flat(), proposals, start)
        for row, extra in zip(range(start, stop), solved.rows(self._width), strict=True):
            self._extended[row] = Candidates.of_all_phases([self._own[row], extra])
        self._compare(start, stop)
        self._next_extended = stop
        for done in [number for number in self._own if number < stop - 1]:
            del self._own[done]

    def _solved(self, own: Candidates, proposals: Proposals, start: int) -> Candidates:
        """Candidates (R * W, X) from the proposals; those that the disks do not bear out are left out."""
        solved = Candidates.none(len(own.evidence), MOST_PROPOSALS, device=self._indexer.device)
        if len(proposals.position):
            at = proposals.position
            peaks, mask = self._indexer.pad(self._peaks.select(at.cpu().numpy() + start * self._width))
            found = self._indexer.solve_proposed(proposals, own.patterns(at), peaks, mask)
            counted = torch.as_tensor(mask.sum(axis=1), device=self._indexer.device)
            enough = explains_enough(found, counted, self._indexer.parameters)
            solved.fill(at, replace(found, evidence=found.evidence.masked_fill(~enough, -torch.inf)))
        return solved

    def _compare(self, start: int, stop: int) -> None:
        """Agreements of all neighbours in rows start..stop and with the row before."""
        first = start if start == self._first else start - 1
        rows = Candidates.stacked([self._extended[row] for row in range(first, stop)])
        within = self._agreement(rows.at(slice(start - first, None)), OFFSETS[0])
        across = [self._agreement(rows, offset) for offset in OFFSETS[1:]]
        for number, row in enumerate(range(start, stop)):
            self._sideways[row] = within[number : number + 1]
        for number, row in enumerate(range(first + 1, stop)):
            self._upward[row] = [same[number : number + 1] for same in across]

    def _agreement(self, rows: Candidates, offset: tuple[int, int]) -> Tensor:
        here, there = (rows.at(*place) for place in pair_slices(offset))
        width_deg = self._indexer.coupling.width_deg
        same = agreement(here.flat(), there.flat(), self._indexer.symmetries, width_deg=width_deg)
        return same.view(*here.evidence.shape[:2], *same.shape[1:])

    def _heard(self, start: int, stop: int) -> Heard:
        """Rows start..stop with the support of their neighbours, for candidates that explain their patterns."""
        rounds = self._indexer.coupling.n_rounds
        first, last = max(start - rounds, self._first), min(stop + rounds, self._end)
        if start == stop:
            nothing = np.zeros(0, dtype=np.int64)
            nobody = Candidates.none(0, self._indexer.n_kept, device=self._indexer.device)
            return Heard(nothing, nobody, nothing, nobody.evidence)
        rows = Candidates.stacked([self._extended[row] for row in range(first, last)])
        pairs = [torch.cat([self._sideways[row] for row in range(first, last)])]
        for number, (_, right) in enumerate(OFFSETS[1:]):
            none = pairs[0].new_zeros(0, self._width - abs(right), *pairs[0].shape[2:])
            pairs.append(torch.cat([none, *(self._upward[row][number] for row in range(first + 1, last))]))
        heard = hear_neighbours(rows.evidence, pairs, self._indexer.coupling)
        inner = slice(start - first, stop - first)
        found = rows.at(inner).flat()
        n_disks = torch.cat([self._n_disks[row] for row in range(start, stop)])
        enough = explains_enough(found, n_disks, self._indexer.parameters)
        own = found.evidence
        found = replace(found, evidence=torch.where(enough, heard[inner].flatten(0, 1), own))
        positions = np.arange(start * self._width, stop * self._width, dtype=np.int64)
        return Heard(positions, found, n_disks.cpu().numpy(), own)
