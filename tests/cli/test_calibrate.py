"""Calibrating and asking how sensitive a map is, from the command line."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from calibration_scenes import distorted_scan, miscalibrated, ring_pattern
from napari_stem_orient.cli.main import main
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.io.calibration_files import read_calibration, save_calibration
from napari_stem_orient.io.maps import open_orientation_map
from napari_stem_orient.io.peaks import open_bragg_peaks, save_bragg_peaks
from napari_stem_orient.steps.recipe_text import open_recipe


@pytest.fixture(scope="module")
def peaks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Peaks of an 8 x 8 scan with a 2 % ellipse, a 1 % error of the pixel size and a drifting origin."""
    scan, _ = distorted_scan(scan_shape=(8, 8), n_grains=8)
    return save_bragg_peaks(miscalibrated(scan), tmp_path_factory.mktemp("calibrate") / "peaks.h5")


def test_all_steps_are_fitted_told_and_saved(
    peaks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "calibrated.h5"
    assert main(["calibrate", str(peaks), "--crystal", "Ni", "--output", str(output), "--quiet"]) == 0
    text = capsys.readouterr().out
    assert (
        text.index("before:") < text.index("Origin (plane)") < text.index("Pixel size") < text.index("after:")
    )
    found = open_bragg_peaks(output)
    assert found.calibration.ellipse_ratio == pytest.approx(1.02, abs=0.003)
    assert found.calibration.pixel_size_inv_angstrom == pytest.approx(0.025, rel=0.002)
    assert found.calibration.unchecked() == ("rotation",)
    assert found.origin_px is not None
    assert np.ptp(found.origin_px[:, 0]) > 1
    assert main(["info", str(output)]) == 0
    assert "rotation is not calibrated" in capsys.readouterr().out


def test_single_steps_leave_the_rest_alone(peaks: Path, tmp_path: Path) -> None:
    output = tmp_path / "calibration.json"
    words = [
        "calibrate",
        str(peaks),
        "--steps",
        "origin",
        "--origin-model",
        "constant",
        "--output",
        str(output),
    ]
    assert main(words) == 0
    calibration, _ = read_calibration(output)
    assert calibration.checked == ("origin",)
    assert calibration.ellipse_ratio == 1
    assert calibration.pixel_size_inv_angstrom == pytest.approx(0.02525)


def test_rotation_and_flip_come_from_another_file_and_may_be_confirmed(peaks: Path, tmp_path: Path) -> None:
    other = save_calibration(
        Calibration(scan_rotation_deg=33.0, flip=True, checked=("rotation",)), tmp_path / "other.json"
    )
    output = tmp_path / "turned.h5"
    words = ["calibrate", str(peaks), "--steps", "ellipse", "--from", str(other), "--output", str(output)]
    assert main([*words, "--confirm", "pixel-size"]) == 0
    calibration = open_bragg_peaks(output).calibration
    assert (calibration.scan_rotation_deg, calibration.flip) == (33.0, True)
    assert calibration.checked == ("ellipse", "pixel size", "rotation")


def test_what_another_file_or_the_user_changes_is_no_longer_calibrated(peaks: Path, tmp_path: Path) -> None:
    fitted, entered = tmp_path / "fitted.h5", tmp_path / "entered.h5"
    words = ["calibrate", str(peaks), "--steps", "origin", "--output", str(fitted)]
    assert main([*words, "--confirm", "ellipse", "pixel-size", "rotation"]) == 0
    assert open_bragg_peaks(fitted).calibration.unchecked() == ()
    other = save_calibration(
        Calibration(scan_rotation_deg=33.0, ellipse_ratio=1.1, checked=("ellipse",)), tmp_path / "other.json"
    )
    words = ["calibrate", str(fitted), "--steps", "origin", "--from", str(other), "--output", str(entered)]
    assert main([*words, "--pixel-size-inv-angstrom", "0.03"]) == 0
    calibration = open_bragg_peaks(entered).calibration
    assert calibration.pixel_size_inv_angstrom == 0.03
    assert calibration.checked == ("origin", "ellipse")


def test_a_map_refines_the_calibration_and_tells_how_sensitive_it_is(
    peaks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, output = tmp_path / "map.h5", tmp_path / "refined.h5"
    quiet = ["--quiet", "--device", "cpu"]
    assert main(["index", str(peaks), "--crystal", "Ni", "--output", str(found), *quiet]) == 0
    assert main(["calibrate", str(peaks), "--map", str(found), "--output", str(output), *quiet]) == 0
    assert "Refined from the map" in capsys.readouterr().out
    assert open_bragg_peaks(output).calibration.pixel_size_inv_angstrom == pytest.approx(0.025, rel=0.001)
    recipe = open_recipe(output)
    assert [choice.step for choice in recipe.steps] == ["index", "calibrate"]
    assert set(recipe.models) == {"Ni"}
    words = [
        "sensitivity",
        str(found),
        "--peaks",
        str(peaks),
        "--changes-percent",
        "1",
        "--n-positions",
        "20",
    ]
    assert main([*words, *quiet]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[-1] for line in lines[1:3]] == ["0.0 %", "0.0 %"]
    assert "as it is" in lines[1]
    assert "+1 %" in lines[2]
    assert re.search(r"^\d+ of \d+ positions compared", lines[3])
    assert "position_tolerance_inv_angstrom" in open_orientation_map(found).measured


def test_the_positions_that_a_sensitivity_indexes_again_are_told_first(
    peaks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = tmp_path / "map.h5"
    job = ["--device", "cpu"]
    assert (
        main(["index", str(peaks), "--crystal", "Ni", "--output", str(found), "--no-neighbours", *job]) == 0
    )
    capsys.readouterr()
    words = ["sensitivity", str(found), "--peaks", str(peaks), "--changes-percent", "1", *job]
    assert main(words) == 0
    told = capsys.readouterr().err
    assert re.search(r"\d+ of \d+ positions are indexed again with 2 pixel sizes", told)
    with pytest.raises(SystemExit):
        main([*words[:-3], "-100"])
    assert "--changes-percent -100.0: input should be greater than -50" in capsys.readouterr().err


def test_a_scan_of_a_standard_gives_a_calibration_of_its_rings(tmp_path: Path) -> None:
    true = Calibration(pixel_size_inv_angstrom=0.02, ellipse_ratio=1.03, origin_px=(49.0, 47.0))
    frames = np.broadcast_to(ring_pattern(true).astype(np.float32), (2, 2, 96, 96)).copy()
    frames[0, 1, 20, 30] = np.nan  # one pixel of one pattern
    np.save(tmp_path / "standard.npy", frames)
    output = tmp_path / "microscope.json"
    words = [
        "calibrate",
        str(tmp_path / "standard.npy"),
        "--rings",
        "--crystal",
        "Au",
        "--output",
        str(output),
    ]
    assert main([*words, "--voltage-kv", "200"]) == 0
    calibration, _ = read_calibration(output)
    assert calibration.ellipse_ratio == pytest.approx(1.03, abs=0.003)
    assert calibration.pixel_size_inv_angstrom == pytest.approx(0.02, rel=0.002)
    assert calibration.voltage_kv == 200


def test_what_makes_no_sense_is_refused_with_the_fix(
    peaks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "x.h5")
    with pytest.raises(SystemExit):
        main(["calibrate", str(peaks), "--steps", "pixel-size", "--output", output])
    assert "choose the crystal that is in the scan" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["calibrate", str(peaks), "--rings", "--output", output])
    assert "choose the crystal that the standard is made of (--crystal)" in capsys.readouterr().err
    assert main(["calibrate", str(peaks), "--rings", "--crystal", "Au", "--output", output]) == 1
    assert "x.h5 must end in .json; name it x.json" in capsys.readouterr().err
    assert not Path(output).exists()
