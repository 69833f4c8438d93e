"""Virtual diffraction: the mean and the maximum of the patterns in a region of the scan."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_stem_orient._version import __version__
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.core.usable_pixels import usable_pixels
from napari_stem_orient.virtual.detector_counts import finite_frames
from napari_stem_orient.virtual.images import RECORD_BYTES, beam_origins

if TYPE_CHECKING:
    from napari_stem_orient.core.datacube import DataCube

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class DiffractionBlock:
    """How far the sum over a region is: ``mean`` (det_y, det_x) float32 of the patterns read so far."""

    mean: Float32
    progress: Progress


@dataclass(frozen=True, slots=True, eq=False)
class VirtualDiffraction:
    """The pattern of a region of the scan, and what made it.

    Parameters
    ----------
    mean, maximum
        (det_y, det_x) float32; mean and largest value of each detector pixel over the region, in the detector's
        units; 0 in pixels that no pattern has.
    n_positions
        Number of probe positions in the region.
    region
        (scan_y, scan_x) bool.
    origin_px
        Row and column of the direct beam in these patterns, in px.
    calibration
        Of the scan.
    name, source_fingerprint, software_version
        Name of the scan, fingerprint of its data, and the version that made the pattern.
    """

    mean: Float32
    maximum: Float32
    n_positions: int
    region: NDArray[np.bool_]
    origin_px: tuple[float, float]
    calibration: Calibration
    name: str = "scan"
    source_fingerprint: str | None = None
    software_version: str = __version__


def virtual_diffraction(
    datacube: DataCube,
    region: ArrayLike,
    *,
    origin_px: ArrayLike | None = None,
    mask: ArrayLike | None = None,
) -> Generator[DiffractionBlock, None, VirtualDiffraction]:
    """Mean and maximum pattern of a region, read block by block; blocks without any of it are not read.

    Where the direct beam drifts, the patterns are moved by whole pixels so that their direct beams coincide. Peak
    memory: about 100 MB beside dask's chunks, whatever the size of the scan.

    Parameters
    ----------
    datacube
        The scan.
    region
        (scan_y, scan_x) bool; True inside.
    origin_px
        (n_positions, 2) row and column of the direct beam at every position in px; where None, or (2,), no pattern
        is moved.
    mask
        (det_y, det_x) bool; pixels that are True are left out of mean and maximum.

    Raises
    ------
    ValueError
        Where the region is empty or of another shape than the scan.
    """
    inside = np.asarray(region, dtype=bool)
    if inside.shape != datacube.scan_shape:
        raise ValueError(
            f"the region has shape {inside.shape}, the scan {datacube.scan_shape}: draw it over this scan"
        )
    if not inside.any():
        raise ValueError("the region holds no position of the scan: draw it over the map")
    usable = usable_pixels(mask, datacube.detector_shape)
    origins = np.broadcast_to(beam_origins(datacube, origin_px, mask=~usable), (datacube.n_positions, 2))
    shifts = _shifts(origins, inside)
    beam = (origins + shifts)[inside.ravel()].mean(axis=0)
    pile = _Pile(usable)
    total, done = int(inside.sum()), 0
    for block in datacube.scan_blocks(max_bytes=RECORD_BYTES, positions=inside.ravel()):
        pile.add(finite_frames(block.frames), shifts[block.positions])
        done += len(block.positions)
        yield DiffractionBlock(pile.mean(), Progress(done, total, "patterns"))
    return VirtualDiffraction(
        pile.mean(),
        pile.maximum(),
        total,
        inside,
        (float(beam[0]), float(beam[1])),
        datacube.calibration,
        datacube.name,
        datacube.fingerprint,
    )


def _shifts(origins: NDArray[np.float64], inside: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(n_positions, 2) whole pixels that bring the pixel of each direct beam to that of their mean in a region."""
    pixels = np.floor(origins + 0.5)
    middle = np.floor(origins[inside.ravel()].mean(axis=0) + 0.5)
    return np.asarray(middle - pixels, dtype=np.int64)


class _Pile:
    """Patterns laid upon one another, each moved by whole pixels; pixels moved in from outside are not counted."""

    def __init__(self, usable: NDArray[np.bool_]) -> None:
        self._usable = usable
        self._sum = np.zeros(usable.shape)
        self._number = np.zeros(usable.shape, dtype=np.int64)
        self._maximum = np.full(usable.shape, -np.inf, dtype=np.float32)

    def add(self, frames: Float32, shifts: NDArray[np.int64]) -> None:
        """Lay patterns (m, det_y, det_x) upon the others, moved by ``shifts`` (m, 2) rows and columns."""
        places, which = np.unique(shifts, axis=0, return_inverse=True)
        for index, (down, right) in enumerate(places.tolist()):
            chosen = frames[which.reshape(-1) == index]
            to, source = _overlap(self._usable.shape, down, right)
            usable = self._usable[source]
            self._sum[to] += np.where(usable, chosen.sum(axis=0, dtype=np.float64)[source], 0.0)
            self._number[to] += len(chosen) * usable
            highest = np.where(usable, chosen.max(axis=0)[source], -np.inf)
            self._maximum[to] = np.maximum(self._maximum[to], highest)

    def mean(self) -> Float32:
        """(det_y, det_x) float32; mean of what was counted."""
        return np.asarray(self._sum / np.maximum(self._number, 1), dtype=np.float32)

    def maximum(self) -> Float32:
        """(det_y, det_x) float32; largest value of what was counted."""
        return np.where(self._number > 0, self._maximum, 0).astype(np.float32)


def _overlap(
    shape: tuple[int, ...], down: int, right: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where a pattern moved down and right comes to lie, and which part of it that is."""
    to, source = [], []
    for size, move in zip(shape, (down, right), strict=True):
        move = int(np.clip(move, -size, size))
        to.append(slice(max(0, move), size + min(0, move)))
        source.append(slice(max(0, -move), size - max(0, move)))
    return (to[0], to[1]), (source[0], source[1])
