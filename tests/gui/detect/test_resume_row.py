"""The Detect stage offers to go on with a run that a crash has ended, and goes on with it as it was begun."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot

from napari_stem_orient.core.bragg_peaks import DetectedBlock
from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.detection import correlation
from napari_stem_orient.detection.suggestion import suggest_detection
from napari_stem_orient.gui.detect.widget import DetectWidget
from napari_stem_orient.gui.jobs.resume_jobs import interrupted_run, with_journal
from napari_stem_orient.gui.jobs.stage_jobs import DetectionTask, detection_job
from napari_stem_orient.io.scans import open_datacube
from napari_stem_orient.runs import run_journal
from napari_stem_orient.session.state import Stage
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


def task_for(scan: DataCube, **changes: float) -> DetectionTask:
    suggestion = suggest_detection(scan)
    parameters = suggestion.parameters.model_copy(update=changes)
    return DetectionTask(scan, suggestion.probe, parameters, device="cpu")


def crash_after(number: int, job: Iterator[DetectedBlock]) -> Iterator[DetectedBlock]:
    for _ in range(number):
        yield next(job)
    raise RuntimeError("crash")


def interrupt(task: DetectionTask, *, blocks: int) -> None:
    with pytest.raises(RuntimeError, match="crash"):
        for _ in with_journal(task, crash_after(blocks, detection_job(task))):
            pass


@pytest.fixture
def panel(show_panel: ShowPanel) -> DetectWidget:
    return show_panel(DetectWidget)


def test_an_interrupted_run_is_offered_and_gone_on_with_as_it_was_begun(
    scan: DataCube, panel: DetectWidget, until: Until
) -> None:
    task = task_for(scan, min_spacing_px=7.5)
    interrupt(task, blocks=3)
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
    whole = run_to_end(dataclasses.replace(task, mask=panel.session.detector_mask))
    assert np.array_equal(peaks.x_px, whole.x_px)
    left = interrupted_run(scan)  # it came to its end, and is not saved
    assert left is not None
    assert left.peaks is not None


def run_to_end(task: DetectionTask):
    job = detection_job(task)
    while True:
        try:
            next(job)
        except StopIteration as finished:
            return finished.value


def test_start_over_forgets_the_interrupted_run(
    scan: DataCube, panel: DetectWidget, until: Until, journals: Path
) -> None:
    interrupt(task_for(scan), blocks=2)
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
    interrupt(task_for(scan), blocks=2)
    read_scan(panel.session, scan)
    until(lambda: panel.resume_row.offers)
    panel.session.set_datacube(polycrystal)
    assert not panel.resume_row.offers
    assert not panel.resume_row.isVisible()


def test_a_stopped_run_is_offered_when_the_scan_is_opened_again(scan: DataCube) -> None:
    task = task_for(scan)
    job = with_journal(task, detection_job(task))
    next(job)
    next(job)
    job.close()  # as Cancel does
    run = interrupted_run(scan)
    assert run is not None
    assert run.words.startswith("20 of 120 positions")
    assert run.task.resume_from is not None
    assert run.task.resume_from.detected.sum() == 20


def test_a_full_disk_is_said_while_the_run_goes_on(scan: DataCube, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_journal.os, "write", full_disk)
    task = task_for(scan)
    records = list(with_journal(task, detection_job(task)))
    lost = [record for record in records if isinstance(record, JournalNotice)]
    assert len(lost) == 1
    assert "the disk is full" in lost[0].text
    assert sum(len(record.positions) for record in records if isinstance(record, DetectedBlock)) == 120


def finish(task: DetectionTask) -> None:
    for _ in with_journal(task, detection_job(task)):
        pass


def test_peaks_that_were_not_saved_come_back_as_they_were_calibrated(
    scan: DataCube, panel: DetectWidget, until: Until, qtbot: QtBot, journals: Path
) -> None:
    """The window of the run goes without a word, as with kill -9; another one opens the scan."""
    session, row = panel.session, panel.resume_row
    read_scan(session, scan)
    until(panel.run_button.isEnabled)
    panel.form.set_value(panel.form.value.model_copy(update={"min_spacing_px": 7.5}))
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


def test_peaks_that_were_saved_are_not_offered(
    scan: DataCube, panel: DetectWidget, until: Until, tmp_path: Path, save_file_as, journals: Path
) -> None:
    read_scan(panel.session, scan)
    finish(task_for(scan))
    panel.resume_row.look()
    until(lambda: panel.resume_row.offers and panel.resume_row.resume_button.isEnabled())
    panel.resume_row.resume_button.click()
    save_file_as(tmp_path / "kept.h5")
    panel.save_button.click()
    until(lambda: (tmp_path / "kept.h5").exists() and panel.session.saved.has(panel.session.peaks))
    assert list(journals.iterdir()) == []
    assert interrupted_run(scan) is None


def test_peaks_that_nobody_wants_are_removed_and_those_behind_them_offered(
    scan: DataCube, panel: DetectWidget, until: Until
) -> None:
    finish(task_for(scan))
    interrupt(task_for(scan, min_spacing_px=7.5), blocks=2)
    read_scan(panel.session, scan)
    row = panel.resume_row
    until(lambda: row.offers and row.start_over_button.isEnabled())
    assert row.start_over_button.text() == "Discard"
    row.start_over_button.click()
    until(lambda: row.offers and row.start_over_button.text() == "Start over")
    assert row.label.text().startswith("20 of 120 positions")
    assert panel.session.peaks is None


def test_what_older_results_had_to_go_is_said(scan: DataCube, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(task_for(scan))
    monkeypatch.setattr(run_journal, "LARGEST_BYTES", 1000)
    task = task_for(scan, min_spacing_px=7.5)
    notices = [r for r in with_journal(task, detection_job(task)) if isinstance(r, JournalNotice)]
    assert len(notices) == 1
    assert notices[0].sentence.startswith("Unsaved results of scan of ")
    assert not notices[0].lost
