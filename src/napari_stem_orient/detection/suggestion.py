"""Settings of the detector chosen from a sample of the scan, so that nobody has to tune them by hand."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.core.scan_reading import computed
from napari_stem_orient.detection.bad_pixels import find_saturation
from napari_stem_orient.detection.detector_mask import Mask, fill_masked
from napari_stem_orient.detection.false_alarms import FalseAlarms, measure_false_alarms
from napari_stem_orient.detection.matched_filter import local_background, matched_filter
from napari_stem_orient.detection.parameters import DetectionParameters
from napari_stem_orient.detection.probe import (
    DirectBeam,
    ProbeTemplate,
    measure_direct_beam,
    probe_from_diffracted,
    probe_from_frames,
    synthetic_probe,
)

SAMPLE_FRAMES = 64
FALSE_DISKS_PER_PATTERN = 1.0
"""At low dose the weak disks decide: one false disk a pattern costs less than the true ones that it comes with."""
LEAST_SIGNIFICANCE = 2.0
WHITE = 1.35
"""Noise whose differences at two px exceed those at one by no more than this is not spread over pixels."""
COUNTING = (0.7, 1.5)
"""Integers whose noise is this many times that of counted electrons are counts of single electrons."""
TOLERATED_CONTRAST = 0.25
DIFFERENCE_WINDOW_PX, FEW_PX = 6, 16
LEAST_EXPECTED = 0.02
MANY_COUNTS, FEWEST_WINDOWS = 200.0, 0.3
NEGATIVE_PART, NOISE_FRAMES = 0.2, 16
"""Where more than this part of the sample is below zero, its background says nothing about the noise."""
MOST_COVERED = 0.1
"""Where a mask covers more than this part of the direct beam, what is seen of it is another disk."""
SPOT_SPREAD = 1.7
"""Effective area over that of a flat disk of the same half-height radius: 1 for a disk, 2.9 for a Gaussian."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What to detect a scan with: its direct beam, a template and parameters.

    ``false_alarms`` tells how many disks noise alone makes at any significance.
    """

    beam: DirectBeam
    probe: ProbeTemplate
    parameters: DetectionParameters
    false_alarms: FalseAlarms


def suggest_detection(
    datacube: DataCube,
    *,
    radius_px: float | None = None,
    probe: ProbeTemplate | None = None,
    flat: bool = False,
    mask: Mask | None = None,
    bad: Mask | None = None,
    frames: NDArray[np.generic] | None = None,
    false_disks_per_pattern: float | None = None,
) -> Suggestion:
    """Choose direct beam, template and parameters from some 64 patterns spread over the scan.

    Parameters
    ----------
    datacube
        The scan.
    radius_px
        Radius of the disks where it is known: the template is then a flat disk, and no direct beam need be seen.
    probe
        The template where it is known, and no direct beam need be seen either.
    flat
        Take a flat disk of the radius of the direct beam, and not the direct beam itself, as template.
    mask
        (det_y, det_x) bool, True where a pixel is not usable.
    bad
        The same, of those pixels only that are bad by themselves. Where the mask covers a good part of the direct beam,
        what is left of it is no template: it is then measured with these pixels left out alone.
    frames
        (n, det_y, det_x), a sample that has been read already (`sample_frames`).
    false_disks_per_pattern
        How many maxima of noise may pass for disks in a pattern, 1 where None; it sets the significance.

    Raises
    ------
    ValueError
        When no direct beam is found in them, or the radius does not suit the detector.
    """
    sample = sample_frames(datacube) if frames is None else frames
    stack = fill_masked(_finite(sample), mask)
    if radius_px is not None:
        probe = synthetic_probe(radius_px, datacube.detector_shape)
    if probe is not None:
        rows, columns = datacube.detector_shape
        y, x = datacube.calibration.origin_px or ((rows - 1) / 2, (columns - 1) / 2)
    else:
        showing = (
            stack if bad is None or mask is None else _showing_the_beam(_finite(sample), stack, mask, bad)
        )
        seen = measure_direct_beam(showing.mean(axis=0))
        y, x = seen.y_px, seen.x_px
        probe = _choose_probe(datacube, showing, seen, saturated=find_saturation(sample, mask) is not None)
        probe = synthetic_probe(probe.radius_px, datacube.detector_shape) if flat else probe
    beam = DirectBeam(y, x, probe.radius_px)
    parameters, false_alarms = _detection_parameters(
        stack,
        probe,
        integers=sample.dtype.kind in "biu",
        false_disks=FALSE_DISKS_PER_PATTERN if false_disks_per_pattern is None else false_disks_per_pattern,
    )
    return Suggestion(beam, probe, parameters, false_alarms)


def suggest_parameters(
    sample: DataCube | NDArray[np.generic],
    direct_beam: DirectBeam,
    *,
    probe: ProbeTemplate | None = None,
    mask: Mask | None = None,
    false_disks_per_pattern: float = FALSE_DISKS_PER_PATTERN,
) -> DetectionParameters:
    """Choose the detector's parameters.

    The spacing comes from the radius of the disks; the gain from the noise between them; the significance from what
    noise alone makes on the background of this scan (`measure_false_alarms`), for a stated number of false disks in a
    pattern; disks or spots from the profile of the direct beam.

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
    false_disks_per_pattern
        How many maxima of noise may pass for disks in a pattern.
    """
    frames = sample_frames(sample) if isinstance(sample, DataCube) else sample
    stack = fill_masked(_finite(frames), mask)
    if probe is None:
        probe = probe_from_frames(stack, beam=direct_beam)
    integers = frames.dtype.kind in "biu"
    return _detection_parameters(stack, probe, integers=integers, false_disks=false_disks_per_pattern)[0]


def _detection_parameters(
    stack: NDArray[np.float32], probe: ProbeTemplate, *, integers: bool, false_disks: float
) -> tuple[DetectionParameters, FalseAlarms]:
    """Parameters for frames (n, det_y, det_x) like these, of whole numbers or not."""
    frames = torch.from_numpy(stack)
    mode: Literal["disks", "spots"] = "spots" if _looks_like_a_spot(probe) else "disks"
    draft = DetectionParameters(
        mode=mode,
        min_spacing_px=round(max(2.0 * probe.radius_px, 3.0), 1),
        edge_px=round(max(probe.radius_px, 1.0), 1),
    )
    gain = _gain(frames, probe, draft, integers=integers)
    draft = draft.model_copy(update={"counts_per_electron": gain})
    if float((frames < 0).float().mean()) > NEGATIVE_PART:
        draft = _for_subtracted_background(frames, probe, draft, false_disks=false_disks)
    alarms = measure_false_alarms(stack, probe, draft)
    significance = max(LEAST_SIGNIFICANCE, alarms.significance_for(false_disks))
    # rounded up, so that no more false disks pass than stated
    return draft.model_copy(update={"min_significance": math.ceil(significance * 100) / 100}), alarms


def sample_frames(datacube: DataCube, *, number: int = SAMPLE_FRAMES) -> NDArray[np.generic]:
    """About ``number`` patterns (n, det_y, det_x), evenly spread over the scan, in the scan's own dtype."""
    rows, columns = datacube.scan_shape
    step = max(1.0, math.sqrt(rows * columns / number))
    step_y, step_x = max(1, min(rows, math.ceil(step))), max(1, min(columns, math.ceil(step)))
    if rows < step:
        step_x = max(1, rows * columns // number)
    if columns < step:
        step_y = max(1, rows * columns // number)
    grid = slice(step_y // 2, None, step_y), slice(step_x // 2, None, step_x)
    chosen = computed(datacube.data[grid])
    frames: NDArray[np.generic] = np.asarray(chosen).reshape(-1, *datacube.detector_shape)
    # what stands in for a pattern that the file does not have tells nothing of noise, background or bad pixels
    there = np.ones(len(frames), bool) if datacube.missing is None else ~datacube.missing[grid].ravel()
    return frames[there] if there.any() else frames


def _finite(frames: NDArray[np.generic]) -> NDArray[np.float32]:
    return np.nan_to_num(frames.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)


def _showing_the_beam(
    finite: NDArray[np.float32], masked: NDArray[np.float32], mask: Mask, bad: Mask
) -> NDArray[np.float32]:
    """The frames with the mask filled, or with bad pixels alone where the mask covers much of the direct beam."""
    beside = mask & ~bad
    if not beside.any():
        return masked
    whole = fill_masked(finite, bad)
    beam = measure_direct_beam(whole.mean(axis=0))
    rows, columns = np.ogrid[: mask.shape[0], : mask.shape[1]]
    disk = np.hypot(rows - beam.y_px, columns - beam.x_px) <= max(beam.radius_px, 1.0)
    return whole if beside[disk].mean() > MOST_COVERED else masked


def _choose_probe(
    datacube: DataCube, frames: NDArray[np.float32], beam: DirectBeam, *, saturated: bool
) -> ProbeTemplate:
    """The measured direct beam; a flat disk where the convergence angle is known and agrees with it.

    A saturated direct beam is too wide: the diffracted disks stand for it where there are any.
    """
    measured = probe_from_frames(frames, beam=beam)
    if saturated:
        try:
            measured = probe_from_diffracted(frames.mean(axis=0), beam)
        except ValueError:
            return measured
    try:
        radius = datacube.calibration.disk_radius_px()
    except ValueError:
        return measured
    if radius >= 2 and abs(radius / measured.radius_px - 1) < 0.15 and not _looks_like_a_spot(measured):
        return synthetic_probe(radius, datacube.detector_shape)
    return measured


def _looks_like_a_spot(probe: ProbeTemplate) -> bool:
    effective = 1.0 / float((probe.image.astype(np.float64) ** 2).sum())
    return effective > SPOT_SPREAD * math.pi * max(probe.radius_px, 1.0) ** 2


def _gain(frames: torch.Tensor, probe: ProbeTemplate, draft: DetectionParameters, *, integers: bool) -> float:
    """Counts per electron, from how much the quietest part of the sample fluctuates.

    Where neighbouring pixels fluctuate independently, their differences see noise and hardly any structure. Where
    the detector spreads it, what the filter sees is noise and weak structure, and differences of pixels four apart see
    less structure, but not all of the noise. The first of these is an upper bound and, so that structure is not taken
    for noise at high dose, not followed beyond where a disk of 25 % contrast would be lost.
    """
    next_to = _difference_ratio(frames, 1)
    if integers and COUNTING[0] < next_to < COUNTING[1]:
        return 1.0
    if min(frames.shape[1:]) < FEW_PX:
        return _as_gain(next_to, integers=integers)  # the direct beam is in every larger window
    beyond = _difference_ratio(frames, 2)
    if 0 < beyond < WHITE * next_to:
        return _as_gain(next_to, integers=integers)
    rough = draft.model_copy(update={"subpixel": "none"})
    pattern_filter = matched_filter(probe, rough, device=torch.device("cpu"))
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
    tolerated = (
        typical * (TOLERATED_CONTRAST / (draft.min_significance * (1 + pattern_filter.ring_share))) ** 2
    )
    return _as_gain(min(upper, max(lower, tolerated)), integers=integers)


def _for_subtracted_background(
    frames: torch.Tensor, probe: ProbeTemplate, draft: DetectionParameters, *, false_disks: float
) -> DetectionParameters:
    """Parameters with an absolute threshold that noise exceeds ``false_disks`` times in a pattern.

    Without the background nobody knows how much counting makes it fluctuate: pixels and correlation have to tell.
    """
    some = frames[:: max(1, len(frames) // NOISE_FRAMES)]
    curvature = some[:, :, :-2] - 2 * some[:, :, 1:-1] + some[:, :, 2:]
    # disks are clipped where they exceed an absent background by two electrons: by no less than the noise
    gain = max(draft.counts_per_electron, 2 * _deviation(curvature) / math.sqrt(6))
    rough = draft.model_copy(update={"subpixel": "none"})
    pattern_filter = matched_filter(probe, rough, device=torch.device("cpu"))
    counts, _ = pattern_filter.correlate(some, some)
    places = frames.shape[1] * frames.shape[2] / pattern_filter.area_px
    sigma = float(stats.norm.isf(min(0.5, false_disks / places)))
    least = max(0.0, float(counts.median()) + sigma * _deviation(counts))
    changes = {"counts_per_electron": float(f"{gain:.3g}"), "min_absolute_intensity": float(f"{least:.3g}")}
    return draft.model_copy(update=changes)


def _deviation(values: torch.Tensor) -> float:
    """Standard deviation of most values, whatever a few do."""
    return 1.4826 * float((values - values.median()).abs().median())


def _as_gain(gain: float, *, integers: bool) -> float:
    if not math.isfinite(gain) or gain <= 0 or (integers and gain < 2):
        return 1.0
    return float(f"{gain:.3g}")


def _difference_ratio(frames: torch.Tensor, step: int) -> float:
    """Squares of differences of pixels ``step`` apart over what counting makes expect, in quiet small windows."""
    before, here, after = frames[:, :, : -2 * step], frames[:, :, step:-step], frames[:, :, 2 * step :]
    squares, expected = (before - 2 * here + after) ** 2, before + 4 * here + after
    window = min(DIFFERENCE_WINDOW_PX, max(2, 3 * min(frames.shape[1:]) // 8), *squares.shape[1:])
    above, below = (torch.nn.functional.avg_pool2d(v[:, None], window).flatten() for v in (squares, expected))
    positive = below[below > 0]
    if len(positive) and float(positive.median()) < LEAST_EXPECTED:
        # no counts of electrons are so low: patterns that were scaled, to a sum of 1 for instance
        unit = float(positive.median())
        return unit * _difference_ratio(frames / unit, step)
    # of hardly any electrons the ratio has few values and no tail, of many the quietest tenth holds no disk
    many = below * window**2 > MANY_COUNTS
    seen, part = (many, 0.1) if many.float().mean() > FEWEST_WINDOWS else (below > LEAST_EXPECTED, 0.25)
    if not seen.any():
        return 1.0
    ratio = (above[seen] / below[seen])[:: max(1, int(seen.sum()) // 2**20)]
    freedom = window**2 / 2.2
    by_chance = float(stats.chi2.ppf(part, freedom)) / freedom
    quiet: float = ratio.quantile(part).item() / by_chance
    return quiet


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
