"""What was found, in words: numbers with no more digits than their error leaves."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

#: A pixel size farther than this part from the known one is for the user to confirm: camera lengths are mostly right
#: to a few percent, and Cu on the rings of Al is 11 % off.
FAR_OFF = 0.06


def with_error(value: float, error: float) -> str:
    """A number and its standard error with as many digits as the error has a first one: "0.03281 ± 0.00004"."""
    if not (math.isfinite(error) and error > 0):
        return f"{value:.5g}"
    digits = min(8, max(0, -math.floor(math.log10(error))))
    if round(error, digits) >= 10.0 ** (1 - digits):  # 0.0097 is 0.010
        digits = max(0, digits - 1)
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def change_in_words(value: float, before: float) -> str:
    """By how much a value has changed, in percent: "+0.03 %"; it is not broken across lines."""
    percent = round(100 * (value / before - 1), 2) + 0.0  # no "-0.00"
    return f"{percent:+.2f}\N{NO-BREAK SPACE}%"


def strain_error(samples: Sequence[tuple[float, float]]) -> float:
    """Standard deviation of ellipses given as `RingMetric.strain`, along either direction."""
    return float(np.sqrt(np.mean(np.var(np.asarray(samples), axis=0))))


def ellipse_in_words(ellipse: tuple[float, float], error: float) -> str:
    """Ratio and direction in degrees of an ellipse, with the errors that follow from that of its strain."""
    ratio, angle = ellipse
    text = with_error(ratio, ratio * error)
    size = math.log(ratio)
    if size < 2 * error:
        return f"{text}: round within twice its error"
    return f"{text}, major axis at {with_error(angle, math.degrees(error / size) / 2)}°"


def is_far_off(size: float, known: float | None) -> bool:
    """Whether a pixel size is another one than was known, so that the crystal may be the wrong one."""
    return known is not None and abs(math.log(size / known)) > FAR_OFF


def far_off_in_words(known: float) -> str:
    """What to do about a pixel size that is far off the known one, in Å⁻¹."""
    return (
        f"The pixel size known so far, {known:.4g} 1/Å, is far off: if it is right, the crystal is another; undo. "
        "If not, tick the new one."
    )
