"""Ellipse and pixel size from the disks of a scan, together with the rings of a known crystal or without."""

from __future__ import annotations

from collections.abc import Sequence

from napari_stem_orient.calibration.fit import CalibrationFit
from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.crystal import Crystal


def fit_ellipse(peaks: BraggPeaks, crystals: Sequence[Crystal] = ()) -> CalibrationFit:
    """The ellipse that rings are drawn out to; without crystals, what makes the radial histogram sharpest."""
    raise NotImplementedError


def fit_pixel_size(peaks: BraggPeaks, crystals: Sequence[Crystal]) -> CalibrationFit:
    """Pixel size from the rings of known crystals, also where nothing is known to begin with."""
    raise NotImplementedError


def fit_shape(peaks: BraggPeaks, crystals: Sequence[Crystal]) -> CalibrationFit:
    """Ellipse and pixel size together from the rings of known crystals."""
    raise NotImplementedError
