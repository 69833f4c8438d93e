"""CalibrationState: the calibration of scan and peaks at one time, of which a history is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.session.history import Change

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationState:
    """The calibration of scan and peaks at one time: 8 bytes a scan position.

    Attributes
    ----------
    scan : of the datacube, None where none is open
    calibration : of the peaks
    origin_px : (n_positions, 2) float32; row and column of the direct beam in px, or None
    peaks : the peaks themselves where they have the q with which they were detected or opened, or None
    recipe : what was decided until then, as `BraggPeaks.recipe`
    """

    scan: Calibration | None
    calibration: Calibration
    origin_px: NDArray[np.float32] | None
    peaks: BraggPeaks | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)

    def applied_to(self, peaks: BraggPeaks) -> BraggPeaks:
        """The peaks as they were at that time: calibration and origins to the last digit."""
        if self.peaks is not None:
            return self.peaks
        if self.origin_px is None:
            peaks = replace(peaks, origin_px=None)
        return peaks.with_calibration(self.calibration, origin_px=self.origin_px).with_recipe(self.recipe)

    def has_q_of(self, peaks: BraggPeaks) -> bool:
        """Whether these peaks have the very q that is kept here, as it was given."""
        given = None if self.peaks is None else self.peaks.q_as_given
        theirs = peaks.q_as_given
        return given is not None and theirs is not None and theirs[0] is given[0]


CalibrationChange = Change[CalibrationState]
