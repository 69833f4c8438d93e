"""Open a file: the choice of how a scan is read, and what is asked where the file does not say enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.errors import UserError
from napari_stem_orient.core.frames import FrameChoice, FramesDoNotFit, position_ranges, positions_from_text
from napari_stem_orient.core.merged_calibration import changed_between
from napari_stem_orient.steps.choice import Choice, Given
from napari_stem_orient.steps.recorded import recorded

if TYPE_CHECKING:
    from napari_stem_orient.core.bragg_peaks import BraggPeaks
    from napari_stem_orient.core.datacube import DataCube
    from napari_stem_orient.core.orientation_map import OrientationMap

AtLeastOne = Annotated[int, Field(ge=1)]
SAME_THING = ("pixel_angle_mrad", "pixel_size_inv_angstrom")


class GivenCalibration(Given[Calibration]):
    """Values of the calibration that the user gave; what the file says stays for all others."""

    of: ClassVar[type[BaseModel]] = Calibration

    @model_validator(mode="after")
    def _one_pixel_size(self) -> Self:
        if all(self.root.get(name) is not None for name in SAME_THING):
            raise UserError(
                "the pixel angle and the pixel size say the same thing",
                fix="give one of them",
                field="pixel_angle_mrad",
            )
        return self

    def over(self, base: Calibration) -> Calibration:
        """A calibration with these values; the pixel size follows the angle and the voltage."""
        return super().over(base).following(base)

    def with_values(self, **values: Any) -> Self:
        """These values and others; of pixel angle and pixel size the one that is given last stays."""
        kept = dict(self.root)
        for one, other in (SAME_THING, SAME_THING[::-1]):
            if values.get(one) is not None:
                kept.pop(other, None)
        return type(self).model_validate({**kept, **values})


class OpenChoice(Choice):
    """How a scan is read from its file."""

    step: ClassVar[str] = "open"

    scan_shape: tuple[AtLeastOne, AtLeastOne] | None = Field(
        default=None,
        title="Scan shape",
        description="Rows and columns of the scan, where the file does not say.",
    )
    dataset: str | None = Field(
        default=None,
        title="Dataset",
        description="Which 4D dataset, where a file holds several.",
    )
    first_frame: AtLeastOne | None = Field(
        default=None,
        title="First frame",
        description="The frame of the file, counted from 1, at which the scan begins; the ones before it are left out.",
    )
    last_frame: AtLeastOne | None = Field(
        default=None,
        title="Last frame",
        description="The frame of the file, counted from 1, with which the scan ends; the ones after it are left out.",
    )
    lost_frames: str = Field(
        default="",
        title="Lost positions",
        description="Positions of the scan, counted from 1 along its rows, that have no frame in the file: 17 or "
        "3,41-64. They stay empty.",
    )
    pedestal: float | None = Field(
        default=None,
        allow_inf_nan=False,
        title="Pedestal",
        description="What a pixel reads that no electron hits; it is subtracted. Measured in the empty parts of some "
        "patterns where none is given; 0 takes the values as they are.",
        json_schema_extra={"unit": "counts"},
    )
    calibration: GivenCalibration = Field(
        default=GivenCalibration(),
        title="Calibration",
        description="Values of the calibration in place of what the file says.",
    )

    @field_validator("lost_frames")
    @classmethod
    def _as_ranges(cls, text: str) -> str:
        return position_ranges(positions_from_text(text))

    @property
    def frames(self) -> FrameChoice:
        """Which frames of a stack are the scan, counted from 0."""
        return FrameChoice(
            None if self.first_frame is None else self.first_frame - 1,
            None if self.last_frame is None else self.last_frame - 1,
            positions_from_text(self.lost_frames),
        )

    def with_frames(self, frames: FrameChoice) -> Self:
        """Copy that reads other frames of the file."""
        return self.changed(
            first_frame=None if frames.first is None else frames.first + 1,
            last_frame=None if frames.last is None else frames.last + 1,
            lost_frames=position_ranges(frames.lost),
        )


@dataclass(frozen=True, slots=True)
class FramesWayOut:
    """What makes the frames of a file fit a scan shape: a frame, from 0, to begin or end with, or positions lost."""

    count: int
    first: int | None = None
    last: int | None = None
    lost: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class ScanShapeQuestion:
    """A file that does not say how it was scanned, or whose frames do not fit what was chosen.

    Parameters
    ----------
    error
        Why it does not open, for whoever cannot ask.
    n_frames, n_promised
        Number of frames in the file, and that it says it has, where these are more.
    proposals
        Scan shapes (rows, columns) that the frames fit, most likely first.
    near_square
        The square scan that they nearly make, in words; "" for none.
    refused
        Whether what was chosen does not fit; otherwise nothing was chosen yet.
    way_out
        What would make the frames fit it.
    """

    error: UserError
    n_frames: int
    proposals: tuple[tuple[int, int], ...]
    n_promised: int | None = None
    near_square: str = ""
    refused: bool = False
    way_out: FramesWayOut | None = None

    @property
    def problem(self) -> str:
        """What does not fit, in a sentence; "" where nothing was chosen yet."""
        return str(self.error) if self.refused else ""


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """What a file holds, and the names of the scans in it where there are several."""

    content: DataCube | BraggPeaks | OrientationMap | ScanShapeQuestion
    datasets: tuple[str, ...] = ()


def open_scan(path: Path, choice: OpenChoice) -> DataCube:
    """Open a scan lazily, with the calibration that was given.

    Raises
    ------
    UserError
        It cannot be opened so; `question_of` says whether another scan shape, or other frames, would do.
    """
    from napari_stem_orient.io.scans import open_datacube

    frames = choice.frames
    datacube = open_datacube(
        path,
        scan_shape=choice.scan_shape,
        dataset=choice.dataset,
        first_frame=frames.first,
        last_frame=frames.last,
        lost=frames.lost,
        pedestal=choice.pedestal,
    )
    datacube = datacube.with_recipe(recorded({}, choice, made_from=datacube.name))
    if not choice.calibration.root:
        return datacube
    return datacube.with_calibration(choice.calibration.over(datacube.calibration))


def entered_when_opened(recipe: Mapping[str, Any], before: Calibration, after: Calibration) -> dict[str, Any]:
    """The recipe of a scan whose calibration was changed by hand: what was entered belongs to how it is read.

    A pixel size that follows from an angle is not entered beside it.
    """
    fields = changed_between(before, after)
    if fields & {"pixel_angle_mrad", "voltage_kv"} and after.pixel_angle_mrad is not None:
        fields -= {"pixel_size_inv_angstrom"}
    steps = list(recipe.get("steps", ()))
    first = dict(steps[0]) if steps and steps[0].get("step") == OpenChoice.step else {}
    given = GivenCalibration(first.get("calibration", {}))
    given = given.with_values(**{name: getattr(after, name) for name in sorted(fields)})
    first["calibration"] = given.model_dump(mode="json")
    choice = OpenChoice.model_validate({name: value for name, value in first.items() if name != "step"})
    others = steps[1:] if steps and steps[0].get("step") == OpenChoice.step else steps
    begun = recorded({**recipe, "steps": []}, choice)
    return {**begun, "steps": [*begun["steps"], *others]}


def open_file(path: Path, choice: OpenChoice) -> OpenedFile:
    """Open a scan, peaks or a map, whatever the file holds; a scan that needs another choice comes as a question.

    Raises
    ------
    UserError
        It holds none of these, or is damaged.
    """
    from napari_stem_orient.io.maps import is_orientation_map_file, open_orientation_map
    from napari_stem_orient.io.peaks import is_peaks_file, open_bragg_peaks
    from napari_stem_orient.io.scans import list_datasets

    if path.is_file() and is_orientation_map_file(path):
        return OpenedFile(open_orientation_map(path))
    if path.is_file() and is_peaks_file(path):
        return OpenedFile(open_bragg_peaks(path))
    names = tuple(info.name for info in list_datasets(path))
    several = names if len(names) > 1 else ()
    try:
        datacube = open_scan(path, choice)
    except UserError as error:
        question = question_of(error)
        if question is None:
            raise
        return OpenedFile(question, several)
    _ = (
        datacube.opened_as
    )  # worked out here: of a folder of many files, it takes longer than a window should wait
    return OpenedFile(datacube, several)


def question_of(error: UserError) -> ScanShapeQuestion | None:
    """What to ask the user after this error of `open_scan`; None where no choice would mend it."""
    from napari_stem_orient.io.scan_source import (
        NeedsScanShape,
        PatternsElsewhere,
        SingleImage,
        WrongFrameCount,
    )

    if isinstance(error, NeedsScanShape):
        return ScanShapeQuestion(
            error, error.n_frames, tuple(error.proposals), error.n_promised, error.near_square
        )
    if isinstance(error, SingleImage):
        return ScanShapeQuestion(error, 1, ((1, 1),), refused=True)
    if isinstance(error, PatternsElsewhere) and error.positions:
        lost = positions_from_text(error.positions)
        return ScanShapeQuestion(
            error,
            error.n_patterns,
            (error.scan_shape,),
            refused=True,
            way_out=FramesWayOut(len(lost), lost=lost),
        )
    if isinstance(error, WrongFrameCount):
        fit = error.fit
        return ScanShapeQuestion(
            error, fit.n_frames, tuple(fit.proposals), refused=True, way_out=_way_out(fit)
        )
    return None


def _way_out(fit: FramesDoNotFit) -> FramesWayOut:
    count = abs(fit.excess)
    if fit.excess > 0:
        return FramesWayOut(count, first=fit.start + count, last=fit.start + fit.n_chosen - count - 1)
    return FramesWayOut(count, lost=fit.lost_at_the_end)
