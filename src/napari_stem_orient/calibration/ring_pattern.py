"""Origin, ellipse and pixel size from one pattern with rings: a polycrystalline standard."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_stem_orient.calibration.fit import CalibrationFit
from napari_stem_orient.calibration.measured import Measurand, Measured
from napari_stem_orient.calibration.measured_quantities import (
    measured_ellipse,
    measured_pixel_size,
    strain_error,
)
from napari_stem_orient.calibration.metric import RingMetric, metric_from_strain
from napari_stem_orient.calibration.normal_equations import NormalEquations
from napari_stem_orient.calibration.ring_profile import fit_profile
from napari_stem_orient.core.calibration import Calibration, Quantity
from napari_stem_orient.core.crystal import Crystal

Float64 = NDArray[np.float64]

ROUNDS = 40

#: Sectors around the origin that are drawn anew for the uncertainties.
SECTOR_DEG = 15.0

#: Tukey's constant.
TUKEY = 4.685

#: Largest step of row and column (px) and of the strain in one round; rounds end where none moves more than this part.
LARGEST_STEP = np.array([2.0, 2.0, 0.02, 0.02])
STILL = 1e-4

#: Pixels within this many radii of the direct beam are its own.
BEAM_RADII = 3.0

#: What is smoother than this, in radii of the direct beam, is background.
SMOOTH_RADII = 2.0

#: Width of a bin of the radial mean in px.
BIN_PX = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class _Geometry:
    """Row and column of the rings' centre in px, and their ellipse as `RingMetric.strain`."""

    row: float
    column: float
    strain: tuple[float, float]

    def offsets(self, shape: tuple[int, ...]) -> tuple[Float64, Float64]:
        """Offsets x and y (h, w) in px from the centre."""
        y, x = np.indices(shape, dtype=np.float64)
        return x - self.column, y - self.row

    def radius(self, shape: tuple[int, ...]) -> Float64:
        """(h, w) distances in px from the centre, on circles of the same area."""
        return self.metric().length(*self.offsets(shape))

    def metric(self, pixel_size: float = 1.0) -> RingMetric:
        """The metric with some pixel size."""
        return metric_from_strain(self.strain, pixel_size=pixel_size)

    def moved(self, step: Float64) -> _Geometry:
        """After a step (4,) of row, column and strain."""
        strain = self.strain[0] + float(step[2]), self.strain[1] + float(step[3])
        return _Geometry(self.row + float(step[0]), self.column + float(step[1]), strain)


