"""The direct beam over the scan: measured at every position, then fitted."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from napari_stem_orient.calibration.fit import CalibrationFit
from napari_stem_orient.core.bragg_peaks import BraggPeaks

OriginModel = Literal["constant", "plane", "parabola", "measured"]


class OriginParameters(BaseModel):
    """How the direct beam is followed over the scan."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: OriginModel = Field(
        "plane",
        title="Model",
        description="constant: one place for the whole scan; plane, parabola: it wanders evenly, or in a curve, over "
        "the scan; measured: where it was found at each position, the plane where it was not",
    )


def measured_origins(peaks: BraggPeaks) -> NDArray[np.float32]:
    """(n_positions, 2) float32; row and column in px where the direct beam was found, NaN where it was not."""
    raise NotImplementedError


def fit_origins(peaks: BraggPeaks, *, parameters: OriginParameters | None = None) -> CalibrationFit:
    """Where the direct beam is at every position."""
    raise NotImplementedError
