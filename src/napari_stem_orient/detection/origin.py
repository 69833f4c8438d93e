"""The direct beam at every probe position: measured among the peaks, fitted by a plane over the scan."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_stem_orient.core.bragg_peaks import BraggPeaks

FloatArray = NDArray[np.float64]

BIN_PX = 4
FEWEST_FOR_PLANE = 12
ROUNDS = 6


def fit_origin(
    peaks: BraggPeaks, *, centre_px: tuple[float, float] | None = None, search_radius_px: float | None = None
) -> NDArray[np.float32]:
    """Where the direct beam is at every position, by a plane through where it was found.

    A drifting scan coil moves the direct beam linearly over the scan; strong disks taken for it at some positions
    are outliers, which the fit (iterated, with Tukey's weights) leaves out.

    Parameters
    ----------
    peaks
        Peaks of the scan.
    centre_px
        Row and column where the direct beam is about, in px. Where None, the most crowded place of the brightest
        peaks near the middle of the detector.
    search_radius_px
        How far from there it may be, in px; an eighth of the detector where None.

    Returns
    -------
    (n_positions, 2) float32; row and column in px. Constant where there are too few peaks for a plane; the centre
    where there are none.
    """
    shape = peaks.detector_shape or _extent(peaks)
    centre = _rough_centre(peaks, shape) if centre_px is None else np.asarray(centre_px, dtype=np.float64)
    radius = min(shape) / 8 if search_radius_px is None else search_radius_px
    expected = np.broadcast_to(centre, (peaks.n_positions, 2))
    for reach in (radius, radius / 2, radius / 4):
        measured = measure_origin(peaks, expected, search_radius_px=max(reach, 1.5))
        expected = _plane(measured, peaks.scan_shape, fallback=centre)
    return expected.astype(np.float32)


def measure_origin(peaks: BraggPeaks, expected_px: ArrayLike, *, search_radius_px: float) -> FloatArray:
    """The direct beam among the peaks of every position: the brightest, discounted by its distance.

    Parameters
    ----------
    expected_px
        (n_positions, 2) or (2,); row and column where it is expected, in px.
    search_radius_px
        How far from there it may be; the discount halves the intensity at half this distance.

    Returns
    -------
    (n_positions, 2) float64; row and column in px, NaN where no peak is near enough.
    """
    counts = peaks.counts()
    position = np.repeat(np.arange(peaks.n_positions), counts)
    expected = np.broadcast_to(np.asarray(expected_px, dtype=np.float64), (peaks.n_positions, 2))[position]
    squared = (peaks.y_px - expected[:, 0]) ** 2 + (peaks.x_px - expected[:, 1]) ** 2
    near = np.flatnonzero(squared <= search_radius_px**2)
    score = peaks.intensity[near] * np.exp2(-4.0 * squared[near] / search_radius_px**2)
    order = near[np.lexsort((-score, position[near]))]
    first = np.flatnonzero(np.diff(position[order], prepend=-1) > 0)
    best = order[first]
    measured = np.full((peaks.n_positions, 2), np.nan)
    measured[position[best], 0] = peaks.y_px[best]
    measured[position[best], 1] = peaks.x_px[best]
    return measured


def _rough_centre(peaks: BraggPeaks, shape: tuple[int, int]) -> FloatArray:
    """Median of the peaks around the place with most intensity of brightest peaks, the middle preferred."""
    middle = (np.asarray(shape, dtype=np.float64) - 1) / 2
    if peaks.n_peaks == 0:
        return middle
    filled = peaks.counts() > 0
    strongest = np.maximum.reduceat(peaks.intensity, peaks.offsets[:-1][filled])
    relative = peaks.intensity / np.repeat(strongest, peaks.counts()[filled])
    points = np.stack([peaks.y_px, peaks.x_px], axis=1).astype(np.float64)
    prior = np.exp(-0.5 * ((points - middle) ** 2).sum(axis=1) / (min(shape) / 5) ** 2)
    columns = math.ceil((shape[1] + 1) / BIN_PX)
    place = np.floor((points + 0.5) / BIN_PX).astype(np.int64)
    crowd = np.bincount(place[:, 0] * columns + place[:, 1], weights=relative * prior)
    row, column = divmod(int(np.argmax(crowd)), columns)
    chosen = (np.array([row, column]) + 0.5) * BIN_PX - 0.5
    close = ((points - chosen) ** 2).sum(axis=1) <= (1.5 * BIN_PX) ** 2
    close &= relative > 0.2 * relative[close].max(initial=0)
    return np.asarray(np.median(points[close], axis=0), dtype=np.float64)


def _plane(measured: FloatArray, scan_shape: tuple[int, int], *, fallback: FloatArray) -> FloatArray:
    """Plane over the scan through measured points (n, 2), robust to outliers; evaluated everywhere."""
    known = np.isfinite(measured).all(axis=1)
    if not known.any():
        return np.broadcast_to(fallback, measured.shape).copy()
    points = measured[known]
    if known.sum() < FEWEST_FOR_PLANE:
        return np.broadcast_to(np.median(points, axis=0), measured.shape).copy()
    rows, columns = np.divmod(np.arange(len(measured)), scan_shape[1])
    design = np.stack([np.ones(len(rows)), rows / scan_shape[0], columns / scan_shape[1]], axis=1)
    residual = np.linalg.norm(points - np.median(points, axis=0), axis=1)
    fitted = np.broadcast_to(np.median(points, axis=0), measured.shape)
    for _ in range(ROUNDS):
        scale = max(1.4826 * float(np.median(residual)), 0.02)
        weights = np.clip(1 - (residual / (4.685 * scale)) ** 2, 0, None)
        weighted = design[known] * weights[:, None]
        fitted = design @ np.linalg.lstsq(weighted, points * weights[:, None], rcond=None)[0]
        residual = np.linalg.norm(points - fitted[known], axis=1)
    return np.asarray(fitted, dtype=np.float64)


def _extent(peaks: BraggPeaks) -> tuple[int, int]:
    """Rows and columns that the peaks themselves take, for peaks of an unknown detector."""
    return int(peaks.y_px.max(initial=7)) + 1, int(peaks.x_px.max(initial=7)) + 1
