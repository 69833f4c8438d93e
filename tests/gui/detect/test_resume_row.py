"""The Detect stage offers to go on with a run that a crash has ended, and goes on with it as it was begun."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot

from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.core.progress import result_of
from napari_stem_orient.detection import correlation
from napari_stem_orient.gui.detect.widget import DetectWidget
from napari_stem_orient.gui.parts.number_box import NumberBox
from napari_stem_orient.io.scans import open_datacube
from napari_stem_orient.runs import run_journal
from napari_stem_orient.session.state import Stage
from napari_stem_orient.steps.detect import (
    DetectChoice,
    DetectPlan,
    GivenDetectionParameters,
    plan_detection,
)
from napari_stem_orient.steps.detection_run import DetectionRun, left_detections
from napari_stem_orient.steps.journal_notices import JournalNotice
from opened_scan import read_scan
from patience import Until
from shown_panel import ShowPanel


@pytest.fixture
def scan(polycrystal: DataCube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataCube:
    """The scan in a file, detected in blocks of ten positions."""
    monkeypatch.setattr(correlation, "SECONDS_PER_RECORD", 0.0)
    monkeypatch.setattr(correlation, "BATCH_PIXELS", {"cpu": 10 * 96 * 96})
    np.save(tmp_path / "scan.npy", polycrystal.data.compute())
    return open_datacube(tmp_path / "scan.npy").with_calibration(polycrystal.calibration)


def plan_for(scan: DataCube, **given: float) -> DetectPlan:
    choice = DetectChoice(parameters=GivenDetectionParameters(given), device="cpu")
    return result_of(plan_detection(choice, scan))


def interrupt(plan: DetectPlan, *, blocks: int) -> None:
    """Run it until it ends in the middle, as with a crash or Cancel."""
    job = DetectionRun(plan).job()
    for _ in range(blocks):
        next(job)
    job.close()


@pytest.fixture
def panel(show_panel: ShowPanel) -> DetectWidget:
    return show_panel(DetectWidget)


def test_an_interrupted_run_is_offered_and_gone_on_with_as_it_was_begun(
    scan: DataCube, panel: DetectWidget, until: Until
) -> None:
    plan = plan_for(scan, min_spacing_px=7.5)
    interrupt(plan, blocks=3)
    read_scan(panel.session, scan)
    row = panel.resume_row
    until(lambda: row.offers and row.resume_button.isEnabled())
    assert row.label.text() == "30 of 120 positions are left from a run that was interrupted."
    assert row.isVisible()
    seen: list[int] = []
    panel.session.detection_filled.connect(lambda block: seen.extend(block.positions.tolist()))
    row.resume_button.click()
    assert not row.isVisible()
    until(lambda: panel.session.running_job(Stage.DETECT) is None and panel.session.peaks is not None)
    peaks = panel.session.peaks
    assert peaks is not None
    assert peaks.detected.all()
    assert sorted(seen) == list(range(30, 120))
    assert peaks.parameters["detection"]["min_spacing_px"] == 7.5
    assert panel.form.value.min_spacing_px == 7.5
    whole = result_of(plan.blocks())
    assert np.array_equal(peaks.x_px, whole.x_px)
    assert panel.planner.choice == plan.choice
    (left,) = left_detections(scan)  # it came to its end, and is not saved
    assert left.finished


def test_start_over_forgets_the_interrupted_run(
    scan: DataCube, panel: DetectWidget, until: Until, journals: Path
) -> None:
    interrupt(plan_for(scan), blocks=2)
    read_scan(panel.session, scan)
    row = panel.resume_row
    until(lambda: row.offers and row.start_over_button.isEnabled())
    seen: list[int] = []
    panel.session.detection_filled.connect(lambda block: seen.extend(block.positions.tolist()))
    row.start_over_button.click()
    until(lambda: panel.session.peaks is not None)
    assert sorted(seen) == list(range(120))
    assert len(list(journals.iterdir())) == 1  # of the new run


def test_nothing_is_offered_of_a_scan_that_was_not_interrupted(
    scan: DataCube, polycrystal: DataCube, panel: DetectWidget, until: Until
) -> None:
    interrupt(plan_for(scan), blocks=2)
    read_scan(panel.session, scan)
    until(lambda: panel.resume_row.offers)
    panel.session.set_datacube(polycrystal)
    assert not panel.resume_row.offers
    assert not panel.resume_row.isVisible()


def finish(plan: DetectPlan) -> None:
    result_of(DetectionRun(plan).job())


def test_peaks_that_were_not_saved_come_back_as_they_were_calibrated(
    scan: DataCube, panel: DetectWidget, until: Until, qtbot: QtBot, journals: Path
) -> None:
    """The window of the run goes without a word, as with kill -9; another one opens the scan."""
    session, row = panel.session, panel.resume_row
    read_scan(session, scan)
    until(panel.run_button.isEnabled)
    box = panel.form.editor("min_spacing_px")
    assert isinstance(box, NumberBox)
    box.setValue(7.5)
    panel.run_button.click()
    until(lambda: session.running_job(Stage.DETECT) is None and session.peaks is not None)
    before = session.calibration
    assert before is not None
    session.set_calibration(before.updated(pixel_size_inv_angstrom=0.0201, scan_rotation_deg=12.0))
    session.confirm_calibration("pixel size")
    until(lambda: not row._keeping.busy)
    peaks = session.peaks
    assert peaks is not None

    later = DetectWidget(ViewerModel())  # type: ignore[arg-type]
    qtbot.addWidget(later)
    later.show()
    read_scan(later.session, open_datacube(scan.path))
    until(lambda: later.resume_row.offers and later.resume_row.resume_button.isEnabled())
    assert later.resume_row.label.text().startswith("The Bragg peaks of all 120 positions are kept from ")
    assert later.resume_row.label.text().endswith("; they were not saved.")
    later.resume_row.resume_button.click()
    again = later.session.peaks
    assert again is not None
    assert again.fingerprint == peaks.fingerprint
    assert again.calibration == peaks.calibration
    assert later.session.calibration == session.calibration
    assert later.session.calibration_settled
    assert later.form.value.min_spacing_px == 7.5
    assert len(list(journals.iterdir())) == 1  # until they are saved
    # what is changed now counts for the next run, though nothing was measured for the one that was taken
    edge = later.form.editor("edge_px")
    assert isinstance(edge, NumberBox)
    edge.setValue(9)
    until(lambda: later.planner.plan is not None and later.planner.plan.parameters.edge_px == 9)
    assert later.planner.choice.parameters.root["edge_px"] == 9


def test_peaks_that_were_saved_are_not_offered(
    scan: DataCube, panel: DetectWidget, until: Until, tmp_path: Path, save_file_as, journals: Path
) -> None:
    read_scan(panel.session, scan)
    finish(plan_for(scan))
    panel.resume_row.look()
    until(lambda: panel.resume_row.offers and panel.resume_row.resume_button.isEnabled())
    panel.resume_row.resume_button.click()
    save_file_as(tmp_path / "kept.h5")
    panel.save_button.click()
    until(lambda: (tmp_path / "kept.h5").exists() and panel.session.saved.has(panel.session.peaks))
    assert list(journals.iterdir()) == []
    assert left_detections(scan) == []


def test_peaks_that_nobody_wants_are_removed_and_those_behind_them_offered(
    scan: DataCube, panel: DetectWidget, until: Until
) -> None:
    finish(plan_for(scan))
    interrupt(plan_for(scan, min_spacing_px=7.5), blocks=2)
    read_scan(panel.session, scan)
    row = panel.resume_row
    until(lambda: row.offers and row.start_over_button.isEnabled())
    assert row.start_over_button.text() == "Discard"
    row.start_over_button.click()
    until(lambda: row.offers and row.start_over_button.text() == "Start over")
    assert row.label.text().startswith("20 of 120 positions")
    assert panel.session.peaks is None


def test_what_older_results_had_to_go_is_said(scan: DataCube, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(plan_for(scan))
    monkeypatch.setattr(run_journal, "LARGEST_BYTES", 1000)
    plan = plan_for(scan, min_spacing_px=7.5)
    notices = [r for r in DetectionRun(plan).job() if isinstance(r, JournalNotice)]
    assert len(notices) == 1
    assert notices[0].sentence.startswith("Unsaved results of scan of ")
    assert not notices[0].lost
