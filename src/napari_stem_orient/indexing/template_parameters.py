"""TemplateMatchingParameters: how templates are made and matched, as a user sets it; without orix and py4DSTEM."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class TemplateMatchingParameters(BaseModel):
    """What a user may set of template matching; the defaults are py4DSTEM's but for kernel size and lowest score."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    angle_step_zone_axis_deg: float = Field(
        default=2.0,
        ge=0.5,
        le=10,
        title="Zone axis step",
        description="Distance between neighbouring zone axes of the templates in degrees.",
        json_schema_extra={"unit": "°"},
    )
    angle_step_in_plane_deg: float = Field(
        default=2.0,
        ge=0.5,
        le=10,
        title="In-plane step",
        description="Step of the in-plane rotation in degrees; the answer is interpolated between steps.",
        json_schema_extra={"unit": "°"},
    )
    coarse_step_deg: float | None = Field(
        default=None,
        ge=2,
        le=20,
        title="Coarse step",
        description="Search zone axes this far apart (degrees) first, then refine around the best one: "
        "several times faster for crystals of low symmetry, and less certain. Empty: match every template.",
        json_schema_extra={"unit": "°"},
    )
    q_max_inv_angstrom: float | None = Field(
        default=None,
        gt=0,
        le=4,
        title="Largest q",
        description="Reflections up to this scattering vector in 1/Å. Empty: as far out as disks were "
        "measured, 2 at most.",
        json_schema_extra={"unit": "1/Å"},
    )
    kernel_size_inv_angstrom: float | None = Field(
        default=None,
        ge=0.005,
        le=0.5,
        title="Kernel size",
        description="Distance in 1/Å over which a measured and an expected disk still overlap. Empty: a quarter of "
        "the distance of the crystal's nearest reflections, from 0.02 for large cells to 0.08 for small ones, "
        "and wider where the steps are coarse.",
        json_schema_extra={"unit": "1/Å"},
    )
    excitation_error_inv_angstrom: float = Field(
        default=0.02,
        ge=0.001,
        le=0.2,
        title="Excitation error",
        description="Width (sigma) in 1/Å of the Gaussian by which a reflection fades off the Ewald sphere.",
        json_schema_extra={"unit": "1/Å"},
    )
    power_radial: float = Field(
        default=1.0,
        ge=0,
        le=4,
        title="Power of radius",
        description="A template's reflections are weighted by their radius to this power.",
    )
    power_intensity: float = Field(
        default=0.25,
        ge=0,
        le=2,
        title="Power of expected intensity",
        description="A template's reflections are weighted by their kinematic intensity to this power.",
    )
    power_intensity_experiment: float = Field(
        default=0.25,
        ge=0,
        le=2,
        title="Power of measured intensity",
        description="Measured disks are weighted by their intensity to this power; small values trust "
        "positions more.",
    )
    min_disks: int = Field(
        default=4,
        ge=1,
        le=50,
        title="Fewest disks",
        description="Patterns with fewer Bragg disks, the direct beam not counted, are not indexed.",
    )
    min_score: float = Field(
        default=0.3,
        ge=0,
        le=1,
        title="Lowest score",
        description="A pattern whose best solution scores lower (cosine, 0 to 1) is not indexed. The right crystal "
        "scores 0.6 to 0.9, and 0.3 to 0.7 where it is thick or the patterns are poor; a halo or disks by chance up "
        "to 0.3, the wrong crystal 0.1 to 0.5.",
    )
