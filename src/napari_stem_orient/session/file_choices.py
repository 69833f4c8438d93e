"""Choices of the user as they stand in a session file: the name of the step, and what was decided about it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from typing import Any

from napari_stem_orient import steps
from napari_stem_orient.steps.choice import Choice


def choice_as_data(choice: Choice) -> dict[str, Any]:
    """A choice, JSON-able."""
    return {"step": choice.step, "fields": choice.model_dump(mode="json")}


def choice_of(data: Mapping[str, Any]) -> Choice:
    """The choice of `choice_as_data`; KeyError for a step that there is not, ValueError for what is not valid."""
    return _kinds()[data["step"]].model_validate(data["fields"])


@cache
def _kinds() -> dict[str, type[Choice]]:
    """The kinds of choices by the names of their steps: all that the modules of steps/ have."""
    for module in pkgutil.iter_modules(steps.__path__, f"{steps.__name__}."):
        importlib.import_module(module.name)
    found: dict[str, type[Choice]] = {}
    waiting: list[type[Choice]] = [Choice]
    while waiting:
        kinds = waiting.pop().__subclasses__()
        waiting += kinds
        found.update({kind.step: kind for kind in kinds if kind.step})
    return found
