"""What must hold before a training begins: disks within reach, and a folder that can take the model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.errors import UserError
from napari_stem_orient.transformer.checkpoint import has_checkpoint
from napari_stem_orient.transformer.model_folder import CARD_NAME, WEIGHTS_NAME, ModelError, read_card

#: Two pairs: with fewer, no pattern tells an orientation.
FEWEST_REFLECTIONS = 4


def check_reach(crystals: Sequence[Crystal], q_max: float) -> None:
    """Refuse crystals that have no disks as far out as they are seen: nothing can be learned from them.

    Parameters
    ----------
    crystals
        To be trained for.
    q_max
        How far out disks are seen, Å⁻¹.

    Raises
    ------
    UserError
        Names the crystal and where its first disks lie.
    """
    for crystal in crystals:
        if len(crystal.reflections(q_max)[0]) < FEWEST_REFLECTIONS:
            nearest = float(np.linalg.norm(crystal.reciprocal_basis, axis=1).min())
            lengths = np.linalg.norm(crystal.reflections(4 * nearest)[1], axis=1)
            raise UserError(
                f"disks are seen out to {q_max:.3g} 1/Å, but the first disks of {crystal.name} lie at "
                f"{lengths.min():.3g} 1/Å",
                value=q_max,
                fix="raise how far out disks are seen",
                field="q_max_high_inv_angstrom",
            )


def make_model_folder(folder: Path) -> None:
    """Make the model's folder before the training, not after: where it cannot be, nothing is learned in vain.

    Raises
    ------
    OSError
        Names the folder and the way out.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OSError(f"the model cannot be saved in {folder} ({reason}); choose another folder") from error


def model_in(folder: Path) -> str | None:
    """Name of the model that a folder holds, or the folder's own where its card cannot be read; None without one.

    What a stopped training saves beside its checkpoint is no model yet.
    """
    if not any((folder / name).is_file() for name in (CARD_NAME, WEIGHTS_NAME)):
        return None
    try:
        card = read_card(folder)
    except ModelError:
        return folder.name
    unfinished = card.training.get("complete") is not True and has_checkpoint(folder)
    return None if unfinished else card.name
