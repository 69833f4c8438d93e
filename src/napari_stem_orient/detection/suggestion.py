"""Settings of the detector chosen from a sample of the scan, so that nobody has to tune them by hand."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.detection.detector_mask import Mask, fill_masked
from napari_stem_orient.detection.matched_filter import MatchedFilter, local_background, matched_filter
from napari_stem_orient.detection.parameters import DetectionParameters
from napari_stem_orient.detection.probe import (
    DirectBeam,
    ProbeTemplate,
    measure_direct_beam,
    probe_from_frames,
    probe_radius_px,
    synthetic_probe,
)

SAMPLE_FRAMES = 64
FALSE_DISKS_PER_PATTERN = 0.2
TOLERATED_CONTRAST = 0.25
SPOT_SPREAD = 1.7
"""Effective area over that of a flat disk of the same half-height radius: 1 for a disk, 2.9 for a Gaussian."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What to detect a scan with: its direct beam, a template and parameters."""

    beam: DirectBeam
    probe: ProbeTemplate
    parameters: DetectionParameters


def suggest_detection(
    datacube: DataCube,
    *,
    radius_px: float | None = None,
    mask: Mask | None = None,
    frames: NDArray[np.generic] | None = None,
) -> Suggestion:
    """Choose direct beam, template and parameters from some 64 patterns spread over the scan.

    Parameters
    ----------
    datacube
        The scan.
    radius_px
        Radius of the disks where it is known: the template is then a flat disk, and no direct beam need be seen.
    mask
        (det_y, det_x) bool, True where a pixel is not usable.
    frames
        The sample (`sample_frames`), where it has been read already.

    Raises
    ------
    ValueError
        When no direct beam is found in them, or the radius does not suit the detector.
    """
    frames = without_masked(sample_frames(datacube) if frames is None else frames, mask)
    if radius_px is not None:
        rows, columns = datacube.detector_shape
        y, x = datacube.calibration.origin_px or ((rows - 1) / 2, (columns - 1) / 2)
        beam = DirectBeam(y, x, radius_px)
        probe = synthetic_probe(radius_px, datacube.detector_shape)
        return Suggestion(beam, probe, suggest_parameters(frames, beam, probe=probe))
    beam = measure_direct_beam(_finite(frames).mean(axis=0))
    probe = _choose_probe(datacube, frames, beam)
    parameters = suggest_parameters(frames, beam, probe=probe)
    beam = DirectBeam(beam.y_px, beam.x_px, probe.radius_px)
    return Suggestion(beam, probe, parameters)


def suggest_parameters(
    sample: DataCube | NDArray[np.generic],
    direct_beam: DirectBeam,
    *,
    probe: ProbeTemplate | None = None,
    mask: Mask | None = None,
) -> DetectionParameters:
    """Choose the detector's parameters.

    The spacing comes from the radius of the disks; the gain from the noise between them; the significance
    from the number of places where noise could look like a disk, for one false disk in five patterns; disks or
    spots from the profile of the direct beam.

    Parameters
    ----------
    sample
        A scan, of which some 64 patterns are read, or frames (n, det_y, det_x).
    direct_beam
        Its direct beam (`measure_direct_beam`).
    probe
        The template that will be used; the aligned direct beams of the sample where None.
    mask
        (det_y, det_x) bool, True where a pixel is not usable.
    """
    frames = without_masked(sample_frames(sample) if isinstance(sample, DataCube) else sample, mask)
    stack = _finite(frames)
    if probe is None:
        probe = probe_from_frames(frames, beam=direct_beam)
    radius = probe.radius_px
    draft = DetectionParameters(mode="spots" if _looks_like_a_spot(probe) else "disks")
    pattern_filter = matched_filter(probe, draft, device=torch.device("cpu"))
    places = stack.shape[1] * stack.shape[2] / pattern_filter.area_px
    significance = float(stats.norm.isf(min(0.4, FALSE_DISKS_PER_PATTERN / (4.0 * places))))
    return DetectionParameters(
        mode=draft.mode,
        min_significance=round(significance, 2),
        min_spacing_px=round(max(2.0 * radius, 3.0), 1),
        edge_px=round(max(radius, 1.0), 1),
        counts_per_electron=_gain(
            torch.from_numpy(stack), pattern_filter, significance, integers=frames.dtype.kind in "biu"
        ),
    )


