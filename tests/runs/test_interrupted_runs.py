"""Runs of the command line that are killed or find the disk full: nothing is lost, nothing is done twice."""

from __future__ import annotations

import errno
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_stem_orient.cli.main import main
from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.detection import correlation
from napari_stem_orient.io.maps import open_orientation_map
from napari_stem_orient.io.peaks import open_bragg_peaks
from napari_stem_orient.runs import run_journal

FRAMES_A_BLOCK = 4
SLOW_RUN = """
import sys, time
from pathlib import Path
from napari_stem_orient.cli.main import main
from napari_stem_orient.detection import correlation
from napari_stem_orient.runs import peaks_journal
from napari_stem_orient.runs import run_journal

scan, output, journals, log = sys.argv[1:]
run_journal.journal_folder = lambda folder=None: Path(journals)
correlation.SECONDS_PER_RECORD = 0.0
correlation.BATCH_PIXELS = {"cpu": 4 * 48 * 48}
keep_block = peaks_journal.keep_block

def keep_slowly(journal, block):
    keep_block(journal, block)
    with open(log, "a") as file:
        file.write(" ".join(map(str, block.positions.tolist())) + "\\n")
    time.sleep(0.05)

peaks_journal.keep_block = keep_slowly
sys.exit(main(["detect", scan, "--output", output, "--quiet", "--device", "cpu"]))
"""


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 x 10 positions, 48 x 48 px: a direct beam and four disks that turn from position to position."""
    rows, columns = np.mgrid[:48, :48]
    angle = np.linspace(0, 1.5, 80)
    image = np.full((80, 48, 48), 2.0)
    image += 300.0 * (np.hypot(rows - 24, columns - 24) < 3)
    for quarter in range(4):
        y, x = (24 + 14 * turn(angle + quarter * np.pi / 2) for turn in (np.sin, np.cos))
        image += 60.0 * (np.hypot(rows - y[:, None, None], columns - x[:, None, None]) < 3)
    path = tmp_path_factory.mktemp("scan") / "scan.npy"
    frames = np.random.default_rng(1).poisson(image).astype(np.uint16)
    np.save(path, frames.reshape(8, 10, 48, 48))
    return path


@pytest.fixture
def journals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "journals"
    monkeypatch.setattr(run_journal, "journal_folder", lambda _folder=None: folder)
    monkeypatch.setattr(correlation, "SECONDS_PER_RECORD", 0.0)
    monkeypatch.setattr(correlation, "BATCH_PIXELS", {"cpu": FRAMES_A_BLOCK * 48 * 48})
    return folder


@pytest.fixture
def detected_positions(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The positions that the detector is asked for, as they come."""
    positions: list[int] = []
    original = correlation.detect_bragg_peaks

    def noted(*arguments: Any, **keywords: Any) -> Iterator[Any]:
        job = original(*arguments, **keywords)
        while True:
            try:
                block = next(job)
            except StopIteration as finished:
                return finished.value
            positions.extend(block.positions.tolist())
            yield block

    monkeypatch.setattr(correlation, "detect_bragg_peaks", noted)
    return positions


def words(scan: Path, output: Path, *more: str) -> list[str]:
    return ["detect", str(scan), "--output", str(output), "--quiet", "--device", "cpu", *more]


def same_peaks(one: BraggPeaks, other: BraggPeaks) -> bool:
    names = ("x_px", "y_px", "q_x", "q_y", "intensity", "significance", "offsets", "detected", "origin_px")
    return all(np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True) for name in names)


def crash_in_block(number: int) -> Callable[..., Iterator[Any]]:
    original = correlation.detect_bragg_peaks

    def crashing(*arguments: Any, **keywords: Any) -> Iterator[Any]:
        job = original(*arguments, **keywords)
        for _ in range(number):
            yield next(job)
        raise RuntimeError("the graphics card has fallen off the bus")

    return crashing


