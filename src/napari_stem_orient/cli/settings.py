"""What a detection will be run with, in words: what was measured, what the user gave, and how to change it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_stem_orient.cli.options import option_name

if TYPE_CHECKING:
    from napari_stem_orient.steps.detect import DetectPlan

#: Parameters that are measured in the scan, in the order in which they are told.
MEASURED = ("mode", "min_significance", "min_contrast", "min_spacing_px", "edge_px", "counts_per_electron")


def settings_lines(plan: DetectPlan) -> list[str]:
    """One line a setting: what it is, and whether it was measured or given."""
    parameters, given = plan.parameters, plan.choice.parameters
    fields = type(parameters).model_fields
    rows = _template_rows(plan)
    told = [*MEASURED, *(name for name in given.root if name not in MEASURED)]
    if parameters.min_absolute_intensity and "min_absolute_intensity" not in told:
        told.append("min_absolute_intensity")  # data without background are judged by it alone
    for name in told:
        value, extra = getattr(parameters, name), fields[name].json_schema_extra
        unit = f" {extra['unit']}" if isinstance(extra, dict) and "unit" in extra else ""
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        rows.append((fields[name].title or name, f"{text}{unit}", option_name(name), name not in given))
        if name == "min_significance" and plan.measured is not None:
            number = plan.measured.false_alarms.per_pattern(parameters.min_significance)
            words = f"{number:.2g} false disks a pattern, from noise alone"
            rows.append(("False alarms", words, "--false-disks-per-pattern", name not in given))
    return [_line(*row) for row in rows]


def _template_rows(plan: DetectPlan) -> list[tuple[str, str, str, bool]]:
    """Where the disks are looked for, and what one looks like."""
    origin = plan.datacube.calibration.origin_px
    by_hand = plan.choice.probe.radius_px is not None
    rows = [("Radius", f"{plan.probe.radius_px:.2f} px", "--probe-radius-px", not by_hand)]
    if plan.measured is not None and plan.measured.beam is not None:
        beam = plan.measured.beam
        rows.insert(0, ("Direct beam", f"row {beam.y_px:.1f}, column {beam.x_px:.1f} px", "", True))
    elif origin is not None:
        rows.insert(0, ("Direct beam", f"row {origin[0]:.1f}, column {origin[1]:.1f} px", "", False))
    return rows


def _line(title: str, text: str, option: str, measured: bool) -> str:
    how = "measured" if measured else "given"
    return f"{title + ':':<16}{text} ({how}{'; ' + option + ' to change it' if measured and option else ''})"
