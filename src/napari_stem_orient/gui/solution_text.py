"""What is known about one scan position, in words: for the status bar and the inspect panel."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from napari_stem_orient.core.orientation import disorientation_angle_deg

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_stem_orient.core.crystal import Crystal
    from napari_stem_orient.core.orientation_map import Alternative, OrientationMap, Solution


def status_text(orientation_map: OrientationMap, position: tuple[int, int]) -> str:
    """Return phase, zone axis, Euler angles, score and confidence at a position (y, x), or why there are none."""
    solution = orientation_map.at(*position)
    if solution.crystal is None or solution.euler_deg is None:
        return solution.sentence
    parts = [
        f"{solution.crystal.name} {solution.zone_axis}",
        f"φ₁ Φ φ₂ = {euler_text(solution.euler_deg)}",
        f"score {solution.score:.2f}",
    ]
    confidence = confidence_text(solution.confidence_deg)
    return "   ".join([*parts, confidence] if confidence else parts)


def euler_text(euler_deg: tuple[float, float, float]) -> str:
    """Return Bunge angles in degrees as text."""
    return " ".join(f"{angle:.1f}°" for angle in euler_deg)


def confidence_text(confidence_deg: float) -> str:
    """Return the expected error as "± 0.8°"; empty where it is unknown."""
    return "" if math.isnan(confidence_deg) else f"± {confidence_deg:.1f}°"


def overlined(text: str) -> str:
    """Return rich text in which digits under a bar (U+0304) are overlined: labels clip the bar itself.

    Indices of several digits are told apart by spaces, as `format_zone_axis` writes them.
    """
    digits = r"(\d+)" if " " in text else r"(\d)"
    return re.sub(digits + "\u0304", r'<span style="text-decoration: overline">\1</span>', text)


def choice_text(solution: Solution | Alternative, *, runner_up: bool) -> str:
    """Return a line for the choice between the solution and its runner-up."""
    if solution.crystal is None:
        return "Not indexed"
    name = "Next" if runner_up else "Best"
    return f"{name}: {solution.crystal.name} {solution.zone_axis}  {solution.score:.2f}"


def difference_text(
    one: tuple[Crystal, NDArray[np.float64]] | None, other: tuple[Crystal, NDArray[np.float64]] | None
) -> str:
    """Return how far two solutions (crystal, quaternion) are apart, "1.4° away"; empty where one is missing.

    Euler angles do not show it: equivalent orientations have different ones.
    """
    if one is None or other is None:
        return ""
    if one[0] != other[0]:
        return "another phase"
    angle = disorientation_angle_deg(one[1], other[1], one[0].proper_point_group)
    return f"{float(angle):.1f}° away"


def method_title(method: str) -> str:
    """Return a method's name for people: "transformer" is "Transformer", "template" is "Template matching"."""
    return {"transformer": "Transformer", "template": "Template matching"}.get(method, method)
