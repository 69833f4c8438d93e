"""Recipe: the choices of all steps in their order, to be repeated with other scans; as data and in memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationError, model_validator

from napari_stem_orient._version import __version__
from napari_stem_orient.core.errors import UserError
from napari_stem_orient.steps.calibrate import CalibrateChoice
from napari_stem_orient.steps.choice import Choice
from napari_stem_orient.steps.crystals import CrystalChoice
from napari_stem_orient.steps.detect import DetectChoice
from napari_stem_orient.steps.export import ExportChoice
from napari_stem_orient.steps.index import IndexChoice
from napari_stem_orient.steps.open import OpenChoice
from napari_stem_orient.steps.recorded import RECIPE_VERSION, step_as_data

ChoiceType = TypeVar("ChoiceType", bound=Choice)
Data = Mapping[str, Any]

STEPS: Mapping[str, type[Choice]] = MappingProxyType(
    {choice.step: choice for choice in (OpenChoice, DetectChoice, CalibrateChoice, IndexChoice, ExportChoice)}
)
"""Name of each step that a recipe can have -> its choice, in the order in which they come."""

MIGRATIONS: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = MappingProxyType({})
"""Version -> what makes data of the next one of it."""


class RecipeError(UserError):
    """A recipe that cannot be read, or repeated; ``place`` says where in it ("steps.1.parameters.edge_px")."""

    def __init__(
        self, what: str, *, value: object = None, fix: str = "", field: str = "", place: str = ""
    ) -> None:
        super().__init__(what, value=value, fix=fix, field=field)
        self.place = place


class Recipe(BaseModel):
    """What was decided, step by step; files are named by their absolute paths."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = Field(default=RECIPE_VERSION, title="Version of the form of this recipe")
    software: str = Field(default=__version__, title="Version of napari-stem-orient that wrote it")
    made_from: str = Field(default="", title="The scan that it was recorded with")
    notes: str = Field(default="", title="Notes of yours")
    models: dict[str, dict[str, str]] = Field(
        default_factory=dict, title="Trained model of each crystal; other weights are refused"
    )
    steps: tuple[SerializeAsAny[Choice], ...] = ()

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        names = [choice.step for choice in self.steps]
        for name, before in (("open", ()), ("detect", ("open",))):
            if names.count(name) > 1:
                raise RecipeError(f"the step {name} is there twice", fix="keep one", place="steps")
            if name in names and set(names[: names.index(name)]) - set(before):
                raise RecipeError(f"the step {name} comes too late", fix="put it further up", place="steps")
        return self

    @classmethod
    def from_data(cls, data: Data) -> Self:
        """The recipe of data, of this version or an earlier one.

        Raises
        ------
        RecipeError
            For what is wrong; its ``field`` names the place.
        """
        fields = _parsed(migrated(data))
        try:
            return cls(**fields)
        except ValidationError as error:
            raise _of_field(error, "", "") from error

    def to_data(self) -> dict[str, Any]:
        """JSON-able; what results carry."""
        whole = self.model_dump(mode="json", exclude={"steps"})
        return {**whole, "steps": [step_as_data(choice) for choice in self.steps]}

    def choice(self, kind: type[ChoiceType]) -> ChoiceType | None:
        """The choice of a step, the last one where there are several; None where there is none."""
        return next((choice for choice in reversed(self.steps) if isinstance(choice, kind)), None)

    def with_values(self, assignments: Iterable[str]) -> Self:
        """The recipe with other values: "detect.parameters.edge_px=4"; a second calibration is "calibrate.2".

        Raises
        ------
        RecipeError
            For what is no value of a field of a step.
        """
        data = self.to_data()
        for assignment in assignments:
            _assign(data["steps"], assignment)
        return type(self).from_data(data)

    def same_as(self, other: Recipe) -> bool:
        """Whether both do the same, with the same models and the same version of the program."""
        return not self.differs_from(other)

    def differs_from(self, other: Recipe) -> str:
        """The first place in which another recipe is another one, with both values; "" where there is none.

        What is exported makes no other result, and does not count.
        """
        return first_difference(self._by_step(), other._by_step())

    def _by_step(self) -> dict[str, Any]:
        """What decides about the results, by the names of the steps; the second calibration is "calibrate.2"."""
        data = self.to_data()
        found: dict[str, Any] = {"software": data["software"], "models": data["models"]}
        for step in (each for each in data["steps"] if each["step"] != ExportChoice.step):
            number = sum(name.partition(".")[0] == step["step"] for name in found)
            found[f"{step['step']}.{number + 1}" if number else step["step"]] = step
        return found


