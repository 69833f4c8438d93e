"""Bad pixels that touch: stuck ones in groups of any shape, bright rows and columns, clusters smaller than a disk.

A bad pixel shines everywhere in the scan, whatever the beam does; a disk, be it saturated, is round, has a rim, and is
as large as the other disks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_stem_orient.detection.detector_mask import Mask, fill_masked
from napari_stem_orient.detection.probe import measure_direct_beam

FloatImage = NDArray[np.float64]

LEAST_CHANCE = 1e-6
"""A pixel is stuck when one that counts as much would never change in the sample with less than this probability."""
MOST_STUCK = 0.2
"""Where more than this part of the pixels that count anything never change, they were not counted at all."""
AT_LIMIT = 0.9
"""Part of the frames in which a pixel at the detector's limit is there."""
SHORTEST_LINE, THICKEST_LINE = 12, 3
"""A line of pixels is at least so long, longer than any disk is wide, and no thicker than that."""
RIM = 0.05
"""Around a saturated disk, counts fall by at least this part of the limit from one pixel to the next."""
FEWEST_IN_DISK = 21
"""A round group of so many pixels is a disk, whatever its rim is like."""

LINE_SIGMA, LINE_PART, LINE_WINDOW = 3.0, 0.8, 24
"""A bright line exceeds both its sides by so many standard deviations in that part of so many pixels in a row."""
LINE_STEP = 0.5
"""It exceeds them by at least this part of what is there, too."""
SHARP, PRESENT = 8.0, 0.9
"""The pixels of a cluster rise so many times more above the ring around it than that above the pixels beyond, in that
part of the frames."""
LEAST_SIGMA, CLUSTER_WINDOW, CORE = 8.0, 9, 0.25
"""Clusters exceed the median of so many pixels squared by so many standard deviations; their core has at least this
part of their highest values."""
CONTRAST = 3.0
"""A cluster is so many times brighter than what is around it, and not what two overlapping disks add up to."""
FEWEST_ALIKE, FEWEST_IN_SPOT = 4, 2
"""So many groups of one size, or saturated ones of at least so many pixels, make one believe in disks."""
PART_OF_DISK, SMALLEST_DISK, SMALLEST_RECTANGLE = 0.6, 12, 6
"""A cluster has less than this part of the pixels of a disk, where these have so many, or fills a rectangle of at least
so many on a side: a disk with a radius below 3 px and a hard edge is a square of 5 pixels."""
SQUARE = np.ones((3, 3), dtype=bool)


def stuck_pixels(frames: NDArray[np.generic]) -> Mask:
    """Pixels that have the same high value in all frames (n, det_y, det_x), but for those of a saturated beam."""
    nothing = np.zeros(frames.shape[1:], dtype=bool)
    lowest, highest = frames.min(axis=0), frames.max(axis=0)
    constant = (lowest == highest) & (lowest > 0)
    counting = highest > 0
    limit = float(highest.max())
    if not constant.any() or constant.sum() > MOST_STUCK * max(1, counting.sum()):
        return nothing
    value = np.where(constant, highest, 1).astype(np.float64)
    # two counts of a pixel that counts single electrons are equal with this probability, or less
    equal = np.minimum(1.0, 1.0 / (2.0 * np.sqrt(np.pi * np.maximum(value, 0.1))))
    stuck = constant & (equal ** (len(frames) - 1) < LEAST_CHANCE)
    at_limit = (frames == limit).mean(axis=0) >= AT_LIMIT
    return _without_disks(stuck | at_limit, at_limit, frames.mean(axis=0, dtype=np.float64))


def _without_disks(constant: Mask, at_limit: Mask, mean: FloatImage) -> Mask:
    """The pixels that do not change without those where a disk is saturated, at the limit or below a brighter pixel."""
    bad = _in_lines(constant)
    labels, _ = ndimage.label(constant & ~bad, structure=SQUARE)
    sizes = np.bincount(labels[at_limit & ~bad].ravel())[1:]
    many = (sizes >= FEWEST_IN_SPOT).sum() >= FEWEST_ALIKE  # so many at the limit are disks
    for label, place in enumerate(ndimage.find_objects(labels), start=1):
        window = tuple(slice(max(0, part.start - 2), part.stop + 2) for part in place)
        group = labels[window] == label
        if many and at_limit[window][group].any():
            continue
        ring = ndimage.binary_dilation(group, SQUARE) & ~group & ~constant[window]
        beyond = ndimage.binary_dilation(group, SQUARE, iterations=2) & ~ring & ~group & ~constant[window]
        level = float(np.median(mean[window][group]))
        is_plateau = float(np.ptp(mean[window][group])) <= 0.1 * level
        if not (is_plateau and _is_disk(group, mean[window][ring], mean[window][beyond], level)):
            bad[window] |= group
    return bad


