"""The short jobs of the training panel; heavy libraries are imported in the worker's thread, not in the window's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_stem_orient.core.crystal import Crystal

if TYPE_CHECKING:
    from napari_stem_orient.core.bragg_peaks import BraggPeaks
    from napari_stem_orient.transformer.checkpoint import CheckpointSummary
    from napari_stem_orient.transformer.training_parameters import TrainingParameters


@dataclass(frozen=True, slots=True)
class TrainingChoices:
    """What the panel offers: training parameters, devices (name, in words), and the folder of the user's models.

    `stopped` is the training there that was stopped last: its folder and its crystals.
    """

    parameters: TrainingParameters
    devices: tuple[tuple[str, str], ...]
    models_home: Path
    stopped: tuple[Path, tuple[Crystal, ...]] | None = None


def training_choices() -> TrainingChoices:
    """Load torch, and say what there is to choose."""
    from napari_stem_orient.device import available_devices, choose_device, describe_device
    from napari_stem_orient.transformer.model_folder import models_home
    from napari_stem_orient.transformer.training_parameters import TrainingParameters

    devices = [("auto", f"Automatic – {describe_device(choose_device('auto'))}")]
    devices += [(name, describe_device(name)) for name in available_devices()]
    home = models_home()
    return TrainingChoices(TrainingParameters(), tuple(devices), home, _stopped_last(home))


def _stopped_last(home: Path) -> tuple[Path, tuple[Crystal, ...]] | None:
    from napari_stem_orient.transformer.checkpoint import CHECKPOINT_NAME, CheckpointError, read_checkpoint

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
    from napari_stem_orient.runs.training_task import stopped_in
    from napari_stem_orient.transformer.model_folder import nearest_shipped_model
    from napari_stem_orient.transformer.training_checks import model_in

    nearest = nearest_shipped_model(crystals) if crystals else None
    return FolderContent(stopped_in(folder), model_in(folder), None if nearest is None else nearest.name)


def reach_of(peaks: BraggPeaks) -> float | None:
    """How far out disks are seen in Å⁻¹; None where there are none, or their q is not calibrated."""
    if peaks.calibration.pixel_size_inv_angstrom is None:
        return None
    return peaks.reach(part=0.995) or None
