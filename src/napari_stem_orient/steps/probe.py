"""What one disk looks like: the choice of a probe template, and the template that follows from it in a scan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from napari_stem_orient.core.errors import UserError
from napari_stem_orient.core.frames import position_ranges, positions_from_text
from napari_stem_orient.steps.choice import Choice

if TYPE_CHECKING:
    from napari_stem_orient.core.datacube import DataCube
    from napari_stem_orient.detection.probe import ProbeTemplate
    from napari_stem_orient.steps.mask import Mask

ProbeSource = Literal["measured", "synthetic", "mean", "vacuum"]


class ProbeChoice(Choice):
    """Where the probe template comes from."""

    step: ClassVar[str] = "probe"

    source: ProbeSource = Field(
        default="measured",
        title="Template",
        description="What one disk looks like. measured: the direct beam averaged over patterns of the whole scan, or "
        "a flat disk where the convergence angle agrees with it. synthetic: a flat disk. mean: the direct beam cut out "
        "of the mean pattern. vacuum: averaged over a region of the scan that shows vacuum.",
    )
    radius_px: float | None = Field(
        default=None,
        ge=0.7,
        le=2000,
        title="Disk radius",
        description="Radius of the disks in px: look for flat disks. Measured where none is given.",
        json_schema_extra={"unit": "px"},
    )
    vacuum: str = Field(
        default="",
        title="Vacuum region",
        description="Positions of the scan, counted from 1 along its rows, that show vacuum: 1-20,65-84.",
    )

    @model_validator(mode="before")
    @classmethod
    def _source_of_what_is_given(cls, values: Any) -> Any:
        """A radius stands for a synthetic disk, positions for a vacuum region, where no source is named."""
        if not isinstance(values, dict) or values.get("source") is not None:
            return values
        if values.get("radius_px") is not None:
            return {**values, "source": "synthetic"}
        return {**values, "source": "vacuum"} if values.get("vacuum") else values

    @field_validator("vacuum")
    @classmethod
    def _as_ranges(cls, text: str) -> str:
        return position_ranges(positions_from_text(text))

    @model_validator(mode="after")
    def _one_source(self) -> ProbeChoice:
        if self.radius_px is not None and self.source != "synthetic":
            raise ValueError(f"a disk radius is for a synthetic template, not for source {self.source}")
        if bool(self.vacuum) != (self.source == "vacuum"):
            raise ValueError(
                "a template from vacuum needs the positions that show it, and no other source has any"
            )
        return self


def vacuum_choice(region: NDArray[np.bool_]) -> ProbeChoice:
    """The choice of a vacuum region (scan_y, scan_x) bool."""
    positions = tuple(int(position) for position in np.flatnonzero(region))
    return ProbeChoice(source="vacuum", vacuum=position_ranges(positions))


def chosen_probe(
    choice: ProbeChoice, datacube: DataCube, *, mask: Mask | None, mean_pattern: NDArray[Any] | None = None
) -> ProbeTemplate | None:
    """The template of a choice; None where it is measured in the sample together with everything else.

    Parameters
    ----------
    choice
        Where it comes from.
    datacube
        The scan.
    mask
        (det_y, det_x) bool, True where a pixel is not usable.
    mean_pattern
        (det_y, det_x) mean of all patterns; needed where the template is cut out of it.

    Raises
    ------
    UserError
        The radius does not suit the detector, or there is nothing like a disk where it is looked for.
    """
    from napari_stem_orient.detection.detector_mask import fill_masked
    from napari_stem_orient.detection.probe import (
        probe_from_mean_pattern,
        probe_from_vacuum,
        synthetic_probe,
    )

    if choice.source == "synthetic" and choice.radius_px is not None:
        return synthetic_probe(choice.radius_px, datacube.detector_shape)
    if choice.source == "mean":
        assert mean_pattern is not None
        return probe_from_mean_pattern(fill_masked(np.asarray(mean_pattern, dtype=np.float32), mask))
    if choice.source == "vacuum":
        return probe_from_vacuum(datacube, _vacuum_region(choice, datacube), detector_mask=mask)
    return None


def _vacuum_region(choice: ProbeChoice, datacube: DataCube) -> NDArray[np.bool_]:
    positions = positions_from_text(choice.vacuum)
    if positions[-1] >= datacube.n_positions:
        raise UserError(
            f"position {positions[-1] + 1:,} of the vacuum region lies outside the scan of "
            f"{datacube.n_positions:,} positions",
            value=choice.vacuum,
            fix="mark the vacuum of this scan",
            field="vacuum",
        )
    region = np.zeros(datacube.scan_shape, dtype=np.bool_)
    region.flat[list(positions)] = True
    return region
