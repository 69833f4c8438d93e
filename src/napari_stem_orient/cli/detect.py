"""The command detect: what it chose is told, what it found is kept in a journal, and a run that broke off goes on."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari_stem_orient.cli.choices import (
    detect_choice,
    detection_options,
    mask_lines,
    open_scan,
    scan_options,
)
from napari_stem_orient.cli.files import reads_file, writes_file
from napari_stem_orient.cli.jobs import Stopped, follow, save_or_keep, stopped, tell
from napari_stem_orient.cli.options import calibration_options, existing, job_options

if TYPE_CHECKING:
    from napari_stem_orient.core.bragg_peaks import BraggPeaks, DetectedBlock
    from napari_stem_orient.core.datacube import DataCube
    from napari_stem_orient.steps.detect import DetectPlan
    from napari_stem_orient.steps.detection_run import DetectionRun, Resumable
    from napari_stem_orient.steps.journal_notices import JournalNotice


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
    detected.run.forget()
    return f"{arguments.output}: {len(peaks.intensity):,} peaks at {peaks.n_positions:,} positions"


@dataclass(frozen=True, slots=True, eq=False)
class Detected:
    """Peaks, and the run that keeps them until they, or what is made of them, are safe."""

    peaks: BraggPeaks
    run: DetectionRun


def detect(
    arguments: argparse.Namespace,
    datacube: DataCube,
    output: Path | None,
    *,
    earlier: BraggPeaks | None = None,
) -> Detected:
    """Detect, and save to ``output`` where there is one, also when it is stopped; ``earlier`` is gone on from."""
    from napari_stem_orient.steps.detection_run import DetectionRun, resumable
    from napari_stem_orient.steps.journal_notices import JournalNotice

    plan = _plan(arguments, datacube)
    found = resumable(plan, earlier=earlier)
    _tell_what_is_left(arguments, plan, found)
    run = DetectionRun(plan)
    if arguments.resume:
        run = DetectionRun(found.plan, resume_from=found.peaks)

    def take(record: DetectedBlock | JournalNotice) -> None:
        if isinstance(record, JournalNotice):
            tell(record.text)

    try:
        peaks = follow(run.job(), "Bragg disks", arguments, on_record=take)
    except KeyboardInterrupt:
        kept = run.so_far()
        if kept is None:
            raise  # what another run has left in the file is worth more than nothing
        raise _keep_stopped(run, kept, output) from None
    _tell_unreadable(datacube, peaks)
    if output is not None:
        _save(run, peaks, output)
    return Detected(peaks, run)


def _plan(arguments: argparse.Namespace, datacube: DataCube) -> DetectPlan:
    """What to detect with: measured in the scan, but for what the user gave; all of it is told."""
    from napari_stem_orient.cli.settings import settings_lines
    from napari_stem_orient.core.progress import result_of
    from napari_stem_orient.steps.detect import plan_detection

    choice = detect_choice(arguments)
    job = plan_detection(choice, datacube)
    reads_all = choice.probe.source == "mean"
    plan = follow(job, "Mean pattern", arguments, on_record=lambda _: None) if reads_all else result_of(job)
    if not arguments.quiet:
        found = [] if plan.measured is None else mask_lines(choice.mask, plan.measured.found, plan.mask)
        for line in (*found, *settings_lines(plan)):
            tell(line)
    return plan


def _tell_what_is_left(arguments: argparse.Namespace, plan: DetectPlan, found: Resumable) -> None:
    """Say that there is something to go on from, or refuse to go on where there is not."""
    if not arguments.resume:
        if found.left is not None:
            tell(f"{found.left}; with --resume this one would go on from there")
        return
    if found.peaks is not None or arguments.output.exists():
        return
    if found.other is not None:
        from napari_stem_orient.core.errors import UserError

        differing = " and ".join(found.other.differs_from(plan))
        raise UserError(
            f"{found.other}, but with {differing}: use the same, detect anew, or leave --resume out"
        )
    nothing = f"no file {arguments.output} and no run that was interrupted"
    raise FileNotFoundError(f"there is nothing to go on from: {nothing}; leave --resume out")


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


def _keep_stopped(run: DetectionRun, peaks: BraggPeaks, output: Path | None) -> Stopped:
    """Keep what was done when the user stopped: in the output, or else in the journal."""
    done, total = int(peaks.detected.sum()), peaks.n_positions
    if output is not None:
        _save(run, peaks, output)
        run.forget(others=False)
        return stopped(output, done, total)
    if not run.is_kept:
        return Stopped("stopped; nothing was saved")
    return Stopped(f"stopped: the disks of {done:,} of {total:,} positions are kept; go on with --resume")


def _save(run: DetectionRun, peaks: BraggPeaks, output: Path) -> None:
    from napari_stem_orient.io.peaks import save_bragg_peaks

    n_done = int(peaks.detected.sum())
    save_or_keep(
        partial(save_bragg_peaks, peaks, overwrite=True), output, "peaks", n_done=n_done, kept=run.is_kept
    )
