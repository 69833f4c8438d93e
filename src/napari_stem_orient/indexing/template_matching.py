"""Template matching by py4DSTEM (ACOM), the reference method, behind the job shape of the transformer.

py4DSTEM correlates a pattern with a bank of kinematic templates: one per zone axis of the crystal's
fundamental sector, all in-plane rotations at once by a Fourier transform, and each also mirrored, which by
Friedel's law is the opposite zone axis (Ophus et al., Microscopy and Microanalysis 28, 390, 2022).

The score is a cosine, 0 to 1, between the measured disks and the kinematic pattern of the solution, see
`pattern_cosine`. py4DSTEM's own correlation chooses the orientation; it cannot choose the phase, because it
sees only the measured disks near the reflections of the crystal in hand and so grows with the number of its
reflections. The cosine counts every measured disk and every expected one, so a disk that a phase leaves
unexplained and a reflection that was not seen both lower it: the phase with the highest cosine wins.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.answers import IndexedBlock
from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.frames import positions_without_pattern
from napari_stem_orient.core.orientation import (
    disorientation_angle_deg,
    sample_from_py4dstem,
)
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.core.reason import Reason
from napari_stem_orient.core.solutions import (
    MOST_CANDIDATES,
    NO_CANDIDATE,
    RUNNER_UP_DISTANCE_DEG,
    Solutions,
)
from napari_stem_orient.indexing.template_parameters import TemplateMatchingParameters
from napari_stem_orient.indexing.template_plan import TemplatePlan, TemplatePlans, finished

FloatArray = NDArray[np.float64]

SECONDS_PER_BLOCK = 0.2
"""A block is handed over after about this time: maps paint themselves and Cancel acts between blocks."""

SCORE_WIDTH = 0.02
"""Width (sigma) in Å⁻¹ of the disks that the score compares, whatever the kernel: one lowest score serves all cells."""

MATCHES_OF_A_CRYSTAL = 2
"""Solutions that each crystal gives: py4DSTEM's match, and the same turned by 180° about the beam."""


def index_by_template_matching(
    peaks: BraggPeaks,
    crystals: Sequence[Crystal],
    *,
    parameters: TemplateMatchingParameters | None = None,
    resume_from: OrientationMap | None = None,
    plans: TemplatePlans | None = None,
) -> Generator[IndexedBlock, None, OrientationMap]:
    """Index a scan with py4DSTEM's template matching; several crystals give one map by the best score.

    Peak memory: the plans of all crystals (11 MB for Cu, 130 MB for a layered oxide), three times the largest of
    them, and the map.

    Parameters
    ----------
    peaks
        Bragg peaks with pixel size and voltage known.
    crystals
        At least one; phase_id counts through them.
    resume_from
        A map that is not complete: only what it lacks is done.
    plans
        Plans kept from earlier calls; new ones are added to it.

    Yields
    ------
    IndexedBlock
        First blocks of no positions, while templates are made: their progress is in zone axes. Then a few positions,
        about five blocks a second. confidence_deg is NaN: template matching does not know
        it. The candidates are the solutions compared, best first: those of the crystals, and each turned by 180°
        about the beam, the usual ambiguity of a single pattern. The runner-up is the best of them at least 10° away.

    Raises
    ------
    ValueError
        When the calibration lacks what indexing needs, no crystal is given, or the map to go on with was made
        otherwise.
    ImportError
        Where py4DSTEM is not installed; the message says how to get it.
    """
    parameters = parameters or TemplateMatchingParameters()
    crystals = tuple(crystals)
    _require_calibration(peaks, crystals)
    empty = OrientationMap.empty(
        peaks,
        crystals,
        method="template",
        parameters=parameters.model_dump(mode="json"),
        n_candidates=_room_for(len(crystals)),
    )
    orientation_map = empty if resume_from is None else resume_from.continued(empty)
    bank = yield from _as_blocks(
        _plans_of(peaks, crystals, parameters, TemplatePlans() if plans is None else plans)
    )
    solve = partial(_solve, peaks, bank=bank, parameters=parameters, nothing=_without_pattern(peaks))
    remaining = orientation_map.remaining_positions
    total = orientation_map.n_positions
    done = total - len(remaining)
    start = 0
    while start < len(remaining):
        deadline = time.monotonic() + SECONDS_PER_BLOCK
        solutions = [solve(int(remaining[start]))]
        while start + len(solutions) < len(remaining) and time.monotonic() < deadline:
            solutions.append(solve(int(remaining[start + len(solutions)])))
        stop = start + len(solutions)
        block = _block(remaining[start:stop], solutions, Progress(done + stop, total, "patterns"), bank)
        orientation_map.fill(block)
        start = stop
        yield block
    return orientation_map


def _room_for(n_crystals: int) -> int:
    """How many candidates a position has room for."""
    return min(MOST_CANDIDATES, MATCHES_OF_A_CRYSTAL * n_crystals)


