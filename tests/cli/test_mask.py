"""The detector mask on the command line: found, given, or none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from detection_frames import known_frames
from napari_stem_orient.cli.main import main
from napari_stem_orient.io.peaks import open_bragg_peaks

HOT = (20, 70)  # one of the patterns has a disk there


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3 x 4 patterns with a hot pixel far from the direct beam."""
    frames = known_frames(12, disks=3, background=2.0).frames.astype(np.uint16)
    frames[:, *HOT] += 500
    path = tmp_path_factory.mktemp("mask") / "scan.npy"
    np.save(path, frames.reshape(3, 4, 96, 96))
    return path


def disks_at_the_hot_pixel(path: Path) -> int:
    peaks = open_bragg_peaks(path)
    return int((np.hypot(peaks.y_px - HOT[0], peaks.x_px - HOT[1]) < 3.5).sum())


def test_hot_pixels_are_left_out_and_told(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "peaks.h5"
    assert main(["detect", str(scan), "--output", str(output)]) == 0
    assert "1 hot pixel is left out (found; --mask none to use all)" in capsys.readouterr().err
    assert disks_at_the_hot_pixel(output) <= 1
    assert open_bragg_peaks(output).parameters["mask"]["pixels"] == 1
    assert main(["detect", str(scan), "--output", str(output), "--mask", "none"]) == 0
    assert disks_at_the_hot_pixel(output) >= 11
    assert "mask" not in open_bragg_peaks(output).parameters


def test_a_mask_from_a_file_is_obeyed(scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = np.zeros((96, 96), dtype=bool)
    mask[HOT] = mask[0, 0] = True
    np.save(tmp_path / "mask.npy", mask)
    output = tmp_path / "peaks.h5"
    words = ["detect", str(scan), "--output", str(output), "--mask", str(tmp_path / "mask.npy")]
    assert main(words) == 0
    assert "2 pixels are left out (given; --mask)" in capsys.readouterr().err
    assert disks_at_the_hot_pixel(output) <= 1
    assert open_bragg_peaks(output).parameters["mask"]["pixels"] == 2


def test_a_mask_that_does_not_fit_or_has_no_use_is_refused(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "peaks.h5"
    np.save(tmp_path / "small.npy", np.zeros((8, 8), dtype=bool))
    assert main(["detect", str(scan), "--output", str(output), "--mask", str(tmp_path / "small.npy")]) == 1
    assert "8 x 8 px but the detector 96 x 96" in capsys.readouterr().err
    assert main(["detect", str(scan), "--output", str(output), "--mask", str(tmp_path / "no.npy")]) == 1
    assert "check the path" in capsys.readouterr().err
    assert main(["detect", str(scan), "--output", str(output), "--quiet"]) == 0
    words = ["index", str(output), "--crystal", "Cu", "--output", str(tmp_path / "map.h5"), "--mask", "none"]
    with pytest.raises(SystemExit):
        main(words)
    assert "--mask has no effect on a file of peaks" in capsys.readouterr().err
