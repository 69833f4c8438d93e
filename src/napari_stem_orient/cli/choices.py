"""Options that are the fields of choices, and the choices that follow from what the user gave."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from napari_stem_orient.cli.files import UsageError, reads_file
from napari_stem_orient.cli.jobs import tell
from napari_stem_orient.cli.options import (
    add_model_options,
    build_model,
    checked,
    existing,
    given_values,
    option_name,
)
from napari_stem_orient.core.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_stem_orient.core.datacube import DataCube
    from napari_stem_orient.steps.detect import DetectChoice
    from napari_stem_orient.steps.mask import FoundMask, MaskChoice
    from napari_stem_orient.steps.open import OpenChoice, ScanShapeQuestion

PROBE = "probe_"  # what the fields of the template's choice are called among the arguments
#: The names that the detectors had on the command line before, still understood.
OTHER_NAMES = {"torch": "correlation", "py4dstem": "py4DSTEM"}


# --- open ------------------------------------------------------------------------------------------------------------


def scan_options(parser: argparse.ArgumentParser) -> None:
    """Options of every command that reads a scan."""
    from napari_stem_orient.steps.open import OpenChoice

    add_model_options(parser, OpenChoice, title="reading a scan", metavars={"scan_shape": ("Y", "X")})


def open_choice(arguments: argparse.Namespace) -> OpenChoice:
    """How the user wants a scan to be read, and what to know of its calibration."""
    from napari_stem_orient.core.calibration import Calibration
    from napari_stem_orient.steps.open import OpenChoice

    build_model(arguments, Calibration)  # what is out of bounds is named by its option
    return build_model(arguments, OpenChoice, calibration=given_values(arguments, Calibration))


def open_scan(arguments: argparse.Namespace, path: Path) -> DataCube:
    """Open a scan as the user chose; what is odd in it is told, and where it does not fit, what would do."""
    from napari_stem_orient.steps import open as opening

    choice = open_choice(arguments)
    try:
        datacube = opening.open_scan(path, choice)
    except UserError as error:
        raise with_ways_out(error) from None
    for note in datacube.notes if getattr(arguments, "tells_notes", True) else ():
        tell(f"{path.name}: {note}")
    return datacube


def with_ways_out(error: UserError) -> UserError:
    """The error of a file that does not fit what was chosen, with the options that would make it fit."""
    from napari_stem_orient.steps.open import question_of

    question = question_of(error)
    if question is None or not question.refused:
        return error
    return UserError(f"{error} ({_ways_out(question)})")


def _ways_out(question: ScanShapeQuestion) -> str:
    """The options that make a file fit: "--first-frame 2, or --last-frame 12; or --scan-shape 1 13"."""
    from napari_stem_orient.core.frames import position_ranges

    shapes = " or ".join(f"--scan-shape {rows} {columns}" for rows, columns in question.proposals[:2])
    way = question.way_out
    if way is None:
        return shapes
    if way.first is not None and way.last is not None:
        return f"--first-frame {way.first + 1}, or --last-frame {way.last + 1}; or {shapes}"
    lost = f"--lost-frames {position_ranges(way.lost).replace(' ', '')}"
    return f"if they are lost: {lost}; or {shapes}" if question.error.field == "scan_shape" else lost


# --- detect ----------------------------------------------------------------------------------------------------------


def detection_options(parser: argparse.ArgumentParser) -> None:
    """Options of the detection of Bragg disks."""
    from napari_stem_orient.detection.detectors import DETECTORS
    from napari_stem_orient.detection.parameters import DetectionParameters
    from napari_stem_orient.steps.detect import DetectChoice
    from napari_stem_orient.steps.probe import ProbeChoice

    title = "detection (instead of what is measured in a sample of the scan)"
    add_model_options(parser, DetectionParameters, title=title)
    add_model_options(parser, ProbeChoice, title="template", prefix=PROBE, aliases={"source": "--probe"})
    fields = DetectChoice.model_fields
    add_model_options(parser, DetectChoice, title="detector", skip=("device", "detector"))
    parser.add_argument(
        "--detector",
        type=lambda name: OTHER_NAMES.get(name, name),
        choices=tuple(DETECTORS),
        default=argparse.SUPPRESS,
        help=f"{fields['detector'].description} Default: {fields['detector'].default}.",
    )
    mask_options(parser)


def mask_options(parser: argparse.ArgumentParser) -> None:
    """Options of the detector mask; see `mask_choice`."""
    from napari_stem_orient.steps.mask import MaskChoice

    reads_file(
        parser,
        "--mask",
        metavar="FILE",
        help="detector pixels that are not usable: a .npy or .tif image of the detector, not 0 where a pixel is not "
        "usable, or 'none'. Default: the hot and dead pixels that are found in a sample of the scan.",
    )
    parser.add_argument(
        "--beam-stop", action="store_true", help=str(MaskChoice.model_fields["beam_stop"].description)
    )


def mask_choice(arguments: argparse.Namespace) -> MaskChoice:
    """The detector mask that the user wants."""
    from napari_stem_orient.steps.mask import NO_MASK, MaskChoice, mask_from_file

    if arguments.mask is None:
        choice = MaskChoice()
    else:
        choice = NO_MASK if arguments.mask == "none" else mask_from_file(existing(Path(arguments.mask)))
    return choice.changed(beam_stop=arguments.beam_stop)


def detect_choice(arguments: argparse.Namespace) -> DetectChoice:
    """How the user wants the disks to be detected."""
    from napari_stem_orient.detection.parameters import DetectionParameters
    from napari_stem_orient.steps.detect import DetectChoice
    from napari_stem_orient.steps.probe import ProbeChoice

    build_model(arguments, DetectionParameters)
    values = {
        **given_values(arguments, DetectChoice),
        "probe": build_model(arguments, ProbeChoice, prefix=PROBE),
        "mask": mask_choice(arguments),
        "parameters": given_values(arguments, DetectionParameters),
    }
    return checked(DetectChoice, values)


def refuse_scan_options(arguments: argparse.Namespace, *, why: str) -> None:
    """Refuse the options of reading a scan and of detecting in it, where there is no scan."""
    from napari_stem_orient.steps.detect import DetectChoice
    from napari_stem_orient.steps.open import OpenChoice
    from napari_stem_orient.steps.probe import ProbeChoice

    given = [*given_values(arguments, OpenChoice), *given_values(arguments, DetectChoice)]
    given += [f"{PROBE}{name}" for name in given_values(arguments, ProbeChoice, prefix=PROBE)]
    given += ["beam_stop"] if arguments.beam_stop else []
    for name in given:
        if name != "device" and getattr(arguments, name) is not None:
            option = "--probe" if name == f"{PROBE}source" else option_name(name)
            raise UsageError(f"{option} has no effect {why}: leave it out")


def mask_lines(choice: MaskChoice, found: FoundMask, mask: NDArray[np.bool_] | None) -> list[str]:
    """Which detector pixels are left out and why, and what else was found of them."""
    lines = []
    if choice.file is not None and mask is not None:
        lines.append(f"{int(mask.sum()):,} pixels are left out (given; --mask)")
    elif choice.found and found.bad.mask.any():
        lines.append(f"{found.bad.sentence()} (found; --mask none to use all)")
    stop = int(found.beam_stop.sum())
    if stop:
        what = (
            "is left out (given; --beam-stop)"
            if choice.beam_stop
            else "is used (--beam-stop to leave it out)"
        )
        lines.append(f"a beam stop of {stop:,} px {what}")
    return lines + ([] if found.saturation is None else [found.saturation.sentence()])
