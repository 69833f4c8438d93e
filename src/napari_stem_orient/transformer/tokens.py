"""From Bragg peaks to tokens: padding, removal of the direct beam, and all scaling of what the network reads."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: Angular frequencies of the polar angle, and radial frequencies in cycles per reciprocal lattice unit.
ANGULAR_ORDERS = (1, 2, 3, 4, 6, 8, 12, 16)
RADIAL_FREQUENCIES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
INTENSITY_EXPONENTS = (0.125, 0.25, 0.5, 1.0)

#: Widths of the three feature groups of a token: k_r, k_theta, intensity.
RADIAL_FEATURES = 1 + 2 * len(RADIAL_FREQUENCIES)
ANGULAR_FEATURES = 2 * len(ANGULAR_ORDERS)
INTENSITY_FEATURES = 1 + len(INTENSITY_EXPONENTS)
#: What is the same for all disks of a pattern: the curvature of the Ewald sphere, c/a and the number of disks.
PATTERN_FEATURES = 3


def strongest_peaks(
    q_x: NDArray[np.float32],
    q_y: NDArray[np.float32],
    intensity: NDArray[np.float32],
    offsets: NDArray[np.int64],
    *,
    n_peaks: int,
    direct_beam_radius: float,
    q_max: float = math.inf,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The strongest peaks of every pattern as a padded array, without the direct beam.

    Parameters
    ----------
    q_x, q_y, intensity, offsets
        Ragged peaks: (n,) each and (B + 1,); q in Å⁻¹.
    n_peaks
        Number of places in each pattern, N.
    direct_beam_radius
        Peaks nearer to the origin than this, in Å⁻¹, are the direct beam.
    q_max
        Peaks farther out, in Å⁻¹, are left out.

    Returns
    -------
    peaks
        (B, N, 3) float32 = q_x, q_y, intensity, strongest first, zero where there is none.
    mask
        (B, N) bool, True where there is a peak.
    """
    n_patterns = len(offsets) - 1
    pattern = np.repeat(np.arange(n_patterns), np.diff(offsets))
    q = np.hypot(q_x, q_y)
    good = (q > direct_beam_radius) & (q <= q_max) & (intensity > 0) & np.isfinite(q_x + q_y + intensity)
    pattern, values = pattern[good], np.stack([q_x, q_y, intensity], axis=-1)[good]
    order = np.lexsort((-values[:, 2], pattern))
    pattern, values = pattern[order], values[order]
    start = np.searchsorted(pattern, np.arange(n_patterns))
    rank = np.arange(len(pattern)) - start[pattern]
    kept = rank < n_peaks
    peaks = np.zeros((n_patterns, n_peaks, 3), dtype=np.float32)
    mask = np.zeros((n_patterns, n_peaks), dtype=bool)
    peaks[pattern[kept], rank[kept]] = values[kept]
    mask[pattern[kept], rank[kept]] = True
    return peaks, mask


def token_features(peaks: Tensor, mask: Tensor) -> Tensor:
    """Features (B, N, 34) of peaks (B, N, 3) = (q_x a, q_y a, intensity): those of k_r, of k_theta and of I.

    Intensities count relative to the strongest disk of their pattern, so their unit does not matter.
    """
    x, y, intensity = peaks.unbind(-1)
    radius = torch.sqrt(x * x + y * y)
    phase = 2 * math.pi * radius[..., None] * radius.new_tensor(RADIAL_FREQUENCIES)
    radial = torch.cat([radius[..., None] / 4, torch.sin(phase), torch.cos(phase)], dim=-1)
    turn = torch.atan2(y, x)[..., None] * radius.new_tensor(ANGULAR_ORDERS)
    angular = torch.cat([torch.sin(turn), torch.cos(turn)], dim=-1)
    relative = intensity / intensity.amax(dim=1, keepdim=True).clamp_min(1e-20)
    relative = relative.clamp(1e-5, 1.0)[..., None]
    levels = torch.cat(
        [torch.log10(relative) / 2, relative ** relative.new_tensor(INTENSITY_EXPONENTS)], dim=-1
    )
    return torch.cat([radial, angular, levels], dim=-1) * mask[..., None]


def pattern_features(mask: Tensor, conditions: Tensor) -> Tensor:
    """Features (B, 3) of whole patterns: number of disks, and the conditions (B, 2) = wavelength / a and c / a."""
    curvature, axial_ratio = conditions.unbind(-1)
    count = mask.sum(dim=1).to(conditions.dtype)
    return torch.stack([curvature * 100 - 0.8, torch.log1p(count) / 2 - 1, torch.log(axial_ratio)], dim=-1)
