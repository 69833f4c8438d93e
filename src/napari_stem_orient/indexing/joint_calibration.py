"""Pixel size, ellipse and origin from the indexed disks of a scan, together with its orientations."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from napari_stem_orient.calibration.fit import CalibrationFit
from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.core.progress import Progress


@dataclass(frozen=True, slots=True)
class RefinementStep:
    """How far a refinement is, and what it does now, in words."""

    progress: Progress
    note: str


@dataclass(frozen=True, slots=True, eq=False)
class JointCalibration:
    """A calibration refined from the indexed disks, and by how much it is better.

    Attributes
    ----------
    fit : the refined calibration; its lines tell before and after
    score_before, score_after : mean score of the patterns that were used, 0 to 1
    residual_before, residual_after : root mean square distance of disks from their reflections in Å⁻¹
    n_positions, n_disks : how many patterns and disks were used
    """

    fit: CalibrationFit
    score_before: float
    score_after: float
    residual_before: float
    residual_after: float
    n_positions: int
    n_disks: int


def refine_calibration(
    peaks: BraggPeaks, orientation_map: OrientationMap, *, device: str = "auto"
) -> Generator[RefinementStep, None, JointCalibration]:
    """Refine pixel size, ellipse and origin from the disks that the orientation map explains."""
    raise NotImplementedError
    yield
