"""Origin, ellipse and pixel size from one pattern with rings: a polycrystalline standard."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.calibration.fit import CalibrationFit
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.crystal import Crystal


def fit_ring_pattern(
    image: NDArray[np.generic], crystal: Crystal, *, start: Calibration | None = None
) -> CalibrationFit:
    """Origin, ellipse and pixel size of a pattern (h, w) of rings of a known crystal."""
    raise NotImplementedError
