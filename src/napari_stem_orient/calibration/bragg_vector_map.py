"""Pictures of all disks of a scan at once: the Bragg vector map and the radial histogram."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.bragg_peaks import BraggPeaks


@dataclass(frozen=True, slots=True, eq=False)
class BraggVectorMap:
    """Intensity of all disks of a scan over reciprocal space, or over the detector.

    Attributes
    ----------
    image : (size, size) float32; row along y, column along x
    extent : left, right, top, bottom edge of the image, in ``units``
    units : "1/Å" or "px"
    """

    image: NDArray[np.float32]
    extent: tuple[float, float, float, float]
    units: str


@dataclass(frozen=True, slots=True, eq=False)
class RadialHistogram:
    """How many disks of a scan lie at which distance from the direct beam.

    Attributes
    ----------
    q : (bins,) float64; middles of the bins, in ``units``
    counts : (bins,) float64; disks in each bin
    intensity : (bins,) float64; their intensities to the power 1/4, each pattern's strongest 1
    units : "1/Å" or "px"
    """

    q: NDArray[np.float64]
    counts: NDArray[np.float64]
    intensity: NDArray[np.float64]
    units: str


def bragg_vector_map(peaks: BraggPeaks, *, size: int = 256, calibrated: bool = True) -> BraggVectorMap:
    """All disks of a scan in one picture: calibrated, or in detector pixels from the direct beam."""
    raise NotImplementedError


def radial_histogram(peaks: BraggPeaks, *, bins: int = 400) -> RadialHistogram:
    """Histogram of the distances of all disks but the direct beam's, with the calibration that the peaks have."""
    raise NotImplementedError
