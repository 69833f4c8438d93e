"""The command index: a scan or its peaks to an orientation map; kept in a journal, saved also when stopped."""

from __future__ import annotations

import argparse
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari_stem_orient.cli.choices import detection_options, open_scan, refuse_scan_options, scan_options
from napari_stem_orient.cli.detect import Detected, detect
from napari_stem_orient.cli.files import UsageError, reads_file, writes_file
from napari_stem_orient.cli.jobs import follow, save_or_keep, stopped, tell
from napari_stem_orient.cli.options import (
    add_model_options,
    build_model,
    calibration_options,
    chosen_crystals,
    crystal_option,
    existing,
    given_calibration,
    given_values,
    job_options,
    refuse_unused,
)

if TYPE_CHECKING:
    from napari_stem_orient.core.answers import IndexedBlock
    from napari_stem_orient.core.bragg_peaks import BraggPeaks
    from napari_stem_orient.core.calibration import Calibration
    from napari_stem_orient.core.crystal import Crystal
    from napari_stem_orient.core.orientation_map import OrientationMap
    from napari_stem_orient.steps.index import IndexChoice, MapStarted
    from napari_stem_orient.steps.journal_notices import JournalNotice


def index_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `run_index`."""
    from napari_stem_orient.indexing.methods import MethodName
    from napari_stem_orient.indexing.parameters import IndexParameters
    from napari_stem_orient.indexing.template_parameters import TemplateMatchingParameters
    from napari_stem_orient.io.maps import MAP_ENDINGS
    from napari_stem_orient.io.own_files import MAP, PEAKS

    reads_file(parser, "file", type=Path, metavar="SCAN_OR_PEAKS", help="a scan, or Bragg peaks")
    crystal_option(parser)
    writes_file(
        parser,
        "--output",
        replaces=(MAP,),
        endings=MAP_ENDINGS,
        required=True,
        metavar="MAP.h5",
        help="file for the map",
    )
    parser.add_argument(
        "--method",
        choices=[name.value for name in MethodName],
        default=MethodName.TRANSFORMER.value,
        help="template is py4DSTEM's template matching (the extra py4dstem). Default: transformer.",
    )
    reads_file(
        parser,
        "--model",
        type=Path,
        action="append",
        metavar="FOLDER",
        help="a trained model; may be repeated",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on from a run that was stopped, crashed or found the disk full",
    )
    writes_file(
        parser, "--save-peaks", replaces=(PEAKS,), metavar="PEAKS.h5", help="keep the peaks of a scan"
    )
    job_options(parser)
    scan_options(parser)
    calibration_options(parser)
    add_model_options(parser, IndexParameters, title="transformer", aliases={"n_candidates": "--candidates"})
    add_model_options(parser, TemplateMatchingParameters, title="template matching")
    detection_options(parser)


def run_index(arguments: argparse.Namespace) -> str:
    """Index a scan or peaks with one or several crystals and save the orientation map."""
    from napari_stem_orient.io.maps import open_orientation_map
    from napari_stem_orient.steps import index as step

    crystals = chosen_crystals(arguments)
    choice = index_choice(arguments, crystals)
    earlier = None
    if arguments.resume and arguments.output.exists():
        earlier = open_orientation_map(arguments.output)
    for doubt in step.check(choice, crystals):  # an error before any work is done
        tell(
            f"{doubt}. The map may be wrong: compare it with template matching, or look at some patterns in the window"
        )
    peaks, detected = _peaks_to_index(arguments)
    leftovers = step.Leftovers.TAKE if arguments.resume else step.Leftovers.TELL
    job = step.index(choice, peaks, crystals, resume_from=earlier, leftovers=leftovers)
    lost: list[str] = []
    orientation_map = _fill(arguments, job, lost)
    _save(orientation_map, arguments.output, kept=not lost)
    if detected is not None:
        detected.run.forget()
    total = orientation_map.n_positions
    return (
        f"{arguments.output}: {100 * orientation_map.indexed_fraction:.1f} % of {total:,} positions indexed"
    )


def index_choice(arguments: argparse.Namespace, crystals: tuple[Crystal, ...]) -> IndexChoice:
    """What the options choose, with the crystals loaded; options of the method that is not chosen are refused."""
    from napari_stem_orient.indexing.methods import METHODS, MethodName
    from napari_stem_orient.steps.crystals import CrystalChoice
    from napari_stem_orient.steps.index import IndexChoice

    method = METHODS[MethodName(arguments.method)]
    others = [other.parameters for other in METHODS.values() if other is not method]
    default = method.name is MethodName.TRANSFORMER
    why = f"without --method {MethodName.TEMPLATE}" if default else f"with --method {method.name}"
    refuse_unused(arguments, others, [method.parameters], why=why)
    if arguments.model and not method.uses_models:
        raise UsageError(f"--model has no effect {why}: leave it out")
    return IndexChoice(
        crystals=tuple(CrystalChoice.of(crystal) for crystal in crystals),
        method=method.name,
        parameters=build_model(arguments, method.parameters),
        # they go into the recipe of the map, which is read from other folders
        models=tuple(path.absolute() for path in arguments.model or ()),
        device=arguments.device,
    )


def _fill(
    arguments: argparse.Namespace,
    job: Generator[MapStarted | IndexedBlock | JournalNotice, None, OrientationMap],
    lost: list[str],
) -> OrientationMap:
    """Run the job to its map; stopped, what it has is saved, or else the journal goes on keeping it.

    Why no journal keeps it comes into ``lost``.
    """
    from napari_stem_orient.steps.index import MapStarted
    from napari_stem_orient.steps.journal_notices import JournalNotice

    filled: list[OrientationMap] = []

    def take(record: MapStarted | IndexedBlock | JournalNotice) -> None:
        if isinstance(record, JournalNotice):
            tell(record.text)
            lost.extend([record.text] if record.lost else [])
        elif not isinstance(record, MapStarted):
            filled[0].fill(record)
        else:
            _tell_of_start(arguments, record)
            filled.append(record.orientation_map)

    try:
        return follow(job, f"Orientations ({arguments.method})", arguments, on_record=take)
    except KeyboardInterrupt:
        if not filled or not filled[0].done.any():
            raise
        _save(filled[0], arguments.output, kept=not lost)
        done = int(filled[0].done.sum())
        raise stopped(arguments.output, done, filled[0].n_positions) from None


def _tell_of_start(arguments: argparse.Namespace, record: MapStarted) -> None:
    """Say what an interrupted run has left; nothing to go on from is an error where the user asked for it."""
    from napari_stem_orient.io.peaks import is_peaks_file

    if record.left:
        words = f"{record.left:,} of {record.orientation_map.n_positions:,} positions"
        tell(
            f"{words} are left from a run that was interrupted; with --resume this one would go on from there"
        )
    if arguments.resume and not record.progress.done and is_peaks_file(arguments.file):
        nothing = f"no file {arguments.output} and no run that was interrupted"
        raise FileNotFoundError(f"there is nothing to go on from: {nothing}; leave --resume out")


def _save(orientation_map: OrientationMap, output: Path, *, kept: bool) -> None:
    from napari_stem_orient.io.maps import save_orientation_map
    from napari_stem_orient.steps.index import safe

    save_or_keep(
        partial(save_orientation_map, orientation_map, overwrite=True),
        output,
        "orientations",
        n_done=int(orientation_map.done.sum()),
        kept=kept,
    )
    safe(orientation_map)


def _peaks_to_index(arguments: argparse.Namespace) -> tuple[BraggPeaks, Detected | None]:
    """The peaks of the file, or those detected in the scan, with the calibration that the user gave."""
    from napari_stem_orient.core.calibration import Calibration
    from napari_stem_orient.detection.parameters import DetectionParameters
    from napari_stem_orient.indexing.parameters import IndexParameters
    from napari_stem_orient.indexing.template_parameters import TemplateMatchingParameters
    from napari_stem_orient.io.peaks import NOMINAL, is_peaks_file, open_bragg_peaks
    from napari_stem_orient.steps.calibrate import CalibrateChoice
    from napari_stem_orient.steps.open import GivenCalibration
    from napari_stem_orient.steps.recorded import recorded

    path = existing(arguments.file)
    if is_peaks_file(path):
        refuse_unused(
            arguments,
            [DetectionParameters],
            [Calibration, IndexParameters, TemplateMatchingParameters],
            why="on a file of peaks",
        )
        refuse_scan_options(arguments, why="on a file of peaks")
        if arguments.save_peaks is not None:
            raise UsageError("--save-peaks has no effect on a file of peaks: leave it out")
        peaks = open_bragg_peaks(path)
        if peaks.parameters.get("pixels") == NOMINAL and hasattr(arguments, "pixel_size_inv_angstrom"):
            raise UsageError(
                "--pixel-size-inv-angstrom has no meaning for these peaks, which are in 1/Å already: leave it out"
            )
        entered = given_values(arguments, Calibration)
        if entered:
            choice = CalibrateChoice(given=GivenCalibration(entered), fits=())
            peaks = peaks.with_calibration(given_calibration(arguments, peaks.calibration))
            peaks = peaks.with_recipe(recorded(peaks.recipe, choice, made_from=peaks.name))
        _require_calibration(peaks.calibration)
        return peaks, None
    datacube = open_scan(arguments, path)
    _require_calibration(datacube.calibration)
    detected = detect(arguments, datacube, arguments.save_peaks)
    return detected.peaks, detected


def _require_calibration(calibration: Calibration) -> None:
    """Refuse to index without pixel size and voltage before hours of work are spent; name the options."""
    needed = {
        "--pixel-size-inv-angstrom": calibration.pixel_size_inv_angstrom or calibration.pixel_angle_mrad,
        "--voltage-kv": calibration.voltage_kv,
    }
    missing = [option for option, value in needed.items() if value is None]
    if missing:
        raise ValueError(
            f"the file does not say the {' and the '.join(calibration.missing_for_indexing())}: give "
            f"{' and '.join(missing)}"
        )
