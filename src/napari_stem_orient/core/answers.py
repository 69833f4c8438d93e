"""Answers: what is answered at scan positions, and the candidates it was chosen from: the arrays of blocks and maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.columns import Column, Columns
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.core.reason import Reason
from napari_stem_orient.core.solutions import NO_CANDIDATE, Solutions

NOT_INDEXED = -1
"""The phase_id of a position that has no orientation, as in orix."""

IDENTITY = (1.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Answers(Columns):
    """What is answered at n positions: each array is declared here, and nowhere else.

    An answer is one of the candidates: ``choice`` says which, and the runner-up is another. Where the choice was not
    sure enough it is not taken (phase_id -1), and yet quaternion and score hold it.

    Attributes
    ----------
    phase_id : (n,) int16; index into the map's crystals, -1 where not indexed
    quaternion : (n, 4) float32; of the choice, sample to crystal, scalar first; identity where there is none
    score : (n,) float32; 0 to 1, how much of the measured pattern the choice explains; 0 where there is none
    confidence_deg : (n,) float32; expected error in degrees (lower is better), NaN where unknown
    reason : (n,) uint8; a Reason
    explained_disks : (n,) uint16; disks that the answer explains, 0 where not indexed
    unexplained_disks : (n,) uint16; disks that it does not explain; all disks where not indexed
    phase_probability : (n,) float32; of the phase among all that were searched, 0 to 1; NaN where unknown
    choice : (n,) int8; number of the candidate that was chosen, -1 where none explains the pattern
    runner_up : (n,) int8; number of the best candidate at least 10° away from it, -1 where there is none
    solutions : the candidates; best first
    """

    phase_id: Annotated[NDArray[np.int16], Column(np.int16, NOT_INDEXED)]
    quaternion: Annotated[NDArray[np.float32], Column(np.float32, IDENTITY, (4,))]
    score: Annotated[NDArray[np.float32], Column(np.float32, 0.0)]
    confidence_deg: Annotated[NDArray[np.float32], Column(np.float32, np.nan)]
    reason: Annotated[NDArray[np.uint8], Column(np.uint8, Reason.NOT_DONE)]
    explained_disks: Annotated[NDArray[np.uint16], Column(np.uint16, 0)]
    unexplained_disks: Annotated[NDArray[np.uint16], Column(np.uint16, 0)]
    phase_probability: Annotated[NDArray[np.float32], Column(np.float32, np.nan)]
    choice: Annotated[NDArray[np.int8], Column(np.int8, NO_CANDIDATE)]
    runner_up: Annotated[NDArray[np.int8], Column(np.int8, NO_CANDIDATE)]
    solutions: Solutions

    @property
    def indexed(self) -> NDArray[np.bool_]:
        """(n,) bool: the positions that have an orientation."""
        return self.phase_id >= 0

    @property
    def rejected_phase_id(self) -> NDArray[np.int16]:
        """(n,) int16; the phase of the choice where it was not sure enough to be taken; -1 elsewhere."""
        return np.where(self.indexed, np.int16(NO_CANDIDATE), self._phase_of(self.choice))

    @property
    def alternative_phase_id(self) -> NDArray[np.int16]:
        """(n,) int16; the phase of the runner-up, -1 where there is none."""
        return self._phase_of(self.runner_up)

    @property
    def alternative_quaternion(self) -> NDArray[np.float32]:
        """(n, 4) float32; the orientation of the runner-up, NaN where there is none."""
        quaternion = np.full((len(self.runner_up), 4), np.nan, dtype=np.float32)
        there = np.flatnonzero(self.runner_up >= 0)
        quaternion[there] = self.solutions.quaternion_at(there, self.runner_up[there])
        return quaternion

    @property
    def alternative_score(self) -> NDArray[np.float32]:
        """(n,) float32; the score of the runner-up, NaN where there is none."""
        score = np.full(len(self.runner_up), np.nan, dtype=np.float32)
        there = np.flatnonzero(self.runner_up >= 0)
        score[there] = self.solutions.score[there, self.runner_up[there]]
        return score

    def _phase_of(self, index: NDArray[np.int8]) -> NDArray[np.int16]:
        """Phases (n,) of the candidates number ``index`` (n,), -1 where that is."""
        phase = np.full(len(index), NO_CANDIDATE, dtype=np.int16)
        there = np.flatnonzero(index >= 0)
        phase[there] = self.solutions.phase[there, index[there]]
        return phase

    def withdraw(self, rows: NDArray[np.int64], reason: Reason) -> None:
        """Leave rows without an answer, for a reason, in place; their candidates and the number of disks stay."""
        n_disks = self.unexplained_disks[rows] + self.explained_disks[rows]
        for name, how in self.columns().items():
            getattr(self, name)[rows] = how.unknown
        self.unexplained_disks[rows] = n_disks
        self.reason[rows] = reason


@dataclass(frozen=True, slots=True, eq=False)
class IndexedBlock(Answers):
    """The answers at m scan positions, as an indexing job yields them.

    Attributes
    ----------
    positions : (m,) int64; flat, row-major scan positions
    progress : how far the job is after this block
    """

    positions: NDArray[np.int64]
    progress: Progress

    @classmethod
    def not_indexed(
        cls,
        positions: NDArray[np.int64],
        reason: Reason | NDArray[np.uint8],
        *,
        progress: Progress,
        n_candidates: int = 0,
    ) -> IndexedBlock:
        """Make the block of positions (m,) that have no answer, for one reason or one each (m,)."""
        arrays = cls.blank_fields(len(positions), n_candidates)
        arrays["reason"][:] = reason
        return cls(positions=np.asarray(positions, dtype=np.int64), progress=progress, **arrays)

    @classmethod
    def of_arrays(cls, arrays: dict[str, NDArray[np.generic]], *, progress: Progress) -> IndexedBlock:
        """Make a block of its positions and arrays by name; KeyError where one is missing."""
        return cls(positions=arrays["positions"], progress=progress, **cls.fields_from(arrays))  # type: ignore[arg-type]
