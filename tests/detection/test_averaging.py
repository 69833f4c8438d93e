"""Averaging over neighbours adds electrons within a grain, and none across a boundary."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import dask.array as da
import numpy as np
import pytest
from numpy.typing import NDArray

from detection_frames import disk_image
from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.detection.averaging import averaged_pattern, frames_to_search
from napari_stem_orient.detection.correlation import detect_bragg_peaks
from napari_stem_orient.detection.parameters import DetectionParameters
from napari_stem_orient.detection.probe import synthetic_probe

SHAPE = (48, 48)
MIDDLE = 23.5
AVERAGED = DetectionParameters(averaging="neighbours", min_spacing_px=5.0, min_significance=3.8)
#: Row and column of the reflections of two grains.
LEFT = np.array([[10.0, 12.0], [37.0, 35.0], [12.0, 36.0], [35.0, 11.0]])
RIGHT = np.array([[8.0, 24.0], [39.0, 23.0], [24.0, 8.0], [23.0, 39.0]])


def expected(reflections: NDArray[np.float64], counts: float) -> NDArray[np.float64]:
    y = np.append(reflections[:, 0], MIDDLE)
    x = np.append(reflections[:, 1], MIDDLE)
    strength = np.append(np.full(len(reflections), counts), 4000.0)
    return disk_image(SHAPE, y, x, strength, 2.5) + 0.1


def two_grains(*, counts: float = 80.0, columns: int = 8, seed: int = 0) -> NDArray[np.uint16]:
    """(6, columns) scan whose left half shows other reflections than its right half."""
    rng = np.random.default_rng(seed)
    half = columns // 2
    images = [expected(LEFT, counts)] * half + [expected(RIGHT, counts)] * (columns - half)
    return rng.poisson(np.array(images)[None].repeat(6, axis=0)).astype(np.uint16)


def as_scan(frames: NDArray[Any], *, chunks: tuple[int, int] = (6, 8)) -> DataCube:
    data = da.from_array(frames, chunks=(*chunks, -1, -1))
    return DataCube(data, Calibration(origin_px=(MIDDLE, MIDDLE)), name="two grains")


def gathered(
    datacube: DataCube, positions: NDArray[np.bool_] | None = None, *, mask: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Averaged frames (n, det_y, det_x) and exposures (n,), in order of position; zero where not asked for."""
    frames = np.zeros((datacube.n_positions, *SHAPE), dtype=np.float32)
    exposures = np.zeros(datacube.n_positions, dtype=np.float32)
    for block in frames_to_search(datacube, AVERAGED, positions, mask=mask):
        frames[block.positions], exposures[block.positions] = block.frames, block.exposures
    return frames, exposures


def finish(job: Generator[Any, None, BraggPeaks]) -> BraggPeaks:
    while True:
        try:
            next(job)
        except StopIteration as stop:
            result: BraggPeaks = stop.value
            return result


def test_inside_a_grain_nine_patterns_count_and_at_the_corner_of_the_scan_four() -> None:
    frames, exposures = gathered(as_scan(two_grains(counts=200)))
    exposures = exposures.reshape(6, 8)
    assert exposures[2, 1] == pytest.approx(9, abs=0.3)
    assert exposures[0, 0] == pytest.approx(4, abs=0.2)
    # counting noise between the disks falls with the number of patterns that count
    between = frames.reshape(6, 8, *SHAPE)[2, 1][expected(LEFT, 200) <= 0.1]
    assert between.var() == pytest.approx(0.1 / 9, rel=0.15)


def test_nothing_of_another_grain_is_averaged_in() -> None:
    frames, exposures = gathered(as_scan(two_grains()))
    at_boundary = frames.reshape(6, 8, *SHAPE)[:, 3]
    for y, x in RIGHT.astype(int):
        strange = at_boundary[:, y - 2 : y + 3, x - 2 : x + 3].sum(axis=(1, 2)) - 25 * 0.1
        assert strange.mean() < 0.05 * 80
    assert (exposures.reshape(6, 8)[1:-1, 3] > 4).all()


