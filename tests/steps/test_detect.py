"""Detection as a step: what is not given is measured; a run is kept, resumed and never done twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_stem_orient.core.bragg_peaks import BraggPeaks, DetectedBlock
from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.core.errors import UserError
from napari_stem_orient.core.progress import result_of
from napari_stem_orient.detection import correlation
from napari_stem_orient.detection.suggestion import suggest_detection
from napari_stem_orient.io.peaks import open_bragg_peaks, save_bragg_peaks
from napari_stem_orient.runs import peaks_journal, run_journal
from napari_stem_orient.steps.detect import (
    DetectChoice,
    DetectPlan,
    GivenDetectionParameters,
    look_at_pattern,
    plan_detection,
)
from napari_stem_orient.steps.detection_run import (
    DetectionRun,
    left_detections,
    plan_to_go_on,
    resumable,
)
from napari_stem_orient.steps.journal_notices import JournalNotice
from napari_stem_orient.steps.mask import painted_mask
from napari_stem_orient.steps.open import OpenChoice, open_scan
from napari_stem_orient.steps.probe import ProbeChoice

FRAMES_A_BLOCK = 4


@pytest.fixture
def scan(scan_file: Path, monkeypatch: pytest.MonkeyPatch) -> DataCube:
    """The scan, detected in blocks of four positions."""
    monkeypatch.setattr(correlation, "SECONDS_PER_RECORD", 0.0)
    monkeypatch.setattr(correlation, "BATCH_PIXELS", {"cpu": FRAMES_A_BLOCK * 48 * 48})
    return open_scan(scan_file, OpenChoice())


def plan_for(scan: DataCube, *, radius_px: float | None = None, **given: object) -> DetectPlan:
    probe = ProbeChoice() if radius_px is None else ProbeChoice(radius_px=radius_px)
    choice = DetectChoice(probe=probe, parameters=GivenDetectionParameters(given), device="cpu")
    return result_of(plan_detection(choice, scan))


def stop_after(number: int, run: DetectionRun) -> None:
    job = run.job()
    for _ in range(number):
        next(job)
    job.close()


def positions_of(run: DetectionRun) -> list[int]:
    """Run to the end; the positions that were detected, in their order."""
    done: list[int] = []
    for record in run.job():
        if isinstance(record, DetectedBlock):
            done += record.positions.tolist()
    return done


def same(one: BraggPeaks, other: BraggPeaks) -> bool:
    columns = ("x_px", "y_px", "intensity", "offsets")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in columns)


def test_what_is_not_given_is_measured_and_what_is_given_counts(scan: DataCube) -> None:
    measured = suggest_detection(scan)
    plan = plan_for(scan, edge_px=7)
    assert plan.measured is not None
    assert plan.measured.parameters == measured.parameters
    assert plan.parameters == measured.parameters.model_copy(update={"edge_px": 7.0})
    assert np.array_equal(plan.probe.image, measured.probe.image)
    again = plan.with_parameters(GivenDetectionParameters())
    assert again.parameters == measured.parameters
    assert again.choice == plan.choice.changed(parameters=GivenDetectionParameters())


def test_fewer_false_disks_ask_for_more_significance(scan: DataCube) -> None:
    few = result_of(plan_detection(DetectChoice(false_disks_per_pattern=0.01), scan))
    many = result_of(plan_detection(DetectChoice(false_disks_per_pattern=5), scan))
    assert few.parameters.min_significance > many.parameters.min_significance


def test_a_stopped_run_is_left_and_gone_on_with_to_the_same_peaks(scan: DataCube) -> None:
    whole = result_of(DetectionRun(plan_for(scan)).job())
    first = DetectionRun(plan_for(scan))
    first.forget()
    assert first.so_far() is None
    stop_after(3, first)
    kept = first.so_far()
    assert kept is not None
    assert int(kept.detected.sum()) == 3 * FRAMES_A_BLOCK
    assert first.is_kept
    (left,) = left_detections(scan)
    assert (left.n_done, left.n_positions, left.finished) == (12, 80, False)
    assert left.plan.choice == first.plan.choice
    run = DetectionRun(left.plan, resume_from=left.peaks)
    done = positions_of(run)
    assert sorted(done) == list(range(12, 80))
    peaks = run.so_far()
    assert peaks is not None
    assert same(peaks, whole)
    (left,) = left_detections(scan)  # the new journal has all of it
    assert left.finished


@pytest.mark.parametrize(
    "probe", [ProbeChoice(radius_px=2.5), ProbeChoice(source="mean")], ids=lambda probe: probe.source
)
def test_a_run_of_an_earlier_version_says_which_template_it_had(
    probe: ProbeChoice, scan: DataCube, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its journal keeps no choice, and the recipe of its peaks follows from what it was detected with."""
    plan = result_of(plan_detection(DetectChoice(probe=probe, device="cpu"), scan))
    stop_after(2, DetectionRun(plan))
    runs = [replace(run, choice=None) for run in peaks_journal.find_interrupted_detections(scan)]
    monkeypatch.setattr(peaks_journal, "find_interrupted_detections", lambda _: runs)
    (left,) = left_detections(scan)
    assert left.plan.choice.probe == probe
    again = result_of(plan_detection(left.plan.choice, scan))
    assert not left.differs_from(again)


