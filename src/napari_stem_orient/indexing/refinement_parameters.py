"""RefinementParameters: how candidates are fitted and scored, as a user sets it; needs no torch."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class RefinementParameters(BaseModel):
    """How candidates are fitted to the measured disks and scored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    position_tolerance: float | None = Field(
        None,
        gt=0,
        le=0.2,
        title="Position tolerance",
        description="Distance in 1/Å within which a measured disk counts as a simulated reflection; at most a tenth "
        "of the crystal's shortest reciprocal lattice vector. Empty: from the scatter of the disks in this scan",
        json_schema_extra={"unit": "1/Å"},
    )
    excitation_width: float = Field(
        0.02,
        gt=0,
        le=0.2,
        title="Excitation width",
        description="Standard deviation in 1/Å of the fall-off with the excitation error",
        json_schema_extra={"unit": "1/Å"},
    )
    intensity_exponent: float = Field(
        0.25,
        gt=0,
        le=1,
        title="Intensity exponent",
        description="Intensities count with this power: small values weigh presence above exact intensity",
    )
    fit_calibration: bool = Field(
        False,
        title="Fit pixel size and origin",
        description="Let the pixel size (by some 1 %) and the origin (by some 0.01 1/Å) of every pattern follow its "
        "disks; for scans whose calibration is uncertain or drifts",
    )
    position_steps: int = Field(
        4, ge=0, le=50, title="Position steps", description="Gauss-Newton steps on the positions of the disks"
    )
    tilt_steps: int = Field(
        4,
        ge=0,
        le=50,
        title="Tilt steps",
        description="Gauss-Newton steps on the intensities, so many for each of three excitation widths",
    )
    n_refined: int = Field(
        5,
        ge=1,
        le=64,
        title="Candidates refined to the end",
        description="The best so many candidates also get their tilt fitted with narrow excitation widths",
        json_schema_extra={"advanced": True},
    )
