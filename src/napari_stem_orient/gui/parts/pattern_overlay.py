"""What is drawn over a diffraction pattern: detected disks and simulated reflections in detector pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_stem_orient.detection.rejected_maxima import Explained

if TYPE_CHECKING:
    from napari_stem_orient.core.bragg_peaks import BraggPeaks, DetectedBlock
    from napari_stem_orient.core.calibration import Calibration
    from napari_stem_orient.core.crystal import Crystal
    from napari_stem_orient.core.datacube import DataCube
    from napari_stem_orient.detection.probe import ProbeTemplate
    from napari_stem_orient.detection.rejected_maxima import RejectedMaxima

Q_MAX_LIMIT = 3.0
"""Largest q in Å⁻¹ that is simulated, however far out the detector reaches."""

WEAKEST_SHOWN = 2e-3
"""Reflections weaker than this, relative to the crystal's strongest in any orientation, are drawn in disks only."""

WEAKEST_IN_A_DISK = 1e-7
LARGEST_EXCITATION_ERROR = 0.08
"""In a detected disk, reflections are drawn that are as weak, and as far from the Ewald sphere in Å⁻¹, as this.

They are what explains the disk: multiple scattering makes reflections visible that single scattering leaves dark.
"""

_FALLBACK_RADIUS_PX = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Disks:
    """Detected disks of one pattern: x_px, y_px and intensity (n,), and their one radius in px.

    ``significance`` (n,) in σ is None, or NaN, where nobody knows; ``rejected`` are maxima that are no disks, where a
    preview tells them.
    """

    x_px: NDArray[np.float32]
    y_px: NDArray[np.float32]
    intensity: NDArray[np.float32]
    radius_px: float
    significance: NDArray[np.float32] | None = None
    rejected: RejectedMaxima | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Reflections:
    """Simulated reflections of one solution on the detector.

    x_px, y_px (m,) in px; intensity (m,) relative to the strongest of the pattern; hkl (m, 3); excitation_error (m,) in
    Å⁻¹; q (m,) length in Å⁻¹.
    """

    x_px: NDArray[np.float64]
    y_px: NDArray[np.float64]
    intensity: NDArray[np.float32]
    hkl: NDArray[np.int64]
    excitation_error: NDArray[np.float32]
    q: NDArray[np.float32]


def simulated_reflections(
    crystal: Crystal,
    quaternion: ArrayLike,
    *,
    calibration: Calibration,
    origin_px: ArrayLike,
    detector_shape: tuple[int, int] | None = None,
    disks: Disks | None = None,
) -> Reflections | None:
    """Return the kinematic pattern of a solution where it falls on the raw detector, or None where that is unknown.

    Origin, ellipse, pixel size, flip and rotation are applied backwards, so the picture itself stays untouched.

    Parameters
    ----------
    quaternion : (4,); sample to crystal, scalar first
    calibration : without voltage or pixel size nothing can be simulated
    origin_px : (2,) row and column of the direct beam of this pattern
    detector_shape : (det_y, det_x); reflections outside are left out
    disks : what was detected; a weak reflection is shown where it lies in one that holds no strong one
    """
    from napari_stem_orient.simulation.kinematic import simulate_pattern  # torch: a second at first

    if calibration.missing_for_indexing():
        return None
    pattern = simulate_pattern(
        crystal,
        quaternion,
        voltage_kv=calibration.voltage_kv or 0.0,
        q_max=largest_q(calibration, origin_px, detector_shape),
        precession_angle_deg=calibration.precession_angle_deg,
        minimum_intensity=WEAKEST_SHOWN if disks is None else WEAKEST_IN_A_DISK,
    )
    x_px, y_px = calibration.q_to_pixels(pattern.q_x, pattern.q_y, origin_px=np.asarray(origin_px))
    inside = _on_detector(x_px, y_px, detector_shape)
    if disks is not None:
        strong = pattern.intensity >= WEAKEST_SHOWN
        near = np.abs(pattern.excitation_error) <= LARGEST_EXCITATION_ERROR
        inside &= strong | (near & _in_an_empty_disk(x_px, y_px, disks, strong=strong))
    intensity = pattern.intensity[inside]
    return Reflections(
        x_px=x_px[inside],
        y_px=y_px[inside],
        intensity=intensity / max(float(intensity.max(initial=0)), 1e-9),
        hkl=crystal.quoted_indices(pattern.hkl[inside]),
        excitation_error=pattern.excitation_error[inside],
        q=np.hypot(pattern.q_x, pattern.q_y)[inside],
    )


