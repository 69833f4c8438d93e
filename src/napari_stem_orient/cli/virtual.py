"""The command "virtual": images of virtual detectors, or the pattern of a region, without a window."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stem_orient.cli.choices import mask_choice, mask_lines, mask_options, open_scan, scan_options
from napari_stem_orient.cli.files import UsageError, reads_file, writes_file
from napari_stem_orient.cli.jobs import Stopped, follow, tell
from napari_stem_orient.cli.options import calibration_options, existing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_stem_orient.core.datacube import DataCube
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
    from napari_stem_orient.virtual.images import beam_origins

    named = arguments.bright_field or arguments.annular or arguments.disk
    if not named and arguments.region is None:
        raise UsageError("nothing to compute: give --bright-field, --annular, --disk or --region")
    if named and arguments.region is not None:
        raise UsageError("--region makes a pattern and the detectors make images: give one or the other")
    datacube = open_scan(arguments, existing(arguments.scan))
    mask = _mask(arguments, datacube)
    origins = beam_origins(datacube, _measured_origins(arguments, datacube), mask=mask)
    if arguments.region is not None:
        return _save_pattern(arguments, datacube, origins, mask)
    return _save_images(arguments, datacube, origins, mask)


def _save_images(
    arguments: argparse.Namespace, datacube: DataCube, origins: FloatArray, mask: BoolArray | None
) -> str:
    """Compute and save the images; those of a stopped run are NaN where it has not been."""
    from napari_stem_orient.io.virtual_files import save_virtual_images
    from napari_stem_orient.virtual.images import VirtualImages, virtual_images

    beam = origins.reshape(-1, 2).mean(axis=0)
    detectors = _detectors(arguments, beam)
    images = VirtualImages.empty(datacube, detectors)
    done = 0

    def fill(block: VirtualBlock) -> None:
        nonlocal done
        images.fill(block)
        done = block.progress.done

    try:
        job = virtual_images(datacube, detectors, origin_px=origins, mask=mask)
        images = follow(job, "Virtual images", arguments, on_record=fill)
    except KeyboardInterrupt:
        if not done:
            raise
        save_virtual_images(images, arguments.output, overwrite=arguments.overwrite)
        raise Stopped(
            f"stopped: {arguments.output} holds {done:,} of {datacube.n_positions:,} positions; the others are NaN"
        ) from None
    save_virtual_images(images, arguments.output, overwrite=arguments.overwrite)
    names = ", ".join(detector.name for detector in detectors)
    return (
        f"{arguments.output}: {names} at {datacube.n_positions:,} positions; direct beam at row {beam[0]:.1f}, "
        f"column {beam[1]:.1f} px"
    )


def _save_pattern(
    arguments: argparse.Namespace, datacube: DataCube, origins: FloatArray, mask: BoolArray | None
) -> str:
    from napari_stem_orient.io.virtual_files import save_virtual_diffraction
    from napari_stem_orient.virtual.diffraction import virtual_diffraction

    region = _region(arguments.region, datacube.scan_shape)
    beam = None if arguments.fixed else origins
    job = virtual_diffraction(datacube, region, origin_px=beam, mask=mask)
    pattern = follow(job, "Patterns of the region", arguments, on_record=lambda _: None)
    save_virtual_diffraction(pattern, arguments.output, overwrite=arguments.overwrite)
    return f"{arguments.output}: mean and maximum of {pattern.n_positions:,} patterns"


def _measured_origins(arguments: argparse.Namespace, datacube: DataCube) -> NDArray[np.float32] | None:
    """Row and column of the direct beam at every position, (n_positions, 2) in px, where peaks know it."""
    from napari_stem_orient.io.peaks import open_bragg_peaks

    if arguments.peaks is None:
        return None
    peaks = open_bragg_peaks(existing(arguments.peaks))
    if peaks.scan_shape != datacube.scan_shape:
        raise ValueError(
            f"{arguments.peaks} has {peaks.scan_shape[0]} x {peaks.scan_shape[1]} positions, the scan "
            f"{datacube.scan_shape[0]} x {datacube.scan_shape[1]}: give the peaks of this scan"
        )
    if peaks.origin_px is None:
        raise ValueError(f"{arguments.peaks} does not say where the direct beam is: leave --peaks out")
    return peaks.origin_px


def _mask(arguments: argparse.Namespace, datacube: DataCube) -> BoolArray | None:
    """The pixels that count for no detector, as `detect` leaves them out: given, or found in a sample."""
    from napari_stem_orient.detection.suggestion import sample_frames
    from napari_stem_orient.steps.mask import chosen_mask, find_mask

    choice, found = mask_choice(arguments), find_mask(sample_frames(datacube))
    mask = chosen_mask(choice, found, datacube.detector_shape)
    for line in mask_lines(choice, found, mask) if not arguments.quiet else ():
        tell(line)
    return mask


def _detectors(arguments: argparse.Namespace, beam: FloatArray) -> list[VirtualDetector]:
    """The detectors that the user named, in px from the direct beam, or in their place for --fixed."""
    detectors = [
        _detector("--bright-field", f"Bright field {radius:g} px", outer_radius_px=radius)
        for radius in arguments.bright_field or ()
    ]
    for inner, outer in arguments.annular or ():
        name = f"Annular dark field {inner:g} to {outer:g} px"
        detectors.append(
            _detector("--annular", name, shape="annulus", inner_radius_px=inner, outer_radius_px=outer)
        )
    for row, column, radius in arguments.disk or ():
        name, offset = f"Disk at {row:g}, {column:g}", (row - float(beam[0]), column - float(beam[1]))
        detectors.append(_detector("--disk", name, centre_px=offset, outer_radius_px=radius))
    if not arguments.fixed:
        return detectors
    return [
        detector.updated(follows_beam=False, centre_px=tuple(detector.place_px(beam)))
        for detector in detectors
    ]


def _detector(option: str, name: str, **values: Any) -> VirtualDetector:
    from pydantic import ValidationError

    from napari_stem_orient.virtual.detector import VirtualDetector

    try:
        return VirtualDetector(name=name, **values)
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
