"""The batched detector: frames in, Bragg peaks out, a block of the scan at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_stem_orient.core.bragg_peaks import BraggPeaks, DetectedBlock
from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.core.progress import Job, Progress
from napari_stem_orient.detection import local_maxima
from napari_stem_orient.detection.matched_filter import (
    MatchedFilter,
    clip_disks,
    local_background,
    matched_filter,
)
from napari_stem_orient.detection.origin import fit_origin
from napari_stem_orient.detection.parameters import DetectionParameters
from napari_stem_orient.detection.probe import ProbeTemplate
from napari_stem_orient.device import choose_device, in_halving_batches

__all__ = ["DetectionParameters", "FramePeaks", "collect_peaks", "detect_bragg_peaks", "detect_in_frames"]

DETECTOR = "correlation"
SECONDS_PER_RECORD = 0.15
BATCH_PIXELS = {"cpu": 2**19, "cuda": 2**25, "mps": 2**23}
"""Pixels in one batch: on a CPU small enough for its cache; the peak memory is about 40 bytes a pixel."""
SUBPIXEL_GAIN = 1.25
"""How much higher a maximum between pixels can be than at the nearest pixel: candidates get that much credit."""
MOST_CANDIDATES = 512


@dataclass(frozen=True, slots=True)
class FramePeaks:
    """Peaks of a batch of frames, in order of frame and, within one, brightest first.

    ``frame`` (m,) int64, row of the batch; ``y_px``, ``x_px``, ``intensity`` (counts above background) and
    ``significance`` (σ over counting noise), (m,) float32.
    """

    frame: NDArray[np.int64]
    y_px: NDArray[np.float32]
    x_px: NDArray[np.float32]
    intensity: NDArray[np.float32]
    significance: NDArray[np.float32]


class _Tally:
    """Counts frames with pixels that are not numbers."""

    unreadable = 0


def detect_bragg_peaks(
    datacube: DataCube,
    *,
    probe: ProbeTemplate,
    parameters: DetectionParameters,
    device: str = "auto",
    resume_from: BraggPeaks | None = None,
) -> Job[DetectedBlock, BraggPeaks]:
    """Detect the Bragg disks of a whole scan.

    An intensity is the number of detector counts in the disk above the background around it (exactly so for a disk
    shaped like the template): proportional to the diffracted intensity. Peaks come brightest first.

    Peak memory: one block of the scan (64 MiB) and its batch in work (some 40 MB on a CPU, 2 GB on a GPU),
    plus the result, 20 bytes a peak. A batch that does not fit on the device is halved and tried again.

    Parameters
    ----------
    datacube
        The scan.
    probe, parameters
        What to look for.
    device
        "auto", "cpu", "cuda" or "mps".
    resume_from
        An earlier result of the same scan and parameters: what it has detected is kept and not read again.

    Yields
    ------
    DetectedBlock
        About six times a second.

    Returns
    -------
    BraggPeaks
        With the direct beam of every position, fitted by a plane (`fit_origin`).
    """
    chosen = choose_device(device)
    pattern_filter = _filter_for(probe, parameters, datacube.detector_shape, chosen)
    description = describe(probe, parameters, detector=DETECTOR)
    blocks, wanted = start_of_detection(datacube, resume_from, description)
    tally = _Tally()
    done, total = datacube.n_positions - int(wanted.sum()), datacube.n_positions
    waiting: list[tuple[NDArray[np.int64], FramePeaks]] = []
    told = time.monotonic()
    for block in datacube.scan_blocks(positions=wanted) if wanted.any() else ():
        for start, stop, found in _in_batches(block.frames, pattern_filter, parameters, chosen, tally):
            waiting.append((block.positions[start:stop], found))
            done += stop - start
            if time.monotonic() - told >= SECONDS_PER_RECORD or done == total:
                blocks.append(_join(waiting, Progress(done, total, "patterns")))
                waiting = []
                yield blocks[-1]
                told = time.monotonic()
        del block
    return collect_peaks(datacube, blocks, description=description, unreadable_frames=tally.unreadable)


def detect_in_frames(
    frames: NDArray[np.generic],
    *,
    probe: ProbeTemplate,
    parameters: DetectionParameters,
    device: str = "auto",
) -> DetectedBlock:
    """Detect the Bragg disks of frames in memory, as a live preview does.

    Parameters
    ----------
    frames
        (n, det_y, det_x), or one frame (det_y, det_x); the block's positions count them from 0.
    """
    stack = frames[None] if frames.ndim == 2 else frames
    chosen = choose_device(device)
    pattern_filter = _filter_for(probe, parameters, (stack.shape[1], stack.shape[2]), chosen)
    parts = [
        (np.arange(start, stop, dtype=np.int64), found)
        for start, stop, found in _in_batches(stack, pattern_filter, parameters, chosen, _Tally())
    ]
    return _join(parts, Progress(len(stack), len(stack), "patterns"))


def find_frame_peaks(
    frames: Tensor, pattern_filter: MatchedFilter, parameters: DetectionParameters
) -> FramePeaks:
    """Peaks of one batch of frames (n, det_y, det_x) float32, on the device that they are on."""
    background = local_background(frames, pattern_filter.cell_px)
    clipped = clip_disks(
        frames, background, pattern_filter.cell_px, counts_per_electron=parameters.counts_per_electron
    )
    counts, sharpened = pattern_filter.correlate(frames, clipped, power=parameters.correlation_power)
    margin = max(1, math.floor(parameters.edge_px))
    frame, row, column = local_maxima.local_maxima(sharpened, margin_px=margin)
    nearby = background[frame, row // pattern_filter.cell_px, column // pattern_filter.cell_px]
    credited = counts[frame, row, column] * SUBPIXEL_GAIN
    hopeful, _ = pattern_filter.bright_enough(credited, nearby, parameters)
    frame, row, column, nearby = frame[hopeful], row[hopeful], column[hopeful], nearby[hopeful]
    y, x, intensity = _refine(counts, sharpened, frame, row, column, parameters)
    keep, significance = pattern_filter.bright_enough(intensity, nearby, parameters)
    height, width = pattern_filter.detector_shape
    keep &= (y >= parameters.edge_px) & (y <= height - 1 - parameters.edge_px)
    keep &= (x >= parameters.edge_px) & (x <= width - 1 - parameters.edge_px)
    values = torch.stack([y, x, intensity, significance])[:, keep]
    return _select(frame[keep], values, len(frames), parameters)


def describe(probe: ProbeTemplate, parameters: DetectionParameters, *, detector: str) -> dict[str, Any]:
    """How peaks are made, as JSON-able values."""
    return {
        "detector": detector,
        "detection": parameters.model_dump(mode="json"),
        "probe": {"radius_px": probe.radius_px, "source": probe.source},
    }


def start_of_detection(
    datacube: DataCube, resume_from: BraggPeaks | None, description: dict[str, Any]
) -> tuple[list[DetectedBlock], NDArray[np.bool_]]:
    """Blocks that an earlier result already holds, and (n_positions,) bool, the positions still to do."""
    if resume_from is None:
        return [], np.ones(datacube.n_positions, dtype=bool)
    if resume_from.scan_shape != datacube.scan_shape:
        raise ValueError(
            f"the earlier peaks are of a scan of {resume_from.scan_shape}, this one is {datacube.scan_shape}: "
            "detect anew"
        )
    if resume_from.source_fingerprint not in (None, datacube.fingerprint):
        raise ValueError(
            f"the earlier peaks are of another scan, or {datacube.name} has changed since: detect anew"
        )
    earlier = resume_from.parameters
    if any(key in earlier and earlier[key] != description[key] for key in ("detector", "detection")):
        raise ValueError("the earlier peaks were detected with other parameters: use those, or detect anew")
    if "probe" in earlier and not _same_probe(earlier["probe"], description["probe"]):
        raise ValueError("the earlier peaks were detected with another template: use that, or detect anew")
    return [resume_from.as_block()], ~resume_from.detected


def _same_probe(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two descriptions are of one template; a radius measured again may differ in its last digits."""
    return one["source"] == other["source"] and math.isclose(
        one["radius_px"], other["radius_px"], rel_tol=1e-3
    )


