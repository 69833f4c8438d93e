"""Whoever saves, and whatever the file is called: no open scan is written over, nor a file of somebody else."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import h5py
import numpy as np
import pytest

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.detection.correlation import collect_peaks
from napari_stem_orient.io.atomic import WouldDestroyScan
from napari_stem_orient.io.calibration_files import save_calibration
from napari_stem_orient.io.detector_masks import save_detector_mask
from napari_stem_orient.io.figures import save_picture
from napari_stem_orient.io.maps import export_ang, export_csv, save_orientation_map
from napari_stem_orient.io.peaks import save_bragg_peaks
from napari_stem_orient.io.scans import open_datacube
from napari_stem_orient.io.virtual_files import save_virtual_images
from napari_stem_orient.virtual.detector import VirtualDetector
from napari_stem_orient.virtual.images import VirtualImages
from scan_files import SCAN

CUBE = DataCube(da.from_array(SCAN), Calibration())
PEAKS = collect_peaks(CUBE, [], description={})
MAP = OrientationMap.empty(PEAKS, (load_crystal("Cu"),), method="transformer", parameters={})
IMAGES = VirtualImages.empty(CUBE, [VirtualDetector(name="all", outer_radius_px=9)])

#: Every public way to write a file: ending -> how.
WRITERS: dict[str, Callable[..., Any]] = {
    "peaks.h5": lambda path, **options: save_bragg_peaks(PEAKS, path, **options),
    "map.h5": lambda path, **options: save_orientation_map(MAP, path, **options),
    "map.ang": lambda path, **options: export_ang(MAP, path, **options),
    "map.csv": lambda path, **options: export_csv(MAP, path, **options),
    "calibration.json": lambda path, **options: save_calibration(Calibration(), path, **options),
    "mask.npy": lambda path, **options: save_detector_mask(np.eye(8, dtype=bool), path, **options),
    "mask.tif": lambda path, **options: save_detector_mask(np.eye(8, dtype=bool), path, **options),
    "picture.png": lambda path, **options: save_picture(np.zeros((4, 4, 3), np.uint8), path, **options),
    "images.h5": lambda path, **options: save_virtual_images(IMAGES, path, **options),
    "images.tif": lambda path, **options: save_virtual_images(IMAGES, path, **options),
    "images.npy": lambda path, **options: save_virtual_images(IMAGES, path, **options),
}
AGAIN = [name for name in WRITERS if name not in ("mask.npy", "mask.tif", "images.npy")]


def raw(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file["data"] = SCAN
    return path


def links(path: Path) -> dict[str, Path]:
    """Other names of a file in the folder of its folder."""
    top = path.parent.parent
    (top / "link.h5").symlink_to(path)
    os.link(path, top / "hard.h5")
    (top / "linked").symlink_to(path.parent, target_is_directory=True)
    return {
        "itself": path,
        "symbolic link": top / "link.h5",
        "hard link": top / "hard.h5",
        "linked folder": top / "linked" / path.name,
        "dots": path.parent / ".." / path.parent.name / "." / path.name,
    }


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("called", ["itself", "symbolic link", "hard link", "linked folder", "dots"])
def test_an_open_scan_is_not_written_over_whatever_it_is_called(
    tmp_path: Path, called: str, overwrite: bool
) -> None:
    (tmp_path / "data").mkdir()
    path = raw(tmp_path / "data" / "raw.h5")
    before = path.read_bytes()
    cube = open_datacube(path)
    with pytest.raises(WouldDestroyScan, match="read by a scan that is open"):
        save_bragg_peaks(PEAKS, links(path)[called], overwrite=overwrite)
    assert path.read_bytes() == before
    assert np.array_equal(cube.data.compute(), SCAN)


@pytest.mark.parametrize("name", list(WRITERS))
def test_no_writer_writes_over_an_open_scan(tmp_path: Path, name: str) -> None:
    path = raw(tmp_path / f"raw{Path(name).suffix}")
    cube = DataCube(da.from_array(SCAN), Calibration(), path=path)
    with pytest.raises(WouldDestroyScan):
        WRITERS[name](path, overwrite=True)
    assert h5py.is_hdf5(path)
    assert cube.path == path


def test_a_calibrated_copy_is_read_from_the_same_file(tmp_path: Path) -> None:
    path = raw(tmp_path / "raw.h5")
    cube = open_datacube(path).with_calibration(Calibration(voltage_kv=300)).reshaped((6, 4))
    gc.collect()
    with pytest.raises(WouldDestroyScan):
        save_bragg_peaks(PEAKS, path, overwrite=True)
    del cube


def test_files_that_belong_to_an_open_scan_are_kept(tmp_path: Path) -> None:
    raw(tmp_path / "part.h5")
    layout = h5py.VirtualLayout(shape=SCAN.shape, dtype=SCAN.dtype)
    layout[...] = h5py.VirtualSource("part.h5", "data", shape=SCAN.shape)
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file.create_virtual_dataset("data", layout)
    cube = open_datacube(tmp_path / "scan.h5")
    with pytest.raises(WouldDestroyScan, match=r"belongs to scan.h5"):
        save_bragg_peaks(PEAKS, tmp_path / "part.h5", overwrite=True)
    assert np.array_equal(cube.data.compute(), SCAN)


def test_a_scan_that_nobody_reads_any_more_is_still_not_replaced_unasked(tmp_path: Path) -> None:
    path = raw(tmp_path / "raw.h5")
    open_datacube(path)
    gc.collect()
    with pytest.raises(FileExistsError, match=r"not written by this program.*overwrite=True"):
        save_bragg_peaks(PEAKS, path)
    save_bragg_peaks(PEAKS, path, overwrite=True)
    with h5py.File(path, "r") as file:
        assert "napari_stem_orient_peaks" in file


@pytest.mark.parametrize("name", list(WRITERS))
def test_a_file_of_somebody_else_is_replaced_only_when_told_to(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"the only copy of a thesis")
    with pytest.raises(FileExistsError, match="give another name, or overwrite=True"):
        WRITERS[name](path)
    assert path.read_bytes() == b"the only copy of a thesis"
    WRITERS[name](path, overwrite=True)
    assert path.read_bytes() != b"the only copy of a thesis"


@pytest.mark.parametrize("name", AGAIN)
def test_a_result_takes_the_place_of_an_older_one_of_its_kind(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    WRITERS[name](tmp_path / name)


def test_a_map_does_not_take_the_place_of_the_peaks_that_it_was_made_of(tmp_path: Path) -> None:
    path = tmp_path / "scan.h5"
    save_bragg_peaks(PEAKS, path)
    with pytest.raises(FileExistsError, match="holds Bragg peaks"):
        save_orientation_map(MAP, path)
    assert isinstance(PEAKS, BraggPeaks)
