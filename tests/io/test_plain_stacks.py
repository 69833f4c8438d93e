"""Stacks that say little of themselves: EMPAD numbers without their .xml, TIFF pages, lines and single patterns."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from napari_stem_orient.io.scan_kinds import may_be_scan
from napari_stem_orient.io.scan_source import NeedsScanShape, SingleImage, UnreadableScan
from napari_stem_orient.io.scans import list_datasets, open_datacube
from scan_files import SCAN, STACK, hyperspy_signal

FRAMES = np.random.default_rng(0).poisson(3, (6, 128, 128)).astype("<f4")


def write_empad(path: Path, frames: np.ndarray = FRAMES) -> Path:
    own_rows = np.full((len(frames), 2, 128), 7, "<f4")
    np.concatenate([frames, own_rows], axis=1).tofile(path)
    return path


def test_empad_numbers_are_known_by_their_size_and_lose_the_rows_of_the_detector(tmp_path: Path) -> None:
    path = write_empad(tmp_path / "run.raw")
    assert may_be_scan(path)
    with pytest.raises(NeedsScanShape, match="6 patterns"):
        open_datacube(path)
    cube = open_datacube(path, scan_shape=(2, 3))
    assert np.array_equal(cube.data.compute(), FRAMES.reshape(2, 3, 128, 128))
    assert ".xml that describes it is missing" in cube.notes[0]


def test_the_scan_shape_in_the_name_of_an_empad_file_is_used_where_it_fits(tmp_path: Path) -> None:
    cube = open_datacube(write_empad(tmp_path / "scan_x3_y2.raw"))  # EMPAD writes columns first
    assert cube.scan_shape == (2, 3)
    assert "in the file's name" in cube.notes[1]
    with pytest.raises(NeedsScanShape):
        open_datacube(write_empad(tmp_path / "scan_x4_y4.raw"))


def test_raw_files_of_other_detectors_are_told(tmp_path: Path) -> None:
    (tmp_path / "size.raw").write_bytes(bytes(256 * 256 * 2 * 4 - 10))
    numbers = np.random.default_rng(0).integers(0, 2**32, 130 * 128 * 4, dtype=np.uint32)
    numbers.tofile(tmp_path / "kind.raw")
    for name in ("size.raw", "kind.raw"):
        assert not may_be_scan(tmp_path / name)
        with pytest.raises(
            UnreadableScan, match=r"bare numbers .* 66,560 bytes a frame of 130 x 128 float32"
        ):
            open_datacube(tmp_path / name)


# --- TIFF ---------------------------------------------------------------------------------------------------------

TIFFS = {
    "pages": {},
    "tiles": {"tile": (16, 16)},
    "big": {"bigtiff": True, "byteorder": ">"},
    "zipped": {"compression": "zlib"},
    "imagej": {"imagej": True},
}


@pytest.mark.parametrize("kind", TIFFS)
def test_tiff_stacks_are_read_page_by_page(tmp_path: Path, kind: str) -> None:
    tifffile.imwrite(tmp_path / "stack.tif", STACK, photometric="minisblack", **TIFFS[kind])
    with pytest.raises(NeedsScanShape, match="24 patterns"):
        open_datacube(tmp_path / "stack.tif")
    cube = open_datacube(tmp_path / "stack.tif", scan_shape=(4, 6))
    assert np.array_equal(cube.data.compute(), SCAN)
    assert np.array_equal(cube.pattern(2, 3), SCAN[2, 3])


@pytest.mark.parametrize("options", [{}, {"imagej": True}], ids=["shaped", "hyperstack"])
def test_tiff_hyperstacks_know_their_scan(tmp_path: Path, options: dict[str, bool]) -> None:
    tifffile.imwrite(tmp_path / "scan.tiff", SCAN.astype(np.uint16), photometric="minisblack", **options)
    assert np.array_equal(open_datacube(tmp_path / "scan.tiff").data.compute(), SCAN)


def test_tiff_stacks_of_different_sizes_are_datasets_and_pictures_are_refused(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "two.tif") as file:
        file.write(STACK, photometric="minisblack")
        file.write(STACK[:, :4], photometric="minisblack")
    assert [info.shape for info in list_datasets(tmp_path / "two.tif")] == [(24, 8, 8), (24, 4, 8)]
    tifffile.imwrite(tmp_path / "photo.tif", np.zeros((20, 30, 3), np.uint8), photometric="rgb")
    with pytest.raises(UnreadableScan, match="colour pictures"):
        open_datacube(tmp_path / "photo.tif")


def test_a_tiff_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "stack.tif", STACK, photometric="minisblack", compression="zlib")
    whole = (tmp_path / "stack.tif").read_bytes()
    (tmp_path / "stack.tif").write_bytes(whole[: len(whole) * 6 // 10])
    with pytest.raises(UnreadableScan):
        open_datacube(tmp_path / "stack.tif", scan_shape=(4, 6))


def test_tiff_pictures_are_left_to_napari(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "stack.tif", STACK, photometric="minisblack")
    assert not may_be_scan(tmp_path / "stack.tif")


# --- lines and single patterns ------------------------------------------------------------------------------------


def write_hspy(path: Path, data: np.ndarray) -> None:
    from rsciio.hspy import file_writer

    file_writer(str(path), hyperspy_signal(data))


def write_hdf5(path: Path, data: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        file["entry/data"] = data


WRITERS = {
    "scan.npy": np.save,
    "scan.hspy": write_hspy,
    "scan.zarr": lambda path, data: zarr.create_array(str(path), data=data),
    "scan.h5": write_hdf5,
    "scan.tif": lambda path, data: tifffile.imwrite(path, data, photometric="minisblack"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_line_of_one_row_opens_in_every_format(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name, SCAN[1:2])
    shape = (1, 6) if name == "scan.tif" else None  # TIFF drops axes of length 1 among its pages
    cube = open_datacube(tmp_path / name, scan_shape=shape)
    assert np.array_equal(cube.data.compute(), SCAN[1:2])


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "scan.tif"])
def test_one_position_opens_in_every_format(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name, SCAN[2:3, 3:4])
    cube = open_datacube(tmp_path / name)
    assert cube.scan_shape == (1, 1)
    assert np.array_equal(cube.pattern(0, 0), SCAN[2, 3])


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "scan.h5"])
def test_a_single_image_opens_as_one_pattern_when_it_is_said_to_be_one(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name, SCAN[2, 3])
    with pytest.raises(SingleImage, match="scan shape of 1 x 1"):
        open_datacube(tmp_path / name)
    assert np.array_equal(open_datacube(tmp_path / name, scan_shape=(1, 1)).pattern(0, 0), SCAN[2, 3])


def test_positions_along_a_line_are_one_row_and_keep_their_step(tmp_path: Path) -> None:
    write_hspy(tmp_path / "line.hspy", SCAN[1])
    cube = open_datacube(tmp_path / "line.hspy")
    assert np.array_equal(cube.data.compute(), SCAN[1:2])
    assert cube.calibration.scan_step_nm == pytest.approx(2)
    assert "a line of 6 positions" in cube.notes[0]
    assert open_datacube(tmp_path / "line.hspy", scan_shape=(2, 3)).scan_shape == (2, 3)
