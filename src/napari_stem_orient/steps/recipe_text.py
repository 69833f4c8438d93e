"""Recipes as text: YAML with titles and units beside the values, and paths from the recipe's folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

import yaml
from pydantic import BaseModel, RootModel
from pydantic.fields import FieldInfo

from napari_stem_orient.core.errors import UserError
from napari_stem_orient.steps.choice import Given
from napari_stem_orient.steps.recipe import Recipe, RecipeError, migrated, with_paths
from napari_stem_orient.steps.recorded import as_data

HEADER = """\
# A recipe of napari-stem-orient: what was decided, step by step. Repeat it with other scans:
#   napari-stem-orient run RECIPE.yaml SCAN [SCAN ...] --output FOLDER
# What is not named here is measured in each scan, or taken from its file.
"""


def recipe_as_text(recipe: Recipe, *, folder: Path | None = None) -> str:
    """A recipe as YAML.

    Parameters
    ----------
    recipe
        To be written down.
    folder
        Where it will be saved: files are named from there. By their absolute paths where None.
    """
    if folder is not None:
        here = folder
        recipe = with_paths(recipe, lambda path: _from_folder(path, here))
    lines = [HEADER.rstrip()]
    for name in ("version", "software", "made_from", "notes", "models"):
        value = getattr(recipe, name)
        if value:
            lines += _lines(name, value, Recipe.model_fields[name], 0)
    lines.append("steps:")
    for choice in recipe.steps:
        lines.append(f"- step: {choice.step}")
        lines += _fields(choice, 1)
    return "\n".join(lines) + "\n"


def recipe_from_text(text: str, *, folder: Path | None = None) -> Recipe:
    """A recipe from YAML.

    Parameters
    ----------
    text
        What `recipe_as_text` gives, or a user has written.
    folder
        Where the files lie that it names by relative paths; the working folder where None.

    Raises
    ------
    RecipeError
        For what is wrong; the message names the line.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        _refuse_repeated(node)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f" (line {mark.line + 1})"
        problem = getattr(error, "problem", None) or "it is no text"
        raise RecipeError(f"the recipe is no YAML{where}: {problem}", fix="correct the line") from error
    try:
        recipe = Recipe.from_data(migrated(data))
    except UserError as error:
        line = _line_of(node, getattr(error, "place", ""))
        where = f"line {line}: " if line else ""
        raise RecipeError(
            f"{where}{error.what}", value=error.value, fix=error.fix, field=error.field
        ) from error
    base = Path.cwd() if folder is None else folder.absolute()
    return with_paths(recipe, lambda path: Path(os.path.normpath(base / path)))


def save_recipe(recipe: Recipe, path: Path, *, overwrite: bool = False) -> Path:
    """Write a recipe to a file, whole or not at all; files in it are named from there.

    It takes the place of an earlier recipe that this program has written, and with ``overwrite`` of anything.
    """
    from napari_stem_orient.io.atomic import complete_or_absent
    from napari_stem_orient.io.own_files import RECIPE

    with complete_or_absent(path, replaces=(RECIPE,), overwrite=overwrite) as temporary:
        temporary.write_text(recipe_as_text(recipe, folder=path.absolute().parent), encoding="utf-8")
    return path


def open_recipe(path: Path) -> Recipe:
    """Read a recipe from a YAML file, or out of peaks or a map.

    Raises
    ------
    RecipeError
        There is none in it, or it is wrong.
    """
    from napari_stem_orient.io.maps import is_orientation_map_file, open_orientation_map
    from napari_stem_orient.io.peaks import is_peaks_file, open_bragg_peaks

    if not path.is_file():
        raise RecipeError(f"there is no file {path}", value=str(path), fix="check the name")
    for is_one, open_it in (
        (is_orientation_map_file, open_orientation_map),
        (is_peaks_file, open_bragg_peaks),
    ):
        if is_one(path):
            data = open_it(path).recipe
            if not data:
                raise RecipeError(
                    f"{path.name} holds no recipe: it was saved by an earlier version, or made without one",
                    value=str(path),
                    fix="save the result again, or record a recipe in the window",
                )
            return Recipe.from_data(data)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path.name} is no recipe: it is no text", fix="open a .yaml file") from error
    try:
        return recipe_from_text(text, folder=path.parent)
    except RecipeError as error:
        raise RecipeError(
            f"{path.name}, {error.what}", value=error.value, fix=error.fix, field=error.field
        ) from error