def match_pattern(
    peaks: BraggPeaks,
    position: tuple[int, int],
    crystals: Sequence[Crystal],
    *,
    parameters: TemplateMatchingParameters | None = None,
    plans: TemplatePlans | None = None,
) -> IndexedBlock:
    """Match the pattern at one scan position (y, x): a block of one position, as in the map.

    Pass the same ``plans`` object again to answer the next click in tens of milliseconds.
    """
    parameters = parameters or TemplateMatchingParameters()
    crystals = tuple(crystals)
    _require_calibration(peaks, crystals)
    rows, columns = peaks.scan_shape
    y, x = position
    if not (0 <= y < rows and 0 <= x < columns):
        raise IndexError(f"position ({y}, {x}) is outside the scan of {rows} x {columns} positions")
    bank = finished(_plans_of(peaks, crystals, parameters, TemplatePlans() if plans is None else plans))
    flat = y * columns + x
    solution = _solve(peaks, flat, bank=bank, parameters=parameters, nothing=_without_pattern(peaks))
    return _block(np.array([flat], dtype=np.int64), [solution], Progress(1, 1, "patterns"), bank)


def pattern_cosine(measured: FloatArray, expected: FloatArray, *, width: float) -> float:
    """Agreement of two patterns, 0 to 1: the cosine between them as functions of q.

    Each disk is a Gaussian of standard deviation ``width`` whose height is the square root of its intensity,
    so that weak disks count too. 1 means the same disks with the same intensities; a disk that only one of
    the patterns has lowers it.

    Parameters
    ----------
    measured, expected
        (n, 3) and (m, 3): q_x, q_y in Å⁻¹ and intensity, without the direct beam.
    width
        In Å⁻¹.
    """

    def overlap(a: FloatArray, b: FloatArray) -> float:
        squared = np.sum((a[:, None, :2] - b[None, :, :2]) ** 2, axis=-1)
        height_a, height_b = (np.sqrt(np.maximum(x[:, 2], 0.0)) for x in (a, b))
        return float(height_a @ np.exp(squared / (-4 * width * width)) @ height_b)

    norm = np.sqrt(overlap(measured, measured) * overlap(expected, expected))
    return overlap(measured, expected) / norm if norm > 0 else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class _Match:
    """One solution of one pattern; `chosen` by py4DSTEM, or its turn by 180° about the beam."""

    phase_id: int
    quaternion: FloatArray
    score: float
    chosen: bool


def _require_calibration(peaks: BraggPeaks, crystals: tuple[Crystal, ...]) -> None:
    if not crystals:
        raise ValueError("no crystal is given; choose at least one built-in crystal or CIF")
    missing = peaks.calibration.missing_for_indexing()
    if missing:
        raise ValueError(f"indexing needs the {' and the '.join(missing)}: set it in the calibration")


def _plans_of(
    peaks: BraggPeaks,
    crystals: tuple[Crystal, ...],
    parameters: TemplateMatchingParameters,
    plans: TemplatePlans,
) -> Generator[Progress, None, tuple[TemplatePlan, ...]]:
    q_max = parameters.q_max_inv_angstrom or measured_q_max(peaks)
    bank = []
    for crystal in crystals:
        plan = yield from plans.plan_for(
            crystal, calibration=peaks.calibration, parameters=parameters, q_max=q_max
        )
        bank.append(plan)
    return tuple(bank)


def _as_blocks(
    building: Generator[Progress, None, tuple[TemplatePlan, ...]],
) -> Generator[IndexedBlock, None, tuple[TemplatePlan, ...]]:
    """Tell how far the templates are by blocks of no positions."""
    nowhere = np.zeros(0, dtype=np.int64)
    while True:
        try:
            progress = next(building)
        except StopIteration as stop:
            bank: tuple[TemplatePlan, ...] = stop.value
            return bank
        yield IndexedBlock.not_indexed(nowhere, Reason.NOT_DONE, progress=progress)


def measured_q_max(peaks: BraggPeaks) -> float:
    """How far out disks were measured in Å⁻¹, a few outliers aside, in steps of 0.1 and between 0.6 and 2."""
    reach = peaks.reach(part=0.998)
    return float(np.clip(np.ceil(10 * reach) / 10, 0.6, 2.0)) if reach else 1.0


def _without_pattern(peaks: BraggPeaks) -> NDArray[np.bool_]:
    """The flat positions that the file of the scan has no pattern for, (n_positions,) bool."""
    without = positions_without_pattern(peaks.parameters, peaks.n_positions)
    empty: NDArray[np.bool_] = peaks.counts() == 0
    return without & empty


