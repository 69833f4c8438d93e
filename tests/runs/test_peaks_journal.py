"""An interrupted detection is found again with all that it takes to go on."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
from numpy.typing import NDArray

from napari_stem_orient.core.bragg_peaks import BraggPeaks, DetectedBlock
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.detection.correlation import collect_peaks
from napari_stem_orient.runs.peaks_journal import (
    begin_peaks_journal,
    find_interrupted_detections,
    keep_calibration,
    kept_in_journal,
    remove_interrupted_detections,
    remove_kept_peaks,
    running_detections,
)
from napari_stem_orient.runs.run_journal import RunJournal

DESCRIPTION = {"detector": "correlation", "detection": {"min_significance": 4.5}}
PROBE = np.linspace(0, 1, 20, dtype=np.float32).reshape(4, 5)
MASK = np.eye(4, 5, dtype=bool)


@pytest.fixture
def scan(tmp_path: Path) -> DataCube:
    path = tmp_path / "scan.npy"
    np.save(path, np.zeros((3, 4, 4, 5), np.uint8))
    return DataCube(da.zeros((3, 4, 4, 5), dtype=np.uint8), Calibration(), path=path)


def block(*positions: int) -> DetectedBlock:
    """Two peaks at each position, that say where they are from."""
    peaks = np.repeat(np.asarray(positions, dtype=np.float32), 2)
    return DetectedBlock(
        positions=np.asarray(positions, dtype=np.int64),
        x_px=peaks,
        y_px=peaks + 0.25,
        intensity=peaks + 10,
        offsets=np.arange(len(positions) + 1, dtype=np.int64) * 2,
        progress=Progress(len(positions), 12, "patterns"),
        significance=peaks + 5,
    )


def blocks_then_crash(*blocks: DetectedBlock) -> Iterator[DetectedBlock]:
    yield from blocks
    raise RuntimeError("the power is gone")


def run_until_crash(scan: DataCube, folder: Path, *blocks: DetectedBlock, **options) -> None:
    journal = begin_peaks_journal(scan, description=DESCRIPTION, probe_image=PROBE, folder=folder, **options)
    with pytest.raises(RuntimeError, match="power"):
        for _ in kept_in_journal(blocks_then_crash(*blocks), journal):
            pass


def test_what_was_done_is_found_with_all_that_made_it(scan: DataCube, tmp_path: Path) -> None:
    run_until_crash(scan, tmp_path / "journals", block(0, 1), block(7), mask=MASK)
    (run,) = find_interrupted_detections(scan, folder=tmp_path / "journals")
    assert str(run) == "3 of 12 positions are left from a run that was interrupted"
    assert run.description == DESCRIPTION
    assert np.array_equal(run.probe_image, PROBE)
    assert run.mask is not None
    assert np.array_equal(run.mask, MASK)
    peaks = BraggPeaks.from_blocks(
        run.blocks, scan_shape=(3, 4), calibration=Calibration(), detector_shape=(4, 5)
    )
    assert np.flatnonzero(peaks.detected).tolist() == [0, 1, 7]
    assert peaks.x_px.tolist() == [0, 0, 1, 1, 7, 7]
    assert peaks.significance.tolist() == [5, 5, 6, 6, 12, 12]


def test_a_run_that_goes_on_keeps_what_was_done_before(scan: DataCube, tmp_path: Path) -> None:
    earlier = BraggPeaks.from_blocks(
        [block(2, 3, 4)], scan_shape=(3, 4), calibration=Calibration(), detector_shape=(4, 5)
    )
    run_until_crash(scan, tmp_path, block(9), resume_from=earlier)
    (run,) = find_interrupted_detections(scan, folder=tmp_path)
    assert run.n_done == 4


def test_patterns_that_were_unreadable_before_the_crash_are_told_of_in_the_end(
    scan: DataCube, tmp_path: Path
) -> None:
    earlier = collect_peaks(
        scan, [dataclasses.replace(block(0, 1), unreadable_frames=2)], description=DESCRIPTION
    )
    run_until_crash(
        scan, tmp_path, dataclasses.replace(block(2, 3), unreadable_frames=1), block(4), resume_from=earlier
    )
    (run,) = find_interrupted_detections(scan, folder=tmp_path)
    left = collect_peaks(scan, run.blocks, description=run.description)
    assert left.parameters["unreadable_frames"] == 3
    rest = dataclasses.replace(block(*range(5, 12)), unreadable_frames=1)
    whole = collect_peaks(scan, [left.as_block(), rest], description=run.description)
    assert whole.parameters["unreadable_frames"] == 4


def test_a_run_that_an_earlier_version_began_is_found(
    scan: DataCube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It did not count the patterns that were unreadable."""
    keep = RunJournal.append

    def as_then(journal: RunJournal, note: Mapping[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        keep(journal, {name: note[name] for name in note if name != "unreadable_frames"}, arrays)

    monkeypatch.setattr(RunJournal, "append", as_then)
    run_until_crash(scan, tmp_path, block(0, 1))
    (run,) = find_interrupted_detections(scan, folder=tmp_path)
    assert run.n_done == 2
    assert run.blocks[0].unreadable_frames == 0


def test_the_run_that_came_furthest_is_the_first(scan: DataCube, tmp_path: Path) -> None:
    for blocks in ([block(1)], [block(1), block(2, 3)], [block(5, 6)]):
        run_until_crash(scan, tmp_path, *blocks)
    assert [run.n_done for run in find_interrupted_detections(scan, folder=tmp_path)] == [3, 2, 1]
    remove_interrupted_detections(scan, description=DESCRIPTION, folder=tmp_path)
    assert find_interrupted_detections(scan, folder=tmp_path) == []


def test_runs_of_other_scans_and_running_ones_are_not_offered(scan: DataCube, tmp_path: Path) -> None:
    journals = tmp_path / "journals"
    run_until_crash(scan, journals, block(1))
    assert find_interrupted_detections(dataclasses.replace(scan, name="other"), folder=journals) == []
    remove_interrupted_detections(scan, description=DESCRIPTION, folder=journals)
    journal = begin_peaks_journal(scan, description=DESCRIPTION, probe_image=PROBE, folder=journals)
    running = kept_in_journal(blocks_then_crash(block(1), block(2)), journal)
    next(running)
    assert find_interrupted_detections(scan, folder=journals) == []
    running.close()  # as Cancel does
    assert [run.n_done for run in find_interrupted_detections(scan, folder=journals)] == [1]
    assert scan.path is not None
    scan.path.write_bytes(b"another scan under the same name")
    assert find_interrupted_detections(scan, folder=journals) == []


def test_a_run_that_did_nothing_and_a_scan_in_no_file_leave_nothing(scan: DataCube, tmp_path: Path) -> None:
    run_until_crash(scan, tmp_path)
    assert list(tmp_path.glob("*.journal")) == []
    assert find_interrupted_detections(scan, folder=tmp_path) == []
    in_memory = dataclasses.replace(scan, path=None)
    assert begin_peaks_journal(in_memory, description={}, probe_image=PROBE, folder=tmp_path) is None
    run_until_crash(in_memory, tmp_path, block(1))
    assert find_interrupted_detections(in_memory, folder=tmp_path) == []


OTHERWISE = {"detector": "correlation", "detection": {"min_significance": 9.0}}


def finished(
    scan: DataCube, folder: Path, description: Mapping[str, Any], *, calibrated: float | None = None
) -> Path:
    """The journal of a detection of all positions, and of what its peaks were calibrated with since."""
    journal = begin_peaks_journal(scan, description=description, probe_image=PROBE, folder=folder)
    assert journal is not None
    list(kept_in_journal((each for each in [block(*range(12))]), journal))
    if calibrated is not None:
        keep_calibration(calibrated_peaks(scan, description, calibrated), scan=None, folder=folder)
    return journal.path


def an_hour_old(path: Path) -> None:
    before = path.stat().st_mtime - 3600
    os.utime(path, (before, before))


def calibrated_peaks(scan: DataCube, description: Mapping[str, Any], size: float | None) -> BraggPeaks:
    peaks = collect_peaks(scan, [block(*range(12))], description=description)
    return (
        peaks
        if size is None
        else dataclasses.replace(peaks, calibration=Calibration(pixel_size_inv_angstrom=size))
    )


def test_a_new_run_leaves_unsaved_peaks_that_were_found_otherwise(scan: DataCube, tmp_path: Path) -> None:
    older = finished(scan, tmp_path, OTHERWISE)
    newer = finished(scan, tmp_path, DESCRIPTION)
    remove_interrupted_detections(scan, description=DESCRIPTION, keep=newer, folder=tmp_path)
    assert {run.path for run in find_interrupted_detections(scan, folder=tmp_path)} == {older, newer}


def test_a_new_run_takes_the_place_of_the_same_but_not_of_what_was_calibrated(
    scan: DataCube, tmp_path: Path
) -> None:
    plain = finished(scan, tmp_path, DESCRIPTION)
    an_hour_old(plain)  # what is calibrated are the latest
    measured = finished(scan, tmp_path, DESCRIPTION, calibrated=0.02)
    newer = finished(scan, tmp_path, DESCRIPTION)
    remove_interrupted_detections(scan, description=DESCRIPTION, keep=newer, folder=tmp_path)
    left = {run.path for run in find_interrupted_detections(scan, folder=tmp_path)}
    assert left == {measured, newer}


def test_saving_peaks_forgets_them_and_no_others(scan: DataCube, tmp_path: Path) -> None:
    other = finished(scan, tmp_path, OTHERWISE)
    finished(scan, tmp_path, DESCRIPTION, calibrated=0.02)
    remove_kept_peaks(calibrated_peaks(scan, DESCRIPTION, 0.02), folder=tmp_path)
    assert [run.path for run in find_interrupted_detections(scan, folder=tmp_path)] == [other]


def test_saving_peaks_leaves_the_same_with_another_calibration(scan: DataCube, tmp_path: Path) -> None:
    older = finished(scan, tmp_path, DESCRIPTION, calibrated=0.02)
    an_hour_old(older)
    newer = finished(scan, tmp_path, DESCRIPTION)
    remove_kept_peaks(calibrated_peaks(scan, DESCRIPTION, None), folder=tmp_path)
    assert not newer.exists()
    assert [run.path for run in find_interrupted_detections(scan, folder=tmp_path)] == [older]


def test_peaks_calibrated_once_more_and_not_kept_so_are_forgotten_when_saved(
    scan: DataCube, tmp_path: Path
) -> None:
    path = finished(scan, tmp_path, DESCRIPTION, calibrated=0.02)
    remove_kept_peaks(calibrated_peaks(scan, DESCRIPTION, 0.03), folder=tmp_path)
    assert not path.exists()


def test_the_journal_of_a_running_detection_is_known(scan: DataCube, tmp_path: Path) -> None:
    finished(scan, tmp_path, OTHERWISE)
    journal = begin_peaks_journal(scan, description=DESCRIPTION, probe_image=PROBE, folder=tmp_path)
    assert journal is not None
    assert running_detections(scan, folder=tmp_path) == (journal.path,)
    journal.close()
    assert running_detections(scan, folder=tmp_path) == ()
