"""The quantities of a calibration as numbers that were measured, or that it has without anybody knowing how well."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.calibration.measured import Measurand, Measured
from napari_stem_orient.core.calibration import Calibration, Quantity

#: The number that stands for each quantity: what begins its line.
MEASURAND: dict[Quantity, Measurand] = {
    "origin": Measurand.ORIGIN_ROW,
    "ellipse": Measurand.ELLIPSE_RATIO,
    "pixel size": Measurand.PIXEL_SIZE,
    "rotation": Measurand.ROTATION,
}

#: What belongs to the scan and not to its detector, by the field of a calibration, with its unit.
OF_SCAN: dict[str, tuple[Measurand, str]] = {
    "voltage_kv": (Measurand.VOLTAGE, "kV"),
    "scan_step_nm": (Measurand.SCAN_STEP, "nm"),
    "scan_step_y_nm": (Measurand.SCAN_STEP_DOWN, "nm"),
    "convergence_angle_mrad": (Measurand.CONVERGENCE, "mrad"),
    "precession_angle_deg": (Measurand.PRECESSION, "°"),
}

#: A pixel size farther than this part from the known one is for the user to confirm: camera lengths are mostly right
#: to a few percent, and Cu on the rings of Al is 11 % off.
FAR_OFF = 0.06


def measured_pixel_size(size: float, error: float, known: float | None) -> Measured:
    """A pixel size in 1/Å with its standard error, and what was known before."""
    return Measured(Measurand.PIXEL_SIZE, size, error, "1/Å", known)


def measured_ellipse(ellipse: tuple[float, float], strain_error: float) -> tuple[Measured, Measured]:
    """Ratio and direction in degrees of an ellipse, with the errors that follow from that of its strain."""
    ratio, angle = ellipse
    size = math.log(ratio)
    angle_error = math.degrees(strain_error / size) / 2 if size > 0 else math.inf
    return (
        Measured(Measurand.ELLIPSE_RATIO, ratio, ratio * strain_error),
        Measured(Measurand.ELLIPSE_ANGLE, angle, angle_error, "°"),
    )


def strain_error(samples: Sequence[tuple[float, float]]) -> float:
    """Standard deviation of ellipses given as `RingMetric.strain`, along either direction."""
    return float(np.sqrt(np.mean(np.var(np.asarray(samples), axis=0))))


def is_far_off(size: float, known: float | None) -> bool:
    """Whether a pixel size is another one than was known, so that the crystal may be the wrong one."""
    return known is not None and abs(math.log(size / known)) > FAR_OFF


def values_of(
    calibration: Calibration, quantity: Quantity, origin_px: NDArray[np.float32] | None = None
) -> tuple[Measured, ...]:
    """What a calibration has for a quantity, without errors; nothing where it does not know it.

    Parameters
    ----------
    calibration
        Of the peaks, or from a file.
    quantity
        Which one.
    origin_px
        (n_positions, 2), row and column of the direct beam in px, where it is known for each position.
    """
    if quantity == "origin":
        return _origin(calibration, origin_px)
    if quantity == "pixel size":
        size = calibration.pixel_size_inv_angstrom
        return () if size is None else (Measured(Measurand.PIXEL_SIZE, size, unit="1/Å"),)
    if quantity == "ellipse":
        return (
            Measured(Measurand.ELLIPSE_RATIO, calibration.ellipse_ratio),
            Measured(Measurand.ELLIPSE_ANGLE, calibration.ellipse_angle_deg, unit="°"),
        )
    return (
        Measured(Measurand.ROTATION, calibration.scan_rotation_deg, unit="°"),
        Measured(Measurand.MIRRORED, float(calibration.flip)),
    )


def values_of_scan(calibration: Calibration, fields: Collection[str]) -> tuple[Measured, ...]:
    """What a calibration has for some fields that belong to the scan, such as "voltage_kv"."""
    return tuple(
        Measured(what, value, unit=unit)
        for name, (what, unit) in OF_SCAN.items()
        if name in fields and (value := getattr(calibration, name)) is not None
    )


def _origin(calibration: Calibration, origin_px: NDArray[np.float32] | None) -> tuple[Measured, ...]:
    wanders: tuple[Measured, ...] = ()
    place = calibration.origin_px
    if origin_px is not None and len(origin_px):
        row, column = np.median(origin_px, axis=0)
        place = float(row), float(column)
        reach = float(np.hypot(*np.ptp(origin_px, axis=0)))
        wanders = (Measured(Measurand.ORIGIN_WANDERS, reach, unit="px"),)
    if place is None:
        return ()
    row_and_column = (Measurand.ORIGIN_ROW, place[0]), (Measurand.ORIGIN_COLUMN, place[1])
    return (*(Measured(what, value, unit="px") for what, value in row_and_column), *wanders)
