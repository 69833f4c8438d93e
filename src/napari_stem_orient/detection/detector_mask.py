"""The detector mask: which pixels are not usable, and what stands in their place."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree
from torch import Tensor

Frames = TypeVar("Frames", NDArray[np.float32], Tensor)

SMALL_PIXELS = 9
NEAREST = (8, 24)
"""Usable pixels whose median replaces a masked one: in a group of at most `SMALL_PIXELS`, and in a larger one."""


def fill_masked(frames: Frames, mask: NDArray[np.bool_] | None) -> Frames:
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
        copied = np.array(frames)
        fill_in_place(torch.from_numpy(copied.reshape(-1, mask.size)), fill_plan(mask))
        return copied
    filled: Tensor = frames.clone()
    fill_in_place(filled.view(-1, mask.size), fill_plan(mask))
    return filled


FillPlan = list[tuple[Tensor, Tensor]]
"""Flat masked pixels (m,), and flat usable pixels (m, k) whose median each of them takes."""


def fill_plan(mask: NDArray[np.bool_]) -> FillPlan:
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


def check_mask(mask: NDArray[np.bool_], detector_shape: tuple[int, int]) -> None:
    """Refuse a mask of another detector, or one that leaves nothing."""
    if mask.shape != detector_shape:
        raise ValueError(
            f"the detector mask has shape {mask.shape} but the frames {detector_shape}: use a mask of this detector"
        )
    if mask.all():
        raise ValueError("the detector mask covers the whole detector: clear it, or leave some pixels usable")