def sample_frames(datacube: DataCube, *, number: int = SAMPLE_FRAMES) -> NDArray[np.generic]:
    """About ``number`` patterns (n, det_y, det_x), evenly spread over the scan, in the scan's own dtype."""
    rows, columns = datacube.scan_shape
    step = max(1.0, math.sqrt(rows * columns / number))
    step_y, step_x = max(1, min(rows, math.ceil(step))), max(1, min(columns, math.ceil(step)))
    if rows < step:
        step_x = max(1, rows * columns // number)
    if columns < step:
        step_y = max(1, rows * columns // number)
    chosen = datacube.data[step_y // 2 :: step_y, step_x // 2 :: step_x].compute()
    frames: NDArray[np.generic] = np.asarray(chosen).reshape(-1, *datacube.detector_shape)
    return frames


def without_masked(frames: NDArray[np.generic], mask: Mask | None) -> NDArray[np.generic]:
    """Frames (n, det_y, det_x), in their own dtype, with the local background where the mask is."""
    if mask is None or not mask.any():
        return frames
    filled: NDArray[np.generic] = fill_masked(_finite(frames), mask).astype(frames.dtype)
    return filled


def _finite(frames: NDArray[np.generic]) -> NDArray[np.float32]:
    return np.nan_to_num(frames.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)


def _choose_probe(datacube: DataCube, frames: NDArray[np.generic], beam: DirectBeam) -> ProbeTemplate:
    """The measured direct beam; a flat disk where the convergence angle is known and agrees with it."""
    measured = probe_from_frames(frames, beam=beam)
    try:
        radius = probe_radius_px(datacube.calibration)
    except ValueError:
        return measured
    if radius >= 2 and abs(radius / measured.radius_px - 1) < 0.15 and not _looks_like_a_spot(measured):
        return synthetic_probe(radius, datacube.detector_shape)
    return measured


def _looks_like_a_spot(probe: ProbeTemplate) -> bool:
    effective = 1.0 / float((probe.image.astype(np.float64) ** 2).sum())
    return effective > SPOT_SPREAD * math.pi * max(probe.radius_px, 1.0) ** 2


def _gain(
    frames: torch.Tensor, pattern_filter: MatchedFilter, significance: float, *, integers: bool
) -> float:
    """Counts per electron, from how much the quietest tenth of the sample fluctuates.

    What the filter sees there is noise, spread by the detector, and weak structure; differences of pixels four apart
    see hardly any structure, but not all of a spread noise. The first is an upper bound and, so that structure is not
    taken for noise at high dose, not followed beyond where a disk of 15 % contrast would be lost.
    """
    counts, _ = pattern_filter.correlate(frames, frames)
    cell, size = pattern_filter.cell_px, frames.shape[1:]
    background = local_background(frames, cell).repeat_interleave(cell, 1).repeat_interleave(cell, 2)
    background = background[:, : size[0], : size[1]]
    window = min(*size, max(16, round(6 * math.sqrt(pattern_filter.area_px / math.pi))))
    expected = background * pattern_filter.area_px * (1 + pattern_filter.ring_share)
    upper = _quiet_ratio(counts**2, expected, window, correlated_px=pattern_filter.area_px)
    curvature = frames[:, :, :-8] - 2 * frames[:, :, 4:-4] + frames[:, :, 8:]
    lower = _quiet_ratio(curvature**2, 6 * background[:, :, 4:-4], window, correlated_px=3.0)
    typical = float(expected.median())
    tolerated = typical * (TOLERATED_CONTRAST / (significance * (1 + pattern_filter.ring_share))) ** 2
    gain = min(upper, max(lower, tolerated))
    if not math.isfinite(gain) or gain <= 0 or (integers and gain < 2):
        return 1.0
    return float(f"{gain:.3g}")


def _quiet_ratio(
    squares: torch.Tensor, expected: torch.Tensor, window: int, *, correlated_px: float
) -> float:
    """Mean of ``squares`` over what counting single electrons makes expect, in the quietest tenth of all windows.

    Where there is nothing but noise, of which ``correlated_px`` pixels share a value, that tenth is low by chance:
    by as much as chi-squared says, which is taken out.
    """
    size = (window, min(window, squares.shape[2]))
    above, below = (
        torch.nn.functional.avg_pool2d(values[:, None], size).flatten() for values in (squares, expected)
    )
    ratio = above[below > 0] / below[below > 0]
    if len(ratio) == 0:
        return 1.0
    freedom = max(2.0, size[0] * size[1] / correlated_px)
    return float(ratio.quantile(0.1)) * freedom / float(stats.chi2.ppf(0.1, freedom))
