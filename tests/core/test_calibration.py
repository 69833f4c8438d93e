"""Calibration turns detector pixels into scattering vectors of the sample frame."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from napari_stem_orient.core.calibration import Calibration, electron_wavelength_angstrom

calibrations = st.builds(
    Calibration,
    pixel_size_inv_angstrom=st.none() | st.floats(1e-3, 0.1),
    origin_px=st.tuples(st.floats(0, 200), st.floats(0, 200)),
    ellipse_ratio=st.floats(1, 1.2),
    ellipse_angle_deg=st.floats(-180, 180),
    scan_rotation_deg=st.floats(-180, 180),
    flip=st.booleans(),
)


@pytest.mark.parametrize(
    ("voltage_kv", "wavelength"), [(80, 0.041757), (100, 0.037014), (200, 0.025079), (300, 0.019687)]
)
def test_wavelengths_are_those_of_the_textbooks(voltage_kv: float, wavelength: float) -> None:
    assert electron_wavelength_angstrom(voltage_kv) == pytest.approx(wavelength, abs=1e-6)
    assert Calibration(voltage_kv=voltage_kv).wavelength_angstrom == pytest.approx(wavelength, abs=1e-6)


def test_unknown_voltage_names_the_fix() -> None:
    with pytest.raises(ValueError, match="set voltage_kv"):
        _ = Calibration().wavelength_angstrom
    with pytest.raises(ValueError, match="not positive"):
        electron_wavelength_angstrom(0)


def test_detector_columns_are_x_and_rows_are_y() -> None:
    calibration = Calibration(pixel_size_inv_angstrom=0.02, origin_px=(10, 20))
    q_x, q_y = calibration.pixels_to_q([21.0, 20.0], [10.0, 12.0])
    assert np.allclose(q_x, [0.02, 0])
    assert np.allclose(q_y, [0, 0.04])


def test_rotation_goes_from_x_toward_y() -> None:
    turned = Calibration(scan_rotation_deg=90).detector_to_sample()
    assert np.allclose(turned @ [1, 0], [0, 1])
    assert np.allclose(turned @ [0, 1], [-1, 0])


def test_flip_mirrors_x_before_the_rotation() -> None:
    matrix = Calibration(flip=True, scan_rotation_deg=90).detector_to_sample()
    assert np.allclose(matrix @ [1, 0], [0, -1])
    assert np.linalg.det(matrix) == pytest.approx(-1)


def test_an_elliptic_ring_becomes_a_circle_of_the_same_area() -> None:
    ratio, angle = 1.1, np.radians(30)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    t = np.linspace(0, 2 * np.pi, 50)
    major, minor = 40 * np.sqrt(ratio), 40 / np.sqrt(ratio)
    ring = turn @ np.stack([major * np.cos(t), minor * np.sin(t)])
    calibration = Calibration(ellipse_ratio=ratio, ellipse_angle_deg=30, origin_px=(0, 0))
    assert np.allclose(np.hypot(*calibration.pixels_to_q(*ring)), 40)


@given(calibrations, st.floats(-300, 300), st.floats(-300, 300))
def test_pixels_and_q_are_inverse(calibration: Calibration, x_px: float, y_px: float) -> None:
    back = calibration.q_to_pixels(*calibration.pixels_to_q(x_px, y_px))
    assert np.allclose(back, (x_px, y_px), atol=1e-8)


def test_each_position_may_have_its_own_origin() -> None:
    calibration = Calibration(pixel_size_inv_angstrom=0.5)
    q_x, q_y = calibration.pixels_to_q([5.0, 5.0], [5.0, 5.0], origin_px=[[5, 4], [3, 5]])
    assert np.allclose(q_x, [0.5, 0])
    assert np.allclose(q_y, [0, 1])
    with pytest.raises(ValueError, match="give origin_px"):
        calibration.pixels_to_q(1.0, 1.0)


def test_what_indexing_needs_is_named_in_words() -> None:
    assert Calibration().missing_for_indexing() == ("pixel size (1/Å)", "accelerating voltage (kV)")
    assert Calibration(voltage_kv=200, pixel_size_inv_angstrom=0.01).missing_for_indexing() == ()


def test_a_calibration_is_checked_whenever_it_changes() -> None:
    with pytest.raises(ValidationError):
        Calibration().updated(voltage_kv=-1)
    with pytest.raises(ValidationError):
        Calibration().updated(volts=3)
    assert Calibration().updated(voltage_kv=80).voltage_kv == 80


def test_a_calibration_survives_json_and_every_field_explains_itself() -> None:
    calibration = Calibration(voltage_kv=80, origin_px=(1.5, 2.5), flip=True)
    assert Calibration.model_validate_json(calibration.model_dump_json()) == calibration
    assert all(field.title and field.description for field in Calibration.model_fields.values())


def test_the_radius_comes_from_the_convergence_angle() -> None:
    # 1.5 mrad / 0.019687 Å = 0.0762 Å⁻¹.
    known = Calibration(voltage_kv=300, pixel_size_inv_angstrom=0.025, convergence_angle_mrad=1.5)
    assert known.disk_radius_px() == pytest.approx(3.048, abs=0.001)
    with pytest.raises(ValueError, match="convergence_angle_mrad"):
        known.updated(convergence_angle_mrad=None).disk_radius_px()
    with pytest.raises(ValueError, match="pixel_size_inv_angstrom"):
        known.updated(pixel_size_inv_angstrom=None).disk_radius_px()


def test_what_is_not_calibrated_is_named_until_everything_is() -> None:
    calibration = Calibration()
    assert (
        calibration.exploratory()
        == "Exploratory: origin, ellipse, pixel size and rotation are not calibrated"
    )
    some = calibration.with_checked("origin", "pixel size", "rotation")
    assert some.exploratory() == "Exploratory: ellipse is not calibrated"
    assert some.with_checked("ellipse").exploratory() == ""
    assert some.with_checked("ellipse").checked == ("origin", "ellipse", "pixel size", "rotation")
