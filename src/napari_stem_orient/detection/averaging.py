"""The frames that the detector searches: the patterns of the scan, averaged with their neighbours where asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from napari_stem_orient.core.datacube import DataCube, ScanBlock
from napari_stem_orient.core.ragged import flat_positions
from napari_stem_orient.core.usable_pixels import check_mask
from napari_stem_orient.detection.detector_mask import Mask, fill_in_place, fill_plan
from napari_stem_orient.detection.matched_filter import local_background
from napari_stem_orient.detection.parameters import DetectionParameters
from napari_stem_orient.detection.probe import measure_direct_beam

FloatImages = NDArray[np.float32]

LEAST_SIGNIFICANCE, MOST_SIGNIFICANCE = 2.0, 6.0
"""Cells brighter than their surroundings by so many σ are compared, by at most so many: no disk decides alone."""
LEAST_CONTRAST = 0.25
UNLIKE, ALIKE = 0.4, 0.7
"""Cosine of two patterns up to which they are not averaged, and from which on they are in full."""
COLUMNS_TOGETHER = 32


@dataclass(frozen=True, slots=True, eq=False)
class SearchBlock(ScanBlock):
    """Frames to search, on the scale of one pattern.

    ``exposures`` (m,) float32: how many patterns each frame is worth, 1 where nothing was averaged. A disk counts
    as many electrons as ``exposures`` patterns have, so the detector's gain is ``counts_per_electron / exposures``.
    """

    exposures: NDArray[np.float32]


def frames_to_search(
    datacube: DataCube,
    parameters: DetectionParameters,
    positions: ArrayLike | None = None,
    *,
    mask: Mask | None = None,
) -> Iterator[SearchBlock]:
    """Frames of the wanted positions block by block, as `DataCube.scan_blocks` gives them, averaged where asked for.

    An averaged frame is the mean of a pattern and its eight neighbours in the scan, each weighed by how alike its
    disks are: a neighbour in another grain hardly counts. Nothing is read twice: rows wait until the row below them
    is there.

    Peak memory: one block of the scan (64 MiB); with averaging also the rows that wait, as many as the largest
    chunk has and two more, as float32.

    Parameters
    ----------
    datacube
        The scan.
    parameters
        Say whether to average.
    positions
        Boolean mask of the scan, or flat positions; all of them where None.
    mask
        (det_y, det_x) bool, True where a pixel is not usable: patterns are not alike for sharing a hot pixel. Averaged
        frames have the background there, others what was recorded.
    """
    if parameters.averaging == "none":
        for block in datacube.scan_blocks(positions=positions):
            yield SearchBlock(block.positions, block.frames, np.ones(len(block.positions), dtype=np.float32))
        return
    if mask is not None:
        check_mask(mask, datacube.detector_shape)
    wanted = np.ones(datacube.n_positions, dtype=bool)
    if positions is not None:
        wanted = np.zeros(datacube.n_positions, dtype=bool)
        wanted[flat_positions(positions, datacube.n_positions)] = True
    wanted = wanted.reshape(datacube.scan_shape)
    needed = ndimage.binary_dilation(wanted, structure=np.ones((3, 3), dtype=bool))
    waiting = _WaitingRows(datacube, parameters, needed, mask)
    next_row = 0
    for block in datacube.scan_blocks(positions=needed):
        waiting.take(block)
        while next_row < datacube.scan_shape[0] and waiting.complete_around(next_row):
            yield from waiting.averaged(next_row, np.flatnonzero(wanted[next_row]))
            waiting.forget(next_row - 1)
            next_row += 1


def averaged_pattern(
    datacube: DataCube, parameters: DetectionParameters, y: int, x: int, *, mask: Mask | None = None
) -> tuple[FloatImages, DetectionParameters]:
    """The frame that is searched at scan row ``y`` and column ``x``, and the parameters to search it with.

    ``mask`` (det_y, det_x) bool is True where a pixel is not usable.

    Returns
    -------
    frame
        (det_y, det_x) float32.
    parameters
        Those given, with the gain that an averaged frame has.
    """
    frame = datacube.pattern(y, x)
    if parameters.averaging == "none":
        return frame, parameters
    (block,) = frames_to_search(datacube, parameters, [y * datacube.scan_shape[1] + x], mask=mask)
    gain = parameters.counts_per_electron / float(block.exposures[0])
    return block.frames[0], parameters.model_copy(update={"counts_per_electron": gain})


class _WaitingRows:
    """Rows of a scan with what their patterns look like, until the rows around them are there.

    Parameters
    ----------
    datacube, parameters
        The scan, and how it is searched.
    needed
        (scan_y, scan_x) bool, the positions that will be given.
    mask
        (det_y, det_x) bool, the pixels that are not usable; None for none.
    """

    def __init__(
        self,
        datacube: DataCube,
        parameters: DetectionParameters,
        needed: NDArray[np.bool_],
        mask: Mask | None = None,
    ) -> None:
        self._shape = datacube.scan_shape
        self._detector_shape = datacube.detector_shape
        self._origin_px = datacube.calibration.origin_px
        self._gain = parameters.counts_per_electron
        self._cell_px = int(np.clip(round(parameters.min_spacing_px / 2), 2, 16))
        self._missing = needed.sum(axis=1)
        self._plan = [] if mask is None or not mask.any() else fill_plan(mask)
        self._usable = None if mask is None else ~mask
        self._frames: dict[int, FloatImages] = {}
        self._looks: dict[int, FloatImages] = {}
        self._bad: dict[int, NDArray[np.bool_]] = {}

    def take(self, block: ScanBlock) -> None:
        """Keep the patterns of a block in the rows where they belong."""
        frames = np.array(block.frames, dtype=np.float32, order="C")
        bad = np.zeros(0, dtype=bool) if block.frames.dtype.kind != "f" else ~np.isfinite(frames)
        if bad.any():
            frames[bad] = 0.0
            bad = bad if self._usable is None else bad & self._usable
        fill_in_place(torch.from_numpy(frames.reshape(len(frames), -1)), self._plan)
        looks = appearance(
            frames,
            cell_px=self._cell_px,
            counts_per_electron=self._gain,
            origin_px=self._origin_px,
        )
        rows, columns = np.divmod(block.positions, self._shape[1])
        for row in np.unique(rows):
            here = rows == row
            if row not in self._frames:
                self._frames[row] = np.zeros((self._shape[1], *self._detector_shape), dtype=np.float32)
                self._looks[row] = np.zeros((self._shape[1], looks.shape[1]), dtype=np.float32)
            self._frames[row][columns[here]] = frames[here]
            self._looks[row][columns[here]] = looks[here]
            if bad.any() and bad[here].any():
                everything_good = np.zeros(self._frames[row].shape, dtype=bool)
                self._bad.setdefault(row, everything_good)[columns[here]] = bad[here]
            self._missing[row] -= here.sum()

    def complete_around(self, row: int) -> bool:
        """Whether all that is needed in a row and the two beside it has been taken."""
        return not self._missing[max(0, row - 1) : row + 2].any()

    def forget(self, row: int) -> None:
        """Let go of a row."""
        self._frames.pop(row, None)
        self._looks.pop(row, None)
        self._bad.pop(row, None)

    def averaged(self, row: int, columns: NDArray[np.int64]) -> Iterator[SearchBlock]:
        """Averaged frames at some columns (m,) of a row, those of some neighbouring columns at a time."""
        for start in range(0, self._shape[1], COLUMNS_TOGETHER):
            chosen = columns[(columns >= start) & (columns < start + COLUMNS_TOGETHER)]
            if len(chosen):
                frames, exposures = self._average(row, chosen)
                yield SearchBlock((row * self._shape[1] + chosen).astype(np.int64), frames, exposures)

    def _average(self, row: int, columns: NDArray[np.int64]) -> tuple[FloatImages, FloatImages]:
        """Means of patterns and their neighbours, as products of a band of weights and the rows."""
        first, end = max(0, int(columns[0]) - 1), min(self._shape[1], int(columns[-1]) + 2)
        looks = self._looks[row][columns]
        total = np.zeros((len(columns), int(np.prod(self._detector_shape))), dtype=np.float32)
        weights, squares = np.zeros(len(columns), np.float32), np.zeros(len(columns), np.float32)
        for beside in (row - 1, row, row + 1):
            if beside not in self._frames:
                continue
            band = np.zeros((len(columns), end - first), dtype=np.float32)
            for step in (-1, 0, 1):
                there = np.flatnonzero((columns + step >= 0) & (columns + step < self._shape[1]))
                column = columns[there] + step
                weight = alike(looks[there], self._looks[beside][column])
                band[there, column - first] = 1.0 if beside == row and step == 0 else weight
            total += band @ self._frames[beside][first:end].reshape(end - first, -1)
            weights += band.sum(axis=1)
            squares += (band**2).sum(axis=1)
        mean = (total / weights[:, None]).reshape(-1, *self._detector_shape)
        if row in self._bad:
            mean[self._bad[row][columns]] = np.nan  # counted where the frames are searched
        return mean, weights**2 / squares


def appearance(
    frames: FloatImages,
    *,
    cell_px: int,
    counts_per_electron: float,
    origin_px: tuple[float, float] | None = None,
) -> FloatImages:
    """What patterns (n, det_y, det_x) look like: where something stands out, without the direct beam.

    Parameters
    ----------
    cell_px
        Size of the cells that are compared, about the radius of a disk.
    origin_px
        Row and column of the direct beam; looked for in the mean of the frames where None.

    Returns
    -------
    (n, cells) float32, of unit length; all zero where nothing stands out.
    """
    images = torch.from_numpy(frames)
    pool = torch.nn.AvgPool2d(cell_px, ceil_mode=True, count_include_pad=False)
    electrons = cell_px**2 / counts_per_electron
    cells = (pool(images[:, None])[:, 0] * electrons).clamp(min=0.0)
    around = (local_background(images, cell_px) * electrons).clamp(min=0.0)
    significance = 2.0 * ((cells + 0.375).sqrt() - (around + 0.375).sqrt())
    outstanding = (significance > LEAST_SIGNIFICANCE) & (cells > (1 + LEAST_CONTRAST) * around)
    seen = torch.where(outstanding, significance.clamp(max=MOST_SIGNIFICANCE), 0.0).numpy()
    y, x, radius = _direct_beam(frames, origin_px)
    rows, columns = ((np.arange(size) + 0.5) * cell_px - 0.5 for size in seen.shape[1:])
    seen[:, np.hypot(rows[:, None] - y, columns[None, :] - x) < 2.0 * radius + 2.0 * cell_px] = 0.0
    flat: FloatImages = seen.reshape(len(seen), -1)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(flat / np.maximum(length, 1e-9), dtype=np.float32)


def alike(one: FloatImages, other: FloatImages) -> FloatImages:
    """Weight (m,), 0 to 1, of patterns that look like ``other`` (m, cells) in the average of those like ``one``."""
    cosine = np.einsum("ij,ij->i", one, other)
    return np.asarray(np.clip((cosine - UNLIKE) / (ALIKE - UNLIKE), 0.0, 1.0), dtype=np.float32)


def _direct_beam(frames: FloatImages, origin_px: tuple[float, float] | None) -> tuple[float, float, float]:
    """Row, column and radius of what no comparison should rest on; far off the detector where there is no beam."""
    try:
        beam = measure_direct_beam(frames.mean(axis=0))
    except ValueError:
        return (*origin_px, 2.0) if origin_px is not None else (-1e6, -1e6, 0.0)
    return (*(origin_px or (beam.y_px, beam.x_px)), beam.radius_px)
