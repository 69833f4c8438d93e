"""VirtualDetector: a disk or an annulus on the detector whose counts make an image of the scan."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

Float32 = NDArray[np.float32]
Shape = Literal["disk", "annulus"]
Pixel = Annotated[float, Field(allow_inf_nan=False)]

SMALLEST_RADIUS_PX = 0.5

_ROUNDS = 8  # of moving a disk onto the reflection below it


class VirtualDetector(BaseModel):
    """A disk or an annulus on the detector, at a fixed place or at a fixed distance from the direct beam."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(
        default="Virtual detector",
        min_length=1,
        max_length=80,
        title="Name",
        description="What the detector and its image are called.",
    )
    shape: Shape = Field(
        default="disk",
        title="Shape",
        description="A disk, or an annulus that leaves out the inner radius.",
    )
    centre_px: tuple[Pixel, Pixel] = Field(
        default=(0.0, 0.0),
        title="Centre",
        description="Row and column of the centre in px: from the direct beam, or on the detector where the "
        "detector does not follow the beam.",
        json_schema_extra={"unit": "px"},
    )
    follows_beam: bool = Field(
        default=True,
        title="Follows the direct beam",
        description="The centre keeps its distance from the direct beam, which may be elsewhere at every position of "
        "the scan; without, it keeps its place on the detector.",
    )
    inner_radius_px: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        title="Inner radius",
        description="Inner radius of an annulus in px; 0 for a disk.",
        json_schema_extra={"unit": "px"},
    )
    outer_radius_px: float = Field(
        default=4.0,
        ge=SMALLEST_RADIUS_PX,
        allow_inf_nan=False,
        title="Outer radius",
        description="Radius of a disk, or outer radius of an annulus, in px.",
        json_schema_extra={"unit": "px"},
    )

    @model_validator(mode="after")
    def _check_radii(self) -> VirtualDetector:
        if self.shape == "disk" and self.inner_radius_px:
            raise ValueError(
                f"a disk has no inner radius ({self.inner_radius_px:g} px): leave it out, or make it an annulus"
            )
        if self.inner_radius_px >= self.outer_radius_px:
            raise ValueError(
                f"the inner radius ({self.inner_radius_px:g} px) must be smaller than the outer one "
                f"({self.outer_radius_px:g} px)"
            )
        return self

    def updated(self, **changes: object) -> VirtualDetector:
        """Copy with some values changed, validated like a new one."""
        return VirtualDetector.model_validate({**self.model_dump(), **changes})

    def place_px(self, origin_px: ArrayLike) -> NDArray[np.float64]:
        """Row and column of the centre on the detector in px, (..., 2) like ``origin_px``, the direct beam's."""
        origin = np.asarray(origin_px, dtype=np.float64)
        centre = np.asarray(self.centre_px)
        return origin + centre if self.follows_beam else np.broadcast_to(centre, origin.shape)

    def weights(self, detector_shape: tuple[int, int], origin_px: ArrayLike = (0.0, 0.0)) -> Float32:
        """Share of each pixel that the detector covers.

        A pixel that the edge cuts counts in part, so that the counts of an even background stay the same while the
        detector follows a drifting beam: pi R² to within 0.3 px².

        Parameters
        ----------
        detector_shape
            (det_y, det_x).
        origin_px
            Row and column of the direct beam in px; without meaning for a detector that does not follow it.

        Returns
        -------
        (det_y, det_x) float32, 0 to 1.
        """
        row, column = (float(value) for value in self.place_px(origin_px))
        rows, columns = np.ogrid[: detector_shape[0], : detector_shape[1]]
        distance = np.hypot((rows - row).astype(np.float32), (columns - column).astype(np.float32))
        return self.covered(distance)

    def covered(self, distance_px: Float32) -> Float32:
        """Share of the pixels at these distances from the centre in px that the detector covers, 0 to 1."""
        covered = _inside(distance_px, self.outer_radius_px)
        if self.inner_radius_px:
            covered -= _inside(distance_px, self.inner_radius_px)
        return covered

    def mask(self, detector_shape: tuple[int, int], origin_px: ArrayLike = (0.0, 0.0)) -> NDArray[np.bool_]:
        """Return which pixels (det_y, det_x) the detector covers at least half."""
        return np.asarray(self.weights(detector_shape, origin_px) >= 0.5)


def bright_field(radius_px: float) -> VirtualDetector:
    """Make the disk around the direct beam; ``radius_px`` is the beam's own radius, or a little more."""
    return VirtualDetector(name="Bright field", shape="disk", outer_radius_px=radius_px)


def annular_dark_field(inner_radius_px: float, outer_radius_px: float) -> VirtualDetector:
    """Make the annulus around the direct beam."""
    return VirtualDetector(
        name="Annular dark field",
        shape="annulus",
        inner_radius_px=inner_radius_px,
        outer_radius_px=outer_radius_px,
    )


def reach_px(detector_shape: tuple[int, int], origin_px: ArrayLike) -> float:
    """Radius in px of the largest circle around the direct beam that lies on the detector; at least 1."""
    row, column = (float(value) for value in np.asarray(origin_px, dtype=np.float64))
    rows, columns = detector_shape
    return max(1.0, min(row, column, rows - 1 - row, columns - 1 - column) + 0.5)


def reflection_near(
    pattern: Float32, near_px: tuple[float, float], *, radius_px: float
) -> tuple[float, float]:
    """Find the middle of the reflection nearest to a place: a disk moves uphill until its counts are even.

    Parameters
    ----------
    pattern
        (det_y, det_x) counts.
    near_px
        Row and column where to begin, in px.
    radius_px
        Radius of the reflections in px.

    Returns
    -------
    Row and column in px; ``near_px`` where nothing stands out there, or where it leads farther than two radii away.
    """
    reach = max(radius_px, 1.0) + 1.0
    counts = np.nan_to_num(np.asarray(pattern, dtype=np.float64), posinf=0.0, neginf=0.0)
    rows, columns = np.ogrid[: counts.shape[0], : counts.shape[1]]
    row, column = near_px
    for _ in range(_ROUNDS):
        window = np.hypot(rows - row, columns - column) <= reach
        if not window.any():
            return near_px
        above = np.where(window, counts - counts[window].min(), 0.0)
        total = float(above.sum())
        if total <= 0:
            return near_px
        row, column = float((above * rows).sum() / total), float((above * columns).sum() / total)
    far = math.hypot(row - near_px[0], column - near_px[1]) > 2 * reach
    return near_px if far else (row, column)


def _inside(distance: Float32, radius_px: float) -> Float32:
    """Share of pixels at a distance from the centre that lies within the radius: a straight edge through them."""
    return np.asarray(np.clip(np.float32(radius_px + 0.5) - distance, 0.0, 1.0), dtype=np.float32)
