"""A model folder: config.json (the model card) and weights.safetensors; save, load, and the shipped ones."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import ValidationError

from napari_stem_orient.core.crystal import BUILTIN_CRYSTALS, Crystal
from napari_stem_orient.core.errors import UserError
from napari_stem_orient.transformer.model_card import ModelCard
from napari_stem_orient.transformer.network import OrientationTransformer

CARD_NAME = "config.json"
WEIGHTS_NAME = "weights.safetensors"
WEIGHTS_FOLDER = Path(__file__).parent / "weights"


class ModelError(UserError):
    """A model folder that cannot be used; the message names the folder and the fix."""


@dataclass(frozen=True)
class OrientationModel:
    """A network ready to use, with its card and the hash of its weights."""

    network: OrientationTransformer
    card: ModelCard
    weights_hash: str

    @property
    def identity(self) -> dict[str, str]:
        """What a map records of the model that made it."""
        return {"name": self.card.name, "weights": self.weights_hash, "version": self.card.software_version}

    def phase_index(self, crystal: Crystal) -> int | None:
        """Which of the model's phases a crystal is; None if the model does not know it."""
        return self.card.phase_index(crystal)


def save_model(network: OrientationTransformer, card: ModelCard, folder: str | Path) -> Path:
    """Write a model folder; each file appears whole or not at all.

    Raises
    ------
    OSError
        When the folder cannot be written; the message names it.
    """
    from safetensors.torch import save

    folder = Path(folder)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / WEIGHTS_NAME, save(state))
        write_whole(folder / CARD_NAME, card.model_dump_json(indent=1).encode())
    except OSError as error:
        raise OSError(
            f"the model cannot be written to {folder} ({error.strerror}); choose another folder"
        ) from error
    return folder


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_card(folder: str | Path) -> ModelCard:
    """The card alone, without loading the weights.

    Raises
    ------
    ModelError
        When there is no card or it is not one of ours.
    """
    path = Path(folder) / CARD_NAME
    if not path.is_file():
        raise ModelError(
            f"{folder} is no model folder: it holds no {CARD_NAME}; choose a folder made by training"
        )
    try:
        return ModelCard.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise ModelError(
            f"{path} is not a model card that this version reads; train the model anew"
        ) from error


def load_model(folder: str | Path, *, device: torch.device | str = "cpu") -> OrientationModel:
    """Load a model folder for inference.

    Raises
    ------
    ModelError
        When card or weights are missing, damaged or do not fit each other.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    card = read_card(folder)
    path = Path(folder) / WEIGHTS_NAME
    if not path.is_file():
        raise ModelError(f"{folder} holds no {WEIGHTS_NAME}; copy the whole model folder")
    content = path.read_bytes()
    network = OrientationTransformer(card.network)
    try:
        network.load_state_dict(load(content))
    except (SafetensorError, RuntimeError) as error:
        raise ModelError(
            f"{path} is damaged or belongs to another card; copy or train the model again"
        ) from error
    network.eval().requires_grad_(False).to(device)
    return OrientationModel(network, card, hashlib.sha256(content).hexdigest()[:16])


def shipped_models() -> dict[str, Path]:
    """Names and folders of the models that come with the package."""
    if not WEIGHTS_FOLDER.is_dir():
        return {}
    return {p.name: p for p in sorted(WEIGHTS_FOLDER.iterdir()) if (p / CARD_NAME).is_file()}


def models_home() -> Path:
    """The folder of the user whose models are found without being named."""
    from platformdirs import user_data_path

    return user_data_path("napari-stem-orient", appauthor=False) / "models"


def trained_models() -> dict[str, Path]:
    """Names and folders of the user's own models, the newest first; trainings that are not finished are left out."""
    home = models_home()
    if not home.is_dir():
        return {}
    folders = [p for p in home.iterdir() if _is_finished(p)]
    newest_first = sorted(folders, key=lambda p: (p / CARD_NAME).stat().st_mtime, reverse=True)
    return {p.name: p for p in newest_first}


def _is_finished(folder: Path) -> bool:
    try:
        return read_card(folder).training.get("complete") is True
    except ModelError:
        return False


def models_of(crystals: Sequence[Crystal], *, folders: Sequence[str | Path] = ()) -> dict[str, Path | None]:
    """For each crystal's name the folder of the model that knows it, None where there is none.

    The given folders come first, then the user's own, then the shipped ones.
    """
    own, shipped = trained_models().values(), shipped_models().values()
    candidates = [Path(f) for f in folders] + [*own, *shipped]
    cards = [(folder, read_card(folder)) for folder in candidates]
    return {
        crystal.name: next((folder for folder, card in cards if card.phase_index(crystal) is not None), None)
        for crystal in crystals
    }


def find_models(crystals: Sequence[Crystal], *, folders: Sequence[str | Path] = ()) -> Mapping[str, Path]:
    """For each crystal's name a folder whose model knows it: the given ones first, then the user's, then the shipped.

    Raises
    ------
    ModelError
        When a crystal has no model; the message names both ways out.
    """
    found = models_of(crystals, folders=folders)
    missing = next((crystal for crystal in crystals if found[crystal.name] is None), None)
    if missing is not None:
        raise ModelError(no_model_message(missing))
    return {name: folder for name, folder in found.items() if folder is not None}


def no_model_message(crystal: Crystal) -> str:
    """Say that no model knows a crystal, and both ways out."""
    kind = f" ({crystal.structure_type})" if crystal.structure_type else ""
    what = json.dumps(crystal.name) if crystal.name in BUILTIN_CRYSTALS else "CIF"
    return (
        f"no model knows {crystal.name}{kind}: train one (napari-stem-orient train --crystal {what} "
        "--output FOLDER) or choose template matching"
    )


def nearest_shipped_model(crystals: Sequence[Crystal]) -> Path | None:
    """Return the shipped model whose weights a training for these crystals best starts from.

    The same structure type comes first, then the same Bravais lattice, then the same crystal system, then fcc. None
    where no model is shipped.
    """
    shipped = shipped_models()
    if not shipped:
        return None
    cards = {name: read_card(folder) for name, folder in shipped.items()}

    def distance(name: str) -> tuple[int, bool]:
        return sum(_distance(crystal, cards[name]) for crystal in crystals), name != "fcc"

    return shipped[min(shipped, key=distance)]


def _distance(crystal: Crystal, card: ModelCard) -> int:
    """0 for the same structure (type), 1 for the same Bravais lattice, 2 for the same crystal system, else 3."""
    phases = card.phases
    if crystal.structure_type in card.serves or card.phase_index(crystal) is not None:
        return 0
    if any(_bravais_lattice(crystal) == _bravais_lattice(phase) for phase in phases):
        return 1
    return 2 if any(crystal.crystal_system == phase.crystal_system for phase in phases) else 3


def _bravais_lattice(crystal: Crystal) -> tuple[str, frozenset[tuple[float, ...]]]:
    translations = ((round(float(x), 3) % 1.0 for x in row) for row in crystal.centring_translations)
    return crystal.crystal_system, frozenset(tuple(row) for row in translations)


def model_identities(
    crystals: Sequence[Crystal], *, folders: Sequence[str | Path] = ()
) -> dict[str, dict[str, str]]:
    """What a map records of each crystal's model, by the crystal's name; ModelError where a crystal has none."""
    found = find_models(crystals, folders=folders)
    return {name: load_model(folder).identity for name, folder in found.items()}
