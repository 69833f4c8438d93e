"""Pixels that a sample of the scan shows to be unusable: hot and dead ones, a beam stop, a saturated direct beam."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_stem_orient.detection.bad_pixel_groups import (
    bad_clusters,
    bright_lines,
    stuck_pixels,
)
from napari_stem_orient.detection.detector_mask import Mask, fill_masked

FloatImage = NDArray[np.float64]

LEAST_SIGMA = 8.0
"""Standard deviations by which a hot pixel must exceed its neighbours, in the mean of the sample."""
LEAST_STEP = 8.0
"""A hot pixel rises this many times more above its neighbours than these above the pixels beyond; no spot does."""
STEADY = 0.9
"""A hot pixel outshines all its neighbours but one in at least this part of the frames."""
MOST_DEAD = 0.2
"""A dead pixel has no more than this part of the counts around it."""
LEAST_CHANCE = 1e-6
"""A pixel is dead when one like those around it would never change in the sample with less than this probability."""
FEWEST_FRAMES = 4
MOST_BAD, MOST_DEAD_PIXELS = 0.1, 0.35
"""Where more than this part of a detector seems hot, or dead, it is the sample that is odd, and nothing is left out. A
dead part of a detector of four is less than that."""

STOP_LEVEL = 0.3
STOP_EDGE = 3.0
LARGEST_STOP = 0.3
"""A beam stop has less than this part of the counts expected there, edges this steep, and covers no more than that."""
LOWEST_LIMIT = 16
FEWEST_AT_LIMIT = 4
"""A detector that stops counting does so at no less than this many counts, and in several pixels at once."""

SQUARE = np.ones((3, 3), dtype=bool)
RING = np.ones((3, 3), dtype=bool)
RING[1, 1] = False
OUTER_RING = np.ones((5, 5), dtype=bool)
OUTER_RING[1:4, 1:4] = False


@dataclass(frozen=True, slots=True, eq=False)
class BadPixels:
    """``hot`` and ``dead``: (det_y, det_x) bool each."""

    hot: Mask
    dead: Mask

    @property
    def mask(self) -> Mask:
        """All of them, (det_y, det_x) bool."""
        return self.hot | self.dead

    def sentence(self) -> str:
        """What was found, in words: "3 hot pixels are left out"; empty for nothing."""
        parts = [
            f"{number:,} {word} {'pixel' if number == 1 else 'pixels'}"
            for word, number in (("hot", int(self.hot.sum())), ("dead", int(self.dead.sum())))
            if number
        ]
        if not parts:
            return ""
        alone = len(parts) == 1 and parts[0].endswith("pixel")
        return f"{' and '.join(parts)} {'is' if alone else 'are'} left out"


def find_bad_pixels(frames: NDArray[np.generic]) -> BadPixels:
    """Find hot and dead pixels in a sample of the scan.

    A hot pixel stands far out of its neighbours, in the mean of the sample and in nearly every frame of it, and leaves
    them as they are, which no disk or spot does. A dead one has the same few counts in all frames where those around
    it change, or is never a number; gaps between the parts of a detector count as dead.

    Parameters
    ----------
    frames
        (n, det_y, det_x), spread over the scan (`sample_frames`); some 64 tell most. Nothing is found in fewer than 4.
    """
    shape = frames.shape[1:]
    nothing = np.zeros(shape, dtype=bool)
    if len(frames) < FEWEST_FRAMES or min(shape) < 8:
        return BadPixels(nothing, nothing)
    never = nothing
    if frames.dtype.kind == "f":
        finite = np.isfinite(frames)
        never = ~finite.any(axis=0)
        frames = frames if finite.all() else np.where(finite, frames, 0)
    mean, noise = _mean_and_noise(frames)
    groups = (stuck_pixels(frames) | bright_lines(mean, noise)) & ~never
    dead = never | _dead(frames, groups)
    hot = _hot(frames, mean, noise, groups=groups, dead=dead) & ~never
    dead &= ~hot
    return BadPixels(hot & (hot.mean() <= MOST_BAD), dead & (dead.mean() <= MOST_DEAD_PIXELS))


def _hot(
    frames: NDArray[np.generic], mean: FloatImage, noise: FloatImage, *, groups: Mask, dead: Mask
) -> Mask:
    """Hot pixels, alone and in groups; what is found first is filled before others are looked for beside it."""
    dead = dead & (dead.mean() <= MOST_DEAD_PIXELS)
    clean = _filled(mean, groups | dead)
    hot = groups | (bad_clusters(frames, clean, noise, beside=dead) & ~dead)
    clean = _filled(clean, hot | dead)
    # in the corner of a gap nothing is left to compare a pixel with
    cornered = ndimage.convolve(dead.astype(np.int64), RING.astype(np.int64), mode="constant") > 3
    return np.asarray(hot | (_hot_alone(frames, clean) & ~hot & ~dead & ~cornered), dtype=np.bool_)


def _mean_and_noise(frames: NDArray[np.generic]) -> tuple[FloatImage, FloatImage]:
    """Mean of the sample and standard deviation of a pixel in it, (det_y, det_x) each."""
    # without its brightest frame, a pixel that a cosmic ray has hit is like any other
    total, highest = frames.sum(axis=0, dtype=np.float64), frames.max(axis=0).astype(np.float64)
    mean = (total - highest) / (len(frames) - 1)
    around = np.asarray(ndimage.median_filter(mean, footprint=RING, mode="nearest"), dtype=np.float64)
    return mean, _scatter(mean - around, around, quantum=_quantum(frames))


def _quantum(frames: NDArray[np.generic]) -> float:
    return 1.0 / len(frames) if frames.dtype.kind != "f" else 1e-9


def _filled(mean: FloatImage, mask: Mask) -> FloatImage:
    return fill_masked(mean.astype(np.float32), mask).astype(np.float64) if mask.any() else mean


def _hot_alone(frames: NDArray[np.generic], mean: FloatImage) -> Mask:
    around = np.asarray(ndimage.median_filter(mean, footprint=RING, mode="nearest"), dtype=np.float64)
    excess = mean - around
    noise = _scatter(excess, around, quantum=_quantum(frames))
    beyond = np.asarray(ndimage.median_filter(mean, footprint=OUTER_RING, mode="nearest"), dtype=np.float64)
    hot = (excess > LEAST_SIGMA * noise) & (excess > LEAST_STEP * (around - beyond))
    rows, columns = np.nonzero(hot)
    hot[rows, columns] = _outshines(frames, rows, columns) >= STEADY
    return np.asarray(hot, dtype=np.bool_)


def _outshines(
    frames: NDArray[np.generic], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.float64]:
    """In which part of the frames pixels (k,) are brighter than all their neighbours, the brightest one left out."""
    down, across = (step.ravel() for step in np.meshgrid([-1, 0, 1], [-1, 0, 1], indexing="ij"))
    others = (down != 0) | (across != 0)
    near_rows = _mirrored(rows[:, None] + down[others], frames.shape[1])
    near_columns = _mirrored(columns[:, None] + across[others], frames.shape[2])
    neighbours = np.sort(frames[:, near_rows, near_columns], axis=2)
    brighter = frames[:, rows, columns] > neighbours[:, :, -2]
    return np.asarray(brighter.mean(axis=0), dtype=np.float64)


def _mirrored(index: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Indices one beyond the detector, put as far inside: no pixel at the border is a neighbour of itself."""
    inside = np.abs(index)
    return np.where(inside < size, inside, 2 * (size - 1) - inside)