def fit_ring_pattern(
    image: NDArray[np.generic], crystal: Crystal, *, start: Calibration | None = None
) -> CalibrationFit:
    """Origin, ellipse and pixel size of a pattern of rings of a known crystal.

    Centre and ellipse are those about which the pattern is a function of the radius alone, found from every pixel
    (Gauss-Newton, robust to spots and dead pixels); then the radial profile is taken apart into the crystal's rings, at
    the pixel size that suits, and a background.

    Parameters
    ----------
    image
        (h, w), counts; the mean pattern of a scan of a standard for instance. Pixels that hold 0 count as not usable.
    crystal
        What it is of.
    start
        What is known already: all that is not fitted is kept, and a pixel size within 12 % of the known one is
        preferred.

    Raises
    ------
    ValueError
        Where the image is no single pattern, is empty, or shows no rings.
    """
    pattern = np.nan_to_num(np.asarray(image, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    if pattern.ndim != 2 or min(pattern.shape) < 32:
        raise ValueError(f"a pattern of at least 32 x 32 pixels is needed, not one of shape {pattern.shape}")
    if not pattern.max() > 0:
        raise ValueError("the pattern is empty: choose one with rings")
    start = start or Calibration()
    rough, beam_radius = _rough_geometry(pattern)
    inner = BEAM_RADII * beam_radius
    geometry, samples = _symmetric(pattern, rough, inner=inner, smooth_px=SMOOTH_RADII * beam_radius)
    x, y = geometry.offsets(pattern.shape)
    profile = fit_profile(
        pattern,
        geometry.radius(pattern.shape),
        np.arctan2(y, x),
        crystal,
        inner=inner,
        known=start.pixel_size_inv_angstrom,
    )
    ellipse = geometry.metric().ellipse
    error = strain_error([sample.strain for sample in samples])
    row, column = (float(np.std([getattr(sample, name) for sample in samples])) for name in ("row", "column"))
    calibration = start.updated(
        origin_px=(geometry.row, geometry.column),
        ellipse_ratio=ellipse[0],
        ellipse_angle_deg=ellipse[1],
        pixel_size_inv_angstrom=profile.pixel_size,
    )
    told = (
        Measured(Measurand.ORIGIN_ROW, geometry.row, row, "px"),
        Measured(Measurand.ORIGIN_COLUMN, geometry.column, column, "px"),
        *measured_ellipse(ellipse, error),
        measured_pixel_size(profile.pixel_size, profile.error, None),
        Measured(Measurand.RINGS, profile.n_rings),
        Measured(Measurand.PROFILE_EXPLAINED, profile.explained),
    )
    # the crystal may be another one where the pixel size is: that is for the user to confirm
    before = calibration.updated(checked=tuple(name for name in start.checked if name != "pixel size"))
    measured: tuple[Quantity, ...] = (
        ("origin", "ellipse") if profile.far_off else ("origin", "ellipse", "pixel size")
    )
    return CalibrationFit("Ring pattern", before.with_checked(*measured), None, told, profile.doubts)


def _rough_geometry(pattern: Float64) -> tuple[_Geometry, float]:
    """The brightest place as a centre, and the radius of what is half as bright there, in px."""
    smooth = ndimage.gaussian_filter(pattern, 1.5)
    peak = np.unravel_index(int(smooth.argmax()), smooth.shape)
    labels, _ = ndimage.label(smooth > 0.5 * smooth.max())
    blob = labels == labels[peak]
    row, column = ndimage.center_of_mass(blob)
    return _Geometry(float(row), float(column), (0.0, 0.0)), max(1.5, math.sqrt(blob.sum() / math.pi))


def _symmetric(
    pattern: Float64, geometry: _Geometry, *, inner: float, smooth_px: float
) -> tuple[_Geometry, list[_Geometry]]:
    """Centre and ellipse about which the rings are circles; and the same with sectors drawn anew."""
    rings, usable = _without_background(pattern, smooth_px)
    equations = None
    for _ in range(ROUNDS):
        equations = _equations(rings, usable, geometry, inner)
        step = np.clip(equations.solve(), -LARGEST_STEP, LARGEST_STEP)
        geometry = geometry.moved(step)
        if math.hypot(*geometry.strain) > math.log(1.9):
            raise ValueError("no ellipse makes circles of the pattern: does it show rings?")
        if (np.abs(step) < STILL * LARGEST_STEP).all():
            break
    assert equations is not None
    return geometry, [geometry.moved(step) for step in equations.resampled()]


def _without_background(pattern: Float64, smooth_px: float) -> tuple[Float64, NDArray[np.bool_]]:
    """Logarithm of the pattern less its smooth course, and the pixels (h, w) that are usable."""
    usable = pattern > 0
    logarithm = np.log(np.where(usable, pattern, 1.0))
    weight = ndimage.gaussian_filter(usable.astype(np.float64), smooth_px)
    smooth = ndimage.gaussian_filter(np.where(usable, logarithm, 0.0), smooth_px) / np.maximum(weight, 1e-6)
    edge = ndimage.binary_erosion(usable, iterations=2, border_value=0)
    return logarithm - smooth, edge & (weight > 0.5)


def _equations(
    rings: Float64, usable: NDArray[np.bool_], geometry: _Geometry, inner: float
) -> NormalEquations:
    """How row, column and strain would have to change so that each pixel has the mean of its radius."""
    radius = geometry.radius(rings.shape)
    inside = usable & (radius > inner)
    if not inside.any():
        raise ValueError("all of the pattern is direct beam: does it show rings?")
    x, y = (offset[inside] for offset in geometry.offsets(rings.shape))
    q, value = radius[inside], rings[inside]
    bins = np.floor(q / BIN_PX).astype(np.int64)
    count = np.maximum(np.bincount(bins), 1)
    course = ndimage.gaussian_filter1d(np.bincount(bins, weights=value) / count, 1.5)
    at = (np.arange(len(course)) + 0.5) * BIN_PX
    difference = value - np.interp(q, at, course)
    slope = np.interp(q, at, np.gradient(course, BIN_PX))
    spread = np.sqrt(np.bincount(bins, weights=difference**2) / count)[bins]
    weight = np.clip(1 - (difference / (TUKEY * np.maximum(spread, 1e-9))) ** 2, 0, None) ** 2
    weight /= np.maximum(spread, 1e-9) ** 2
    metric, angle = geometry.metric(), np.arctan2(y, x)
    columns = np.stack(
        [
            -slope * (metric.xy * x + metric.yy * y) / q,
            -slope * (metric.xx * x + metric.xy * y) / q,
            -slope * q / 2 * np.cos(2 * angle),
            -slope * q / 2 * np.sin(2 * angle),
        ],
        axis=1,
    )
    sector = np.floor((np.degrees(angle) + 180) / SECTOR_DEG).astype(np.int64)
    prior = np.array([1e-6, 1e-6, 1e-3, 1e-3])
    return NormalEquations.of(columns, difference, weight, group=sector, prior=(prior, np.zeros(4)))
