"""The detector mask: which pixels are not usable, what stands in their place, and how much of a disk they cover."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree
from torch import Tensor

from napari_stem_orient.core.usable_pixels import check_mask

Mask = NDArray[np.bool_]
"""(det_y, det_x) bool; True where a pixel is not usable."""

Frames = TypeVar("Frames", NDArray[np.float32], Tensor)
FillPlan = list[tuple[Tensor, Tensor]]
"""Flat masked pixels (m,), and flat usable pixels (m, k) whose median each of them takes."""

SMALL_PIXELS = 9
NEAREST = (8, 24)
"""Usable pixels whose median replaces a masked one: in a group of at most `SMALL_PIXELS`, and in a larger one."""
FRAMES_TOGETHER = 4
"""Frames filled at once: of a large mask each takes 24 values a masked pixel."""
LEAST_OF_RING = 0.2
"""At least this part of a ring is taken for visible where it stands for the whole."""


def fill_masked(frames: Frames, mask: Mask | None) -> Frames:
    """Frames with every masked pixel replaced by the local background: the median of the usable pixels nearest to it.

    A single pixel gets the median of its eight neighbours. The frames that are given stay as they are.

    Parameters
    ----------
    frames
        (n, det_y, det_x) float32, or one frame (det_y, det_x); array or tensor, on any device.
    mask
        (det_y, det_x) bool, True where a pixel is not usable; None or an empty one returns the frames themselves.

    Raises
    ------
    ValueError
        When the mask is of another detector, or leaves no pixel.
    """
    if mask is None or not mask.any():
        return frames
    check_mask(mask, (int(frames.shape[-2]), int(frames.shape[-1])))
    if isinstance(frames, np.ndarray):
        copied = np.array(frames, order="C")
        _fill_part_by_part(torch.from_numpy(copied.reshape(-1, mask.size)), mask)
        return copied
    filled: Tensor = frames.clone(memory_format=torch.contiguous_format)
    _fill_part_by_part(filled.view(-1, mask.size), mask)
    return filled


def _fill_part_by_part(flat: Tensor, mask: Mask) -> None:
    plan = fill_plan(mask)
    for part in flat.split(FRAMES_TOGETHER):
        fill_in_place(part, plan)


def fill_plan(mask: Mask) -> FillPlan:
    """Which usable pixels stand for which masked ones: worked out once for many batches of frames."""
    usable = np.argwhere(~mask)
    tree = KDTree(usable)
    labels, number = ndimage.label(mask, structure=np.ones((3, 3)))
    small = np.bincount(labels.ravel(), minlength=number + 1) <= SMALL_PIXELS
    plan: FillPlan = []
    for chosen, nearest in zip((mask & small[labels], mask & ~small[labels]), NEAREST, strict=True):
        if chosen.any():
            _, which = tree.query(np.argwhere(chosen), k=min(nearest, len(usable)))
            which = np.asarray(which).reshape(int(chosen.sum()), -1)
            sources = np.ravel_multi_index(tuple(usable[which].transpose(2, 0, 1)), mask.shape)
            plan.append((torch.from_numpy(np.flatnonzero(chosen)), torch.from_numpy(sources)))
    return plan


def fill_in_place(flat: Tensor, plan: FillPlan) -> None:
    """Fill frames (n, det_y * det_x), changed in place."""
    for pixels, sources in plan:
        values = flat[:, sources.to(flat.device).reshape(-1)].reshape(len(flat), *sources.shape)
        flat[:, pixels.to(flat.device)] = values.median(dim=2).values


def describe_mask(mask: Mask | None) -> dict[str, Any] | None:
    """Number of masked pixels and a digest that tells masks apart, as JSON-able values; None for no mask."""
    if mask is None or not mask.any():
        return None
    packed = np.packbits(mask).tobytes() + repr(mask.shape).encode()
    digest = hashlib.blake2b(packed, digest_size=8).hexdigest()
    return {"pixels": int(mask.sum()), "digest": digest}


@dataclass(frozen=True, slots=True)
class CoveredDetector:
    """A detector mask, ready for frames that are searched with one template on one device.

    Parameters
    ----------
    visible
        (det_y, det_x) float32; the part of a disk centred on each pixel that is not covered, weighted as the matched
        filter weights it: what the filter sees of a disk, over what it would see without the mask.
    pixels
        (m,) int64; the masked pixels, row-major.
    plan
        What to fill them with.
    ring_lack
        (det_y, det_x) float32; by how much less of the ring around a disk is visible than of the disk, as a part of the
        ring's. None where only single pixels are masked: there it does not matter.
    """

    visible: Tensor
    pixels: Tensor
    plan: FillPlan
    ring_lack: Tensor | None = None

    def visible_at(self, y: Tensor, x: Tensor) -> Tensor:
        """The visible part of disks at places (m,) in px, between pixels interpolated."""
        rows, columns = self.visible.shape
        row, column = y.floor().clamp(0, rows - 2).long(), x.floor().clamp(0, columns - 2).long()
        down, across = (y - row).clamp(0, 1).float(), (x - column).clamp(0, 1).float()
        above = torch.lerp(self.visible[row, column], self.visible[row, column + 1], across)
        below = torch.lerp(self.visible[row + 1, column], self.visible[row + 1, column + 1], across)
        return torch.lerp(above, below, down)

    def fill(self, frames: Tensor) -> None:
        """Fill frames (n, det_y, det_x), changed in place, from the pixels around."""
        fill_in_place(frames.view(len(frames), -1), self.plan)

    def fill_with_background(self, frames: Tensor, background: Tensor, cell_px: int) -> None:
        """Put the background (n, cells_y, cells_x) of its cell into every masked pixel, in place.

        The filter then gets nothing from there, so that what it sees of a disk is exactly its ``visible`` part.
        """
        row, column = self.pixels // frames.shape[2], self.pixels % frames.shape[2]
        cells = (row // cell_px) * background.shape[2] + column // cell_px
        frames.view(len(frames), -1)[:, self.pixels] = background.reshape(len(frames), -1)[:, cells]


def cover_detector(
    mask: Mask | None,
    detector_shape: tuple[int, int],
    *,
    disk: NDArray[np.float64],
    ring: NDArray[np.float64],
    device: torch.device,
) -> CoveredDetector | None:
    """Prepare a mask for a disk and the ring around it, (det_y, det_x) each and centred; None for no mask."""
    if mask is None or not mask.any():
        return None
    check_mask(mask, detector_shape)
    plan = fill_plan(mask)
    lack = None
    if max(sources.shape[1] for _, sources in plan) > NEAREST[0]:
        part = _visible_part(mask, ring).clamp(min=LEAST_OF_RING)
        lack = (1.0 - _visible_part(mask, disk) / part).to(torch.float32).to(device)
    return CoveredDetector(
        visible=_visible_part(mask, disk**2).to(torch.float32).to(device),
        pixels=torch.from_numpy(np.flatnonzero(mask)).to(device),
        plan=[(pixels.to(device), sources.to(device)) for pixels, sources in plan],
        ring_lack=lack,
    )


def _visible_part(mask: Mask, weights: NDArray[np.float64]) -> Tensor:
    """Part of centred weights (det_y, det_x) that is not masked, with their middle on each pixel; float64, 0 to 1."""
    kernel = torch.from_numpy(np.fft.ifftshift(weights / weights.sum()))
    spectrum = torch.fft.rfft2(kernel).conj() * torch.fft.rfft2(torch.from_numpy(~mask).to(torch.float64))
    part: Tensor = torch.fft.irfft2(spectrum, s=mask.shape).clamp(0.0, 1.0)
    return part
