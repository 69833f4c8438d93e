"""The ellipse that makes a scan's rings sharpest, whatever the crystal: the radial histogram with the highest peaks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize

from napari_stem_orient.calibration.metric import STRAIN_STEP, metric_from_strain, strains_to_try
from napari_stem_orient.calibration.ring_points import RingPoints

Float64 = NDArray[np.float64]
Strain = tuple[float, float]

#: Bins of log q, and the width in bins with which they are smoothed: rings are about 0.6 % wide.
BIN = 0.002
SMOOTHING = 3.0

ENOUGH_POINTS = 20_000
RESAMPLES = 16


@dataclass(frozen=True, slots=True, eq=False)
class SharpestEllipse:
    """The ellipse as `RingMetric.strain`, the same for points drawn anew, and how sharp rings are, before and after.

    Sharpness is the mean height of the histogram of log q at a disk, relative to a flat one.
    """

    strain: Strain
    samples: tuple[Strain, ...]
    sharpness_before: float
    sharpness: float


def sharpest_ellipse(points: RingPoints, *, start: Strain) -> SharpestEllipse:
    """Search ellipses up to a ratio of 1.13 for the sharpest rings, then refine the best.

    A few grains of one orientation have too few disks on each ring for this: their lattices can be sheared onto each
    other. The scatter of ``samples`` tells.
    """
    rng = np.random.default_rng(0)
    if len(points) > ENOUGH_POINTS:
        points = points.chosen(rng.choice(len(points), ENOUGH_POINTS, replace=False))
    best = max(strains_to_try(start), key=lambda strain: _sharpness(points, strain, points.weight))
    strain = _refined(points, best, points.weight, step=STRAIN_STEP / 2)
    n_groups = int(points.group.max()) + 1
    samples = []
    for _ in range(RESAMPLES):
        times = np.bincount(rng.integers(0, n_groups, n_groups), minlength=n_groups)
        weight = points.weight * times[points.group]
        samples.append(_refined(points, strain, weight, step=STRAIN_STEP / 4))
    before, after = (_sharpness(points, which, points.weight) for which in (start, strain))
    return SharpestEllipse(strain, tuple(samples), before, after)


def _refined(points: RingPoints, start: Strain, weight: Float64, *, step: float) -> Strain:
    simplex = np.array(start) + step * np.array([[-0.5, -0.3], [0.5, -0.3], [0.0, 0.6]])

    def blur(strain: Float64) -> float:
        return -_sharpness(points, (float(strain[0]), float(strain[1])), weight)

    found = optimize.fmin(blur, start, xtol=5e-5, ftol=1e-6, maxfun=80, disp=False, initial_simplex=simplex)
    return float(found[0]), float(found[1])


def _sharpness(points: RingPoints, strain: Strain, weight: Float64) -> float:
    q = metric_from_strain(strain, pixel_size=1.0).length(points.x, points.y)
    place = np.log(np.maximum(q, 1e-6)) / BIN
    below = np.floor(place).astype(np.int64)
    part = place - below
    below -= below.min()
    # shared between two bins, so that the sharpness changes smoothly with the ellipse
    histogram = np.bincount(below, weights=weight * (1 - part), minlength=below.max() + 2)
    histogram[1:] += np.bincount(below, weights=weight * part, minlength=below.max() + 1)
    smooth = ndimage.gaussian_filter1d(histogram, SMOOTHING, mode="constant")
    return float((histogram * smooth).sum() * len(histogram) / histogram.sum() ** 2)
