"""DetectionParameters: everything that a user can set about the detection of Bragg disks."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class DetectionParameters(BaseModel):
    """What counts as a Bragg disk.

    A local maximum of the correlation with the template is a disk when it is bright enough (significant over
    counting noise, in contrast, absolutely, and relative to its pattern's brightest), far enough from the
    border, and far enough from every brighter disk. `suggest_parameters` chooses values for a scan.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["disks", "spots"] = Field(
        default="disks",
        title="Looks like",
        description="Disks are found with the probe template, spots (parallel beam, precession) with a "
        "Gaussian of the same radius.",
    )
    min_significance: float = Field(
        default=4.0,
        ge=0,
        le=1000,
        title="Significance",
        description="Least number of standard deviations (σ) by which the counts in a disk exceed counting noise "
        "of the background around it. Lower finds weaker disks and more false ones: at 4 σ about one false disk "
        "in ten patterns of 128 x 128.",
        json_schema_extra={"unit": "σ"},
    )
    min_contrast: float = Field(
        default=0.1,
        ge=0,
        le=100,
        title="Contrast",
        description="Least mean of a disk above the background around it, as a fraction of that background: "
        "keeps out Kikuchi bands and uneven background, which no amount of counts averages away.",
    )
    min_relative_intensity: float = Field(
        default=0.0,
        ge=0,
        le=1,
        title="Relative threshold",
        description="Least intensity as a fraction of the reference disk of the same pattern. 0 keeps all.",
    )
    relative_to_rank: int = Field(
        default=0,
        ge=0,
        le=50,
        title="Reference disk",
        description="Which disk the relative threshold refers to: 0 for a pattern's brightest (mostly the direct "
        "beam), 1 for the second brightest, and so on.",
    )
    min_absolute_intensity: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        title="Absolute threshold",
        description="Least intensity: detector counts in the disk above the background. 0 keeps all.",
        json_schema_extra={"unit": "counts"},
    )
    min_spacing_px: float = Field(
        default=4.0,
        ge=0,
        le=1000,
        title="Spacing",
        description="Least distance between two disks in px; of two closer ones the brighter is kept.",
        json_schema_extra={"unit": "px"},
    )
    edge_px: float = Field(
        default=2.0,
        ge=0,
        le=1000,
        title="Edge",
        description="Disks whose centre is closer than this to the detector's border are left out, in px.",
        json_schema_extra={"unit": "px"},
    )
    max_peaks: int = Field(
        default=100,
        ge=1,
        le=1000,
        title="Most disks",
        description="Most disks kept in one pattern, brightest first.",
    )
    subpixel: Literal["none", "parabola", "upsampled"] = Field(
        default="upsampled",
        title="Sub-pixel",
        description="How a disk's position is refined: not at all, by a parabola through the three pixels across "
        "the correlation's maximum, or from there to where the counts around it are likeliest (most precise; py4DSTEM "
        "takes the maximum of a 16-fold upsampled correlation).",
    )
    correlation_power: float = Field(
        default=1.0,
        ge=0,
        le=1,
        title="Correlation power",
        description="1 is the cross-correlation (best at low dose), 0 the phase correlation, between them the "
        "hybrid: sharper maxima, more noise.",
    )
    averaging: Literal["none", "neighbours"] = Field(
        default="none",
        title="Averaging",
        description="Average each pattern with its eight neighbours in the scan before disks are sought, as far as "
        "they show the same disks: weak disks come out at low dose, grain boundaries lose up to one position of "
        "sharpness.",
    )
    counts_per_electron: float = Field(
        default=1.0,
        gt=0,
        allow_inf_nan=False,
        title="Gain",
        description="Detector counts per electron: turns counts into counting statistics. 1 for counting "
        "detectors.",
        json_schema_extra={"unit": "counts"},
    )
