"""What is known of each quantity of a calibration, and whether it was measured, entered or is missing."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.calibration import Calibration, Quantity

if TYPE_CHECKING:
    from napari_stem_orient.session.calibrated import CalibrationChange


class Status(Enum):
    """Where a quantity comes from; the value is the word shown to the user."""

    UNKNOWN = "unknown"
    ENTERED = "not checked"
    CALIBRATED = "calibrated"


def status_of(calibration: Calibration, quantity: Quantity) -> Status:
    """Say whether a quantity is calibrated, only entered or read from a file, or unknown."""
    if quantity in calibration.checked:
        return Status.CALIBRATED
    unknown = Calibration()
    return Status.ENTERED if calibration.differs_in(unknown, quantity) else Status.UNKNOWN


def quantity_text(calibration: Calibration, quantity: Quantity, origin_px: NDArray[np.float32] | None) -> str:
    """Say what a quantity is, with its unit; "unknown" where nobody knows.

    Parameters
    ----------
    origin_px
        (n_positions, 2), row and column of the direct beam in px, where it is known for each position.
    """
    if quantity == "origin":
        return _origin_text(calibration, origin_px)
    if quantity == "pixel size":
        size = calibration.pixel_size_inv_angstrom
        return "unknown" if size is None else f"{size:.5g} 1/Å"
    if quantity == "ellipse":
        ratio = calibration.ellipse_ratio
        return "none" if ratio == 1 else f"ratio {ratio:.4f} at {calibration.ellipse_angle_deg:.1f}°"
    mirrored = ", mirrored" if calibration.flip else ""
    return f"{calibration.scan_rotation_deg:.4g}°{mirrored}"


def _origin_text(calibration: Calibration, origin_px: NDArray[np.float32] | None) -> str:
    if origin_px is None or not len(origin_px):
        origin = calibration.origin_px
        return "unknown" if origin is None else f"row {origin[0]:.2f}, column {origin[1]:.2f} px"
    row, column = np.median(origin_px, axis=0)
    reach = float(np.hypot(*np.ptp(origin_px, axis=0)))
    return f"row {row:.2f}, column {column:.2f} px" + (f", wanders {reach:.2g} px" if reach > 0.005 else "")


ASSUMED: dict[Quantity, str] = {"ellipse": "a circle", "rotation": "0°"}
"""What is taken where nobody knows better."""

LINE_TITLES: dict[Quantity, str] = {
    "origin": "Direct beam",
    "ellipse": "Ellipse",
    "pixel size": "Pixel size",
    "rotation": "Rotation",
}
"""The line of a fit that tells each quantity."""


def known_text(
    calibration: Calibration,
    quantity: Quantity,
    origin_px: NDArray[np.float32] | None,
    steps: Sequence[CalibrationChange],
) -> str:
    """Say what a quantity is: in the words of the fit that found it, with the uncertainty, while it is in force."""
    for step in reversed(steps):
        then = step.state
        if then.calibration.differs_in(calibration, quantity):
            break
        if quantity == "origin" and not _same_origins(then.origin_px, origin_px):
            break
        told = [text for title, text in step.lines if title == LINE_TITLES[quantity]]
        if told and quantity in then.calibration.checked:
            return told[0].replace(" px ±", " ±")
    text = quantity_text(calibration, quantity, origin_px)
    if quantity in ASSUMED and status_of(calibration, quantity) is Status.UNKNOWN:
        return f"unknown, taken as {ASSUMED[quantity]}"
    return text


def _same_origins(one: NDArray[np.float32] | None, other: NDArray[np.float32] | None) -> bool:
    if one is None or other is None:
        return one is other
    return bool(np.array_equal(one, other))
