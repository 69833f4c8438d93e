"""CalibrationHistory: the steps by which the Bragg peaks came to their calibration, to be undone and redone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.calibration import Calibration

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationState:
    """The calibration of scan and peaks at one time.

    Attributes
    ----------
    scan : of the datacube, None where none is open
    calibration : of the peaks
    origin_px : (n_positions, 2) float32; row and column of the direct beam in px, or None
    peaks : the peaks themselves where they have the q with which they were detected or opened, or None
    """

    scan: Calibration | None
    calibration: Calibration
    origin_px: NDArray[np.float32] | None
    peaks: BraggPeaks | None = None

    def applied_to(self, peaks: BraggPeaks) -> BraggPeaks:
        """The peaks as they were at that time: calibration and origins to the last digit."""
        if self.peaks is not None:
            return self.peaks
        if self.origin_px is None:
            peaks = replace(peaks, origin_px=None)
        return peaks.with_calibration(self.calibration, origin_px=self.origin_px)

    def has_q_of(self, peaks: BraggPeaks) -> bool:
        """Whether these peaks have the very q that is kept here."""
        return self.peaks is not None and self.peaks.q_x is peaks.q_x


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationStep:
    """One change of the calibration.

    Attributes
    ----------
    title : what was done, "Pixel size" for instance
    state : the calibration after it
    lines : what a fit told, (quantity, text)
    note : a warning in words, or empty
    """

    title: str
    state: CalibrationState
    lines: tuple[tuple[str, str], ...] = ()
    note: str = ""


class CalibrationHistory:
    """What was done to the calibration since the peaks were detected or opened.

    It holds origins and calibrations, and of the peaks only those that it began with: a step costs 8 bytes a scan
    position.
    """

    def __init__(self) -> None:
        self.start: CalibrationState | None = None
        self.done: tuple[CalibrationStep, ...] = ()
        self.undone: tuple[CalibrationStep, ...] = ()

    def begin(self, peaks: BraggPeaks | None, *, scan: Calibration | None) -> None:
        """Forget all steps; other peaks, or another scan, are there."""
        self.done, self.undone = (), ()
        self.start = (
            None if peaks is None else CalibrationState(scan, peaks.calibration, peaks.origin_px, peaks)
        )

    def add(self, step: CalibrationStep) -> None:
        """Note a step; those that were undone cannot be redone any more."""
        self.done, self.undone = (*self.done, step), ()

    def undo(self) -> CalibrationState | None:
        """Take the last step back and return the state before it; None where there is none."""
        if not self.done:
            return None
        self.undone = (self.done[-1], *self.undone)
        self.done = self.done[:-1]
        return self.now

    def redo(self) -> CalibrationState | None:
        """Take again the step that was undone last and return the state after it; None where there is none."""
        if not self.undone:
            return None
        self.done, self.undone = (*self.done, self.undone[0]), self.undone[1:]
        return self.now

    @property
    def now(self) -> CalibrationState | None:
        """The state after the last step."""
        return self.done[-1].state if self.done else self.start

    @property
    def before_last(self) -> CalibrationState | None:
        """The state before the last step; None where nothing was done."""
        if not self.done:
            return None
        return self.done[-2].state if len(self.done) > 1 else self.start
