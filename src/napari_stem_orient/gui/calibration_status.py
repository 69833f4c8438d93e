"""What is known of each quantity of a calibration, and whether it was measured, entered or is missing."""

from __future__ import annotations

from enum import Enum
from typing import get_args

from napari_stem_orient.core.calibration import Calibration, Quantity

QUANTITIES: tuple[Quantity, ...] = get_args(Quantity)

FIELDS: dict[Quantity, tuple[str, ...]] = {
    "origin": ("origin_px",),
    "ellipse": ("ellipse_ratio", "ellipse_angle_deg"),
    "pixel size": ("pixel_size_inv_angstrom",),
    "rotation": ("scan_rotation_deg", "flip"),
}
"""The fields of a Calibration that make up each quantity."""


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
    same = all(getattr(calibration, name) == getattr(unknown, name) for name in FIELDS[quantity])
    return Status.UNKNOWN if same else Status.ENTERED


def with_check(calibration: Calibration, quantity: Quantity, checked: bool) -> Calibration:
    """Copy in which a quantity counts as calibrated, or does not."""
    if checked:
        return calibration.with_checked(quantity)
    return calibration.updated(checked=tuple(q for q in calibration.checked if q != quantity))


def with_changes_unchecked(new: Calibration, old: Calibration | None) -> Calibration:
    """The new calibration, in which what differs from the old one does not count as calibrated because the old did."""
    if old is None:
        return new
    for quantity in old.checked:
        if quantity in new.checked and any(
            getattr(new, name) != getattr(old, name) for name in FIELDS[quantity]
        ):
            new = with_check(new, quantity, checked=False)
    return new


def with_measured_origin(calibration: Calibration, of_peaks: Calibration) -> Calibration:
    """A calibration for peaks: they measured the direct beam, which is better than what a file says."""
    if of_peaks.origin_px is None:
        return calibration
    calibration = calibration.updated(origin_px=of_peaks.origin_px)
    return with_check(calibration, "origin", checked="origin" in of_peaks.checked)
