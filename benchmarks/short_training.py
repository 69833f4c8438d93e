"""Short trainings for comparisons: the parameters of an existing model, changed in one thing, for some minutes."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import torch
from report import finish

from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.simulation.bloch_library import (
    BlochLibrary,
    BlochParameters,
    LibraryProgress,
    build_bloch_library,
)
from napari_stem_orient.transformer.model_folder import find_models, read_card
from napari_stem_orient.transformer.training import train_model
from napari_stem_orient.transformer.training_parameters import TrainingParameters

#: More than any short training gets through: the minutes end it.
ENDLESS_STEPS = 10_000_000


class KeptLibraries:
    """Builds libraries of dynamical patterns, and each only once."""

    def __init__(self) -> None:
        self._kept: dict[tuple[object, ...], BlochLibrary] = {}

    def __call__(
        self,
        crystals: Sequence[Crystal],
        *,
        parameters: BlochParameters,
        seed: int,
        device: torch.device | str,
    ) -> Generator[LibraryProgress, None, BlochLibrary]:
        """As `build_bloch_library`."""
        key = (tuple(crystal.fingerprint for crystal in crystals), parameters, seed)
        if key not in self._kept:
            self._kept[key] = yield from build_bloch_library(
                crystals, parameters=parameters, seed=seed, device=device
            )
        return self._kept[key]


def folder_of_model(crystal: Crystal, given: Path | None) -> Path:
    """The folder given, or that of the shipped model that knows a crystal."""
    return given if given is not None else find_models([crystal])[crystal.name]


def parameters_of_model(folder: Path, *, minutes: float | None, **changes: Any) -> TrainingParameters:
    """The parameters and network of a model, for some minutes and without early stopping; with ``changes``.

    Where ``changes`` name the steps, those may end the training too, or instead where minutes is None.
    """
    card = read_card(folder)
    known = {name: value for name, value in card.training.items() if name in TrainingParameters.model_fields}
    parameters = TrainingParameters.model_validate({**known, "network": card.network})
    short = {"steps": ENDLESS_STEPS, "minutes": minutes, "early_stopping": False, "evaluations": 1}
    return parameters.model_copy(update={**short, **changes})


def train_briefly(
    crystals: Sequence[Crystal],
    parameters: TrainingParameters,
    output: Path,
    *,
    libraries: KeptLibraries,
    device: str,
    start_from: Path | None = None,
) -> Path:
    """Train and return the model folder; the libraries are made before the minutes begin to count."""
    job = train_model(
        crystals,
        parameters=parameters,
        output=output,
        device=device,
        start_from=start_from,
        build_library=libraries,
    )
    folder: Path = finish(job).result
    return folder
