"""Where exactly a disk is: the likeliest position under counting statistics, starting from the correlation's."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

PHASES = 8
"""Sub-pixel places per pixel at which the template is kept; between them it is continued linearly."""
ROUNDS = 2
LEAST_SLOPE = 0.02
LARGEST_STEP_PX = 0.5
LARGEST_SHIFT_PX = 0.8
UNKNOWN_SHAPE = 0.03
"""Part of a disk's height by which it may differ from the template: keeps tails and uneven disks from deciding."""


@dataclass(frozen=True, slots=True)
class PlacedTemplate:
    """A template of unit sum at sub-pixel places, cut out of its frame.

    Only pixels at its edge are kept, where it changes when it moves: the others say nothing about its place.

    ``shape``, ``down`` and ``right`` ((PHASES + 1)², p) float32: the template, and its change when the disk moves down
    and right by one px; ``rows`` and ``columns`` (p,) int64 of the pixels, from the disk's own; ``height``, the
    largest value.
    """

    shape: Tensor
    down: Tensor
    right: Tensor
    rows: Tensor
    columns: Tensor
    height: float


def placed_template(disk: NDArray[np.float64], radius_px: float, device: torch.device) -> PlacedTemplate:
    """Prepare a centred template (det_y, det_x) of unit sum for `likeliest_positions`."""
    half = min(math.ceil(radius_px + 2.0), (min(disk.shape) - 1) // 2)
    reach = np.arange(-half, half + 1, dtype=np.float64)
    phases = np.arange(PHASES + 1) / PHASES - 0.5
    smooth = ndimage.spline_filter(disk, order=3)

    def at(y: float, x: float) -> NDArray[np.float64]:
        rows, columns = np.meshgrid(
            reach - y + disk.shape[0] // 2, reach - x + disk.shape[1] // 2, indexing="ij"
        )
        return np.asarray(ndimage.map_coordinates(smooth, [rows, columns], order=3, prefilter=False))

    step = 1.0 / PHASES
    places = [(y, x) for y in phases for x in phases]
    shape = [at(y, x) for y, x in places]
    down = [(at(y + step, x) - at(y - step, x)) / (2 * step) for y, x in places]
    right = [(at(y, x + step) - at(y, x - step)) / (2 * step) for y, x in places]

    slopes = np.abs(np.array(down)).max(axis=0) + np.abs(np.array(right)).max(axis=0)
    rows, columns = np.nonzero(slopes > LEAST_SLOPE * slopes.max())

    def table(images: list[NDArray[np.float64]]) -> Tensor:
        return torch.from_numpy(np.array(images, dtype=np.float32)[:, rows, columns]).to(device)

    def from_own(pixels: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(pixels - half).to(device)

    return PlacedTemplate(
        table(shape),
        table(down),
        table(right),
        rows=from_own(rows),
        columns=from_own(columns),
        height=float(disk.max()),
    )


def likeliest_positions(
    frames: Tensor,
    frame: Tensor,
    place_px: Tensor,
    *,
    counts: Tensor,
    background: Tensor,
    slope: Tensor,
    template: PlacedTemplate,
) -> Tensor:
    """Move disks to where the counts around them are likeliest (Fisher's scoring of the Poisson likelihood).

    A correlation weighs all counts in a disk alike; where the background is low, the counts at its edge tell more about
    its place, and those outside it most of all. The gain of the detector cancels out.

    Parameters
    ----------
    frames
        (n, det_y, det_x) float32.
    frame
        (m,) number of the frame of each disk.
    place_px
        (2, m) its row and column in px.
    counts, background
        (m,) counts in the disk and per pixel around it.
    slope
        (2, m) by how much the background rises from pixel to pixel, down and right.
    template
        Of unit sum.

    Returns
    -------
    (2, m) float32, at most 0.8 px away. Memory: some 1,500 bytes a disk for every px of its radius.
    """
    if len(frame) == 0:
        return place_px
    start = place_px.T
    whole = start.round()
    measured, seen = _surroundings(frames, frame, whole.long(), template)
    height = counts.clamp(min=0.0)[:, None]
    level = background.clamp(min=0.0)[:, None]
    around = (level + slope[0, :, None] * template.rows + slope[1, :, None] * template.columns).clamp_(
        min=0.0
    )
    floor = level + UNKNOWN_SHAPE * height * template.height + 1e-6
    place = start
    for _ in range(ROUNDS):
        shape, down, right, rest = _template_at(place - whole, template)
        expected = (
            (shape + rest[:, :1] * down + rest[:, 1:] * right).clamp_(min=0.0).mul_(height).add_(around)
        )
        weight = seen / (expected + floor)
        pull = weight * (measured - expected)
        weighted_down, weighted_right = weight * down, weight * right
        step = _solved(
            (weighted_down * down).sum(1) * height[:, 0],
            (weighted_down * right).sum(1) * height[:, 0],
            (weighted_right * right).sum(1) * height[:, 0],
            (pull * down).sum(1),
            (pull * right).sum(1),
        )
        place = place + step.clamp(-LARGEST_STEP_PX, LARGEST_STEP_PX)
        place = start + (place - start).clamp(-LARGEST_SHIFT_PX, LARGEST_SHIFT_PX)
    return place.T


def _surroundings(
    frames: Tensor, frame: Tensor, whole: Tensor, template: PlacedTemplate
) -> tuple[Tensor, Tensor]:
    """Counts (m, p) in the template's pixels around pixels (m, 2), and 1 where they lie on the detector."""
    rows, columns = whole[:, :1] + template.rows, whole[:, 1:] + template.columns
    height, width = frames.shape[1:]
    seen = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    flat = (frame[:, None] * height + rows.clamp_(0, height - 1)) * width + columns.clamp_(0, width - 1)
    return frames.flatten()[flat], seen.to(frames.dtype)


def _template_at(offset: Tensor, template: PlacedTemplate) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Template and slopes (m, p) at the kept place nearest to offsets (m, 2) in px, and what is left (m, 2)."""
    index = ((offset + 0.5) * PHASES).round().clamp(0, PHASES)
    which = (index[:, 0] * (PHASES + 1) + index[:, 1]).long()
    rest = offset - (index / PHASES - 0.5)
    return template.shape[which], template.down[which], template.right[which], rest


def _solved(a: Tensor, b: Tensor, d: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Steps (m, 2) that solve [[a, b], [b, d]] step = (y, x); none where a disk says nothing about its place."""
    determinant = a * d - b * b
    good = determinant > 1e-6 * (a * d).clamp(min=1e-30)
    inverse = torch.where(good, 1.0 / torch.where(good, determinant, 1.0), 0.0)
    return torch.stack([(d * y - b * x) * inverse, (a * x - b * y) * inverse], dim=1)
