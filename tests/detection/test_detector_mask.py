"""Detector masks: what stands in for masked pixels, and which disks are still found beside them."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from detection_frames import as_datacube, disk_image, known_frames
from napari_stem_orient.core.bragg_peaks import BraggPeaks, DetectedBlock
from napari_stem_orient.detection.correlation import detect_bragg_peaks, detect_in_frames
from napari_stem_orient.detection.detector_mask import describe_mask, fill_masked
from napari_stem_orient.detection.parameters import DetectionParameters
from napari_stem_orient.detection.probe import synthetic_probe

PROBE = synthetic_probe(4.0, (64, 64))
PARAMETERS = DetectionParameters(min_spacing_px=8, edge_px=4)


def test_a_masked_pixel_takes_the_background_around_it() -> None:
    frames = np.full((2, 16, 16), 5, dtype=np.float32)
    frames[1] = 8
    frames[:, 4, 7] = 60_000
    mask = np.zeros((16, 16), dtype=bool)
    mask[4, 7] = True
    filled = fill_masked(frames, mask)
    assert np.all(filled[0] == 5)
    assert np.all(filled[1] == 8)
    assert np.all(frames[:, 4, 7] == 60_000)


def test_a_masked_area_is_filled_from_its_border_even_where_a_disk_touches_it() -> None:
    frame = np.full((32, 32), 3, dtype=np.float32)
    frame[10:20, 10:20] = -1000
    frame[5:10, 14:16] = 900  # something bright at a twentieth of the border
    mask = np.zeros((32, 32), dtype=bool)
    mask[10:20, 10:20] = True
    filled = fill_masked(frame, mask)
    assert np.all(filled[mask] == 3)


def test_frames_are_filled_and_searched_however_they_lie_in_memory() -> None:
    known = known_frames(6, shape=(64, 64), radius=4.0, disks=3)
    mask = np.zeros((64, 64), dtype=bool)
    mask[30:50:5, 40] = True
    turned = np.ascontiguousarray(known.frames.transpose(0, 2, 1)).transpose(0, 2, 1)
    assert not turned.flags.c_contiguous
    assert np.array_equal(fill_masked(turned, mask), fill_masked(known.frames, mask))
    assert np.array_equal(fill_masked(torch.from_numpy(turned), mask), fill_masked(known.frames, mask))
    one, other = (
        detect_in_frames(frames, probe=PROBE, parameters=PARAMETERS, mask=mask, device="cpu")
        for frames in (turned, known.frames)
    )
    assert np.array_equal(one.x_px, other.x_px)


def test_a_masked_pixel_that_is_no_number_makes_no_frame_unreadable() -> None:
    frames = known_frames(6, shape=(64, 64), radius=4.0, disks=3).frames.astype(np.float32)
    frames[:, 30, 40] = np.nan
    frames[2, 31, 40] = np.inf
    mask = np.zeros((64, 64), dtype=bool)
    mask[30, 40] = True
    for averaging in ("none", "neighbours"):
        job = detect_bragg_peaks(
            as_datacube(frames, (2, 3)),
            probe=PROBE,
            parameters=PARAMETERS.model_copy(update={"averaging": averaging}),
            mask=mask,
            device="cpu",
        )
        assert finish(job).parameters["unreadable_frames"] == 1


def test_tensors_are_filled_like_arrays() -> None:
    rng = np.random.default_rng(3)
    frames = rng.poisson(4.0, (3, 24, 20)).astype(np.float32)
    mask = rng.random((24, 20)) < 0.1
    assert np.array_equal(fill_masked(torch.from_numpy(frames), mask).numpy(), fill_masked(frames, mask))


def test_without_a_mask_the_frames_themselves_come_back() -> None:
    frames = np.ones((2, 8, 8), dtype=np.float32)
    assert fill_masked(frames, None) is frames
    assert fill_masked(frames, np.zeros((8, 8), dtype=bool)) is frames


def test_a_mask_of_another_detector_or_of_the_whole_one_is_refused() -> None:
    frames = np.ones((2, 8, 8), dtype=np.float32)
    with pytest.raises(ValueError, match=r"shape \(8, 9\)"):
        fill_masked(frames, np.ones((8, 9), dtype=bool))
    with pytest.raises(ValueError, match="whole detector"):
        fill_masked(frames, np.ones((8, 8), dtype=bool))


def one_disk(*, y: float = 30.0, x: float = 30.0, counts: float = 40_000.0) -> NDArray[np.float32]:
    """Twelve noisy frames with one disk of radius 4 px on a background of 20 counts."""
    image = disk_image((64, 64), np.array([y]), np.array([x]), np.array([counts]), 4.0) + 20
    return np.random.default_rng(1).poisson(image, (12, 64, 64)).astype(np.float32)


def covered_beyond(column: float) -> NDArray[np.bool_]:
    """A beam stop over all columns from this one to eight further."""
    mask = np.zeros((64, 64), dtype=bool)
    mask[:, round(column) : round(column) + 9] = True
    return mask


def test_a_disk_that_is_covered_in_part_keeps_its_place_and_its_intensity() -> None:
    frames, mask = one_disk(x=30.3), covered_beyond(32)
    frames[:, mask] = 0
    bare = detect_in_frames(frames, probe=PROBE, parameters=PARAMETERS)
    found = detect_in_frames(frames, probe=PROBE, parameters=PARAMETERS, mask=mask)
    assert list(found.counts()) == [1] * 12
    assert np.abs(found.x_px - 30.3).max() < 0.15
    assert np.abs(found.y_px - 30.0).max() < 0.15
    assert np.median(found.intensity) == pytest.approx(40_000, rel=0.03)
    assert np.abs(np.median(bare.x_px) - 30.3) > 0.3
    assert np.median(bare.intensity) < 32_000


def test_a_disk_that_is_covered_by_more_than_half_is_left_out() -> None:
    mask = covered_beyond(29)
    frames = one_disk()
    frames[:, mask] = 0
    found = detect_in_frames(frames, probe=PROBE, parameters=PARAMETERS, mask=mask)
    assert np.all(np.abs(found.x_px - 30) > 4)


def test_a_masked_hot_pixel_is_no_disk_and_a_disk_around_it_is_one_still() -> None:
    clean = one_disk()
    frames = clean.copy()
    frames[:, 50, 12] = 60_000
    frames[:, 31, 29] = 60_000
    mask = np.zeros((64, 64), dtype=bool)
    mask[50, 12] = mask[31, 29] = True
    assert detect_in_frames(frames, probe=PROBE, parameters=PARAMETERS).counts().min() > 1
    found = detect_in_frames(frames, probe=PROBE, parameters=PARAMETERS, mask=mask)
    assert list(found.counts()) == [1] * 12
    whole = detect_in_frames(clean, probe=PROBE, parameters=PARAMETERS)
    np.testing.assert_allclose(found.intensity, whole.intensity, rtol=0.01)
    np.testing.assert_allclose(found.x_px, whole.x_px, atol=0.02)


def test_a_mask_changes_nothing_away_from_it() -> None:
    known = known_frames(6, shape=(64, 64), radius=4.0, disks=2, counts=(2000, 9000))
    mask = np.zeros((64, 64), dtype=bool)
    mask[0, 0] = True
    bare = detect_in_frames(known.frames, probe=PROBE, parameters=PARAMETERS)
    found = detect_in_frames(known.frames, probe=PROBE, parameters=PARAMETERS, mask=mask)
    assert np.array_equal(found.offsets, bare.offsets)
    np.testing.assert_allclose(found.x_px, bare.x_px, atol=1e-3)
    np.testing.assert_allclose(found.intensity, bare.intensity, rtol=1e-3)


def finish(job: Generator[DetectedBlock, None, BraggPeaks]) -> BraggPeaks:
    while True:
        try:
            next(job)
        except StopIteration as stop:
            peaks: BraggPeaks = stop.value
            return peaks


def test_peaks_made_with_another_mask_are_not_gone_on_with() -> None:
    datacube = as_datacube(one_disk(), (3, 4))
    mask = covered_beyond(50)
    made_with = finish(detect_bragg_peaks(datacube, probe=PROBE, parameters=PARAMETERS, mask=mask))
    assert made_with.parameters["mask"] == describe_mask(mask)
    again = detect_bragg_peaks(datacube, probe=PROBE, parameters=PARAMETERS, mask=mask, resume_from=made_with)
    assert finish(again).n_peaks == made_with.n_peaks
    for other in (None, covered_beyond(51)):
        job = detect_bragg_peaks(
            datacube, probe=PROBE, parameters=PARAMETERS, mask=other, resume_from=made_with
        )
        with pytest.raises(ValueError, match="another detector mask"):
            finish(job)


def test_an_empty_mask_is_no_mask() -> None:
    assert describe_mask(np.zeros((8, 8), dtype=bool)) is None
    assert describe_mask(None) is None


@pytest.mark.usefixtures("py4dstem")
def test_the_reference_detector_takes_the_mask_too() -> None:
    from napari_stem_orient.detection.py4dstem import detect_with_py4dstem

    mask = covered_beyond(32)
    mask[50, 12] = True
    frames = one_disk()
    frames[:, mask] = 60_000
    job = detect_with_py4dstem(as_datacube(frames, (3, 4)), probe=PROBE, parameters=PARAMETERS, mask=mask)
    peaks = finish(job)
    assert list(peaks.counts()) == [1] * 12
    assert peaks.parameters["mask"] == describe_mask(mask)
    assert np.median(peaks.intensity) == pytest.approx(40_000, rel=0.1)
