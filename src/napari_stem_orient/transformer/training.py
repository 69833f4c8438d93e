"""Training on simulated patterns, as a generator that can be stopped at any step and gone on with later."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Protocol

import torch

from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.device import choose_device
from napari_stem_orient.simulation.bloch_library import (
    BlochLibrary,
    BlochParameters,
    LibraryProgress,
    build_bloch_library,
)
from napari_stem_orient.transformer.checkpoint import (
    CheckpointError,
    CheckpointSummary,
    TrainingSettings,
    read_checkpoint,
)
from napari_stem_orient.transformer.model_folder import read_card
from napari_stem_orient.transformer.pattern_sampler import library_parameters
from napari_stem_orient.transformer.preparation import PreparationProgress, as_preparation
from napari_stem_orient.transformer.trainer import HELD_OUT_SEED, Trainer
from napari_stem_orient.transformer.training_parameters import TrainingParameters
from napari_stem_orient.transformer.training_run import TrainingProgress, TrainingRun

#: Zone axes of the library that a model is judged by, relative to that which it learns from.
HELD_OUT_LIBRARY = 0.25

#: Learning rate of a training that goes on from a model, relative to that of one from random weights.
HEAD_START_RATE = 0.5


class LibraryBuilder(Protocol):
    """What simulates the dynamical patterns of the members of one structure type."""

    def __call__(
        self,
        crystals: Sequence[Crystal],
        *,
        parameters: BlochParameters,
        seed: int,
        device: torch.device | str,
    ) -> Generator[LibraryProgress, None, BlochLibrary]:
        """See `build_bloch_library`."""
        ...


#: Structure types whose members have the same lattice, Laue class and sites: one model serves them.
TYPES_OF_ONE_MODEL = ({"diamond", "zinc blende"},)


def train_model(
    crystals: Sequence[Crystal],
    *,
    parameters: TrainingParameters,
    output: str | Path,
    name: str | None = None,
    whole_structure_type: bool = False,
    device: str = "auto",
    start_from: str | Path | None = None,
    resume: bool = False,
    build_library: LibraryBuilder = build_bloch_library,
) -> Generator[TrainingProgress | PreparationProgress, None, Path]:
    """Train a model for some crystals and write its folder.

    Parameters
    ----------
    crystals
        The phases that the model shall tell apart; with ``whole_structure_type`` the members that it learns from.
    parameters
        The training parameters.
    output
        Model folder; written every 500 steps or two minutes, at the end and when stopped, then with a checkpoint.
    name
        The model's name; the folder's name where none is given.
    whole_structure_type
        The model serves every crystal of the structure type that all the crystals are of.
    device
        "auto", "cpu", "cuda" or "mps".
    start_from
        Model folder to take the first weights from; random weights where none is given.
    resume
        Go on from the checkpoint in the folder; on a CPU, without a time limit, to the same model as without a stop.
    build_library
        What makes the libraries of dynamical patterns, where the parameters ask for them.

    Yields
    ------
    PreparationProgress
        While the libraries of dynamical patterns are read or simulated, and the network is set up.
    TrainingProgress
        After every few batches. Peak memory: about 1 GB for a cubic crystal at the default batch size.

    Returns
    -------
    The model folder, with the hold-out report "report.md" in it.

    Raises
    ------
    ValueError
        For crystals that do not go together, and when the checkpoint is of another training.
    DivergedError
        When the loss is no number any more; the folder holds the model as it was last saved.
    """
    if not crystals:
        raise ValueError("no crystal to train for; name at least one")
    output = Path(output)
    settings = TrainingSettings(
        crystals=tuple(crystals),
        parameters=parameters,
        name=name or output.name,
        structure_type=common_structure_type(crystals) if whole_structure_type else None,
        start_from=None if start_from is None else Path(start_from).name,
    )
    earlier = _checkpoint_of(settings, output) if resume else None
    if earlier is not None:
        settings, start_from = earlier.settings, None
    trainer = yield from _trainer(settings, choose_device(device), start_from, build_library)
    state = None if earlier is None else earlier.state
    run = TrainingRun(settings, output, trainer=trainer, resume_from=state)
    yield from run.learn()
    return (yield from run.conclude())


def parameters_to_start_from(parameters: TrainingParameters, folder: str | Path | None) -> TrainingParameters:
    """The same parameters, fit to go on from a model folder; they themselves where there is none.

    The network gets the size of that model, so that all weights are of use. A learning rate that was left at its
    default is halved: at the full one a short training unlearns more than it learns.
    """
    if folder is None:
        return parameters
    changes: dict[str, object] = {"network": read_card(folder).network}
    default: float = TrainingParameters.model_fields["learning_rate"].default
    if parameters.learning_rate == default:
        changes["learning_rate"] = HEAD_START_RATE * default
    return parameters.model_copy(update=changes)


def _trainer(
    settings: TrainingSettings,
    device: torch.device,
    start_from: str | Path | None,
    build_library: LibraryBuilder,
) -> Generator[PreparationProgress, None, Trainer]:
    """The network and its patterns, after those that are dynamical have been simulated."""
    libraries, held_out_libraries = yield from _libraries(settings, device, build_library)
    return Trainer(
        settings.phases,
        settings.parameters,
        device=device,
        start_from=start_from,
        libraries=libraries,
        held_out_libraries=held_out_libraries,
    )


def _libraries(
    settings: TrainingSettings, device: torch.device, build: LibraryBuilder
) -> Generator[PreparationProgress, None, tuple[list[BlochLibrary] | None, list[BlochLibrary] | None]]:
    """Each phase's dynamical patterns to learn from, and those of other zone axes and voltages to judge by."""
    parameters = settings.parameters
    if parameters.simulation == "kinematic":
        return None, None
    # Most versions of torch cannot decompose matrices on Apple's GPUs.
    device = torch.device("cpu") if device.type == "mps" else device
    fewer = max(100, round(HELD_OUT_LIBRARY * parameters.zone_axes))
    held_out_parameters = parameters.model_copy(update={"zone_axes": fewer})
    libraries: list[BlochLibrary] = []
    held_out: list[BlochLibrary] = []
    total = 2 * len(settings.phases)
    for members in settings.phases:
        for given, seed, place, use in (
            (parameters, parameters.seed, libraries, "to learn from"),
            (held_out_parameters, parameters.seed + HELD_OUT_SEED, held_out, "to judge by"),
        ):
            wanted = library_parameters(members, given)
            names = members[0].name if len(members) == 1 else f"{len(members)} crystals"
            number = len(libraries) + len(held_out) + 1
            text = f"Simulating dynamical patterns of {names} {use} (part {number} of {total})"
            yield PreparationProgress(text, Progress(0, 1, "steps"))
            job = build(members, parameters=wanted, seed=seed, device=device)
            place.append((yield from as_preparation(job, text)))
    yield PreparationProgress("Setting up the network", Progress(0, 1, "steps"))
    return libraries, held_out


def common_structure_type(crystals: Sequence[Crystal]) -> str:
    """The structure type that all crystals are of; that of the first where they are of types with one model.

    Raises
    ------
    ValueError
        When they are of several, or of none that is known by name.
    """
    kinds = {crystal.structure_type for crystal in crystals}
    kind = crystals[0].structure_type if len(kinds) == 1 or kinds in TYPES_OF_ONE_MODEL else None
    if kind is None:
        names = ", ".join(f"{c.name} ({c.structure_type or 'no common type'})" for c in crystals)
        raise ValueError(
            f"a model for a whole structure type needs crystals of one known structure type, not {names}"
        )
    return kind


def _checkpoint_of(settings: TrainingSettings, output: Path) -> CheckpointSummary:
    """The checkpoint in a folder, if it is of the same training."""
    summary = read_checkpoint(output)
    other = summary.settings.differences(settings)
    if other:
        raise CheckpointError(
            f"the training in {output} was begun with other settings ({'; '.join(other)}); use those, or start over"
        )
    return summary
