"""RingPoints: places on rings, as offsets from the direct beam, and in groups whose errors go together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.calibration.bragg_vector_map import (
    away_from_the_beam,
    beam_offsets,
    disk_weights,
)
from napari_stem_orient.core.bragg_peaks import BraggPeaks

Float64 = NDArray[np.float64]

#: Disks that are used at most; a random choice of them where there are more.
MOST_POINTS = 200_000

#: Disks within this part of their radius and this angle of each other are mostly one reflection of one grain, over and
#: over: their errors go together.
CELL_RADIUS = 0.03
CELL_ANGLE_DEG = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class RingPoints:
    """Places that lie on rings, or nearly.

    Attributes
    ----------
    x, y : (n,) float64; offset in px from the direct beam, columns and rows of the detector
    weight : (n,) float64; 0 to 1
    group : (n,) int64; which part of reciprocal space a place lies in: its errors go with those of the others there, so
        that uncertainties come from drawing whole groups anew
    """

    x: Float64
    y: Float64
    weight: Float64
    group: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.x)

    @property
    def radius(self) -> Float64:
        """(n,) distances in px from the direct beam."""
        return np.asarray(np.hypot(self.x, self.y))

    def chosen(self, which: NDArray[np.bool_] | NDArray[np.int64]) -> RingPoints:
        """Some of the points."""
        return RingPoints(self.x[which], self.y[which], self.weight[which], self.group[which])

    @classmethod
    def of_peaks(cls, peaks: BraggPeaks, *, seed: int = 0) -> RingPoints:
        """The disks of a scan but the direct beams.

        Raises
        ------
        ValueError
            Where there are none.
        """
        which = np.flatnonzero(away_from_the_beam(peaks) & np.isfinite(peaks.x_px + peaks.y_px))
        if not len(which):
            raise ValueError("there are no Bragg disks to calibrate with: detect some first")
        if len(which) > MOST_POINTS:
            which = np.sort(np.random.default_rng(seed).choice(which, MOST_POINTS, replace=False))
        x, y = beam_offsets(peaks)
        return cls.at(x[which], y[which], disk_weights(peaks)[which])

    @classmethod
    def at(cls, x: Float64, y: Float64, weight: Float64) -> RingPoints:
        """Points at offsets in px, grouped by where they are."""
        ring = np.floor(np.log(np.maximum(np.hypot(x, y), 1e-6)) / CELL_RADIUS).astype(np.int64)
        sector = np.floor(np.degrees(np.arctan2(y, x)) / CELL_ANGLE_DEG).astype(np.int64)
        _, group = np.unique(np.stack([ring, sector]), axis=1, return_inverse=True)
        return cls(x, y, weight, np.asarray(group, dtype=np.int64).ravel())
