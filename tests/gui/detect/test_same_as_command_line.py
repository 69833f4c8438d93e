"""Panel and command line make equal choices of equal input, and find the same peaks, to the bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot

from napari_stem_orient.cli.choices import detect_choice
from napari_stem_orient.cli.main import build_parser, main
from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.progress import result_of
from napari_stem_orient.detection import correlation
from napari_stem_orient.gui.canvas.scan_region import VACUUM_REGION
from napari_stem_orient.gui.detect import mask_row
from napari_stem_orient.gui.detect.probe_chooser import SOURCES
from napari_stem_orient.gui.detect.widget import DetectWidget
from napari_stem_orient.gui.parts.number_box import NumberBox
from napari_stem_orient.io.peaks import open_bragg_peaks, save_bragg_peaks
from napari_stem_orient.session.state import Stage
from napari_stem_orient.steps.detect import DetectChoice, plan_detection
from napari_stem_orient.steps.detection_run import DetectionRun
from napari_stem_orient.steps.open import OpenChoice, open_scan
from napari_stem_orient.steps.probe import ProbeChoice
from opened_scan import read_scan
from patience import Until
from turning_disks import save_scan, save_scan_behind_a_stop


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    return save_scan(tmp_path)


@pytest.fixture
def panel(qtbot: QtBot) -> DetectWidget:
    panel = DetectWidget(ViewerModel())  # type: ignore[arg-type]
    qtbot.addWidget(panel)
    panel.show()
    return panel


def show(panel: DetectWidget, path: Path, until: Until) -> DetectWidget:
    read_scan(panel.session, open_scan(path, OpenChoice()))
    until(panel.run_button.isEnabled)
    return panel


def chosen_with(path: Path, *words: str) -> DetectChoice:
    """What the command line takes these words for."""
    line = ["detect", str(path), "--output", "peaks.h5", *words]
    return detect_choice(build_parser("detect").parse_args(line))


def found_by_command(path: Path, *words: str) -> BraggPeaks:
    output = path.with_name("by_command.h5")
    assert main(["detect", str(path), "--output", str(output), "--quiet", *words]) == 0
    return open_bragg_peaks(output)


def found_by_panel(panel: DetectWidget, until: Until) -> BraggPeaks:
    panel.run_button.click()
    until(lambda: panel.session.running_job(Stage.DETECT) is None and panel.session.peaks is not None)
    assert panel.session.peaks is not None
    return panel.session.peaks


def assert_same(one: BraggPeaks, other: BraggPeaks) -> None:
    for name in ("x_px", "y_px", "intensity", "offsets", "detected"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert {**one.parameters} == {**other.parameters}


def number(panel: DetectWidget, name: str) -> NumberBox:
    box = panel.form.editor(name)
    assert isinstance(box, NumberBox)
    return box


def nothing(_: DetectWidget) -> None:
    """Leave all as it is measured."""


def flat_disk(panel: DetectWidget) -> None:
    panel.chooser.source_box.setCurrentText(SOURCES["synthetic"])


def disk_of_radius(panel: DetectWidget) -> None:
    flat_disk(panel)
    panel.chooser.radius_box.setValue(2.5)


def mean_beam(panel: DetectWidget) -> None:
    panel.chooser.source_box.setCurrentText(SOURCES["mean"])


def vacuum(panel: DetectWidget) -> None:
    """Rows 0 and 1, columns 0 to 2: positions 1 to 3 and 11 to 13 of a scan of 8 x 10."""
    panel.chooser.source_box.setCurrentText(SOURCES["vacuum"])
    panel.chooser.draw_button.click()
    layer = VACUUM_REGION.layer(panel.viewer)
    assert layer is not None
    layer.add_rectangles([[-0.5, -0.5], [-0.5, 2.5], [1.5, 2.5], [1.5, -0.5]])
    panel.chooser.use_button.click()


def parameters(panel: DetectWidget) -> None:
    number(panel, "min_spacing_px").setValue(7)
    number(panel, "max_peaks").setValue(3)


def no_mask(panel: DetectWidget) -> None:
    panel.mask_row._on_clear()


CASES: list[tuple[Callable[[DetectWidget], None], tuple[str, ...]]] = [
    (nothing, ()),
    (flat_disk, ("--probe", "synthetic")),
    (disk_of_radius, ("--probe-radius-px", "2.5")),
    (mean_beam, ("--probe", "mean")),
    (vacuum, ("--probe-vacuum", "1-3,11-13")),
    (parameters, ("--min-spacing-px", "7", "--max-peaks", "3")),
    (no_mask, ("--mask", "none")),
]


@pytest.mark.parametrize(("drive", "words"), CASES, ids=[drive.__name__ for drive, _ in CASES])
def test_equal_input_is_an_equal_choice_and_finds_the_same_peaks(
    scan: Path,
    panel: DetectWidget,
    until: Until,
    drive: Callable[[DetectWidget], None],
    words: tuple[str, ...],
) -> None:
    show(panel, scan, until)
    drive(panel)
    until(panel.run_button.isEnabled)
    assert panel.planner.choice == chosen_with(scan, *words)
    assert_same(found_by_panel(panel, until), found_by_command(scan, *words))


def test_a_mask_of_a_file_is_the_same_in_both(
    scan: Path, panel: DetectWidget, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = np.zeros((48, 48), dtype=bool)
    mask[10:14, 20:22] = True
    np.save(scan.with_name("mask.npy"), mask)
    show(panel, scan, until)
    monkeypatch.setattr(mask_row, "ask_open_file", lambda *_args, **_keywords: scan.with_name("mask.npy"))
    panel.mask_row.open_button.click()
    until(lambda: panel.planner.choice.mask.kind == "file" and panel.run_button.isEnabled())
    words = ("--mask", str(scan.with_name("mask.npy")))
    assert panel.planner.choice == chosen_with(scan, *words)
    peaks = found_by_panel(panel, until)
    assert peaks.parameters["mask"]["pixels"] == 8
    assert_same(peaks, found_by_command(scan, *words))


def test_a_beam_stop_is_used_in_both_until_it_is_left_out_in_both(
    tmp_path: Path, panel: DetectWidget, until: Until
) -> None:
    """It lets nothing through, as a dead patch of the detector, and is none."""
    path = save_scan_behind_a_stop(tmp_path)
    show(panel, path, until)
    assert panel.planner.choice == chosen_with(path)
    by_panel, by_command = found_by_panel(panel, until), found_by_command(path)
    assert by_panel.parameters.get("mask") is by_command.parameters.get("mask") is None
    assert_same(by_panel, by_command)
    panel.mask_row.stop_button.click()
    until(panel.run_button.isEnabled)
    assert panel.planner.choice == chosen_with(path, "--beam-stop")
    by_panel, by_command = found_by_panel(panel, until), found_by_command(path, "--beam-stop")
    assert by_panel.parameters["mask"]["pixels"] > 100
    assert_same(by_panel, by_command)


@pytest.mark.parametrize(("radius", "goes_on"), [("2.501", True), ("2.6", False)])
def test_a_radius_with_other_last_digits_goes_on_in_both_and_another_one_in_neither(
    scan: Path,
    panel: DetectWidget,
    until: Until,
    monkeypatch: pytest.MonkeyPatch,
    radius: str,
    goes_on: bool,
) -> None:
    """After a restart the disks may be measured, or typed, as 2.501 px where they had been 2.500 px."""
    monkeypatch.setattr(correlation, "SECONDS_PER_RECORD", 0.0)
    monkeypatch.setattr(correlation, "BATCH_PIXELS", {"cpu": 40 * 48 * 48})
    choice = DetectChoice(probe=ProbeChoice(radius_px=2.5))
    run = DetectionRun(result_of(plan_detection(choice, open_scan(scan, OpenChoice()))))
    job = run.job()
    next(job)
    job.close()
    half = run.collected()
    save_bragg_peaks(half, scan.with_name("half.h5"))
    run.forget()
    assert 0 < half.detected.sum() < 80
    show(panel, scan, until)
    panel.chooser.source_box.setCurrentText(SOURCES["synthetic"])
    panel.chooser.radius_box.setValue(float(radius))
    until(panel.run_button.isEnabled)
    panel.session.set_peaks(half)
    assert (panel.run_button.text() == "Resume") is goes_on
    words = ["detect", str(scan), "--output", str(scan.with_name("half.h5")), "--quiet"]
    ended = main([*words, "--resume", "--probe-radius-px", radius])
    assert (ended == 0) is goes_on
    if goes_on:
        by_panel = found_by_panel_again(panel, until)
        assert_same(by_panel, open_bragg_peaks(scan.with_name("half.h5")))


def found_by_panel_again(panel: DetectWidget, until: Until) -> BraggPeaks:
    panel.run_button.click()
    until(
        lambda: panel.session.running_job(Stage.DETECT) is None and not panel.session.is_partial(Stage.DETECT)
    )
    assert panel.session.peaks is not None
    return panel.session.peaks
