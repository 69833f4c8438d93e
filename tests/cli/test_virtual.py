"""The command "virtual": what it counts, what it writes, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_stem_orient.cli.main import main
from napari_stem_orient.core.bragg_peaks import BraggPeaks, DetectedBlock
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.io.peaks import save_bragg_peaks
from napari_stem_orient.steps import virtual as virtual_step
from napari_stem_orient.virtual import images as virtual_images_module

ORIGINS = np.array([[15.0, 14.0 + (i // 4)] for i in range(12)], dtype=np.float32)


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """3 x 4 patterns of 32 x 32 px: a beam of 9 px, each of 100, a column further right with each row of the scan.

    A spot of i counts lies ten rows below it at flat position i.
    """
    frames = np.zeros((12, 32, 32), dtype=np.uint16)
    for index, (row, column) in enumerate(ORIGINS.astype(int)):
        frames[index, row - 1 : row + 2, column - 1 : column + 2] = 100
        frames[index, row + 10, column] = index
    path = tmp_path / "scan.npy"
    np.save(path, frames.reshape(3, 4, 32, 32))
    return path


@pytest.fixture
def peaks(tmp_path: Path) -> Path:
    """A file of peaks that knows where the direct beam is at each position."""
    block = DetectedBlock(
        positions=np.arange(12),
        x_px=ORIGINS[:, 1],
        y_px=ORIGINS[:, 0],
        intensity=np.ones(12, dtype=np.float32),
        offsets=np.arange(13),
        progress=Progress(12, 12, "patterns"),
    )
    beams = BraggPeaks.from_blocks(
        [block], scan_shape=(3, 4), calibration=Calibration(), detector_shape=(32, 32), origin_px=ORIGINS
    )
    path = tmp_path / "peaks.h5"
    save_bragg_peaks(beams, path)
    return path


def run(*words: str | Path) -> int:
    return main(["virtual", *map(str, words), "--quiet"])


def test_images_follow_the_direct_beam_of_the_peaks(scan: Path, peaks: Path, tmp_path: Path) -> None:
    output = tmp_path / "images.npy"
    detectors = ["--bright-field", "3", "--annular", "6", "12", "--disk", "25", "15", "2"]
    assert run(scan, *detectors, "--peaks", peaks, "--output", output) == 0
    spot = np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(np.load(output), [np.full((3, 4), 900), spot, spot])


def test_fixed_detectors_stay_where_they_are(scan: Path, peaks: Path, tmp_path: Path) -> None:
    output = tmp_path / "images.npy"
    assert run(scan, "--disk", "25", "14", "0.5", "--fixed", "--peaks", peaks, "--output", output) == 0
    np.testing.assert_array_equal(np.load(output)[0], [[0, 1, 2, 3], [0] * 4, [0] * 4])


def test_the_pattern_of_a_region(scan: Path, peaks: Path, tmp_path: Path) -> None:
    output = tmp_path / "pattern.npy"
    assert run(scan, "--region", "0", "1", "2", "3", "--peaks", peaks, "--output", output) == 0
    mean, maximum = np.load(output)
    assert mean[25].max() == np.mean([2, 3, 6, 7])  # one spot, the drift taken out
    assert maximum[25].max() == 7


def test_masked_pixels_count_for_no_detector(scan: Path, tmp_path: Path) -> None:
    mask = np.zeros((32, 32), dtype=np.uint8)
    mask[15] = 1  # three of the nine pixels of the beam
    np.save(tmp_path / "mask.npy", mask)
    output = tmp_path / "images.npy"
    assert run(scan, "--bright-field", "6", "--mask", tmp_path / "mask.npy", "--output", output) == 0
    np.testing.assert_array_equal(np.load(output)[0], np.full((3, 4), 600))


def test_what_makes_no_sense_is_refused_before_anything_is_read(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, told in (
        ([], "nothing to compute"),
        (["--bright-field", "3", "--region", "0", "1", "0", "1"], "one or the other"),
        (["--annular", "5", "4"], r"--annular: the inner radius (5 px) must be smaller"),
        (["--bright-field", "0"], "--bright-field 0.0: input should be greater than"),
        (["--region", "0", "3", "0", "1"], "rows 0 to 2, columns 0 to 3"),
    ):
        with pytest.raises(SystemExit) as stop:
            run(scan, *words, "--output", tmp_path / "out.npy")
        assert stop.value.code == 2
        assert told in capsys.readouterr().err
    assert run(scan, "--disk", "25", "99", "2", "--output", tmp_path / "out.npy") == 1
    assert "outside the detector of 32 x 32 px" in capsys.readouterr().err


def test_a_stopped_run_saves_what_is_done(
    scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = virtual_images_module.virtual_images

    def stopped(datacube: Any, *arguments: Any, **keywords: Any) -> Iterator[Any]:
        job = original(datacube, *arguments, **keywords)
        yield next(job)
        raise KeyboardInterrupt

    monkeypatch.setattr(virtual_step, "virtual_images", stopped)
    monkeypatch.setattr(virtual_images_module, "RECORD_BYTES", 4 * 32 * 32 * 2)
    output = tmp_path / "images.npy"
    assert run(scan, "--bright-field", "4", "--output", output) == 130
    assert "holds 4 of 12 positions; the others are NaN" in capsys.readouterr().err
    image = np.load(output)[0]
    assert np.isfinite(image[0]).all()
    assert np.isnan(image[1:]).all()


def test_hot_pixels_that_are_found_count_for_no_detector(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = np.load(scan) + np.random.default_rng(0).poisson(3, (3, 4, 32, 32)).astype(np.uint16)
    frames[..., 28, 5] = 60_000
    np.save(scan, frames)
    output = tmp_path / "images.npy"
    words = ["virtual", str(scan), "--disk", "28", "5", "1.5", "--fixed", "--output", str(output)]
    assert main(words) == 0
    assert "1 hot pixel is left out (found; --mask none to use all)" in capsys.readouterr().err
    assert np.load(output).max() < 100
    assert main([*words, "--mask", "none", "--overwrite"]) == 0
    assert np.load(output).min() > 59_000
