"""The long jobs of the command line: detect, index; followed by a bar, and saved also when stopped."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from napari_stem_orient.cli_options import (
    UsageError,
    add_model_options,
    build_model,
    calibration_options,
    check_output,
    chosen_crystals,
    crystal_option,
    detection_options,
    existing,
    given_calibration,
    given_values,
    job_options,
    open_scan,
    option_name,
    refuse_unused,
    scan_options,
)

if TYPE_CHECKING:
    from pydantic import BaseModel

    from napari_stem_orient.core.bragg_peaks import BraggPeaks, DetectedBlock
    from napari_stem_orient.core.calibration import Calibration
    from napari_stem_orient.core.crystal import Crystal
    from napari_stem_orient.core.datacube import DataCube
    from napari_stem_orient.core.orientation_map import IndexedBlock, OrientationMap
    from napari_stem_orient.core.progress import Record

ResultType = TypeVar("ResultType")
RecordType = TypeVar("RecordType", bound="Record")


class Stopped(KeyboardInterrupt):
    """Ctrl-C, after what was done had been saved; the message says where."""


def detect_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `run_detect`."""
    parser.add_argument("scan", type=Path, metavar="SCAN", help="a 4D-STEM scan of any supported format")
    parser.add_argument("--output", type=Path, required=True, metavar="PEAKS.h5", help="file for the peaks")
    parser.add_argument("--resume", action="store_true", help="go on from the peaks in the output file")
    job_options(parser)
    scan_options(parser)
    calibration_options(parser)
    detection_options(parser)


def run_detect(arguments: argparse.Namespace) -> str:
    """Detect the Bragg disks of a scan and save them as py4DSTEM BraggVectors."""
    from napari_stem_orient.io.peaks import open_bragg_peaks

    check_output(arguments.output)
    datacube = open_scan(arguments, existing(arguments.scan))
    earlier = open_bragg_peaks(existing(arguments.output)) if arguments.resume else None
    peaks = _detect(arguments, datacube, arguments.output, resume_from=earlier)
    return f"{arguments.output}: {len(peaks.intensity):,} peaks at {peaks.n_positions:,} positions"


def _detect(
    arguments: argparse.Namespace,
    datacube: DataCube,
    output: Path | None,
    *,
    resume_from: BraggPeaks | None = None,
) -> BraggPeaks:
    """Detect, and save to ``output`` where there is one, also when it is stopped."""
    from napari_stem_orient.detection.correlation import collect_peaks, describe, detect_bragg_peaks
    from napari_stem_orient.detection.parameters import DetectionParameters
    from napari_stem_orient.detection.suggestion import suggest_detection
    from napari_stem_orient.io.peaks import save_bragg_peaks

    try:
        suggestion = suggest_detection(datacube, radius_px=arguments.probe_radius_px)
    except ValueError as error:
        if arguments.probe_radius_px is not None:
            raise
        raise ValueError(f"{error} (by hand: --probe-radius-px, --origin-px)") from error
    parameters = build_model(arguments, DetectionParameters, **suggestion.parameters.model_dump())
    options: dict[str, Any] = {
        "probe": suggestion.probe,
        "parameters": parameters,
        "resume_from": resume_from,
    }
    if arguments.detector == "py4dstem":
        from napari_stem_orient.detection.py4dstem import detect_with_py4dstem

        job = detect_with_py4dstem(datacube, **options)
    else:
        job = detect_bragg_peaks(datacube, **options, device=arguments.device)
    blocks: list[DetectedBlock] = [] if resume_from is None else [resume_from.as_block()]
    try:
        peaks = follow(job, "Bragg disks", arguments, on_record=blocks.append)
    except KeyboardInterrupt:
        if output is None or not blocks:
            raise  # what another run has left in the file is worth more than nothing
        detector = "py4DSTEM" if arguments.detector == "py4dstem" else "correlation"
        description = describe(suggestion.probe, parameters, detector=detector)
        partial = collect_peaks(datacube, blocks, description=description)
        save_bragg_peaks(partial, output)
        done = int(partial.detected.sum())
        raise _stopped(output, done, partial.n_positions) from None
    if output is not None:
        save_bragg_peaks(peaks, output)
    return peaks


