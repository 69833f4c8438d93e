"""py4DSTEM's disk detection behind the interface of ours: the reference."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_stem_orient.core.bragg_peaks import BraggPeaks, DetectedBlock
from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.core.progress import Job, Progress
from napari_stem_orient.core.py4dstem_extra import import_py4dstem
from napari_stem_orient.detection.averaging import frames_to_search
from napari_stem_orient.detection.correlation import as_float, collect_peaks, describe, start_of_detection
from napari_stem_orient.detection.detector_mask import Mask, cover_detector
from napari_stem_orient.detection.frame_peaks import LEAST_VISIBLE
from napari_stem_orient.detection.matched_filter import disk_and_ring, local_background, matched_filter
from napari_stem_orient.detection.parameters import DetectionParameters
from napari_stem_orient.detection.probe import ProbeTemplate

SECONDS_PER_RECORD = 0.15
SUBPIXEL = {"none": "pixel", "parabola": "poly", "upsampled": "multicorr"}
UPSAMPLING = 16
DETECTOR = "py4DSTEM"


def detect_with_py4dstem(
    datacube: DataCube,
    *,
    probe: ProbeTemplate,
    parameters: DetectionParameters,
    mask: Mask | None = None,
    resume_from: BraggPeaks | None = None,
) -> Job[DetectedBlock, BraggPeaks]:
    """Detect the Bragg disks of a scan with py4DSTEM's own detector, one pattern at a time on one core.

    It knows no counting statistics, so ours decide which of its peaks stand out of the noise: the same parameters
    mean the same for both detectors, and intensities are counts above the background as well.

    Peak memory: that of `frames_to_search`, and the result.

    Parameters
    ----------
    datacube, probe, parameters, mask
        As for `detect_bragg_peaks`.
    resume_from
        An earlier result of this function for the same scan and parameters.

    Yields
    ------
    DetectedBlock
        About six times a second; at least one pattern each.

    Raises
    ------
    ImportError
        Where py4DSTEM is not installed; the message says how to get it.
    """
    find, keep = _finder(probe, parameters), _Threshold(probe, parameters, mask)
    description = describe(probe, parameters, detector=DETECTOR, mask=mask)
    blocks, wanted = start_of_detection(datacube, resume_from, description)
    done, total = datacube.n_positions - int(wanted.sum()), datacube.n_positions
    for block in frames_to_search(datacube, parameters, wanted, mask=mask) if wanted.any() else ():
        start, told = 0, time.monotonic()
        frames, unreadable = as_float(block.frames, covered=keep.covered)
        keep.fill_masked(frames)
        found: list[NDArray[np.float32]] = []
        for stop, frame in enumerate(frames.numpy(), start=1):
            found.append(find(frame))
            if time.monotonic() - told >= SECONDS_PER_RECORD or stop == len(frames):
                done += stop - start
                found = keep(frames[start:stop], found, block.exposures[start:stop])
                progress = Progress(done, total, "patterns")
                bad = int(unreadable[start:stop].sum())
                blocks.append(_block(block.positions[start:stop], found, progress, unreadable_frames=bad))
                yield blocks[-1]
                start, found, told = stop, [], time.monotonic()
    return collect_peaks(datacube, blocks, description=description)


def find_in_frames_with_py4dstem(
    frames: NDArray[np.generic], *, probe: ProbeTemplate, parameters: DetectionParameters
) -> DetectedBlock:
    """Peaks of frames (n, det_y, det_x) in memory by py4DSTEM's detector, as `detect_in_frames` returns them."""
    find = _finder(probe, parameters)
    finite, _ = as_float(frames)
    keep = _Threshold(probe, parameters)
    found = keep(finite, [find(frame) for frame in finite.numpy()], np.ones(len(finite), dtype=np.float32))
    return _block(np.arange(len(frames)), found, Progress(len(frames), len(frames), "patterns"))


