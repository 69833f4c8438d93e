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
LARGEST_STEP_PX = 0.5
LARGEST_SHIFT_PX = 0.8
UNKNOWN_SHAPE = 0.03
"""Part of a disk's height by which it may differ from the template: keeps tails and uneven disks from deciding."""


@dataclass(frozen=True, slots=True)
class PlacedTemplate:
    """A template of unit sum at sub-pixel places, cut out of its frame.

    ``values`` ((PHASES + 1)², p, p, 3) float32: the template, and its change when the disk moves down and right by
    one px; ``half`` = p // 2.
    """

    values: Tensor
    half: int


def placed_template(disk: NDArray[np.float64], radius_px: float, device: torch.device) -> PlacedTemplate:
    """Prepare a centred template (det_y, det_x) of unit sum for `likeliest_positions`."""
    half = min(math.ceil(radius_px + 3.0), (min(disk.shape) - 1) // 2)
    reach = np.arange(-half, half + 1, dtype=np.float64)
    phases = np.arange(PHASES + 1) / PHASES - 0.5
    smooth = ndimage.spline_filter(disk, order=3)

    def at(y: float, x: float) -> NDArray[np.float64]:
        rows, columns = np.meshgrid(
            reach - y + disk.shape[0] // 2, reach - x + disk.shape[1] // 2, indexing="ij"
        )
        return np.asarray(ndimage.map_coordinates(smooth, [rows, columns], order=3, prefilter=False))

    step = 1.0 / PHASES
    table = [
        np.stack(
            [
                at(y, x),
                (at(y + step, x) - at(y - step, x)) / (2 * step),
                (at(y, x + step) - at(y, x - step)) / (2 * step),
            ],
            axis=-1,
        )
        for y in phases
        for x in phases
    ]
    return PlacedTemplate(torch.from_numpy(np.array(table, dtype=np.float32)).to(device), half)


def likeliest_positions(
    frames: Tensor,
    frame: Tensor,
    place_px: Tensor,
    *,
    counts: Tensor,
    background: Tensor,
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
    template
        Of unit sum.

    Returns
    -------
    (2, m) float32, at most 0.8 px away. Memory: some 40 (2 radius + 7)² bytes a disk.
    """
    if len(frame) == 0:
        return place_px
    start = place_px.T
    whole = start.round()
    measured, seen = _surroundings(frames, frame, whole.long(), template.half)
    height = counts.clamp(min=0.0)[:, None]
    level = background.clamp(min=0.0)[:, None]
    peak = height * template.values[..., 0].amax()
    floor = level + UNKNOWN_SHAPE * peak + 1e-6
    place = start
    for _ in range(ROUNDS):
        values, rest = _template_at(place - whole, template)
        shape = values[..., 0] + (values[..., 1:] * rest[:, None]).sum(-1)
        slope = height[..., None] * values[..., 1:]
        expected = level + height * shape.clamp(min=0.0)
        weight = seen / (expected + floor)
        gradient = (slope * (weight * (measured - expected))[..., None]).sum(1)
        step = _solved(torch.einsum("mpi,mp,mpj->mij", slope, weight, slope), gradient)
        place = place + step.clamp(-LARGEST_STEP_PX, LARGEST_STEP_PX)
        place = start + (place - start).clamp(-LARGEST_SHIFT_PX, LARGEST_SHIFT_PX)
    return place.T


def _surroundings(frames: Tensor, frame: Tensor, whole: Tensor, half: int) -> tuple[Tensor, Tensor]:
    """Counts (m, p²) around pixels (m, 2), and 1 where they lie on the detector."""
    reach = torch.arange(-half, half + 1, device=frames.device)
    rows, columns = whole[:, :1] + reach, whole[:, 1:] + reach
    height, width = frames.shape[1:]
    on_rows, on_columns = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
    patch = frames[
        frame[:, None, None], rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None, :]
    ]
    seen = (on_rows[:, :, None] & on_columns[:, None, :]).to(frames.dtype)
    return patch.flatten(1), seen.flatten(1)


def _template_at(offset: Tensor, template: PlacedTemplate) -> tuple[Tensor, Tensor]:
    """Template and slopes (m, p², 3) at the kept place nearest to offsets (m, 2) in px, and what is left (m, 2)."""
    index = ((offset + 0.5) * PHASES).round().clamp(0, PHASES)
    rest = offset - (index / PHASES - 0.5)
    which = (index[:, 0] * (PHASES + 1) + index[:, 1]).long()
    return template.values.flatten(1, 2)[which], rest


def _solved(normal: Tensor, gradient: Tensor) -> Tensor:
    """Steps (m, 2) of 2 x 2 systems; none where a disk says nothing about its place."""
    a, b, d = normal[:, 0, 0], normal[:, 0, 1], normal[:, 1, 1]
    determinant = a * d - b * b
    good = determinant > 1e-6 * (a * d).clamp(min=1e-30)
    inverse = torch.where(good, 1.0 / torch.where(good, determinant, 1.0), 0.0)
    y = (d * gradient[:, 0] - b * gradient[:, 1]) * inverse
    x = (a * gradient[:, 1] - b * gradient[:, 0]) * inverse
    return torch.stack([y, x], dim=1)
