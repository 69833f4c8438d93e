"""Bad pixels that touch are found like single ones, and neither disks nor a saturated beam are taken for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from detection_frames import known_frames
from napari_stem_orient.detection.bad_pixels import find_bad_pixels, find_saturation
from napari_stem_orient.detection.detector_mask import fill_masked
from napari_stem_orient.detection.probe import measure_direct_beam

GROUPS: dict[str, list[Any]] = {
    "block of 2 x 2": [np.s_[30:32, 70:72]],
    "block of 3 x 3 beside the beam": [np.s_[40:43, 54:57]],
    "L": [np.s_[20:24, 20], np.s_[23, 20:24]],
    "row": [np.s_[20, :]],
    "two rows": [np.s_[20:22, :]],
    "column through the beam": [np.s_[:, 48]],
    "row of one part of the detector": [np.s_[30, :48]],
    "row at the edge": [np.s_[0, :]],
    "row and column that cross": [np.s_[20, :], np.s_[:, 70]],
}


def sample(*, radius: float = 3.0, background: float = 2.0) -> NDArray[np.int64]:
    """64 patterns with a direct beam in the middle and disks at other places in each."""
    return known_frames(64, background=background, radius=radius).frames.astype(np.int64)


@pytest.mark.parametrize("fluctuates", [False, True])
@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("name", GROUPS)
def test_bright_groups_are_found_whole_and_nothing_else(name: str, dtype: type, fluctuates: bool) -> None:
    truth = np.zeros((96, 96), dtype=bool)
    for place in GROUPS[name]:
        truth[place] = True
    frames = sample()
    n_bad = int(truth.sum())
    frames[:, truth] = np.random.default_rng(2).poisson(3000, (64, n_bad)) if fluctuates else 3000
    found = find_bad_pixels(frames.astype(dtype))
    np.testing.assert_array_equal(found.hot, truth)
    assert not found.dead.any()
    assert find_saturation(frames.astype(dtype), found.mask) is None
    mean = fill_masked(frames.mean(axis=0).astype(np.float32), found.mask)
    beam = measure_direct_beam(mean)
    assert np.hypot(beam.y_px - 48, beam.x_px - 48) < 3


def test_a_column_at_the_limit_is_bad_and_a_beam_at_the_limit_is_not() -> None:
    frames = sample()
    limit = int(frames[:, 48, 48].mean()) // 3
    frames = np.minimum(frames, limit)
    beam_only = find_bad_pixels(frames.astype(np.uint16))
    assert not beam_only.mask.any()
    assert find_saturation(frames.astype(np.uint16), beam_only.mask) is not None
    frames[:, :, 70] = frames[:, 10:12, 10:12] = limit
    found = find_bad_pixels(frames.astype(np.uint16))
    assert found.hot[:, 70].all()
    assert found.hot[10:12, 10:12].all()
    assert found.mask.sum() == 96 + 4
    assert find_saturation(frames.astype(np.uint16), found.mask) is not None


def test_a_saturated_beam_is_not_bad_below_a_row_that_is_brighter() -> None:
    frames = sample()
    frames = np.minimum(frames, int(frames[:, 48, 48].mean()) // 3)
    frames[:, 20] = 60_000
    found = find_bad_pixels(frames.astype(np.uint16))
    assert found.hot[20].all()
    assert found.mask.sum() == 96
    assert find_saturation(frames.astype(np.uint16), found.mask) is not None


@pytest.mark.parametrize("radius", [1.5, 3.0, 6.0])
@pytest.mark.parametrize("limit", [255, 4095, 65535])
def test_disks_of_a_single_crystal_are_where_they_are_in_every_pattern_and_not_bad(
    radius: float, limit: int
) -> None:
    rows, columns = np.indices((96, 96))
    pattern = np.full((96, 96), 2.0)
    for spot, (y, x) in enumerate([(48.3, 47.6), (20, 31), (70, 30.4), (25.5, 71), (75, 70.7), (48, 80.2)]):
        disk = 1 / (1 + np.exp(np.clip(3 * (np.hypot(rows - y, columns - x) - radius), -50, 50)))
        pattern += (20_000 if spot == 0 else 1000 * spot) * disk
    frames = np.random.default_rng(3).poisson(pattern, (64, 96, 96))
    assert not find_bad_pixels(np.minimum(frames, limit).astype(np.uint16)).mask.any()


def test_a_dead_part_of_the_detector_and_a_gap_in_the_shape_of_a_cross_are_dead() -> None:
    for places in ([np.s_[:48, :48]], [np.s_[30:32, :], np.s_[:, 30:32]]):
        frames, truth = sample(background=20.0), np.zeros((96, 96), dtype=bool)
        for place in places:
            truth[place] = True
        frames[:, truth] = 0
        found = find_bad_pixels(frames.astype(np.uint16))
        np.testing.assert_array_equal(found.dead, truth)
        assert not found.hot.any()


def test_a_diffuse_streak_is_no_bad_row() -> None:
    rows, columns = np.indices((96, 96))
    streak = 300 * np.exp(-((rows - 48) ** 2) / 2 / 1.2**2) * np.exp(-np.abs(columns - 48) / 25) + 2
    frames = np.random.default_rng(4).poisson(streak, (64, 96, 96)).astype(np.uint16)
    assert not find_bad_pixels(frames).mask.any()
