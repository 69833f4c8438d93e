"""Simulated scans show the truth that they carry."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.simulation.grains import DEFAULT_CALIBRATION, make_polycrystal
from napari_stem_orient.simulation.kinematic import simulate_pattern
from napari_stem_orient.simulation.polycrystal import (
    SimulatedBlock,
    SimulatedScan,
    simulate_bragg_peaks,
    simulate_polycrystal,
)

CU = load_crystal("Cu")


def simulated(**options: Any) -> tuple[list[SimulatedBlock], SimulatedScan]:
    job = simulate_polycrystal([CU], **{"scan_shape": (6, 8), "detector_shape": (96, 112), **options})
    blocks = []
    while True:
        try:
            blocks.append(next(job))
        except StopIteration as finished:
            return blocks, finished.value


def test_frames_have_the_asked_shape_electrons_and_seed() -> None:
    _, scan = simulated(electrons_per_pattern=2e4, vacuum=False)
    _, again = simulated(electrons_per_pattern=2e4, vacuum=False)
    frames = scan.datacube.data.compute()
    assert frames.shape == (6, 8, 96, 112)
    assert frames.dtype == np.uint16
    # Some disks lie outside the detector.
    assert 0.8 * 2e4 < frames.sum(axis=(2, 3)).mean() < 1.02 * 2e4
    assert np.array_equal(frames, again.datacube.data.compute())
    _, other = simulated(seed=1, electrons_per_pattern=2e4)
    assert not np.array_equal(frames, other.datacube.data.compute())


def test_blocks_cover_the_scan_once_with_the_frames_of_the_result() -> None:
    blocks, scan = simulated(scan_shape=(11, 20))
    positions = np.concatenate([block.positions for block in blocks])
    assert np.array_equal(np.sort(positions), np.arange(220))
    frames = scan.datacube.data.compute().reshape(220, 96, 112)
    for block in blocks:
        assert np.array_equal(block.frames, frames[block.positions])
    assert blocks[-1].progress.done == blocks[-1].progress.total == 220


def test_disks_lie_where_the_kinematic_pattern_of_the_truth_says() -> None:
    calibration = DEFAULT_CALIBRATION.updated(scan_rotation_deg=25.0, flip=True, ellipse_ratio=1.05)
    _, scan = simulated(
        scan_shape=(2, 2), calibration=calibration, vacuum=False, drift_px=4.0, electrons_per_pattern=2e6
    )
    for position in range(4):
        frame = scan.datacube.pattern(*divmod(position, 2))
        pattern = simulate_pattern(CU, scan.quaternion[position], voltage_kv=300, q_max=1.0)
        origin = scan.truth.origin_px[position]
        x, y = scan.truth.calibration.q_to_pixels(pattern.q_x[:6], pattern.q_y[:6], origin_px=origin)
        for column, row in zip(np.rint(x).astype(int), np.rint(y).astype(int), strict=True):
            inside = frame[row - 1 : row + 2, column - 1 : column + 2].mean()
            ring = frame[row - 6 : row + 7, column - 6 : column + 7]
            assert inside > 2 * np.median(ring)
        row, column = np.rint(origin).astype(int)
        assert frame[row, column] > 0.3 * frame.max()


def test_vacuum_shows_the_direct_beam_alone() -> None:
    _, scan = simulated(scan_shape=(12, 12), electrons_per_pattern=1e5)
    frames = scan.datacube.data.compute().reshape(-1, 96, 112)
    vacuum = frames[scan.truth.vacuum].astype(float)
    assert len(vacuum)
    row, column = np.rint(scan.truth.calibration.origin_px).astype(int)
    beam = vacuum[:, row - 5 : row + 6, column - 5 : column + 6].sum(axis=(1, 2))
    assert (beam / vacuum.sum(axis=(1, 2))).min() > 0.98


def test_thicker_positions_diffract_more() -> None:
    truth_options: dict[str, Any] = {"scan_shape": (1, 2), "n_grains": 1, "vacuum": False}
    _, scan = simulated(**truth_options, thickness_nm=(5.0, 50.0), electrons_per_pattern=1e6)
    row, column = np.rint(scan.truth.calibration.origin_px).astype(int)
    thin, thick = scan.datacube.data.compute()[0, :, row, column]
    assert thick < 0.7 * thin


def test_missing_calibration_values_are_named() -> None:
    unknown = DEFAULT_CALIBRATION.updated(convergence_angle_mrad=None)
    with pytest.raises(ValueError, match="convergence_angle_mrad"):
        simulated(calibration=unknown)
    truth = make_polycrystal([CU], calibration=DEFAULT_CALIBRATION.updated(voltage_kv=None))
    with pytest.raises(ValueError, match="accelerating voltage"):
        simulate_bragg_peaks(truth)


def test_a_simulation_can_be_closed_halfway() -> None:
    job = simulate_polycrystal([CU], scan_shape=(20, 20), detector_shape=(64, 64))
    assert next(job).progress.done < 400
    job.close()


def test_peaks_are_the_reflections_of_the_truth() -> None:
    truth = make_polycrystal([CU], scan_shape=(3, 4), vacuum=False)
    peaks = simulate_bragg_peaks(truth, direct_beam=False)
    for position in range(12):
        found = peaks.at(*divmod(position, 4))
        pattern = simulate_pattern(
            CU, truth.quaternion[position], voltage_kv=300, q_max=1.55, minimum_intensity=1e-3
        )
        distance = np.hypot(
            pattern.q_x[:, None] - found[None, :, 0], pattern.q_y[:, None] - found[None, :, 1]
        )
        assert distance.min(axis=1).max() < 1e-4
        # Strongest first, and the strongest is that of the kinematic pattern.
        assert (np.diff(found[:, 2]) <= 0).all()
        assert distance[0].argmin() == 0
    assert (peaks.counts() > 4).all()


def test_peaks_know_the_wandering_direct_beam() -> None:
    truth = make_polycrystal([CU], scan_shape=(3, 4), drift_px=5.0)
    peaks = simulate_bragg_peaks(truth)
    np.testing.assert_allclose(peaks.origin_px, truth.origin_px, atol=1e-4)
    for y, x in [(0, 0), (2, 3)]:
        at_origin = np.hypot(*peaks.at(y, x)[:, :2].T) < 1e-6
        assert at_origin.sum() == 1
        pixel = peaks.pixels_at(y, x)[at_origin][0, :2]
        np.testing.assert_allclose(pixel[::-1], truth.origin_px[y * 4 + x], atol=1e-3)


def test_noise_options_do_what_they_say() -> None:
    truth = make_polycrystal([CU], scan_shape=(20, 20))
    clean = simulate_bragg_peaks(truth, direct_beam=False)
    assert (clean.counts()[truth.vacuum] == 0).all()
    sparse = simulate_bragg_peaks(truth, direct_beam=False, missing_fraction=0.4)
    assert sparse.n_peaks / clean.n_peaks == pytest.approx(0.6, abs=0.03)
    crowded = simulate_bragg_peaks(truth, direct_beam=False, n_spurious=3.0)
    assert (crowded.n_peaks - clean.n_peaks) / 400 == pytest.approx(3, abs=0.3)
    strong = simulate_bragg_peaks(truth, direct_beam=False, minimum_relative_intensity=0.3)
    assert 0 < strong.n_peaks < 0.8 * clean.n_peaks
    shaken = simulate_bragg_peaks(truth, direct_beam=False, position_noise_inv_angstrom=0.004)
    y, x = divmod(int(np.flatnonzero(~truth.vacuum)[0]), 20)
    # Peaks stay in order of intensity, so they can be compared one by one away from the detector's edge.
    shift = shaken.at(y, x)[:5, :2] - clean.at(y, x)[:5, :2]
    assert 0 < np.abs(shift).max() < 0.02
    again = simulate_bragg_peaks(truth, direct_beam=False, position_noise_inv_angstrom=0.004)
    assert again.fingerprint == shaken.fingerprint


def test_vacuum_alone_has_the_direct_beam_and_nothing_else() -> None:
    truth = make_polycrystal([CU], scan_shape=(12, 12))
    peaks = simulate_bragg_peaks(truth)
    assert (peaks.counts()[truth.vacuum] == 1).all()