def collect_peaks(
    datacube: DataCube,
    blocks: Iterable[DetectedBlock],
    *,
    description: dict[str, Any],
    unreadable_frames: int = 0,
) -> BraggPeaks:
    """Put blocks of a scan, all or those done so far, together and fit the direct beam's position.

    The direct beam is looked for around the calibration's origin where that is known. ``description`` is what
    `describe` returns.
    """
    peaks = BraggPeaks.from_blocks(
        blocks,
        scan_shape=datacube.scan_shape,
        calibration=datacube.calibration,
        detector_shape=datacube.detector_shape,
        parameters={**description, "unreadable_frames": unreadable_frames},
        name=datacube.name,
        source_fingerprint=datacube.fingerprint,
    )
    origin = fit_origin(peaks, centre_px=datacube.calibration.origin_px)
    calibration = datacube.calibration.updated(origin_px=tuple(float(value) for value in origin.mean(axis=0)))
    return peaks.with_calibration(calibration, origin_px=origin)


def _filter_for(
    probe: ProbeTemplate, parameters: DetectionParameters, shape: tuple[int, int], device: torch.device
) -> MatchedFilter:
    if probe.detector_shape != shape:
        raise ValueError(
            f"the probe template is for a detector of {probe.detector_shape}, these frames are {shape}: "
            "make the template from this scan"
        )
    return matched_filter(probe, parameters, device=device)


