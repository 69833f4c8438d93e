"""The direct beam at every probe position: measured among the peaks, fitted by a smooth surface over the scan."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_stem_orient.core.bragg_peaks import BraggPeaks

FloatArray = NDArray[np.float64]

BIN_PX = 4
FEWEST_PER_COEFFICIENT = 4
ROUNDS = 6

#: The direct beam is looked for in three rounds: within this part of the search radius of where it is expected.
NARROWING = (1.0, 0.5, 0.25)

#: Tukey's constant: 95 % efficient for normal errors.
TUKEY = 4.685


def fit_origin(
    peaks: BraggPeaks,
    *,
    centre_px: tuple[float, float] | None = None,
    search_radius_px: float | None = None,
    degree: int = 1,
) -> NDArray[np.float32]:
    """Where the direct beam is at every position, by a surface through where it was found.

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
    degree
        0: one place for the whole scan; 1: a plane; 2: a parabola.

    Returns
    -------
    (n_positions, 2) float32; row and column in px. Constant where there are too few peaks for a plane; the centre
    where there are none.
    """
    expected, _, _ = follow_origin(
        peaks, centre_px=centre_px, search_radius_px=search_radius_px, degree=degree
    )
    return expected.astype(np.float32)


def follow_origin(
    peaks: BraggPeaks,
    *,
    centre_px: tuple[float, float] | None = None,
    search_radius_px: float | None = None,
    degree: int = 1,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The same as `fit_origin`, with what it rests on.

    Returns
    -------
    fitted : (n_positions, 2) row and column in px
    measured : (n_positions, 2) the peak that was taken for the direct beam, NaN where none was near
    weight : (n_positions,) 0 to 1; 0 where the measured place is an outlier, or absent
    """
    shape = peaks.detector_shape or _extent(peaks)
    centre = _rough_centre(peaks, shape) if centre_px is None else np.asarray(centre_px, dtype=np.float64)
    radius = min(shape) / 8 if search_radius_px is None else search_radius_px
    expected: FloatArray = np.broadcast_to(centre, (peaks.n_positions, 2)).astype(np.float64)
    for part in NARROWING:
        measured = measure_origin(peaks, expected, search_radius_px=max(part * radius, 1.5))
        expected, weight = _surface(measured, peaks.scan_shape, degree=degree, fallback=centre)
    return expected, measured, weight


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
    points = np.stack([peaks.y_px, peaks.x_px], axis=1).astype(np.float64)
    middle = (np.asarray(shape, dtype=np.float64) - 1) / 2
    if peaks.n_peaks == 0:
        return middle
    # other programs keep peaks that are centred already: their middle is not that of the detector
    first = np.floor(np.minimum(points.min(axis=0), 0.0))
    if first.min() < -1 and peaks.calibration.origin_px is not None:
        middle = np.asarray(peaks.calibration.origin_px, dtype=np.float64)
    filled = peaks.counts() > 0
    strongest = np.maximum.reduceat(peaks.intensity, peaks.offsets[:-1][filled])
    relative = peaks.intensity / np.repeat(strongest, peaks.counts()[filled])
    prior = np.exp(-0.5 * ((points - middle) ** 2).sum(axis=1) / (min(shape) / 5) ** 2)
    place = np.floor((points - first + 0.5) / BIN_PX).astype(np.int64)
    columns = int(place[:, 1].max()) + 1
    crowd = np.bincount(place[:, 0] * columns + place[:, 1], weights=relative * prior)
    row, column = divmod(int(np.argmax(crowd)), columns)
    chosen = (np.array([row, column]) + 0.5) * BIN_PX - 0.5 + first
    close = ((points - chosen) ** 2).sum(axis=1) <= (1.5 * BIN_PX) ** 2
    close &= relative > 0.2 * relative[close].max(initial=0)
    return np.asarray(np.median(points[close], axis=0), dtype=np.float64)


def _surface(
    measured: FloatArray, scan_shape: tuple[int, int], *, degree: int, fallback: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Surface (n, 2) over the scan through measured points (n, 2), and the points' weights (n,), robust to outliers.

    A constant first, then planes, then a parabola where asked for: each starts from the weights of the one before.
    Rows and columns beyond the measured ones, as in a detection that was stopped, get what the nearest of these have.
    """
    known = np.isfinite(measured).all(axis=1)
    weight = np.zeros(len(measured))
    if not known.any():
        return np.broadcast_to(fallback, measured.shape).copy(), weight
    points = measured[known]
    fitted = np.broadcast_to(np.median(points, axis=0), measured.shape)
    weight[known] = _tukey(np.linalg.norm(points - fitted[known], axis=1))
    for order in range(degree + 1):
        design = _polynomials(scan_shape, order, known)
        if order and known.sum() < FEWEST_PER_COEFFICIENT * design.shape[1]:
            break
        for _ in range(ROUNDS if order else 0):
            weighted = design[known] * weight[known, None]
            solution = np.linalg.lstsq(weighted, points * weight[known, None], rcond=None)[0]
            fitted = design @ solution
            weight[known] = _tukey(np.linalg.norm(points - fitted[known], axis=1))
    return np.array(fitted, dtype=np.float64), weight


def _tukey(residual: FloatArray) -> FloatArray:
    scale = max(1.4826 * float(np.median(residual)), 0.02)
    return np.asarray(np.clip(1 - (residual / (TUKEY * scale)) ** 2, 0, None))


def _polynomials(scan_shape: tuple[int, int], degree: int, known: NDArray[np.bool_]) -> FloatArray:
    """(n_positions, m) products of powers of row and column, each -1 to 1 over the scan, up to a total degree.

    Rows and columns are held within those of the known positions: a slope told by a few rows says nothing far away.
    """
    places = np.divmod(np.arange(math.prod(scan_shape)), scan_shape[1])
    held = (np.clip(place, place[known].min(), place[known].max()) for place in places)
    y, x = (2 * index / max(1, size - 1) - 1 for index, size in zip(held, scan_shape, strict=True))
    powers = [(i, total - i) for total in range(degree + 1) for i in range(total + 1)]
    return np.stack([y**i * x**j for i, j in powers], axis=1)


def _extent(peaks: BraggPeaks) -> tuple[int, int]:
    """Rows and columns that the peaks themselves take, for peaks of an unknown detector."""
    return int(peaks.y_px.max(initial=7)) + 1, int(peaks.x_px.max(initial=7)) + 1
