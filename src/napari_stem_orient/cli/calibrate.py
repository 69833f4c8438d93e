"""The commands "calibrate" and "sensitivity": what the calibration is, and what an error of it would do."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from napari_stem_orient.cli.choices import open_choice, scan_options, with_ways_out
from napari_stem_orient.cli.files import UsageError, check_output, reads_file, writes_file
from napari_stem_orient.cli.jobs import follow, tell
from napari_stem_orient.cli.options import (
    add_model_options,
    build_model,
    calibration_options,
    checked,
    chosen_crystals,
    existing,
    given_values,
    job_options,
)
from napari_stem_orient.core.errors import UserError

if TYPE_CHECKING:
    from napari_stem_orient.calibration.fit import CalibrationFit
    from napari_stem_orient.core.calibration import Calibration
    from napari_stem_orient.core.crystal import Crystal
    from napari_stem_orient.indexing.joint_calibration import RefinementProgress
    from napari_stem_orient.indexing.sensitivity import SensitivityProgress
    from napari_stem_orient.steps.calibrate import CalibrateChoice
    from napari_stem_orient.steps.calibration_run import Calibrated
    from napari_stem_orient.virtual.diffraction import DiffractionBlock

NOTHING = "none"


def calibrate_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `run_calibrate`."""
    from napari_stem_orient.core.calibration import Quantity
    from napari_stem_orient.io.own_files import CALIBRATION, PEAKS
    from napari_stem_orient.steps.calibrate import FITS, TAKEN, CalibrateChoice

    reads_file(
        parser, "file", type=Path, metavar="PEAKS", help="Bragg peaks; with --rings, a scan of a standard"
    )
    reads_file(
        parser,
        "--crystal",
        action="append",
        metavar="NAME_OR_CIF",
        help="what is known to be in the scan: a built-in crystal or a CIF; may be given again",
    )
    parser.add_argument(
        "--steps",
        nargs="+",
        choices=[*map(_option, FITS), NOTHING],
        metavar="STEP",
        help=f"what to fit: {', '.join(map(_option, FITS))}, or none. Default: all that can be, without a crystal not "
        "the pixel size.",
    )
    reads_file(
        parser,
        "--from",
        dest="source",
        type=Path,
        metavar="FILE",
        help="start from the calibration (rotation and flip among it) of this scan, peaks, map or .json file",
    )
    parser.add_argument(
        "--take",
        nargs="+",
        choices=[_option(name) for name in TAKEN],
        metavar="WHAT",
        help=f"{CalibrateChoice.model_fields['take'].description} Default: all, {', '.join(map(_option, TAKEN))}.",
    )
    parser.add_argument(
        "--confirm",
        nargs="+",
        choices=[_option(quantity) for quantity in get_args(Quantity)],
        default=[],
        metavar="QUANTITY",
        help="count these as calibrated though nothing is fitted: origin, ellipse, pixel-size, rotation",
    )
    reads_file(
        parser,
        "--map",
        type=Path,
        metavar="MAP.h5",
        help="refine from the disks that this map of the peaks explains",
    )
    parser.add_argument(
        "--rings",
        action="store_true",
        help="the file is a scan of a standard: fit the rings of its mean pattern; the output is a .json file",
    )
    writes_file(
        parser,
        "--output",
        replaces=(PEAKS, CALIBRATION),
        required=True,
        metavar="OUT",
        help="file for the calibrated peaks (.h5), or for the calibration alone (.json)",
    )
    job_options(parser)
    scan_options(parser)
    add_model_options(parser, CalibrateChoice, title="origin", skip=("refine", "device"))
    calibration_options(parser)


def _option(name: str) -> str:
    """The name of a quantity without its space."""
    return name.replace(" ", "-")


def run_calibrate(arguments: argparse.Namespace) -> str:
    """Calibrate as it was chosen, say what was found, and save the peaks with it."""
    crystals = chosen_crystals(arguments) if arguments.crystal else ()
    choice = calibrate_choice(arguments, crystals)
    if choice.rings is not None:
        return _calibrate_standard(arguments, choice, crystals)
    from napari_stem_orient.io.calibration_files import ENDING, save_calibration
    from napari_stem_orient.io.maps import open_orientation_map
    from napari_stem_orient.io.peaks import open_bragg_peaks, save_bragg_peaks
    from napari_stem_orient.steps.calibration_run import calibrate

    peaks = open_bragg_peaks(existing(arguments.file))
    lines = [f"before: {_in_short(peaks.calibration)}"]
    orientation_map = open_orientation_map(existing(arguments.map)) if choice.refine else None
    job = calibrate(choice, peaks, crystals=crystals, orientation_map=orientation_map)
    peaks = follow(job, "Calibration", arguments, on_record=partial(_take, lines))
    lines.append(f"after: {_in_short(peaks.calibration)}")
    if arguments.output.suffix.lower() == ENDING:
        save_calibration(peaks.calibration, arguments.output, overwrite=arguments.overwrite)
    else:
        save_bragg_peaks(peaks, arguments.output, overwrite=arguments.overwrite)
    return "\n".join([*lines, str(arguments.output)])


