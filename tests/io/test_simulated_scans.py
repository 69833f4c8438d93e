"""A simulated scan comes back from its file with calibration and truth; the sample is made once."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.io import simulated_scans
from napari_stem_orient.io.scans import open_datacube
from napari_stem_orient.io.simulated_scans import (
    make_sample,
    open_truth,
    sample_is_there,
    sample_path,
    save_simulated_scan,
    truth_path,
)
from napari_stem_orient.simulation.grains import DEFAULT_CALIBRATION
from napari_stem_orient.simulation.polycrystal import SimulatedScan, simulate_polycrystal


def simulated(calibration: Calibration | None = None) -> SimulatedScan:
    crystals = [load_crystal("Cu"), load_crystal("LiCoO2")]
    shape = {"scan_shape": (4, 5), "detector_shape": (48, 64)}
    job = simulate_polycrystal(crystals, **shape, n_grains=3, calibration=calibration)
    while True:
        try:
            next(job)
        except StopIteration as finished:
            return finished.value


def run_sample(folder: Path) -> tuple[Path, int]:
    job = make_sample(folder)
    n_blocks = 0
    while True:
        try:
            next(job)
            n_blocks += 1
        except StopIteration as finished:
            return finished.value, n_blocks


@pytest.fixture
def small_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated_scans, "SAMPLE_SCAN_SHAPE", (4, 6))


def test_a_saved_scan_opens_with_its_frames_and_calibration(tmp_path: Path) -> None:
    scan = simulated()
    save_simulated_scan(scan, tmp_path / "scan.hspy")
    opened = open_datacube(tmp_path / "scan.hspy")
    assert np.array_equal(opened.data.compute(), scan.datacube.data.compute())
    for name in ("voltage_kv", "pixel_size_inv_angstrom", "scan_step_nm", "convergence_angle_mrad"):
        assert getattr(opened.calibration, name) == pytest.approx(getattr(DEFAULT_CALIBRATION, name))
    assert opened.calibration.missing_for_indexing() == ()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["scan.hspy", "scan_truth.npz"]


def test_ellipse_rotation_and_flip_come_back_with_a_saved_scan(tmp_path: Path) -> None:
    told = DEFAULT_CALIBRATION.updated(
        ellipse_ratio=1.04,
        ellipse_angle_deg=-20.0,
        scan_rotation_deg=35.0,
        flip=True,
        precession_angle_deg=0.7,
    )
    path = tmp_path / "scan.hspy"
    save_simulated_scan(simulated(told), path)
    opened = open_datacube(path).calibration
    assert opened.updated(precession_angle_deg=0.7) == told
    assert opened.precession_angle_deg == pytest.approx(0.7)


def test_a_saved_scan_that_another_program_has_binned_has_lost_its_flip(tmp_path: Path) -> None:
    path = tmp_path / "scan.hspy"
    save_simulated_scan(simulated(DEFAULT_CALIBRATION.updated(flip=True)), path)
    with h5py.File(path, "a") as file:
        (scan,) = file["Experiments"].values()
        for name, axis in scan.items():
            if name in ("axis-2", "axis-3"):
                axis.attrs["scale"] = 2 * axis.attrs["scale"]
    opened = open_datacube(path).calibration
    assert opened.pixel_size_inv_angstrom == pytest.approx(0.05)
    assert not opened.flip


def test_the_truth_lies_beside_the_scan(tmp_path: Path) -> None:
    scan = simulated()
    save_simulated_scan(scan, tmp_path / "scan.hspy")
    truth = open_truth(tmp_path / "scan.hspy")
    for name in ("grain", "phase_id", "quaternion", "thickness_nm", "origin_px"):
        assert np.array_equal(getattr(truth, name), getattr(scan.truth, name))
    for name in ("scan_shape", "detector_shape", "crystals", "calibration", "twins"):
        assert getattr(truth, name) == getattr(scan.truth, name)


def test_only_hspy_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in \.hspy"):
        save_simulated_scan(simulated(), tmp_path / "scan.h5")


@pytest.mark.usefixtures("small_sample")
def test_the_sample_is_made_once_and_taken_from_the_cache_then(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "deep"
    path, n_blocks = run_sample(folder)
    assert n_blocks > 0
    assert sample_is_there(path)
    written = path.stat().st_mtime_ns
    assert run_sample(folder) == (path, 0)
    assert path.stat().st_mtime_ns == written
    assert open_truth(path).twins


@pytest.mark.usefixtures("small_sample")
def test_a_damaged_sample_is_made_anew(tmp_path: Path) -> None:
    path, _ = run_sample(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 3])
    assert not sample_is_there(path)
    again, n_blocks = run_sample(tmp_path)
    assert n_blocks > 0
    assert sample_is_there(again)


@pytest.mark.usefixtures("small_sample")
def test_a_stopped_sample_leaves_nothing_behind(tmp_path: Path) -> None:
    job = make_sample(tmp_path)
    next(job)
    job.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small_sample")
def test_without_its_truth_the_sample_is_not_there(tmp_path: Path) -> None:
    path, _ = run_sample(tmp_path)
    truth_path(path).unlink()
    assert not sample_is_there(path)


def test_the_sample_is_kept_in_the_users_cache() -> None:
    assert sample_path().suffix == ".hspy"
    assert "napari-stem-orient" in str(sample_path())
