"""The words of Inspect: which position is shown, or what to do first."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_stem_orient.gui.inspect.resolved import Inspected

NOTHING_OPEN = "Open a 4D-STEM scan, Bragg peaks or a map in the dock “Orientation mapping”."
CLICK = "Click or drag over a map to see single patterns."


def header_text(inspected: Inspected) -> str:
    """Where the pattern comes from, or what to do first; two lines for a position of a scan whose step is known."""
    if not inspected.is_open:
        return NOTHING_OPEN
    if inspected.position is None:
        return f"Mean pattern. {CLICK}" if inspected.has_mean else CLICK
    text = f"Row {inspected.position[0]}, column {inspected.position[1]}"
    if inspected.place_nm is None:
        return text
    return f"{text}\ny {inspected.place_nm[0]:.4g} nm, x {inspected.place_nm[1]:.4g} nm"
