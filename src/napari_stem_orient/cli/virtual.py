"""The command "virtual": images of virtual detectors, or the pattern of a region, without a window."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari_stem_orient.cli.choices import mask_choice, mask_lines, mask_options, open_scan, scan_options
from napari_stem_orient.cli.files import UsageError, reads_file, writes_file
from napari_stem_orient.cli.jobs import Stopped, follow, tell
from napari_stem_orient.cli.options import calibration_options, existing

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from napari_stem_orient.core.bragg_peaks import BraggPeaks
    from napari_stem_orient.core.datacube import DataCube
    from napari_stem_orient.steps.virtual import VirtualChoice, VirtualScene
    from napari_stem_orient.virtual.detector import VirtualDetector
    from napari_stem_orient.virtual.images import VirtualBlock

    FloatArray = NDArray[np.float64]
    BoolArray = NDArray[np.bool_]


def virtual_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `run_virtual`."""
    from napari_stem_orient.io.own_files import EXPORT, IMAGES
    from napari_stem_orient.io.virtual_files import IMAGE_ENDINGS

    reads_file(parser, "scan", type=Path, metavar="SCAN", help="a 4D-STEM scan of any supported format")
    writes_file(
        parser,
        "--output",
        replaces=(EXPORT, IMAGES),
        endings=IMAGE_ENDINGS,
        required=True,
        metavar="OUT",
        help="file for the images: .h5 (py4DSTEM reads it), .tif or .npy",
    )
    group = parser.add_argument_group("virtual detectors (in px; each may be given again)")
    group.add_argument(
        "--bright-field", type=float, action="append", metavar="R", help="a disk around the direct beam"
    )
    group.add_argument(
        "--annular",
        type=float,
        nargs=2,
        action="append",
        metavar=("R1", "R2"),
        help="an annulus around the direct beam, from R1 to R2",
    )
    group.add_argument(
        "--disk",
        type=float,
        nargs=3,
        action="append",
        metavar=("ROW", "COLUMN", "R"),
        help="a disk at this row and column of the detector",
    )
    group.add_argument(
        "--region",
        type=int,
        nargs=4,
        metavar=("TOP", "BOTTOM", "LEFT", "RIGHT"),
        help="instead of images: mean and maximum pattern of these rows and columns of the scan, the last ones "
        "included",
    )
    group = parser.add_argument_group("direct beam")
    reads_file(
        group,
        "--peaks",
        type=Path,
        metavar="PEAKS.h5",
        help="Bragg peaks of this scan: the detectors follow the direct beam from position to position",
    )
    group.add_argument(
        "--fixed", action="store_true", help="leave the detectors in their place when the direct beam moves"
    )
    mask_options(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    scan_options(parser)
    calibration_options(parser)


def run_virtual(arguments: argparse.Namespace) -> str:
    """Save the images of virtual detectors, or the pattern of a region of the scan."""
    from napari_stem_orient.steps.virtual import scene_of

    named = arguments.bright_field or arguments.annular or arguments.disk
    if not named and arguments.region is None:
        raise UsageError("nothing to compute: give --bright-field, --annular, --disk or --region")
    if named and arguments.region is not None:
        raise UsageError("--region makes a pattern and the detectors make images: give one or the other")
    datacube = open_scan(arguments, existing(arguments.scan))
    mask = _mask(arguments, datacube)
    scene = scene_of(datacube, peaks=_peaks(arguments), mask=mask)
    choice = virtual_choice(arguments, scene)
    return (
        _save_pattern(arguments, choice, scene) if choice.region else _save_images(arguments, choice, scene)
    )


def virtual_choice(arguments: argparse.Namespace, scene: VirtualScene) -> VirtualChoice:
    """What the options choose in a scene: places on the detector are told from its direct beam."""
    from napari_stem_orient.steps.virtual import VirtualChoice, region_text

    region = ""
    if arguments.region is not None:
        region = region_text(_region(arguments.region, scene.datacube.scan_shape))
    return VirtualChoice(
        detectors=() if region else _detectors(arguments, scene.origins.reshape(-1, 2).mean(axis=0)),
        region=region,
        pattern_follows_beam=not (region and arguments.fixed),
        mask=mask_choice(arguments),
    )


def _save_images(arguments: argparse.Namespace, choice: VirtualChoice, scene: VirtualScene) -> str:
    """Compute and save the images; those of a stopped run are NaN where it has not been."""
    from napari_stem_orient.io.virtual_files import save_virtual_images
    from napari_stem_orient.steps.virtual import images_of
    from napari_stem_orient.virtual.images import VirtualImages

    n_positions = scene.datacube.n_positions
    images = VirtualImages.empty(scene.datacube, choice.detectors)
    done = 0

    def fill(block: VirtualBlock) -> None:
        nonlocal done
        images.fill(block)
        done = block.progress.done

    try:
        images = follow(images_of(choice, scene), "Virtual images", arguments, on_record=fill)
    except KeyboardInterrupt:
        if not done:
            raise
        save_virtual_images(images, arguments.output, overwrite=arguments.overwrite)
        raise Stopped(
            f"stopped: {arguments.output} holds {done:,} of {n_positions:,} positions; the others are NaN"
        ) from None
    save_virtual_images(images, arguments.output, overwrite=arguments.overwrite)
    names = ", ".join(detector.name for detector in choice.detectors)
    row, column = scene.origins.reshape(-1, 2).mean(axis=0)
    where = f"direct beam at row {row:.1f}, column {column:.1f} px"
    return f"{arguments.output}: {names} at {n_positions:,} positions; {where}"


def _save_pattern(arguments: argparse.Namespace, choice: VirtualChoice, scene: VirtualScene) -> str:
    from napari_stem_orient.io.virtual_files import save_virtual_diffraction
    from napari_stem_orient.steps.virtual import pattern_of

    job = pattern_of(choice, scene)
    pattern = follow(job, "Patterns of the region", arguments, on_record=lambda _: None)
    save_virtual_diffraction(pattern, arguments.output, overwrite=arguments.overwrite)
    return f"{arguments.output}: mean and maximum of {pattern.n_positions:,} patterns"


def _peaks(arguments: argparse.Namespace) -> BraggPeaks | None:
    """The peaks that tell where the direct beam is, at every position or as a mean."""
    from napari_stem_orient.io.peaks import open_bragg_peaks

    if arguments.peaks is None:
        return None
    peaks = open_bragg_peaks(existing(arguments.peaks))
    if peaks.origin_px is None and peaks.calibration.origin_px is None:
        raise ValueError(f"{arguments.peaks} does not say where the direct beam is: leave --peaks out")
    return peaks


def _mask(arguments: argparse.Namespace, datacube: DataCube) -> BoolArray | None:
    """The pixels that count for no detector, as `detect` leaves them out: given, or found in a sample."""
    from napari_stem_orient.detection.suggestion import sample_frames
    from napari_stem_orient.steps.mask import chosen_mask, find_mask

    choice, found = mask_choice(arguments), find_mask(sample_frames(datacube))
    mask = chosen_mask(choice, found, datacube.detector_shape)
    for line in mask_lines(choice, found, mask) if not arguments.quiet else ():
        tell(line)
    return mask


def _detectors(arguments: argparse.Namespace, beam: FloatArray) -> tuple[VirtualDetector, ...]:
    """The detectors that the user named, in px from the direct beam, or in their place for --fixed."""
    from napari_stem_orient.virtual.detector import VirtualDetector, annular_dark_field, bright_field

    detectors = [_made("--bright-field", bright_field, radius) for radius in arguments.bright_field or ()]
    detectors += [_made("--annular", annular_dark_field, *radii) for radii in arguments.annular or ()]
    for row, column, radius in arguments.disk or ():
        offset = (row - float(beam[0]), column - float(beam[1]))
        disk = partial(VirtualDetector, name="Disk", centre_px=offset, outer_radius_px=radius)
        detectors.append(_made("--disk", disk))
    if not arguments.fixed:
        return tuple(detectors)
    return tuple(
        detector.updated(follows_beam=False, centre_px=tuple(detector.place_px(beam)))
        for detector in detectors
    )


def _made(option: str, make: Callable[..., VirtualDetector], *values: float) -> VirtualDetector:
    from pydantic import ValidationError

    try:
        return make(*values)
    except ValidationError as error:
        wrong = error.errors()[0]
        message = str(wrong["msg"]).removeprefix("Value error, ")
        value = f" {wrong['input']}: " if wrong["loc"] else ": "
        raise UsageError(f"{option}{value}{message[:1].lower()}{message[1:]}") from error


def _region(edges: list[int], scan_shape: tuple[int, int]) -> NDArray[np.bool_]:
    """(scan_y, scan_x) bool; the rows and columns between the edges, the last ones included."""
    import numpy as np

    top, bottom, left, right = edges
    if not (0 <= top <= bottom < scan_shape[0] and 0 <= left <= right < scan_shape[1]):
        raise UsageError(
            f"--region {' '.join(map(str, edges))} does not lie in the scan: rows 0 to {scan_shape[0] - 1}, columns "
            f"0 to {scan_shape[1] - 1}"
        )
    region = np.zeros(scan_shape, dtype=bool)
    region[top : bottom + 1, left : right + 1] = True
    return region
