"""Command line options: shared groups, options made from pydantic models, and the values a user gave."""

from __future__ import annotations

import argparse
import types
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from napari_stem_orient.cli.files import UsageError, reads_file
from napari_stem_orient.cli.jobs import tell
from napari_stem_orient.core.errors import UserError

if TYPE_CHECKING:
    from napari_stem_orient.core.calibration import Calibration
    from napari_stem_orient.core.crystal import Crystal

ModelType = TypeVar("ModelType", bound=BaseModel)

#: Options that are not called as the field that they fill, and those that help where one field does not.
OPTIONS_OF_FIELDS = {
    "radius_px": "--probe-radius-px, --origin-px",
    "crystals": "--crystal",
    "confirmed": "--confirm",
    "source": "--from",
    "discards": "--resume, --start-over or --output",
    "replaces": "--start-over or --output",
}

PROGRAM = "napari-stem-orient"


def option_name(field: str) -> str:
    """The option of a field: voltage_kv -> --voltage-kv."""
    return f"--{field.replace('_', '-')}"


def add_model_options(
    parser: argparse.ArgumentParser,
    model: type[BaseModel],
    *,
    title: str,
    skip: Collection[str] = (),
    aliases: Mapping[str, str] | None = None,
    metavars: Mapping[str, tuple[str, ...]] | None = None,
    prefix: str = "",
) -> None:
    """Add one option a field, with the field's description and default, in a group of the help text.

    With a prefix, a field "radius_px" is the option --probe-radius-px, and an attribute of that name.

    Fields that an option cannot express (nested models), and those that the parser has already, are left out.
    An option that is not given leaves no attribute: see `given_values`.
    """
    group = parser.add_argument_group(title)
    known = set(parser._option_string_actions)  # noqa: SLF001 - argparse has no public way to ask
    for name, field in model.model_fields.items():
        option = (aliases or {}).get(name, option_name(prefix + name))
        keywords = _keywords(field)
        if name in skip or option in known or keywords is None:
            continue
        if metavars and name in metavars:
            keywords["metavar"] = metavars[name]
        dest = prefix + name
        group.add_argument(option, dest=dest, default=argparse.SUPPRESS, help=_help(field), **keywords)


def given_values(
    arguments: argparse.Namespace, model: type[BaseModel], *, prefix: str = ""
) -> dict[str, Any]:
    """The values that the user gave for the fields of a model; lists become tuples."""
    names = [name for name in model.model_fields if hasattr(arguments, prefix + name)]
    given = {name: getattr(arguments, prefix + name) for name in names}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}


def build_model(
    arguments: argparse.Namespace, model: type[ModelType], *, prefix: str = "", **defaults: Any
) -> ModelType:
    """A model from the given values, the rest from ``defaults`` and then the model's own.

    Raises
    ------
    UsageError
        When a value is out of bounds; the message names the option, the value and the bound.
    """
    return checked(model, {**defaults, **given_values(arguments, model, prefix=prefix)}, prefix=prefix)


