"""The matched filter for one disk, and the counting statistics of what it finds."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_stem_orient.detection.disk_position import PlacedTemplate, placed_template
from napari_stem_orient.detection.parameters import DetectionParameters
from napari_stem_orient.detection.probe import ProbeTemplate

HALF_WIDTH_OVER_SIGMA = 1.1774
CLIPPING_ROUNDS = 3
WINDOW_CELLS = 5
"""The local background is taken over 5 x 5 cells of about 1.5 disk radii each."""
LEAST_BACKGROUND, LEVELS_PER_DECADE, LEVELS = 1e-4, 25, 275
"""Levels of the background, in electrons per pixel, for which the weakest significant disk is worked out ahead."""


@dataclass(frozen=True, slots=True)
class MatchedFilter:
    """A template and, of negative weight, a ring around it, so that the sum of both is zero.

    Parameters
    ----------
    disk_spectrum, ring_spectrum
        (det_y, det_x // 2 + 1) complex64; conjugate Fourier transforms of the two.
    detector_shape
        Rows and columns of the frames it is for.
    area_px
        Effective area of the template: one over its summed squares; that of the disk for a flat disk.
    ring_share
        Effective area of the template over that of the ring.
    cell_px
        Size of the cells in which the background is measured, in px.
    least_electrons
        (levels,) float32; electrons that a disk needs to be significant, at the background of each `_level`.
    placed
        The template at sub-pixel places, where positions are refined with it.
    """

    disk_spectrum: Tensor
    ring_spectrum: Tensor
    detector_shape: tuple[int, int]
    area_px: float
    ring_share: float
    cell_px: int
    least_electrons: Tensor
    placed: PlacedTemplate | None = None

    def correlate(self, frames: Tensor, clipped: Tensor, *, power: float = 1.0) -> tuple[Tensor, Tensor]:
        """Correlation of frames with the template, minus that of clipped frames with the ring.

        Parameters
        ----------
        frames
            (n, det_y, det_x) float32.
        clipped
            The same with bright disks cut down (`clip_disks`), so that a disk is not lost beside a brighter one.
        power
            Exponent of the spectrum's modulus.

        Returns
        -------
        counts
            (n, det_y, det_x) float32; summed counts of a disk at each pixel, above its surroundings.
        sharpened
            The same with the modulus of its spectrum raised to ``power``; ``counts`` itself for 1.
        """
        spectrum = torch.fft.rfft2(frames) * self.disk_spectrum
        spectrum -= torch.fft.rfft2(clipped) * self.ring_spectrum
        counts = _inverse(spectrum, self.detector_shape)
        if power == 1.0:
            return counts, counts
        modulus = spectrum.abs()
        floor = 1e-6 * modulus.amax(dim=(1, 2), keepdim=True).clamp(min=1e-30)
        sharpened = spectrum * (modulus.clamp(min=1e-30) ** (power - 1.0)) * (modulus > floor)
        return counts, _inverse(sharpened, self.detector_shape)

    def around(self, frames: Tensor) -> Tensor:
        """Correlation of frames (n, det_y, det_x) with the ring alone, as it enters `correlate`."""
        spectrum = torch.fft.rfft2(frames) * self.ring_spectrum
        counts: Tensor = _inverse(spectrum, self.detector_shape)
        return counts

    def significance(
        self, intensity: Tensor, background: Tensor, *, counts_per_electron: float | Tensor
    ) -> Tensor:
        """Standard deviations by which disks stand out of counting noise.

        The likelihood ratio of two Poisson counts, in the disk and in the ring around it (Li and Ma,
        Astrophys. J. 272, 317 (1983), eq. 17): right for few counts, where a Gaussian is not.

        Parameters
        ----------
        intensity
            (m,) counts in the disk above the background.
        background
            (m,) counts per pixel around it.
        counts_per_electron
            Gain of the detector.
        """
        expected = (background * (self.area_px / counts_per_electron)).clamp(min=1e-6)
        inside = (intensity / counts_per_electron).clamp(min=0.0) + expected
        ring = expected / self.ring_share
        share = 1.0 + self.ring_share
        total = inside + ring
        ratio = torch.xlogy(inside, share / self.ring_share * inside / total)
        ratio += torch.xlogy(ring, share * ring / total)
        return (2.0 * ratio.clamp(min=0.0)).sqrt()

    def least_counts(
        self, background: Tensor, parameters: DetectionParameters, *, exposures: Tensor | None = None
    ) -> Tensor:
        """Counts that a disk needs to be `bright_enough`, or up to a tenth less, at backgrounds (n, ...) per pixel.

        ``exposures`` (n,) is how many patterns each frame is the average of.
        """
        gain: float | Tensor = parameters.counts_per_electron
        if exposures is not None:
            gain = (gain / exposures).reshape(-1, *[1] * (background.dim() - 1))
        significant = self.least_electrons[_level(background / gain)] * gain
        least = background * (parameters.min_contrast * self.area_px)
        return torch.maximum(significant, least).clamp(min=parameters.min_absolute_intensity)

    def bright_enough(
        self,
        intensity: Tensor,
        background: Tensor,
        parameters: DetectionParameters,
        *,
        exposures: Tensor | None = None,
        visible: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Which peaks pass the thresholds that need no other peak, (m,) bool, and their significance (m,).

        ``exposures`` (m,) is how many patterns the frame of each peak is the average of, ``visible`` (m,) which part
        of its disk no detector mask covers; one where None.
        """
        gain: float | Tensor = parameters.counts_per_electron
        gain = gain if exposures is None else gain / exposures
        seen: float | Tensor = 1.0 if visible is None else visible
        significance = self.significance(intensity * seen, background * seen, counts_per_electron=gain)
        least = background.clamp(min=0) * (parameters.min_contrast * self.area_px)
        bright = (intensity > least) & (intensity >= parameters.min_absolute_intensity)
        return bright & (significance >= parameters.min_significance), significance


def matched_filter(
    probe: ProbeTemplate, parameters: DetectionParameters, *, device: torch.device
) -> MatchedFilter:
    """Prepare the filter for a template on a device; it gives summed counts on top of a disk like the template."""
    disk, ring = disk_and_ring(probe, parameters)
    shape = probe.detector_shape
    response = float((disk * (disk - ring)).sum())
    pattern_filter = MatchedFilter(
        disk_spectrum=_conjugate_spectrum(disk / response, device),
        ring_spectrum=_conjugate_spectrum(ring / response, device),
        detector_shape=shape,
        area_px=float(1.0 / (disk**2).sum()),
        ring_share=float((ring**2).sum() / (disk**2).sum()),
        cell_px=int(np.clip(round(1.5 * probe.radius_px), 2, max(2, min(shape) // 4))),
        least_electrons=torch.zeros(1),
        placed=placed_template(disk, probe.radius_px, device) if parameters.subpixel == "upsampled" else None,
    )
    least = _least_electrons(pattern_filter, parameters.min_significance)
    return replace(pattern_filter, least_electrons=least.to(device))


def disk_and_ring(
    probe: ProbeTemplate, parameters: DetectionParameters
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The template and the ring around it, (det_y, det_x) float64 each, centred, with unit sum."""
    shape = probe.detector_shape
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    distance = np.hypot(rows - shape[0] // 2, columns - shape[1] // 2)
    radius = probe.radius_px
    if parameters.mode == "spots":
        width = max(radius, 0.85)
        disk = np.exp(-0.5 * (distance * HALF_WIDTH_OVER_SIGMA / width) ** 2) * (distance <= 3 * width)
    else:
        disk = probe.image.astype(np.float64)
    inner = radius + 1.5
    outer = inner + max(2.0, min(1.6 * radius, 5.0), 0.8 * radius)
    ring = np.clip(distance - inner + 0.5, 0, 1) * np.clip(outer + 0.5 - distance, 0, 1)
    if not ring.any():
        least = max(5, 2 * (int((radius + 1) / 2**0.5) + 1))  # the ring begins in the corners
        raise ValueError(
            f"around a disk of radius {radius:.3g} px nothing is left of a detector of {shape[0]} x {shape[1]} px to "
            f"measure the background in: it needs at least {least} x {least} px"
        )
    return disk / disk.sum(), ring / ring.sum()


def clip_disks(
    frames: Tensor, background: Tensor, cell_px: int, *, counts_per_electron: float | Tensor
) -> Tensor:
    """Frames (n, height, width) with pixels cut down to what the local background allows: twice it and 4 σ."""
    gain = counts_per_electron
    limit = 2.0 * background + 4.0 * (gain * background.clamp(min=0.0)).sqrt() + 2.0 * gain
    n, height, width = frames.shape
    limit = limit.repeat_interleave(cell_px, 2)[:, :, :width]
    if height % cell_px == 0:
        strips = frames.view(n, height // cell_px, cell_px, width)
        return torch.minimum(strips, limit[:, :, None]).view(n, height, width)
    return torch.minimum(frames, limit.repeat_interleave(cell_px, 1)[:, :height])


def local_background(frames: Tensor, cell_px: int) -> Tensor:
    """Counts per pixel around each cell of ``cell_px`` pixels, disks clipped away.

    Cells brighter than their surroundings allow (half above, plus 2.5 standard deviations of Poisson) are left
    out, the mean of the others is taken anew, three times over.

    Parameters
    ----------
    frames
        (n, height, width) float32.

    Returns
    -------
    (n, ceil(height / cell_px), ceil(width / cell_px)) float32
    """
    cells: Tensor = _pooling(frames.shape[1], cell_px, frames.device) @ (
        frames @ _pooling(frames.shape[2], cell_px, frames.device).T
    )
    down = _box(cells.shape[1], cells.device)
    across = _box(cells.shape[2], cells.device).T
    background: Tensor = (down @ cells @ across) / (down.sum(1)[:, None] * across.sum(0)[None, :])
    noise = 2.5 / cell_px
    for _ in range(CLIPPING_ROUNDS):
        keep = (cells <= 1.5 * background + noise * background.clamp(min=0.0).sqrt()).to(cells.dtype)
        number = down @ keep @ across
        mean = (down @ (cells * keep) @ across) / number.clamp(min=1)
        background = torch.where(number > 0, mean, background)
    return background


def _level(background: Tensor) -> Tensor:
    """Number of the level (int64) at or below a background in electrons per pixel."""
    position = torch.log10(background.clamp(min=LEAST_BACKGROUND) / LEAST_BACKGROUND) * LEVELS_PER_DECADE
    return position.long().clamp(max=LEVELS - 1)


def _least_electrons(pattern_filter: MatchedFilter, significance: float) -> Tensor:
    """Electrons (levels,) of the weakest significant disk at each level of the background, by bisection."""
    exponent = torch.arange(LEVELS, dtype=torch.float64) / LEVELS_PER_DECADE
    background = LEAST_BACKGROUND * 10**exponent
    low, high = torch.zeros_like(background), torch.full_like(background, 1e12)
    for _ in range(80):
        middle = (low + high) / 2
        enough = pattern_filter.significance(middle, background, counts_per_electron=1.0) >= significance
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    # the first level stands for all backgrounds below it, too
    low[0] = 0.0
    return low.to(torch.float32)


def _inverse(spectrum: Tensor, shape: tuple[int, int]) -> Tensor:
    """The images (n, *shape) of spectra (n, height, width // 2 + 1) that rfft2 has made, to the same bits always.

    MKL's real inverse transform of short lines (16, 32, 64) rounds otherwise when it is spread over another number of
    threads, which differs between the window and the command line: these go through the complex one.
    """
    width = shape[1]
    if width > 64:
        long: Tensor = torch.fft.irfft2(spectrum, s=shape)
        return long
    lines = torch.fft.ifft(spectrum, dim=-2)
    other_half = lines[..., 1 : (width + 1) // 2].flip(-1).conj()
    image: Tensor = torch.fft.ifft(torch.cat([lines, other_half], dim=-1), dim=-1).real
    return image


def _conjugate_spectrum(kernel: NDArray[np.float64], device: torch.device) -> Tensor:
    """Conjugate half spectrum of a kernel that is centred on the middle pixel."""
    shifted = torch.from_numpy(np.fft.ifftshift(kernel).astype(np.float32))
    spectrum: Tensor = torch.fft.rfft2(shifted).conj().resolve_conj()
    return spectrum.to(device)


@functools.lru_cache(maxsize=32)
def _pooling(size: int, cell_px: int, device: torch.device) -> Tensor:
    """(cells, size) float32; means of runs of ``cell_px`` pixels, of fewer in the last cell."""
    cell = torch.arange(size) // cell_px
    inside = (torch.arange(int(cell[-1]) + 1)[:, None] == cell).to(torch.float32)
    return (inside / inside.sum(dim=1, keepdim=True)).to(device)


@functools.lru_cache(maxsize=32)
def _box(size: int, device: torch.device) -> Tensor:
    """(size, size) float32; 1 where two cells are at most two apart: sums over five cells."""
    index = torch.arange(size)
    near: Tensor = (index[:, None] - index[None, :]).abs() <= WINDOW_CELLS // 2
    return near.to(torch.float32).to(device)