def _is_disk(group: Mask, rim: FloatImage, beyond: FloatImage, limit: float) -> bool:
    """Whether a group of saturated pixels fades out as a disk does, or is as round as one."""
    if len(rim) and len(beyond) and float(np.median(rim) - np.median(beyond)) >= RIM * limit:
        return True
    rows, columns = np.nonzero(group)
    sizes = np.ptp(rows) + 1, np.ptp(columns) + 1
    filled = len(rows) / (sizes[0] * sizes[1])
    is_round = max(sizes) <= 2 * min(sizes) and 0.5 < filled < 0.95
    return bool(is_round and len(rows) >= FEWEST_IN_DISK)


def _in_lines(mask: Mask) -> Mask:
    """The pixels of a mask that lie in straight lines: long along one axis of the detector, thin along the other."""
    found = np.zeros(mask.shape, dtype=bool)
    for turned, result in ((mask, found), (mask.T, found.T)):
        length = _run_lengths(turned)
        thickness = _run_lengths(turned.T).T
        long = turned & (length >= SHORTEST_LINE)
        labels, number = ndimage.label(long, structure=np.array([[0, 0, 0], [1, 1, 1], [0, 0, 0]]))
        if number:
            typical = ndimage.median(thickness, labels, np.arange(1, number + 1))
            result |= np.isin(labels, 1 + np.flatnonzero(np.atleast_1d(typical) <= THICKEST_LINE))
    return found


def _run_lengths(mask: Mask) -> NDArray[np.int64]:
    """Length of the unbroken run along the row that each pixel of a mask lies in; 0 elsewhere."""
    labels, number = ndimage.label(mask, structure=np.array([[0, 0, 0], [1, 1, 1], [0, 0, 0]]))
    lengths = np.bincount(labels.ravel(), minlength=number + 1)
    lengths[0] = 0
    return np.asarray(lengths[labels], dtype=np.int64)


def bright_lines(mean: FloatImage, noise: FloatImage) -> Mask:
    """Rows and columns, or long parts of them, that exceed the pixels on both sides; up to three side by side.

    Parameters
    ----------
    mean, noise
        (det_y, det_x); mean of the sample and standard deviation of a pixel in it.
    """
    found = np.zeros(mean.shape, dtype=bool)
    for image, sigma, result in ((mean, noise, found), (mean.T, noise.T, found.T)):
        for thickness in range(1, THICKEST_LINE + 1):
            result |= _rows_of_thickness(image, sigma, thickness)
    return found


def _rows_of_thickness(mean: FloatImage, noise: FloatImage, thickness: int) -> Mask:
    found = np.zeros(mean.shape, dtype=bool)
    window = min(LINE_WINDOW, mean.shape[1])
    for offset in range(thickness):  # of this row in the line: its sides are so far up and down
        up, down = offset + 1, thickness - offset
        beside, beyond = _beside(mean, up, down), _beside(mean, up + 1, down + 1)
        excess = mean - beside
        exceeds = (excess > LINE_SIGMA * noise) & (excess > LINE_STEP * np.maximum(beside, 0))
        # a streak of scattering rises over several pixels
        is_sharp = _along(excess, window) > SHARP * np.maximum(_along(beside - beyond, window), 0)
        core = (_along(exceeds.astype(np.float64), window) >= LINE_PART) & is_sharp
        whole = ndimage.binary_dilation(core, np.ones((1, window), dtype=bool)) & (exceeds | core)
        found |= whole
    # where a line crosses the beam, it does not stand out
    bridged = np.pad(found, ((0, 0), (window, window)))
    bridged = ndimage.binary_closing(bridged, np.ones((1, window), dtype=bool))
    return np.asarray(bridged[:, window:-window], dtype=np.bool_)


def _beside(mean: FloatImage, up: int, down: int) -> FloatImage:
    """The higher of the pixels so far above and below each; at the border the one that there is."""
    rows = np.arange(len(mean))
    above, below = np.maximum(rows - up, 0), np.minimum(rows + down, len(mean) - 1)
    above, below = np.where(rows < up, below, above), np.where(rows + down >= len(mean), above, below)
    return np.asarray(np.maximum(mean[above], mean[below]), dtype=np.float64)


