"""Pictures of all disks of a scan at once: the Bragg vector map and the radial histogram."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.bragg_peaks import BraggPeaks

Float64 = NDArray[np.float64]

#: A faint disk counts almost like a strong one: intensities are taken to this power.
INTENSITY_EXPONENT = 0.25

#: Disks nearer to the origin than this, in px, are the direct beam.
DIRECT_BEAM_PX = 3.0

#: Pictures reach as far as this part of all disks lies.
REACH = 0.995


@dataclass(frozen=True, slots=True, eq=False)
class BraggVectorMap:
    """Intensity of all disks of a scan over reciprocal space, or over the detector.

    Attributes
    ----------
    image : (size, size) float32; row along y, column along x; (size / 2, size / 2) is the direct beam
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
    intensity : (bins,) float64; their intensities to the power 1/4, each pattern's strongest disk 1
    units : "1/Å" or "px"
    """

    q: Float64
    counts: Float64
    intensity: Float64
    units: str


def bragg_vector_map(peaks: BraggPeaks, *, size: int = 256, calibrated: bool = True) -> BraggVectorMap:
    """All disks of a scan in one picture, without the direct beam.

    Parameters
    ----------
    peaks
        Of a whole scan.
    size
        Rows and columns of the picture.
    calibrated
        In the sample's frame, with ellipse, pixel size and rotation; or in detector pixels from the direct beam.
    """
    x, y, units = scattering_vectors(peaks) if calibrated else (*beam_offsets(peaks), "px")
    kept = away_from_the_beam(peaks)
    x, y, weight = x[kept], y[kept], disk_weights(peaks)[kept]
    reach = _reach(np.maximum(np.abs(x), np.abs(y)))
    image = np.histogram2d(y, x, bins=size, range=((-reach, reach), (-reach, reach)), weights=weight)[0]
    return BraggVectorMap(image.astype(np.float32), (-reach, reach, -reach, reach), units)


def radial_histogram(peaks: BraggPeaks, *, bins: int = 400) -> RadialHistogram:
    """Histogram of the distances of all disks but the direct beam's, with the calibration that the peaks have."""
    x, y, units = scattering_vectors(peaks)
    kept = away_from_the_beam(peaks)
    q, weight = np.hypot(x, y)[kept], disk_weights(peaks)[kept]
    edges = np.linspace(0.0, _reach(q), bins + 1)
    counts = np.histogram(q, bins=edges)[0].astype(np.float64)
    intensity = np.histogram(q, bins=edges, weights=weight)[0]
    return RadialHistogram((edges[1:] + edges[:-1]) / 2, counts, intensity, units)


def scattering_vectors(peaks: BraggPeaks) -> tuple[Float64, Float64, str]:
    """q_x, q_y (n,) of all disks and their unit: 1/Å, or px where the pixel size is not known."""
    units = "px" if peaks.calibration.pixel_size_inv_angstrom is None else "1/Å"
    return peaks.q_x.astype(np.float64), peaks.q_y.astype(np.float64), units


def beam_offsets(peaks: BraggPeaks) -> tuple[Float64, Float64]:
    """Offsets x, y (n,) in px of all disks from the direct beam of their position: columns and rows of the detector."""
    if peaks.origin_px is None:
        row, column = (float(value) for value in peaks.origin_at(0, 0))
        return peaks.x_px.astype(np.float64) - column, peaks.y_px.astype(np.float64) - row
    origin = np.repeat(peaks.origin_px.astype(np.float64), peaks.counts(), axis=0)
    return peaks.x_px - origin[:, 1], peaks.y_px - origin[:, 0]


def away_from_the_beam(peaks: BraggPeaks) -> NDArray[np.bool_]:
    """(n,) bool: the disks that are not the direct beam."""
    return np.asarray(np.hypot(*beam_offsets(peaks)) > DIRECT_BEAM_PX)


def disk_weights(peaks: BraggPeaks) -> Float64:
    """(n,) weights of all disks: intensity relative to the strongest but the direct beam, to the power 1/4."""
    counts = peaks.counts()
    position = np.repeat(np.arange(peaks.n_positions), counts)
    diffracted = np.where(away_from_the_beam(peaks), peaks.intensity, 0.0)
    strongest = np.zeros(peaks.n_positions)
    np.maximum.at(strongest, position, diffracted)
    relative = peaks.intensity / np.maximum(strongest[position], 1e-30)
    return np.asarray(np.clip(relative, 0.0, 1.0) ** INTENSITY_EXPONENT)


def _reach(distance: Float64) -> float:
    return float(np.quantile(distance, REACH)) * 1.02 if len(distance) else 1.0
