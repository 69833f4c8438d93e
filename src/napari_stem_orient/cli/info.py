"""The command info: what a scan, Bragg peaks, an orientation map or a model holds, in lines; or the models."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stem_orient.cli.choices import open_scan, scan_options
from napari_stem_orient.cli.options import calibration_options, existing

if TYPE_CHECKING:
    from napari_stem_orient.core.bragg_peaks import BraggPeaks
    from napari_stem_orient.core.calibration import Calibration
    from napari_stem_orient.core.orientation_map import OrientationMap

Lines = list[tuple[str, str]]


def info_options(parser: argparse.ArgumentParser) -> None:
    """Which file, and how to read a scan."""
    parser.add_argument(
        "file",
        type=Path,
        nargs="?",
        metavar="FILE",
        help="a scan, Bragg peaks, an orientation map or a model folder; without one, the shipped models and "
        "what they were trained for",
    )
    parser.set_defaults(tells_notes=False)  # they are among the lines
    scan_options(parser)
    calibration_options(parser)


def run_info(arguments: argparse.Namespace) -> str:
    """Say what a file holds, what of its calibration is known, and what is missing; or list the models."""
    lines = model_lines() if arguments.file is None else file_lines(existing(arguments.file), arguments)
    return "\n".join(f"{name + ':':<22}{value}" for name, value in lines)


def file_lines(path: Path, arguments: argparse.Namespace) -> Lines:
    """Name and value of each thing to know about a file; ``arguments`` say how to read a scan."""
    from napari_stem_orient.io.maps import is_orientation_map_file, open_orientation_map
    from napari_stem_orient.io.peaks import is_peaks_file, open_bragg_peaks
    from napari_stem_orient.transformer.model_folder import CARD_NAME, read_card

    if (path / CARD_NAME).is_file():
        return [("kind", "model"), *((title.lower(), text) for title, text in read_card(path).lines())]
    if is_orientation_map_file(path):
        return _map_lines(open_orientation_map(path))
    if is_peaks_file(path):
        return _peaks_lines(open_bragg_peaks(path))
    return _scan_lines(arguments, path)


def model_lines() -> Lines:
    """Name and range of validity of each model that comes with the package."""
    from napari_stem_orient.transformer.model_folder import read_card, shipped_models

    lines: Lines = []
    wanted = ("Voltage", "Cell edge a", "c/a", "Highest q", "Thickness", "Trained on", "Accuracy")
    for name, folder in shipped_models().items():
        card = dict(read_card(folder).lines())
        lines.append((name, f"for {card['Made for']}"))
        lines.extend((f"  {title.lower()}", card[title]) for title in wanted if title in card)
    return lines or [("models", "none is shipped; train one (napari-stem-orient train --help)")]


def _scan_lines(arguments: argparse.Namespace, path: Path) -> Lines:
    from napari_stem_orient.core.errors import UserError
    from napari_stem_orient.steps.open import question_of

    try:
        datacube = open_scan(arguments, path)
    except UserError as error:
        stack = question_of(error)
        if stack is None or stack.refused:
            raise
        proposals = ", ".join(f"{y} x {x}" for y, x in stack.proposals[:6])
        proposals += f"; or {stack.near_square}" if stack.near_square else ""
        lost = "" if stack.n_promised is None else f" (its header tells of {stack.n_promised:,})"
        return [
            ("kind", f"a stack of {stack.n_frames:,} patterns{lost} without a scan shape"),
            ("to open it", f"give --scan-shape Y X; possible: {proposals}"),
            ("", "frames before or after the scan: --first-frame, --last-frame; lost ones: --lost-frames"),
        ]
    mib = datacube.data.nbytes / 2**20
    return [
        ("kind", "4D-STEM scan"),
        ("scan", f"{_by(datacube.scan_shape)} positions"),
        ("detector", f"{_by(datacube.detector_shape)} px, {datacube.data.dtype}, {mib:,.1f} MiB in all"),
        *([("missing patterns", f"{datacube.n_missing:,}")] if datacube.missing is not None else []),
        *_calibration_lines(datacube.calibration),
        *[("note", note) for note in datacube.notes],
    ]


def _peaks_lines(peaks: BraggPeaks) -> Lines:
    from napari_stem_orient.io.peaks import NOMINAL

    counts = peaks.counts()
    nominal = peaks.parameters.get("pixels") == NOMINAL
    unreadable = int(peaks.parameters.get("unreadable_frames", 0))
    left_out = int(peaks.parameters.get("left_out_not_finite", 0))
    return [
        ("kind", "Bragg peaks"),
        ("scan", f"{_by(peaks.scan_shape)} positions, {int(peaks.detected.sum()):,} of them detected"),
        ("peaks", f"{len(peaks.intensity):,}"),
        ("peaks a position", f"{counts.min()} to {counts.max()}, {counts.mean():.1f} on average"),
        *([("not whole", f"{unreadable:,} patterns with NaN or infinite pixels")] if unreadable else []),
        *([("left out", f"{left_out:,} peaks that were NaN or infinite")] if left_out else []),
        *([("vectors", "in 1/Å in the file; pixels and pixel size are nominal")] if nominal else []),
        *_calibration_lines(peaks.calibration),
        *_exploratory_lines(peaks.calibration),
    ]


def _map_lines(orientation_map: OrientationMap) -> Lines:
    phases = [
        f"{crystal.name} {int((orientation_map.phase_id == i).sum()):,}"
        for i, crystal in enumerate(orientation_map.crystals)
    ]
    models = (orientation_map.model or {}).values()
    names = {str(model["name"]) for model in models if isinstance(model, dict) and "name" in model}
    tolerances = orientation_map.measured.get("position_tolerance_inv_angstrom", {})
    tolerance = ", ".join(f"{name} {value:.3g}" for name, value in tolerances.items())
    return [
        ("kind", "orientation map"),
        (
            "scan",
            f"{_by(orientation_map.scan_shape)} positions, {int(orientation_map.done.sum()):,} of them done",
        ),
        ("indexed", f"{100 * orientation_map.indexed_fraction:.1f} %: {', '.join(phases)} positions"),
        ("method", ", model ".join([orientation_map.method, *sorted(names)])),
        *([("position tolerance", f"{tolerance} 1/Å, measured in the scan")] if tolerance else []),
        *_calibration_lines(orientation_map.calibration),
        *_exploratory_lines(orientation_map.calibration),
    ]


def _calibration_lines(calibration: Calibration) -> Lines:
    known = {
        field.title or name: f"{_plain(getattr(calibration, name))} {_unit(field.json_schema_extra)}".strip()
        for name, field in type(calibration).model_fields.items()
        if getattr(calibration, name) not in (None, field.default)
    }
    lines = [(name.lower(), value) for name, value in known.items()]
    if calibration.pixel_size_inv_angstrom is None and calibration.pixel_angle_mrad is not None:
        lines.append(("", "the pixel size follows from it as soon as the voltage is given"))
    missing = calibration.missing_for_indexing()
    if missing:
        lines.append(("missing", ", ".join(missing)))
    return lines


def _exploratory_lines(calibration: Calibration) -> Lines:
    """What nobody has calibrated, where there is something."""
    name, _, text = calibration.exploratory().partition(": ")
    return [(name.lower(), text)] if text else []


def _plain(value: Any) -> str:
    """A value of the calibration with no more digits than anybody measures."""
    if isinstance(value, tuple):
        return ", ".join(map(_plain, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _unit(extra: Any) -> str:
    return str(extra.get("unit", "")) if isinstance(extra, dict) else ""


def _by(shape: tuple[int, int]) -> str:
    return f"{shape[0]} x {shape[1]}"
