"""Pixel size, ellipse and origin from the indexed disks of a scan, together with its orientations."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from napari_stem_orient.calibration.fit import CalibrationFit
from napari_stem_orient.calibration.measured import Doubt, DoubtKind, Measurand, Measured
from napari_stem_orient.calibration.measured_quantities import (
    measured_ellipse,
    measured_pixel_size,
    strain_error,
)
from napari_stem_orient.calibration.metric import RingMetric
from napari_stem_orient.calibration.normal_equations import NormalEquations
from napari_stem_orient.calibration.ring_points import RingPoints
from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.orientation import quaternion_to_matrix
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.device import choose_device
from napari_stem_orient.indexing.explained_disks import ExplainedDisks, PhasePatterns
from napari_stem_orient.indexing.index import visible_q_limit
from napari_stem_orient.indexing.refine import PatternFitter
from napari_stem_orient.indexing.refinement_parameters import RefinementParameters
from napari_stem_orient.transformer.tokens import strongest_peaks

Float64 = NDArray[np.float64]

#: Patterns that are used at most; the surest of them, spread over the scan.
MOST_PATTERNS = 3000

#: Patterns x reflections that a phase may have at most: a large cell has many reflections, and gets fewer patterns.
LARGEST_VALUES = 30_000_000

#: Disks of a pattern that are used at most, and fewest that it must have.
MOST_DISKS, FEWEST_DISKS = 48, 4

#: Orientations that are expected to be off by more than this, in degrees, are not used where enough are surer.
SURE_DEG = 8.0
ENOUGH_PATTERNS = 50

#: Rounds of refining orientations and calibration in turn; they end where the matrix changes by less than this part.
MOST_ROUNDS = 12
STILL = 2e-5

#: Unknowns: a change of the matrix (4), then constant, along rows and along columns of the origin in x and in y (6).
UNKNOWNS = 10

#: How far the origin may well be off, in px.
ORIGIN_ERROR_PX = 2.0

#: Scores that differ by less than this are the same.
SAME_SCORE = 0.002

#: The direct beam's own place at a position is told where places scatter by more than this, in px.
NOTABLE_SCATTER_PX = 0.05


@dataclass(frozen=True, slots=True)
class RefinementProgress:
    """How far a refinement is, and what it does now, in words."""

    progress: Progress
    note: str


@dataclass(frozen=True, slots=True, eq=False)
class JointCalibration:
    """A calibration refined from the indexed disks, and by how much it is better.

    Attributes
    ----------
    fit : the refined calibration; what it measured tells before and after
    score_before, score_after : mean score of the patterns that were used, 0 to 1
    residual_before, residual_after : root mean square distance of disks from their reflections in Å⁻¹
    n_positions, n_disks : how many patterns and disks were used
    """

    fit: CalibrationFit
    score_before: float
    score_after: float
    residual_before: float
    residual_after: float
    n_positions: int
    n_disks: int

    @property
    def gains(self) -> bool:
        """Whether the patterns are explained better than before; if not, the calibration is best kept."""
        return self.score_after >= self.score_before + SAME_SCORE


@dataclass(frozen=True, slots=True, eq=False)
class _State:
    """Matrix (2, 2) from px to Å⁻¹; shift (n, 2), x and y, of the direct beam in px from where it was taken to be."""

    matrix: Float64
    shift_px: Float64


@dataclass(frozen=True, slots=True)
class _Fit:
    """Mean score, root mean square distance in Å⁻¹, and number of explained disks under some calibration."""

    score: float
    residual: float
    n_disks: int


def refine_calibration(
    peaks: BraggPeaks, orientation_map: OrientationMap, *, device: str = "auto"
) -> Generator[RefinementProgress, None, JointCalibration]:
    """Refine pixel size, ellipse and origin from the disks that the orientation map explains.

    In turn, orientations are refined under the calibration, and the calibration is fitted to where the disks lie
    beside their reflections: a linear map of the detector's plane, and an origin that changes evenly over the scan; in
    the end, the remainder of the origin at each position, as far as it exceeds its error. A rotation of the detector
    about the beam turns all orientations with it and changes nothing else: the disks cannot tell it, and it stays.

    Peak memory: some 200 MB besides the peaks, at most 1.5 GB for a very large cell.

    Raises
    ------
    ValueError
        Where the map is of another scan, the calibration lacks pixel size or voltage, or too few patterns are indexed.
    """
    patterns = _sure_patterns(peaks, orientation_map, device=device)
    n_positions = sum(len(phase.positions) for phase in patterns)
    state = _State(peaks.calibration.detector_to_sample(), np.zeros((peaks.n_positions, 2)))
    yield RefinementProgress(Progress(0, MOST_ROUNDS + 1, "steps"), "orientations as they are calibrated now")
    before = _judged(patterns, state)
    equations = None
    for step in range(MOST_ROUNDS):
        yield RefinementProgress(Progress(step + 1, MOST_ROUNDS + 1, "steps"), "calibration and orientations")
        disks = _explained(patterns, state)
        equations = _equations(disks, state, peaks.scan_shape)
        changed = _with_change(state, equations.solve(), peaks.scan_shape)
        still = np.abs(changed.matrix - state.matrix).max() < STILL * np.abs(state.matrix).max()
        state = changed
        _refine(patterns, state, tilt=step % 3 == 2)
        if still:
            break
    yield RefinementProgress(Progress(MOST_ROUNDS, MOST_ROUNDS + 1, "steps"), "origin at each position")
    assert equations is not None
    smooth = state
    scatter, state = _with_remainders(_explained(patterns, state), state)
    after = _judged(patterns, state)
    fit = _as_fit(peaks, smooth, state, equations, before, after, scatter, n_positions)
    return JointCalibration(
        fit, before.score, after.score, before.residual, after.residual, n_positions, after.n_disks
    )


def _sure_patterns(peaks: BraggPeaks, orientation_map: OrientationMap, *, device: str) -> list[PhasePatterns]:
    """The patterns to use, phase by phase: with enough disks, and sure of their orientation."""
    if peaks.scan_shape != orientation_map.scan_shape:
        raise ValueError(
            f"the map is of a scan of {orientation_map.scan_shape[0]} x {orientation_map.scan_shape[1]}, the peaks of "
            f"{peaks.scan_shape[0]} x {peaks.scan_shape[1]}: index these peaks first"
        )
    missing = peaks.calibration.missing_for_indexing()
    if missing:
        raise ValueError(f"the refinement needs the {' and the '.join(missing)}; enter it first")
    usable = orientation_map.indexed & (peaks.counts() > FEWEST_DISKS)
    expected = np.where(np.isfinite(orientation_map.confidence_deg), orientation_map.confidence_deg, 0.0)
    sure = usable & (expected < SURE_DEG)
    chosen = np.flatnonzero(sure if sure.sum() >= ENOUGH_PATTERNS else usable)
    if not len(chosen):
        raise ValueError("no indexed position has enough disks to refine from; index more of the scan first")
    chosen = _spread(chosen, MOST_PATTERNS)
    q_limit = visible_q_limit(peaks)
    on_device = choose_device(device)
    return [
        _patterns_of_phase(peaks, orientation_map, phase, positions, q_limit=q_limit, device=on_device)
        for phase in range(len(orientation_map.crystals))
        if len(positions := chosen[orientation_map.phase_id[chosen] == phase])
    ]


def _spread(positions: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """So many of the positions at most, evenly."""
    if len(positions) <= most:
        return positions
    return np.asarray(positions[np.linspace(0, len(positions) - 1, most).astype(int)])


def _patterns_of_phase(
    peaks: BraggPeaks,
    orientation_map: OrientationMap,
    phase: int,
    positions: NDArray[np.int64],
    *,
    q_limit: float,
    device: torch.device,
) -> PhasePatterns:
    calibration = peaks.calibration
    fitter = PatternFitter(
        orientation_map.crystals[phase],
        voltage_kv=float(calibration.voltage_kv or 0.0),
        q_limit=q_limit,
        parameters=RefinementParameters(),
        precession_angle_deg=calibration.precession_angle_deg,
        device=device,
    )
    positions = _spread(positions, max(1, LARGEST_VALUES // fitter.n_reflections))
    part = peaks.select(positions)
    disks, mask = strongest_peaks(
        part.q_x,
        part.q_y,
        part.intensity,
        part.offsets,
        n_peaks=MOST_DISKS,
        direct_beam_radius=0.6 * float(fitter.g.norm(dim=1).min()),
        q_max=q_limit,
    )
    to_pixels = np.linalg.inv(calibration.detector_to_sample())
    intensity = disks[..., 2] / np.maximum(disks[..., 2].max(axis=1, keepdims=True), 1e-20)
    rotation = quaternion_to_matrix(orientation_map.quaternion[positions])[:, None]
    return PhasePatterns(
        fitter,
        positions,
        torch.as_tensor(disks[..., :2].astype(np.float64) @ to_pixels.T),
        torch.as_tensor(intensity * mask, dtype=torch.float32, device=device),
        torch.as_tensor(mask, device=device),
        torch.as_tensor(rotation, dtype=torch.float32, device=device),
    )


def _refine(patterns: Sequence[PhasePatterns], state: _State, *, tilt: bool) -> None:
    for phase in patterns:
        phase.refine(phase.vectors(state.matrix, state.shift_px[phase.positions]), tilt=tilt)


def _explained(patterns: Sequence[PhasePatterns], state: _State) -> ExplainedDisks:
    return ExplainedDisks.joined(
        [phase.residuals(phase.vectors(state.matrix, state.shift_px[phase.positions])) for phase in patterns]
    )


def _judged(patterns: Sequence[PhasePatterns], state: _State) -> _Fit:
    """How well the patterns are explained once their orientations have been refined under a calibration."""
    _refine(patterns, state, tilt=True)
    scores, n_disks = [], 0
    for phase in patterns:
        similarity, explained = phase.scores(phase.vectors(state.matrix, state.shift_px[phase.positions]))
        scores.append(similarity)
        n_disks += explained
    disks = _explained(patterns, state)
    if len(disks.weight) <= UNKNOWNS:
        raise ValueError(
            f"the orientations explain only {len(disks.weight)} disks: calibrate the pixel size from rings first, "
            "and index again"
        )
    return _Fit(float(np.concatenate(scores).mean()), disks.root_mean_square, n_disks)


def _equations(disks: ExplainedDisks, state: _State, scan_shape: tuple[int, int]) -> NormalEquations:
    """What the distances (n, 2) say: distance = E q - C t, E a change (2, 2) of the matrix C, t of the origin in px."""
    n = len(disks.weight)
    columns = np.zeros((2, n, UNKNOWNS))
    columns[0, :, 0:2] = columns[1, :, 2:4] = disks.q
    terms = _plane_terms(disks.position, scan_shape)
    for axis in range(2):
        for pixel_axis in range(2):
            columns[axis, :, 4 + 3 * pixel_axis : 7 + 3 * pixel_axis] = (
                -state.matrix[axis, pixel_axis] * terms
            )
    weight = disks.robust_weight() / disks.deviation**2
    group = RingPoints.at(disks.q[:, 0], disks.q[:, 1], disks.weight).group
    prior = np.concatenate([np.full(4, 1e-6), np.full(6, ORIGIN_ERROR_PX**-2.0)])
    return NormalEquations.of(
        columns.reshape(2 * n, UNKNOWNS),
        disks.distance.T.ravel(),
        np.tile(weight, 2),
        group=np.tile(group, 2),
        prior=(prior, np.zeros(UNKNOWNS)),
    )


def _plane_terms(position: NDArray[np.int64], scan_shape: tuple[int, int]) -> Float64:
    """(n, 3): 1, and row and column of flat positions, -1 to 1 over the scan; 0 along a side of one position."""
    terms = [np.ones(len(position))]
    for index, size in zip(np.divmod(position, scan_shape[1]), scan_shape, strict=True):
        terms.append(2 * index / (size - 1) - 1 if size > 1 else np.zeros(len(position)))
    return np.stack(terms, axis=1)


def _with_change(state: _State, solution: Float64, scan_shape: tuple[int, int]) -> _State:
    """The state after a solution (10,) of the equations, without the rotation that disks cannot tell."""
    changed = (np.eye(2) + solution[:4].reshape(2, 2)) @ state.matrix
    plane = _plane_terms(np.arange(len(state.shift_px)), scan_shape)
    shift = state.shift_px + plane @ solution[4:].reshape(2, 3).T
    # polar decomposition: the turn of the detector stays, the stretch is what was found
    turn = _turn_of(state.matrix)
    _, size, v = np.linalg.svd(changed)
    return _State(turn @ (v.T * size) @ v, shift)


def _turn_of(matrix: Float64) -> Float64:
    """The orthogonal part (2, 2) of a matrix: the rotation and the flip between detector and scan."""
    u, _, v = np.linalg.svd(matrix)
    return np.asarray(u @ v)


def _with_remainders(disks: ExplainedDisks, state: _State) -> tuple[float, _State]:
    """What is left of the origin at each position, drawn toward the plane as far as it may be error; and its scatter.

    Scatter in px: how far the direct beam truly is from the plane, root mean square of x and y; 0 where that is within
    the error.
    """
    weight = disks.robust_weight()
    total: Float64 = np.bincount(disks.position, weights=weight, minlength=len(state.shift_px)).astype(
        np.float64
    )
    squares = np.bincount(disks.position, weights=weight**2, minlength=len(state.shift_px))
    shift = np.linalg.solve(state.matrix, -disks.distance.T)  # (2, n) in px
    known = total > 0
    mean: Float64 = np.zeros((len(total), 2))
    for axis in range(2):
        sums = np.bincount(disks.position, weights=weight * shift[axis], minlength=len(total))
        mean[known, axis] = sums[known] / total[known]
    error = disks.deviation / np.sqrt(np.abs(np.linalg.det(state.matrix)))
    variance = np.full(len(total), np.inf)
    variance[known] = error**2 * squares[known] / total[known] ** 2
    between = float(np.median(mean[known] ** 2) / 0.455 - np.median(variance[known]))
    scatter = np.sqrt(max(0.0, between))
    if scatter < NOTABLE_SCATTER_PX:
        return 0.0, state
    part = scatter**2 / (scatter**2 + variance)
    return float(scatter), _State(state.matrix, state.shift_px + part[:, None] * mean)


def _as_fit(
    peaks: BraggPeaks,
    smooth: _State,
    state: _State,
    equations: NormalEquations,
    before: _Fit,
    after: _Fit,
    scatter: float,
    n_positions: int,
) -> CalibrationFit:
    """The result as a calibration, with before and after."""
    metric = _metric(state.matrix)
    samples = [_metric(_with_change(smooth, s, peaks.scan_shape).matrix) for s in equations.resampled()]
    ratio, angle = metric.ellipse
    origin = peaks.origin_px
    if origin is None:
        origin = np.tile(peaks.origin_at(0, 0), (peaks.n_positions, 1))
    origin = (origin + state.shift_px[:, ::-1]).astype(np.float32)
    mean = origin.mean(axis=0, dtype=np.float64)
    calibration = peaks.calibration.updated(
        pixel_size_inv_angstrom=metric.pixel_size,
        ellipse_ratio=ratio,
        ellipse_angle_deg=angle,
        origin_px=(float(mean[0]), float(mean[1])),
    )
    known = float(peaks.calibration.pixel_size_inv_angstrom or metric.pixel_size)
    error = float(np.std([sample.pixel_size for sample in samples]))
    moved = state.shift_px[:, ::-1].mean(axis=0)
    told = (
        Measured(Measurand.SCORE, after.score, before=before.score),
        Measured(Measurand.OFF_REFLECTIONS, after.residual, unit="1/Å", before=before.residual),
        Measured(Measurand.EXPLAINED_DISKS, after.n_disks, before=before.n_disks),
        Measured(Measurand.POSITIONS, n_positions),
        measured_pixel_size(metric.pixel_size, error, known),
        *measured_ellipse(metric.ellipse, strain_error([s.strain for s in samples])),
        Measured(Measurand.ORIGIN_MOVED_ROWS, float(moved[0]), unit="px"),
        Measured(Measurand.ORIGIN_MOVED_COLUMNS, float(moved[1]), unit="px"),
        Measured(Measurand.ORIGIN_OFF_PLANE, scatter, unit="px"),
        Measured(Measurand.ROTATION, math.nan, unit="°"),  # turns all orientations with it: disks cannot tell
    )
    doubts: tuple[Doubt, ...] = ()
    if after.score < before.score - SAME_SCORE:
        doubts = (Doubt(DoubtKind.WORSE_THAN_BEFORE),)
    elif after.score < before.score + SAME_SCORE:
        doubts = (Doubt(DoubtKind.NO_BETTER_THAN_BEFORE),)
    checked = calibration.with_checked("origin", "ellipse", "pixel size")
    return CalibrationFit("Refined from the map", checked, origin, told, doubts)


def _metric(matrix: Float64) -> RingMetric:
    (xx, xy), (_, yy) = matrix.T @ matrix
    return RingMetric(float(xx), float(xy), float(yy))
