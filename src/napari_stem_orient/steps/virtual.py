"""Virtual detectors: which are counted, or whose pattern is averaged; the scene that they see, and the jobs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from napari_stem_orient.core.errors import UserError
from napari_stem_orient.core.frames import position_ranges
from napari_stem_orient.core.progress import Job
from napari_stem_orient.steps.choice import Choice
from napari_stem_orient.steps.mask import Mask, MaskChoice
from napari_stem_orient.virtual.detector import VirtualDetector
from napari_stem_orient.virtual.diffraction import DiffractionBlock, VirtualDiffraction, virtual_diffraction
from napari_stem_orient.virtual.images import VirtualBlock, VirtualImages, beam_origins, virtual_images

if TYPE_CHECKING:
    from napari_stem_orient.core.bragg_peaks import BraggPeaks
    from napari_stem_orient.core.datacube import DataCube

_RANGES = re.compile(r"\d+(-\d+)?(, ?\d+(-\d+)?)*")


class VirtualChoice(Choice):
    """Images of virtual detectors, or the mean and the maximum pattern of a region of the scan."""

    step: ClassVar[str] = "virtual"

    detectors: tuple[VirtualDetector, ...] = Field(
        default=(),
        title="Detectors",
        description="Disks and annuli whose counts make an image of the scan, in px from the direct beam, or on the "
        "detector. Names tell them apart: one that is taken gets a number.",
    )
    region: str = Field(
        default="",
        title="Region",
        description="Positions of the scan, counted from 1 along its rows, whose pattern is averaged: 1-20, 65-84.",
    )
    pattern_follows_beam: bool = Field(
        default=True,
        title="Pattern follows the direct beam",
        description="The patterns of a region are moved so that their direct beams coincide; without, they are added "
        "as they are.",
    )
    mask: MaskChoice = Field(default=MaskChoice(), title="Detector mask")

    @field_validator("detectors")
    @classmethod
    def _told_apart(cls, detectors: tuple[VirtualDetector, ...]) -> tuple[VirtualDetector, ...]:
        told: list[VirtualDetector] = []
        for detector in detectors:
            told.append(detector.updated(name=free_name(detector.name, [each.name for each in told])))
        return tuple(told)

    @field_validator("region")
    @classmethod
    def _is_ranges(cls, text: str) -> str:
        if text and not _RANGES.fullmatch(text):
            raise UserError(
                f"{text[:60]!r} are no positions of the scan",
                value=text,
                fix="write numbers from 1, as in 3, 7, 41-64",
                field="region",
            )
        return text

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.detectors and self.region:
            raise UserError(
                "a region makes a pattern, and detectors make images",
                fix="choose one or the other",
                field="region",
            )
        return self


def free_name(name: str, taken: Sequence[str]) -> str:
    """The name, with a number where another one has it."""
    if name not in taken:
        return name
    return next(f"{name} {number}" for number in count(2) if f"{name} {number}" not in taken)


def region_text(region: Mask) -> str:
    """The positions of a region (scan_y, scan_x) bool as a choice has them."""
    return position_ranges(tuple(np.flatnonzero(region).tolist()))


@dataclass(frozen=True, slots=True, eq=False)
class VirtualScene:
    """What virtual detectors look at, fixed when they start.

    Parameters
    ----------
    datacube
        The scan.
    origins
        Row and column of the direct beam in px, (2,) or (n_positions, 2).
    mask
        (det_y, det_x) bool, True where a pixel counts for no detector; None for none.
    """

    datacube: DataCube
    origins: NDArray[np.float64]
    mask: Mask | None = None

    def same_as(self, other: VirtualScene | None) -> bool:
        """Whether beam and mask are the same, so that results are too; the scan is not compared."""
        if other is None or not np.array_equal(self.origins, other.origins):
            return False
        if self.mask is None or other.mask is None:
            return self.mask is other.mask
        return np.array_equal(self.mask, other.mask)


def known_beam(datacube: DataCube, peaks: BraggPeaks | None) -> NDArray[np.float64] | None:
    """Row and column of the direct beam in px, as peaks know it at every position, or else they or the scan as a mean.

    None where neither knows it: then it is looked for in the patterns.
    """
    if peaks is not None and peaks.origin_px is not None and np.isfinite(peaks.origin_px).any():
        return beam_origins(datacube, peaks.origin_px)
    known = None if peaks is None else peaks.calibration.origin_px
    known = datacube.calibration.origin_px if known is None else known
    return None if known is None else np.asarray(known, dtype=np.float64)


def scene_of(
    datacube: DataCube, *, peaks: BraggPeaks | None = None, mask: Mask | None = None
) -> VirtualScene:
    """The scene of a scan, whose direct beam is looked for in a few patterns where nobody knows it.

    Raises
    ------
    UserError
        The peaks are of a scan of another shape.
    """
    if peaks is not None and peaks.scan_shape != datacube.scan_shape:
        raise UserError(
            f"the peaks have {peaks.scan_shape[0]} x {peaks.scan_shape[1]} positions, the scan "
            f"{datacube.scan_shape[0]} x {datacube.scan_shape[1]}",
            value=peaks.scan_shape,
            fix="give the peaks of this scan",
            field="peaks",
        )
    origins = known_beam(datacube, peaks)
    return VirtualScene(datacube, beam_origins(datacube, mask=mask) if origins is None else origins, mask)


def images_of(
    choice: VirtualChoice, scene: VirtualScene, *, coarse_first: bool = False
) -> Job[VirtualBlock, VirtualImages]:
    """Count all detectors at every position in one pass; with ``coarse_first``, on a grid before the whole.

    Of a job that is stopped, `VirtualImages.fill` keeps what was counted: the rest is NaN.
    """
    return virtual_images(
        scene.datacube, choice.detectors, origin_px=scene.origins, mask=scene.mask, coarse_first=coarse_first
    )


def pattern_of(choice: VirtualChoice, scene: VirtualScene) -> Job[DiffractionBlock, VirtualDiffraction]:
    """Average the patterns of a region.

    Raises
    ------
    UserError
        The region does not lie in the scan.
    """
    region = _region(choice.region, scene.datacube)
    origins = scene.origins if choice.pattern_follows_beam else None
    return (yield from virtual_diffraction(scene.datacube, region, origin_px=origins, mask=scene.mask))


def _region(text: str, datacube: DataCube) -> NDArray[np.bool_]:
    region = np.zeros(datacube.n_positions, dtype=np.bool_)
    for part in text.replace(" ", "").split(","):
        first, _, last = part.partition("-")
        start, end = int(first) - 1, int(last or first)
        if not 0 <= start < end <= datacube.n_positions:
            raise UserError(
                f"positions {part} do not lie in the scan of {datacube.n_positions:,} positions",
                value=text,
                fix="choose a region of this scan",
                field="region",
            )
        region[start:end] = True
    return region.reshape(datacube.scan_shape)
