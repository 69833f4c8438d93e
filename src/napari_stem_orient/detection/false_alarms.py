"""How many disks noise alone makes in a pattern, at any significance: measured on the background of the scan itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from napari_stem_orient.detection.frame_peaks import find_frame_peaks
from napari_stem_orient.detection.matched_filter import local_background, matched_filter
from napari_stem_orient.detection.parameters import DetectionParameters
from napari_stem_orient.detection.probe import ProbeTemplate

LOWEST_SIGNIFICANCE = 1.5
SIMULATED_PIXELS = 2**20
MOST_PATTERNS, FEWEST_PATTERNS = 64, 6
SEED = 7


@dataclass(frozen=True, slots=True, eq=False)
class FalseAlarms:
    """Significance (k,) in σ of the maxima in ``n_patterns`` patterns of noise, highest first."""

    significance: NDArray[np.float32]
    n_patterns: int

    def per_pattern(self, significance: float) -> float:
        """False disks in a pattern at a significance in σ; those below 1.5 σ are not known of."""
        return float((self.significance >= significance).sum()) / self.n_patterns

    def significance_for(self, per_pattern: float) -> float:
        """Significance in σ that so many maxima of noise a pattern exceed.

        Beyond what was simulated it rises as the tail of noise falls, by exp(-σ²/2).
        """
        number = per_pattern * self.n_patterns
        if len(self.significance) == 0:
            return LOWEST_SIGNIFICANCE
        if number >= len(self.significance):
            return float(self.significance[-1])
        known = max(1.0, number)
        measured = float(np.interp(known, np.arange(1, len(self.significance) + 1), self.significance))
        return float(np.sqrt(measured**2 + 2 * np.log(known / max(number, 1e-6))))


def measure_false_alarms(
    frames: NDArray[np.float32], probe: ProbeTemplate, parameters: DetectionParameters
) -> FalseAlarms:
    """Search frames that hold nothing but counting noise on the background of these.

    Each is flat, at a level of the background that the sample has, disks left out; it is drawn electron by electron
    and searched with the same template, gain, contrast and edge: so the rate holds at any dose, for few counts as for
    many. Structure of a background, Kikuchi bands say, is no noise and not counted: contrast keeps it out.

    Parameters
    ----------
    frames
        (n, det_y, det_x), a sample of the scan; some 64 of them, fewer where they are large, are looked at.
    probe, parameters
        What they are searched with; ``min_significance`` plays no role.
    """
    pixels = frames.shape[1] * frames.shape[2]
    number = int(np.clip(SIMULATED_PIXELS // pixels, FEWEST_PATTERNS, MOST_PATTERNS))
    chosen = torch.from_numpy(frames[np.linspace(0, len(frames) - 1, min(number, len(frames))).astype(int)])
    search = parameters.model_copy(
        update={
            "min_significance": LOWEST_SIGNIFICANCE,
            "subpixel": "parabola",
            "min_relative_intensity": 0.0,
            "max_peaks": 1000,
        }
    )
    pattern_filter = matched_filter(probe, search, device=torch.device("cpu"))
    levels = local_background(chosen, pattern_filter.cell_px).clamp(min=0.0).flatten().numpy()
    parts = (np.arange(number) + 0.5) / number
    electrons = torch.from_numpy(np.quantile(levels, parts).astype(np.float32)) / search.counts_per_electron
    expected = electrons[:, None, None].expand(number, *frames.shape[1:])
    generator = torch.Generator().manual_seed(SEED)
    with torch.inference_mode():
        noise = torch.poisson(expected, generator=generator) * search.counts_per_electron
        found = find_frame_peaks(noise, pattern_filter, search)
    return FalseAlarms(np.sort(found.significance)[::-1].copy(), number)
