"""summarise shows a scan at once, coarsely, and then completes it."""

from __future__ import annotations

import threading
import tracemalloc
from typing import Any

import dask.array as da
import numpy as np
import pytest

from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.core.scan_summary import (
    FIRST_BYTES,
    ScanSummary,
    SummaryBlock,
    direct_beam_disk,
    summarise,
)


def run(cube: DataCube, **options: Any) -> tuple[list[SummaryBlock], ScanSummary]:
    job = summarise(cube, **options)
    blocks = []
    while True:
        try:
            blocks.append(next(job))
        except StopIteration as end:
            return blocks, end.value


def disks(scan_shape: tuple[int, int] = (6, 8)) -> np.ndarray:
    """Patterns of 48 x 64 px with a direct beam at (20, 30), radius 4, and a weaker disk that comes and goes."""
    y, x = np.indices((48, 64))
    beam = 100.0 * (np.hypot(y - 20, x - 30) <= 4)
    spot = np.hypot(y - 20, x - 50) <= 4
    strength = np.arange(np.prod(scan_shape)).reshape(scan_shape)
    return (beam + strength[..., None, None] * spot).astype(np.float32)


def test_virtual_images_separate_the_direct_beam_from_the_rest() -> None:
    patterns = disks()
    blocks, summary = run(DataCube(da.from_array(patterns, chunks=(2, 8, 48, 64)), Calibration()))
    assert summary.direct_beam_px == pytest.approx((20, 30), abs=0.2)
    outside = patterns[..., 40:].sum(axis=(2, 3))
    assert np.allclose(summary.dark_field, outside, rtol=1e-5)
    assert np.allclose(summary.bright_field + summary.dark_field, patterns.sum(axis=(2, 3)), rtol=1e-5)
    assert np.allclose(summary.mean_pattern, patterns.mean(axis=(0, 1)), rtol=1e-5)
    assert np.allclose(summary.maximum_pattern, patterns.max(axis=(0, 1)))
    assert summary.n_invalid == 0
    assert blocks[-1].progress.fraction == 1


def test_radii_of_the_dark_field_can_be_given() -> None:
    patterns = disks()
    _, summary = run(DataCube(da.from_array(patterns), Calibration()), dark_field_radii_px=(0, 8))
    assert summary.dark_field_radii_px == (0, 8)
    assert np.allclose(summary.dark_field, summary.dark_field[0, 0])
    assert np.allclose(summary.bright_field, 0)


def test_nan_and_infinite_patterns_count_as_zero_and_are_counted() -> None:
    patterns = disks()
    patterns[2, 3] = np.nan
    patterns[4, 4, 5, 5] = np.inf
    _, summary = run(DataCube(da.from_array(patterns), Calibration()))
    assert summary.n_invalid == 2
    assert summary.dark_field[2, 3] == 0
    assert np.isfinite(summary.mean_pattern).all()
    assert np.isfinite(summary.maximum_pattern).all()


@pytest.mark.parametrize("times", [1, 8], ids=["small", "large"])
def test_bad_pixels_are_in_no_image_and_not_the_direct_beam(times: int) -> None:
    patterns = np.tile(disks(), (times, times, 1, 1))
    clean = run(DataCube(da.from_array(patterns, chunks=(2, 8, 48, 64)), Calibration()))[1]
    bad = np.zeros((48, 64), dtype=bool)
    bad[1:7, 1:7] = True  # larger than any filter against single pixels
    patterns[..., bad] = 60000
    asked: list[int] = []

    def find_bad(frames: np.ndarray) -> np.ndarray:
        asked.append(len(frames))
        return (frames == 60000).all(axis=0)

    blocks, summary = run(
        DataCube(da.from_array(patterns, chunks=(2, 8, 48, 64)), Calibration()), find_bad=find_bad
    )
    assert summary.direct_beam_px == pytest.approx((20, 30), abs=0.2)
    assert np.allclose(summary.dark_field, clean.dark_field, rtol=1e-5)
    assert np.allclose(summary.bright_field, clean.bright_field, rtol=1e-5)
    assert summary.n_masked == 36
    assert summary.maximum_pattern[3, 3] == 60000  # the detector is shown as it is
    assert len(asked) == 1
    assert 16 <= asked[0] <= 128
    assert len(blocks[0].positions)  # there was an image before


