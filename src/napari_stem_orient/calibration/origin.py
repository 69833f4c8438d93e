"""The direct beam over the scan: measured at every position, then fitted."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from napari_stem_orient.calibration.fit import CalibrationFit
from napari_stem_orient.calibration.measured import Doubt, DoubtKind, Measurand, Measured
from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.errors import UserError
from napari_stem_orient.detection.origin import follow_origin

OriginModel = Literal["constant", "plane", "parabola", "measured"]

#: Degree of the surface through the measured places. "measured" looks for the beam around a plane.
DEGREES = {"constant": 0, "plane": 1, "parabola": 2, "measured": 1}

#: Less than this share of the positions with the direct beam where it should be: it is doubtful.
FEW = 0.5


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
    """(n_positions, 2) float32; row and column in px where the direct beam was found, NaN where it was not.

    Strong disks that were taken for it are left out: what lies far off the parabola through the others.
    """
    _, measured, weight = follow_origin(peaks, degree=DEGREES["parabola"])
    return np.where(weight[:, None] > 0, measured, np.nan).astype(np.float32)


def fit_origins(peaks: BraggPeaks, *, parameters: OriginParameters | None = None) -> CalibrationFit:
    """Where the direct beam is at every position.

    It is looked for among the peaks of every position, and a surface is fitted through where it was found; strong
    disks taken for it are outliers, which Tukey's weights leave out. The surface averages the scatter of the single
    measurements away; "measured" keeps them, for beams that jump.

    Raises
    ------
    ValueError
        Where no position has a peak near the middle of the detector.
    """
    model = (parameters or OriginParameters()).model
    fitted, measured, weight = follow_origin(peaks, degree=DEGREES[model])
    used = weight > 0
    if not used.any():
        raise UserError(
            "no direct beam is among the peaks",
            fix="detect without a beam stop, or enter the origin, index with it and refine it from the map",
            field="origin_px",
        )
    origin = np.where(used[:, None], measured, fitted) if model == "measured" else fitted
    mean = origin.mean(axis=0)
    calibration = peaks.calibration.updated(origin_px=(float(mean[0]), float(mean[1])))
    found = np.isfinite(measured[:, 0])
    scatter = np.sqrt(np.mean((measured[used] - fitted[used]) ** 2))
    low, high = origin.min(axis=0), origin.max(axis=0)
    error, share = _error_of_surface(scatter, used, model), float(used.mean())
    told = (
        Measured(Measurand.ORIGIN_ROW, float(mean[0]), error, "px"),
        Measured(Measurand.ORIGIN_COLUMN, float(mean[1]), error, "px"),
        Measured(Measurand.ORIGIN_WANDERS_ROWS, float(high[0] - low[0]), unit="px"),
        Measured(Measurand.ORIGIN_WANDERS_COLUMNS, float(high[1] - low[1]), unit="px"),
        Measured(Measurand.ORIGIN_FOUND, share),
        Measured(Measurand.ORIGIN_TAKEN_BY_ANOTHER, float((found & ~used).mean())),
        Measured(Measurand.ORIGIN_SCATTER, float(scatter), unit="px"),
    )
    return CalibrationFit(
        f"Origin ({model})",
        calibration.with_checked("origin"),
        origin.astype(np.float32),
        told,
        (Doubt(DoubtKind.BEAM_SELDOM_FOUND, share),) if share < FEW else (),
    )


def _error_of_surface(scatter: float, used: NDArray[np.bool_], model: str) -> float:
    """Standard error in px of the origin at a typical position: the scatter, averaged by the surface."""
    if model == "measured":
        return float(scatter)
    coefficients = {0: 1, 1: 3, 2: 6}[DEGREES[model]]
    return float(scatter * np.sqrt(min(1.0, coefficients / used.sum())))
