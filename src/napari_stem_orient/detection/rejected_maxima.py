"""Maxima of one pattern that are no Bragg disks, and why not; without torch, so that a window can show them at once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.bragg_peaks import DetectedBlock


class Rejection(StrEnum):
    """Why a maximum is no disk; the value is what is said of it."""

    BELOW_THRESHOLD = "below threshold"
    TOO_CLOSE = "too close"
    EDGE = "at the edge"
    MASKED = "masked"
    BEYOND_MOST = "beyond the most disks"


@dataclass(frozen=True, slots=True, eq=False)
class RejectedMaxima:
    """Maxima of one pattern that are no disks, most significant first.

    ``x_px``, ``y_px``, ``intensity`` (counts) and ``significance`` (σ), (m,) float32; of each its reason, and the value
    against the limit in words ("2.9 σ, needs 4.0").
    """

    x_px: NDArray[np.float32]
    y_px: NDArray[np.float32]
    intensity: NDArray[np.float32]
    significance: NDArray[np.float32]
    reasons: tuple[Rejection, ...]
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Explained(DetectedBlock):
    """The disks of one pattern, and the maxima that are none."""

    rejected: RejectedMaxima | None = None
