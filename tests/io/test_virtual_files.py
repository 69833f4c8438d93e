"""Virtual images in files: other programs read the counts, the names and the scale."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
import pytest
import tifffile

from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.io.virtual_files import save_virtual_diffraction, save_virtual_images
from napari_stem_orient.virtual.detector import VirtualDetector, annular_dark_field, bright_field
from napari_stem_orient.virtual.diffraction import VirtualDiffraction
from napari_stem_orient.virtual.images import VirtualImages

COUNTS = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
DETECTORS = (bright_field(3), annular_dark_field(5, 20))
CALIBRATION = Calibration(scan_step_nm=2.5, pixel_size_inv_angstrom=0.02)


@pytest.fixture
def images() -> VirtualImages:
    return VirtualImages(DETECTORS, COUNTS, CALIBRATION, (20.0, 21.5), 7, name="grains")


@pytest.fixture
def diffraction() -> VirtualDiffraction:
    region = np.arange(12).reshape(3, 4) > 4
    return VirtualDiffraction(COUNTS[0], COUNTS[1], 7, region, (1.0, 1.5), CALIBRATION)


def test_py4dstem_reads_each_image_by_its_name(
    images: VirtualImages, tmp_path: Path, py4dstem: ModuleType
) -> None:
    path = save_virtual_images(images, tmp_path / "images.h5")
    root = py4dstem.read(str(path))
    for index, detector in enumerate(DETECTORS):
        image = root.tree(detector.name)
        assert isinstance(image, py4dstem.RealSlice)
        np.testing.assert_array_equal(image.data, COUNTS[index])
    with h5py.File(path) as file:
        group = file["virtual_root/Annular dark field"]
        assert VirtualDetector.model_validate_json(group.attrs["virtual_detector"]) == DETECTORS[1]
        assert group["dim1"][:].tolist() == [0, 2.5]
        made = json.loads(file.attrs["made"])
        assert made["calibration"]["scan_step_nm"] == 2.5
        assert (made["origin_px"], made["n_masked"]) == ([20.0, 21.5], 7)


def test_py4dstem_reads_the_pattern_of_a_region(
    diffraction: VirtualDiffraction, tmp_path: Path, py4dstem: ModuleType
) -> None:
    path = save_virtual_diffraction(diffraction, tmp_path / "pattern.h5")
    root = py4dstem.read(str(path))
    assert isinstance(root.tree("mean"), py4dstem.DiffractionSlice)
    np.testing.assert_array_equal(root.tree("maximum").data, COUNTS[1])
    with h5py.File(path) as file:
        assert np.array_equal(file["region"], diffraction.region)


def test_tiff_pages_are_labelled_and_scaled(images: VirtualImages, tmp_path: Path) -> None:
    with tifffile.TiffFile(save_virtual_images(images, tmp_path / "images.tif")) as file:
        np.testing.assert_array_equal(file.asarray(), COUNTS)
        assert file.imagej_metadata is not None
        assert file.imagej_metadata["Labels"] == ["Bright field", "Annular dark field"]
        assert file.imagej_metadata["unit"] == "nm"
        pixels, nm = file.pages[0].tags["XResolution"].value
        assert nm / pixels == pytest.approx(2.5)


@pytest.mark.parametrize("name", ["images.npy", "IMAGES.NPY"])
def test_npy_is_the_bare_stack(images: VirtualImages, tmp_path: Path, name: str) -> None:
    np.testing.assert_array_equal(np.load(save_virtual_images(images, tmp_path / name)), COUNTS)


def test_images_of_one_name_are_all_kept(tmp_path: Path) -> None:
    images = VirtualImages(
        (bright_field(3).updated(name="a/b"), bright_field(4).updated(name="a/b")), COUNTS, CALIBRATION
    )
    with h5py.File(save_virtual_images(images, tmp_path / "images.h5")) as file:
        assert sorted(file["virtual_root"]) == ["a_b 1", "a_b 2"]
    names = ("disk", "disk", "disk 1")
    detectors = tuple(bright_field(3).updated(name=name) for name in names)
    three = VirtualImages(detectors, COUNTS[[0, 1, 0]], CALIBRATION)
    with h5py.File(save_virtual_images(three, tmp_path / "three.h5")) as file:
        assert sorted(file["virtual_root"]) == ["disk 1", "disk 2", "disk 3"]


def test_another_ending_is_refused_and_leaves_nothing(images: VirtualImages, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"images.jpg must end in .*; name it images.h5"):
        save_virtual_images(images, tmp_path / "images.jpg")
    assert not list(tmp_path.iterdir())