def checked(model: type[ModelType], values: Mapping[str, Any], *, prefix: str = "") -> ModelType:
    """A model with these values; a UsageError, in words, where it cannot have them."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise UsageError(one_line(error, prefix=prefix)) from error


def refuse_unused(
    arguments: argparse.Namespace,
    unused: Iterable[type[BaseModel]],
    used: Iterable[type[BaseModel]],
    *,
    why: str,
) -> None:
    """Refuse options that belong only to models that this run does not use."""
    wanted = {name for model in used for name in model.model_fields}
    for model in unused:
        for name in given_values(arguments, model):
            if name not in wanted:
                raise UsageError(f"{option_name(name)} has no effect {why}: leave it out")


def one_line(error: BaseException, *, prefix: str = "") -> str:
    """An error in one line; a pydantic error as options, values and bounds."""
    if isinstance(error, ValidationError):
        return "; ".join(_of_field(item, prefix) for item in error.errors())
    text = " ".join(str(error).split()) or type(error).__name__
    options = options_of(error.field) if isinstance(error, UserError) else ""
    return text if not options or options.split()[0] in text else f"{text} ({options})"


def _of_field(item: Mapping[str, Any], prefix: str) -> str:
    """What pydantic says of one field, by its option; what our own models say is a sentence already."""
    ours = item.get("ctx", {}).get("error")
    if isinstance(ours, UserError) or (ours is not None and not item["loc"]):
        return one_line(ours)
    says = str(ours or item["msg"])
    option = option_name(prefix + str(item["loc"][0])) if item["loc"] else "value"
    return f"{option} {item.get('input')}: {says[:1].lower()}{says[1:]}"


def options_of(field: str) -> str:
    """The options of the field that a `UserError` is about: "--probe-radius-px"; "" where it is about none."""
    return OPTIONS_OF_FIELDS.get(field, option_name(field) if field else "")


def job_options(parser: argparse.ArgumentParser) -> None:
    """Options of every long job: device and progress bar."""
    parser.add_argument(
        "--device",
        choices=["auto", "cpu", "cuda", "mps"],
        default="auto",
        help="what to compute on. Default: auto, the fastest there is.",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def calibration_options(parser: argparse.ArgumentParser) -> None:
    """One option for each value of the calibration."""
    from napari_stem_orient.core.calibration import Calibration

    add_model_options(parser, Calibration, title="calibration (instead of what the file says)")


def crystal_option(parser: argparse.ArgumentParser) -> None:
    """The option that names crystals."""
    reads_file(
        parser,
        "--crystal",
        action="append",
        required=True,
        metavar="NAME_OR_CIF",
        help="a built-in crystal or a CIF (file.cif#name where it holds several structures); may be given again "
        "for more phases",
    )


def given_calibration(arguments: argparse.Namespace, known: Calibration) -> Calibration:
    """What is known of the calibration, with the values that the user gave instead."""
    from napari_stem_orient.steps.open import GivenCalibration

    build_model(arguments, type(known))  # what is out of bounds is named by its option
    return checked(GivenCalibration, given_values(arguments, type(known))).over(known)


def chosen_crystals(arguments: argparse.Namespace) -> tuple[Crystal, ...]:
    """Load the crystals that the user named; what had to be decided about them is told beside the results."""
    return load_crystals(arguments.crystal)


def load_crystals(names: Iterable[str]) -> tuple[Crystal, ...]:
    """Load crystals by name, CIF, or structure of a CIF ("file.cif#name"), and tell what had to be decided."""
    from napari_stem_orient.core.crystal import load_crystal

    crystals = tuple(load_crystal(name) for name in names)
    for crystal in crystals:
        for note in crystal.notes:
            tell(f"{crystal.name}: {note}")
    return crystals


def existing(path: Path) -> Path:
    """Return a path that exists; FileNotFoundError where it does not."""
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}; check the path")
    return path


def _keywords(field: FieldInfo) -> dict[str, Any] | None:
    """What argparse needs to read a value of this field; None where an option cannot express it."""
    annotation = _without_none(field.annotation)
    if get_origin(annotation) is Literal:
        return {"choices": get_args(annotation)}
    if annotation is bool:
        return {"action": argparse.BooleanOptionalAction}
    if annotation in (int, float, str):
        return {"type": annotation, "metavar": annotation.__name__.upper()}
    if get_origin(annotation) is tuple:
        kinds = [_without_none(kind) for kind in get_args(annotation)]
        if kinds and all(kind in (int, float) for kind in kinds):
            return {"type": kinds[0], "nargs": len(kinds), "metavar": kinds[0].__name__.upper()}
    return None


def _without_none(annotation: Any) -> Any:
    """The type float of float | None, and from Annotated[float, ...]."""
    if get_origin(annotation) is Annotated:
        return _without_none(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
        return _without_none(kinds[0]) if len(kinds) == 1 else annotation
    return annotation


def _help(field: FieldInfo) -> str:
    text = field.description or field.title or ""
    default = field.default
    if default not in (PydanticUndefined, None, "") and not isinstance(default, BaseModel):
        text = f"{text} Default: {default}."
    return text.replace("%", "%%")
