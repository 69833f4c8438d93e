"""py4DSTEM's calibration and ours describe the same vectors."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calibration_scenes import TRUE, distorted_scan, miscalibrated
from napari_stem_orient.calibration.origin import fit_origins
from napari_stem_orient.calibration.rings import crystal_rings
from napari_stem_orient.calibration.shape import fit_shape
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.io.peaks import save_bragg_peaks
from napari_stem_orient.io.py4dstem_calibration import py4dstem_values, read_py4dstem_calibration

calibrations = st.builds(
    Calibration,
    voltage_kv=st.none() | st.floats(60, 300),
    pixel_size_inv_angstrom=st.none() | st.floats(0.002, 0.1),
    origin_px=st.none() | st.tuples(st.floats(10, 40), st.floats(10, 40)),
    ellipse_ratio=st.just(1.0) | st.floats(1.01, 1.2),
    ellipse_angle_deg=st.floats(-80, 80),
    scan_step_nm=st.none() | st.floats(0.1, 50),
    convergence_angle_mrad=st.none() | st.floats(0.1, 20),
    scan_rotation_deg=st.floats(-170, 170),
    flip=st.booleans(),
)


def written(calibration: Calibration, origin: np.ndarray | None = None) -> h5py.File:
    file = h5py.File.in_memory()
    for name, value in py4dstem_values(calibration, origin, (2, 3)).items():
        file[name] = value
    return file


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(calibrations)
def test_what_is_written_is_read_again(calibration: Calibration) -> None:
    with written(calibration) as file:
        found = read_py4dstem_calibration(file).calibration
    assert np.allclose(found.detector_to_sample(), calibration.detector_to_sample(), atol=1e-9)
    for name in ("voltage_kv", "pixel_size_inv_angstrom", "scan_step_nm", "convergence_angle_mrad"):
        expected = getattr(calibration, name)
        assert getattr(found, name) == (None if expected is None else pytest.approx(expected))
    assert found.origin_px == (
        None if calibration.origin_px is None else pytest.approx(calibration.origin_px)
    )


def test_origins_of_the_positions_keep_rows_and_columns_apart() -> None:
    origin = np.column_stack([np.arange(6) + 10.0, np.arange(6) + 50.0])
    with written(Calibration(), origin) as file:
        assert file["qx0"].shape == (2, 3)
        found = read_py4dstem_calibration(file)
    assert np.allclose(found.origin_px, origin)
    assert found.calibration.origin_px == pytest.approx((12.5, 52.5))


def test_vectors_are_those_that_py4dstem_computes(py4dstem: ModuleType) -> None:
    """One vector through py4DSTEM's own transform, with everything that it can apply."""
    for flip in (False, True):
        vectors = py4dstem.BraggVectors((1, 1), (64, 64))
        data = np.zeros(3, dtype=vectors._v_uncal.dtype)
        data["qx"], data["qy"] = (40.0, 12.0, 30.0), (25.0, 33.0, 60.0)
        vectors._v_uncal[0, 0].add(data)
        theirs = vectors.calibration
        theirs.set_Q_pixel_size(0.02)
        theirs.set_Q_pixel_units("A^-1")
        theirs.set_origin((np.full((1, 1), 31.0), np.full((1, 1), 30.0)))
        theirs.set_ellipse((1.06, 1.0, 0.4))
        theirs.set_QR_rotation_degrees(35)
        theirs.set_QR_flip(flip)
        vectors.setcal()
        expected = vectors.cal[0, 0]
        with h5py.File.in_memory() as file:
            for name in ("Q_pixel_size", "Q_pixel_units", "a", "b", "theta", "QR_rotation", "QR_flip"):
                file[name] = theirs[name]
            ours = read_py4dstem_calibration(file).calibration.updated(origin_px=(31.0, 30.0))
        q_x, q_y = ours.pixels_to_q(data["qy"], data["qx"])
        assert np.allclose(q_x, expected.qy, atol=1e-12)
        assert np.allclose(q_y, expected.qx, atol=1e-12)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"Q_pixel_size": 1.0, "Q_pixel_units": "pixels"},
        {"a": 3.0, "b": 0.0, "theta": 1.0},
        {"qx0": np.full((2, 3), np.nan), "qy0": np.zeros((2, 3))},
        {"Q_pixel_size": np.nan, "Q_pixel_units": "A^-1"},
    ],
)
def test_nothing_is_made_up(values: dict[str, object]) -> None:
    with h5py.File.in_memory() as file:
        for name, value in values.items():
            file[name] = value
        found = read_py4dstem_calibration(file)
    assert found.calibration == Calibration()
    assert found.origin_px is None


def test_calibrated_peaks_give_round_rings_of_the_crystal_in_py4dstem(
    tmp_path: Path, py4dstem: ModuleType
) -> None:
    """A scan with an ellipse and a drifting origin, calibrated and saved by us, calibrated vectors read by py4DSTEM."""
    distorted, _ = distorted_scan(n_spurious=0, calibration=TRUE.updated(scan_rotation_deg=30.0, flip=True))
    peaks = miscalibrated(distorted)
    for fit in (fit_origins, lambda found: fit_shape(found, [load_crystal("Ni")])):
        peaks = fit(peaks).applied_to(peaks)
    vectors = py4dstem.read(str(save_bragg_peaks(peaks, tmp_path / "peaks.h5")))
    vectors.setcal()
    rings = crystal_rings(load_crystal("Ni"), q_max=1.2).q
    for y, x in np.ndindex(peaks.scan_shape):
        cal = vectors.cal[y, x]
        ours = peaks.at(y, x)
        # their first axis is our y
        np.testing.assert_allclose(cal.qx, ours[:, 1], atol=2e-5)
        np.testing.assert_allclose(cal.qy, ours[:, 0], atol=2e-5)
    every = np.concatenate(
        [np.stack([vectors.cal[i].qx, vectors.cal[i].qy]) for i in np.ndindex(16, 16)], axis=1
    )
    q, angle = np.hypot(*every), np.arctan2(every[1], every[0])
    for ring in rings[2:5]:
        near = np.abs(q / ring - 1) < 0.015
        assert np.median(q[near]) == pytest.approx(ring, rel=0.002)
        # no second harmonic is left: the ring is round
        assert abs(np.mean((q[near] / ring - 1) * np.exp(2j * angle[near]))) < 0.0015