def test_missing_patterns_do_not_tell_which_pixels_are_bad() -> None:
    patterns = disks()
    missing = np.zeros(patterns.shape[:2], dtype=bool)
    missing[:2] = True
    patterns[missing] = 0
    seen: list[np.ndarray] = []

    def find_bad(frames: np.ndarray) -> np.ndarray:
        seen.append(frames)
        return np.zeros((48, 64), dtype=bool)

    run(DataCube(da.from_array(patterns), Calibration(), missing=missing), find_bad=find_bad)
    assert len(seen[0]) == (~missing).sum()
    assert (seen[0].max(axis=(1, 2)) > 0).all()


def test_a_scan_of_zeros_is_summarised_as_zeros() -> None:
    _, summary = run(DataCube(da.zeros((3, 4, 16, 16), dtype=np.uint16), Calibration()))
    assert not summary.dark_field.any()
    assert not summary.mean_pattern.any()


class CountingScan:
    """A scan of 10 GB that is made when asked for, and counts what was asked for."""

    def __init__(self, chunks: tuple[int, int]) -> None:
        self.n_bytes = 0
        self._lock = threading.Lock()
        sizes = da.core.normalize_chunks((*chunks, 256, 256), (288, 256, 256, 256), dtype=np.uint16)
        data = da.map_blocks(self._make, chunks=sizes, dtype=np.uint16, meta=np.empty((0,) * 4, np.uint16))
        self.cube = DataCube(data, Calibration())

    def _make(self, block_info: Any = None) -> np.ndarray:
        frames = np.full(block_info[None]["chunk-shape"], 3, dtype=np.uint16)
        frames[..., 120:136, 120:136] = 200
        with self._lock:
            self.n_bytes += frames.nbytes
        return frames


@pytest.mark.parametrize("chunks", [(8, 8), (1, 64), (1, 256)])
def test_the_first_image_of_a_large_scan_costs_little(chunks: tuple[int, int]) -> None:
    scan = CountingScan(chunks)
    assert scan.cube.data.nbytes > 9e9
    image = np.full(scan.cube.scan_shape, np.nan, dtype=np.float32)
    tracemalloc.start()
    job = summarise(scan.cube)
    first = next(job)
    assert scan.n_bytes <= FIRST_BYTES
    first.paint(image)
    assert np.isfinite(image).all()
    for block in job:
        if block.stride == (1, 1):
            break
        assert block.progress.done == 0
    job.close()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert scan.n_bytes < 0.35 * scan.cube.data.nbytes
    assert peak < 4 * FIRST_BYTES


def test_coarse_values_fill_their_step_until_the_final_ones_come() -> None:
    values = np.array([7.0, 9.0], dtype=np.float32)
    coarse = SummaryBlock(np.array([6, 9]), values, values, np.zeros((2, 2)), None, stride=(3, 3))  # type: ignore[arg-type]
    image = np.zeros((4, 5), dtype=np.float32)
    coarse.paint(image)
    assert image[:3, :3].tolist() == [[7, 7, 7]] * 3
    assert image[0, 3:].tolist() == [9, 9]
    assert image[3].tolist() == [0] * 5
    final = SummaryBlock(np.array([6]), values[:1], values[:1], np.zeros((2, 2)), None)  # type: ignore[arg-type]
    final.paint(image, values=np.array([1.0]))
    assert image[1, 1] == 1
    assert image[0, 0] == 7


def test_the_direct_beam_is_found_though_one_pixel_is_hot() -> None:
    pattern = disks((1, 1))[0, 0]
    pattern[5, 5] = 1e6
    y, x, radius = direct_beam_disk(pattern)
    assert (y, x) == pytest.approx((20, 30), abs=0.3)
    assert radius == pytest.approx(4, abs=0.6)


def test_a_summary_can_be_stopped_at_any_record() -> None:
    job = summarise(DataCube(da.from_array(disks(), chunks=(1, 8, 48, 64)), Calibration()))
    next(job)
    job.close()
    with pytest.raises(StopIteration):
        next(job)
