"""The pedestal of a detector is what a pixel reads without an electron; scattering is none, however even it is."""

from __future__ import annotations

from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from numpy.typing import NDArray

from napari_stem_orient.core.pedestal import find_pedestal, measure_pedestal
from napari_stem_orient.io.scans import open_datacube

SHAPE = (96, 96)


def mean_pattern(*, diffuse: float = 0.0, even: float = 0.3) -> NDArray[np.float64]:
    """Electrons in a pixel: a direct beam, scattering that falls off with the distance, and some that does not."""
    rows, columns = np.indices(SHAPE)
    distance = np.hypot(rows - 48, columns - 47)
    beam = 900.0 * np.clip(4.5 - distance, 0, 1)
    spokes = np.abs(np.sin(3 * np.arctan2(rows - 48, columns - 47)))
    disks = 200.0 * np.clip(4.5 - np.abs(distance - 25) - 3 * spokes, 0, 1)
    return np.asarray(beam + disks + diffuse * np.exp(-distance / 15) + even, dtype=np.float64)


def counted(
    electrons: NDArray[np.float64], *, gain: float = 1.0, readout: float = 0.0
) -> NDArray[np.float64]:
    """Patterns of 4 x 9 positions, as a detector counts them that reads 0 without electrons."""
    rng = np.random.default_rng(5)
    counts = gain * rng.poisson(electrons, (4, 9, *SHAPE)) + readout * rng.normal(size=(4, 9, *SHAPE))
    return np.asarray(np.rint(counts), dtype=np.float64)


def measured(values: NDArray[np.generic]) -> float:
    return measure_pedestal(da.from_array(values, chunks=(2, 3, *SHAPE)))


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("pedestal", [0, 100, 1000, 32768])
def test_a_counting_detector_shows_its_pedestal_exactly(pedestal: int, dtype: type) -> None:
    assert measured((counted(mean_pattern(diffuse=5.0)) + pedestal).astype(dtype)) == pedestal


def test_an_offset_below_zero_is_found_in_whole_and_in_broken_numbers() -> None:
    counts = counted(mean_pattern())
    assert measured((counts - 100).astype(np.int16)) == -100
    assert measured((counts - 0.6).astype(np.float32)) == pytest.approx(-0.6)
    assert measured(((counts + 100) / 1000).astype(np.float32)) == pytest.approx(0.1)


@pytest.mark.parametrize("gain", [1.0, 20.0])
@pytest.mark.parametrize("pedestal", [500, -300])
def test_a_camera_with_readout_noise_shows_its_pedestal_within_that_noise(pedestal: int, gain: float) -> None:
    values = counted(mean_pattern(), gain=gain, readout=3.0) + pedestal
    # what is left over makes noise like this by counting: 9 counts squared, over the gain as far as it can be told
    assert measured(values.astype(np.int32)) == pytest.approx(pedestal, abs=18)


@pytest.mark.parametrize("even", [6.0, 20.0, 100.0])
@pytest.mark.parametrize("diffuse", [0.0, 300.0])
def test_even_scattering_is_no_pedestal_and_is_told_from_one_below_it(even: float, diffuse: float) -> None:
    counts = counted(mean_pattern(diffuse=diffuse, even=even))
    assert measured(counts.astype(np.uint16)) == 0
    assert measured((counts / 1000).astype(np.float32)) == 0
    if even < 100:
        assert measured((counts + 300).astype(np.uint16)) == pytest.approx(300, abs=even)


def test_background_that_was_subtracted_is_left_as_it_is() -> None:
    values = counted(mean_pattern(even=40.0), readout=2.0) - 40.0
    assert measured(values.astype(np.int16)) == 0
    assert measured(values.astype(np.float32)) == 0


def test_patterns_without_noise_keep_what_little_is_in_their_emptiest_parts() -> None:
    pattern = np.broadcast_to(mean_pattern(diffuse=2000.0, even=0.0), (4, 9, *SHAPE))
    assert measured(pattern.astype(np.float32)) == 0
    assert measured(np.rint(pattern).astype(np.uint16)) == 0


def test_dead_parts_missing_patterns_and_nan_do_not_hide_it() -> None:
    values = (counted(mean_pattern()) + 100).astype(np.float32)
    values[..., :48, :48] = 0
    values[..., 5, 5] = np.nan
    values[0, :5] = 0
    values[2, 2] = np.nan
    assert measured(values) == 100
    assert find_pedestal([np.zeros((8, *SHAPE), dtype=np.uint16)]) == 0


def test_an_opened_scan_holds_counts_above_the_pedestal_and_says_so(tmp_path: Path) -> None:
    counts = counted(mean_pattern())
    np.save(tmp_path / "scan.npy", (counts + 1000).astype(np.uint16))
    scan = open_datacube(tmp_path / "scan.npy")
    np.testing.assert_array_equal(scan.data.compute(), counts)
    assert scan.data.dtype == np.int32
    assert scan.pedestal == 1000
    assert scan.notes == (
        "a pixel that no electron hits reads 1,000 counts: 1,000 are subtracted everywhere",
    )
    as_it_is = open_datacube(tmp_path / "scan.npy", pedestal=0)
    np.testing.assert_array_equal(as_it_is.data.compute(), counts + 1000)
    assert as_it_is.notes == ()
    assert as_it_is.fingerprint != scan.fingerprint


def test_noise_below_the_pedestal_stays_below_zero(tmp_path: Path) -> None:
    values = counted(mean_pattern(), readout=3.0) + 500
    np.save(tmp_path / "camera.npy", values.astype(np.uint16))
    scan = open_datacube(tmp_path / "camera.npy", pedestal=500)
    np.testing.assert_array_equal(scan.data.compute(), values - 500)
    assert scan.data.min().compute() < 0


def test_the_patterns_of_a_stack_are_read_above_the_pedestal_too(tmp_path: Path) -> None:
    counts = counted(mean_pattern())
    np.save(tmp_path / "stack.npy", (counts.reshape(36, *SHAPE) - 100).astype(np.int16))
    scan = open_datacube(tmp_path / "stack.npy", scan_shape=(4, 9), lost=())
    for block in scan.scan_blocks():
        np.testing.assert_array_equal(block.frames, counts.reshape(36, *SHAPE)[block.positions])


def test_a_scan_of_which_half_is_missing_has_the_pedestal_of_the_other_half() -> None:
    frames = np.random.default_rng(0).poisson(0.05, (16, 4, 64, 64)).astype(np.uint16) + np.uint16(100)
    missing = np.zeros((16, 4), dtype=bool)
    missing[5:] = True
    frames[missing] = 0
    assert measure_pedestal(da.from_array(frames), missing) == 100
    assert measure_pedestal(da.from_array(frames), np.ones((16, 4), dtype=bool)) == 0