def _dead(frames: NDArray[np.generic], hot: Mask) -> Mask:
    lowest = frames.min(axis=0)
    constant = (lowest == frames.max(axis=0)) & ~hot
    if not constant.any() or constant.all():
        return np.zeros(constant.shape, dtype=bool)
    mean = frames.mean(axis=0, dtype=np.float64)
    labels, number = ndimage.label(constant, structure=SQUARE)
    dead = np.zeros(constant.shape, dtype=bool)
    places = ndimage.find_objects(labels, number)
    # where nothing but zeros is seen beside nearly empty pixels, as all over a pattern of few electrons, none is dead
    seen = np.count_nonzero(frames, axis=0) / len(frames)
    lively = ndimage.binary_dilation(
        ~constant & ~hot & (1.0 - seen <= LEAST_CHANCE ** (1 / len(frames))), SQUARE
    )
    for label in np.unique(labels[constant & (lively | (lowest != 0))]).tolist():
        place = places[label - 1]
        window = tuple(slice(max(0, part.start - 1), part.stop + 1) for part in place)
        group = labels[window] == label
        ring = ndimage.binary_dilation(group, SQUARE) & ~constant[window] & ~hot[window]
        if not ring.any():
            continue
        level = float(np.percentile(mean[window][ring], 25))
        other = (frames[(slice(None), *window)][:, ring] != lowest[window][group][0]).mean(axis=0)
        chance = (1.0 - float(np.percentile(other, 25))) ** len(frames)
        if chance < LEAST_CHANCE:
            dead[window] |= group & (mean[window] <= MOST_DEAD * level)
    return dead


def _scatter(excess: FloatImage, around: FloatImage, *, quantum: float) -> FloatImage:
    """Standard deviation of a pixel in the mean, as the image itself shows it for pixels as bright as these."""
    level = np.clip(around, 0, None) + quantum
    ratio = 1.4826 * float(np.median(np.abs(excess) / np.sqrt(level)))
    dark = around <= np.median(around)
    floor = max(quantum, 1.4826 * float(np.median(np.abs(excess[dark]))))
    return np.asarray(np.maximum(ratio * np.sqrt(level), floor), dtype=np.float64)


