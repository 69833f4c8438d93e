"""Peaks of a batch of frames: seen through the matched filter, thresholded, refined and thinned out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_stem_orient.detection import local_maxima
from napari_stem_orient.detection.detector_mask import CoveredDetector, Mask, cover_detector
from napari_stem_orient.detection.disk_position import likeliest_positions
from napari_stem_orient.detection.matched_filter import (
    MatchedFilter,
    clip_disks,
    disk_and_ring,
    local_background,
    matched_filter,
)
from napari_stem_orient.detection.parameters import DetectionParameters
from napari_stem_orient.detection.probe import ProbeTemplate

SUBPIXEL_GAIN = 1.25
"""How much higher a maximum between pixels can be than at the nearest pixel: candidates get that much credit."""
MOST_CANDIDATES = 512
LEAST_VISIBLE = 0.5
"""Disks of which a detector mask covers more than the rest are left out."""


@dataclass(frozen=True, slots=True)
class FramePeaks:
    """Peaks of a batch of frames, in order of frame and, within one, brightest first.

    ``frame`` (m,) int64, row of the batch; ``y_px``, ``x_px``, ``intensity`` (counts above background) and
    ``significance`` (σ over counting noise), (m,) float32.
    """

    frame: NDArray[np.int64]
    y_px: NDArray[np.float32]
    x_px: NDArray[np.float32]
    intensity: NDArray[np.float32]
    significance: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class DiskSearch:
    """All that one batch of frames is searched with, on one device.

    ``covered`` is what the detector mask covers, None for nothing.
    """

    pattern_filter: MatchedFilter
    parameters: DetectionParameters
    device: torch.device
    covered: CoveredDetector | None = None


def find_frame_peaks(
    frames: Tensor,
    pattern_filter: MatchedFilter,
    parameters: DetectionParameters,
    *,
    covered: CoveredDetector | None = None,
    exposures: Tensor | None = None,
) -> FramePeaks:
    """Peaks of one batch of frames (n, det_y, det_x) float32, on the device that they are on.

    Where the detector is partly covered, the frames are changed in place. ``exposures`` (n,) is how many patterns each
    frame is the average of.
    """
    seen = correlate_frames(frames, pattern_filter, parameters, covered=covered, exposures=exposures)
    margin = max(1, math.floor(parameters.edge_px))
    frame, row, column = local_maxima.local_maxima(
        seen.sharpened, margin_px=margin, among=seen.promising() if covered is None else None
    )
    credited = seen.intensity(seen.counts[frame, row, column], row, column) * SUBPIXEL_GAIN
    hopeful, _ = seen.bright_enough(credited, frame, row, column)
    frame, row, column = frame[hopeful], row[hopeful], column[hopeful]
    y, x, intensity = seen.refine(frame, row, column)
    keep, significance = seen.bright_enough(intensity, frame, row, column)
    height, width = pattern_filter.detector_shape
    keep &= (y >= parameters.edge_px) & (y <= height - 1 - parameters.edge_px)
    keep &= (x >= parameters.edge_px) & (x <= width - 1 - parameters.edge_px)
    if covered is not None:
        keep &= covered.visible[row, column] >= LEAST_VISIBLE
    values = torch.stack([y, x, intensity, significance])[:, keep]
    frame, row, column = frame[keep], row[keep], column[keep]
    if pattern_filter.placed is not None:
        likeliest = likeliest_positions(
            frames,
            frame,
            values[:2],
            counts=values[2],
            background=seen.nearby(frame, row, column),
            slope=seen.slope(frame, row, column),
            template=pattern_filter.placed,
        )
        # where a part of a disk is covered, there are no counts to weigh: least squares has to do
        whole = True if covered is None else covered.visible[row, column] > 0.999
        values[:2] = torch.where(torch.as_tensor(whole, device=values.device), likeliest, values[:2])
    return _select(frame, values, len(frames), parameters)


@dataclass(frozen=True, slots=True)
class CorrelatedFrames:
    """Frames seen through the matched filter.

    Parameters
    ----------
    counts, sharpened
        (n, det_y, det_x) float32; counts of a disk at each pixel above its surroundings, and what maxima are sought in.
        Beside a detector mask both are divided by the root of the part of a disk that is visible: the maximum of that
        is where a disk explains most of what is seen of it (least squares); the maximum of the counts is not.
    background
        (n, cells_y, cells_x) float32; counts per pixel around each cell.
    """

    counts: Tensor
    sharpened: Tensor
    background: Tensor
    pattern_filter: MatchedFilter
    parameters: DetectionParameters
    covered: CoveredDetector | None = None
    exposures: Tensor | None = None

    def promising(self) -> Tensor:
        """(n, det_y, det_x) bool: where a disk between the pixels may be bright enough."""
        cell = self.pattern_filter.cell_px
        least = self.pattern_filter.least_counts(
            self.background, self.parameters, exposures=self.exposures
        ).div(SUBPIXEL_GAIN)
        n, height, width = self.counts.shape
        across = least.repeat_interleave(cell, 2)[:, :, :width]
        if height % cell == 0:
            strips = self.counts.view(n, height // cell, cell, width)
            return torch.ge(strips, across[:, :, None]).view(n, height, width)
        return self.counts >= across.repeat_interleave(cell, 1)[:, :height]

    def nearby(self, frame: Tensor, row: Tensor, column: Tensor) -> Tensor:
        """Background around pixels, (m,) counts per pixel."""
        cell = self.pattern_filter.cell_px
        return self.background[frame, row // cell, column // cell]

    def slope(self, frame: Tensor, row: Tensor, column: Tensor) -> Tensor:
        """How the background rises around pixels, (2, m) counts per pixel and px, down and right."""
        cell = self.pattern_filter.cell_px
        row, column = row // cell, column // cell
        last_row, last_column = self.background.shape[1] - 1, self.background.shape[2] - 1
        above, below = (row - 1).clamp(min=0), (row + 1).clamp(max=last_row)
        left, right = (column - 1).clamp(min=0), (column + 1).clamp(max=last_column)
        down = self.background[frame, below, column] - self.background[frame, above, column]
        across = self.background[frame, row, right] - self.background[frame, row, left]
        cells = torch.stack([below - above, right - left]).clamp(min=1)
        return torch.stack([down, across]) / (cells * cell)

    def bright_enough(
        self, intensity: Tensor, frame: Tensor, row: Tensor, column: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Which maxima of these intensities pass the thresholds, (m,) bool, and their significance (m,)."""
        return self.pattern_filter.bright_enough(
            intensity,
            self.nearby(frame, row, column),
            self.parameters,
            exposures=None if self.exposures is None else self.exposures[frame],
            visible=None if self.covered is None else self.covered.visible[row, column],
        )

    def refine(self, frame: Tensor, row: Tensor, column: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sub-pixel y, x in px and intensity of maxima, by parabolas; `likeliest_positions` goes on from there."""
        y, x, height = local_maxima.refine_by_parabola(self.sharpened, frame, row, column)
        if self.sharpened is not self.counts:
            height = local_maxima.refine_by_parabola(self.counts, frame, row, column)[2]
        if self.parameters.subpixel == "none":
            y, x = row.to(height.dtype), column.to(height.dtype)
        return y, x, self.intensity(height, y, x)

    def intensity(self, height: Tensor, y: Tensor, x: Tensor) -> Tensor:
        """Counts of disks above the background, (m,), from values of ``counts`` at places in px."""
        if self.covered is None:
            return height
        return height * self.covered.visible_at(y, x).clamp(min=LEAST_VISIBLE).rsqrt()


def correlate_frames(
    frames: Tensor,
    pattern_filter: MatchedFilter,
    parameters: DetectionParameters,
    *,
    covered: CoveredDetector | None = None,
    exposures: Tensor | None = None,
) -> CorrelatedFrames:
    """See frames (n, det_y, det_x) float32 through the filter; masked pixels are filled in place."""
    if covered is not None:
        covered.fill(frames)
    background = local_background(frames, pattern_filter.cell_px)
    if covered is not None:
        covered.fill_with_background(frames, background, pattern_filter.cell_px)
    gain: float | Tensor = parameters.counts_per_electron
    clipped = clip_disks(
        frames,
        background,
        pattern_filter.cell_px,
        counts_per_electron=gain if exposures is None else gain / exposures[:, None, None],
    )
    counts, sharpened = pattern_filter.correlate(frames, clipped, power=parameters.correlation_power)
    if covered is not None:
        if covered.ring_lack is not None:
            around = pattern_filter.around(clipped - _every_pixel(background, pattern_filter))
            counts += covered.ring_lack * around
        scale = covered.visible.clamp(min=LEAST_VISIBLE).rsqrt()
        alike = sharpened is counts
        counts = counts * scale
        sharpened = counts if alike else sharpened * scale
    return CorrelatedFrames(counts, sharpened, background, pattern_filter, parameters, covered, exposures)


def _every_pixel(background: Tensor, pattern_filter: MatchedFilter) -> Tensor:
    """The background of cells (n, cells_y, cells_x) at every pixel, (n, det_y, det_x)."""
    height, width = pattern_filter.detector_shape
    cell = pattern_filter.cell_px
    return background.repeat_interleave(cell, 1).repeat_interleave(cell, 2)[:, :height, :width]


def disk_search(
    probe: ProbeTemplate,
    parameters: DetectionParameters,
    shape: tuple[int, int],
    *,
    device: torch.device,
    mask: Mask | None = None,
) -> DiskSearch:
    """Prepare the search in frames of a shape."""
    if probe.detector_shape != shape:
        raise ValueError(
            f"the probe template is for a detector of {probe.detector_shape}, these frames are {shape}: "
            "make the template from this scan"
        )
    pattern_filter = matched_filter(probe, parameters, device=device)
    disk, ring = disk_and_ring(probe, parameters)
    covered = cover_detector(mask, shape, disk=disk, ring=ring, device=device)
    return DiskSearch(pattern_filter, parameters, device, covered)


def _select(frame: Tensor, values: Tensor, n_frames: int, parameters: DetectionParameters) -> FramePeaks:
    """Apply spacing, relative threshold and number to peaks with ``values`` (4, m): y, x, intensity, significance."""
    place, most = local_maxima.to_rows(frame, n_frames)
    table = values.new_full((4, n_frames, max(most, 1)), -torch.inf)
    table[:, frame, place] = values
    order = table[2].argsort(dim=1, descending=True)[:, :MOST_CANDIDATES]
    table = table.gather(2, order.expand(4, -1, -1))
    valid = table[2] > -torch.inf
    finite = torch.where(valid, table, 0.0)
    kept = local_maxima.suppress_close(finite[0], finite[1], valid, spacing=parameters.min_spacing_px)
    rank = kept.cumsum(dim=1) - 1
    if parameters.min_relative_intensity > 0:
        reference_rank = rank[:, -1:].clamp(min=0, max=parameters.relative_to_rank)
        reference = torch.where(kept & (rank == reference_rank), finite[2], 0.0).amax(dim=1, keepdim=True)
        kept = kept & (finite[2] >= parameters.min_relative_intensity * reference)
    kept = kept & (rank < parameters.max_peaks)
    chosen = table[:, kept].cpu().numpy()
    row = kept.nonzero(as_tuple=True)[0].cpu().numpy()
    return FramePeaks(row, chosen[0], chosen[1], chosen[2], chosen[3])
