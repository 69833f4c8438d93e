"""A calibration is taken from whatever file has one, and comes back from its own file as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.io.calibration_files import UnreadableCalibration, read_calibration, save_calibration
from napari_stem_orient.io.maps import save_orientation_map
from napari_stem_orient.io.peaks import save_bragg_peaks

CALIBRATION = Calibration(
    voltage_kv=200.0,
    pixel_size_inv_angstrom=0.02,
    origin_px=(30.5, 31.5),
    ellipse_ratio=1.03,
    ellipse_angle_deg=-20.0,
    scan_rotation_deg=77.0,
    flip=True,
    checked=("ellipse", "rotation"),
)


def some_peaks() -> BraggPeaks:
    origin = np.array([[30.0, 31.0], [31.0, 32.0]])
    return BraggPeaks.from_lists([[[0.3, 0.1, 5.0]]] * 2, (1, 2), CALIBRATION, origin_px=origin)


def test_a_saved_calibration_comes_back_with_what_was_checked(tmp_path: Path) -> None:
    path = save_calibration(CALIBRATION, tmp_path / "microscope.json")
    assert read_calibration(path) == (CALIBRATION, None)
    assert list(tmp_path.iterdir()) == [path]


def test_peaks_and_maps_give_rotation_and_flip_and_peaks_their_origins(tmp_path: Path) -> None:
    peaks = some_peaks()
    calibration, origin = read_calibration(save_bragg_peaks(peaks, tmp_path / "peaks.h5"))
    assert calibration == CALIBRATION
    np.testing.assert_allclose(origin, [[30.0, 31.0], [31.0, 32.0]])
    empty = OrientationMap.empty(peaks, (load_crystal("Cu"),), method="transformer", parameters={})
    save_orientation_map(empty, tmp_path / "map.h5")
    assert read_calibration(tmp_path / "map.h5") == (CALIBRATION, None)


def test_a_scan_gives_what_its_file_knows(tmp_path: Path) -> None:
    np.save(tmp_path / "scan.npy", np.ones((2, 3, 16, 16), dtype=np.uint16))
    assert read_calibration(tmp_path / "scan.npy") == (Calibration(), None)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{}", "no calibration that this program has saved"),
        ("no json", "no calibration that this program has saved"),
        ('{"format_version": 99, "calibration": {}}', "update it"),
        ('{"format_version": 1, "calibration": {"voltage_kv": -5}}', "voltage_kv is wrong"),
    ],
)
def test_a_file_without_one_says_why(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(UnreadableCalibration, match=why):
        read_calibration(path)


def test_a_missing_file_and_a_wrong_ending_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableCalibration, match="does not exist"):
        read_calibration(tmp_path / "nothing.json")
    with pytest.raises(ValueError, match=r"name it microscope\.json"):
        save_calibration(CALIBRATION, tmp_path / "microscope.txt")
