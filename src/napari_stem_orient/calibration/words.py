"""What was found, in words: numbers with no more digits than their error leaves, and what is doubtful in sentences."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from napari_stem_orient.calibration.measured import Doubt, DoubtKind, Measurand, Measured

Found = dict[Measurand, Measured]
M = Measurand


def lines_of(measured: Sequence[Measured]) -> tuple[tuple[str, str], ...]:
    """What was found as (title, text), in the order in which it was measured: ("Pixel size", "0.03281 ± 0.00004 1/Å").

    Numbers that belong together share a line.
    """
    found = {each.what: each for each in measured}
    return tuple(
        line for what in found if what in LINES for line in [(LINES[what][0], LINES[what][1](found))]
    )


def text_of(measured: Sequence[Measured], what: Measurand) -> str | None:
    """What the line of a quantity says; None where it was not measured."""
    found = {each.what: each for each in measured}
    return LINES[what][1](found) if what in found else None


def doubts_in_words(doubts: Iterable[Doubt]) -> str:
    """What is not sure, in sentences; empty where nothing is."""
    return " ".join(DOUBTS[doubt.kind](doubt) for doubt in doubts)


def with_error(value: float, error: float | None) -> str:
    """A number and its standard error with as many digits as the error has a first one: "0.03281 ± 0.00004"."""
    if error is None or not (math.isfinite(error) and error > 0):
        return f"{value:.5g}"
    digits = min(8, max(0, -math.floor(math.log10(error))))
    if round(error, digits) >= 10.0 ** (1 - digits):  # 0.0097 is 0.010
        digits = max(0, digits - 1)
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def change_in_words(value: float, before: float) -> str:
    """By how much a value has changed, in percent: "+0.03 %"; it is not broken across lines."""
    percent = round(100 * (value / before - 1), 2) + 0.0  # no "-0.00"
    return f"{percent:+.2f}\N{NO-BREAK SPACE}%"


# --- lines ---


def _origin(found: Found) -> str:
    row, column = found[M.ORIGIN_ROW], found[M.ORIGIN_COLUMN]
    if row.error is None:
        wanders = found.get(M.ORIGIN_WANDERS)
        by = f", wanders {wanders.value:.2g} px" if wanders is not None and wanders.value > 0.005 else ""
        return f"row {row.value:.2f}, column {column.value:.2f} px{by}"
    if row.error == column.error:
        return f"row {row.value:.2f}, column {column.value:.2f} ± {row.error:.1g} px"
    return f"row {with_error(row.value, row.error)}, column {with_error(column.value, column.error)} px"


def _wanders(found: Found) -> str:
    rows, columns = found[M.ORIGIN_WANDERS_ROWS], found[M.ORIGIN_WANDERS_COLUMNS]
    return f"{rows.value:.2f} px in rows, {columns.value:.2f} px in columns"


def _found_at(found: Found) -> str:
    share, others = found[M.ORIGIN_FOUND].value, found[M.ORIGIN_TAKEN_BY_ANOTHER].value
    return f"{100 * share:.0f} % of the positions; {100 * others:.1f} % had another disk there"


def _moved(found: Found) -> str:
    rows, columns = found[M.ORIGIN_MOVED_ROWS], found[M.ORIGIN_MOVED_COLUMNS]
    return f"{rows.value:+.2f} px in rows, {columns.value:+.2f} px in columns"


def _off_plane(found: Found) -> str:
    scatter = found[M.ORIGIN_OFF_PLANE].value
    return f"{scatter:.2f} px" if scatter else "no more than its error"


def _pixel_size(found: Found) -> str:
    size = found[M.PIXEL_SIZE]
    text = f"{with_error(size.value, size.error)} 1/Å"
    return text if size.before is None else f"{text} ({change_in_words(size.value, size.before)})"


def _ellipse(found: Found) -> str:
    ratio, angle = found[M.ELLIPSE_RATIO], found[M.ELLIPSE_ANGLE]
    if ratio.error is None:
        return "none" if ratio.value == 1 else f"ratio {ratio.value:.4f} at {angle.value:.1f}°"
    text = with_error(ratio.value, ratio.error)
    if math.log(ratio.value) < 2 * ratio.error / ratio.value:
        return f"{text}: round within twice its error"
    return f"{text}, major axis at {with_error(angle.value, angle.error)}°"


def _rotation(found: Found) -> str:
    mirrored = found.get(M.MIRRORED)
    if math.isnan(found[M.ROTATION].value):
        return "cannot be told from the disks: it turns all orientations with it"
    return f"{found[M.ROTATION].value:.4g}°" + (", mirrored" if mirrored and mirrored.value else "")


def _sharpness(found: Found) -> str:
    sharpness = found[M.SHARPNESS]
    return f"{sharpness.value:.2f} (before: {sharpness.before or 0:.2f})"


def _on_rings(found: Found) -> str:
    share, disks, rings = (found[what].value for what in (M.DISKS_ON_RINGS, M.DISKS, M.RINGS))
    return f"{100 * share:.0f} % of {disks:,.0f}, on {rings:.0f} rings"


def _rings(found: Found) -> str:
    explained = found[M.PROFILE_EXPLAINED].value
    return f"{found[M.RINGS].value:.0f} in sight; they explain {100 * explained:.0f} % of the profile"


def _explained_disks(found: Found) -> str:
    disks, positions = found[M.EXPLAINED_DISKS], found[M.POSITIONS]
    return f"{disks.before or 0:,.0f} → {disks.value:,.0f} at {positions.value:,.0f} positions"


def _plain(what: Measurand) -> Callable[[Found], str]:
    return lambda found: f"{found[what].value:.6g} {found[what].unit}"


def _before_and_after(what: Measurand, digits: int, unit: str = "") -> Callable[[Found], str]:
    def write(found: Found) -> str:
        before, after = found[what].before or 0.0, found[what].value
        return f"{before:.{digits}f} → {after:.{digits}f}{unit}"

    return write


#: What begins a line, its title, and what writes it; all else is told in the line of another one.
LINES: dict[Measurand, tuple[str, Callable[[Found], str]]] = {
    M.ORIGIN_ROW: ("Direct beam", _origin),
    M.ORIGIN_WANDERS_ROWS: ("Wanders by", _wanders),
    M.ORIGIN_FOUND: ("Found at", _found_at),
    M.ORIGIN_SCATTER: ("Scatter", lambda found: f"{found[M.ORIGIN_SCATTER].value:.2f} px"),
    M.ORIGIN_MOVED_ROWS: ("Origin moved by", _moved),
    M.ORIGIN_OFF_PLANE: ("Origin off its plane by", _off_plane),
    M.PIXEL_SIZE: ("Pixel size", _pixel_size),
    M.ELLIPSE_RATIO: ("Ellipse", _ellipse),
    M.ROTATION: ("Rotation", _rotation),
    M.SHARPNESS: ("Sharpness of rings", _sharpness),
    M.DISKS_ON_RINGS: ("Disks on rings", _on_rings),
    M.OFF_RINGS: (
        "Off their rings by",
        lambda found: f"{found[M.OFF_RINGS].value:.4f} 1/Å (root mean square)",
    ),
    M.PROFILE_EXPLAINED: ("Rings", _rings),
    M.SCORE: ("Score", _before_and_after(M.SCORE, 3)),
    M.OFF_REFLECTIONS: (
        "Disks off their reflections by",
        _before_and_after(M.OFF_REFLECTIONS, 4, " 1/Å"),
    ),
    M.EXPLAINED_DISKS: ("Explained disks", _explained_disks),
    M.VOLTAGE: ("Accelerating voltage", _plain(M.VOLTAGE)),
    M.SCAN_STEP: ("Scan step", _plain(M.SCAN_STEP)),
    M.SCAN_STEP_DOWN: ("Scan step down", _plain(M.SCAN_STEP_DOWN)),
    M.CONVERGENCE: ("Convergence angle", _plain(M.CONVERGENCE)),
    M.PRECESSION: ("Precession angle", _plain(M.PRECESSION)),
}


# --- doubts ---


def _other_detector(doubt: Doubt) -> str:
    picture, detector = (" x ".join(map(str, size)) for size in doubt.sizes)
    return f"The picture has {picture} px, the scan's detector {detector}: are their pixels the same?"


def _off_centre(fix: str) -> Callable[[Doubt], str]:
    return lambda doubt: f"The rings' centre lies {doubt.value:.2f} px from the direct beam: {fix}."


DOUBTS: dict[DoubtKind, Callable[[Doubt], str]] = {
    DoubtKind.BEAM_SELDOM_FOUND: lambda doubt: (
        f"The direct beam was found at {100 * (doubt.value or 0):.0f} % of the positions only: check it in the pattern."
    ),
    DoubtKind.DISKS_OFF_RINGS: lambda _: (
        "The disks lie on the rings hardly better than by chance: is it the right crystal? Where rings are crowded, "
        "index first and refine from the map."
    ),
    DoubtKind.RIVAL_PIXEL_SIZE: lambda doubt: (
        f"A pixel size of {doubt.value:.4g} 1/Å fits about as well: the rings alone cannot tell."
    ),
    DoubtKind.PIXEL_SIZE_FAR_OFF: lambda doubt: (
        f"The pixel size known so far, {doubt.value:.4g} 1/Å, is far off: if it is right, the crystal is another; "
        "undo. If not, tick the new one."
    ),
    DoubtKind.RINGS_OFF_CENTRE: _off_centre("fit the origin first"),
    DoubtKind.RINGS_OFF_CENTRE_OF_FITTED_BEAM: _off_centre("too few orientations, or another crystal"),
    DoubtKind.RINGS_DRAWN_OUT: lambda doubt: (
        f"The rings are drawn out by {doubt.value:.3f}: fit the ellipse, too, and this again."
    ),
    DoubtKind.FEW_ORIENTATIONS: lambda _: (
        "Too few orientations to be sure without a crystal: choose one, or index and refine from the map."
    ),
    DoubtKind.WORSE_THAN_BEFORE: lambda _: (
        "The patterns are explained worse than before: the calibration stays as it was."
    ),
    DoubtKind.NO_BETTER_THAN_BEFORE: lambda _: (
        "The patterns were explained as well before: the calibration was right within what the disks can tell, and "
        "stays as it was."
    ),
    DoubtKind.OTHER_DETECTOR: _other_detector,
}
