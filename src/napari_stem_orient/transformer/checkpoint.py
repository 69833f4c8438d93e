"""A checkpoint: a training run that can go on, in one safetensors file inside the model folder."""

from __future__ import annotations

import errno
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import Tensor

from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.errors import UserError
from napari_stem_orient.transformer.model_folder import write_whole
from napari_stem_orient.transformer.training_parameters import TrainingParameters

CHECKPOINT_NAME = "checkpoint.safetensors"
_HEADER = "training"


class CheckpointError(UserError):
    """A checkpoint that cannot be gone on from; the message names the folder and the fix."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Held-out errors on the way: after so many steps and patterns, at this fraction of the planned run."""

    step: int
    fraction: float
    patterns: int
    errors: dict[str, float]

    @property
    def best_median_deg(self) -> float:
        """Median error in degrees of the best candidate."""
        return self.errors["candidate_median_deg"]

    @property
    def chosen_median_deg(self) -> float:
        """Median error in degrees of the chosen candidate."""
        return self.errors["chosen_median_deg"]


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """What a run trains: its crystals, its parameters, and what the model will be called."""

    crystals: tuple[Crystal, ...]
    parameters: TrainingParameters
    name: str
    structure_type: str | None = None
    start_from: str | None = None

    @property
    def phases(self) -> tuple[tuple[Crystal, ...], ...]:
        """The phases that the model tells apart: each a crystal, or the members of a structure type."""
        return tuple((c,) for c in self.crystals) if self.structure_type is None else (self.crystals,)

    @property
    def n_phases(self) -> int:
        """How many phases these are."""
        return len(self.phases)

    def differences(self, other: TrainingSettings) -> list[str]:
        """In what two runs differ, in words; empty where one can go on as the other."""
        words = []
        if [c.fingerprint for c in self.crystals] != [c.fingerprint for c in other.crystals]:
            words.append(f"crystals: {_names(self.crystals)}, not {_names(other.crystals)}")
        if self.structure_type != other.structure_type:
            words.append(f"structure type: {self.structure_type}, not {other.structure_type}")
        return words + _differing("", self.parameters.model_dump(), other.parameters.model_dump())


@dataclass(frozen=True, slots=True)
class TrainingState:
    """How far a run is.

    Attributes
    ----------
    step, fraction
        Batches learned from, and the fraction of the planned run that is over.
    minutes
        Time that the training has taken.
    plateau
        The fraction at which the held-out error was seen to stand still.
    history
        All evaluations so far.
    """

    step: int
    fraction: float
    minutes: float
    plateau: float | None
    history: tuple[Evaluation, ...]


@dataclass(frozen=True, slots=True)
class CheckpointSummary:
    """What can be read of a checkpoint at once, without its tensors."""

    settings: TrainingSettings
    state: TrainingState


def has_checkpoint(folder: str | Path) -> bool:
    """Whether a folder holds a training that is not finished."""
    return (Path(folder) / CHECKPOINT_NAME).is_file()


def save_checkpoint(
    folder: Path, settings: TrainingSettings, state: TrainingState, tensors: dict[str, Tensor]
) -> None:
    """Write the checkpoint of a run; the file appears whole, or the one before it stays.

    Raises
    ------
    OSError
        When it cannot be written; the message names the folder and why.
    """
    from safetensors.torch import save

    header = {
        "crystals": [c.to_dict() for c in settings.crystals],
        "parameters": settings.parameters.model_dump(mode="json"),
        "name": settings.name,
        "structure_type": settings.structure_type,
        "start_from": settings.start_from,
        "state": asdict(state),
    }
    content = save(
        {k: v.detach().cpu().contiguous() for k, v in tensors.items()}, {_HEADER: json.dumps(header)}
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / CHECKPOINT_NAME, content)
    except OSError as error:
        full = error.errno == errno.ENOSPC
        why = "the disk is full: free some space" if full else f"{error.strerror}; choose another folder"
        raise OSError(f"the checkpoint cannot be written to {folder}: {why}") from error


def read_checkpoint(folder: str | Path) -> CheckpointSummary:
    """What a checkpoint is of, and how far it is.

    Raises
    ------
    CheckpointError
        When there is none, or it is damaged.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(folder) / CHECKPOINT_NAME
    if not path.is_file():
        raise CheckpointError(
            f"{folder} holds no {CHECKPOINT_NAME}: there is no stopped training to go on with"
        )
    try:
        with safe_open(path, framework="pt") as file:
            return _summary(json.loads(file.metadata()[_HEADER]))
    except (SafetensorError, ValidationError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} is damaged or was written by another version; delete it and start over"
        ) from error


def load_tensors(folder: str | Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint whose summary could be read."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(folder) / CHECKPOINT_NAME
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged; delete it and start over") from error
    return tensors


def remove_checkpoint(folder: str | Path) -> None:
    """Let a stopped training go; nothing happens where there is none."""
    (Path(folder) / CHECKPOINT_NAME).unlink(missing_ok=True)


def _summary(header: dict[str, Any]) -> CheckpointSummary:
    state = header["state"]
    return CheckpointSummary(
        TrainingSettings(
            crystals=tuple(Crystal.from_dict(c) for c in header["crystals"]),
            parameters=TrainingParameters.model_validate(header["parameters"]),
            name=header["name"],
            structure_type=header["structure_type"],
            start_from=header["start_from"],
        ),
        TrainingState(**{**state, "history": tuple(Evaluation(**e) for e in state["history"])}),
    )


def _names(crystals: Sequence[Crystal]) -> str:
    return ", ".join(crystal.name for crystal in crystals)


def _differing(prefix: str, ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    words: list[str] = []
    for name, value in ours.items():
        other = theirs[name]
        if isinstance(value, dict) and isinstance(other, dict):
            words += _differing(f"{prefix}{name}.", value, other)
        elif value != other:
            words.append(f"{prefix}{name}: {value}, not {other}")
    return words
