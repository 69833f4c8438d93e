"""Why a maximum of the correlation is no Bragg disk, told for one pattern."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from napari_stem_orient.core.bragg_peaks import DetectedBlock
from napari_stem_orient.detection import local_maxima
from napari_stem_orient.detection.correlation import as_float, search_frames
from napari_stem_orient.detection.detector_mask import Mask, describe_mask
from napari_stem_orient.detection.frame_peaks import (
    LEAST_VISIBLE,
    CorrelatedFrames,
    DiskSearch,
    correlate_frames,
    disk_search,
)
from napari_stem_orient.detection.parameters import DetectionParameters
from napari_stem_orient.detection.probe import ProbeTemplate
from napari_stem_orient.detection.rejected_maxima import Explained, RejectedMaxima, Rejection

LEAST_SIGNIFICANCE = 1.5
MOST_REJECTED = 60
"""Rejected maxima are told of from this significance on, and no more than this many, most significant first."""

SAME_PLACE_PX = 0.01


def explain_frame(
    frame: NDArray[np.generic],
    *,
    probe: ProbeTemplate,
    parameters: DetectionParameters,
    mask: Mask | None = None,
) -> Explained:
    """Detect the disks of one frame (det_y, det_x), and say of the maxima left out why.

    The disks are those that `detect_in_frames` finds. Of a maximum that fails in several ways the first is told:
    masked, at the edge, below a threshold, too close, beyond the most disks. Runs on the CPU; what is prepared for a
    template, parameters and a mask is kept for the next frame.
    """
    search = _prepared(_Request(probe, (frame.shape[0], frame.shape[1]), mask), parameters)
    found = search_frames(frame[None], search)
    with torch.inference_mode():
        seen = correlate_frames(
            as_float(frame[None])[0], search.pattern_filter, parameters, covered=search.covered
        )
        maxima = _all_maxima(seen)
    return Explained(
        positions=found.positions,
        x_px=found.x_px,
        y_px=found.y_px,
        intensity=found.intensity,
        offsets=found.offsets,
        progress=found.progress,
        significance=found.significance,
        rejected=_rejected(maxima, found, parameters, radius_px=probe.radius_px),
    )


class _Request:
    """Template, frame shape and mask, the same as another where the template is the same object and the masks agree."""

    def __init__(self, probe: ProbeTemplate, shape: tuple[int, int], mask: Mask | None) -> None:
        self.probe, self.shape, self.mask = probe, shape, mask
        self._key = (id(probe), shape, str(describe_mask(mask)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Request) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


@functools.lru_cache(maxsize=2)
def _prepared(request: _Request, parameters: DetectionParameters) -> DiskSearch:
    cpu = torch.device("cpu")
    return disk_search(request.probe, parameters, request.shape, device=cpu, mask=request.mask)


@dataclass(frozen=True, slots=True, eq=False)
class _Maxima:
    """All maxima of a pattern, brightest first: (m,) each; ``visible`` is 1 where nothing is covered."""

    y: NDArray[np.float64]
    x: NDArray[np.float64]
    intensity: NDArray[np.float64]
    significance: NDArray[np.float64]
    contrast: NDArray[np.float64]
    bright: NDArray[np.bool_]
    visible: NDArray[np.float64]
    edge: NDArray[np.float64]

    def part(self, which: NDArray[np.generic]) -> _Maxima:
        """Some of them: a boolean mask, or an order."""
        return _Maxima(*(getattr(self, name)[which] for name in _Maxima.__dataclass_fields__))


def _all_maxima(seen: CorrelatedFrames) -> _Maxima:
    frame, row, column = local_maxima.local_maxima(seen.sharpened, margin_px=1)
    y, x, intensity = seen.refine(frame, row, column)
    bright, significance = seen.bright_enough(intensity, frame, row, column)
    background = seen.nearby(frame, row, column).clamp(min=1e-9)
    contrast = intensity / (background * seen.pattern_filter.area_px)
    visible = torch.ones_like(y) if seen.covered is None else seen.covered.visible[row, column]
    height, width = seen.pattern_filter.detector_shape
    edge = torch.stack([y, height - 1 - y, x, width - 1 - x]).amin(dim=0)
    values = (y, x, intensity, significance, contrast, bright, visible, edge)
    y_px, x_px, counts, sigma, ratio, passed, seen_part, border = (value.cpu().numpy() for value in values)
    maxima = _Maxima(y_px, x_px, counts, sigma, ratio, passed, seen_part, border)
    return maxima.part(np.argsort(-counts, kind="stable"))


def _rejected(
    maxima: _Maxima, found: DetectedBlock, parameters: DetectionParameters, *, radius_px: float
) -> RejectedMaxima:
    distance = np.hypot(maxima.y[:, None] - found.y_px, maxima.x[:, None] - found.x_px)
    nearest = distance.min(axis=1, initial=np.inf)
    verdicts = dict(_verdicts(maxima, parameters))
    told = (nearest > max(SAME_PLACE_PX, 0.5 * radius_px)) & (maxima.significance >= LEAST_SIGNIFICANCE)
    chosen = [int(i) for i in np.argsort(-maxima.significance) if told[i] and int(i) in verdicts]
    chosen = chosen[:MOST_REJECTED]
    return RejectedMaxima(
        x_px=maxima.x[chosen].astype(np.float32),
        y_px=maxima.y[chosen].astype(np.float32),
        intensity=maxima.intensity[chosen].astype(np.float32),
        significance=maxima.significance[chosen].astype(np.float32),
        reasons=tuple(verdicts[i][0] for i in chosen),
        words=tuple(verdicts[i][1] for i in chosen),
    )


def _verdicts(
    maxima: _Maxima, parameters: DetectionParameters
) -> Iterator[tuple[int, tuple[Rejection, str]]]:
    """Number, reason and words of every maximum that is no disk, in the order in which the detector decides."""
    passing = []
    for index in range(len(maxima.y)):
        verdict = _alone(maxima, index, parameters)
        if verdict is None:
            passing.append(index)
        else:
            yield index, verdict
    kept: list[int] = []
    for index in passing:
        distances = np.hypot(maxima.y[kept] - maxima.y[index], maxima.x[kept] - maxima.x[index])
        close = distances.min(initial=np.inf)
        if close < parameters.min_spacing_px:
            words = f"{close:.1f} px from a brighter disk, needs {parameters.min_spacing_px:.1f}"
            yield index, (Rejection.TOO_CLOSE, words)
        else:
            kept.append(index)
    reference = maxima.intensity[kept[min(parameters.relative_to_rank, len(kept) - 1)]] if kept else 0.0
    least = parameters.min_relative_intensity
    for rank, index in enumerate(kept):
        part = maxima.intensity[index] / reference
        if part < least:
            words = f"{100 * part:.2g} % of the reference disk, needs {100 * least:.3g} %"
            yield index, (Rejection.BELOW_THRESHOLD, words)
        elif rank >= parameters.max_peaks:
            words = f"number {rank + 1} by brightness, at most {parameters.max_peaks}"
            yield index, (Rejection.BEYOND_MOST, words)


def _alone(maxima: _Maxima, index: int, parameters: DetectionParameters) -> tuple[Rejection, str] | None:
    """What is wrong with a maximum by itself; None where it passes."""
    if maxima.visible[index] < LEAST_VISIBLE:
        words = f"{100 * (1 - maxima.visible[index]):.0f} % of it masked, at most {100 * (1 - LEAST_VISIBLE):.0f} %"
        return Rejection.MASKED, words
    if maxima.edge[index] < parameters.edge_px:
        words = f"{max(0.0, maxima.edge[index]):.1f} px from the edge, needs {parameters.edge_px:.1f}"
        return Rejection.EDGE, words
    if maxima.bright[index]:
        return None
    counts, least_counts = maxima.intensity[index], parameters.min_absolute_intensity
    if maxima.significance[index] < parameters.min_significance:
        words = f"{maxima.significance[index]:.1f} σ, needs {parameters.min_significance:.1f}"
    elif counts < least_counts:
        words = f"{counts:.3g} counts, needs {least_counts:.3g}"
    else:
        words = f"contrast {maxima.contrast[index]:.2g}, needs {parameters.min_contrast:.2g}"
    return Rejection.BELOW_THRESHOLD, words