def index_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `run_index`."""
    from napari_stem_orient.indexing.index import IndexParameters
    from napari_stem_orient.indexing.template_plan import TemplateMatchingParameters

    parser.add_argument("file", type=Path, metavar="SCAN_OR_PEAKS", help="a scan, or Bragg peaks")
    crystal_option(parser)
    parser.add_argument("--output", type=Path, required=True, metavar="MAP.h5", help="file for the map")
    parser.add_argument(
        "--method",
        choices=["transformer", "template"],
        default="transformer",
        help="template is py4DSTEM's template matching. Default: transformer.",
    )
    parser.add_argument(
        "--model", type=Path, action="append", metavar="FOLDER", help="a trained model; may be repeated"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the map in the output file")
    parser.add_argument("--save-peaks", type=Path, metavar="PEAKS.h5", help="keep the peaks of a scan")
    job_options(parser)
    scan_options(parser)
    calibration_options(parser)
    add_model_options(parser, IndexParameters, title="transformer", aliases={"n_candidates": "--candidates"})
    add_model_options(parser, TemplateMatchingParameters, title="template matching")
    detection_options(parser)


def run_index(arguments: argparse.Namespace) -> str:
    """Index a scan or peaks with one or several crystals and save the orientation map."""
    from napari_stem_orient.io.maps import MAP_ENDINGS, open_orientation_map, save_orientation_map
    from napari_stem_orient.network.model_folder import model_identities

    check_output(arguments.output, endings=MAP_ENDINGS)
    if arguments.save_peaks is not None:
        check_output(arguments.save_peaks)
    crystals = chosen_crystals(arguments)
    parameters = _index_parameters(arguments)
    earlier = open_orientation_map(existing(arguments.output)) if arguments.resume else None
    # an error before any work is done where a crystal has no model
    template = arguments.method == "template"
    model = None if template else model_identities(crystals, folders=arguments.model or ())
    peaks = _peaks_to_index(arguments)
    orientation_map = _map_to_fill(arguments, peaks, crystals, parameters, model, earlier)
    job = _index_job(arguments, peaks, crystals, parameters, orientation_map)
    total = orientation_map.n_positions
    try:
        follow(job, f"Orientations ({arguments.method})", arguments, on_record=orientation_map.fill)
    except KeyboardInterrupt:
        if not orientation_map.done.any():
            raise
        save_orientation_map(orientation_map, arguments.output)
        raise _stopped(arguments.output, int(orientation_map.done.sum()), total) from None
    save_orientation_map(orientation_map, arguments.output)
    return (
        f"{arguments.output}: {100 * orientation_map.indexed_fraction:.1f} % of {total:,} positions indexed"
    )


def _index_parameters(arguments: argparse.Namespace) -> BaseModel:
    """The parameters of the chosen method; options of the other one are refused."""
    from napari_stem_orient.indexing.index import IndexParameters
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
) -> OrientationMap:
    """An empty map, or the earlier one if it is of the same peaks and was made in the same way."""
    from napari_stem_orient.core.orientation_map import OrientationMap

    empty = OrientationMap.empty(
        peaks, crystals, method=arguments.method, parameters=parameters.model_dump(mode="json"), model=model
    )
    if earlier is None:
        return empty
    other = earlier.made_otherwise(empty)
    if other:
        raise ValueError(
            f"{arguments.output} was made with other {' and '.join(other)}: use the same, or leave --resume out"
        )
    return earlier


def _index_job(
    arguments: argparse.Namespace,
    peaks: BraggPeaks,
    crystals: tuple[Crystal, ...],
    parameters: BaseModel,
    start: OrientationMap,
) -> Generator[IndexedBlock, None, OrientationMap]:
    from napari_stem_orient.indexing.index import IndexParameters, index_bragg_peaks
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


def _peaks_to_index(arguments: argparse.Namespace) -> BraggPeaks:
    """The peaks of the file, or those detected in the scan, with the calibration that the user gave."""
    from napari_stem_orient.core.calibration import Calibration
    from napari_stem_orient.detection.parameters import DetectionParameters
    from napari_stem_orient.indexing.index import IndexParameters
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
        for name in ("scan_shape", "dataset", "probe_radius_px", "save_peaks"):
            if getattr(arguments, name) is not None:
                raise UsageError(f"{option_name(name)} has no effect on a file of peaks: leave it out")
        peaks = open_bragg_peaks(path)
        if peaks.parameters.get("pixels") == NOMINAL and hasattr(arguments, "pixel_size_inv_angstrom"):
            raise UsageError(
                "--pixel-size-inv-angstrom has no meaning for these peaks, which are in 1/Å already: leave it out"
            )
        if given_values(arguments, Calibration):
            peaks = peaks.with_calibration(given_calibration(arguments, peaks.calibration))
        _require_calibration(peaks.calibration)
        return peaks
    datacube = open_scan(arguments, path)
    _require_calibration(datacube.calibration)
    return _detect(arguments, datacube, arguments.save_peaks)


def _require_calibration(calibration: Calibration) -> None:
    """Refuse to index without pixel size and voltage before hours of work are spent; name the options."""
    needed = {
        "--pixel-size-inv-angstrom": calibration.pixel_size_inv_angstrom,
        "--voltage-kv": calibration.voltage_kv,
    }
    missing = [option for option, value in needed.items() if value is None]
    if missing:
        raise ValueError(
            f"the file does not say the {' and the '.join(calibration.missing_for_indexing())}: give "
            f"{' and '.join(missing)}"
        )


def follow(
    job: Generator[RecordType, None, ResultType],
    title: str,
    arguments: argparse.Namespace,
    *,
    on_record: Callable[[RecordType], str | None],
) -> ResultType:
    """Run a job to its end with a progress bar; what ``on_record`` returns is shown beside it."""
    from tqdm import tqdm

    with tqdm(desc=title, disable=arguments.quiet, unit="", smoothing=0.1) as bar:
        unit = ""
        try:
            while True:
                record = next(job)
                if unit != record.progress.unit:
                    unit = record.progress.unit
                    bar.reset()  # each part of a job has a pace of its own, and what was done before it has none
                    bar.initial = bar.n = bar.last_print_n = record.progress.done
                bar.total, bar.unit = record.progress.total, f" {unit}"
                bar.update(record.progress.done - bar.n)
                note = on_record(record)
                if note:
                    bar.set_postfix_str(note)
        except StopIteration as finished:
            result: ResultType = finished.value
            return result
        finally:
            job.close()


def _stopped(output: Path, done: int, total: int) -> Stopped:
    return Stopped(f"stopped: {output} holds {done:,} of {total:,} positions; go on with --resume")
