"""The jobs that the stages start; heavy libraries are imported in the worker's thread, not in the window's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.crystal import Crystal

if TYPE_CHECKING:
    from napari_stem_orient.transformer.model_card import ModelCard


def devices() -> tuple[tuple[str, str], ...]:
    """Load torch and the transformer, and say which devices there are to choose from: name, and in words."""
    import napari_stem_orient.indexing.index  # noqa: F401 - what an indexing run would have to wait for
    from napari_stem_orient.device import available_devices, choose_device, describe_device

    found = [("auto", f"Automatic – {describe_device(choose_device('auto'))}")]
    found += [(name, describe_device(name)) for name in available_devices()]
    return tuple(found)


@dataclass(frozen=True, slots=True)
class ModelUse:
    """A model that is used for some of the crystals, in words.

    `lines` are its card, (title, text); `note` the range in short; `outside` says that it proposes badly, if it does,
    and where the measurement and the crystals lie outside the range that it was trained for.
    """

    name: str
    crystals: tuple[str, ...]
    lines: tuple[tuple[str, str], ...]
    note: str
    outside: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelsFound:
    """Whether every crystal has a model, what is to be said about it, and the models of those that have one."""

    complete: bool
    sentence: str
    models: tuple[ModelUse, ...] = ()


def models_for(
    crystals: tuple[Crystal, ...],
    folders: tuple[Path, ...],
    *,
    voltage_kv: float | None = None,
    peaks: BraggPeaks | None = None,
) -> ModelsFound:
    """Look for the models that know the crystals, read their cards and compare them with the measurement."""
    from napari_stem_orient.transformer.model_folder import models_of, read_card

    try:
        found = models_of(crystals, folders=folders)
        used = [folder for folder in dict.fromkeys(found.values()) if folder is not None]
        cards = [read_card(folder) for folder in used]
        unused = [read_card(folder).name for folder in folders if folder not in used]
    except (ValueError, OSError) as error:
        return ModelsFound(False, _capitalised(str(error)))
    q_limit = _reach(peaks)
    models = tuple(
        _model_use(card, [c for c in crystals if found[c.name] == folder], voltage_kv, q_limit)
        for folder, card in zip(used, cards, strict=True)
    )
    missing = [_no_model(crystal) for crystal in crystals if found[crystal.name] is None]
    sentences = [f"model {use.name} for {' and '.join(use.crystals)}" for use in models]
    if missing:
        sentences = missing
    sentences += [f"model {name} knows none of these crystals and is not used" for name in unused]
    return ModelsFound(not missing, " ".join(f"{_capitalised(text)}." for text in sentences), models)


def _model_use(
    card: ModelCard, crystals: Sequence[Crystal], voltage_kv: float | None, q_limit: float | None
) -> ModelUse:
    from napari_stem_orient.transformer.model_card import outside_trained_range

    outside = [
        text
        for crystal in crystals
        for text in outside_trained_range(card, crystal, voltage_kv=voltage_kv, q_limit_inv_angstrom=q_limit)
    ]
    lines = card.lines()
    note = ", ".join(text for title, text in lines if title in ("Voltage", "Cell edge a"))
    doubts = tuple(dict.fromkeys(text for text in (card.poor_proposals, *outside) if text))
    return ModelUse(card.name, tuple(c.name for c in crystals), lines, note, doubts)


def _no_model(crystal: Crystal) -> str:
    kind = f" ({crystal.structure_type})" if crystal.structure_type else ""
    return f"no model knows {crystal.name}{kind}: train one, or choose template matching as the method"


def _reach(peaks: BraggPeaks | None) -> float | None:
    """How far out disks are seen in Å⁻¹; None where there are none, or their q is not calibrated."""
    if peaks is None or peaks.calibration.pixel_size_inv_angstrom is None:
        return None
    return peaks.reach(part=0.995) or None


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
