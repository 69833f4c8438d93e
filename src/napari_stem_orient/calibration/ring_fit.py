"""Ellipse, pixel size and centre that put points onto rings: linear least squares, iterated, with its uncertainty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.calibration.metric import RingMetric
from napari_stem_orient.calibration.normal_equations import NormalEquations
from napari_stem_orient.calibration.ring_points import RingPoints
from napari_stem_orient.calibration.rings import Rings

Float64 = NDArray[np.float64]

ROUNDS = 12

#: A point belongs to the nearest ring within this part of its radius at first, then within so many standard deviations.
WIDEST = 0.04
DEVIATIONS = 5.0

#: Rings that have a neighbour within so many standard deviations confirm any guess: they are left out where
#: this part of the disks lies on others.
CROWDED = 4.0
ENOUGH_ALONE = 0.2

#: ... and within this part of the gap between two rings.
PART_OF_GAP = 0.45

#: Mean square in Å⁻² of the excitation errors of disks that are seen, and how well that is known: what lies off the
#: Ewald sphere shows at a smaller radius, q² = g² - s².
DEPTH, DEPTH_ERROR = 4e-4, 5e-4

#: Part of the pixel size by which it is off beyond its scatter: one depth stands for all rings, but excitation errors
#: are larger on the inner ones. Simulated scans of Ni, Au, Si, Fe and LiCoO2 come out 0.014 % too small.
MODEL_ERROR = 1.5e-4

#: How far the centre may well be off, in px.
CENTRE_ERROR = 1.0

#: Points on rings, at least, for the six unknowns.
FEWEST_POINTS = 8

#: Tukey's constant.
TUKEY = 4.685


@dataclass(frozen=True, slots=True, eq=False)
class RingFit:
    """What puts points onto rings.

    Attributes
    ----------
    metric : ellipse and pixel size
    centre : x, y in px of the rings' centre, from where the offsets count
    centre_error : standard error of either in px
    on_rings : (n,) bool; the points that lie on a ring
    residual : root mean square distance in Å⁻¹ of these from their rings
    samples : metrics of resampled places in reciprocal space, or of resampled rings, whichever scatter more: how well
        the metric is known; disks of one ring share what the excitation errors do to it
    n_rings : rings that have points
    """

    metric: RingMetric
    centre: tuple[float, float]
    centre_error: float
    on_rings: NDArray[np.bool_]
    residual: float
    samples: tuple[RingMetric, ...]
    n_rings: int

    @property
    def pixel_size_error(self) -> float:
        """Standard error of the pixel size in Å⁻¹: what the samples scatter, and what the depth leaves."""
        scatter = np.std([metric.pixel_size for metric in self.samples])
        return float(np.hypot(scatter, MODEL_ERROR * self.metric.pixel_size))


def fit_rings(
    points: RingPoints,
    rings: Rings,
    *,
    start: RingMetric,
    wavelength: float | None = None,
) -> RingFit:
    """Fit metric and centre so that each point lies on its nearest ring.

    The equation of an ellipse, dᵀ M d + c·d = g² - s², is linear in what is wanted; it is solved some times, with the
    points given to rings anew, and with Tukey's weights for those that belong to none.

    Parameters
    ----------
    points, rings
    start
        Near enough that the nearest ring is mostly the right one: within 2 or 3 %.
    wavelength
        Of the electrons in Å, where known: the Ewald sphere curves away from the detector.

    Raises
    ------
    ValueError
        Where too few points lie on rings.
    """
    terms = _Terms(points, start)
    shift, depth = (0.0, 0.0), DEPTH
    metric, deviation = start, np.inf
    radii = _on_sphere(rings.q, wavelength)
    target = radii**2
    for _ in range(ROUNDS):
        x, y = points.x - shift[0], points.y - shift[1]
        squared = metric.squared(x, y) + depth
        ring = _nearest(radii, np.sqrt(np.maximum(squared, 1e-12)), deviation)
        there = ring >= 0
        if there.sum() < FEWEST_POINTS:
            raise ValueError(
                f"only {int(there.sum())} disks lie on the rings of the crystal: is it the right one, and is the "
                "pixel size about right?"
            )
        goal = np.where(there, target[ring], 1.0)
        error = (squared - goal) / (2 * np.sqrt(goal))
        deviation = max(1.4826 * float(np.median(np.abs(error[there]))), 1e-4)
        weight = np.where(there, points.weight * _tukey(error / deviation), 0.0)
        equations = terms.equations(goal, weight, deviation, group=points.group)
        solution = equations.solve()
        metric, shift, depth = terms.read(solution)
        if not metric.is_positive:
            raise ValueError("no ellipse fits the disks: is it the right crystal, and the right pixel size?")
    used = weight > 0
    residual = float(np.sqrt(np.average(error[used] ** 2, weights=weight[used])))
    by_place, by_ring = (
        [terms.read(values) for values in which.resampled()]
        for which in (equations, terms.equations(goal, weight, deviation, group=np.maximum(ring, 0)))
    )
    samples = tuple(sample[0] for sample in max(by_place, by_ring, key=_spread_of_size))
    off = float(np.max(np.std([sample[1] for sample in by_place], axis=0)))
    return RingFit(metric, shift, off, used, residual, samples, len(np.unique(ring[used])))


def _spread_of_size(samples: list[tuple[RingMetric, tuple[float, float], float]]) -> float:
    return float(np.std([metric.pixel_size for metric, _, _ in samples]))


def _on_sphere(q: Float64, wavelength: float | None) -> Float64:
    """Radius (n,) at which reflections of length q show: that of their place on the Ewald sphere."""
    if wavelength is None:
        return q
    return np.asarray(q * np.sqrt(np.maximum(1 - (wavelength * q / 2) ** 2, 0.0)))


def _nearest(radii: Float64, q: Float64, deviation: float) -> NDArray[np.int64]:
    """The nearest ring of each q (n,), -1 where none is near enough to be told from the next one."""
    edges = (radii[1:] + radii[:-1]) / 2
    ring = np.searchsorted(edges, q)
    gaps = np.concatenate([[np.inf], np.diff(radii), [np.inf]])
    distance = q - radii[ring]
    gap = np.where(distance > 0, gaps[ring + 1], gaps[ring])
    reach = np.minimum(np.minimum(WIDEST * radii[ring], PART_OF_GAP * gap), DEVIATIONS * deviation)
    near = np.abs(distance) < reach
    alone = np.minimum(gaps[1:], gaps[:-1])[ring] > CROWDED * min(deviation, 1.0)
    if np.isfinite(deviation) and (near & alone).sum() > ENOUGH_ALONE * near.sum():
        near &= alone
    return np.where(near, ring, -1)


def _tukey(error: Float64) -> Float64:
    """Weights of errors in standard deviations."""
    return np.asarray(np.clip(1 - (error / TUKEY) ** 2, 0.0, None) ** 2)


class _Terms:
    """The unknowns of the equation, in units in which they are about 1, and their columns.

    These are xx, xy and yy of the metric, c_x and c_y, and the depth.
    """

    def __init__(self, points: RingPoints, start: RingMetric) -> None:
        self._size = size = start.pixel_size**2
        x, y = points.x, points.y
        depth = np.full(len(points), DEPTH_ERROR)
        columns = [size * x * x, size * 2 * x * y, size * y * y, size * x, size * y, depth]
        self._columns = np.stack(columns, axis=1)

    def equations(
        self, goal: Float64, weight: Float64, deviation: float, *, group: NDArray[np.int64]
    ) -> NormalEquations:
        """Normal equations of points with the goal q² (n,), a weight, and the deviation of |q| in Å⁻¹."""
        part = weight / (4 * goal * deviation**2)
        return NormalEquations.of(self._columns, goal, part, group=group, prior=self._prior())

    def _prior(self) -> tuple[Float64, Float64]:
        """What is known beforehand of centre and depth, and nothing of the metric, on the diagonal."""
        of_centre = (2 * CENTRE_ERROR) ** -2.0
        diagonal = np.array([0.0, 0.0, 0.0, of_centre, of_centre, 1.0])
        mean = np.array([0.0, 0.0, 0.0, 0.0, 0.0, DEPTH / DEPTH_ERROR])
        return diagonal, diagonal * mean

    def read(self, solution: Float64) -> tuple[RingMetric, tuple[float, float], float]:
        """Metric, centre in px and depth in Å⁻² of a solution (6,)."""
        xx, xy, yy, c_x, c_y = (float(value) * self._size for value in solution[:5])
        # d'Md + c.d is (d - m)'M(d - m) up to a constant, with m = -M⁻¹c / 2
        m_x, m_y = -0.5 * np.linalg.solve(np.array([[xx, xy], [xy, yy]]), np.array([c_x, c_y]))
        return RingMetric(xx, xy, yy), (float(m_x), float(m_y)), float(solution[-1]) * DEPTH_ERROR
