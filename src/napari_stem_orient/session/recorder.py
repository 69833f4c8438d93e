"""The recorder: from what a session holds to the recipe that makes it again."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_stem_orient.core.errors import UserError
from napari_stem_orient.session.calibrated import with_entered
from napari_stem_orient.steps.calibrate import CalibrateChoice
from napari_stem_orient.steps.crystals import loaded
from napari_stem_orient.steps.detect import DetectChoice
from napari_stem_orient.steps.index import IndexChoice
from napari_stem_orient.steps.mask import mask_fingerprint, open_mask, save_mask
from napari_stem_orient.steps.open import OpenChoice
from napari_stem_orient.steps.recipe import Recipe
from napari_stem_orient.steps.recipe_text import open_recipe, save_recipe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_stem_orient.core.crystal import Crystal
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


# --- a recipe in a window --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpenedRecipe:
    """A recipe from a file, with the crystals that it names loaded."""

    recipe: Recipe
    name: str
    crystals: tuple[Crystal, ...] = ()


def opened_recipe(path: Path) -> OpenedRecipe:
    """Open a recipe, or that of a saved result; UserError where it, or a crystal in it, cannot be read."""
    recipe = open_recipe(path)
    index = recipe.choice(IndexChoice)
    return OpenedRecipe(recipe, path.name, () if index is None else loaded(index.crystals))


def with_choices_of(state: ScanState, opened: OpenedRecipe) -> ScanState:
    """The state in which is chosen for detection and indexing what a recipe says; nothing is done yet.

    Values of the calibration that it enters into a scan are entered where there are no peaks yet. Where it names a
    painted mask that is not open, the mask stays as it is.
    """
    recipe, chosen = opened.recipe, dict(state.choices)
    opening, detect, index = (recipe.choice(kind) for kind in (OpenChoice, DetectChoice, IndexChoice))
    if isinstance(detect, DetectChoice):
        if lost_mask(recipe, state.detector_mask):
            detect = detect.changed(mask=state.choice(DetectChoice).mask)
        chosen[detect.step] = detect
    if isinstance(index, IndexChoice):
        chosen[index.step] = index.changed(crystals=(), models=())  # the session has them loaded
        others = tuple(folder for folder in state.model_folders if folder not in index.models)
        to_index = replace(state.to_index, crystals=opened.crystals, chosen=True, carried=False)
        state = replace(state, to_index=to_index, model_folders=(*index.models, *others))
    state = replace(state, choices=chosen)
    if isinstance(opening, OpenChoice) and state.datacube is not None and state.peaks is None:
        state = with_entered(state, opening.calibration.over(state.datacube.calibration))
    return state


def what_is_left(state: ScanState, opened: OpenedRecipe) -> tuple[str, ...]:
    """The steps of a recipe that opening it has not set, by their names."""
    recipe = opened.recipe
    opening, names = recipe.choice(OpenChoice), []
    values = opening is not None and bool(opening.calibration.root)
    elsewhere = opening is not None and opening.changed(calibration={}) != OpenChoice()
    if elsewhere or (values and (state.datacube is None or state.peaks is not None)):
        names.append(OpenChoice.step)
    if recipe.choice(CalibrateChoice) is not None:
        names.append(CalibrateChoice.step)
    if lost_mask(recipe, state.detector_mask):
        names.append("mask")
    return tuple(names)
