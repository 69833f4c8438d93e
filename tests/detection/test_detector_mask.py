"""Detector masks: filling, finding hot and dead pixels, beam stop and saturation."""

import numpy as np
import pytest
import torch

from napari_stem_orient.detection.detector_mask import fill_masked


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
