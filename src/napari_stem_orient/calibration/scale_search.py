"""The scale at which disks lie on a crystal's rings, found without knowing any: histograms of log radii, shifted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.calibration.metric import RingMetric, metric_from_strain, strains_to_try
from napari_stem_orient.calibration.ring_points import RingPoints
from napari_stem_orient.calibration.rings import Rings

Float64 = NDArray[np.float64]

#: Width of a bin, and of the steps of the scale: a quarter of a percent.
STEP = 0.0025

#: Standard deviations of log radii that are tried: disks of an undistorted scan, and of one whose ellipse is unknown.
WIDTHS = (0.004, 0.008, 0.016)

#: Share of disks that belong to no ring.
ASTRAY = 0.3

#: Scales nearer to each other than this part are the same answer.
SAME_SCALE = 0.03

#: Points that are enough to search with.
ENOUGH_POINTS = 20_000


@dataclass(frozen=True, slots=True, eq=False)
class ScaleMatch:
    """The best scale, and the next one that is another.

    Attributes
    ----------
    metric : the best
    fit : mean log-likelihood of a disk over that of disks anywhere
    rival : pixel size in Å⁻¹ of the next best scale, at least 3 % away
    rival_fit : its fit
    """

    metric: RingMetric
    fit: float
    rival: float
    rival_fit: float


def find_scale(
    points: RingPoints,
    rings: Rings,
    *,
    start: RingMetric,
    pixel_sizes: tuple[float, float],
    ellipse: bool,
) -> ScaleMatch:
    """The pixel size, and the ellipse where wanted, at which the points lie on the rings best.

    Each disk comes from a ring, as likely as the ring's weight, or from anywhere; the densities are normalised over
    the radii that the scan shows, so that dense rings, which anything lies near, gain nothing.

    Parameters
    ----------
    points, rings
        Disks, and rings that reach far enough for the largest pixel size.
    start
        Its ellipse is kept, or searched around.
    pixel_sizes
        Smallest and largest pixel size in Å⁻¹ to try.
    ellipse
        Whether to search for the ellipse as well.
    """
    rng = np.random.default_rng(0)
    if len(points) > ENOUGH_POINTS:
        points = points.chosen(rng.choice(len(points), ENOUGH_POINTS, replace=False))
    strains = strains_to_try(start.strain) if ellipse else [start.strain]
    densities = [_ring_density(rings, pixel_sizes, points, width) for width in WIDTHS]
    best: ScaleMatch | None = None
    for strain in strains:
        unit = metric_from_strain(strain, pixel_size=1.0)
        sizes, fit = _fit_of_scales(unit.length(points.x, points.y), points.weight, densities, pixel_sizes)
        top = int(np.argmax(fit))
        if best is None or fit[top] > best.fit:
            others = np.where(np.abs(np.log(sizes / sizes[top])) > SAME_SCALE, fit, -np.inf)
            rival = int(np.argmax(others))
            best = ScaleMatch(
                unit.scaled(float(sizes[top])), float(fit[top]), float(sizes[rival]), float(others[rival])
            )
    assert best is not None
    return best


@dataclass(frozen=True, slots=True, eq=False)
class _Density:
    """Log of the density of log q, one value a step from ``first`` on; and its integral up to there."""

    first: int
    value: Float64
    integral: Float64


def _ring_density(
    rings: Rings, pixel_sizes: tuple[float, float], points: RingPoints, width: float
) -> _Density:
    """The density of log q that rings of some width have, over all q that may occur."""
    radius = points.radius
    first = int(np.floor(np.log(0.8 * radius.min() * pixel_sizes[0]) / STEP)) - 1
    last = int(np.ceil(np.log(1.25 * radius.max() * pixel_sizes[1]) / STEP)) + 1
    grid = np.arange(first, last + 1) * STEP
    value = np.zeros(len(grid))
    for q, weight in zip(np.log(rings.q), rings.weight, strict=True):
        value += weight / width * np.exp(-0.5 * ((grid - q) / width) ** 2)
    value /= np.sqrt(2 * np.pi)
    return _Density(first, value, np.concatenate([[0.0], np.cumsum(value) * STEP]))


def _fit_of_scales(
    radius: Float64, weight: Float64, densities: list[_Density], pixel_sizes: tuple[float, float]
) -> tuple[Float64, Float64]:
    """Pixel sizes (s,), and the fit (s,) of each at the width that suits best."""
    bins = np.floor(np.log(np.maximum(radius, 1e-6)) / STEP).astype(np.int64)
    lowest = int(bins.min())
    counted = np.bincount(bins - lowest, weights=weight)
    histogram = counted / counted.sum()
    shifts = np.arange(int(np.log(pixel_sizes[0]) / STEP), int(np.log(pixel_sizes[1]) / STEP) + 1)
    best = np.full(len(shifts), -np.inf)
    span = len(histogram) * STEP
    for density in densities:
        start = shifts + lowest - density.first
        inside = np.lib.stride_tricks.sliding_window_view(density.value, len(histogram))
        start = np.clip(start, 0, len(inside) - 1)
        total = density.integral[start + len(histogram)] - density.integral[start]
        relative = inside[start] * (span / np.maximum(total, 1e-3)[:, None])
        best = np.maximum(best, np.log(ASTRAY + (1 - ASTRAY) * relative) @ histogram)
    return np.exp(shifts * STEP + 0.5 * STEP), best
