"""What is said of a virtual detector: its radii and its place, in px, 1/Å and mrad as far as these are known."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_stem_orient.core.calibration import Calibration
    from napari_stem_orient.virtual.detector import VirtualDetector


def length_text(length_px: float, calibration: Calibration | None) -> str:
    """Return a length on the detector in the units that the calibration knows: "0.161 1/Å, 3.16 mrad"."""
    if calibration is None or calibration.pixel_size_inv_angstrom is None:
        return ""
    q = length_px * calibration.pixel_size_inv_angstrom
    text = f"{q:.3g}\u00a01/Å"  # a line never ends between a number and its unit
    if calibration.voltage_kv is None:
        return text
    return f"{text}, {1000 * q * calibration.wavelength_angstrom:.3g}\u00a0mrad"


def place_text(detector: VirtualDetector, calibration: Calibration | None) -> str:
    """Return where a detector is: on the beam, so far from it, or at a place of the detector."""
    row, column = detector.centre_px
    if not detector.follows_beam:
        return f"at row {row:.1f}, column {column:.1f} px"
    distance = math.hypot(row, column)
    if distance < 0.05:
        return "on the direct beam"
    text = f"{distance:.1f} px from the direct beam"
    if calibration is None or calibration.pixel_size_inv_angstrom is None:
        return text
    q = distance * calibration.pixel_size_inv_angstrom
    return f"{text}: {q:.3g} 1/Å, d {1 / q:.3g} Å"


def summary_text(detector: VirtualDetector, calibration: Calibration | None) -> str:
    """Return size and place of a detector in one line, for the tooltip of the list."""
    radii = f"{detector.outer_radius_px:.4g} px"
    if detector.shape == "annulus":
        radii = f"{detector.inner_radius_px:.4g} to {radii}"
    known = length_text(detector.outer_radius_px, calibration)
    size = f"radius {radii}" + (f" ({known})" if known else "")
    return f"{detector.name}: {size}, {place_text(detector, calibration)}"


def missing_text(calibration: Calibration | None) -> str:
    """Say what is missing for lengths in all units, or, without a calibration, that no scan is open."""
    if calibration is None:
        return "Needs an open scan."
    missing = calibration.missing_for_indexing()
    units = "mrad" if calibration.pixel_size_inv_angstrom is not None else "1/Å and mrad"
    return f"Missing for lengths in {units}: {', '.join(missing)}." if missing else ""
