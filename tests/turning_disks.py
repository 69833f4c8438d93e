"""A small scan whose disks turn from position to position, open or behind a beam stop, in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def turning_disks(*, radius_px: float = 3.0, positions: int = 80) -> NDArray[np.uint16]:
    """(positions, 48, 48); a direct beam in the middle and four disks that turn from position to position."""
    rows, columns = np.mgrid[:48, :48]
    angle = np.linspace(0, 1.5, positions)
    image = np.full((positions, 48, 48), 2.0)
    image += 300.0 * (np.hypot(rows - 24, columns - 24) < radius_px)
    for quarter in range(4):
        y, x = (24 + 14 * turn(angle + quarter * np.pi / 2) for turn in (np.sin, np.cos))
        image += 60.0 * (np.hypot(rows - y[:, None, None], columns - x[:, None, None]) < radius_px)
    return np.random.default_rng(1).poisson(image).astype(np.uint16)


def save_scan(folder: Path) -> Path:
    """8 x 10 positions, 48 x 48 px."""
    np.save(folder / "scan.npy", turning_disks().reshape(8, 10, 48, 48))
    return folder / "scan.npy"


def save_scan_behind_a_stop(folder: Path) -> Path:
    """The same on diffuse scattering, behind a beam stop of 7 px radius that lets nothing through."""
    rows, columns = np.mgrid[:48, :48]
    distance = np.hypot(rows - 24, columns - 24)
    diffuse = np.random.default_rng(2).poisson(400 * np.exp(-distance / 8), (80, 48, 48))
    frames = np.where(distance < 7, 0, turning_disks() + diffuse)
    np.save(folder / "stopped.npy", frames.reshape(8, 10, 48, 48).astype(np.uint16))
    return folder / "stopped.npy"
