"""CalibrationFit: what one step of the calibration found, ready to be applied, shown and undone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.calibration.measured import Doubt, Measurand, Measured, find
from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.calibration import Calibration


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationFit:
    """What a step of the calibration found; `calibration.words` tells it in sentences.

    Attributes
    ----------
    title : what was done, "Pixel size" for instance
    calibration : the whole new calibration; what was measured is in its ``checked``
    origin_px : (n_positions, 2) float32; row and column of the direct beam in px, None where one serves the whole scan
    measured : what was found, each number with error and unit
    doubts : what is not sure about it
    """

    title: str
    calibration: Calibration
    origin_px: NDArray[np.float32] | None
    measured: tuple[Measured, ...] = ()
    doubts: tuple[Doubt, ...] = ()

    def applied_to(self, peaks: BraggPeaks) -> BraggPeaks:
        """The peaks with q computed anew from what was found."""
        return peaks.with_calibration(self.calibration, origin_px=self.origin_px).with_fingerprint()

    def get(self, what: Measurand) -> Measured | None:
        """What was measured of a kind; None where it was not."""
        return find(self.measured, what)
