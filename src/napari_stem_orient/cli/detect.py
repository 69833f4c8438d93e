"""The command detect: what it chose is told, what it found is kept in a journal, and a run that broke off goes on."""

from __future__ import annotations

import argparse
from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stem_orient.cli.files import UsageError, reads_file, writes_file
from napari_stem_orient.cli.jobs import Stopped, follow, save_or_keep, stopped, tell
from napari_stem_orient.cli.options import (
    build_model,
    calibration_options,
    chosen_mask,
    detection_options,
    existing,
    given_values,
    job_options,
    open_scan,
    scan_options,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_stem_orient.core.bragg_peaks import BraggPeaks, DetectedBlock
    from napari_stem_orient.core.datacube import DataCube
    from napari_stem_orient.detection.parameters import DetectionParameters
    from napari_stem_orient.detection.probe import ProbeTemplate
    from napari_stem_orient.runs.run_journal import RunJournal

MOST_FALSE_DISKS = 20


def detect_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `run_detect`."""
    from napari_stem_orient.io.own_files import PEAKS

    reads_file(parser, "scan", type=Path, metavar="SCAN", help="a 4D-STEM scan of any supported format")
    writes_file(
        parser, "--output", replaces=(PEAKS,), required=True, metavar="PEAKS.h5", help="file for the peaks"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on from a run that was stopped, crashed or found the disk full: from the peaks in the output file "
        "or the journal of the run, whichever came further",
    )
    job_options(parser)
    scan_options(parser)
    calibration_options(parser)
    detection_options(parser)


def run_detect(arguments: argparse.Namespace) -> str:
    """Detect the Bragg disks of a scan and save them as py4DSTEM BraggVectors."""
    from napari_stem_orient.io.peaks import open_bragg_peaks

    datacube = open_scan(arguments, existing(arguments.scan))
    earlier = None
    if arguments.resume and arguments.output.exists():
        earlier = open_bragg_peaks(arguments.output)
    detected = detect(arguments, datacube, arguments.output, earlier=earlier)
    peaks = detected.peaks
    detected.forget()
    return f"{arguments.output}: {len(peaks.intensity):,} peaks at {peaks.n_positions:,} positions"


@dataclass(frozen=True, slots=True, eq=False)
class Detected:
    """Peaks, how they were made, and the journal that keeps them until they, or what is made of them, are safe."""

    peaks: BraggPeaks
    datacube: DataCube
    description: dict[str, Any]
    journal: RunJournal | None

    def forget(self) -> None:
        """Remove the journals of runs like this: what they keep is safe."""
        from napari_stem_orient.runs.peaks_journal import remove_interrupted_detections

        if self.journal is not None:
            self.journal.remove()
        remove_interrupted_detections(self.datacube, description=self.description)


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """What is detected, and how."""

    datacube: DataCube
    probe: ProbeTemplate
    parameters: DetectionParameters
    detector: str
    device: str
    mask: NDArray[np.bool_] | None

    def description(self) -> dict[str, Any]:
        """How the peaks are made, as it is saved with them."""
        from napari_stem_orient.detection.correlation import describe

        return describe(self.probe, self.parameters, detector=self.detector, mask=self.mask)

    def job(self, resume_from: BraggPeaks | None) -> Generator[DetectedBlock, None, BraggPeaks]:
        """The detection that is left to do."""
        options: dict[str, Any] = {
            "probe": self.probe,
            "parameters": self.parameters,
            "resume_from": resume_from,
        }
        if self.mask is not None:
            options["mask"] = self.mask
        if self.detector == "py4DSTEM":
            from napari_stem_orient.detection.py4dstem import detect_with_py4dstem

            return detect_with_py4dstem(self.datacube, **options)
        from napari_stem_orient.detection import correlation

        return correlation.detect_bragg_peaks(self.datacube, **options, device=self.device)

    def collected(self, blocks: list[DetectedBlock]) -> BraggPeaks:
        """What is done so far, put together."""
        from napari_stem_orient.detection.correlation import collect_peaks

        return collect_peaks(self.datacube, blocks, description=self.description())


def detect(
    arguments: argparse.Namespace,
    datacube: DataCube,
    output: Path | None,
    *,
    earlier: BraggPeaks | None = None,
) -> Detected:
    """Detect, and save to ``output`` where there is one, also when it is stopped; ``earlier`` is gone on from."""
    from napari_stem_orient.detection.correlation import start_of_detection
    from napari_stem_orient.runs.peaks_journal import begin_peaks_journal, kept_in_journal

    plan = _plan(arguments, datacube)
    resume_from = _what_is_left(arguments, plan, earlier)
    # peaks that were made otherwise are refused before a journal says that they were made like this
    start_of_detection(datacube, resume_from, plan.description())
    journal = begin_peaks_journal(
        datacube,
        description=plan.description(),
        probe_image=plan.probe.image,
        mask=plan.mask,
        resume_from=resume_from,
    )
    for text in () if journal is None else journal.made_room:
        tell(text)
    blocks: list[DetectedBlock] = [] if resume_from is None else [resume_from.as_block()]
    told: list[str] = []

    def take(block: DetectedBlock) -> None:
        blocks.append(block)
        if journal is not None and journal.problem and not told:
            told.append(journal.problem)
            tell(journal.problem)

    try:
        job = kept_in_journal(plan.job(resume_from), journal)
        peaks = follow(job, "Bragg disks", arguments, on_record=take)
    except KeyboardInterrupt:
        if not blocks:
            if journal is not None:
                journal.remove()
            raise  # what another run has left in the file is worth more than nothing
        raise _keep_stopped(plan.collected(blocks), output, journal) from None
    _tell_unreadable(datacube, peaks)
    if output is not None:
        _save(peaks, output, journal)
    return Detected(peaks, datacube, plan.description(), journal)


def _tell_unreadable(datacube: DataCube, peaks: BraggPeaks) -> None:
    """Say how many patterns were not whole, or not there."""
    unreadable = int(peaks.parameters.get("unreadable_frames", 0))
    if unreadable:
        verb = "holds" if unreadable == 1 else "hold"
        tell(
            f"{unreadable:,} of {peaks.n_positions:,} patterns {verb} NaN or infinite pixels that are not left out: "
            "they count as 0"
        )
    if datacube.n_missing:
        tell(f"{datacube.n_missing:,} of {peaks.n_positions:,} positions have no pattern, and so no peaks")


def _plan(arguments: argparse.Namespace, datacube: DataCube) -> _Plan:
    """What to detect with: measured in the scan, but for what the user gave; all of it is told."""
    from napari_stem_orient.cli.settings import settings_lines
    from napari_stem_orient.core.py4dstem_extra import require_py4dstem
    from napari_stem_orient.detection.parameters import DetectionParameters
    from napari_stem_orient.detection.suggestion import sample_frames, suggest_detection

    if arguments.detector == "py4dstem":
        require_py4dstem()
    frames = sample_frames(datacube)
    mask, told = chosen_mask(arguments, frames)
    options: dict[str, Any] = {"radius_px": arguments.probe_radius_px, "mask": mask, "frames": frames}
    if arguments.false_disks_per_pattern is not None:
        if "min_significance" in given_values(arguments, DetectionParameters):
            raise UsageError("--false-disks-per-pattern and --min-significance say the same: leave one out")
        if not 0 < arguments.false_disks_per_pattern <= MOST_FALSE_DISKS:
            raise UsageError(
                f"--false-disks-per-pattern {arguments.false_disks_per_pattern}: must lie above 0 and not above "
                f"{MOST_FALSE_DISKS}"
            )
        options["false_disks_per_pattern"] = arguments.false_disks_per_pattern
    suggestion = suggest_detection(datacube, **options)
    parameters = build_model(arguments, DetectionParameters, **suggestion.parameters.model_dump())
    if not arguments.quiet:
        for line in (*told, *settings_lines(arguments, suggestion, parameters)):
            tell(line)
    return _Plan(
        datacube=datacube,
        probe=suggestion.probe,
        parameters=parameters,
        detector="py4DSTEM" if arguments.detector == "py4dstem" else "correlation",
        device=arguments.device,
        mask=mask,
    )


def _what_is_left(
    arguments: argparse.Namespace, plan: _Plan, earlier: BraggPeaks | None
) -> BraggPeaks | None:
    """What to go on from: the earlier peaks or the journal of an interrupted run, whichever came further.

    Without --resume nothing is, but the user is told of what is there.
    """
    from napari_stem_orient.runs.peaks_journal import find_interrupted_detections

    found = find_interrupted_detections(plan.datacube)
    refused = ""
    for run in found:
        peaks = plan.collected(list(run.blocks))
        refusal = _refusal(plan, peaks, run.description)
        if refusal:
            refused = refused or refusal
            continue
        if not arguments.resume:
            tell(f"{run}; with --resume this one would go on from there")
            return None
        return peaks if earlier is None or earlier.detected.sum() < run.n_done else earlier
    if arguments.resume and earlier is None and not arguments.output.exists():
        if refused:
            raise ValueError(f"{found[0]}, but {refused}; or leave --resume out")
        nothing = f"no file {arguments.output} and no run that was interrupted"
        raise FileNotFoundError(f"there is nothing to go on from: {nothing}; leave --resume out")
    return earlier


def _refusal(plan: _Plan, peaks: BraggPeaks, description: dict[str, Any]) -> str:
    """Why the run that is described cannot be gone on with; "" where it can."""
    from dataclasses import replace

    from napari_stem_orient.detection.correlation import start_of_detection

    try:
        start_of_detection(plan.datacube, replace(peaks, parameters=description), plan.description())
    except ValueError as error:
        return str(error)
    return ""


def _keep_stopped(peaks: BraggPeaks, output: Path | None, journal: RunJournal | None) -> Stopped:
    """Keep what was done when the user stopped: in the output, or else in the journal."""
    done, total = int(peaks.detected.sum()), peaks.n_positions
    if output is not None:
        _save(peaks, output, journal)
        if journal is not None:
            journal.remove()
        return stopped(output, done, total)
    if journal is None or journal.problem:
        return Stopped("stopped; nothing was saved")
    return Stopped(f"stopped: the disks of {done:,} of {total:,} positions are kept; go on with --resume")


def _save(peaks: BraggPeaks, output: Path, journal: RunJournal | None) -> None:
    from napari_stem_orient.io.peaks import save_bragg_peaks

    n_done = int(peaks.detected.sum())
    save_or_keep(partial(save_bragg_peaks, peaks), output, "peaks", n_done=n_done, journal=journal)
