"""What a detection will be run with, in words: what was measured, what the user gave, and how to change it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from napari_stem_orient.cli.options import given_values, option_name

if TYPE_CHECKING:
    from napari_stem_orient.detection.parameters import DetectionParameters
    from napari_stem_orient.detection.suggestion import Suggestion

#: Parameters that are measured in the scan, in the order in which they are told.
MEASURED = ("mode", "min_significance", "min_contrast", "min_spacing_px", "edge_px", "counts_per_electron")


def settings_lines(
    arguments: argparse.Namespace, suggestion: Suggestion, parameters: DetectionParameters
) -> list[str]:
    """One line a setting: what it is, and whether it was measured or given.

    Parameters
    ----------
    arguments
        What the user gave.
    suggestion
        What was measured in the scan.
    parameters
        What is detected with.
    """
    beam, fields = suggestion.beam, type(parameters).model_fields
    given = given_values(arguments, type(parameters))
    by_hand = arguments.probe_radius_px is not None
    rows = [
        ("Direct beam", f"row {beam.y_px:.1f}, column {beam.x_px:.1f} px", "", not by_hand),
        ("Radius", f"{suggestion.probe.radius_px:.2f} px", "--probe-radius-px", not by_hand),
    ]
    told = [*MEASURED, *(name for name in given if name not in MEASURED)]
    if parameters.min_absolute_intensity and "min_absolute_intensity" not in told:
        told.append("min_absolute_intensity")  # data without background are judged by it alone
    for name in told:
        value, extra = getattr(parameters, name), fields[name].json_schema_extra
        unit = f" {extra['unit']}" if isinstance(extra, dict) and "unit" in extra else ""
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        rows.append((fields[name].title or name, f"{text}{unit}", option_name(name), name not in given))
    number = suggestion.false_alarms.per_pattern(parameters.min_significance)
    rows.insert(
        4,
        ("False alarms", _false_alarms(number), "--false-disks-per-pattern", "min_significance" not in given),
    )
    return [_line(*row) for row in rows]


def _false_alarms(per_pattern: float) -> str:
    return f"{per_pattern:.2g} false disks a pattern, from noise alone"


def _line(title: str, text: str, option: str, measured: bool) -> str:
    how = "measured" if measured else "given"
    return f"{title + ':':<16}{text} ({how}{'; ' + option + ' to change it' if measured and option else ''})"
