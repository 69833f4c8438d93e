"""The truth of a simulated polycrystal is what its description says."""

from __future__ import annotations

import numpy as np
import pytest

from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.core.orientation import (
    conjugate,
    disorientation_angle_deg,
    misorientation_angle_deg,
    multiply,
    random_quaternions,
)
from napari_stem_orient.simulation.grains import Polycrystal, make_polycrystal

CU, LCO = load_crystal("Cu"), load_crystal("LiCoO2")


def centre_orientation(truth: Polycrystal, grain: int) -> np.ndarray:
    here = np.flatnonzero(truth.grain == grain)
    return truth.quaternion[here[len(here) // 2]]


def test_the_same_seed_gives_the_same_polycrystal_and_another_seed_another() -> None:
    first, again, other = (make_polycrystal([CU], scan_shape=(12, 16), seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.quaternion, again.quaternion)
    assert np.array_equal(first.grain, again.grain)
    assert not np.array_equal(first.grain, other.grain)


def test_every_grain_has_one_phase_and_without_bending_one_orientation() -> None:
    truth = make_polycrystal([CU, LCO], scan_shape=(30, 30), n_grains=8, vacuum=False)
    assert set(truth.phase_id) == {0, 1}
    assert not truth.vacuum.any()
    for grain in range(8):
        here = truth.grain == grain
        assert here.any()
        assert len(set(truth.phase_id[here])) == 1
        assert np.ptp(truth.quaternion[here], axis=0).max() == 0


def test_vacuum_has_no_grain_no_phase_and_no_thickness() -> None:
    truth = make_polycrystal([CU], scan_shape=(40, 40))
    assert 0.02 < truth.vacuum.mean() < 0.12
    assert (truth.grain[truth.vacuum] == -1).all()
    assert (truth.thickness_nm[truth.vacuum] == 0).all()
    assert (truth.thickness_nm[~truth.vacuum] > 0).all()


def test_twins_are_sixty_degrees_about_a_common_111_apart() -> None:
    truth = make_polycrystal([CU, LCO], scan_shape=(40, 40), n_grains=10, vacuum=False)
    ((first, second),) = truth.twins
    a, b = centre_orientation(truth, first), centre_orientation(truth, second)
    assert disorientation_angle_deg(a, b, CU.proper_point_group) == pytest.approx(60, abs=1e-4)
    axis = multiply(b, conjugate(a))[1:]
    np.testing.assert_allclose(np.abs(axis / np.linalg.norm(axis)), 1 / np.sqrt(3), atol=1e-6)


def test_only_cubic_crystals_are_twinned() -> None:
    assert make_polycrystal([LCO], scan_shape=(10, 10)).twins == ()


def test_bent_grains_turn_by_the_asked_angle_from_side_to_side() -> None:
    flat = make_polycrystal([CU], scan_shape=(40, 40), n_grains=3, vacuum=False, seed=5)
    bent = make_polycrystal([CU], scan_shape=(40, 40), n_grains=3, vacuum=False, seed=5, bend_deg=4)
    turned = misorientation_angle_deg(flat.quaternion, bent.quaternion)
    assert turned.max() == pytest.approx(2, abs=1e-6)
    # The axis lies in the sample plane: the tilt, in the sample's frame, has no turn about the beam.
    tilt = multiply(conjugate(flat.quaternion), bent.quaternion)
    assert np.abs(tilt[:, 3]).max() < 1e-12


def test_given_orientations_are_used() -> None:
    orientations = random_quaternions(4, np.random.default_rng(0))
    truth = make_polycrystal([CU], scan_shape=(20, 20), n_grains=4, quaternions=orientations, vacuum=False)
    assert truth.twins == ()
    np.testing.assert_allclose(truth.quaternion, orientations[truth.grain])


def test_the_beam_drifts_by_the_asked_distance_about_its_mean() -> None:
    truth = make_polycrystal([CU], scan_shape=(10, 12), drift_px=3.0, calibration=Calibration(voltage_kv=200))
    assert truth.calibration.origin_px == (63.5, 63.5)
    np.testing.assert_allclose(truth.origin_px.mean(axis=0), truth.calibration.origin_px)
    assert np.linalg.norm(truth.origin_px[0] - truth.origin_px[-1]) == pytest.approx(3.0)


def test_the_boundary_lies_between_grains() -> None:
    truth = make_polycrystal([CU], scan_shape=(20, 20), n_grains=2, vacuum=False)
    grain = truth.grain.reshape(20, 20)
    boundary = truth.boundary().reshape(20, 20)
    assert boundary[:, :-1][grain[:, :-1] != grain[:, 1:]].all()
    assert not boundary.all()


@pytest.mark.parametrize("scan_shape", [(1, 1), (1, 9), (9, 1)])
def test_lines_and_single_positions_work(scan_shape: tuple[int, int]) -> None:
    truth = make_polycrystal([CU], scan_shape=scan_shape, n_grains=2, bend_deg=1, drift_px=1, vacuum=False)
    assert np.isfinite(truth.quaternion).all()
    assert np.isfinite(truth.origin_px).all()


def test_no_crystal_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one crystal and one grain"):
        make_polycrystal([])
