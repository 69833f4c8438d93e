"""Train a model: the choice, and the task that follows from it, to begin a training or to go on with a stopped one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, Field

from napari_stem_orient.runs.training_task import NEAREST, TrainingTask
from napari_stem_orient.steps.choice import Choice, Device, Given
from napari_stem_orient.steps.crystals import CrystalChoice, loaded
from napari_stem_orient.transformer.training_parameters import TrainingParameters

if TYPE_CHECKING:
    from napari_stem_orient.core.crystal import Crystal


class GivenTrainingParameters(Given[TrainingParameters]):
    """Training parameters that the user gave; all others are as usual, or as a stopped training was begun."""

    of: ClassVar[type[BaseModel]] = TrainingParameters


class TrainChoice(Choice):
    """What a model is trained for, and how."""

    step: ClassVar[str] = "train"

    crystals: tuple[CrystalChoice, ...] = Field(
        default=(),
        title="Crystals",
        description="The crystals that the model shall know; of a whole structure type, those that it learns from.",
    )
    whole_structure_type: bool = Field(
        default=False,
        title="Whole structure type",
        description="The model is for every crystal of the crystals' structure type (fcc, bcc, ...), not for them "
        "alone.",
    )
    name: str = Field(
        default="",
        max_length=80,
        title="Name",
        description="The model's name; that of its folder where none is given.",
    )
    start_from: str = Field(
        default=NEAREST,
        min_length=1,
        title="Start from",
        description="A model folder to start from; nearest: the nearest shipped model; none: random weights.",
    )
    parameters: GivenTrainingParameters = Field(
        default=GivenTrainingParameters(),
        title="Training parameters",
        description="Training parameters in place of the usual ones.",
    )
    device: Device = Field(default="auto", title="Device", description="Where the network learns.")


def new_training(
    choice: TrainChoice,
    output: Path,
    *,
    crystals: tuple[Crystal, ...] | None = None,
    replaces: str | None = None,
    discards: bool = False,
) -> TrainingTask:
    """The task of a training that is begun.

    Parameters
    ----------
    choice
        What is trained.
    output
        The model folder.
    crystals
        Those of the choice, where they are there already.
    replaces
        Name of the model in the folder that the user gives up for the new one.
    discards
        Whether the user gives up a stopped training in the folder.
    """
    return TrainingTask(
        crystals=loaded(choice.crystals) if crystals is None else crystals,
        parameters=choice.parameters.over(TrainingParameters()),
        output=output,
        name=choice.name or None,
        whole_structure_type=choice.whole_structure_type,
        start_from=choice.start_from,
        device=choice.device,
        replaces=replaces,
        discards=discards,
    )


def resumed_training(
    choice: TrainChoice, output: Path, *, crystals: tuple[Crystal, ...] | None = None
) -> TrainingTask:
    """The task that goes on with a stopped training: as it was begun, but for the parameters that are given."""
    return TrainingTask(
        crystals=loaded(choice.crystals) if crystals is None else crystals,
        parameters=choice.parameters.over(TrainingParameters()),
        output=output,
        device=choice.device,
        resume=True,
        changes=choice.parameters.model_dump(mode="json"),
    )
