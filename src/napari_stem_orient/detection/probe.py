"""The direct beam and the probe template: what one Bragg disk looks like on the detector."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft, ndimage

from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.core.errors import UserError

FloatArray = NDArray[np.float64]
FloatImage = NDArray[np.float32]

SMALLEST_RADIUS_PX = 0.7
MAXIMUM_FRAMES = 256
"""Frames that are aligned and averaged at most when a template is measured."""


@dataclass(frozen=True, slots=True)
class DirectBeam:
    """Where the undiffracted disk is, row and column in px, and how large, in px."""

    y_px: float
    x_px: float
    radius_px: float


@dataclass(frozen=True, slots=True)
class ProbeTemplate:
    """One disk, as the detector looks for it.

    Parameters
    ----------
    image
        (det_y, det_x) float32, centred on the pixel (det_y // 2, det_x // 2), nowhere negative, unit sum.
    radius_px
        Radius of the disk: where it falls to half its height.
    source
        Where it comes from, in words ("synthetic", "vacuum", "mean pattern").
    """

    image: FloatImage
    radius_px: float
    source: str

    @property
    def detector_shape(self) -> tuple[int, int]:
        """Rows and columns of the detector that the template was made for."""
        return self.image.shape[0], self.image.shape[1]


def synthetic_probe(
    radius_px: float, detector_shape: tuple[int, int], *, edge_px: float = 1.0
) -> ProbeTemplate:
    """Make a flat disk whose edge falls from 1 to 0 within about ``edge_px``.

    Parameters
    ----------
    radius_px
        Radius at half height, at least 0.7 px and smaller than a third of the detector.
    detector_shape
        Rows and columns of the detector.
    edge_px
        Width of the edge (a logistic curve falls from 88 to 12 % over it); at least a pixel's own blur.
    """
    _check_radius(radius_px, detector_shape)
    distance = _distance(detector_shape, (detector_shape[0] // 2, detector_shape[1] // 2))
    scale = max(edge_px, 0.25) / 4.0
    image = 1.0 / (1.0 + np.exp(np.clip((distance - radius_px) / scale, -60.0, 60.0)))
    image[distance > radius_px + max(2.0, 2.0 * edge_px)] = 0.0
    return _template(image, radius_px, "synthetic")


def measure_direct_beam(mean_pattern: ArrayLike) -> DirectBeam:
    """Find the direct beam: the strongest compact disk near the middle of a mean pattern.

    Disks of all sizes are tried as matched filters, so neither a hot pixel nor a Bragg disk that is brighter
    at one pixel is taken for it. Position and radius then come from the pixels above half its height.

    Parameters
    ----------
    mean_pattern
        (det_y, det_x) counts, one pattern or the mean of many.

    Raises
    ------
    ValueError
        When the pattern is empty or holds nothing that looks like a disk.
    """
    image = _clean(mean_pattern)
    if min(image.shape) < 8:
        raise UserError(
            f"a pattern of {image.shape[0]} x {image.shape[1]} px is too small to find a direct beam",
            value=image.shape,
            fix="give the radius of the disks by hand",
            field="radius_px",
        )
    if not image.any():
        raise _no_beam("the frames are not all empty")
    y, x, radius = _strongest_disk(image)
    for _ in range(4):
        y, x, radius = _refine_disk(image, y, x, radius)
        if not 0 < radius < min(image.shape) / 3:
            raise _no_beam("the direct beam is on the detector")
    return DirectBeam(y, x, radius)


def probe_from_mean_pattern(mean_pattern: ArrayLike, *, beam: DirectBeam | None = None) -> ProbeTemplate:
    """Cut the direct beam out of a mean pattern (det_y, det_x) as the template.

    Scans whose direct beam wanders blur it: `probe_from_frames` aligns the frames first.
    """
    beam = measure_direct_beam(mean_pattern) if beam is None else beam
    return _cut_out(_clean(mean_pattern), beam, "mean pattern")


def probe_from_frames(
    frames: NDArray[np.generic], *, beam: DirectBeam | None = None, source: str = "aligned direct beams"
) -> ProbeTemplate:
    """Average the direct beams of frames, each moved onto the others first.

    Parameters
    ----------
    frames
        (n, det_y, det_x); at most 256 of them, evenly chosen, are used.
    beam
        The direct beam in the mean of these frames; measured where None.
    source
        Where the frames come from, in words.
    """
    frames = frames[:: max(1, math.ceil(len(frames) / MAXIMUM_FRAMES))]
    stack = np.nan_to_num(frames.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    beam = measure_direct_beam(stack.mean(axis=0)) if beam is None else beam
    windows = _around(stack, beam)
    windows = windows[windows.sum(axis=(1, 2)) > 0]
    if len(windows) == 0:
        raise ValueError("all frames are empty: choose frames that show the direct beam")
    mean = _aligned_mean(windows, beam.radius_px)
    middle = mean.shape[0] // 2
    y, x, radius = _refine_disk(mean, middle, middle, beam.radius_px)
    if not math.isfinite(radius):
        raise UserError(
            "the averaged disk does not rise above its surroundings",
            fix="give a radius by hand",
            field="radius_px",
        )
    return _template(_cut_out_into(stack.shape[1:], mean, DirectBeam(y, x, radius)), radius, source)


def probe_from_diffracted(mean_pattern: ArrayLike, beam: DirectBeam) -> ProbeTemplate:
    """Average the diffracted disks of a mean pattern: the template where the direct beam is saturated.

    Disks of all sizes are tried as matched filters away from the direct beam; those that stand out most at the best
    size are moved onto one another.

    Parameters
    ----------
    mean_pattern
        (det_y, det_x) counts.
    beam
        The direct beam; nothing within 1.5 of its radii is looked at.

    Raises
    ------
    ValueError
        When nothing stands out there.
    """
    image = _clean(mean_pattern)
    shape = image.shape
    spectrum = fft.rfft2(np.pad(image, [(0, s) for s in shape], mode="symmetric"))
    distance = _distance(shape, (beam.y_px, beam.x_px))
    best_score, radius, contrast = 0.0, 0.0, image
    for trial in np.geomspace(1.0, min(beam.radius_px, min(shape) / 8), 12):
        seen = np.where(
            distance > 1.5 * beam.radius_px + 2 * trial, _disk_minus_ring(spectrum, shape, trial), 0.0
        )
        if seen.max() * trial > best_score:
            best_score, radius, contrast = float(seen.max() * trial), float(trial), seen
    places = _highest_apart(contrast, math.ceil(3 * radius), part=0.25)
    disks = [_refine_disk(image, float(y), float(x), radius) for y, x in places]
    disks = [disk for disk in disks if math.isfinite(disk[2]) and disk[2] < beam.radius_px]
    if not disks:
        raise UserError("no diffracted disk stands out", fix="give a radius by hand", field="radius_px")
    radius = float(np.median([disk[2] for disk in disks]))
    stack = image.astype(np.float32)[None]
    windows = np.concatenate([_around(stack, DirectBeam(y, x, radius)) for y, x, _ in disks])
    mean = _aligned_mean(windows, radius)
    middle = mean.shape[0] // 2
    y, x, radius = _refine_disk(mean, middle, middle, radius)
    return _template(_cut_out_into(shape, mean, DirectBeam(y, x, radius)), radius, "aligned diffracted disks")


def probe_from_vacuum(
    datacube: DataCube, mask: NDArray[np.bool_], *, detector_mask: NDArray[np.bool_] | None = None
) -> ProbeTemplate:
    """Average the probe over a vacuum region of the scan, the frames aligned with one another.

    Parameters
    ----------
    datacube
        The scan.
    mask
        (scan_y, scan_x) bool, True in vacuum. At most 256 positions are read, evenly chosen.
    detector_mask
        (det_y, det_x) bool, True where a pixel is not usable: it gets the background around it.
    """
    if mask.shape != datacube.scan_shape:
        raise ValueError(
            f"the vacuum mask has shape {mask.shape} but the scan {datacube.scan_shape}: make them equal"
        )
    chosen = np.flatnonzero(mask)
    if len(chosen) == 0:
        raise ValueError("the vacuum mask is empty: mark at least one position of the scan")
    chosen = chosen[:: max(1, math.ceil(len(chosen) / MAXIMUM_FRAMES))]
    thinned = np.zeros(mask.shape, dtype=np.bool_)
    thinned.flat[chosen] = True
    frames = np.concatenate([block.frames for block in datacube.scan_blocks(positions=thinned)])
    if detector_mask is not None:
        from napari_stem_orient.detection.detector_mask import fill_masked  # torch comes with it

        finite = np.nan_to_num(frames.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
        frames = fill_masked(finite, detector_mask)
    return probe_from_frames(frames, source="vacuum")


def _check_radius(radius_px: float, detector_shape: tuple[int, int]) -> None:
    if not SMALLEST_RADIUS_PX <= radius_px < min(detector_shape) / 3:
        raise UserError(
            f"a disk of radius {radius_px:.3g} px does not suit a detector of {detector_shape[0]} x "
            f"{detector_shape[1]} px",
            value=radius_px,
            fix=f"give a radius from {SMALLEST_RADIUS_PX} px to a third of the detector",
            field="radius_px",
        )


def _no_beam(but: str) -> UserError:
    return UserError(
        "no direct beam found in the mean pattern",
        fix=f"give its position and radius by hand, or check that {but}",
        field="radius_px",
    )


def _template(image: FloatArray, radius_px: float, source: str) -> ProbeTemplate:
    return ProbeTemplate((image / image.sum()).astype(np.float32), float(radius_px), source)


def _distance(shape: tuple[int, ...], centre: tuple[float, float]) -> FloatArray:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return np.asarray(np.hypot(rows - centre[0], columns - centre[1]), dtype=np.float64)


def _clean(pattern: ArrayLike) -> FloatArray:
    """Pattern as float64 without NaN and without pixels that outshine all their neighbours fourfold."""
    image = np.array(pattern, dtype=np.float64)
    if image.ndim != 2:
        raise ValueError(f"one pattern has two axes, not {image.ndim}: give the mean over the scan")
    image[~np.isfinite(image)] = 0.0
    ring = np.ones((3, 3), dtype=bool)
    ring[1, 1] = False
    around = ndimage.maximum_filter(image, footprint=ring, mode="nearest")
    typical = ndimage.median_filter(image, footprint=ring, mode="nearest")
    hot = (image > 4.0 * around) & (image > 0)
    return np.where(hot, typical, image)


def _strongest_disk(image: FloatArray) -> tuple[float, float, float]:
    """Row, column and rough radius of the best matched filter among disks of all sizes."""
    shape = image.shape
    spectrum = fft.rfft2(np.pad(image, [(0, s) for s in shape], mode="symmetric"))
    middle = ((shape[0] - 1) / 2, (shape[1] - 1) / 2)
    prior = np.exp(-0.5 * (_distance(shape, middle) / (0.25 * min(shape))) ** 2)
    best = (0.0, 0.0, 0.0, 0.0)
    for radius in np.geomspace(1.0, min(shape) / 6, 14):
        contrast = _disk_minus_ring(spectrum, shape, float(radius))
        spread = 1.4826 * float(np.median(np.abs(contrast - np.median(contrast))))
        score = prior * contrast * radius
        row, column = np.unravel_index(int(np.argmax(score)), shape)
        if contrast[row, column] > 8.0 * spread and score[row, column] > best[0]:
            best = (float(score[row, column]), float(row), float(column), float(radius))
    if best[0] <= 0:
        raise _no_beam("some disk stands out of the noise")
    return best[1:]


def _disk_minus_ring(spectrum: NDArray[np.complex128], shape: tuple[int, ...], radius: float) -> FloatArray:
    """Mean within a disk minus the mean within the ring around it, at every pixel of a padded image."""
    padded = (2 * shape[0], 2 * shape[1])
    distance = fft.ifftshift(_distance(padded, (shape[0], shape[1])))
    disk = np.clip(radius + 0.5 - distance, 0, 1)
    ring = np.clip(distance - radius - 0.5, 0, 1) * np.clip(2 * radius + 2 - distance, 0, 1)
    kernel = disk / disk.sum() - ring / ring.sum()
    contrast = fft.irfft2(spectrum * np.conj(fft.rfft2(kernel)), s=padded)
    return np.asarray(contrast[: shape[0], : shape[1]], dtype=np.float64)


def _highest_apart(image: FloatArray, spacing: int, *, part: float, most: int = 12) -> NDArray[np.int64]:
    """Rows and columns (k, 2) of the highest maxima at least ``spacing`` apart, down to a part of the highest."""
    highest = ndimage.maximum_filter(image, size=2 * spacing + 1, mode="constant")
    rows, columns = np.nonzero((image == highest) & (image > part * image.max()) & (image > 0))
    order = np.argsort(-image[rows, columns])[:most]
    return np.stack([rows[order], columns[order]], axis=1)


def _refine_disk(image: FloatArray, y: float, x: float, radius: float) -> tuple[float, float, float]:
    """Centre of mass and radius of the pixels above half the disk's height, clipped so that texture counts little."""
    distance = _distance(image.shape, (y, x))
    near = distance <= 1.6 * radius + 1.5
    ring = image[(distance > 1.6 * radius + 1.5) & (distance <= 2.6 * radius + 3)]
    background = float(np.median(ring)) if len(ring) else 0.0
    inside = np.sort(image[distance <= max(radius, 1.0)])
    if len(inside) == 0:
        return y, x, math.nan
    height = float(inside[-max(1, (2 * len(inside)) // 3) :].mean()) - background
    if height <= 0:
        return y, x, math.nan
    covered = np.where(near, np.clip(((image - background) / height - 0.2) / 0.6, 0, 1), 0.0)
    area = covered.sum()
    if area <= 0:
        return y, x, math.nan
    rows, columns = np.ogrid[: image.shape[0], : image.shape[1]]
    centre = float((covered * rows).sum() / area), float((covered * columns).sum() / area)
    return *centre, max(SMALLEST_RADIUS_PX, math.sqrt(area / math.pi))


def _around(stack: FloatImage, beam: DirectBeam) -> FloatArray:
    """(n, w, w) surroundings of the direct beam, three radii wide to each side; edges are repeated."""
    half = math.ceil(3 * beam.radius_px + 4)
    reach = np.arange(-half, half + 1)
    rows = np.clip(round(beam.y_px) + reach, 0, stack.shape[1] - 1)
    columns = np.clip(round(beam.x_px) + reach, 0, stack.shape[2] - 1)
    return stack[:, rows[:, None], columns[None, :]].astype(np.float64)


def _aligned_mean(windows: FloatArray, radius: float) -> FloatArray:
    """Mean of windows (n, w, w), each Fourier-shifted so that its disk lies on the middle pixel."""
    size = windows.shape[-1]
    middle = size // 2
    axis = np.arange(size) - middle
    near = np.hypot(axis[:, None], axis[None, :]) <= 1.8 * radius + 2.5
    background = np.median(windows[:, ~near], axis=1)[:, None, None]
    weights = np.where(near, np.clip(windows - background, 0, None), 0.0)
    total = weights.sum(axis=(1, 2))
    usable = total > 0.1 * np.median(total)
    weights, windows, total = weights[usable], windows[usable], total[usable]
    if len(windows) == 0:
        raise ValueError("the frames show no direct beam: choose frames that do")
    shift_y = (weights * axis[:, None]).sum(axis=(1, 2)) / total
    shift_x = (weights * axis[None, :]).sum(axis=(1, 2)) / total
    turn_y = np.exp(2j * np.pi * shift_y[:, None] * fft.fftfreq(size))
    turn_x = np.exp(2j * np.pi * shift_x[:, None] * fft.rfftfreq(size))
    spectrum = (fft.rfft2(windows) * turn_y[:, :, None] * turn_x[:, None, :]).mean(axis=0)
    return np.asarray(fft.irfft2(spectrum, s=(size, size)), dtype=np.float64)


def _cut_out(image: FloatArray, beam: DirectBeam, source: str) -> ProbeTemplate:
    return _template(_cut_out_into(image.shape, image, beam), beam.radius_px, source)


def _cut_out_into(shape: tuple[int, ...], image: FloatArray, beam: DirectBeam) -> FloatArray:
    """Disk of ``image`` above its background, moved to the middle of a detector of ``shape``, zero outside."""
    distance = _distance(image.shape, (beam.y_px, beam.x_px))
    reach = 1.5 * beam.radius_px + 1.5
    ring = image[(distance > reach) & (distance <= reach + 0.5 * beam.radius_px + 2)]
    disk = np.clip(image - (float(np.median(ring)) if len(ring) else 0.0), 0, None)
    disk *= np.clip(reach + 0.5 - distance, 0, 1)
    if disk.sum() <= 0:
        raise ValueError(
            "the direct beam does not rise above its surroundings: give another region or a radius"
        )
    rows, columns = np.indices(shape)
    source_rows = rows - shape[0] // 2 + beam.y_px
    source_columns = columns - shape[1] // 2 + beam.x_px
    moved = ndimage.map_coordinates(disk, [source_rows, source_columns], order=1, mode="constant")
    return np.asarray(moved, dtype=np.float64)