def _along(values: FloatImage, window: int) -> FloatImage:
    """Mean over so many pixels of the row around each."""
    return np.asarray(ndimage.uniform_filter1d(values, window, axis=1, mode="nearest"), dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class _Cluster:
    """The brighter pixels of a group, and whether they end within a pixel."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    is_sharp: bool

    @property
    def area_px(self) -> int:
        """Number of its pixels."""
        return len(self.rows)

    @property
    def is_rectangle(self) -> bool:
        """Whether it fills its frame, as no disk of its size does."""
        sizes = int(np.ptp(self.rows)) + 1, int(np.ptp(self.columns)) + 1
        return min(sizes) >= SMALLEST_RECTANGLE and len(self.rows) >= 0.97 * sizes[0] * sizes[1]

    @property
    def is_compact(self) -> bool:
        """Whether it may be a disk: what disks of many patterns draw in their mean is long, or a ring."""
        sizes = int(np.ptp(self.rows)) + 1, int(np.ptp(self.columns)) + 1
        return max(sizes) <= 2 * min(sizes) and len(self.rows) > 0.5 * sizes[0] * sizes[1]


def bad_clusters(frames: NDArray[np.generic], mean: FloatImage, noise: FloatImage, *, beside: Mask) -> Mask:
    """Groups of bright pixels that end within one pixel, are in nearly all frames, and are smaller than a disk.

    Groups of which there are many alike may be disks, whatever the direct beam is like.

    Parameters
    ----------
    frames
        (n, det_y, det_x), a sample of the scan.
    mean, noise
        (det_y, det_x); mean of the sample and standard deviation of a pixel in it.
    beside
        (det_y, det_x) bool; pixels next to which nothing can be told.
    """
    clusters = _clusters(frames, mean, noise, beside)
    sharp = [cluster for cluster in clusters if cluster.is_sharp]
    sharp = [cluster for cluster in sharp if _is_unlike_most(cluster, sharp)]
    found = np.zeros(mean.shape, dtype=bool)
    if not sharp:
        return found
    largest = max((cluster.area_px for cluster in clusters if cluster.is_compact), default=0)
    if largest < SMALLEST_DISK:
        return found
    for cluster in sharp:
        if cluster.is_rectangle or cluster.area_px < PART_OF_DISK * largest:
            found[cluster.rows, cluster.columns] = True
    try:
        radius = measure_direct_beam(fill_masked(mean.astype(np.float32), found)).radius_px
    except ValueError:
        return np.zeros(mean.shape, dtype=bool)
    for cluster in sharp:
        smaller = cluster.area_px < PART_OF_DISK * min(largest, np.pi * radius**2)
        found[cluster.rows, cluster.columns] = cluster.is_rectangle or smaller
    return found


def _clusters(
    frames: NDArray[np.generic], mean: FloatImage, noise: FloatImage, beside: Mask
) -> list[_Cluster]:
    around = ndimage.median_filter(mean, size=CLUSTER_WINDOW, mode="nearest")
    labels, _ = ndimage.label(mean - around > LEAST_SIGMA * noise, structure=SQUARE)
    unknown = ndimage.binary_dilation(beside, SQUARE)
    found = []
    for label, place in enumerate(ndimage.find_objects(labels), start=1):
        window = tuple(slice(max(0, part.start - 3), part.stop + 3) for part in place)
        group = labels[window] == label
        if group.sum() == 1:
            continue
        core = group & (mean[window] > CORE * float(np.percentile(mean[window][group], 90)))
        sharp = not unknown[window][group].any() and _is_sharp(
            frames[(slice(None), *window)], mean[window], core
        )
        rows, columns = np.nonzero(core)
        found.append(_Cluster(rows + window[0].start, columns + window[1].start, sharp))
    return found


def _is_unlike_most(cluster: _Cluster, clusters: list[_Cluster]) -> bool:
    """Whether hardly any other group is as large as this one."""
    alike = sum(cluster.area_px / 1.6 <= other.area_px <= 1.6 * cluster.area_px for other in clusters)
    return alike < FEWEST_ALIKE


def _is_sharp(frames: NDArray[Any], mean: FloatImage, core: Mask) -> bool:
    """Whether the pixels of a core rise from those around it in one step, in nearly all frames."""
    ring = ndimage.binary_dilation(core, SQUARE) & ~core
    beyond = ndimage.binary_dilation(core, SQUARE, iterations=2) & ~ring & ~core
    if not ring.any() or not beyond.any():
        return False
    near, far = float(np.percentile(mean[ring], 75)), float(np.median(mean[beyond]))
    height = float(np.median(mean[core]))
    if height - near <= SHARP * max(near - far, 0.0) or height < CONTRAST * near:
        return False
    inside, outside = np.median(frames[:, core], axis=1), np.percentile(frames[:, ring], 75, axis=1)
    return float((inside > outside).mean()) >= PRESENT
