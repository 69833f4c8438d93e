"""Scattering vectors of peaks on the detector, for many positions at once, and the peaks of some positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.ragged import offsets_from_counts

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]

#: Scattering vectors are computed for so many positions at once: what that takes stays in the processor's cache.
POSITIONS_AT_ONCE = 2048


@dataclass(frozen=True, slots=True, eq=False)
class PeakSelection:
    """Peaks of some probe positions of a `BraggPeaks`, in the order asked for.

    ``positions`` (m,) and ``offsets`` (m + 1,) int64; all else (n,) float32, as in `BraggPeaks`.
    """

    positions: Int64
    x_px: Float32
    y_px: Float32
    q_x: Float32
    q_y: Float32
    intensity: Float32
    significance: Float32
    offsets: Int64

    def counts(self) -> Int64:
        """(m,) int64; number of peaks at each position."""
        return np.diff(self.offsets)


def moved_origins(
    origins: Float32 | None, old: tuple[float, float] | None, new: tuple[float, float] | None
) -> Float32 | None:
    """The direct beams (n_positions, 2) of all positions, moved as their mean is from the old to the new one."""
    if origins is None or new is None or new == old:
        return origins
    reference = origins.mean(axis=0, dtype=np.float64) if old is None else np.asarray(old)
    moved: Float32 = (origins + (np.asarray(new) - reference)).astype(np.float32)
    return moved


def known_origin(calibration: Calibration, detector_shape: tuple[int, int] | None) -> tuple[float, float]:
    """Row and column of the direct beam: calibrated, or else the middle of the detector."""
    if calibration.origin_px is not None:
        return calibration.origin_px
    if detector_shape is None:
        raise ValueError("the direct beam's position is not known: set origin_px, in px, in the calibration")
    return (detector_shape[0] - 1) / 2, (detector_shape[1] - 1) / 2


def scattering_vectors(
    x_px: Float32,
    y_px: Float32,
    counts: Int64,
    calibration: Calibration,
    origins: NDArray[Any] | None,
    detector_shape: tuple[int, int] | None,
) -> tuple[Float32, Float32]:
    """Scattering vectors (n,) float32 of peaks whose positions have their own or one common origin."""
    offsets = offsets_from_counts(counts)
    q_x, q_y = np.empty(len(x_px), dtype=np.float32), np.empty(len(y_px), dtype=np.float32)
    common = np.asarray(known_origin(calibration, detector_shape)) if origins is None else None
    for first in range(0, len(counts), POSITIONS_AT_ONCE):
        some = slice(first, min(first + POSITIONS_AT_ONCE, len(counts)))
        part = slice(int(offsets[some.start]), int(offsets[some.stop]))
        origin = common if origins is None else np.repeat(origins[some], counts[some], axis=0)
        q_x[part], q_y[part] = calibration.pixels_to_q(x_px[part], y_px[part], origin_px=origin)
    return q_x, q_y