@pytest.mark.parametrize(("radius", "goes_on"), [(2.501, True), (2.6, False)])
def test_a_radius_that_is_measured_again_with_other_last_digits_is_the_same_template(
    scan: DataCube, radius: float, goes_on: bool
) -> None:
    stop_after(2, DetectionRun(plan_for(scan, radius_px=2.5)))
    again = plan_for(scan, radius_px=radius)
    found = resumable(again)
    (left,) = left_detections(scan)
    assert (plan_to_go_on(again, left.peaks) is not None) is goes_on
    assert (found.peaks is not None) is goes_on
    assert (found.other is None) is goes_on
    assert bool(left.differs_from(again)) is not goes_on
    if goes_on:
        whole = result_of(plan_for(scan, radius_px=2.5).blocks())
        run = DetectionRun(found.plan, resume_from=found.peaks)
        assert len(positions_of(run)) == 80 - 2 * FRAMES_A_BLOCK
        peaks = run.so_far()
        assert peaks is not None
        assert same(peaks, whole)  # it goes on as it was begun
    else:
        with pytest.raises(UserError, match="another template: use the same, or detect anew"):
            next(DetectionRun(again, resume_from=left.peaks).job())


def test_what_is_given_counts_as_it_is_given_however_little_it_differs(scan: DataCube) -> None:
    plan = plan_for(scan)
    stop_after(2, DetectionRun(plan))
    (left,) = left_detections(scan)
    slightly = plan_for(scan, min_significance=plan.parameters.min_significance + 0.01)
    assert left.differs_from(slightly) == ("other parameters",)
    assert resumable(slightly).peaks is None


def test_every_way_of_detecting_otherwise_is_named(scan: DataCube) -> None:
    plan = plan_for(scan)
    mask = np.zeros((48, 48), dtype=bool)
    mask[3, 3] = True
    masked = plan.choice.changed(mask=painted_mask(mask))
    stop_after(1, DetectionRun(plan))
    (left,) = left_detections(scan)
    assert left.differs_from(plan_for(scan, max_peaks=9)) == ("other parameters",)
    assert left.differs_from(plan.with_engine("py4DSTEM")) == ("another detector",)
    assert left.differs_from(plan.with_engine("correlation", "auto")) == ()
    with_mask = result_of(plan_detection(masked, scan, painted=mask))
    assert "another detector mask" in left.differs_from(with_mask)


def test_whichever_came_further_is_gone_on_from(scan: DataCube) -> None:
    plan = plan_for(scan)
    short, long = DetectionRun(plan), DetectionRun(plan)
    stop_after(2, long)
    stop_after(1, short)
    earlier = short.so_far()
    found = resumable(plan, earlier=earlier)
    assert found.peaks is not None
    assert int(found.peaks.detected.sum()) == 2 * FRAMES_A_BLOCK
    whole = result_of(DetectionRun(plan).job())
    assert resumable(plan, earlier=whole).peaks is whole


def test_saved_peaks_leave_no_journal_and_what_was_made_otherwise_stays(
    scan: DataCube, tmp_path: Path, journals: Path
) -> None:
    stop_after(1, DetectionRun(plan_for(scan, min_spacing_px=9)))
    run = DetectionRun(plan_for(scan))
    peaks = result_of(run.job())
    assert len(list(journals.iterdir())) == 2
    save_bragg_peaks(peaks, tmp_path / "peaks.h5")
    run.forget()
    (left,) = left_detections(scan)
    assert left.plan.parameters.min_spacing_px == 9
    assert same(open_bragg_peaks(tmp_path / "peaks.h5"), peaks)
    again = plan_for(scan)
    result_of(DetectionRun(again, replaces_others=True).job())
    assert len(list(journals.iterdir())) == 2  # peaks that were found otherwise are not lost
    result_of(DetectionRun(again, replaces_others=True).job())
    assert len(list(journals.iterdir())) == 2  # the same ones are there once


def test_a_full_disk_is_said_once_while_the_run_goes_on(
    scan: DataCube, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_journal.os, "write", full_disk)
    run = DetectionRun(plan_for(scan))
    records = list(run.job())
    lost = [record for record in records if isinstance(record, JournalNotice)]
    assert [notice.lost for notice in lost] == [True]
    assert "the disk is full" in lost[0].text
    assert not run.is_kept
    assert sum(len(record.positions) for record in records if isinstance(record, DetectedBlock)) == 80


def test_a_run_of_an_earlier_version_is_gone_on_with_as_it_was_made(scan: DataCube) -> None:
    """Its journal does not say what was chosen, only what it was detected with."""
    from napari_stem_orient.runs.peaks_journal import begin_peaks_journal, kept_in_journal

    plan = plan_for(scan, min_spacing_px=9)
    journal = begin_peaks_journal(scan, description=plan.description(), probe_image=plan.probe.image)
    job = kept_in_journal(plan.blocks(), journal)
    next(job)
    job.close()
    (left,) = left_detections(scan)
    assert left.plan.choice.parameters.root["min_spacing_px"] == 9
    assert left.plan.parameters == plan.parameters
    assert plan_to_go_on(left.plan, left.peaks) is not None


def test_one_pattern_is_looked_at_as_the_run_will_see_it(scan: DataCube) -> None:
    plan = plan_for(scan)
    seen = look_at_pattern(plan, (2, 3))
    peaks = result_of(plan.blocks())
    assert np.allclose(np.sort(seen.x_px), np.sort(peaks.pixels_at(2, 3)[:, 0]), atol=1e-3)
