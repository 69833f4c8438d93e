"""A model folder: config.json (the model card) and weights.safetensors; save, load, and the shipped ones."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from napari_stem_orient.core.crystal import BUILTIN_CRYSTALS, Crystal
from napari_stem_orient.network.transformer import OrientationTransformer, TransformerConfig

CARD_NAME = "config.json"
WEIGHTS_NAME = "weights.safetensors"
WEIGHTS_FOLDER = Path(__file__).parent / "weights"


class ModelError(ValueError):
    """A model folder that cannot be used; the message names the folder and the fix."""


class ModelCard(BaseModel):
    """What a model is, what it was trained on, and how well it did on patterns it had not seen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = 1
    name: str
    structure_type: str | None = None
    crystals: tuple[dict[str, Any], ...]
    voltage_kv: tuple[float, float]
    lattice_scale_angstrom: tuple[float, float]
    q_limit_inv_angstrom: tuple[float, float]
    network: TransformerConfig
    training: dict[str, Any]
    held_out: dict[str, float]
    software_version: str

    @property
    def phases(self) -> tuple[Crystal, ...]:
        """The crystals that the model was trained for."""
        return tuple(Crystal.from_dict(c) for c in self.crystals)

    def summary(self) -> str:
        """One line for the panel."""
        names = ", ".join(str(c["name"]) for c in self.crystals)
        kind = f"every {self.structure_type} crystal" if self.structure_type else names
        accuracy = ""
        if "candidate_within_5_deg" in self.held_out:
            accuracy = (
                f"; held out: a candidate within 5° for {100 * self.held_out['candidate_within_5_deg']:.0f} %, "
                f"median {self.held_out['candidate_median_deg']:.1f}°"
            )
        low, high = self.voltage_kv
        return f"{self.name}: for {kind}, {low:.0f}-{high:.0f} kV{accuracy}"


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
        """Which of the model's phases a crystal is: the same structure type, or the same cell; None if neither."""
        for index, trained in enumerate(self.card.phases):
            same_type = (
                self.card.structure_type is not None and crystal.structure_type == self.card.structure_type
            )
            low, high = self.card.lattice_scale_angstrom
            if same_type and 0.97 * low <= crystal.lattice_scale <= 1.03 * high:
                return index
            if _same_structure(crystal, trained):
                return index
        return None


def _same_structure(a: Crystal, b: Crystal) -> bool:
    """Same space group and contents, cells within 2 % and 1°: the card's scale takes up the rest."""
    if a.space_group != b.space_group or a.formula != b.formula:
        return False
    lengths = all(abs(x / y - 1) < 0.02 for x, y in zip(a.lattice[:3], b.lattice[:3], strict=True))
    return lengths and all(abs(x - y) < 1 for x, y in zip(a.lattice[3:], b.lattice[3:], strict=True))


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
        _write_whole(folder / WEIGHTS_NAME, save(state))
        _write_whole(folder / CARD_NAME, card.model_dump_json(indent=1).encode())
    except OSError as error:
        raise OSError(
            f"the model cannot be written to {folder} ({error.strerror}); choose another folder"
        ) from error
    return folder


def _write_whole(path: Path, content: bytes) -> None:
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


def find_models(crystals: Sequence[Crystal], *, folders: Sequence[str | Path] = ()) -> Mapping[str, Path]:
    """For each crystal's name a folder whose model knows it: the given folders first, then the shipped ones.

    Raises
    ------
    ModelError
        When a crystal has no model; the message names both ways out.
    """
    candidates = [Path(f) for f in folders] + list(shipped_models().values())
    cards = [(folder, read_card(folder)) for folder in candidates]
    found: dict[str, Path] = {}
    for crystal in crystals:
        for folder, card in cards:
            if OrientationModel(None, card, "").phase_index(crystal) is not None:  # type: ignore[arg-type]
                found[crystal.name] = folder
                break
        else:
            kind = f" ({crystal.structure_type})" if crystal.structure_type else ""
            what = json.dumps(crystal.name) if crystal.name in BUILTIN_CRYSTALS else "CIF"
            raise ModelError(
                f"no model knows {crystal.name}{kind}: train one (napari-stem-orient train --crystal {what} "
                "--output FOLDER) or choose template matching"
            )
    return found


def model_identities(
    crystals: Sequence[Crystal], *, folders: Sequence[str | Path] = ()
) -> dict[str, dict[str, str]]:
    """What a map records of each crystal's model, by the crystal's name; ModelError where a crystal has none."""
    found = find_models(crystals, folders=folders)
    return {name: load_model(folder).identity for name, folder in found.items()}
