"""The recorder: from what a session holds to the recipe that makes it again."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from napari_stem_orient.core.errors import UserError
from napari_stem_orient.steps.detect import DetectChoice
from napari_stem_orient.steps.mask import mask_fingerprint, open_mask, save_mask
from napari_stem_orient.steps.recipe import Recipe
from napari_stem_orient.steps.recipe_text import save_recipe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_stem_orient.session.state import ScanState


def recorded_recipe(state: ScanState) -> Recipe | None:
    """What was decided to make the current map, else the peaks, else to read the scan; None where nobody knows.

    It is what the result knows of itself, not what the panels show by now.
    """
    for made in (state.current_map, state.peaks, state.datacube):
        if made is not None:
            return Recipe.from_data(made.recipe) if made.recipe else None
    return None


def lost_mask(recipe: Recipe, mask: NDArray[np.bool_] | None) -> bool:
    """Whether a recipe names a painted mask (det_y, det_x) that is in no file and is not this one."""
    choice = recipe.choice(DetectChoice)
    if choice is None or choice.mask.kind != "painted":
        return False
    return mask is None or mask_fingerprint(mask) != choice.mask.fingerprint


def save_recorded(recipe: Recipe, path: Path, *, mask: NDArray[np.bool_] | None = None) -> Path:
    """Save a recipe; a painted mask (det_y, det_x) that it names goes into a file beside it.

    OSError where one of them cannot be written.
    """
    choice = recipe.choice(DetectChoice)
    if (
        choice is not None
        and choice.mask.kind == "painted"
        and mask is not None
        and not lost_mask(recipe, mask)
    ):
        beside = _kept_beside(mask, path.absolute())
        kept = choice.changed(mask=choice.mask.changed(file=beside))
        steps = tuple(kept if each is choice else each for each in recipe.steps)
        recipe = recipe.model_copy(update={"steps": steps})
    return save_recipe(recipe, path, overwrite=True)  # the dialog has asked


def _kept_beside(mask: NDArray[np.bool_], path: Path) -> Path:
    """A file beside the recipe that holds the mask: one that is there already, or a new one."""
    wanted, number = path.with_name(f"{path.stem}_mask.npy"), 1
    while wanted.exists():
        with suppress(UserError, OSError):
            if mask_fingerprint(open_mask(wanted)) == mask_fingerprint(mask):
                return wanted
        number += 1
        wanted = path.with_name(f"{path.stem}_mask_{number}.npy")
    return save_mask(mask, wanted)
