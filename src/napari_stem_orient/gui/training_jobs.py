"""The jobs of the training panel; heavy libraries are imported in the worker's thread, not in the window's."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_stem_orient.core.crystal import Crystal

if TYPE_CHECKING:
    from napari_stem_orient.core.bragg_peaks import BraggPeaks
    from napari_stem_orient.network.checkpoint import CheckpointSummary
    from napari_stem_orient.network.recipe import TrainingParameters
    from napari_stem_orient.network.training_run import TrainingStep
    from napari_stem_orient.simulation.bloch_library import LibraryStep


@dataclass(frozen=True, slots=True)
class TrainingChoices:
    """What the panel offers: a recipe, devices (name, in words), and the folder of the user's models.

    `stopped` is the training there that was stopped last: its folder and its crystals.
    """

    parameters: TrainingParameters
    devices: tuple[tuple[str, str], ...]
    models_home: Path
    stopped: tuple[Path, tuple[Crystal, ...]] | None = None


def training_choices() -> TrainingChoices:
    """Load torch, and say what there is to choose."""
    from napari_stem_orient.device import available_devices, choose_device, describe_device
    from napari_stem_orient.network.model_folder import models_home
    from napari_stem_orient.network.recipe import TrainingParameters

    devices = [("auto", f"Automatic – {describe_device(choose_device('auto'))}")]
    devices += [(name, describe_device(name)) for name in available_devices()]
    home = models_home()
    return TrainingChoices(TrainingParameters(), tuple(devices), home, _stopped_last(home))


def _stopped_last(home: Path) -> tuple[Path, tuple[Crystal, ...]] | None:
    from napari_stem_orient.network.checkpoint import CHECKPOINT_NAME, CheckpointError, read_checkpoint

    paths = home.glob(f"*/{CHECKPOINT_NAME}")
    for path in sorted(paths, key=lambda p: p.stat().st_mtime, reverse=True):
        try:
            return path.parent, read_checkpoint(path.parent).settings.crystals
        except CheckpointError:
            continue  # damaged: there is nothing to go on with
    return None


@dataclass(frozen=True, slots=True)
class FolderContent:
    """What the chosen folder holds: a stopped training, a model of this name, or both."""

    stopped: CheckpointSummary | None
    model_name: str | None
    nearest: str | None


def folder_content(folder: Path, crystals: tuple[Crystal, ...]) -> FolderContent:
    """Look what lies in a folder, and which shipped model a training for the crystals starts from."""
    from napari_stem_orient.network.model_folder import nearest_shipped_model
    from napari_stem_orient.network.training_checks import model_in

    nearest = nearest_shipped_model(crystals) if crystals else None
    return FolderContent(_stopped_in(folder), model_in(folder), None if nearest is None else nearest.name)


def _stopped_in(folder: Path) -> CheckpointSummary | None:
    from napari_stem_orient.network.checkpoint import CheckpointError, has_checkpoint, read_checkpoint

    if not has_checkpoint(folder):
        return None
    try:
        return read_checkpoint(folder)
    except CheckpointError:
        return None  # damaged: there is nothing to go on with


def check_replaced(task: TrainingTask) -> None:
    """Refuse to train over a model, or a stopped training, that the user has not given up.

    Raises
    ------
    ValueError
        Names the model or the training, and the way out.
    """
    from napari_stem_orient.network.training_checks import model_in

    stopped, there = _stopped_in(task.output), model_in(task.output)
    if stopped is not None and not task.discards:
        raise ValueError(
            f"the folder holds a training that was stopped at step {stopped.state.step:,} by now: press Resume to go "
            "on with it, Start over to discard it, or save as another name"
        )
    if there is not None and there != task.replaces:
        raise ValueError(
            f"the folder holds the model {there} by now: save as another name, or press Replace to give it up"
        )


def reach_of(peaks: BraggPeaks) -> float | None:
    """How far out disks are seen in Å⁻¹; None where there are none, or their q is not calibrated."""
    if peaks.calibration.pixel_size_inv_angstrom is None:
        return None
    return peaks.reach(part=0.995) or None


@dataclass(frozen=True, slots=True)
class TrainingTask:
    """Everything a training needs, fixed when it starts; to go on with a stopped one, its folder is enough.

    `replaces` is the name of the model in the folder that the user gives up for the new one, and `discards` whether the
    user gives up a stopped training.
    """

    crystals: tuple[Crystal, ...]
    parameters: TrainingParameters
    output: Path
    whole_structure_type: bool = False
    from_nearest: bool = True
    device: str = "auto"
    resume: bool = False
    replaces: str | None = None
    discards: bool = False


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """A finished model: its folder, its crystals, and the hold-out report in Markdown."""

    folder: Path
    crystals: tuple[Crystal, ...]
    report: str


def training_job(task: TrainingTask) -> Generator[TrainingStep | LibraryStep, None, TrainingResult]:
    """Train as the task says; a training that is gone on with keeps the settings that it was begun with."""
    from napari_stem_orient.io.bloch_cache import cached_bloch_library
    from napari_stem_orient.network.checkpoint import read_checkpoint, remove_checkpoint
    from napari_stem_orient.network.model_folder import nearest_shipped_model
    from napari_stem_orient.network.training import recipe_to_start_from, train_model
    from napari_stem_orient.network.training_checks import check_reach, make_model_folder
    from napari_stem_orient.network.training_run import REPORT_NAME

    if task.resume:
        settings = read_checkpoint(task.output).settings
        crystals, parameters = settings.crystals, settings.parameters
        whole, start_from = settings.structure_type is not None, None
    else:
        crystals, whole = task.crystals, task.whole_structure_type
        check_replaced(task)
        setting = "the highest number of 'Disks out to'"
        check_reach(crystals, task.parameters.q_max_high_inv_angstrom, setting=setting)
        make_model_folder(task.output)
        start_from = nearest_shipped_model(crystals) if task.from_nearest else None
        parameters = recipe_to_start_from(task.parameters, start_from)
        remove_checkpoint(task.output)
    folder = yield from train_model(
        crystals,
        parameters=parameters,
        output=task.output,
        whole_structure_type=whole,
        device=task.device,
        start_from=start_from,
        resume=task.resume,
        build_library=cached_bloch_library,
    )
    return TrainingResult(folder, crystals, (folder / REPORT_NAME).read_text(encoding="utf-8"))
