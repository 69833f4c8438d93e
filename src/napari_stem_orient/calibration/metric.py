"""RingMetric: the symmetric matrix that turns offsets in px into lengths in Å⁻¹, and what it means as a calibration."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_stem_orient.core.calibration import Calibration

Float64 = NDArray[np.float64]

#: Ellipses that are tried: axes' ratios of up to exp(0.12), in steps.
LARGEST_STRAIN = 0.12
STRAIN_STEP = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class RingMetric:
    """Length in Å⁻¹ of an offset d from the direct beam: q² = dᵀ M d.

    Attributes
    ----------
    xx, xy, yy : the elements of M in Å⁻² px⁻²; x is the column, y the row
    """

    xx: float
    xy: float
    yy: float

    @classmethod
    def of(cls, calibration: Calibration, *, pixel_size: float | None = None) -> RingMetric:
        """The metric of a calibration, with a pixel size in Å⁻¹ of one's own where given."""
        if pixel_size is not None:
            calibration = calibration.updated(pixel_size_inv_angstrom=pixel_size)
        matrix = calibration.detector_to_sample()
        (xx, xy), (_, yy) = matrix.T @ matrix
        return cls(float(xx), float(xy), float(yy))

    @property
    def is_positive(self) -> bool:
        """Whether all lengths are positive, as they must be."""
        return self.xx > 0 and self.xx * self.yy > self.xy**2

    @property
    def pixel_size(self) -> float:
        """Pixel size in Å⁻¹ of the circle of the same area."""
        return float(max(self.xx * self.yy - self.xy**2, 0.0) ** 0.25)

    @property
    def ellipse(self) -> tuple[float, float]:
        """Ratio of the axes of a ring on the detector, and the direction of the major one in degrees, -90 to 90."""
        values, vectors = np.linalg.eigh(np.array([[self.xx, self.xy], [self.xy, self.yy]]))
        x, y = vectors[:, 0]  # the direction in which lengths grow slowest is the ring's major axis
        ratio = math.sqrt(max(values[1] / values[0], 1.0))
        angle = math.degrees(math.atan2(y, x))
        return ratio, (angle + 90) % 180 - 90

    @property
    def strain(self) -> tuple[float, float]:
        """Logarithm of the ratio times cosine and sine of twice the angle: a vector that vanishes for a circle."""
        ratio, angle = self.ellipse
        size, turn = math.log(ratio), math.radians(2 * angle)
        return size * math.cos(turn), size * math.sin(turn)

    def squared(self, x: ArrayLike, y: ArrayLike) -> Float64:
        """Squared lengths in Å⁻² of offsets in px."""
        x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        return np.asarray(self.xx * x * x + 2 * self.xy * x * y + self.yy * y * y)

    def length(self, x: ArrayLike, y: ArrayLike) -> Float64:
        """Lengths q in Å⁻¹ of offsets in px."""
        return np.asarray(np.sqrt(np.maximum(self.squared(x, y), 0.0)))

    def scaled(self, factor: float) -> RingMetric:
        """The metric of a pixel size that is ``factor`` times as large."""
        return RingMetric(*(factor**2 * value for value in (self.xx, self.xy, self.yy)))


def metric_from_strain(strain: tuple[float, float], *, pixel_size: float) -> RingMetric:
    """The metric of an ellipse given as `RingMetric.strain`, and a pixel size in Å⁻¹."""
    size = math.hypot(*strain)
    angle = math.degrees(math.atan2(strain[1], strain[0])) / 2
    calibration = Calibration(
        pixel_size_inv_angstrom=pixel_size,
        ellipse_ratio=min(math.exp(size), 2.0),
        ellipse_angle_deg=angle,
    )
    return RingMetric.of(calibration)


def strains_to_try(start: tuple[float, float]) -> list[tuple[float, float]]:
    """Ellipses as `RingMetric.strain`: one to start from, then a grid of all that are usual, a circle among them."""
    steps = np.arange(-LARGEST_STRAIN, LARGEST_STRAIN + STRAIN_STEP / 2, STRAIN_STEP)
    return [start, *((float(a), float(b)) for a in steps for b in steps if np.hypot(a, b) <= LARGEST_STRAIN)]
