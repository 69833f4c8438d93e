"""What is known about one scan position, in words: for the status bar and the inspect panel."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from napari_stem_orient.core.orientation import disorientation_angle_deg
from napari_stem_orient.core.solution import zone_axis_in_words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_stem_orient.core.crystal import Crystal
    from napari_stem_orient.core.orientation_map import OrientationMap
    from napari_stem_orient.core.solution import Candidate, Solution


def status_text(orientation_map: OrientationMap, position: tuple[int, int], *, four: bool = False) -> str:
    """Return what is known at a position (y, x) in a line, or why nothing is.

    Phase, zone axis, Euler angles, score, expected error, probability of the phase, disks explained and runner-up; at
    the end, whether the calibration is unchecked. ``four`` is for zone axes with four indices.
    """
    solution = orientation_map.at(*position)
    if solution.crystal is None or solution.euler_deg is None:
        both = " or ".join(answer_text(answer, four=four) for answer in answers_not_taken(solution))
        return "   ".join(filter(None, (solution.sentence, both, disks_text(solution))))
    alternative = solution.alternative
    parts = (
        f"{solution.crystal.name} {zone_axis_in_words(solution, four=four)}",
        probability_text(solution),
        f"φ₁ Φ φ₂ = {euler_text(solution.euler_deg)}",
        f"score {solution.score:.2f}",
        confidence_text(solution.confidence_deg)
        + (" by its neighbours" if solution.neighbours_decided else ""),
        disks_text(solution),
        "" if alternative is None else f"next: {answer_text(alternative, four=four)}",
        "exploratory" if orientation_map.calibration.unchecked() else "",
    )
    return "   ".join(part for part in parts if part)


def answers_not_taken(solution: Solution) -> tuple[Candidate, ...]:
    """Return the answers at a position that is not indexed because two are as good; empty elsewhere."""
    if solution.indexed:
        return ()
    return tuple(answer for answer in (solution.rejected, solution.alternative) if answer is not None)


def answer_text(answer: Solution | Candidate, *, four: bool = False) -> str:
    """Return crystal, zone axis and score, "Cu [112] 0.84"."""
    name = "" if answer.crystal is None else answer.crystal.name
    return f"{name} {zone_axis_in_words(answer, four=four)} {answer.score:.2f}"


def probability_text(solution: Solution) -> str:
    """Return "phase 96 %" where several crystals were searched and the probability is known, else nothing."""
    if solution.n_crystals < 2 or math.isnan(solution.phase_probability):
        return ""
    # "100 %" would claim more than a probability can.
    return f"phase {min(99.9, 100 * solution.phase_probability):.3g} %"


def disks_text(solution: Solution) -> str:
    """Return "17 of 19 disks explained", where not indexed "disks: 19"; empty where nobody counted them."""
    explained, total = solution.explained_disks, solution.explained_disks + solution.unexplained_disks
    if not total:
        return ""
    return f"{explained} of {total} disks explained" if solution.indexed else f"disks: {total}"


def euler_text(euler_deg: tuple[float, float, float]) -> str:
    """Return Bunge angles in degrees as text."""
    return " ".join(f"{angle:.1f}°" for angle in euler_deg)


def confidence_text(confidence_deg: float) -> str:
    """Return the expected error as "± 0.8°"; empty where it is unknown."""
    return "" if math.isnan(confidence_deg) else f"± {confidence_deg:.1f}°"


def neighbours_text(solution: Solution) -> str:
    """Return that the neighbours chose between two answers which the pattern leaves open; empty where it does not."""
    if not solution.neighbours_decided:
        return ""
    return "The runner-up fits this pattern as well: the neighbours decided."


def overlined(text: str) -> str:
    """Return rich text in which digits under a bar (U+0304) are overlined: labels clip the bar itself.

    Indices of several digits are told apart by spaces, as `format_zone_axis` writes them.
    """
    inside = re.search(r"\[[^\]]*\]", text)
    digits = r"(\d+)" if " " in (text if inside is None else inside.group()) else r"(\d)"
    return re.sub(digits + "\u0304", r'<span style="text-decoration: overline">\1</span>', text)


def choice_texts(solution: Solution, *, four: bool = False) -> tuple[tuple[str, Solution | Candidate], ...]:
    """Return what there is to choose at a position, each with its line; empty where there is one answer or none."""
    not_taken = answers_not_taken(solution)
    words = ("Either", "Or") if len(not_taken) > 1 else ("Perhaps",)
    if not_taken:
        return tuple((f"{word}: {_spaced(a, four)}", a) for word, a in zip(words, not_taken, strict=True))
    if solution.alternative is None:
        return ()
    return (
        (f"Best: {_spaced(solution, four)}", solution),
        (f"Next: {_spaced(solution.alternative, four)}", solution.alternative),
    )


def _spaced(answer: Solution | Candidate, four: bool) -> str:
    name = "" if answer.crystal is None else answer.crystal.name
    return f"{name} {zone_axis_in_words(answer, four=four)}  {answer.score:.2f}"


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
