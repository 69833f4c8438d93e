"""What the dock of the virtual detectors gives to its jobs: snapshots of the scan, and where its direct beam is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.scan_summary import direct_beam_disk
from napari_stem_orient.steps.detect import DetectChoice
from napari_stem_orient.steps.mask import Mask
from napari_stem_orient.steps.virtual import VirtualChoice, VirtualScene, known_beam, region_text
from napari_stem_orient.virtual.detector import VirtualDetector

if TYPE_CHECKING:
    from napari_stem_orient.session.session import Session

FALLBACK_RADIUS_PX = 3.0
LARGEST_SEARCHED_PX = 320


def virtual_scene(session: Session) -> VirtualScene | None:
    """Take a snapshot of what is open; None without a scan."""
    origins = scan_origins(session)
    if session.datacube is None or origins is None:
        return None
    return VirtualScene(session.datacube, origins, session.detector_mask)


def virtual_choice(session: Session, detectors: tuple[VirtualDetector, ...]) -> VirtualChoice:
    """The choice of images of some detectors, with the mask of the detection."""
    return VirtualChoice(detectors=detectors, mask=session.state.choice(DetectChoice).mask)


def region_choice(session: Session, region: Mask) -> VirtualChoice:
    """The choice of the pattern of a region (scan_y, scan_x), with the mask of the detection."""
    return VirtualChoice(region=region_text(region), mask=session.state.choice(DetectChoice).mask)


def scan_origins(session: Session) -> NDArray[np.float64] | None:
    """Row and column of the direct beam in px, (2,) or, where peaks know it at every position, (n_positions, 2).

    Of the peaks, else of the calibration, else the brightest disk of the mean pattern, else the middle of the detector;
    None without a scan.
    """
    datacube = session.datacube
    if datacube is None:
        return None
    known = known_beam(datacube, session.peaks)
    if known is not None:
        return known
    if session.mean_pattern is not None and session.mean_pattern.shape == datacube.detector_shape:
        return np.asarray(_brightest_disk(session.mean_pattern, session.detector_mask)[:2])
    return (np.asarray(datacube.detector_shape, dtype=np.float64) - 1) / 2


def origin_at(
    origins: NDArray[np.float64], position: tuple[int, int] | None, scan_shape: tuple[int, int]
) -> tuple[float, float]:
    """Row and column of the direct beam at a scan position (y, x) in px; their mean for None."""
    rows = origins.reshape(-1, 2)
    if position is None or len(rows) == 1:
        row, column = rows.mean(axis=0)
    else:
        row, column = rows[position[0] * scan_shape[1] + position[1]]
    return float(row), float(column)


def beam_radius_px(session: Session) -> float:
    """Radius of the direct beam in px: of the probe template, of the convergence angle, or in the mean pattern."""
    calibration = session.calibration
    if session.probe is not None:
        return max(session.probe.radius_px, 0.5)
    if calibration is not None and calibration.convergence_angle_mrad:
        try:
            return max(calibration.disk_radius_px(), 0.5)
        except ValueError:
            pass  # voltage or pixel size are not known
    if session.mean_pattern is not None:
        return max(_brightest_disk(session.mean_pattern, session.detector_mask)[2], 0.5)
    return FALLBACK_RADIUS_PX


def _brightest_disk(
    pattern: NDArray[np.float32], mask: NDArray[np.bool_] | None
) -> tuple[float, float, float]:
    """Row, column and radius in px of the brightest disk, from every few pixels of a large pattern: it takes ms."""
    every = math.ceil(max(pattern.shape) / LARGEST_SEARCHED_PX)
    mask = None if mask is None or mask.shape != pattern.shape else mask[::every, ::every]
    row, column, radius = direct_beam_disk(pattern[::every, ::every], mask=mask)
    return every * row, every * column, every * radius