def migrated(data: Data) -> dict[str, Any]:
    """Data of an earlier version as data of this one.

    Raises
    ------
    RecipeError
        It names no version, or one that is not known here.
    """
    if not isinstance(data, Mapping) or "steps" not in data:
        raise RecipeError(
            "this is no recipe: it has no steps", fix="open a recipe that this program has saved"
        )
    version = data.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise RecipeError(
            f"the recipe has the version {version!r}",
            fix=f"give a number, 1 to {RECIPE_VERSION}",
            place="version",
        )
    found = dict(data)
    if version > RECIPE_VERSION:
        raise RecipeError(
            f"the recipe is of version {version} (napari-stem-orient {data.get('software', 'unknown')}), and this "
            f"program, {__version__}, knows {RECIPE_VERSION}",
            value=version,
            fix="update napari-stem-orient",
            place="version",
        )
    while version < RECIPE_VERSION:
        found = {**MIGRATIONS[version](found), "version": version + 1}
        version += 1
    return found


def with_paths(recipe: Recipe, change: Callable[[Path], Path]) -> Recipe:
    """The recipe with the name of every file in it changed: of masks, models, CIFs, calibrations."""
    return recipe.model_copy(update={"steps": tuple(_with_paths(choice, change) for choice in recipe.steps)})


def first_difference(one: Any, other: Any, place: str = "") -> str:
    """The first place in which data differ, with both values: "steps.1.edge_px: 4 and 6"; "" where there is none."""
    if any(isinstance(each, Mapping) for each in (one, other)) and all(
        each is None or isinstance(each, Mapping) for each in (one, other)
    ):
        one, other = one or {}, other or {}
        for name in sorted({*one, *other}):
            found = first_difference(one.get(name), other.get(name), f"{place}.{name}".lstrip("."))
            if found:
                return found
        return ""
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True), start=1)
        return next(filter(None, (first_difference(*pair, f"{place}.{n}") for n, pair in pairs)), "")
    return "" if one == other else f"{place}: {_in_short(one)} and {_in_short(other)}"


def _in_short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


# --- from data -------------------------------------------------------------------------------------------------------


def _parsed(data: dict[str, Any]) -> dict[str, Any]:
    """The fields of a recipe, validated one after the other, so that an error names its place."""
    steps = data["steps"]
    if not isinstance(steps, Sequence) or isinstance(steps, str):
        raise RecipeError(
            "the steps of the recipe are no list", fix="begin each with '- step: '", place="steps"
        )
    found = {**data, "steps": tuple(_parsed_step(step, number) for number, step in enumerate(steps))}
    unknown = set(found) - set(Recipe.model_fields)
    if unknown:
        name = sorted(map(str, unknown))[0]
        raise RecipeError(f"a recipe has nothing called {name!r}", fix="leave it out", place=name)
    return found


def _parsed_step(step: Any, number: int) -> Choice:
    place = f"steps.{number}"
    if isinstance(step, Choice):
        return step
    name = step.get("step") if isinstance(step, Mapping) else step
    if not isinstance(step, Mapping) or not isinstance(name, str) or name not in STEPS:
        raise RecipeError(
            f"step {number + 1} is {name!r}", value=name, fix=f"use one of {', '.join(STEPS)}", place=place
        )
    try:
        return STEPS[name].model_validate({key: value for key, value in step.items() if key != "step"})
    except ValidationError as error:
        raise _of_field(error, name, place) from error


