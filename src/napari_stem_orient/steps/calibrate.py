"""Calibrate Bragg peaks: the choice, its parts in their order, and what is entered, confirmed and taken from files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from napari_stem_orient.core.calibration import Quantity
from napari_stem_orient.core.errors import UserError
from napari_stem_orient.core.merged_calibration import (
    OF_SCAN,
    known_quantities,
    taken_from,
    unknown_in,
    with_check,
)
from napari_stem_orient.steps.choice import Choice, Device
from napari_stem_orient.steps.crystals import CrystalChoice
from napari_stem_orient.steps.open import GivenCalibration, OpenChoice

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_stem_orient.calibration.fit import CalibrationFit
    from napari_stem_orient.core.calibration import Calibration

Fit = Literal["origin", "ellipse", "pixel size"]
"""What can be fitted to the disks; ellipse and pixel size that are wanted both are fitted together."""
FITS: tuple[Fit, ...] = get_args(Fit)
Taken = Literal["origin", "ellipse", "pixel size", "rotation", "scan"]
"""What can be taken from a file; "scan" is what belongs to the scan and not to its detector."""
TAKEN: tuple[Taken, ...] = get_args(Taken)


class CalibrateChoice(Choice):
    """How Bragg peaks are calibrated: all that is named here, in this order; what is not named stays as it is."""

    step: ClassVar[str] = "calibrate"

    source: Path | None = Field(
        default=None,
        title="Calibration of a file",
        description="Start from the calibration (rotation and flip among it) of this scan, peaks, map or .json file.",
    )
    take: tuple[Taken, ...] = Field(
        default=TAKEN,
        title="Taken from the file",
        description="What is taken from the file, where it knows it. scan: voltage, scan step, convergence and "
        "precession angle, where this scan does not know them. origin: where the file has it at each position of a "
        "scan of this shape, and it is not calibrated here.",
    )
    given: GivenCalibration = Field(
        default=GivenCalibration(),
        title="Entered values",
        description="Values of the calibration in place of what is known.",
    )
    confirmed: tuple[Quantity, ...] = Field(
        default=(),
        title="Confirmed",
        description="Count these as calibrated though nothing is fitted: origin, ellipse, pixel size, rotation.",
    )
    unconfirmed: tuple[Quantity, ...] = Field(
        default=(), title="Not confirmed", description="Count these as not calibrated."
    )
    rings: Path | None = Field(
        default=None,
        title="Picture of a standard",
        description="Take ellipse and pixel size from the rings of this picture, or of the mean pattern of this scan, "
        "of a standard; the one crystal is what it is made of.",
    )
    standard: OpenChoice = Field(
        default=OpenChoice(),
        title="Reading the standard",
        description="How the scan of the standard is read.",
    )
    crystals: tuple[CrystalChoice, ...] = Field(
        default=(),
        title="Crystals",
        description="What is known to be in the scan, or what the standard is made of: their rings are compared with "
        "the disks.",
    )
    fits: tuple[Fit, ...] | None = Field(
        default=None,
        title="Fits",
        description="What is fitted to the disks: origin, ellipse, pixel size. All that can be where none is named: "
        "without a crystal not the pixel size, and nothing beside a standard or a map.",
    )
    origin_model: Literal["constant", "plane", "parabola", "measured"] = Field(
        default="plane",
        title="Origin",
        description="constant: one place for the whole scan; plane, parabola: the direct beam wanders evenly, or in a "
        "curve, over the scan; measured: where it was found at each position, the plane where it was not.",
    )
    refine: bool = Field(
        default=False,
        title="Refine from a map",
        description="Refine pixel size, ellipse and direct beam from the disks that a map of the peaks explains.",
    )
    device: Device = Field(default="auto", title="Device", description="What a refinement computes on.")

    @field_validator("take", "confirmed", "unconfirmed", "fits")
    @classmethod
    def _in_order(cls, names: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        return None if names is None else tuple(name for name in TAKEN if name in names)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.rings is not None and len(self.crystals) != 1:
            raise UserError(
                "the rings of a standard are compared with those of one crystal, not "
                f"{len(self.crystals) or 'none'}",
                fix="choose the crystal that the standard is made of",
                field="crystals",
            )
        if "pixel size" in (self.fits or ()) and not self.crystals:
            raise UserError(
                "the pixel size is told by the rings of a known crystal, and none is chosen",
                fix="choose the crystal that is in the scan",
                field="crystals",
            )
        both = set(self.confirmed) & set(self.unconfirmed)
        if both:
            raise UserError(
                f"{', '.join(sorted(both))}: cannot be confirmed and not confirmed at once",
                fix="leave one out",
                field="confirmed",
            )
        return self

    @property
    def wanted_fits(self) -> tuple[Fit, ...]:
        """What is fitted to the disks."""
        if self.fits is not None:
            return self.fits
        if self.rings is not None or self.refine:
            return ()
        return FITS if self.crystals else ("origin", "ellipse")

    def parts(self) -> tuple[CalibrateChoice, ...]:
        """The same, one thing at a time, in the order in which they are done."""
        parts: list[CalibrateChoice] = []

        def add(*fields: str, fits: tuple[Fit, ...] = ()) -> None:
            parts.append(CalibrateChoice(**{name: getattr(self, name) for name in fields}, fits=fits))

        if self.source is not None:
            add("source", "take")
        if self.given.root:
            add("given")
        if self.confirmed or self.unconfirmed:
            add("confirmed", "unconfirmed")
        if self.rings is not None:
            add("rings", "standard", "crystals")
        wanted = self.wanted_fits
        if "origin" in wanted:
            add("origin_model", fits=("origin",))
        shape = tuple(fit for fit in wanted if fit != "origin")
        if shape:
            add("crystals", fits=shape)
        if self.refine:
            add("refine", "device")
        return tuple(parts)


def entered(
    given: GivenCalibration, known: Calibration, *, origin_px: NDArray[np.float32] | None = None
) -> CalibrationFit:
    """Values that the user gave; what they change no longer counts as calibrated because it did before.

    ``origin_px`` (n_positions, 2), row and column in px, stays unless the direct beam is given: it moves with its mean.
    """
    from napari_stem_orient.calibration.fit import CalibrationFit

    calibration = given.over(known).unchecked_where_changed(known)
    rotation = set(given.root) <= {"scan_rotation_deg", "flip"}
    title = "Rotation entered" if rotation else "Entered"
    return CalibrationFit(title, calibration, None if "origin_px" in given else origin_px)


def confirmed(part: CalibrateChoice, known: Calibration) -> Calibration:
    """The same calibration, of which other quantities count as calibrated."""
    for quantity in (*part.confirmed, *part.unconfirmed):
        known = with_check(known, quantity, quantity in part.confirmed)
    return known


def confirmed_title(part: CalibrateChoice) -> str:
    """What was confirmed, in words: "Ellipse and rotation confirmed"."""
    said = ((part.confirmed, "confirmed"), (part.unconfirmed, "not confirmed"))
    text = "; ".join(f"{' and '.join(names)} {word}" for names, word in said if names)
    return text[:1].upper() + text[1:]


def taken_from_file(part: CalibrateChoice, known: Calibration, *, n_positions: int = 0) -> CalibrationFit:
    """What a scan, peaks, map or calibration file says, made ready for a scan of so many positions.

    What the file does not know stays. What belongs to the scan, its voltage for instance, stays as its own file or the
    user says it, and is taken only where nobody does. So does the direct beam: it is taken where the file has it at
    each position of a scan of this shape, and it is not calibrated here.
    """
    from napari_stem_orient.calibration.fit import CalibrationFit
    from napari_stem_orient.calibration.measured_quantities import values_of, values_of_scan
    from napari_stem_orient.io.calibration_files import read_calibration

    assert part.source is not None
    found, origin_px = read_calibration(part.source)
    fits_here = origin_px is not None and len(origin_px) == n_positions
    if not fits_here or "origin" not in part.take or "origin" in known.checked:
        origin_px = None
    quantities: list[Quantity] = [q for q in known_quantities(found) if q != "origin" and q in part.take]
    quantities += [] if origin_px is None else ["origin"]
    of_scan = "scan" in part.take
    calibration = taken_from(known, found, quantities, of_scan=of_scan)
    news = OF_SCAN & (unknown_in(known) - unknown_in(found)) if of_scan else frozenset[str]()
    rotation_only = part.take == ("rotation",)
    if not quantities and not news:
        what = "how the detector is turned" if rotation_only else "how the scan is calibrated"
        raise UserError(
            f"{part.source.name} does not say {what}",
            value=str(part.source),
            fix="enter it by hand, or choose another file",
            field="source",
        )
    told = [value for quantity in quantities for value in values_of(calibration, quantity, origin_px)]
    title = f"{'Rotation' if rotation_only else 'Calibration'} from {part.source.name}"
    return CalibrationFit(title, calibration, origin_px, (*told, *values_of_scan(calibration, news)))
