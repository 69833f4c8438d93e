"""A training as a task: all that it needs in one record, which can be sent as JSON, and the job that does it."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.errors import UserError

if TYPE_CHECKING:
    from napari_stem_orient.transformer.checkpoint import CheckpointSummary
    from napari_stem_orient.transformer.preparation import PreparationProgress
    from napari_stem_orient.transformer.training_parameters import TrainingParameters
    from napari_stem_orient.transformer.training_run import TrainingProgress

NEAREST, NOTHING = "nearest", "none"
"""What a training may start from instead of a model folder: the nearest shipped model, or random weights."""


@dataclass(frozen=True, slots=True)
class TrainingTask:
    """Everything a training needs, fixed when it starts; to go on with a stopped one, its folder is enough.

    One that is gone on with keeps crystals, parameters and start as it was begun, but for the parameters in `changes`.
    `name` is the model's, that of its folder where None; `start_from` a model folder, or one of the words above.
    `replaces` is the name of the model in the folder that the user gives up for the new one, and `discards` whether the
    user gives up a stopped training.
    """

    crystals: tuple[Crystal, ...]
    parameters: TrainingParameters
    output: Path
    name: str | None = None
    whole_structure_type: bool = False
    start_from: str = NEAREST
    device: str = "auto"
    resume: bool = False
    changes: dict[str, Any] = field(default_factory=dict)
    replaces: str | None = None
    discards: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The task, ready for JSON."""
        return {
            "crystals": [crystal.to_dict() for crystal in self.crystals],
            "parameters": self.parameters.model_dump(mode="json"),
            "output": str(self.output),
            "name": self.name,
            "whole_structure_type": self.whole_structure_type,
            "start_from": self.start_from,
            "device": self.device,
            "resume": self.resume,
            "changes": self.changes,
            "replaces": self.replaces,
            "discards": self.discards,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainingTask:
        """The inverse of `to_dict`."""
        from napari_stem_orient.transformer.training_parameters import TrainingParameters

        return cls(
            **{
                **values,
                "crystals": tuple(Crystal.from_dict(crystal) for crystal in values["crystals"]),
                "parameters": TrainingParameters.model_validate(values["parameters"]),
                "output": Path(values["output"]),
            }
        )


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """A finished model: its folder, its crystals, and the hold-out report in Markdown."""

    folder: Path
    crystals: tuple[Crystal, ...]
    report: str


def stopped_in(folder: Path) -> CheckpointSummary | None:
    """The stopped training in a folder; None where there is none, or nothing to go on with."""
    from napari_stem_orient.transformer.checkpoint import CheckpointError, has_checkpoint, read_checkpoint

    if not has_checkpoint(folder):
        return None
    try:
        return read_checkpoint(folder)
    except CheckpointError:
        return None  # damaged


def check_task(task: TrainingTask) -> None:
    """Refuse a training that cannot be, or that would take the place of what the user has not given up.

    Raises
    ------
    UserError
        Names what is wrong, the model or the training in the folder, and the way out.
    """
    from napari_stem_orient.transformer.training_checks import check_reach, model_in

    if task.resume:
        return
    stopped, there = stopped_in(task.output), model_in(task.output)
    if stopped is not None and not task.discards:
        raise UserError(
            f"{task.output} holds a training that was stopped at step {stopped.state.step:,} by now",
            value=str(task.output),
            fix="go on with it, let it go, or choose another name",
            field="discards",
        )
    if there is not None and there != task.replaces:
        raise UserError(
            f"{task.output} holds the model {there} by now",
            value=there,
            fix="let the new one take its place, or choose another name",
            field="replaces",
        )
    check_reach(task.crystals, task.parameters.q_max_high_inv_angstrom)


def training_job(
    task: TrainingTask,
) -> Generator[TrainingProgress | PreparationProgress, None, TrainingResult]:
    """Train as the task says, here; a training that is gone on with keeps the settings that it was begun with."""
    from napari_stem_orient.runs.bloch_cache import cached_bloch_library
    from napari_stem_orient.transformer.checkpoint import read_checkpoint, remove_checkpoint
    from napari_stem_orient.transformer.training import parameters_to_start_from, train_model
    from napari_stem_orient.transformer.training_checks import make_model_folder
    from napari_stem_orient.transformer.training_run import REPORT_NAME

    check_task(task)
    if task.resume:
        settings = read_checkpoint(task.output).settings
        crystals = settings.crystals
        parameters = settings.parameters.model_validate({**settings.parameters.model_dump(), **task.changes})
        whole, start_from = settings.structure_type is not None, None
    else:
        crystals, whole = task.crystals, task.whole_structure_type
        make_model_folder(task.output)
        start_from = _start(task.start_from, crystals)
        parameters = parameters_to_start_from(task.parameters, start_from)
        remove_checkpoint(task.output)
    folder = yield from train_model(
        crystals,
        parameters=parameters,
        output=task.output,
        name=task.name,
        whole_structure_type=whole,
        device=task.device,
        start_from=start_from,
        resume=task.resume,
        build_library=cached_bloch_library,
    )
    return TrainingResult(folder, crystals, (folder / REPORT_NAME).read_text(encoding="utf-8"))


def _start(start_from: str, crystals: tuple[Crystal, ...]) -> Path | None:
    """The model folder that a training starts from; None for random weights."""
    from napari_stem_orient.transformer.model_folder import nearest_shipped_model

    if start_from == NOTHING:
        return None
    return nearest_shipped_model(crystals) if start_from == NEAREST else Path(start_from)