def test_a_killed_run_goes_on_where_it_was(
    scan: Path,
    tmp_path: Path,
    journals: Path,
    detected_positions: list[int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    output, log = tmp_path / "peaks.h5", tmp_path / "log"
    script = [sys.executable, "-c", SLOW_RUN, str(scan), str(output), str(journals), str(log)]
    with subprocess.Popen(script, stderr=subprocess.PIPE) as killed:
        deadline = time.monotonic() + 100
        while not (log.is_file() and log.read_text().count("\n") >= 4):
            assert killed.poll() is None, killed.stderr and killed.stderr.read().decode()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        killed.kill()
    assert not output.exists()
    kept = [int(word) for line in log.read_text().split("\n")[:4] for word in line.split()]
    assert main(words(scan, output, "--resume")) == 0
    assert not set(kept) & set(detected_positions)
    assert len(detected_positions) == len(set(detected_positions)) <= 80 - len(kept)
    capsys.readouterr()
    assert main(words(scan, tmp_path / "whole.h5")) == 0
    assert same_peaks(open_bragg_peaks(output), open_bragg_peaks(tmp_path / "whole.h5"))
    assert list(journals.iterdir()) == []


def test_a_run_without_resume_says_what_is_left_and_starts_over(
    scan: Path,
    tmp_path: Path,
    journals: Path,
    detected_positions: list[int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "peaks.h5"
    with monkeypatch.context() as patched:
        patched.setattr(correlation, "detect_bragg_peaks", crash_in_block(3))
        assert main(words(scan, output)) == 1
    assert "fallen off the bus" in capsys.readouterr().err
    detected_positions.clear()
    assert main(words(scan, output, "--min-spacing-px", "9", "--resume")) == 1
    assert "with other parameters" in capsys.readouterr().err
    assert detected_positions == []
    assert main(words(scan, output)) == 0
    assert "12 of 80 positions are left from a run that was interrupted" in capsys.readouterr().err
    assert sorted(detected_positions) == list(range(80))
    assert list(journals.iterdir()) == []
    assert main(words(scan, tmp_path / "other.h5", "--resume")) == 1
    assert "there is nothing to go on from" in capsys.readouterr().err


def test_peaks_that_were_made_otherwise_are_refused_and_kept_in_no_journal(
    scan: Path, tmp_path: Path, journals: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "peaks.h5"
    assert main(words(scan, output)) == 0
    assert main(words(scan, output, "--min-spacing-px", "9", "--resume")) == 1
    assert "with other parameters" in capsys.readouterr().err
    assert list(journals.iterdir()) == []


def test_what_a_run_with_other_parameters_has_left_stays(
    scan: Path,
    tmp_path: Path,
    journals: Path,
    detected_positions: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(correlation, "detect_bragg_peaks", crash_in_block(3))
        assert main(words(scan, tmp_path / "peaks.h5")) == 1
    assert main(words(scan, tmp_path / "other.h5", "--min-spacing-px", "9")) == 0
    detected_positions.clear()
    assert main(words(scan, tmp_path / "peaks.h5", "--resume")) == 0
    assert len(detected_positions) == 80 - 3 * FRAMES_A_BLOCK
    assert list(journals.iterdir()) == []


def full_disk(*_: object, **__: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_too_full_for_a_journal_is_said_and_the_run_goes_on(
    scan: Path,
    tmp_path: Path,
    journals: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "peaks.h5"
    with monkeypatch.context() as patched:
        patched.setattr(run_journal.os, "write", full_disk)
        assert main(words(scan, output)) == 0
    message = capsys.readouterr().err
    assert message.count("the disk is full") == 1
    assert open_bragg_peaks(output).detected.all()


def test_peaks_that_cannot_be_saved_are_kept_and_need_not_be_detected_again(
    scan: Path,
    tmp_path: Path,
    journals: Path,
    detected_positions: list[int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "peaks.h5"
    with monkeypatch.context() as patched:
        patched.setattr("napari_stem_orient.io.peaks.save_bragg_peaks", full_disk)
        assert main(words(scan, output)) == 1
    assert "All 80 positions are kept: repeat the command with --resume" in capsys.readouterr().err
    detected_positions.clear()
    assert main(words(scan, output, "--resume")) == 0
    assert detected_positions == []
    assert open_bragg_peaks(output).detected.all()


def test_peaks_that_can_neither_be_saved_nor_kept_are_put_where_there_is_room(
    scan: Path,
    tmp_path: Path,
    journals: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from napari_stem_orient.io import peaks as peaks_files

    original, output = peaks_files.save_bragg_peaks, tmp_path / "full disk" / "peaks.h5"
    output.parent.mkdir()

    def only_elsewhere(peaks: BraggPeaks, path: Path, **_: object) -> Path:
        return original(peaks, path) if output.parent not in path.parents else Path(str(full_disk()))

    monkeypatch.setattr(peaks_files, "save_bragg_peaks", only_elsewhere)
    monkeypatch.setattr(run_journal.os, "write", full_disk)
    assert main(words(scan, output)) == 1
    message = capsys.readouterr().err
    (rescued,) = journals.glob("*.h5")
    assert f"The peaks are in {rescued} instead" in message
    assert open_bragg_peaks(rescued).detected.all()


@pytest.mark.usefixtures("py4dstem", "journals")
def test_indexing_that_crashed_goes_on(
    scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from napari_stem_orient.indexing import template_matching

    peaks, output = tmp_path / "peaks.h5", tmp_path / "map.h5"
    known = ["--voltage-kv", "300", "--pixel-size-inv-angstrom", "0.04"]
    assert main(words(scan, peaks, *known)) == 0
    index = ["index", str(peaks), "--crystal", "Cu", "--method", "template", "--quiet"]
    index += ["--angle-step-zone-axis-deg", "10", "--angle-step-in-plane-deg", "10"]
    assert main([*index, "--output", str(tmp_path / "whole.h5")]) == 0
    monkeypatch.setattr(template_matching, "SECONDS_PER_BLOCK", 1e-6)
    original = template_matching.index_by_template_matching
    matched: list[int] = []

    def noted(*arguments: Any, crash_after: int = 1000, **keywords: Any) -> Iterator[Any]:
        job = original(*arguments, **keywords)
        for number in range(crash_after):
            try:
                block = next(job)
            except StopIteration as finished:
                return finished.value
            assert number < 500
            matched.extend(block.positions.tolist())
            yield block
        raise RuntimeError("crash")

    with monkeypatch.context() as patched:
        patched.setattr(
            template_matching,
            "index_by_template_matching",
            lambda *arguments, **keywords: noted(*arguments, crash_after=30, **keywords),
        )
        assert main([*index, "--output", str(output)]) == 1
    monkeypatch.setattr(template_matching, "index_by_template_matching", noted)
    capsys.readouterr()
    with monkeypatch.context() as patched:
        patched.setattr("napari_stem_orient.io.maps.save_orientation_map", full_disk)
        assert main([*index, "--output", str(output), "--resume"]) == 1
    assert "All 80 positions are kept: repeat the command with --resume" in capsys.readouterr().err
    assert main([*index, "--output", str(output), "--resume"]) == 0
    assert sorted(matched) == list(range(80))
    found, whole = open_orientation_map(output), open_orientation_map(tmp_path / "whole.h5")
    assert np.array_equal(found.quaternion, whole.quaternion)
    assert np.array_equal(found.reason, whole.reason)


def test_what_was_chosen_automatically_is_told(
    scan: Path, tmp_path: Path, journals: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [word for word in words(scan, tmp_path / "peaks.h5") if word != "--quiet"]
    assert main([*arguments, "--min-spacing-px", "7"]) == 0
    captured = capsys.readouterr()
    with pytest.raises(SystemExit):
        main([*arguments, "--min-significance", "5", "--false-disks-per-pattern", "0.5"])
    assert "say the same: leave one out" in capsys.readouterr().err
    lines = captured.err.splitlines()
    told = {line.split(":")[0]: line for line in lines if ": " in line}
    assert "row 24.0, column 24.0 px" in told["Direct beam"]
    assert "--probe-radius-px to change it" in told["Radius"]
    assert "false disks a pattern" in told["False alarms"]
    assert "7 px (given)" in told["Spacing"]
    assert "--counts-per-electron" in told["Gain"]
    assert captured.out.count("\n") == 1  # what a script reads is the result alone
