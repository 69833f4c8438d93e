"""The command index: a scan or its peaks to an orientation map; kept in a journal, saved also when stopped."""

from __future__ import annotations

import argparse
from collections.abc import Generator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    from pydantic import BaseModel

    from napari_stem_orient.core.bragg_peaks import BraggPeaks
    from napari_stem_orient.core.calibration import Calibration
    from napari_stem_orient.core.crystal import Crystal
    from napari_stem_orient.core.orientation_map import IndexedBlock, OrientationMap
    from napari_stem_orient.runs.run_journal import RunJournal


def index_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `run_index`."""
    from napari_stem_orient.indexing.parameters import IndexParameters
    from napari_stem_orient.indexing.template_plan import TemplateMatchingParameters
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
        choices=["transformer", "template"],
        default="transformer",
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
    from napari_stem_orient.core.py4dstem_extra import require_py4dstem
    from napari_stem_orient.io.maps import open_orientation_map
    from napari_stem_orient.runs.map_journal import remove_interrupted_maps
    from napari_stem_orient.transformer.model_folder import model_identities

    crystals = chosen_crystals(arguments)
    parameters = _index_parameters(arguments)
    earlier = None
    if arguments.resume and arguments.output.exists():
        earlier = open_orientation_map(arguments.output)
    # an error before any work is done where py4DSTEM is missing or a crystal has no model
    template = arguments.method == "template"
    if template:
        require_py4dstem()
    model = None if template else model_identities(crystals, folders=arguments.model or ())
    if not template:
        _tell_of_poor_models(crystals, arguments.model or ())
    peaks, detected = _peaks_to_index(arguments)
    orientation_map, journal = _map_to_fill(arguments, peaks, crystals, parameters, model, earlier)
    job = _index_job(arguments, peaks, crystals, parameters, orientation_map)
    orientation_map = _fill(arguments, orientation_map, job, journal)
    _save(orientation_map, arguments.output, journal)
    journal.remove()
    remove_interrupted_maps(orientation_map)
    if detected is not None:
        detected.run.forget()
    total = orientation_map.n_positions
    return (
        f"{arguments.output}: {100 * orientation_map.indexed_fraction:.1f} % of {total:,} positions indexed"
    )


def _tell_of_poor_models(crystals: Sequence[Crystal], folders: Sequence[Path]) -> None:
    """Say of each model that will be used, before any work is done, that it proposes badly if its card says so."""
    from napari_stem_orient.transformer.model_folder import find_models, read_card

    for folder in dict.fromkeys(find_models(crystals, folders=folders).values()):
        card = read_card(folder)
        if card.poor_proposals:
            tell(
                f"model {card.name}: {card.poor_proposals}. The map may be wrong: compare it with template "
                "matching, or look at some patterns in the window"
            )


def _fill(
    arguments: argparse.Namespace,
    orientation_map: OrientationMap,
    job: Generator[IndexedBlock, None, OrientationMap],
    journal: RunJournal,
) -> OrientationMap:
    """Run the job to its map; stopped, what it has is saved, or else the journal goes on keeping it."""
    from napari_stem_orient.runs.map_journal import map_kept_in_journal

    told: list[str] = []

    def take(block: IndexedBlock) -> None:
        orientation_map.fill(block)
        if journal.problem and not told:
            told.append(journal.problem)
            tell(journal.problem)

    title = f"Orientations ({arguments.method})"
    try:
        return follow(map_kept_in_journal(job, journal), title, arguments, on_record=take)
    except KeyboardInterrupt:
        if not orientation_map.done.any():
            journal.remove()
            raise
        _save(orientation_map, arguments.output, journal)
        journal.remove()
        done = int(orientation_map.done.sum())
        raise stopped(arguments.output, done, orientation_map.n_positions) from None


def _save(orientation_map: OrientationMap, output: Path, journal: RunJournal) -> None:
    from napari_stem_orient.io.maps import save_orientation_map

    n_done = int(orientation_map.done.sum())
    save = partial(save_orientation_map, orientation_map)
    save_or_keep(save, output, "orientations", n_done=n_done, kept=not journal.problem)


def _index_parameters(arguments: argparse.Namespace) -> BaseModel:
    """The parameters of the chosen method; options of the other one are refused."""
    from napari_stem_orient.indexing.parameters import IndexParameters
    from napari_stem_orient.indexing.template_plan import TemplateMatchingParameters

    if arguments.method == "template":
        why = "with --method template"
        refuse_unused(arguments, [IndexParameters], [TemplateMatchingParameters], why=why)
        if arguments.model:
            raise UsageError(f"--model has no effect {why}: leave it out")
        return build_model(arguments, TemplateMatchingParameters)
    why = "without --method template"
    refuse_unused(arguments, [TemplateMatchingParameters], [IndexParameters], why=why)
    return build_model(arguments, IndexParameters)


def _map_to_fill(
    arguments: argparse.Namespace,
    peaks: BraggPeaks,
    crystals: tuple[Crystal, ...],
    parameters: BaseModel,
    model: dict[str, Any] | None,
    earlier: OrientationMap | None,
) -> tuple[OrientationMap, RunJournal]:
    """An empty map, or the earlier one if it is of the same peaks and was made in the same way; and its journal.

    What a crash has left of the same run is gone on from, too, where the user asks for it.
    """
    from napari_stem_orient.core.orientation_map import OrientationMap
    from napari_stem_orient.io.peaks import is_peaks_file
    from napari_stem_orient.runs.map_journal import begin_map_journal, find_interrupted_map

    empty = OrientationMap.empty(
        peaks, crystals, method=arguments.method, parameters=parameters.model_dump(mode="json"), model=model
    )
    other = () if earlier is None else earlier.made_otherwise(empty)
    if other:
        raise ValueError(
            f"{arguments.output} was made with other {' and '.join(other)}: use the same, or leave --resume out"
        )
    left = find_interrupted_map(empty)
    if left is not None and not arguments.resume:
        words = f"{int(left.done.sum()):,} of {left.n_positions:,} positions"
        tell(
            f"{words} are left from a run that was interrupted; with --resume this one would go on from there"
        )
    candidates = [each for each in (earlier, left) if each is not None and arguments.resume]
    if arguments.resume and not candidates and is_peaks_file(arguments.file):
        nothing = f"no file {arguments.output} and no run that was interrupted"
        raise FileNotFoundError(f"there is nothing to go on from: {nothing}; leave --resume out")
    start = max(candidates, key=lambda each: int(each.done.sum()), default=empty)
    journal = begin_map_journal(start)
    for text in journal.made_room:
        tell(text)
    return start, journal


def _index_job(
    arguments: argparse.Namespace,
    peaks: BraggPeaks,
    crystals: tuple[Crystal, ...],
    parameters: BaseModel,
    start: OrientationMap,
) -> Generator[IndexedBlock, None, OrientationMap]:
    from napari_stem_orient.indexing.index import index_bragg_peaks
    from napari_stem_orient.indexing.parameters import IndexParameters
    from napari_stem_orient.indexing.template_matching import index_by_template_matching
    from napari_stem_orient.indexing.template_plan import TemplateMatchingParameters

    if isinstance(parameters, TemplateMatchingParameters):
        return index_by_template_matching(peaks, crystals, parameters=parameters, resume_from=start)
    assert isinstance(parameters, IndexParameters)
    return index_bragg_peaks(
        peaks,
        crystals,
        parameters=parameters,
        models=arguments.model or (),
        device=arguments.device,
        resume_from=start,
    )


def _peaks_to_index(arguments: argparse.Namespace) -> tuple[BraggPeaks, Detected | None]:
    """The peaks of the file, or those detected in the scan, with the calibration that the user gave."""
    from napari_stem_orient.core.calibration import Calibration
    from napari_stem_orient.detection.parameters import DetectionParameters
    from napari_stem_orient.indexing.parameters import IndexParameters
    from napari_stem_orient.indexing.template_plan import TemplateMatchingParameters
    from napari_stem_orient.io.peaks import NOMINAL, is_peaks_file, open_bragg_peaks

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
        if given_values(arguments, Calibration):
            peaks = peaks.with_calibration(given_calibration(arguments, peaks.calibration))
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
