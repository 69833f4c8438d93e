"""Simulated frames with disks at known places, for the tests of the detection."""

from __future__ import annotations

from dataclasses import dataclass

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.datacube import DataCube


@dataclass(frozen=True)
class KnownFrames:
    """Frames (n, det_y, det_x) and their disks (n, k): row, column in px and counts; disk 0 is the direct beam."""

    frames: NDArray[np.float32]
    y_px: NDArray[np.float64]
    x_px: NDArray[np.float64]
    counts: NDArray[np.float64]
    radius_px: float


def disk_image(
    shape: tuple[int, int],
    y: NDArray[np.float64],
    x: NDArray[np.float64],
    counts: NDArray[np.float64],
    radius: float,
) -> NDArray[np.float64]:
    """Flat disks (k,) with anti-aliased edges, summing to ``counts`` each."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    distance = np.hypot(rows - y[:, None, None], columns - x[:, None, None])
    disks = np.clip(radius + 0.5 - distance, 0, 1)
    return np.asarray((disks * (counts / disks.sum(axis=(1, 2)))[:, None, None]).sum(axis=0))


def known_frames(
    n: int,
    *,
    shape: tuple[int, int] = (96, 96),
    radius: float = 3.0,
    disks: int = 8,
    counts: tuple[float, float] = (100.0, 2000.0),
    direct: float = 8000.0,
    background: float = 0.5,
    noise: bool = True,
    seed: int = 0,
) -> KnownFrames:
    """Frames with a direct beam near the middle and disks at random places at least 4 radii apart."""
    rng = np.random.default_rng(seed)
    centre = (np.array(shape) - 1) / 2
    frames, places, values = [], [], []
    for _ in range(n):
        points = [centre + rng.uniform(-1.5, 1.5, 2)]
        while len(points) < disks + 1:
            point = rng.uniform(radius + 3, np.array(shape) - radius - 4)
            if min(np.hypot(*(point - other)) for other in points) > 4 * radius + 2:
                points.append(point)
        strength = np.exp(rng.uniform(np.log(counts[0]), np.log(counts[1]), disks + 1))
        strength[0] = direct
        position = np.array(points)
        image = disk_image(shape, position[:, 0], position[:, 1], strength, radius) + background
        frames.append(rng.poisson(image) if noise else image)
        places.append(position)
        values.append(strength)
    known = np.array(places)
    return KnownFrames(
        np.array(frames, dtype=np.float32), known[:, :, 0], known[:, :, 1], np.array(values), radius
    )


def as_datacube(frames: NDArray[np.generic], scan_shape: tuple[int, int], **calibration: float) -> DataCube:
    """Frames as a lazy scan of several chunks."""
    data = frames.reshape(*scan_shape, *frames.shape[1:])
    chunks = (max(1, scan_shape[0] // 2), max(1, scan_shape[1] // 2), -1, -1)
    return DataCube(da.from_array(data, chunks=chunks), Calibration(**calibration), name="known")
