"""What is not in a file is nothing: not what stands in for it there, and never below zero."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr

from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.io.scans import open_datacube

N = 64


def counted() -> np.ndarray:
    """(6, 6, 64, 64) uint16; a beam of some 60 electrons in single counts, as a camera without readout noise has it."""
    rng = np.random.default_rng(0)
    y, x = np.indices((N, N))
    beam = 60 * np.exp(-((y - 32) ** 2 + (x - 32) ** 2) / 18)
    return rng.poisson(0.3 + beam, (6, 6, N, N)).astype(np.uint16)


COUNTED = counted()


def without(path: Path, *gone: str, fill: float, chunks: tuple[int, ...], dtype: str = "u2") -> DataCube:
    """The scan on a pedestal of 1000 in a zarr folder that has lost some of its chunks."""
    data = COUNTED.astype(dtype) + np.asarray(1000, dtype)
    array = zarr.create_array(
        str(path),
        shape=data.shape,
        dtype=data.dtype,
        chunks=chunks,
        fill_value=fill,
        config={"write_empty_chunks": True},
        zarr_format=2,
    )
    array[...] = data
    for key in gone:
        (path / key).unlink()
    return open_datacube(path)


@pytest.mark.parametrize("fill", [0, 7, 1000, 65535])
def test_a_missing_pattern_on_a_pedestal_is_zero_whatever_stands_in_for_it(
    tmp_path: Path, fill: float
) -> None:
    cube = without(tmp_path / "scan.zarr", "1.1.0.0", fill=fill, chunks=(2, 2, N, N))
    expected = COUNTED.astype(np.int32)
    expected[2:4, 2:4] = 0
    assert cube.pedestal == 1000
    assert np.array_equal(cube.data.compute(), expected)
    assert cube.missing is not None
    assert np.argwhere(cube.missing).tolist() == [[2, 2], [2, 3], [3, 2], [3, 3]]


def test_a_missing_part_of_the_detector_is_zero_and_does_not_hide_the_pedestal(tmp_path: Path) -> None:
    gone = [f"{row}.{column}.0.0" for row in range(3) for column in range(3)]
    cube = without(tmp_path / "scan.zarr", *gone, fill=0, chunks=(2, 2, 32, 32))
    expected = COUNTED.astype(np.int32)
    expected[..., :32, :32] = 0
    assert cube.pedestal == 1000
    assert np.array_equal(cube.data.compute(), expected)
    assert cube.missing is None
    assert "count as 0: part of the detector is missing at 36" in cube.notes[0]


def test_missing_data_that_the_file_gives_as_no_numbers_stay_so(tmp_path: Path) -> None:
    cube = without(tmp_path / "scan.zarr", "1.1.0.0", fill=float("nan"), chunks=(2, 2, N, N), dtype="f4")
    assert np.isnan(cube.data[2, 2].compute()).all()
    assert "are no numbers" in cube.notes[0]


def test_rows_that_an_hdf5_recording_never_wrote_are_zero_on_a_pedestal(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        data = file.create_dataset("data", COUNTED.shape, "u2", chunks=(1, 6, N, N), fillvalue=3)
        data[:4] = COUNTED[:4] + 1000
    cube = open_datacube(tmp_path / "scan.h5")
    assert cube.pedestal == 1000
    assert np.array_equal(cube.data[:4].compute(), COUNTED[:4])
    assert not cube.data[4:].compute().any()
    assert cube.n_missing == 12


def test_frames_that_are_left_out_of_a_stack_leave_the_missing_ones_where_they_are(tmp_path: Path) -> None:
    stack = COUNTED.reshape(36, N, N) + 1000
    array = zarr.create_array(
        str(tmp_path / "stack.zarr"), shape=stack.shape, dtype=stack.dtype, chunks=(1, N, N), zarr_format=2
    )
    array[...] = stack
    (tmp_path / "stack.zarr" / "10.0.0").unlink()
    cube = open_datacube(tmp_path / "stack.zarr", scan_shape=(5, 6), first_frame=4)
    assert cube.missing is not None
    assert np.flatnonzero(cube.missing).tolist() == [6]  # frame 10, counted from 4
    assert np.array_equal(cube.data[1, 1].compute(), COUNTED.reshape(36, N, N)[11])
    assert not cube.data[1, 0].compute().any()
