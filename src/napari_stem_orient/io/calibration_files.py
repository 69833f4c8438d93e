"""Calibrations taken from files of any kind, and saved as a small JSON file of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.calibration import Calibration


def read_calibration(path: str | Path) -> tuple[Calibration, NDArray[np.float32] | None]:
    """Calibration, and origins (n_positions, 2) in px or None, of a scan, peaks, map or calibration file."""
    raise NotImplementedError


def save_calibration(calibration: Calibration, path: str | Path) -> Path:
    """Write a calibration as JSON; it appears under its name only when it is whole. Returns its path."""
    raise NotImplementedError
