"""Solutions: the candidates that every scan position keeps, best first, and the error to expect of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_stem_orient.core.columns import CANDIDATES, Column, Columns
from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.orientation import disorientation_angle_deg

MOST_CANDIDATES = 8
"""Candidates that a position keeps at most."""

RUNNER_UP_DISTANCE_DEG = 10.0
"""A candidate this far from the answer, in degrees, is another answer."""

WRONG_PHASE_DEG = 45.0
"""A wrong phase counts as an error of so many degrees."""

TYPICAL_GROSS_ERROR_DEG = 35.0
FINE_ERROR_DEG = 0.5
"""Error in degrees where no candidate is right, and of a right answer with a dozen disks."""

NO_CANDIDATE = -1
"""The phase of a place where no candidate is, and the choice where none is taken."""

_STEPS = 32767


@dataclass(frozen=True, slots=True, eq=False)
class Solutions(Columns):
    """The candidates of n positions: K places each, best first, those that are not needed at the end.

    15 bytes a candidate: those of 1024² positions, eight each, take 126 MB.

    Attributes
    ----------
    rotation : (n, K, 3) int16; sample to crystal, see `packed_rotations`
    phase : (n, K) int8; index into the map's crystals, NO_CANDIDATE where none is
    evidence : (n, K) float16; log odds against "none of them is right", by which the candidates stand in order and
        the answer was chosen: with what the neighbours say where they were asked; NaN where unknown (template
        matching, whose order is that of the scores), -inf where no candidate is
    pattern_evidence : (n, K) float16; the same by the pattern alone
    score : (n, K) float16; 0 to 1, NaN where no candidate is
    explained_disks : (n, K) uint16; measured disks that have their reflection
    """

    rotation: Annotated[NDArray[np.int16], Column(np.int16, 0, (CANDIDATES, 3))]
    phase: Annotated[NDArray[np.int8], Column(np.int8, NO_CANDIDATE, (CANDIDATES,))]
    evidence: Annotated[NDArray[np.float16], Column(np.float16, -np.inf, (CANDIDATES,))]
    pattern_evidence: Annotated[NDArray[np.float16], Column(np.float16, -np.inf, (CANDIDATES,))]
    score: Annotated[NDArray[np.float16], Column(np.float16, np.nan, (CANDIDATES,))]
    explained_disks: Annotated[NDArray[np.uint16], Column(np.uint16, 0, (CANDIDATES,))]

    @classmethod
    def of(
        cls,
        quaternion: ArrayLike,
        phase: ArrayLike,
        score: ArrayLike,
        *,
        explained_disks: ArrayLike | None = None,
        evidence: ArrayLike | None = None,
        pattern_evidence: ArrayLike | None = None,
    ) -> Solutions:
        """Pack candidates, best first.

        Parameters
        ----------
        quaternion : (n, K, 4); sample to crystal, scalar first; anything where no candidate is
        phase : (n, K); NO_CANDIDATE where none is
        score : (n, K)
        explained_disks : (n, K); 0 where not given
        evidence, pattern_evidence : (n, K); unknown where not given; the pattern's is the evidence if only that is
        """
        phase_id = np.asarray(phase)
        there = phase_id >= 0
        unknown = np.full(phase_id.shape, np.nan)
        total = unknown if evidence is None else np.asarray(evidence)
        own = total if pattern_evidence is None else np.asarray(pattern_evidence)
        disks = np.zeros(phase_id.shape) if explained_disks is None else np.asarray(explained_disks)
        rotation = packed_rotations(quaternion)
        rotation[~there] = 0
        return cls(
            rotation=rotation,
            phase=phase_id.astype(np.int8),
            evidence=np.where(there, total, -np.inf).astype(np.float16),
            pattern_evidence=np.where(there, own, -np.inf).astype(np.float16),
            score=np.where(there, np.asarray(score), np.nan).astype(np.float16),
            explained_disks=np.where(there, disks, 0).astype(np.uint16),
        )

    @property
    def n_candidates(self) -> int:
        """K, the places for candidates at each position."""
        return int(self.phase.shape[1])

    @property
    def there(self) -> NDArray[np.bool_]:
        """(n, K) bool: the places where a candidate is."""
        return np.asarray(self.phase >= 0)

    def quaternion_at(
        self, positions: NDArray[np.int64], index: NDArray[np.integer[Any]]
    ) -> NDArray[np.float64]:
        """Return the orientations (m, 4) of the candidates number ``index`` (m,) of positions (m,)."""
        return unpacked_rotations(self.rotation[positions, index])


def packed_rotations(quaternion: ArrayLike) -> NDArray[np.int16]:
    """Return rotations as three small integers each: at most 0.0061° off, the smallest at the half turn.

    The vector part divided by one more than the scalar part lies in the unit ball (the stereographic projection of the
    half sphere of unit quaternions, "modified Rodrigues parameters"); its coordinates are counted in steps of 1/32767.

    Parameters
    ----------
    quaternion : (..., 4) of unit length, scalar first; NaN is taken for the identity

    Returns
    -------
    packed : (..., 3) int16
    """
    q = np.nan_to_num(np.asarray(quaternion, dtype=np.float64))
    vector = q[..., 1:] * np.where(q[..., :1] < 0, -1.0, 1.0) / (1.0 + np.abs(q[..., :1]))
    return np.asarray(np.rint(_STEPS * np.clip(vector, -1.0, 1.0)), dtype=np.int16)


def unpacked_rotations(packed: ArrayLike) -> NDArray[np.float64]:
    """Return the unit quaternions (..., 4), scalar first and w >= 0, of `packed_rotations` (..., 3)."""
    vector = np.asarray(packed, dtype=np.float64) / _STEPS
    squared = (vector * vector).sum(axis=-1, keepdims=True)
    q = np.concatenate([1.0 - squared, 2.0 * vector], axis=-1) / (1.0 + squared)
    return np.asarray(np.where(q[..., :1] < 0, -q, q))


def angles_from_deg(
    solutions: Solutions, positions: NDArray[np.int64], index: NDArray[np.int64], crystals: Sequence[Crystal]
) -> NDArray[np.float64]:
    """Disorientation (m, K) in degrees of all candidates of positions (m,) from those number ``index`` (m,).

    Another phase counts as WRONG_PHASE_DEG, and so does a place where no candidate is.
    """
    phase = solutions.phase[positions]
    chosen = phase[np.arange(len(positions)), index]
    from_there = solutions.quaternion_at(positions, index)
    angle = np.full(phase.shape, WRONG_PHASE_DEG)
    for number, crystal in enumerate(crystals):
        row, place = np.nonzero((phase == number) & (chosen == number)[:, None])
        each = unpacked_rotations(solutions.rotation[positions[row], place])
        angle[row, place] = disorientation_angle_deg(from_there[row], each, crystal.proper_point_group)
    return angle


def probabilities(evidence: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Probability (m, K) of each candidate from its log odds; what is missing to 1 is that none is right."""
    against = np.concatenate([evidence, np.zeros((len(evidence), 1))], axis=1, dtype=np.float64)
    weight = np.exp(against - against.max(axis=1, keepdims=True))
    return np.asarray((weight / weight.sum(axis=1, keepdims=True))[:, :-1])


def expected_error_deg(
    probability: NDArray[np.float64],
    angle_deg: NDArray[np.float64],
    n_disks: ArrayLike,
    *,
    gross_error_deg: ArrayLike = TYPICAL_GROSS_ERROR_DEG,
) -> NDArray[np.float64]:
    """Expected error in degrees (m,) of candidates, were they chosen.

    Parameters
    ----------
    probability : (m, K) of all candidates, see `probabilities`
    angle_deg : (m, K) of all candidates from the chosen one; a wrong phase counts as a gross error
    n_disks : (m,) measured disks
    gross_error_deg : error where no candidate is right; a number, or (m,)
    """
    none_right = 1.0 - probability.sum(axis=1)
    fine = FINE_ERROR_DEG * math.sqrt(12) / np.sqrt(np.maximum(np.asarray(n_disks), 1))
    return np.asarray(none_right * gross_error_deg + (probability * angle_deg).sum(axis=1) + fine)
