"""Which pixels of a detector are to be used: a mask is read, and refused where it fits nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def usable_pixels(mask: ArrayLike | None, detector_shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return which pixels (det_y, det_x) a mask leaves; ValueError for one of another shape, or that leaves none."""
    if mask is None:
        return np.ones(detector_shape, dtype=bool)
    masked = np.asarray(mask, dtype=bool)
    check_mask(masked, detector_shape)
    return ~masked


def check_mask(mask: NDArray[np.bool_], detector_shape: tuple[int, int]) -> None:
    """Refuse a mask of another detector, or one that leaves nothing."""
    if mask.shape != detector_shape:
        raise ValueError(
            f"the detector mask has shape {mask.shape} but the frames {detector_shape}: use a mask of this detector"
        )
    if mask.all():
        raise ValueError("the detector mask covers the whole detector: clear it, or leave some pixels usable")
