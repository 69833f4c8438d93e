"""The jobs of the detector mask; heavy libraries are imported in the worker's thread, not in the window's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pathlib import Path

    from napari_stem_orient.core.datacube import DataCube
    from napari_stem_orient.detection.parameters import DetectionParameters
    from napari_stem_orient.detection.probe import DirectBeam, ProbeTemplate
    from napari_stem_orient.detection.suggestion import Suggestion


@dataclass(frozen=True, slots=True, eq=False)
class FoundMask:
    """Pixels of a detector that are not usable, as a sample of the scan shows.

    ``bad`` and ``beam_stop`` are (det_y, det_x) bool; ``bad_words`` says how many hot and dead pixels there are
    ("3 hot pixels are left out"), ``saturated_words`` that the direct beam is too bright; both "" where it is not so.
    """

    bad: NDArray[np.bool_]
    beam_stop: NDArray[np.bool_]
    bad_words: str
    saturated_words: str


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredScan:
    """What one sample of a scan tells: its bad pixels, and what to detect it with or why that cannot be told."""

    found: FoundMask
    suggestion: Suggestion | str


def measured_scan(datacube: DataCube) -> MeasuredScan:
    """Look for bad pixels, and choose beam, template and parameters without them; all from one sample."""
    from napari_stem_orient.detection.suggestion import sample_frames, suggest_detection

    frames = sample_frames(datacube)
    found = find_mask(frames)
    try:
        return MeasuredScan(found, suggest_detection(datacube, mask=found.bad, frames=frames))
    except ValueError as error:
        return MeasuredScan(found, str(error))


def found_mask(datacube: DataCube) -> FoundMask:
    """Look for unusable pixels in a sample of the scan."""
    from napari_stem_orient.detection.suggestion import sample_frames

    return find_mask(sample_frames(datacube))


def find_mask(frames: NDArray[np.generic]) -> FoundMask:
    """Look for unusable pixels in frames (n, det_y, det_x)."""
    from napari_stem_orient.detection.bad_pixels import (
        BadPixels,
        find_bad_pixels,
        find_beam_stop,
        find_saturation,
    )
    from napari_stem_orient.detection.detector_mask import fill_masked

    bad = find_bad_pixels(frames)
    saturation = find_saturation(frames, bad.mask)
    mean = np.nan_to_num(frames.mean(axis=0, dtype=np.float64), posinf=0.0, neginf=0.0).astype(np.float32)
    beam_stop = find_beam_stop(fill_masked(mean, bad.hot))
    bad = BadPixels(bad.hot, bad.dead & ~beam_stop)  # one that lets nothing through looks like a dead patch
    words = "" if saturation is None else saturation.sentence()
    return FoundMask(bad.mask, beam_stop, bad.sentence(), words)


def suggested_parameters(
    datacube: DataCube, beam: DirectBeam, probe: ProbeTemplate, mask: NDArray[np.bool_] | None
) -> DetectionParameters:
    """Choose the parameters that suit a template, from the usable pixels."""
    from napari_stem_orient.detection.suggestion import suggest_parameters

    return suggest_parameters(datacube, beam, probe=probe, mask=mask)


def opened_mask(path: Path, detector_shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Read a mask of this detector from a file."""
    from napari_stem_orient.core.usable_pixels import check_mask
    from napari_stem_orient.io.detector_masks import open_detector_mask

    mask = open_detector_mask(path, detector_shape=detector_shape)
    check_mask(mask, detector_shape)
    return mask


def saved_mask(mask: NDArray[np.bool_], path: Path) -> Path:
    """Write a mask to a file."""
    from napari_stem_orient.io.detector_masks import save_detector_mask

    save_detector_mask(mask, path)
    return path


def described_mask(mask: NDArray[np.bool_] | None) -> dict[str, Any] | None:
    """What peaks that are made with a mask keep of it; quick, but for the first time."""
    if mask is None:
        return None
    from napari_stem_orient.detection.detector_mask import describe_mask

    return describe_mask(mask)