def largest_q(
    calibration: Calibration, origin_px: ArrayLike, detector_shape: tuple[int, int] | None
) -> float:
    """Return how far out in Å⁻¹ the detector's corners lie, in steps of 0.1 so that simulators are used again."""
    if detector_shape is None:
        return 1.5
    rows, columns = detector_shape
    corner_x, corner_y = np.meshgrid([0.0, columns - 1.0], [0.0, rows - 1.0])
    q_x, q_y = calibration.pixels_to_q(corner_x, corner_y, origin_px=np.asarray(origin_px))
    reach = np.ceil(10 * float(np.hypot(q_x, q_y).max())) / 10
    return float(np.clip(reach, 0.5, Q_MAX_LIMIT))


def detected_disks(peaks: BraggPeaks, position: tuple[int, int], *, radius_px: float) -> Disks:
    """Return the disks that were detected at a scan position (y, x)."""
    x_px, y_px, intensity = peaks.pixels_at(*position).T
    number = position[0] * peaks.scan_shape[1] + position[1]
    significance = peaks.significance[peaks.offsets[number] : peaks.offsets[number + 1]]
    return Disks(x_px, y_px, intensity, radius_px, significance)


def preview_disks(block: DetectedBlock, *, radius_px: float) -> Disks:
    """Return the disks of a preview, a block of one position, with the maxima left out where it tells them."""
    rejected = block.rejected if isinstance(block, Explained) else None
    return Disks(block.x_px, block.y_px, block.intensity, radius_px, block.significance, rejected)


def disk_text(disks: Disks, index: int) -> str:
    """Return what is said of a disk: its intensity, and how far it stands out of noise."""
    text = f"Disk of {float(disks.intensity[index]):,.4g} counts"
    significance = np.nan if disks.significance is None else float(disks.significance[index])
    return text if np.isnan(significance) else f"{text}, {significance:.1f} σ"


def disk_radius_px(probe: ProbeTemplate | None, calibration: Calibration) -> float:
    """Return the true radius of the disks in px: of the probe in use, else from the convergence angle."""
    if probe is not None:
        return probe.radius_px
    if calibration.convergence_angle_mrad and not calibration.missing_for_indexing():
        return calibration.disk_radius_px()
    return _FALLBACK_RADIUS_PX


def pattern_origin_px(
    position: tuple[int, int] | None,
    *,
    peaks: BraggPeaks | None,
    calibration: Calibration,
    detector_shape: tuple[int, int],
) -> tuple[float, float]:
    """Return (row, column) in px of the direct beam of one pattern: fitted there, else calibrated, else the middle.

    Parameters
    ----------
    position : scan (y, x); None for the mean pattern
    """
    if peaks is not None and peaks.origin_px is not None:
        origin = peaks.origin_px.mean(axis=0) if position is None else peaks.origin_at(*position)
        return float(origin[0]), float(origin[1])
    for known in (None if peaks is None else peaks.calibration.origin_px, calibration.origin_px):
        if known is not None:
            return known
    return (detector_shape[0] - 1) / 2, (detector_shape[1] - 1) / 2


def detector_shape_of(datacube: DataCube | None, peaks: BraggPeaks | None) -> tuple[int, int] | None:
    """Return (det_y, det_x) of the scan, or, where there are peaks only, of a detector that holds them all."""
    if datacube is not None:
        return datacube.detector_shape
    if peaks is None:
        return None
    if peaks.detector_shape is not None:
        return peaks.detector_shape
    return tuple(int(np.ceil(values.max(initial=0.0))) + 2 for values in (peaks.y_px, peaks.x_px))  # type: ignore[return-value]


def reflection_text(reflections: Reflections, index: int) -> str:
    """Return what is said of a reflection: hkl, spacing, excitation error and relative intensity."""
    return (
        f"{hkl_text(reflections, index)} · d {1 / float(reflections.q[index]):.3f} Å · "
        f"s {float(reflections.excitation_error[index]):+.3f} Å⁻¹ · I {float(reflections.intensity[index]):.2f}"
    )


def hkl_text(reflections: Reflections, index: int) -> str:
    """Return the indices of a reflection, with a bar (U+0304) over negative ones."""
    return " ".join(f"{abs(int(i))}" + ("\u0304" if i < 0 else "") for i in reflections.hkl[index])


def _in_an_empty_disk(
    x_px: NDArray[np.float64], y_px: NDArray[np.float64], disks: Disks, *, strong: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return which reflections lie in a disk that holds no strong one, (m,) bool."""
    in_disk = np.hypot(x_px[:, None] - disks.x_px, y_px[:, None] - disks.y_px) <= disks.radius_px
    empty = ~in_disk[strong].any(axis=0)
    found: NDArray[np.bool_] = in_disk[:, empty].any(axis=1)
    return found


def _on_detector(
    x_px: NDArray[np.float64], y_px: NDArray[np.float64], detector_shape: tuple[int, int] | None
) -> NDArray[np.bool_]:
    if detector_shape is None:
        return np.ones(x_px.shape, dtype=bool)
    rows, columns = detector_shape
    return (x_px > -0.5) & (y_px > -0.5) & (x_px < columns - 0.5) & (y_px < rows - 0.5)
