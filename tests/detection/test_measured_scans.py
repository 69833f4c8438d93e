"""Detection with default settings on measured and independently simulated scans."""

from __future__ import annotations

from collections.abc import Generator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from napari_stem_orient.core.bragg_peaks import BraggPeaks, DetectedBlock
from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.detection.correlation import detect_bragg_peaks
from napari_stem_orient.detection.suggestion import Suggestion, suggest_detection
from napari_stem_orient.io.scans import open_datacube


def finish(job: Generator[DetectedBlock, None, BraggPeaks]) -> BraggPeaks:
    while True:
        try:
            next(job)
        except StopIteration as stop:
            result: BraggPeaks = stop.value
            return result


@cache
def detected(
    path: Path, scan_shape: tuple[int, int] | None = None
) -> tuple[DataCube, Suggestion, BraggPeaks]:
    datacube = open_datacube(path, scan_shape=scan_shape)
    suggestion = suggest_detection(datacube)
    job = detect_bragg_peaks(datacube, probe=suggestion.probe, parameters=suggestion.parameters, device="cpu")
    return datacube, suggestion, finish(job)


def test_the_drifting_origin_of_the_bent_nickel_scan_is_recovered(measured_data: Path) -> None:
    truth = np.load(measured_data / "bent_ni_scan" / "truth.npz")
    _, suggestion, peaks = detected(measured_data / "bent_ni_scan" / "scan.hspy")
    expected = np.stack([truth["origin_y"].ravel(), truth["origin_x"].ravel()], axis=1)
    assert peaks.origin_px is not None
    assert np.sqrt(np.mean((peaks.origin_px - expected) ** 2)) < 0.05
    assert suggestion.probe.radius_px == pytest.approx(1.6e-3 / 0.019687 / 0.0315, abs=0.1)


def test_vacuum_shows_the_direct_beam_and_the_one_false_disk_that_is_stated(measured_data: Path) -> None:
    for name in ("bent_ni_scan", "multislice_cu_cu2o"):
        vacuum = np.load(measured_data / name / "truth.npz")["grain"].ravel() < 0
        _, _, peaks = detected(measured_data / name / "scan.hspy")
        assert 1 <= peaks.counts()[vacuum].mean() < 2.5


def test_most_patterns_of_the_low_dose_scans_have_enough_disks_to_index(measured_data: Path) -> None:
    for name, share, typical in (("bent_ni_scan", 0.75, 5), ("multislice_cu_cu2o", 0.95, 12)):
        inside = np.load(measured_data / name / "truth.npz")["grain"].ravel() >= 0
        _, _, peaks = detected(measured_data / name / "scan.hspy")
        bragg = peaks.counts()[inside] - 1
        assert (bragg >= 4).mean() > share
        assert np.median(bragg) >= typical


def test_precession_patterns_give_their_lattice_of_spots(measured_data: Path) -> None:
    _, suggestion, peaks = detected(measured_data / "ag_sped" / "SPED_Ag_labels_sum_signal.hspy", (1, 5))
    assert suggestion.parameters.mode == "spots"
    assert suggestion.beam.y_px == pytest.approx(56, abs=0.6)
    assert suggestion.beam.x_px == pytest.approx(56, abs=0.6)
    assert peaks.counts().min() >= 20
    assert peaks.counts().max() <= 60


def test_nano_beam_patterns_of_austenite_give_their_disks(measured_data: Path) -> None:
    _, _, peaks = detected(measured_data / "austenite_nbed" / "subset_data.hspy")
    assert peaks.counts().min() >= 20
    assert peaks.counts().max() <= 50
    strong = peaks.intensity > 1e5
    assert strong.sum() >= 4 * 5
