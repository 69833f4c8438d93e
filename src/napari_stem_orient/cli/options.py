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
    import numpy as np
    from numpy.typing import NDArray

    from napari_stem_orient.core.calibration import Calibration
    from napari_stem_orient.core.crystal import Crystal
    from napari_stem_orient.core.datacube import DataCube
    from napari_stem_orient.core.frames import FramesDoNotFit

ModelType = TypeVar("ModelType", bound=BaseModel)

#: Options that are not called as the field that they fill, and those that help where one field does not.
OPTIONS_OF_FIELDS = {"radius_px": "--probe-radius-px, --origin-px"}

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
) -> None:
    """Add one option a field, with the field's description and default, in a group of the help text.

    Fields that an option cannot express (nested models), and those that the parser has already, are left out.
    An option that is not given leaves no attribute: see `given_values`.
    """
    group = parser.add_argument_group(title)
    known = set(parser._option_string_actions)  # noqa: SLF001 - argparse has no public way to ask
    for name, field in model.model_fields.items():
        option = (aliases or {}).get(name, option_name(name))
        keywords = _keywords(field)
        if name in skip or option in known or keywords is None:
            continue
        group.add_argument(option, dest=name, default=argparse.SUPPRESS, help=_help(field), **keywords)


def given_values(arguments: argparse.Namespace, model: type[BaseModel]) -> dict[str, Any]:
    """The values that the user gave for the fields of a model; lists become tuples."""
    given = {name: getattr(arguments, name) for name in model.model_fields if hasattr(arguments, name)}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}


def build_model(arguments: argparse.Namespace, model: type[ModelType], **defaults: Any) -> ModelType:
    """A model from the given values, the rest from ``defaults`` and then the model's own.

    Raises
    ------
    UsageError
        When a value is out of bounds; the message names the option, the value and the bound.
    """
    try:
        return model(**{**defaults, **given_values(arguments, model)})
    except ValidationError as error:
        raise UsageError(one_line(error)) from error


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


def one_line(error: BaseException) -> str:
    """An error in one line; a pydantic error as options, values and bounds."""
    if isinstance(error, ValidationError):
        parts = [
            f"{option_name(str(item['loc'][0])) if item['loc'] else 'value'} {item.get('input')}: "
            f"{str(item['msg'])[:1].lower()}{str(item['msg'])[1:]}"
            for item in error.errors()
        ]
        return "; ".join(parts)
    text = " ".join(str(error).split()) or type(error).__name__
    options = options_of(error.field) if isinstance(error, UserError) else ""
    return text if not options or options.split()[0] in text else f"{text} ({options})"


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


def scan_options(parser: argparse.ArgumentParser) -> None:
    """Options of every command that reads a scan."""
    group = parser.add_argument_group("reading a scan")
    group.add_argument(
        "--scan-shape",
        type=int,
        nargs=2,
        metavar=("Y", "X"),
        help="rows and columns, where the file does not say",
    )
    group.add_argument("--dataset", help="which 4D dataset, where a file holds several")
    group.add_argument(
        "--first-frame",
        type=int,
        metavar="N",
        help="the frame of the file, counted from 1, at which the scan begins; the ones before it are left out",
    )
    group.add_argument(
        "--last-frame",
        type=int,
        metavar="N",
        help="the frame of the file, counted from 1, with which the scan ends; the ones after it are left out",
    )
    group.add_argument(
        "--lost-frames",
        metavar="LIST",
        help="positions of the scan, counted from 1 along its rows, that have no frame in the file: 17 or 3,41-64. "
        "They stay empty",
    )
    group.add_argument(
        "--pedestal",
        type=float,
        metavar="COUNTS",
        help="what a pixel reads that no electron hits; it is subtracted. Default: measured in the empty parts of some "
        "patterns; 0 takes the values as they are.",
    )


def calibration_options(parser: argparse.ArgumentParser) -> None:
    """One option for each value of the calibration."""
    from napari_stem_orient.core.calibration import Calibration

    add_model_options(parser, Calibration, title="calibration (instead of what the file says)")


def detection_options(parser: argparse.ArgumentParser) -> None:
    """Options of the detection of Bragg disks."""
    from napari_stem_orient.detection.parameters import DetectionParameters

    add_model_options(
        parser, DetectionParameters, title="detection (instead of what is measured in a sample of the scan)"
    )
    parser.add_argument(
        "--probe-radius-px",
        type=float,
        metavar="FLOAT",
        help="radius of the disks in px: look for flat disks. Default: the direct beam as it is measured.",
    )
    parser.add_argument(
        "--false-disks-per-pattern",
        type=float,
        metavar="FLOAT",
        help="how many disks noise alone may make in a pattern: sets the significance. Default: 1.",
    )
    parser.add_argument(
        "--detector",
        choices=["torch", "py4dstem"],
        default="torch",
        help="the batched detector, or py4DSTEM's (the extra py4dstem). Default: torch.",
    )
    mask_option(parser)