def _from_folder(path: Path, folder: Path) -> Path:
    """A path from a folder, where there is one: not from one drive to another."""
    if not path.is_absolute():
        return path
    try:
        return Path(os.path.relpath(path, folder))
    except ValueError:
        return path


# --- to YAML ---------------------------------------------------------------------------------------------------------


def _fields(model: BaseModel, depth: int) -> list[str]:
    """The lines of those fields of a model that a recipe keeps."""
    kept = as_data(model)
    lines = []
    for name, field in type(model).model_fields.items():
        if name in kept:
            lines += _lines(name, getattr(model, name), field, depth)
    return lines


def _lines(name: str, value: Any, field: FieldInfo, depth: int) -> list[str]:
    """The lines of one field: a value with its title and unit, or a part with fields of its own."""
    space, comment = "  " * depth, _comment(field)
    if isinstance(value, Given):
        found = [f"{space}{name}:  # {field.title}, as given; all others are measured, or read"]
        for each, given in value.root.items():
            found.append(f"{space}  {each}: {_value(given)}{_comment(value.of.model_fields[each])}")
        return found
    if isinstance(value, BaseModel) and not isinstance(value, RootModel):
        return [f"{space}{name}:{comment}", *_fields(value, depth + 1)]
    if isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        found = [f"{space}{name}:{comment}"]
        for each in value:
            first, *others = _fields(each, depth + 2)
            found += [f"{space}  - {first.lstrip()}", *others]
        return found
    return [f"{space}{name}: {_value(value)}{comment}"]


def _comment(field: FieldInfo) -> str:
    """Title and unit of a field."""
    extra = field.json_schema_extra
    unit = extra.get("unit", "") if isinstance(extra, dict) else ""
    words = ", ".join(str(word) for word in (field.title, unit) if word)
    return f"  # {words}" if words else ""


def _value(value: Any) -> str:
    """A plain value in one line of YAML."""
    if isinstance(value, PurePath):
        value = value.as_posix()
    plain = RootModel[Any](value).model_dump(mode="json")
    text = yaml.safe_dump(
        plain, default_flow_style=True, allow_unicode=True, width=float("inf"), sort_keys=False
    )
    return text.removesuffix("\n").removesuffix("...").rstrip("\n")


# --- lines of what is wrong ------------------------------------------------------------------------------------------


def _refuse_repeated(node: yaml.Node | None) -> None:
    """Refuse a name that is given twice: YAML would take the last one without a word."""
    if isinstance(node, yaml.MappingNode):
        names: set[str] = set()
        for key, value in node.value:
            if key.value in names:
                line = key.start_mark.line + 1
                raise RecipeError(
                    f"line {line}: {key.value} is given twice", value=key.value, fix="keep one of them"
                )
            names.add(key.value)
            _refuse_repeated(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_repeated(value)


def _line_of(node: yaml.Node | None, place: str) -> int | None:
    """Line of a place ("steps.1.parameters.edge_px"), or of the nearest part around it; None where there is none."""
    line = None
    for name in place.split(".") if place else ():
        found = next((part for key, part in _parts(node) if key == name), None)
        if found is None:
            break
        line, node = found
    return line


def _parts(node: yaml.Node | None) -> Iterator[tuple[str, tuple[int, yaml.Node]]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key.value, (key.start_mark.line + 1, value)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield str(number), (value.start_mark.line + 1, value)