def _in_batches(
    frames: NDArray[np.generic],
    pattern_filter: MatchedFilter,
    parameters: DetectionParameters,
    device: torch.device,
    tally: _Tally,
) -> Iterator[tuple[int, int, FramePeaks]]:
    """Peaks of frames, batch by batch; halved where the device's memory does not hold a batch."""

    def work(start: int, stop: int) -> tuple[FramePeaks, int]:
        part, unreadable = as_float(frames[start:stop])
        with torch.inference_mode():
            return find_frame_peaks(part.to(device), pattern_filter, parameters), unreadable

    pixels = pattern_filter.detector_shape[0] * pattern_filter.detector_shape[1]
    batch_size = max(1, BATCH_PIXELS.get(device.type, 2**19) // pixels)
    for start, stop, (found, unreadable) in in_halving_batches(
        work, len(frames), batch_size=batch_size, device=device
    ):
        tally.unreadable += unreadable
        yield start, stop, found


def as_float(frames: NDArray[np.generic]) -> tuple[Tensor, int]:
    """Frames as float32, and in how many some pixels were no finite number: such pixels count as empty."""
    converted = frames.astype(np.float32)
    if frames.dtype.kind != "f":
        return torch.from_numpy(converted), 0
    good = np.isfinite(converted)
    unreadable = ~good.all(axis=(1, 2))
    if unreadable.any():
        converted = np.where(good, converted, np.float32(0))
    return torch.from_numpy(converted), int(unreadable.sum())


def _refine(
    counts: Tensor,
    sharpened: Tensor,
    frame: Tensor,
    row: Tensor,
    column: Tensor,
    parameters: DetectionParameters,
) -> tuple[Tensor, Tensor, Tensor]:
    """Sub-pixel y, x in px and intensity of maxima."""
    refine = (
        local_maxima.refine_by_upsampling
        if parameters.subpixel == "upsampled"
        else local_maxima.refine_by_parabola
    )
    y, x, height = refine(sharpened, frame, row, column)
    if sharpened is not counts:
        height = local_maxima.refine_by_parabola(counts, frame, row, column)[2]
    if parameters.subpixel == "none":
        return row.to(height.dtype), column.to(height.dtype), height
    return y, x, height


def _select(frame: Tensor, values: Tensor, n_frames: int, parameters: DetectionParameters) -> FramePeaks:
    """Apply spacing, relative threshold and number to peaks with ``values`` (4, m): y, x, intensity, significance."""
    place, most = local_maxima.to_rows(frame, n_frames)
    table = values.new_full((4, n_frames, max(most, 1)), -torch.inf)
    table[:, frame, place] = values
    order = table[2].argsort(dim=1, descending=True)[:, :MOST_CANDIDATES]
    table = table.gather(2, order.expand(4, -1, -1))
    valid = table[2] > -torch.inf
    finite = torch.where(valid, table, 0.0)
    kept = local_maxima.suppress_close(finite[0], finite[1], valid, spacing=parameters.min_spacing_px)
    rank = kept.cumsum(dim=1) - 1
    if parameters.min_relative_intensity > 0:
        reference_rank = rank[:, -1:].clamp(min=0, max=parameters.relative_to_rank)
        reference = torch.where(kept & (rank == reference_rank), finite[2], 0.0).amax(dim=1, keepdim=True)
        kept = kept & (finite[2] >= parameters.min_relative_intensity * reference)
    kept = kept & (rank < parameters.max_peaks)
    chosen = table[:, kept].cpu().numpy()
    row = kept.nonzero(as_tuple=True)[0].cpu().numpy()
    return FramePeaks(row, chosen[0], chosen[1], chosen[2], chosen[3])


def _join(parts: list[tuple[NDArray[np.int64], FramePeaks]], progress: Progress) -> DetectedBlock:
    """One block from the peaks of several batches."""
    empty = np.zeros(0, dtype=np.float32)
    positions = [part for part, _ in parts] or [np.zeros(0, dtype=np.int64)]
    counts = [np.bincount(found.frame, minlength=len(part)) for part, found in parts] or [np.zeros(0, int)]
    return DetectedBlock(
        positions=np.concatenate(positions),
        x_px=np.concatenate([empty, *(found.x_px for _, found in parts)]),
        y_px=np.concatenate([empty, *(found.y_px for _, found in parts)]),
        intensity=np.concatenate([empty, *(found.intensity for _, found in parts)]),
        offsets=np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64),
        progress=progress,
        significance=np.concatenate([empty, *(found.significance for _, found in parts)]),
    )