def _of_field(error: ValidationError, name: str, place: str) -> RecipeError:
    """The first thing that pydantic has against a recipe, or a step of it, in words."""
    item = error.errors()[0]
    places = [*map(str, item["loc"])]
    ours = item.get("ctx", {}).get("error")
    cause = getattr(ours, "__cause__", None)
    if isinstance(cause, ValidationError):  # of values that stand for fields of a model
        item = cause.errors()[0]
        places += map(str, item["loc"])
        ours = item.get("ctx", {}).get("error")
    where = ".".join(filter(None, [name, *places]))
    if item["type"] == "extra_forbidden":
        what, fix = f"{where} is not known", "correct the name, or leave it out"
    elif isinstance(ours, UserError):
        what, fix = ours.what, ours.fix
    else:
        says = str(ours or item["msg"])
        value = "" if isinstance(item["input"], Mapping) else f" {item['input']!r}"
        what, fix = f"{where}{value}: {says[:1].lower()}{says[1:]}", ""
    return RecipeError(what, value=item["input"], fix=fix, place=".".join(filter(None, [place, *places])))


# --- other values ----------------------------------------------------------------------------------------------------


def _value_of(text: str) -> Any:
    """What a text stands for: lists and nothing as in YAML; a number stays text, of which its field makes a number."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return value if value is None or isinstance(value, str | list | dict) else text.strip()


def _assign(steps: list[dict[str, Any]], assignment: str) -> None:
    """Change one value in the data of steps."""
    place, equals, text = assignment.partition("=")
    names = place.strip().split(".")
    if not equals or len(names) < 2:
        raise RecipeError(
            f"{assignment!r} names no value", value=assignment, fix="write it as detect.parameters.edge_px=4"
        )
    value = _value_of(text)
    node: Any = _step_named(steps, names)
    for name in names[:-1]:
        node = node.setdefault(name, {}) if isinstance(node, dict) else _item(node, name, assignment)
        if not isinstance(node, dict | list):
            raise RecipeError(
                f"{assignment!r}: {name} has no parts", value=assignment, fix="correct the name"
            )
    if isinstance(node, list):
        node[_number(node, names[-1], assignment)] = value
    else:
        node[names[-1]] = value


def _step_named(steps: list[dict[str, Any]], names: list[str]) -> dict[str, Any]:
    """The step that a place begins with; what is left of the place stays in ``names``."""
    name = names.pop(0)
    found = [step for step in steps if step["step"] == name]
    number = names.pop(0) if len(names) > 1 and re.fullmatch(r"\d+", names[0]) else None
    if not found:
        known = ", ".join(dict.fromkeys(step["step"] for step in steps))
        raise RecipeError(f"the recipe has no step {name!r}", value=name, fix=f"its steps are {known}")
    if number is None and len(found) > 1:
        raise RecipeError(
            f"the recipe has {len(found)} steps {name}", value=name, fix=f"say which, {name}.1 for the first"
        )
    if not 1 <= int(number or 1) <= len(found):
        raise RecipeError(f"there is no {name}.{number}", value=number, fix=f"there are {len(found)}")
    return found[int(number or 1) - 1]


def _item(node: list[Any], name: str, assignment: str) -> Any:
    return node[_number(node, name, assignment)]


def _number(node: list[Any], name: str, assignment: str) -> int:
    if not re.fullmatch(r"\d+", name) or not 1 <= int(name) <= len(node):
        raise RecipeError(
            f"{assignment!r}: there is no number {name}", value=name, fix=f"count from 1 to {len(node)}"
        )
    return int(name) - 1


# --- files -----------------------------------------------------------------------------------------------------------


def _with_paths(value: Any, change: Callable[[Path], Path]) -> Any:
    """A choice, or a part of one, in which every path is changed."""
    if isinstance(value, Path):
        return change(value)
    if isinstance(value, tuple):
        return tuple(_with_paths(each, change) for each in value)
    if not isinstance(value, BaseModel):
        return value
    changed = {name: _with_paths(getattr(value, name), change) for name in type(value).model_fields}
    if isinstance(value, CrystalChoice):
        return value.with_path(change)
    return value.model_copy(update=changed)