def _solve(
    peaks: BraggPeaks,
    position: int,
    *,
    bank: tuple[TemplatePlan, ...],
    parameters: TemplateMatchingParameters,
    nothing: NDArray[np.bool_],
) -> list[_Match] | Reason:
    """The solutions at a flat scan position, best first, or why there is none."""
    if nothing[position]:
        return Reason.NO_PATTERN
    if not peaks.detected[position]:
        return Reason.NOT_DETECTED
    y, x = divmod(position, peaks.scan_shape[1])
    vectors = np.asarray(peaks.at(y, x), dtype=np.float64)
    radius = np.hypot(vectors[:, 0], vectors[:, 1])
    vectors = vectors[np.isfinite(vectors).all(axis=1) & (radius > min(plan.q_min for plan in bank))]
    if len(vectors) < parameters.min_disks:
        return Reason.TOO_FEW_DISKS
    matches = [
        match
        for phase_id, plan in enumerate(bank)
        for match in _match_phase(vectors, phase_id, plan, parameters)
    ]
    if not matches or max(match.score for match in matches) < parameters.min_score:
        return Reason.NO_PHASE_FITS
    return _ranked(matches)


def _match_phase(
    vectors: FloatArray, phase_id: int, plan: TemplatePlan, parameters: TemplateMatchingParameters
) -> list[_Match]:
    """py4DSTEM's match of one crystal, and the same turned by 180° about the beam, each with its score."""
    from emdfile import PointList

    vectors = vectors[np.hypot(vectors[:, 0], vectors[:, 1]) < plan.q_max]
    structured = np.zeros(len(vectors), dtype=[("qx", "f8"), ("qy", "f8"), ("intensity", "f8")])
    # py4DSTEM's x is down, along our y.
    structured["qx"], structured["qy"], structured["intensity"] = vectors[:, 1], vectors[:, 0], vectors[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        orientation = plan.planned.match_single_pattern(
            PointList(structured), min_number_peaks=1, verbose=False
        )
    matrix = np.asarray(orientation.matrix[0], dtype=np.float64)
    if orientation.corr[0] <= 0 or not np.isfinite(matrix).all():
        return []
    turned = matrix @ np.diag([-1.0, -1.0, 1.0])
    return [
        _Match(phase_id, sample_from_py4dstem(m), _score(vectors, m, plan, parameters), chosen=m is matrix)
        for m in (matrix, turned)
    ]


def _score(
    vectors: FloatArray, matrix: FloatArray, plan: TemplatePlan, parameters: TemplateMatchingParameters
) -> float:
    """`pattern_cosine` of measured vectors (n, 3) and the kinematic pattern at py4DSTEM's matrix (3, 3)."""
    expected = plan.planned.generate_diffraction_pattern(
        orientation_matrix=matrix,
        sigma_excitation_error=parameters.excitation_error_inv_angstrom,
        precession_angle_degrees=plan.planned.orientation_precession_angle_degrees,
    ).data
    expected = np.stack([expected["qy"], expected["qx"], expected["intensity"]], axis=1)
    expected = expected[np.hypot(expected[:, 0], expected[:, 1]) > plan.q_min]
    return min(1.0, pattern_cosine(vectors, expected, width=SCORE_WIDTH))


def _ranked(matches: list[_Match]) -> list[_Match]:
    """The best of the solutions that py4DSTEM chose, then all others by their scores."""
    best = max((match for match in matches if match.chosen), key=lambda match: match.score)
    others = sorted((match for match in matches if match is not best), key=lambda match: -match.score)
    return [best, *others][:MOST_CANDIDATES]


def _runner_up(ranked: list[_Match], bank: tuple[TemplatePlan, ...]) -> int:
    """The number of the best solution that is far enough from the first one; NO_CANDIDATE where there is none."""
    best = ranked[0]
    for number, match in enumerate(ranked):
        if match.phase_id != best.phase_id:
            return number
        angle = disorientation_angle_deg(best.quaternion, match.quaternion, bank[best.phase_id].point_group)
        if angle >= RUNNER_UP_DISTANCE_DEG:
            return number
    return NO_CANDIDATE


def _block(
    positions: NDArray[np.int64],
    solutions: list[list[_Match] | Reason],
    progress: Progress,
    bank: tuple[TemplatePlan, ...],
) -> IndexedBlock:
    """One block of the solutions of some flat positions."""
    n_candidates = _room_for(len(bank))
    block = IndexedBlock.not_indexed(positions, Reason.INDEXED, progress=progress)
    quaternion = np.full((len(positions), n_candidates, 4), np.nan)
    phase = np.full((len(positions), n_candidates), NO_CANDIDATE)
    score = np.full((len(positions), n_candidates), np.nan)
    for i, solution in enumerate(solutions):
        if isinstance(solution, Reason):
            block.reason[i] = solution
            continue
        best = solution[0]
        block.phase_id[i], block.quaternion[i], block.score[i] = best.phase_id, best.quaternion, best.score
        block.choice[i], block.runner_up[i] = 0, _runner_up(solution, bank)
        for number, match in enumerate(solution):
            quaternion[i, number], phase[i, number], score[i, number] = (
                match.quaternion,
                match.phase_id,
                match.score,
            )
    return replace(block, solutions=Solutions.of(quaternion, phase, score))