def calibrate_choice(arguments: argparse.Namespace, crystals: tuple[Crystal, ...]) -> CalibrateChoice:
    """What the options choose, with the crystals loaded."""
    from napari_stem_orient.core.calibration import Calibration
    from napari_stem_orient.steps.calibrate import CalibrateChoice
    from napari_stem_orient.steps.crystals import CrystalChoice

    build_model(arguments, Calibration)  # what is out of bounds is named by its option
    if arguments.rings and (arguments.steps or arguments.map):
        raise UsageError("--steps and --map have no effect with --rings: leave them out")
    values = {
        "source": None if arguments.source is None else existing(arguments.source).absolute(),
        "given": given_values(arguments, Calibration),
        "confirmed": _quantities(arguments.confirm),
        "crystals": tuple(CrystalChoice.of(crystal) for crystal in crystals),
        "fits": None if arguments.steps is None else _quantities(arguments.steps),
        "refine": arguments.map is not None,
        "device": arguments.device,
    }
    if hasattr(arguments, "origin_model"):
        values["origin_model"] = arguments.origin_model
    if arguments.take is not None:
        values["take"] = _quantities(arguments.take)
    if arguments.rings:
        values |= {
            "rings": existing(arguments.file).absolute(),
            "standard": open_choice(arguments).changed(calibration={}),
            "fits": (),
        }
    return checked(CalibrateChoice, values)


def _quantities(names: list[str]) -> tuple[str, ...]:
    return tuple(name.replace("-", " ") for name in names if name != NOTHING)


def _calibrate_standard(
    arguments: argparse.Namespace, choice: CalibrateChoice, crystals: tuple[Crystal, ...]
) -> str:
    """Fit the rings of a standard, and keep what they tell of the microscope."""
    from napari_stem_orient.io.calibration_files import ENDING, save_calibration
    from napari_stem_orient.steps.calibration_run import calibrate_standard

    check_output(arguments.output, endings=(ENDING,))
    job = calibrate_standard(choice, crystals=crystals)
    try:
        fit = follow(job, "Mean pattern", arguments, on_record=lambda _: None)
    except UserError as error:
        raise with_ways_out(error) from None
    save_calibration(fit.calibration, arguments.output, overwrite=arguments.overwrite)
    return "\n".join([*_told(fit), str(arguments.output)])


def _take(lines: list[str], record: Calibrated | RefinementProgress | DiffractionBlock) -> str:
    """Note what was found; what a refinement does just now is shown beside the bar."""
    fit = getattr(record, "fit", None)
    if fit is not None:
        lines += _told(fit)
    return str(getattr(record, "note", ""))


def _told(fit: CalibrationFit) -> list[str]:
    from napari_stem_orient.calibration.words import doubts_in_words, lines_of

    told = [f"  {name + ':':<32}{value}" for name, value in lines_of(fit.measured)]
    doubts = [f"  {doubts_in_words(fit.doubts)}"] if fit.doubts else []
    return [f"{fit.title}:", *told, *doubts]


def _in_short(calibration: Calibration) -> str:
    """Pixel size, ellipse and origin in one line, and what is not calibrated."""
    size = calibration.pixel_size_inv_angstrom
    parts = [
        "pixel size unknown" if size is None else f"{size:.6g} 1/Å",
        f"ellipse {calibration.ellipse_ratio:.4f} at {calibration.ellipse_angle_deg:.1f}°",
    ]
    if calibration.origin_px is not None:
        parts.append(
            f"direct beam at row {calibration.origin_px[0]:.2f}, column {calibration.origin_px[1]:.2f}"
        )
    left = calibration.unchecked()
    return ", ".join(parts) + (f" (not calibrated: {', '.join(left)})" if left else "")


def sensitivity_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `run_sensitivity`."""
    from napari_stem_orient.indexing.sensitivity import SensitivityParameters

    parser.add_argument("map", type=Path, metavar="MAP.h5", help="an orientation map")
    parser.add_argument(
        "--peaks", type=Path, required=True, metavar="PEAKS.h5", help="the peaks it was made from"
    )
    parser.add_argument(
        "--changes-percent",
        type=float,
        nargs="+",
        default=argparse.SUPPRESS,
        metavar="FLOAT",
        help="changes of the pixel size in percent. Default: -2 -1 -0.5 0.5 1 2.",
    )
    parser.add_argument(
        "--model", type=Path, action="append", metavar="FOLDER", help="a trained model; may be repeated"
    )
    job_options(parser)
    add_model_options(parser, SensitivityParameters, title="sample")


def run_sensitivity(arguments: argparse.Namespace) -> str:
    """Say what an error of the pixel size would do to a map, as a table."""
    from napari_stem_orient.indexing.sensitivity import SensitivityParameters, calibration_sensitivity
    from napari_stem_orient.io.maps import open_orientation_map
    from napari_stem_orient.io.peaks import open_bragg_peaks

    orientation_map = open_orientation_map(existing(arguments.map))
    peaks = open_bragg_peaks(existing(arguments.peaks))
    if not orientation_map.is_made_from(peaks):
        peaks = peaks.with_calibration(orientation_map.calibration)
    job = calibration_sensitivity(
        peaks,
        orientation_map,
        models=arguments.model or (),
        device=arguments.device,
        parameters=build_model(arguments, SensitivityParameters),
    )
    told: list[str] = []

    def note(record: SensitivityProgress) -> str:
        if not told and not arguments.quiet:
            tell(record.sample)
            told.append(record.sample)
        return record.note

    table = follow(job, "Sensitivity", arguments, on_record=note)
    rows = [table.header(), *table.rows()]
    width = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.rjust(size) for cell, size in zip(row, width, strict=True)) for row in rows]
    compared = f"{table.n_positions:,} of {orientation_map.n_positions:,} positions compared"
    return "\n".join([*lines, f"{compared}; --n-positions for about so many"])
