"""The commands "calibrate" and "sensitivity": what the calibration is, and what an error of it would do."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from napari_stem_orient.cli.choices import open_scan, scan_options
from napari_stem_orient.cli.files import UsageError, check_output, reads_file, writes_file
from napari_stem_orient.cli.jobs import follow, tell
from napari_stem_orient.cli.options import (
    add_model_options,
    build_model,
    calibration_options,
    chosen_crystals,
    existing,
    given_calibration,
    given_values,
    job_options,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_stem_orient.calibration.fit import CalibrationFit
    from napari_stem_orient.core.bragg_peaks import BraggPeaks
    from napari_stem_orient.core.calibration import Calibration
    from napari_stem_orient.core.crystal import Crystal
    from napari_stem_orient.indexing.sensitivity import SensitivityProgress

STEPS = ("origin", "ellipse", "pixel-size")


def calibrate_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `run_calibrate`."""
    from napari_stem_orient.calibration.origin import OriginParameters
    from napari_stem_orient.core.calibration import Quantity
    from napari_stem_orient.io.own_files import CALIBRATION, PEAKS

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
        choices=STEPS,
        metavar="STEP",
        help=f"what to fit: {', '.join(STEPS)}. Default: all that can be, without a crystal not the pixel size.",
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
        "--confirm",
        nargs="+",
        choices=[quantity.replace(" ", "-") for quantity in get_args(Quantity)],
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
    add_model_options(parser, OriginParameters, title="origin", aliases={"model": "--origin-model"})
    calibration_options(parser)


def run_calibrate(arguments: argparse.Namespace) -> str:
    """Fit the calibration step by step, say what was found, and save the peaks with it."""
    crystals = chosen_crystals(arguments) if arguments.crystal else ()
    if arguments.rings:
        return _calibrate_from_rings(arguments, crystals)
    from napari_stem_orient.io.calibration_files import ENDING, save_calibration
    from napari_stem_orient.io.peaks import open_bragg_peaks, save_bragg_peaks

    peaks = open_bragg_peaks(existing(arguments.file))
    lines = [f"before: {_in_short(peaks.calibration)}"]
    peaks = _with_given(arguments, peaks)
    for fit in _fits(arguments, peaks, crystals):
        peaks = fit.applied_to(peaks)
        lines += _told(fit)
    lines.append(f"after: {_in_short(peaks.calibration)}")
    if arguments.output.suffix.lower() == ENDING:
        save_calibration(peaks.calibration, arguments.output)
    else:
        save_bragg_peaks(peaks, arguments.output)
    return "\n".join([*lines, str(arguments.output)])


def _calibrate_from_rings(arguments: argparse.Namespace, crystals: tuple[Crystal, ...]) -> str:
    """Fit the rings of a scan's mean pattern."""
    import numpy as np

    from napari_stem_orient.calibration.ring_pattern import fit_ring_pattern
    from napari_stem_orient.io.calibration_files import ENDING, save_calibration
    from napari_stem_orient.virtual.diffraction import virtual_diffraction

    if len(crystals) != 1:
        raise UsageError("--rings needs one --crystal: the one that the standard is made of")
    if arguments.steps or arguments.map:
        raise UsageError("--steps and --map have no effect with --rings: leave them out")
    check_output(arguments.output, endings=(ENDING,))
    datacube = open_scan(arguments, existing(arguments.file))
    job = virtual_diffraction(datacube, np.ones(datacube.scan_shape, dtype=bool))
    mean = follow(job, "Mean pattern", arguments, on_record=lambda _: None).mean
    fit = fit_ring_pattern(mean, crystals[0], start=_from_file(arguments, datacube.calibration))
    save_calibration(fit.calibration, arguments.output)
    return "\n".join([*_told(fit), str(arguments.output)])


def _fits(
    arguments: argparse.Namespace, peaks: BraggPeaks, crystals: tuple[Crystal, ...]
) -> Iterator[CalibrationFit]:
    """The wanted steps, each on the peaks as the ones before have left them."""
    from napari_stem_orient.calibration.origin import OriginParameters, fit_origins
    from napari_stem_orient.calibration.shape import fit_ellipse, fit_pixel_size, fit_shape

    steps = arguments.steps or [step for step in STEPS if crystals or step != "pixel-size"]
    if arguments.map and not arguments.steps:
        steps = []
    if "pixel-size" in steps and not crystals:
        raise UsageError("the pixel size is told by the rings of a known crystal: give --crystal")
    if "origin" in steps:
        fit = fit_origins(peaks, parameters=build_model(arguments, OriginParameters))
        peaks = fit.applied_to(peaks)
        yield fit
    if "ellipse" in steps and "pixel-size" in steps:
        yield (fit := fit_shape(peaks, crystals))
        peaks = fit.applied_to(peaks)
    elif "ellipse" in steps:
        yield (fit := fit_ellipse(peaks, crystals))
        peaks = fit.applied_to(peaks)
    elif "pixel-size" in steps:
        yield (fit := fit_pixel_size(peaks, crystals))
        peaks = fit.applied_to(peaks)
    if arguments.map:
        yield _refined_from_map(arguments, peaks)


def _refined_from_map(arguments: argparse.Namespace, peaks: BraggPeaks) -> CalibrationFit:
    from napari_stem_orient.indexing.joint_calibration import refine_calibration
    from napari_stem_orient.io.maps import open_orientation_map

    orientation_map = open_orientation_map(existing(arguments.map))
    job = refine_calibration(peaks, orientation_map, device=arguments.device)
    joint = follow(job, "Calibration", arguments, on_record=lambda record: record.note)
    if joint.gains:
        return joint.fit
    return replace(joint.fit, calibration=peaks.calibration, origin_px=peaks.origin_px)


def _with_given(arguments: argparse.Namespace, peaks: BraggPeaks) -> BraggPeaks:
    """The peaks with what the user has taken from a file or given by hand."""
    from napari_stem_orient.core.calibration import Calibration

    if arguments.source is None and not arguments.confirm and not given_values(arguments, Calibration):
        return peaks
    return peaks.with_calibration(_from_file(arguments, peaks.calibration))


def _from_file(arguments: argparse.Namespace, known: Calibration) -> Calibration:
    """What is known, then what another file says, then what was given by hand; the origin is this scan's own.

    What changes counts as calibrated only where the file says so, or the user confirms it.
    """
    from napari_stem_orient.core.merged_calibration import known_quantities, taken_from
    from napari_stem_orient.io.calibration_files import read_calibration

    if arguments.source is not None:
        found, _ = read_calibration(existing(arguments.source))
        told = [quantity for quantity in known_quantities(found) if quantity != "origin"]
        known = taken_from(known, found, told, of_scan=True)
    confirmed = [quantity.replace("-", " ") for quantity in arguments.confirm]
    return given_calibration(arguments, known).unchecked_where_changed(known).with_checked(*confirmed)


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
