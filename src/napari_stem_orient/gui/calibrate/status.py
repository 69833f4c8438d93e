"""What is known of each quantity of a calibration, and whether it was measured, entered or is missing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.calibration.measured import find
from napari_stem_orient.calibration.measured_quantities import MEASURAND, values_of
from napari_stem_orient.calibration.words import text_of
from napari_stem_orient.core.calibration import Calibration, Quantity

if TYPE_CHECKING:
    from napari_stem_orient.session.calibration_state import CalibrationChange


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


ASSUMED: dict[Quantity, str] = {"ellipse": "a circle", "rotation": "0°"}
"""What is taken where nobody knows better."""


def known_text(
    calibration: Calibration,
    quantity: Quantity,
    origin_px: NDArray[np.float32] | None,
    changes: Sequence[CalibrationChange],
) -> str:
    """Say what a quantity is: in the words of the fit that found it, with the uncertainty, while it is in force."""
    for change in reversed(changes):
        then = change.state
        if then.calibration.differs_in(calibration, quantity):
            break
        if quantity == "origin" and not _same_origins(then.origin_px, origin_px):
            break
        told = find(change.measured, MEASURAND[quantity])
        if told is not None and math.isfinite(told.value) and quantity in then.calibration.checked:
            return text_of(change.measured, MEASURAND[quantity]) or ""
    if quantity in ASSUMED and status_of(calibration, quantity) is Status.UNKNOWN:
        return f"unknown, taken as {ASSUMED[quantity]}"
    return text_of(values_of(calibration, quantity, origin_px), MEASURAND[quantity]) or "unknown"


def _same_origins(one: NDArray[np.float32] | None, other: NDArray[np.float32] | None) -> bool:
    if one is None or other is None:
        return one is other
    return bool(np.array_equal(one, other))
