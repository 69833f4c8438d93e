"""What was decided to make a result, as it travels with it: a recipe as plain data, which grows step by step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, RootModel

from napari_stem_orient._version import __version__
from napari_stem_orient.steps.choice import Choice

RECIPE_VERSION = 1
"""Of the form in which choices are written down; another one has a migration in `steps.recipe`."""


def recorded(
    before: Mapping[str, Any],
    *choices: Choice,
    made_from: str = "",
    models: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A recipe as data with more steps, the last ones first decided now.

    Parameters
    ----------
    before
        What the steps before were; empty where there were none, or nobody knows.
    choices
        Of the steps that follow.
    made_from
        Name of the scan that was decided about.
    models
        Identity of the trained model of each crystal, by the crystal's name.
    """
    steps = [*before.get("steps", ()), *(step_as_data(choice) for choice in choices)]
    return {
        **before,
        "version": RECIPE_VERSION,
        "software": __version__,
        "made_from": made_from or before.get("made_from", ""),
        "models": {**before.get("models", {}), **(models or {})},
        "steps": steps,
    }


def with_scan_of(recipe: Mapping[str, Any], scan: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe of a result in which the scan is read as another recipe says, that of the scan as it is now."""
    opened = [step for step in scan.get("steps", ()) if step["step"] == "open"]
    return {
        **recipe,
        "steps": [*opened, *(step for step in recipe.get("steps", ()) if step["step"] != "open")],
    }


def with_steps_of_map(recipe: Mapping[str, Any], of_map: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe of peaks, with the steps of a map that was made of them: what follows needs that map.

    What was done to the peaks after they were indexed comes after the map's steps.
    """
    steps, made = list(recipe.get("steps", ())), list(of_map.get("steps", ()))
    common = next(
        (n for n, (one, other) in enumerate(zip(steps, made, strict=False)) if one != other),
        min(len(steps), len(made)),
    )
    models = {**recipe.get("models", {}), **of_map.get("models", {})}
    return {**of_map, **recipe, "models": models, "steps": [*made, *steps[common:]]}


def step_as_data(choice: Choice) -> dict[str, Any]:
    """A choice JSON-able with the name of its step: all that was decided, the program's own choices among it.

    What is measured, or in no file, where nothing was given is left out: it is found again in every scan.
    """
    return {"step": choice.step, **as_data(choice)}


def as_data(model: BaseModel) -> dict[str, Any]:
    """The fields of a model, JSON-able, but for those that are open: None, or empty, as they are by default."""
    whole = model.model_dump(mode="json")
    found: dict[str, Any] = {}
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, RootModel):
            if whole[name]:
                found[name] = whole[name]
        elif isinstance(value, BaseModel):
            part = as_data(value)
            if part:
                found[name] = part
        elif isinstance(value, tuple) and value and all(isinstance(each, BaseModel) for each in value):
            found[name] = [as_data(each) for each in value]
        elif not _is_open(whole[name]) or field.get_default(call_default_factory=True) != value:
            found[name] = whole[name]
    return found


def _is_open(value: Any) -> bool:
    return value is None or value in ("", [], {})
