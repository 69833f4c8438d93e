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
from napari_stem_orient.core.errors import UserError
from napari_stem_orient.core.frames import WITHOUT_PATTERN, position_ranges
from napari_stem_orient.core.made_otherwise import made_otherwise
from napari_stem_orient.core.progress import Job, Progress
from napari_stem_orient.core.ragged import offsets_from_counts
from napari_stem_orient.detection.averaging import frames_to_search
from napari_stem_orient.detection.detector_mask import CoveredDetector, Mask, describe_mask
from napari_stem_orient.detection.frame_peaks import DiskSearch, FramePeaks, disk_search, find_frame_peaks
from napari_stem_orient.detection.origin import fit_origin
from napari_stem_orient.detection.parameters import DetectionParameters
from napari_stem_orient.detection.probe import ProbeTemplate
from napari_stem_orient.device import choose_device, in_halving_batches

DETECTOR = "correlation"
SECONDS_PER_RECORD = 0.15
BATCH_PIXELS = {"cpu": 2**19, "cuda": 2**25, "mps": 2**23}
"""Pixels in one batch: on a CPU small enough for its cache; the peak memory is about 40 bytes a pixel."""


def detect_bragg_peaks(
    datacube: DataCube,
    *,
    probe: ProbeTemplate,
    parameters: DetectionParameters,
    device: str = "auto",
    mask: Mask | None = None,
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
    mask
        (det_y, det_x) bool, True where a pixel is not usable. Disks that it covers by more than half are left out, the
        intensity of others is what they would have uncovered.
    resume_from
        An earlier result of the same scan, parameters and mask: what it has detected is kept and not read again.

    Yields
    ------
    DetectedBlock
        About six times a second.

    Returns
    -------
    BraggPeaks
        With the direct beam of every position, fitted by a plane (`fit_origin`).
    """
    search = disk_search(probe, parameters, datacube.detector_shape, device=choose_device(device), mask=mask)
    description = describe(probe, parameters, detector=DETECTOR, mask=mask)
    blocks, wanted = start_of_detection(datacube, resume_from, description)
    done, total = datacube.n_positions - int(wanted.sum()), datacube.n_positions
    waiting: list[_Batch] = []
    told = time.monotonic()
    for block in frames_to_search(datacube, parameters, wanted, mask=mask) if wanted.any() else ():
        for batch in _in_batches(block.positions, block.frames, search, exposures=block.exposures):
            waiting.append(batch)
            done += len(batch.positions)
            if time.monotonic() - told >= SECONDS_PER_RECORD or done == total:
                blocks.append(_join(waiting, Progress(done, total, "patterns")))
                waiting = []
                yield blocks[-1]
                told = time.monotonic()
        del block
    return collect_peaks(datacube, blocks, description=description)


def detect_in_frames(
    frames: NDArray[np.generic],
    *,
    probe: ProbeTemplate,
    parameters: DetectionParameters,
    device: str = "auto",
    mask: Mask | None = None,
) -> DetectedBlock:
    """Detect the Bragg disks of frames in memory.

    Parameters
    ----------
    frames
        (n, det_y, det_x), or one frame (det_y, det_x); the block's positions count them from 0.
    mask
        (det_y, det_x) bool, True where a pixel is not usable.
    """
    stack = frames[None] if frames.ndim == 2 else frames
    shape = (stack.shape[1], stack.shape[2])
    return search_frames(
        stack, disk_search(probe, parameters, shape, device=choose_device(device), mask=mask)
    )


def search_frames(stack: NDArray[np.generic], search: DiskSearch) -> DetectedBlock:
    """Detect the Bragg disks of frames (n, det_y, det_x) with what has been prepared for them."""
    batches = list(_in_batches(np.arange(len(stack), dtype=np.int64), stack, search))
    return _join(batches, Progress(len(stack), len(stack), "patterns"))


def describe(
    probe: ProbeTemplate, parameters: DetectionParameters, *, detector: str, mask: Mask | None = None
) -> dict[str, Any]:
    """How peaks are made, as JSON-able values; of a detector mask its number of pixels and a digest."""
    description = {
        "detector": detector,
        "detection": parameters.model_dump(mode="json"),
        "probe": {"radius_px": probe.radius_px, "source": probe.source},
    }
    covered = describe_mask(mask)
    return description if covered is None else {**description, "mask": covered}


def start_of_detection(
    datacube: DataCube, resume_from: BraggPeaks | None, description: dict[str, Any]
) -> tuple[list[DetectedBlock], NDArray[np.bool_]]:
    """Blocks that an earlier result already holds, and (n_positions,) bool, the positions still to do."""
    if resume_from is None:
        return [], np.ones(datacube.n_positions, dtype=bool)
    if resume_from.scan_shape != datacube.scan_shape:
        raise UserError(
            f"the earlier peaks are of a scan of {resume_from.scan_shape}, this one is {datacube.scan_shape}",
            fix="detect anew",
        )
    if resume_from.source_fingerprint not in (None, datacube.fingerprint):
        raise UserError(
            f"the earlier peaks are of another scan, or {datacube.name} has changed since", fix="detect anew"
        )
    differing = made_otherwise(resume_from.parameters, description)
    if differing:
        raise UserError(
            f"the earlier peaks were detected with {' and '.join(differing)}",
            fix="use the same, or detect anew",
        )
    return [resume_from.as_block()], ~resume_from.detected


def collect_peaks(
    datacube: DataCube, blocks: Iterable[DetectedBlock], *, description: dict[str, Any]
) -> BraggPeaks:
    """Put blocks of a scan, all or those done so far, together and fit the direct beam's position.

    The direct beam is looked for around the calibration's origin where that is known. It is measured anew, so that an
    origin that was calibrated with other peaks does not count as calibrated any more. ``description`` is what
    `describe` returns.
    """
    parts = list(blocks)
    noted: dict[str, Any] = {"unreadable_frames": sum(block.unreadable_frames for block in parts)}
    if datacube.missing is not None:
        noted[WITHOUT_PATTERN] = position_ranges(tuple(np.flatnonzero(datacube.missing).tolist()))
    peaks = BraggPeaks.from_blocks(
        parts,
        scan_shape=datacube.scan_shape,
        calibration=datacube.calibration,
        detector_shape=datacube.detector_shape,
        parameters={**description, **noted},
        name=datacube.name,
        source_fingerprint=datacube.fingerprint,
    )
    origin = fit_origin(peaks, centre_px=datacube.calibration.origin_px)
    calibration = datacube.calibration.updated(
        origin_px=tuple(float(value) for value in origin.mean(axis=0)),
        checked=tuple(quantity for quantity in datacube.calibration.checked if quantity != "origin"),
    )
    return peaks.with_calibration(calibration, origin_px=origin).with_fingerprint()


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """Peaks of frames at flat positions (m,), and in how many of these a pixel that counts was no finite number."""

    positions: NDArray[np.int64]
    found: FramePeaks
    unreadable: int


def _in_batches(
    positions: NDArray[np.int64],
    frames: NDArray[np.generic],
    search: DiskSearch,
    *,
    exposures: NDArray[np.float32] | None = None,
) -> Iterator[_Batch]:
    """Peaks of frames, batch by batch; halved where the device's memory does not hold a batch."""
    worth = None if exposures is None or (exposures == 1).all() else torch.from_numpy(exposures)

    def work(start: int, stop: int) -> _Batch:
        part, unreadable = as_float(frames[start:stop], covered=search.covered)
        averaged = {} if worth is None else {"exposures": worth[start:stop].to(search.device)}
        with torch.inference_mode():
            found = find_frame_peaks(
                part.to(search.device),
                search.pattern_filter,
                search.parameters,
                covered=search.covered,
                **averaged,
            )
        return _Batch(positions[start:stop], found, int(unreadable.sum()))

    pixels = math.prod(search.pattern_filter.detector_shape)
    batch_size = max(1, BATCH_PIXELS.get(search.device.type, 2**19) // pixels)
    for _, _, batch in in_halving_batches(work, len(frames), batch_size=batch_size, device=search.device):
        yield batch


def as_float(
    frames: NDArray[np.generic], *, covered: CoveredDetector | None = None
) -> tuple[Tensor, NDArray[np.bool_]]:
    """A copy of frames (n, det_y, det_x) as float32, and in which (n,) a pixel that counts was no finite number.

    Such pixels count as empty; those that are ``covered`` do not count.
    """
    converted = np.array(frames, dtype=np.float32, order="C")
    if frames.dtype.kind != "f":
        return torch.from_numpy(converted), np.zeros(len(frames), dtype=bool)
    bad = ~np.isfinite(converted)
    converted[bad] = 0.0
    if covered is not None:
        bad.reshape(len(frames), -1)[:, covered.pixels.cpu().numpy()] = False
    return torch.from_numpy(converted), bad.any(axis=(1, 2))


def _join(batches: list[_Batch], progress: Progress) -> DetectedBlock:
    """One block from the peaks of several batches."""
    empty = np.zeros(0, dtype=np.float32)
    found = [batch.found for batch in batches]
    counts = [np.bincount(batch.found.frame, minlength=len(batch.positions)) for batch in batches]
    return DetectedBlock(
        positions=np.concatenate([np.zeros(0, dtype=np.int64), *(batch.positions for batch in batches)]),
        x_px=np.concatenate([empty, *(part.x_px for part in found)]),
        y_px=np.concatenate([empty, *(part.y_px for part in found)]),
        intensity=np.concatenate([empty, *(part.intensity for part in found)]),
        offsets=offsets_from_counts(np.concatenate([np.zeros(0, dtype=np.int64), *counts])),
        progress=progress,
        significance=np.concatenate([empty, *(part.significance for part in found)]),
        unreadable_frames=sum(batch.unreadable for batch in batches),
    )