@pytest.mark.parametrize("chunks", [(1, 8), (2, 3), (6, 1), (4, 8)])
def test_how_the_file_is_cut_changes_nothing_and_nothing_is_read_twice(chunks: tuple[int, int]) -> None:
    frames = two_grains()
    whole, exposures = gathered(as_scan(frames))
    reads = np.zeros((6, 8), dtype=int)

    def read(block: NDArray[Any], block_info: Any = None) -> NDArray[Any]:
        (top, bottom), (left, right) = block_info[0]["array-location"][:2]
        reads[top:bottom, left:right] += 1
        return block

    cut = as_scan(frames, chunks=chunks)
    counted = DataCube(da.map_blocks(read, cut.data, dtype=frames.dtype, meta=frames[:0]), cut.calibration)
    reads[:] = 0
    parts, in_parts = gathered(counted)
    np.testing.assert_allclose(parts, whole, atol=1e-4)
    np.testing.assert_allclose(in_parts, exposures, rtol=1e-4)
    assert reads.max() == 1


def test_positions_that_are_not_wanted_still_help_their_neighbours() -> None:
    datacube = as_scan(two_grains())
    whole, exposures = gathered(datacube)
    wanted = np.zeros(48, dtype=bool)
    wanted[[9, 30]] = True
    some, in_some = gathered(datacube, wanted)
    np.testing.assert_allclose(some[wanted], whole[wanted], atol=1e-4)
    assert in_some[wanted] == pytest.approx(exposures[wanted])
    assert not in_some[~wanted].any()


def test_the_preview_shows_the_frame_that_is_searched() -> None:
    datacube = as_scan(two_grains())
    whole, exposures = gathered(datacube)
    frame, parameters = averaged_pattern(datacube, AVERAGED, 2, 3)
    np.testing.assert_allclose(frame, whole.reshape(6, 8, *SHAPE)[2, 3], atol=1e-4)
    assert parameters.counts_per_electron == pytest.approx(1 / exposures.reshape(6, 8)[2, 3])
    alone, same = averaged_pattern(datacube, DetectionParameters(), 2, 3)
    np.testing.assert_array_equal(alone, datacube.pattern(2, 3))
    assert same == DetectionParameters()


def test_disks_too_weak_for_one_pattern_are_found_in_nine_and_keep_their_intensity() -> None:
    weak = np.array([[24.0, 8.0]])
    images = expected(LEFT, 80) + disk_image(SHAPE, weak[:, 0], weak[:, 1], np.array([5.0]), 2.5)
    frames = np.random.default_rng(1).poisson(images, (6, 8, *SHAPE)).astype(np.uint16)
    found = {}
    for averaging in ("none", "neighbours"):
        parameters = AVERAGED.model_copy(update={"averaging": averaging})
        peaks = finish(
            detect_bragg_peaks(
                as_scan(frames), probe=synthetic_probe(2.5, SHAPE), parameters=parameters, device="cpu"
            )
        )
        near = np.hypot(peaks.y_px - 24, peaks.x_px - 8) < 2
        found[averaging] = near.sum() / 48, peaks.intensity[near].mean() if near.any() else np.nan
    assert found["none"][0] < 0.5
    assert found["neighbours"][0] > 0.9
    assert found["neighbours"][1] == pytest.approx(5, rel=0.25)


def test_pixels_that_are_no_numbers_stay_so_and_spoil_no_neighbour() -> None:
    frames = two_grains().astype(np.float32)
    frames[2, 1, 5, 6] = np.nan
    averaged, _ = gathered(as_scan(frames))
    bad = ~np.isfinite(averaged)
    assert bad.sum() == 1
    assert bad.reshape(6, 8, *SHAPE)[2, 1, 5, 6]


def test_patterns_are_not_alike_for_sharing_hot_pixels() -> None:
    frames = two_grains()
    _, expected_exposures = gathered(as_scan(frames))
    mask = np.zeros(SHAPE, dtype=bool)
    mask[2::5, 2] = mask[2::5, 45] = True
    frames[:, :, mask] = 5000
    spoilt, without_mask = gathered(as_scan(frames))
    found, exposures = gathered(as_scan(frames), mask=mask)
    np.testing.assert_allclose(exposures, expected_exposures, rtol=0.05)
    assert np.abs(without_mask - expected_exposures).max() > 2
    assert found[:, mask].max() < 5 < spoilt[:, mask].min()
    with pytest.raises(ValueError, match="use a mask of this detector"):
        gathered(as_scan(frames), mask=np.zeros((8, 8), dtype=bool))
