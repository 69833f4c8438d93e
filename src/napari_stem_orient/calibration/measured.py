"""Measured: one number that a fit has found, with its error and unit; and Doubt: what is not sure about a fit.

Both are facts; the sentences that tell them are made in `calibration.words`, for both faces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Measurand(StrEnum):
    """What was measured."""

    ORIGIN_ROW = "row of the direct beam"
    ORIGIN_COLUMN = "column of the direct beam"
    ORIGIN_WANDERS_ROWS = "wandering of the direct beam along rows"
    ORIGIN_WANDERS_COLUMNS = "wandering of the direct beam along columns"
    ORIGIN_WANDERS = "wandering of the direct beam"
    ORIGIN_FOUND = "share of the positions where the direct beam was found"
    ORIGIN_TAKEN_BY_ANOTHER = "share of the positions with another disk in the place of the direct beam"
    ORIGIN_SCATTER = "scatter of the direct beam"
    ORIGIN_OFF_PLANE = "distance of the direct beam from its plane"
    ORIGIN_MOVED_ROWS = "shift of the direct beam along rows"
    ORIGIN_MOVED_COLUMNS = "shift of the direct beam along columns"
    PIXEL_SIZE = "pixel size"
    ELLIPSE_RATIO = "ellipse ratio"
    ELLIPSE_ANGLE = "direction of the ellipse's major axis"
    SHARPNESS = "sharpness of rings"
    ROTATION = "rotation"
    MIRRORED = "mirrored"
    DISKS = "disks"
    DISKS_ON_RINGS = "share of the disks on rings"
    RINGS = "rings"
    OFF_RINGS = "distance of disks from their rings"
    PROFILE_EXPLAINED = "share of the profile that rings explain"
    SCORE = "score"
    OFF_REFLECTIONS = "distance of disks from their reflections"
    EXPLAINED_DISKS = "explained disks"
    POSITIONS = "positions"
    VOLTAGE = "accelerating voltage"
    SCAN_STEP = "scan step"
    SCAN_STEP_DOWN = "scan step down"
    CONVERGENCE = "convergence angle"
    PRECESSION = "precession angle"


@dataclass(frozen=True, slots=True)
class Measured:
    """One number that was found.

    Attributes
    ----------
    what : was measured
    value : in `unit`; shares are from 0 to 1
    error : its standard error in `unit`; None where it is not known, or where there is none
    unit : "px", "1/Å", "°", "kV", "nm", "mrad"; empty for a ratio or a number
    before : what was known or had been before, in `unit`; None where nothing was
    """

    what: Measurand
    value: float
    error: float | None = None
    unit: str = ""
    before: float | None = None


class DoubtKind(StrEnum):
    """What may be doubtful about a fit."""

    BEAM_SELDOM_FOUND = "the direct beam was found at few positions"
    DISKS_OFF_RINGS = "the disks lie on the rings hardly better than by chance"
    RIVAL_PIXEL_SIZE = "another pixel size fits about as well"
    PIXEL_SIZE_FAR_OFF = "the pixel size is far from the known one"
    RINGS_OFF_CENTRE = "the rings' centre is not where the direct beam is, which is not calibrated"
    RINGS_OFF_CENTRE_OF_FITTED_BEAM = "the rings' centre is not where the direct beam was fitted to be"
    RINGS_DRAWN_OUT = "the rings are ellipses"
    FEW_ORIENTATIONS = "too few orientations to tell the ellipse without a crystal"
    WORSE_THAN_BEFORE = "the patterns are explained worse than before"
    NO_BETTER_THAN_BEFORE = "the patterns were explained as well before"
    OTHER_DETECTOR = "the picture has other pixels than the scan"


@dataclass(frozen=True, slots=True)
class Doubt:
    """What is not sure about a fit.

    Attributes
    ----------
    kind : what it is
    value : the number that it is about: a share (0 to 1), a ratio, px or 1/Å; None where it is about none
    sizes : two pictures, in px, where it is about their sizes
    """

    kind: DoubtKind
    value: float | None = None
    sizes: tuple[tuple[int, ...], ...] = ()


def find(measured: Sequence[Measured], what: Measurand) -> Measured | None:
    """Return what was measured of a kind; None where it was not."""
    return next((each for each in measured if each.what is what), None)
