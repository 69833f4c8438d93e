"""Maxima of batched images: where they are, where exactly, and which are too close to a stronger one."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

HALF_WINDOW = 4
UPSAMPLING = 16
STEPS = 10
"""Sub-pixel steps to either side: 10 / 16 px reach a little beyond half a pixel."""


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
    rows = torch.maximum(torch.maximum(images[:, :-2], images[:, 2:]), images[:, 1:-1])
    around = torch.maximum(torch.maximum(rows[..., :-2], rows[..., 2:]), rows[..., 1:-1])
    middle = images[:, 1:-1, 1:-1]
    skip = max(0, margin_px - 1)
    if 2 * skip >= min(middle.shape[1:]):
        skip = (min(middle.shape[1:]) - 1) // 2
    inner = (slice(None), slice(skip, middle.shape[1] - skip), slice(skip, middle.shape[2] - skip))
    highest = middle[inner] >= around[inner]
    if among is not None:
        highest &= among[:, 1:-1, 1:-1][inner]
    flat = highest.flatten().nonzero()[:, 0]
    place, width = flat % highest[0].numel(), highest.shape[2]
    return flat // highest[0].numel(), place // width + skip + 1, place % width + skip + 1


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


def refine_by_upsampling(
    images: Tensor, frame: Tensor, row: Tensor, column: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Maxima of the images upsampled sixteenfold around each of their maxima, and of a parabola on top of that.

    A correlation with a template is smooth, so that the polynomial through nine pixels (Lagrange's; windowed sincs do
    worse, their ripple moves flat tops) gives the maximum of a Fourier interpolation of the whole frame
    (Guizar-Sicairos et al., Opt. Lett. 33, 156 (2008)) within 0.01 px, at a hundredth of its cost.

    Returns
    -------
    y, x, height
        (m,) float32: sub-pixel row and column in px, and the value there.
    """
    if len(frame) == 0:
        empty = images.new_zeros(0)
        return empty, empty, empty
    reach = torch.arange(-HALF_WINDOW, HALF_WINDOW + 1, device=images.device)
    rows = (row[:, None] + reach).clamp(0, images.shape[1] - 1)
    columns = (column[:, None] + reach).clamp(0, images.shape[2] - 1)
    patches = images[frame[:, None, None], rows[:, :, None], columns[:, None, :]]
    weights = _lagrange_weights(images.device)
    fine = weights @ patches @ weights.T
    size = fine.shape[-1]
    best = fine[:, 1:-1, 1:-1].reshape(len(fine), -1).argmax(dim=1)
    fine_row, fine_column = best // (size - 2) + 1, best % (size - 2) + 1
    which = torch.arange(len(fine), device=fine.device)
    y, x, height = refine_by_parabola(fine, which, fine_row, fine_column)
    middle = STEPS + 1
    return row + (y - middle) / UPSAMPLING, column + (x - middle) / UPSAMPLING, height


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


@functools.lru_cache(maxsize=8)
def _lagrange_weights(device: torch.device) -> Tensor:
    """(steps, window) float32; row i interpolates at sub-pixel offset i by the polynomial through the window."""
    offsets = torch.arange(-STEPS - 1, STEPS + 2, dtype=torch.float64) / UPSAMPLING
    samples = torch.arange(-HALF_WINDOW, HALF_WINDOW + 1, dtype=torch.float64)
    own = torch.eye(len(samples), dtype=torch.float64)
    numerator = torch.where(own.bool(), 1.0, offsets[:, None, None] - samples[None, None, :]).prod(dim=2)
    denominator = (samples[:, None] - samples[None, :] + own).prod(dim=1)
    weights: Tensor = (numerator / denominator).to(torch.float32)
    return weights.to(device)


def to_rows(frame: Tensor, n_frames: int) -> tuple[Tensor, int]:
    """Place of each entry within its frame, for entries in order of frame, and the largest number in a frame."""
    counts = torch.bincount(frame, minlength=n_frames)
    starts = counts.cumsum(0) - counts
    place = torch.arange(len(frame), device=frame.device) - starts[frame]
    return place, int(counts.max()) if len(frame) else 0
