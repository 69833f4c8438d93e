"""IndexingJob: the order of an indexing run, pattern by pattern and then with the neighbours, and how far it is."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from napari_stem_orient.core.answers import IndexedBlock
from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.frames import positions_without_pattern
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.core.reason import Reason
from napari_stem_orient.indexing.neighbour_pass import Heard, NeighbourPass, rows_together
from napari_stem_orient.indexing.pattern_indexer import PatternIndexer

#: Patterns that are solved together, at most. Sums end in other bits where they are cut otherwise: a scan is cut at
#: the same positions each time, never by the clock, so that a run can be repeated to the bit. A part takes one or two
#: tenths of a second of a CPU, with refinement and without.
PART_OF_CPU_REFINED, PART_OF_CPU, LARGEST_BLOCK = 128, 512, 8192

#: Answers with neighbours that come in one block.
MOST_ANSWERED = 1024

#: Part of a position's work that is its own pattern; the rest is asking its neighbours.
OWN_PART = 0.8


class IndexingJob:
    """Indexes what remains of a map.

    Parameters
    ----------
    indexer
    peaks
    orientation_map
        What was done before; it is looked at now, not later.
    """

    def __init__(self, indexer: PatternIndexer, peaks: BraggPeaks, orientation_map: OrientationMap) -> None:
        self._indexer = indexer
        self._peaks = peaks
        self._done = orientation_map.done
        self._without_pattern = positions_without_pattern(peaks.parameters, peaks.n_positions)
        self._possible = peaks.detected & ~self._without_pattern & (orientation_map.reason != Reason.MASKED)
        wanted = ~self._done & self._possible
        parameters = indexer.parameters
        self._asks_neighbours = parameters.neighbours and parameters.refine and bool(wanted.any())
        self._solved = self._answered = wanted
        if self._asks_neighbours:
            self._solved, self._answered = self._with_halo(wanted)
        # What an earlier run has answered with its neighbours is not shown without them meanwhile; and one position is
        # left for the end, so that a map that lacks neighbours' words anywhere is never complete.
        self._shown_alone = wanted.copy()
        if self._asks_neighbours:
            self._shown_alone[np.flatnonzero(wanted)[-1]] = False
        self._n_solved = self._n_answered = 0
        counted = (wanted, self._solved, self._answered)
        self._n_wanted, self._n_to_solve, self._n_to_answer = (int(which.sum()) for which in counted)

    def _with_halo(self, wanted: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Positions (n,) bool to be solved, and to be answered with their neighbours.

        A run that was stopped has shown rows that had not been heard yet: at most as many as wait for each other. What
        is answered needs the candidates of all rows that its neighbours listen to.
        """
        shape = self._peaks.scan_shape
        reach = self._indexer.coupling.n_rounds + 1
        block_rows = -(-LARGEST_BLOCK // shape[1]) + 1
        waiting = reach + sum(rows_together(shape[1])) + block_rows
        rows = wanted.reshape(shape).any(axis=1)
        answered = _widened(rows, before=waiting if self._done.any() else 0, after=reach)
        solved = _widened(answered, before=reach, after=reach)
        return np.repeat(solved, shape[1]) & self._possible, np.repeat(answered, shape[1]) & self._possible

    def blocks(self) -> Iterator[IndexedBlock]:
        """All blocks; those without detected disks come first, as not indexed."""
        impossible = np.flatnonzero(~self._done & ~self._possible)
        if len(impossible):
            nothing = np.where(
                self._without_pattern[impossible], Reason.NO_PATTERN, Reason.NOT_DETECTED
            ).astype(np.uint8)
            yield IndexedBlock.not_indexed(impossible, nothing, progress=self._progress())
        positions = np.flatnonzero(self._solved)
        if not self._asks_neighbours:
            yield from self._each_alone(positions, None)
        elif len(positions):
            width = self._peaks.scan_shape[1]
            rows = int(positions[0]) // width, int(positions[-1]) // width
            yield from self._each_alone(positions, NeighbourPass(self._indexer, self._peaks, rows=rows))

    def _each_alone(
        self, positions: NDArray[np.int64], neighbour_pass: NeighbourPass | None
    ) -> Iterator[IndexedBlock]:
        """Index positions part by part; then hear the neighbours."""
        start = 0
        for block_positions in _parts(positions, self._part_size()):
            peaks, mask = self._indexer.pad(self._peaks.select(block_positions))
            found, n_disks = self._indexer.solve(peaks, mask), mask.sum(axis=1)
            start += len(block_positions)
            self._n_solved = start
            new = np.flatnonzero(self._shown_alone[block_positions])
            alone = Heard(block_positions, found, n_disks, found.evidence)
            block = self._answers(alone, new, last=neighbour_pass is None)
            yield block
            if neighbour_pass is not None:
                neighbour_pass.add(block_positions, found, n_disks)
                follows = positions[start] // self._peaks.scan_shape[1] if start < len(positions) else None
                yield from self._with_neighbours(neighbour_pass, follows)

    def _part_size(self) -> int:
        """How many patterns are solved together: few for a large cell, whose patterns take long."""
        refines = self._indexer.parameters.refine
        of_cpu = PART_OF_CPU_REFINED if refines else PART_OF_CPU
        most = of_cpu if self._indexer.device.type == "cpu" else LARGEST_BLOCK
        return min(most, LARGEST_BLOCK, self._indexer.batch_size)

    def _with_neighbours(self, neighbour_pass: NeighbourPass, row: int | None) -> Iterator[IndexedBlock]:
        """Answer what can be answered where all rows before ``row`` are solved; None: all of them."""
        for heard in neighbour_pass.advance(self._peaks.scan_shape[0] if row is None else int(row)):
            chosen = np.flatnonzero(self._answered[heard.positions])
            for start in range(0, max(1, len(chosen)), MOST_ANSWERED):
                part = chosen[start : start + MOST_ANSWERED]
                self._n_answered += len(part)
                yield self._answers(heard, part, last=True)

    def _answers(self, heard: Heard, chosen: NDArray[np.int64], *, last: bool) -> IndexedBlock:
        """Answers to the ``chosen`` (k,) of m patterns; two grains are looked for when nothing more will come."""
        on_device = torch.as_tensor(chosen, device=self._indexer.device)
        there, at = heard.found.patterns(on_device), heard.positions[chosen]
        block = self._indexer.decide(
            there,
            heard.n_disks[chosen],
            at,
            progress=self._progress(),
            pattern_evidence=heard.pattern_evidence[on_device],
        )
        if last:
            self._indexer.look_for_two_grains(
                block, there, lambda rows: self._indexer.pad(self._peaks.select(at[rows]))
            )
        return block

    def _progress(self) -> Progress:
        """Positions done, those of earlier runs among them; a position counts whole when its neighbours were asked."""
        total = self._peaks.n_positions
        part = self._n_solved / max(1, self._n_to_solve)
        if self._asks_neighbours:
            part = OWN_PART * part + (1 - OWN_PART) * self._n_answered / max(1, self._n_to_answer)
        return Progress(total - self._n_wanted + int(part * self._n_wanted + 1e-6), total, "patterns")


def _parts(positions: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    """Cut sorted positions (n,) where the whole scan would be cut: a resumed run meets the same parts."""
    ends = np.flatnonzero(np.diff(positions // size)) + 1
    yield from np.split(positions, ends) if len(positions) else ()


def _widened(rows: NDArray[np.bool_], *, before: int, after: int) -> NDArray[np.bool_]:
    """Rows that have a chosen one at most ``after`` rows before them or ``before`` rows after them."""
    count = np.concatenate([[0], np.cumsum(rows)])
    number = np.arange(len(rows))
    first, last = np.maximum(number - after, 0), np.minimum(number + before + 1, len(rows))
    return np.asarray(count[last] > count[first])