def _finder(
    probe: ProbeTemplate, parameters: DetectionParameters
) -> Callable[[NDArray[np.generic]], NDArray[np.float32]]:
    """A function from one frame to its peaks (n, 3) float32: x_px, y_px, intensity, brightest first."""
    detection = import_py4dstem("py4DSTEM.braggvectors.diskdetection")
    disk, ring = disk_and_ring(probe, parameters)
    # scaled like our own filter: the correlation's height is the number of counts in a disk
    template = np.fft.ifftshift((disk - ring) / (disk * (disk - ring)).sum())
    options: dict[str, Any] = {
        "corrPower": parameters.correlation_power,
        "sigma_cc": 0,
        "subpixel": SUBPIXEL[parameters.subpixel],
        "upsample_factor": UPSAMPLING,
        "minAbsoluteIntensity": parameters.min_absolute_intensity,
        "minRelativeIntensity": parameters.min_relative_intensity,
        "relativeToPeak": parameters.relative_to_rank,
        "minPeakSpacing": parameters.min_spacing_px,
        "edgeBoundary": max(1, int(np.ceil(parameters.edge_px))),
        "maxNumPeaks": parameters.max_peaks,
    }

    def find(frame: NDArray[np.generic]) -> NDArray[np.float32]:
        if not np.any(frame):
            return np.zeros((0, 3), dtype=np.float32)
        found = detection.find_Bragg_disks(frame.astype(np.float64), template, **options).data
        # py4DSTEM's qx runs along rows and its qy along columns: the one place where they are swapped
        peaks: NDArray[np.float32] = np.stack([found["qy"], found["qx"], found["intensity"]], axis=1)
        return peaks.astype(np.float32)

    return find


class _Threshold:
    """Keeps the peaks that our counting statistics tell from noise."""

    def __init__(
        self, probe: ProbeTemplate, parameters: DetectionParameters, mask: Mask | None = None
    ) -> None:
        cpu = torch.device("cpu")
        self._filter = matched_filter(probe, parameters, device=cpu)
        self._parameters = parameters
        disk, ring = disk_and_ring(probe, parameters)
        self.covered = cover_detector(mask, probe.detector_shape, disk=disk, ring=ring, device=cpu)

    def fill_masked(self, frames: torch.Tensor) -> None:
        """Put the background into the masked pixels of frames (m, det_y, det_x) float32, in place."""
        if self.covered is not None:
            self.covered.fill(frames)
            cell = self._filter.cell_px
            self.covered.fill_with_background(frames, local_background(frames, cell), cell)

    def __call__(
        self,
        frames: torch.Tensor,
        found: list[NDArray[np.float32]],
        exposures: NDArray[np.float32],
    ) -> list[NDArray[np.float32]]:
        """Thin the peaks, one (n, 3) array of x_px, y_px, intensity a frame, and add their significance: (n, 4).

        ``frames`` (m, det_y, det_x) float32; ``exposures`` (m,), how many patterns each of them is worth.
        """
        counts = [len(peaks) for peaks in found]
        cell = self._filter.cell_px
        background = local_background(frames, cell)
        flat = torch.from_numpy(np.concatenate([np.zeros((0, 3), dtype=np.float32), *found]))
        frame = torch.from_numpy(np.repeat(np.arange(len(found)), counts))
        row, column = (
            (flat[:, axis].round().long() // cell).clamp(0, background.shape[size] - 1)
            for axis, size in ((1, 1), (0, 2))
        )
        visible = None
        if self.covered is not None:
            visible = self.covered.visible_at(flat[:, 1], flat[:, 0])
            flat[:, 2] /= visible.clamp(min=LEAST_VISIBLE)
        bright, significance = self._filter.bright_enough(
            flat[:, 2],
            background[frame, row, column],
            self._parameters,
            exposures=torch.from_numpy(exposures)[frame],
            visible=visible,
        )
        if visible is not None:
            bright &= visible >= LEAST_VISIBLE
        values = torch.cat([flat, significance[:, None]], dim=1).numpy()
        ends = np.cumsum(counts)[:-1]
        return [
            peaks[kept]
            for peaks, kept in zip(np.split(values, ends), np.split(bright.numpy(), ends), strict=True)
        ]


def _block(
    positions: NDArray[np.int64],
    found: list[NDArray[np.float32]],
    progress: Progress,
    *,
    unreadable_frames: int = 0,
) -> DetectedBlock:
    flat = np.concatenate(found) if found else np.zeros((0, 4), dtype=np.float32)
    offsets = np.zeros(len(found) + 1, dtype=np.int64)
    np.cumsum([len(peaks) for peaks in found], out=offsets[1:])
    return DetectedBlock(
        positions=np.asarray(positions, dtype=np.int64),
        x_px=np.ascontiguousarray(flat[:, 0]),
        y_px=np.ascontiguousarray(flat[:, 1]),
        intensity=np.ascontiguousarray(flat[:, 2]),
        offsets=offsets,
        progress=progress,
        significance=np.ascontiguousarray(flat[:, 3]),
        unreadable_frames=unreadable_frames,
    )