def mask_option(parser: argparse.ArgumentParser) -> None:
    """The option that names a detector mask; see `chosen_mask`."""
    reads_file(
        parser,
        "--mask",
        metavar="FILE",
        help="detector pixels that are not usable: a .npy or .tif image of the detector, not 0 where a pixel is not "
        "usable, or 'none'. Default: the hot and dead pixels that are found in a sample of the scan.",
    )


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


def open_scan(arguments: argparse.Namespace, path: Path) -> DataCube:
    """Open a scan with the shape, frames, dataset and calibration that the user gave; what is odd in it is told."""
    from napari_stem_orient.core.calibration import Calibration
    from napari_stem_orient.core.frames import positions_from_text
    from napari_stem_orient.io.scan_source import PatternsElsewhere, SingleImage, WrongFrameCount
    from napari_stem_orient.io.scans import open_datacube

    scan_shape = None if arguments.scan_shape is None else (arguments.scan_shape[0], arguments.scan_shape[1])
    try:
        datacube = open_datacube(
            path,
            scan_shape=scan_shape,
            dataset=arguments.dataset,
            first_frame=_index(arguments.first_frame, "--first-frame"),
            last_frame=_index(arguments.last_frame, "--last-frame"),
            lost=() if arguments.lost_frames is None else positions_from_text(arguments.lost_frames),
            pedestal=arguments.pedestal,
        )
    except WrongFrameCount as error:
        raise UserError(f"{error} ({_ways_out(error.fit)})") from error
    except PatternsElsewhere as error:
        way = error.positions.replace(" ", "")
        raise UserError(
            f"{error}" + (f", or, if they are lost, give --lost-frames {way}" if way else "")
        ) from error
    except SingleImage as error:
        raise UserError(f"{error} (--scan-shape 1 1)") from error
    for note in datacube.notes if getattr(arguments, "tells_notes", True) else ():
        tell(f"{path.name}: {note}")
    if not given_values(arguments, Calibration):
        return datacube
    return datacube.with_calibration(given_calibration(arguments, datacube.calibration))


def _index(number: int | None, option: str) -> int | None:
    """The index, from 0, of a frame that the user counts from 1."""
    if number is not None and number < 1:
        raise UsageError(f"{option} {number}: frames are counted from 1")
    return None if number is None else number - 1


def _ways_out(fit: FramesDoNotFit) -> str:
    """The options that make the frames of a file fit the shape that the user gave."""
    from napari_stem_orient.core.frames import position_ranges

    shapes = " or ".join(f"--scan-shape {rows} {columns}" for rows, columns in fit.proposals[:2])
    if fit.excess > 0 and min(fit.scan_shape) > 0:
        first, last = fit.start + fit.excess + 1, fit.start + fit.n_chosen - fit.excess
        return f"--first-frame {first}, or --last-frame {last}; or {shapes}"
    if fit.excess < 0:
        return f"--lost-frames {position_ranges(fit.lost_at_the_end).replace(' ', '')}; or {shapes}"
    return shapes


def given_calibration(arguments: argparse.Namespace, known: Calibration) -> Calibration:
    """What is known of the calibration, with the values that the user gave instead."""
    both = {"pixel_angle_mrad", "pixel_size_inv_angstrom"}
    if both <= given_values(arguments, type(known)).keys():
        raise UsageError(
            "--pixel-angle-mrad and --pixel-size-inv-angstrom say the same thing: give one of them"
        )
    return build_model(arguments, type(known), **known.model_dump()).following(known)


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


def chosen_mask(
    arguments: argparse.Namespace, frames: NDArray[np.generic]
) -> tuple[NDArray[np.bool_] | None, list[str]]:
    """The detector mask (det_y, det_x) that the user gave, else the bad pixels of a sample; and what to tell of it.

    ``frames`` (n, det_y, det_x) are some patterns of the scan (`sample_frames`).
    """
    from napari_stem_orient.detection.bad_pixels import find_bad_pixels, find_saturation
    from napari_stem_orient.io.detector_masks import open_detector_mask

    if arguments.mask == "none":
        return None, []
    if arguments.mask is not None:
        mask = open_detector_mask(
            existing(Path(arguments.mask)), detector_shape=(frames.shape[1], frames.shape[2])
        )
        return mask, [f"{int(mask.sum()):,} pixels are left out (given; --mask)"]
    bad = find_bad_pixels(frames)
    saturation = find_saturation(frames, bad.mask)
    told = [f"{bad.sentence()} (found; --mask none to use all)"] if bad.mask.any() else []
    told += [] if saturation is None else [saturation.sentence()]
    return (bad.mask if bad.mask.any() else None), told


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
    if default is not PydanticUndefined and default is not None and not isinstance(default, BaseModel):
        text = f"{text} Default: {default}."
    return text.replace("%", "%%")
