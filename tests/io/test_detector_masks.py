"""Detector masks come back from files as they were written, and other files are refused in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_stem_orient.io.detector_masks import open_detector_mask, save_detector_mask


@pytest.mark.parametrize("name", ["MASK.NPY", "mask.npy", "mask.tif", "mask.TIFF"])
def test_a_mask_comes_back_as_it_was(tmp_path: Path, name: str) -> None:
    mask = np.random.default_rng(0).random((20, 30)) < 0.1
    save_detector_mask(mask, tmp_path / name)
    again = open_detector_mask(tmp_path / name, detector_shape=(20, 30))
    assert again.dtype == np.bool_
    assert np.array_equal(again, mask)


def test_every_value_but_zero_marks_a_pixel(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "labels.tif", np.array([[0, 1], [7, 0]], dtype=np.uint16))
    assert open_detector_mask(tmp_path / "labels.tif").tolist() == [[False, True], [True, False]]


def test_what_is_no_mask_of_this_detector_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "mask.npy", np.zeros((4, 5), dtype=bool))
    with pytest.raises(ValueError, match="4 x 5 px but the detector 5 x 5"):
        open_detector_mask(tmp_path / "mask.npy", detector_shape=(5, 5))
    np.save(tmp_path / "stack.npy", np.zeros((3, 4, 5)))
    with pytest.raises(ValueError, match="one image of numbers"):
        open_detector_mask(tmp_path / "stack.npy")
    (tmp_path / "broken.tif").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="cannot be read"):
        open_detector_mask(tmp_path / "broken.tif")
    with pytest.raises(ValueError, match=r"must end in \.npy or \.tif"):
        open_detector_mask(tmp_path / "mask.jpg")
    with pytest.raises(FileNotFoundError, match="check the path"):
        open_detector_mask(tmp_path / "absent.npy")


def test_a_damaged_mask_is_refused_in_words(tmp_path: Path) -> None:
    np.save(tmp_path / "mask.npy", np.zeros((4, 5), dtype=bool))
    whole = (tmp_path / "mask.npy").read_bytes()
    (tmp_path / "mask.npy").write_bytes(whole.replace(b"}", b" "))
    with pytest.raises(ValueError, match=r"mask\.npy cannot be read as an image .*: it is damaged or"):
        open_detector_mask(tmp_path / "mask.npy")