def find_beam_stop(mean_pattern: NDArray[np.generic]) -> Mask:
    """Find a beam stop: a dark patch with hard edges over the middle of the scattering.

    Parameters
    ----------
    mean_pattern
        (det_y, det_x) counts, the mean of many patterns.

    Returns
    -------
    (det_y, det_x) bool; empty where there is none. Its half-shadowed rim is part of it.
    """
    image = np.nan_to_num(np.asarray(mean_pattern, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    none = np.zeros(image.shape, dtype=bool)
    if min(image.shape) < 16 or not image.any():
        return none
    smooth = np.asarray(ndimage.median_filter(image, size=3, mode="nearest"), dtype=np.float64)
    centre = _middle_of_scattering(smooth)
    distance = np.hypot(*(axis - place for axis, place in zip(np.indices(image.shape), centre, strict=True)))
    dark = smooth < STOP_LEVEL * _expected_by_radius(smooth, distance)
    core = distance <= max(1.0, 0.03 * min(image.shape))
    labels, _ = ndimage.label(ndimage.binary_opening(dark, SQUARE))
    label = int(np.argmax(np.bincount(labels[core])))
    stop = ndimage.binary_fill_holes(labels == label) if label else none
    covers = stop[core].mean() >= 0.8 and stop.mean() <= LARGEST_STOP
    if not covers or _edge_contrast(smooth, stop) < STOP_EDGE:
        return none
    return np.asarray(ndimage.binary_dilation(stop, SQUARE), dtype=np.bool_)


def _middle_of_scattering(smooth: FloatImage) -> tuple[float, float]:
    """Row and column of the centre of mass of the logarithm of the counts, twice, within ever smaller circles."""
    weights = np.log1p(np.clip(smooth, 0, None) / max(float(np.median(smooth)), 1e-9))
    rows, columns = np.indices(smooth.shape)
    centre = ((smooth.shape[0] - 1) / 2, (smooth.shape[1] - 1) / 2)
    for reach in (0.5, 0.35, 0.35):
        near = weights * (np.hypot(rows - centre[0], columns - centre[1]) <= reach * min(smooth.shape))
        if near.sum() > 0:
            centre = (float((near * rows).sum() / near.sum()), float((near * columns).sum() / near.sum()))
    return centre


def _expected_by_radius(smooth: FloatImage, distance: FloatImage) -> FloatImage:
    """What scattering makes expect at every pixel: the median at its distance, and nowhere less than further out."""
    ring = distance.astype(np.int64)
    order = np.argsort(ring, axis=None, kind="stable")
    parts = np.split(smooth.ravel()[order], np.cumsum(np.bincount(ring.ravel()))[:-1])
    median = np.array([float(np.median(part)) if len(part) else 0.0 for part in parts])
    return np.asarray(np.maximum.accumulate(median[::-1])[::-1][ring], dtype=np.float64)


def _edge_contrast(smooth: FloatImage, stop: Mask) -> float:
    """How many times brighter it is, typically, two pixels outside an edge than two pixels inside it."""
    outside = ndimage.binary_dilation(stop, SQUARE, iterations=3) & ~ndimage.binary_dilation(stop, SQUARE)
    inside = stop & ~ndimage.binary_erosion(stop, SQUARE, iterations=2)
    if not outside.any() or not inside.any():
        return 0.0
    return float(np.median(smooth[outside]) / max(float(np.median(smooth[inside])), 1e-9))


@dataclass(frozen=True, slots=True)
class Saturation:
    """Pixels stop counting at ``level``; ``pixels`` of a pattern do, on average over those that reach it."""

    level: float
    pixels: float

    def sentence(self) -> str:
        """What that means, in words."""
        return (
            f"The detector is saturated: {self.pixels:.0f} pixels a pattern stop at {self.level:,.0f} counts. "
            "Positions hold, the intensities of these disks are too low."
        )


def find_saturation(frames: NDArray[np.generic], mask: Mask | None = None) -> Saturation | None:
    """Recognise a plateau at the detector's limit in frames (n, det_y, det_x), or return None.

    Where counts go on to rise, few pixels share the highest value; where the detector stops counting, all of them do.
    Hot pixels may do, too: ``mask`` (det_y, det_x) bool is True where a pixel plays no role.
    """
    values: NDArray[Any] = frames.reshape(len(frames), -1) if mask is None else frames[:, ~mask]
    level = float(values.max(where=np.isfinite(values), initial=0))
    if level < LOWEST_LIMIT or level != np.floor(level):
        return None
    at_limit = (values == level).sum(axis=1)
    below = int(np.logical_and(values >= 0.9 * level, values < level).sum())
    reached = at_limit[at_limit > 0]
    if reached.mean() < FEWEST_AT_LIMIT or reached.sum() < 2 * below:
        return None
    return Saturation(level, float(reached.mean()))
