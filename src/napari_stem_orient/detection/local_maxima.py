"""Maxima of batched images: where they are, where exactly, and which are too close to a stronger one."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def local_maxima(
    images: Tensor, *, margin_px: int, among: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels that none of their eight neighbours exceeds.

    Parameters
    ----------
    images
        (n, height, width) float32.
    margin_px
        Pixels at each border that are not looked at; at least 1.
    among
        (n, height, width) bool; other pixels are not looked at. All are where None.

    Returns
    -------
    frame, row, column
        (m,) int64 each, in order of frame.
    """
    if among is not None:
        return _maxima_among(images, among, margin_px=max(1, margin_px))
    rows = torch.maximum(torch.maximum(images[:, :-2], images[:, 2:]), images[:, 1:-1])
    around = torch.maximum(torch.maximum(rows[..., :-2], rows[..., 2:]), rows[..., 1:-1])
    middle = images[:, 1:-1, 1:-1]
    skip = max(0, margin_px - 1)
    if 2 * skip >= min(middle.shape[1:]):
        skip = (min(middle.shape[1:]) - 1) // 2
    inner = (slice(None), slice(skip, middle.shape[1] - skip), slice(skip, middle.shape[2] - skip))
    frame, row, column = (middle[inner] >= around[inner]).nonzero(as_tuple=True)
    return frame, row + skip + 1, column + skip + 1


def _maxima_among(images: Tensor, among: Tensor, *, margin_px: int) -> tuple[Tensor, Tensor, Tensor]:
    """`local_maxima` of few pixels: only they are compared with their neighbours."""
    height, width = images.shape[1:]
    values, flat = images.flatten(), _where(among.flatten())
    # one neighbour after the other: few pixels are left after the first ones
    for step in (1, -1, width, -width, width + 1, -width - 1, width - 1, 1 - width):
        flat = flat[values[flat] >= values[(flat + step).clamp(0, len(values) - 1)]]
    frame, place = flat // (height * width), flat % (height * width)
    row, column = place // width, place % width
    inside = (row >= margin_px) & (row < height - margin_px)
    inside &= (column >= margin_px) & (column < width - margin_px)
    return frame[inside], row[inside], column[inside]


def _where(flags: Tensor) -> Tensor:
    """Indices (m,) of the true ones of flags (n,); numpy finds them seven times faster on a CPU."""
    if flags.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(flags.numpy()))
    return flags.nonzero()[:, 0]


def refine_by_parabola(
    images: Tensor, frame: Tensor, row: Tensor, column: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Vertices of the parabolas through each maximum and its neighbours above and below, left and right.

    Returns
    -------
    y, x, height
        (m,) float32: sub-pixel row and column in px, and the value there.
    """
    last_row, last_column = images.shape[1] - 1, images.shape[2] - 1
    here = images[frame, row, column]
    above = images[frame, (row - 1).clamp(min=0), column]
    below = images[frame, (row + 1).clamp(max=last_row), column]
    left = images[frame, row, (column - 1).clamp(min=0)]
    right = images[frame, row, (column + 1).clamp(max=last_column)]
    dy, gain_y = _vertex(above, here, below)
    dx, gain_x = _vertex(left, here, right)
    return row + dy, column + dx, here + gain_y + gain_x


def suppress_close(y: Tensor, x: Tensor, valid: Tensor, *, spacing: float) -> Tensor:
    """Which peaks survive when each, strongest first, removes the weaker ones closer than ``spacing``.

    All frames are treated at once: what the strongest suppress is settled first, then what remains of those they
    suppressed no longer suppresses anything, and so on; the fixed point is the greedy solution.

    Parameters
    ----------
    y, x
        (n, k) positions in px, strongest first in each frame.
    valid
        (n, k) bool; False where a frame has fewer peaks.
    spacing
        Least distance in px.

    Returns
    -------
    (n, k) bool
    """
    if spacing <= 0 or y.shape[1] < 2:
        return valid
    squared = (y[:, :, None] - y[:, None, :]) ** 2 + (x[:, :, None] - x[:, None, :]) ** 2
    k = y.shape[1]
    stronger = torch.ones(k, k, dtype=torch.bool, device=y.device).triu(diagonal=1)
    blocks = ((squared < spacing**2) & stronger).to(y.dtype)
    kept = valid
    for _ in range(k):
        suppressed = torch.bmm(kept.to(y.dtype)[:, None, :], blocks)[:, 0] > 0
        after = valid & ~suppressed
        if bool((after == kept).all()):
            break
        kept = after
    return kept


def _vertex(before: Tensor, here: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    """Offset of a parabola's vertex from its middle sample, at most half a step, and its height above that."""
    curvature = before - 2 * here + after
    slope = (after - before) / 2
    flat = curvature >= 0
    offset = torch.where(flat, 0.0, -slope / torch.where(flat, -1.0, curvature)).clamp(-0.5, 0.5)
    return offset, slope * offset + curvature * offset**2 / 2


def to_rows(frame: Tensor, n_frames: int) -> tuple[Tensor, int]:
    """Place of each entry within its frame, for entries in order of frame, and the largest number in a frame."""
    counts = torch.bincount(frame, minlength=n_frames)
    starts = counts.cumsum(0) - counts
    place = torch.arange(len(frame), device=frame.device) - starts[frame]
    return place, int(counts.max()) if len(frame) else 0
