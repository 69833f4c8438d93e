"""Scans whose calibration is known, for the tests of it: peaks drawn out by an ellipse, around a beam that wanders."""

from __future__ import annotations

import numpy as np

from napari_stem_orient.calibration.rings import crystal_rings
from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.simulation.grains import Polycrystal, make_polycrystal
from napari_stem_orient.simulation.polycrystal import simulate_bragg_peaks

TRUE = Calibration(
    voltage_kv=300.0,
    pixel_size_inv_angstrom=0.025,
    ellipse_ratio=1.02,
    ellipse_angle_deg=30.0,
    scan_step_nm=5.0,
    convergence_angle_mrad=1.5,
)


def distorted_scan(
    *,
    calibration: Calibration = TRUE,
    crystal: str = "Ni",
    scan_shape: tuple[int, int] = (16, 16),
    n_grains: int = 12,
    n_spurious: float = 1.0,
    seed: int = 0,
) -> tuple[BraggPeaks, Polycrystal]:
    """Peaks of a polycrystal under a true calibration, as detectors find them; and the truth."""
    truth = make_polycrystal(
        [load_crystal(crystal)],
        scan_shape=scan_shape,
        n_grains=n_grains,
        calibration=calibration,
        drift_px=3.0,
        bend_deg=2.0,
        vacuum=False,
        seed=seed,
    )
    size = calibration.pixel_size_inv_angstrom or 0.025
    peaks = simulate_bragg_peaks(
        truth,
        minimum_relative_intensity=0.05,
        position_noise_inv_angstrom=0.1 * size,
        intensity_noise=0.3,
        n_spurious=n_spurious,
        seed=seed,
    )
    return peaks, truth


def miscalibrated(peaks: BraggPeaks, *, scale: float = 1.01) -> BraggPeaks:
    """The same peaks as one has them at first: no ellipse, a pixel size that is off, the middle for an origin."""
    size = peaks.calibration.pixel_size_inv_angstrom or 0.025
    wrong = peaks.calibration.updated(
        ellipse_ratio=1.0, ellipse_angle_deg=0.0, pixel_size_inv_angstrom=scale * size, origin_px=(64.0, 63.0)
    )
    return peaks.with_calibration(wrong, origin_px=np.array([64.0, 63.0]))


def with_strong_disks(
    peaks: BraggPeaks, *, share: float, jitter_px: float = 0.05, seed: int = 0
) -> BraggPeaks:
    """The same peaks, with a disk twice as strong 6 px beside the direct beam at a share of the positions.

    Everything at a position is moved by a jitter, as where the beam is not quite steady.
    """
    rng = np.random.default_rng(seed)
    lists = []
    for position, start in enumerate(peaks.offsets[:-1]):
        part = slice(int(start), int(peaks.offsets[position + 1]))
        points = np.stack([peaks.x_px[part], peaks.y_px[part], peaks.intensity[part]], axis=1)
        points[:, :2] += rng.normal(0, jitter_px, 2)
        if rng.random() < share:
            beam = points[np.argmin(np.hypot(*(points[:, :2] - peaks.origin_px[position, ::-1]).T))]
            points = np.vstack([points, beam + np.array([4.5, -4.0, beam[2]])])
        lists.append(points)
    flat = np.concatenate(lists)
    block = BraggPeaks(
        x_px=flat[:, 0],
        y_px=flat[:, 1],
        intensity=flat[:, 2],
        offsets=np.concatenate([[0], np.cumsum([len(part) for part in lists])]),
        scan_shape=peaks.scan_shape,
        calibration=peaks.calibration,
        detector_shape=peaks.detector_shape,
    )
    return block.with_calibration(peaks.calibration, origin_px=peaks.origin_px)


def ring_pattern(calibration: Calibration, *, counts: float = 3.0, seed: int = 0) -> np.ndarray:
    """(96, 96) counts of a powder of gold: direct beam, smooth background and rings, with counting noise."""
    y, x = np.indices((96, 96))
    q = np.hypot(*calibration.pixels_to_q(x, y))
    rings = crystal_rings(load_crystal("Au"), q_max=2.0)
    expected = 2000 * np.exp(-((q / 0.04) ** 2)) + 30 / (1 + (q / 0.15) ** 2.5)
    for radius, strength in zip(rings.q, rings.intensity, strict=True):
        expected += 60 * strength * np.exp(-0.5 * ((q - radius) / 0.022) ** 2)
    return np.random.default_rng(seed).poisson(counts * expected)
