"""The command line on tiny scans: what it writes, how it stops, and how it says what is wrong."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_stem_orient.cli.main import main
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.core.orientation import from_euler_bunge_deg
from napari_stem_orient.core.reason import Reason
from napari_stem_orient.io.maps import open_orientation_map
from napari_stem_orient.io.peaks import NOMINAL, open_bragg_peaks, save_bragg_peaks
from napari_stem_orient.transformer.model_folder import read_card

CALIBRATION = ["--voltage-kv", "300", "--pixel-size-inv-angstrom", "0.05", "--scan-step-nm", "2"]
EULER_DEG = (25.0, 3.0, 33.0)


def frames_of_copper(*, size: int = 64) -> np.ndarray:
    """(2, 3, 64, 64) uint16 frames of one Cu orientation: soft disks on a background, one frame empty."""
    from napari_stem_orient.simulation.kinematic import simulate_pattern

    pattern = simulate_pattern(load_crystal("Cu"), from_euler_bunge_deg(EULER_DEG), voltage_kv=300, q_max=1.5)
    rows, columns = np.mgrid[:size, :size]
    image = np.full((size, size), 2.0)
    spots = [(0.0, 0.0, 1.0), *zip(pattern.q_x, pattern.q_y, pattern.intensity, strict=True)]
    for q_x, q_y, intensity in spots:
        x, y = size / 2 + q_x / 0.05, size / 2 + q_y / 0.05
        image += 3000 * np.sqrt(intensity) / (1 + np.exp(2 * (np.hypot(rows - y, columns - x) - 2.0)))
    frames = np.random.default_rng(0).poisson(np.broadcast_to(image, (2, 3, size, size)))
    frames[1, 2] = 0
    return frames.astype(np.uint16)


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scan") / "scan.npy"
    np.save(path, frames_of_copper())
    return path


@pytest.fixture(scope="module")
def peaks(scan: Path) -> Path:
    path = scan.with_name("peaks.h5")
    assert main(["detect", str(scan), "--output", str(path), "--quiet", *CALIBRATION]) == 0
    return path


def index_words(source: Path, output: Path, *more: str) -> list[str]:
    return [
        "index",
        str(source),
        "--crystal",
        "Cu",
        "--output",
        str(output),
        "--method",
        "template",
        "--quiet",
        *more,
    ]


def stopping_after(n_records: int, original: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """The same job, with Ctrl-C pressed after some records that have positions; those of templates have none."""

    def job(*arguments: Any, **keywords: Any) -> Iterator[Any]:
        running, n_left = original(*arguments, **keywords), n_records
        while n_left:
            record = next(running)
            n_left -= len(record.positions) > 0
            yield record
        raise KeyboardInterrupt

    return job


def test_help_is_quick_and_lists_the_commands() -> None:
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from napari_stem_orient.cli.main import main; main(['--help'])"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    for command in ("info", "detect", "index", "train", "export", "demo"):
        assert f"\n    {command}" in done.stdout
    assert time.monotonic() - begun < 20  # a hang, not a speed: torch alone takes seconds


def test_help_imports_neither_torch_nor_napari() -> None:
    script = (
        "import sys; from napari_stem_orient.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "sys.exit(any(m in sys.modules for m in ('torch', 'napari', 'qtpy', 'py4DSTEM', 'orix')))"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("command", ["info", "detect", "index", "train", "export", "demo"])
def test_every_option_of_every_command_is_explained(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert "--" in capsys.readouterr().out


def test_index_help_offers_parameters_of_calibration_detection_and_both_methods(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["index", "--help"])
    text = capsys.readouterr().out
    for option in (
        "--voltage-kv",
        "--flip",
        "--scan-rotation-deg",
        "--precession-angle-deg",
        "--scan-shape",
        "--min-significance",
        "--method",
        "--no-refine",
        "--candidates",
        "--device",
        "--model",
        "--resume",
        "--angle-step-zone-axis-deg",
    ):
        assert option in text, option


def test_info_of_a_scan_says_what_is_missing(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(scan)]) == 0
    text = capsys.readouterr().out
    assert "2 x 3 positions" in text
    assert "64 x 64 px" in text
    assert "pixel size (1/Å), accelerating voltage (kV)" in text


def test_info_of_a_stack_proposes_scan_shapes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "stack.npy", np.zeros((12, 16, 16), dtype=np.uint8))
    assert main(["info", str(tmp_path / "stack.npy")]) == 0
    assert "3 x 4" in capsys.readouterr().out


def test_detect_writes_calibrated_peaks(peaks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = open_bragg_peaks(peaks)
    assert found.scan_shape == (2, 3)
    assert found.calibration.voltage_kv == 300
    assert found.calibration.scan_step_nm == 2
    counts = found.counts()
    assert counts[:5].min() >= 6
    assert counts[5] == 0
    assert main(["info", str(peaks)]) == 0
    assert "Bragg peaks" in capsys.readouterr().out


def test_a_radius_by_hand_takes_the_place_of_a_direct_beam(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "even.npy", np.full((2, 3, 64, 64), 5, dtype=np.uint16))
    assert main(["detect", str(tmp_path / "even.npy"), "--output", str(tmp_path / "none.h5")]) == 1
    assert "--probe-radius-px" in capsys.readouterr().err
    # behind a beam stop: in each pattern one disk, at another place
    frames = np.random.default_rng(0).poisson(5.0, (2, 3, 64, 64))
    rows, columns = np.mgrid[:64, :64]
    for position, (y, x) in enumerate([(8, 9), (9, 50), (54, 12), (50, 52), (8, 30), (56, 33)]):
        frames[divmod(position, 3)][np.hypot(rows - y, columns - x) <= 2.5] += 40
    np.save(tmp_path / "stopped.npy", frames.astype(np.uint16))
    output = tmp_path / "peaks.h5"
    words = ["detect", str(tmp_path / "stopped.npy"), "--output", str(output), "--quiet"]
    assert main([*words, "--probe-radius-px", "2.5", "--origin-px", "32", "31"]) == 0
    found = open_bragg_peaks(output)
    assert found.parameters["probe"] == {"radius_px": 2.5, "source": "synthetic"}
    assert found.calibration.origin_px == (32, 31)
    assert np.allclose(found.pixels_at(1, 1)[0, :2], [30, 8], atol=0.2)
    assert main([*words, "--probe-radius-px", "50"]) == 1
    assert "does not suit a detector of 64 x 64 px" in capsys.readouterr().err


@pytest.mark.usefixtures("py4dstem")
def test_index_export_and_info_from_a_scan(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "map.h5"
    kept = tmp_path / "peaks.h5"
    assert main(index_words(scan, output, "--save-peaks", str(kept), *CALIBRATION)) == 0
    found = open_orientation_map(output)
    assert found.reason.tolist() == [Reason.INDEXED] * 5 + [Reason.TOO_FEW_DISKS]
    assert found.method == "template"
    # the map alone says how it was made, from the frames on
    assert found.peaks_parameters["detector"] == "correlation"
    assert found.peaks_parameters == open_bragg_peaks(kept).parameters
    capsys.readouterr()
    assert main(["info", str(output)]) == 0
    assert "Cu 5 positions" in capsys.readouterr().out
    files = {
        name: tmp_path / f"out.{ending}"
        for name, ending in {"ang": "ang", "csv": "csv", "figure": "png"}.items()
    }
    words = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    assert main(["export", str(output), *words]) == 0
    assert all(path.stat().st_size > 100 for path in files.values())


@pytest.mark.usefixtures("py4dstem")
def test_calibration_given_for_peaks_replaces_that_of_the_file(peaks: Path, tmp_path: Path) -> None:
    output = tmp_path / "map.h5"
    assert main(index_words(peaks, output, "--voltage-kv", "200", "--scan-rotation-deg", "90")) == 0
    calibration = open_orientation_map(output).calibration
    assert (calibration.voltage_kv, calibration.scan_rotation_deg) == (200, 90)
    assert calibration.pixel_size_inv_angstrom == pytest.approx(0.05)


def test_stopped_detection_is_kept_and_resumed(
    scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from napari_stem_orient.detection import correlation

    output = tmp_path / "peaks.h5"
    words = ["detect", str(scan), "--output", str(output), "--quiet", *CALIBRATION]
    monkeypatch.setattr(correlation, "SECONDS_PER_RECORD", 0.0)
    monkeypatch.setattr(correlation, "BATCH_PIXELS", {"cpu": 2 * 64 * 64})
    with monkeypatch.context() as patched:
        patched.setattr(correlation, "detect_bragg_peaks", stopping_after(1, correlation.detect_bragg_peaks))
        assert main(words) == 130
    assert "--resume" in capsys.readouterr().err
    done = open_bragg_peaks(output).detected.sum()
    assert 0 < done < 6
    assert main([*words, "--resume"]) == 0
    assert open_bragg_peaks(output).detected.all()


@pytest.mark.usefixtures("py4dstem")
def test_stopped_indexing_is_kept_and_resumed(
    peaks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from napari_stem_orient.indexing import template_matching

    output = tmp_path / "map.h5"
    monkeypatch.setattr(template_matching, "SECONDS_PER_BLOCK", 1e-6)
    original = template_matching.index_by_template_matching
    with monkeypatch.context() as patched:
        patched.setattr(template_matching, "index_by_template_matching", stopping_after(2, original))
        assert main(index_words(peaks, output)) == 130
    message = capsys.readouterr().err
    assert "2 of 6 positions" in message
    assert message.count("\n") == 1
    assert open_orientation_map(output).done.sum() == 2
    assert main(index_words(peaks, output, "--resume")) == 0
    assert open_orientation_map(output).is_complete
    assert main(index_words(peaks, output, "--resume", "--min-disks", "5")) == 1
    assert "other parameters" in capsys.readouterr().err


@pytest.mark.usefixtures("py4dstem")
def test_a_run_stopped_before_its_first_result_leaves_the_earlier_file(
    scan: Path,
    peaks: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from napari_stem_orient.detection import correlation
    from napari_stem_orient.indexing import template_matching

    kept, output = tmp_path / "peaks.h5", tmp_path / "map.h5"
    kept.write_bytes(peaks.read_bytes())
    output.write_bytes(b"an earlier map")
    original = template_matching.index_by_template_matching
    monkeypatch.setattr(correlation, "detect_bragg_peaks", stopping_after(0, correlation.detect_bragg_peaks))
    monkeypatch.setattr(template_matching, "index_by_template_matching", stopping_after(0, original))
    assert main(["detect", str(scan), "--output", str(kept), "--quiet"]) == 130
    assert main(index_words(peaks, output, "--overwrite")) == 130
    assert "nothing was saved" in capsys.readouterr().err
    assert kept.read_bytes() == peaks.read_bytes()
    assert output.read_bytes() == b"an earlier map"


def test_training_writes_a_model_that_indexes(
    peaks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, output = tmp_path / "model", tmp_path / "map.h5"
    options = ["--steps", "2", "--batch-size", "8", "--voltage-low-kv", "300", "--simulation", "kinematic"]
    assert main(["train", "--crystal", "Cu", "--output", str(folder), "--quiet", *options]) == 0
    assert (folder / "config.json").is_file()
    words = ["index", str(peaks), "--crystal", "Cu", "--output", str(output), "--quiet"]
    assert main([*words, "--model", str(folder), "--candidates", "2", "--no-refine"]) == 0
    found = open_orientation_map(output)
    assert found.is_complete
    assert found.parameters["n_candidates"] == 2
    assert found.parameters["refine"] is False


def test_a_model_for_a_whole_structure_type_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "model"
    options = ["--steps", "1", "--batch-size", "8", "--quiet", "--whole-structure-type"]
    options += ["--simulation", "kinematic"]
    assert main(["train", "--crystal", "Cu", "--output", str(folder), *options]) == 0
    assert read_card(folder).structure_type == "fcc"
    with pytest.raises(SystemExit):
        main(["train", "--crystal", "LiCoO2", "--output", str(folder), *options])
    assert "one known structure type, not LiCoO2" in capsys.readouterr().err


def wrong_lines(tmp_path: Path, scan: Path, peaks: Path) -> dict[str, tuple[list[str], str]]:
    output = tmp_path / "out.h5"
    (tmp_path / "notes.txt").write_text("no scan")
    (tmp_path / "no_atoms.cif").write_text("data_x\n_cell_length_a 3\n")
    peaks_words = index_words(peaks, output)
    return {
        "missing file": (["info", str(tmp_path / "none.h5")], "there is no file"),
        "unknown format": (["info", str(tmp_path / "notes.txt")], "notes.txt"),
        "wrong scan shape": (["info", str(scan), "--scan-shape", "4", "4"], "4 x 4"),
        "no pixel size": (
            index_words(scan, output, "--voltage-kv", "300"),
            "give --pixel-size-inv-angstrom",
        ),
        "unknown crystal": ([*peaks_words, "--crystal", "Unobtainium"], "built-in"),
        "CIF without atoms": ([*peaks_words, "--crystal", str(tmp_path / "no_atoms.cif")], "atom"),
        "no folder for the output": (index_words(peaks, tmp_path / "none" / "map.h5"), "make it first"),
        "ending that no map has": (index_words(peaks, tmp_path / "map.emd"), "must end in .h5"),
        "folder for a file": (index_words(peaks, tmp_path), "is a folder"),
        "folder for the peaks": ([*index_words(scan, output), "--save-peaks", str(tmp_path)], "is a folder"),
        "file for a folder": (["train", "--crystal", "Cu", "--output", str(scan)], "is a file"),
        "map that is none": (["export", str(peaks), "--csv", str(tmp_path / "a.csv")], "peaks.h5"),
        "ending that does not fit": (["export", str(peaks), "--ang", str(tmp_path / "a.txt")], "peaks.h5"),
        "nothing to resume": ([*peaks_words, "--resume"], "there is nothing to go on from"),
        "device that is not there": (
            [*peaks_words[:-3], "--quiet", "--device", "mps"],
            "device 'mps' is not available",
        ),
    }


@pytest.mark.usefixtures("py4dstem")
@pytest.mark.parametrize(
    "case",
    [
        "missing file",
        "unknown format",
        "wrong scan shape",
        "no pixel size",
        "unknown crystal",
        "CIF without atoms",
        "no folder for the output",
        "ending that no map has",
        "folder for a file",
        "folder for the peaks",
        "file for a folder",
        "map that is none",
        "ending that does not fit",
        "nothing to resume",
        "device that is not there",
    ],
)
def test_errors_are_one_line_that_names_the_fix(
    case: str, tmp_path: Path, scan: Path, peaks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, expected = wrong_lines(tmp_path, scan, peaks)[case]
    capsys.readouterr()
    assert main(words) == 1
    message = capsys.readouterr().err
    assert expected in message
    assert message.startswith("napari-stem-orient: error: ")
    assert message.count("\n") == 1
    assert not (tmp_path / "out.h5").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "COMMAND"),
        (["frobnicate"], "invalid choice"),
        (["detect", "scan.h5"], "--output"),
        (["export", "map.h5"], "--ang, --csv or --figure"),
        (["index", "a.h5", "--crystal", "Cu", "--output", "b.h5", "--voltage-kv", "much"], "--voltage-kv"),
        (
            ["index", "a.h5", "--crystal", "Cu", "--output", "b.h5", "--candidates", "0"],
            "greater than or equal to 1",
        ),
        (
            ["index", "a.h5", "--crystal", "Cu", "--output", "b.h5", "--kernel-size-inv-angstrom", "0.1"],
            "without --method template",
        ),
        (
            ["index", "a.h5", "--crystal", "Cu", "--output", "b.h5", "--method", "template", "--no-refine"],
            "with --method template",
        ),
    ],
)
def test_a_command_line_that_makes_no_sense_ends_with_two(
    words: list[str],
    expected: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert expected in message
    assert message.count("\n") == 1


@pytest.mark.usefixtures("py4dstem")
@pytest.mark.parametrize(
    "option", [["--save-peaks", "again.h5"], ["--scan-shape", "2", "3"], ["--min-significance", "3"]]
)
def test_options_that_only_a_scan_has_are_refused_for_peaks(
    option: list[str], peaks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*index_words(peaks, tmp_path / "map.h5"), *option])
    assert stop.value.code == 2
    assert f"{option[0]} has no effect on a file of peaks" in capsys.readouterr().err


@pytest.mark.usefixtures("py4dstem")
def test_peaks_in_inverse_angstrom_have_no_pixel_size_to_give(
    peaks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nominal = tmp_path / "calibrated.h5"
    known = open_bragg_peaks(peaks)
    save_bragg_peaks(dataclasses.replace(known, parameters={"pixels": NOMINAL}), nominal)
    assert main(["info", str(nominal)]) == 0
    assert "pixels and pixel size are nominal" in capsys.readouterr().out
    output = tmp_path / "map.h5"
    with pytest.raises(SystemExit) as stop:
        main([*index_words(nominal, output), "--pixel-size-inv-angstrom", "0.1"])
    assert stop.value.code == 2
    assert "in 1/Å already" in capsys.readouterr().err
    assert main(index_words(nominal, output, "--voltage-kv", "200")) == 0


def test_demo_without_a_display_names_the_way_to_run_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert main(["demo"]) == 1
    assert "xvfb-run" in capsys.readouterr().err


def test_debug_shows_where_an_error_came_from(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        main(["--debug", "info", str(tmp_path / "none.h5")])


def test_every_calibration_value_that_a_number_can_express_has_an_option() -> None:
    from napari_stem_orient.cli.main import build_parser

    parser = build_parser("index")
    arguments = parser.parse_args(
        ["index", "a", "--crystal", "Cu", "--output", "b", "--flip", "--origin-px", "1", "2"]
    )
    assert arguments.flip is True
    assert arguments.origin_px == [1.0, 2.0]
    known = vars(parser.parse_args(["index", "a", "--crystal", "Cu", "--output", "b", "--voltage-kv", "80"]))
    assert set(Calibration.model_fields) & set(known) == {"voltage_kv"}
