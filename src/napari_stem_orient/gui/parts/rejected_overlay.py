"""Rejected maxima over a pattern: a sign and a colour for each reason, and what is said of the one under the mouse."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray

from napari_stem_orient.detection.rejected_maxima import Rejection

if TYPE_CHECKING:
    from napari_stem_orient.detection.rejected_maxima import RejectedMaxima

SIGN_SIZES_PX = (5.0, 10.0)
SIGN_ALPHAS = (110, 255)
SIGNIFICANCES = (1.5, 4.0)
"""Signs grow in size and strength between these significances (σ): what is nearly a disk is seen first."""
REACH_SCREEN_PX = 8
"""The mouse may be this far from a sign, in pixels of the screen."""


class Sign(NamedTuple):
    """How a reason is drawn: pyqtgraph's symbol, the same as a letter, and the colour."""

    symbol: str
    letter: str
    colour: str


SIGNS = {
    Rejection.BELOW_THRESHOLD: Sign("t1", "△", "#f074b5"),
    Rejection.TOO_CLOSE: Sign("x", "✖", "#1fbf8f"),
    Rejection.EDGE: Sign("s", "□", "#8fa8bf"),
    Rejection.MASKED: Sign("d", "◇", "#ff5a4f"),
    Rejection.BEYOND_MOST: Sign("+", "✚", "#9a8cf0"),
}


class RejectedOverlay:
    """The signs in one plot.

    Attributes
    ----------
    item : what is added to the plot
    """

    def __init__(self) -> None:
        self.item = pg.ScatterPlotItem(pxMode=True)
        self._rejected: RejectedMaxima | None = None
        self._x = self._y = np.zeros(0)

    def set(self, rejected: RejectedMaxima | None, *, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
        """Draw maxima at places x, y (m,) in the units of the axes, or none."""
        self._rejected, self._x, self._y = rejected, x, y
        if rejected is None:
            self.item.setData([], [])
            return
        signs = [SIGNS[reason] for reason in rejected.reasons]
        colours = [pg.mkColor(sign.colour) for sign in signs]
        for colour, alpha in zip(
            colours, np.interp(rejected.significance, SIGNIFICANCES, SIGN_ALPHAS), strict=True
        ):
            colour.setAlpha(int(alpha))
        self.item.setData(
            x=x,
            y=y,
            symbol=[sign.symbol for sign in signs],
            size=np.interp(rejected.significance, SIGNIFICANCES, SIGN_SIZES_PX),
            pen=[pg.mkPen(colour, width=1.2) for colour in colours],
            brush=[
                pg.mkBrush(colour if sign.symbol in "x+" else None)
                for sign, colour in zip(signs, colours, strict=True)
            ],
        )

    def nearest(self, x: float, y: float, *, screen_px: float) -> tuple[int, float] | None:
        """Number of the sign under the mouse and its distance; ``screen_px`` is the size of a pixel of the screen."""
        if self._rejected is None or len(self._x) == 0 or not self.item.isVisible():
            return None
        distance = np.hypot(self._x - x, self._y - y)
        best = int(np.argmin(distance))
        return (best, float(distance[best])) if distance[best] <= REACH_SCREEN_PX * screen_px else None

    def words(self, number: int) -> tuple[str, str]:
        """What stands beside a sign, and the whole sentence."""
        rejected = self._rejected
        assert rejected is not None
        reason, words = rejected.reasons[number], rejected.words[number]
        counts = f"{float(rejected.intensity[number]):,.3g} counts"
        return words, f"{reason.capitalize()}: {words} · {counts}"

    def place(self, number: int) -> tuple[float, float]:
        """Where a sign is drawn."""
        return float(self._x[number]), float(self._y[number])


def legend_html(rejected: RejectedMaxima) -> str:
    """What the signs of a pattern mean, and how many there are of each."""
    counts = Counter(rejected.reasons)
    parts = [
        f'<span style="color:{sign.colour}">{sign.letter}</span>&nbsp;{reason.replace(" ", "&nbsp;")}&nbsp;'
        f"({counts[reason]})"
        for reason, sign in SIGNS.items()
        if counts[reason]
    ]
    return " &nbsp;".join(parts)
