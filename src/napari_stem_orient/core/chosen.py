"""Another candidate as the answer: what a map would say at positions if another of their candidates were chosen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.answers import IndexedBlock
from napari_stem_orient.core.errors import UserError
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.core.reason import Reason
from napari_stem_orient.core.solution import Candidate
from napari_stem_orient.core.solutions import (
    NO_CANDIDATE,
    RUNNER_UP_DISTANCE_DEG,
    TYPICAL_GROSS_ERROR_DEG,
    Solutions,
    angles_from_deg,
    expected_error_deg,
    probabilities,
)


def chosen(
    orientation_map: OrientationMap, positions: NDArray[np.int64], number: NDArray[np.int64] | int
) -> IndexedBlock:
    """Return the answers at flat positions (m,) if candidates ``number`` (m,), or one number for all, were chosen.

    The block is to be filled into a copy of the map: a finished map never changes. Where the candidate is the one that
    the map has chosen, orientation and score are the map's to the bit.

    Raises
    ------
    UserError
        When a position has no such candidate.
    """
    index = np.broadcast_to(np.asarray(number, dtype=np.int64), positions.shape)
    solutions = orientation_map.solutions
    _require_candidates(orientation_map, positions, index)
    angle = angles_from_deg(solutions, positions, index, orientation_map.crystals)
    probability = probabilities(solutions.evidence[positions])
    phase = solutions.phase[positions, index]
    n_disks = _n_disks(orientation_map, positions)
    explained = solutions.explained_disks[positions, index]
    block = IndexedBlock.of_arrays(
        {"positions": positions, **orientation_map.arrays_at(positions)},
        progress=Progress(len(positions), len(positions), "positions"),
    )
    others = np.flatnonzero(index != orientation_map.choice[positions])
    block.quaternion[others] = solutions.quaternion_at(positions[others], index[others])
    block.score[others] = solutions.score[positions[others], index[others]]
    block.phase_id[:], block.choice[:], block.reason[:] = phase, index, Reason.INDEXED
    block.confidence_deg[:] = expected_error_deg(
        probability, angle, n_disks, gross_error_deg=_gross_errors(orientation_map)[phase]
    )
    block.explained_disks[:], block.unexplained_disks[:] = explained, n_disks - np.minimum(explained, n_disks)
    same = np.where(solutions.phase[positions] == phase[:, None], probability, 0.0)
    block.phase_probability[:] = same.sum(axis=1) / np.maximum(probability.sum(axis=1), 1e-20)
    block.runner_up[:] = runner_up(solutions, positions, angle)
    return block


def candidates_at(orientation_map: OrientationMap, y: int, x: int) -> tuple[Candidate, ...]:
    """Return all candidates of scan position (y, x), best first, each with the error to expect were it chosen."""
    flat = orientation_map.flat_position(y, x)
    there = np.flatnonzero(orientation_map.solutions.there[flat])
    if not len(there):
        return ()
    errors = chosen(orientation_map, np.full(len(there), flat), there).confidence_deg
    found = (orientation_map.candidate(flat, int(number)) for number in there)
    return tuple(
        replace(candidate, confidence_deg=float(error))
        for candidate, error in zip(found, errors, strict=True)
        if candidate is not None
    )


def runner_up(
    solutions: Solutions, positions: NDArray[np.int64], angle_deg: NDArray[np.float64]
) -> NDArray[np.int8]:
    """Number (m,) of the best candidate at least 10° from the answer, by the angles (m, K); -1 where there is none."""
    other = solutions.there[positions] & (angle_deg >= RUNNER_UP_DISTANCE_DEG)
    return np.where(other.any(axis=1), other.argmax(axis=1), NO_CANDIDATE).astype(np.int8)


def _n_disks(orientation_map: OrientationMap, positions: NDArray[np.int64]) -> NDArray[np.int64]:
    explained, unexplained = orientation_map.explained_disks, orientation_map.unexplained_disks
    return explained[positions].astype(np.int64) + unexplained[positions]


def _gross_errors(orientation_map: OrientationMap) -> NDArray[np.float64]:
    """Error (crystals,) in degrees to expect of each crystal where no candidate is right."""
    known = orientation_map.gross_error_deg
    return np.asarray(known or [TYPICAL_GROSS_ERROR_DEG] * len(orientation_map.crystals), dtype=np.float64)


def _require_candidates(
    orientation_map: OrientationMap, positions: NDArray[np.int64], index: NDArray[np.int64]
) -> None:
    there = orientation_map.solutions.there[positions]
    possible = (index >= 0) & (index < there.sum(axis=1))
    if not possible.all():
        which = int(np.flatnonzero(~possible)[0])
        y, x = divmod(int(positions[which]), orientation_map.scan_shape[1])
        raise UserError(
            f"position ({y}, {x}) has {int(there[which].sum())} candidates and no number {int(index[which])}",
            value=int(index[which]),
            fix="choose one that it has",
        )
