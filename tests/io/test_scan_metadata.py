"""Units of detector files are understood or left alone, never guessed."""

from __future__ import annotations

import numpy as np
import pytest

from napari_stem_orient.io.scan_metadata import (
    calibration_of_axes,
    is_scan_last,
    is_spectral,
    microscope_settings,
    pixel_size,
    plain_unit,
    read_axes,
    scan_step,
)


def axes(scan: tuple[object, object], detector: tuple[object, object]) -> list[dict[str, object]]:
    return [{"scale": scale, "units": unit} for scale, unit in (scan, scan, detector, detector)]


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("1/nm", "1/nm"),
        ("1 / nm", "1/nm"),
        ("1/nm^1", "1/nm"),
        ("1/Å**1", "1/a"),
        ("nm^-1", "1/nm"),
        ("[n_m^-1]", "1/nm"),
        (b"nm-1", "1/nm"),
        ("$A^{-1}$", "1/a"),
        ("A^-1", "1/a"),
        ("1/Å", "1/a"),
        ("1/\u212b", "1/a"),
        ("Å⁻¹", "1/a"),
        ("1/angstrom", "1/a"),
        ("Angstroms", "a"),
        ("µm", "um"),
        ("\u03bcm", "um"),
        ("mrad", "mrad"),
        ("Å−1", "1/a"),
        ("degrees", "deg"),
        ("°", "deg"),
        (None, ""),
        ("<undefined>", "<undefined>"),
    ],
)
def test_spellings_of_one_unit_are_one(text: object, unit: str) -> None:
    assert plain_unit(text) == unit


@pytest.mark.parametrize(
    ("scale", "unit", "expected"),
    [
        (0.2, "1/nm", 0.02),
        (0.02, "Å⁻¹", 0.02),
        (0.016, "cm", None),
        (0.02, "", None),
        (0.02, None, None),
        (1.0, "1/nm", None),
        (-0.02, "1/Å", None),
        (float("nan"), "1/Å", None),
        (None, "1/Å", None),
        (4e16, "1/nm", None),
        (0.5, "mrad", 0.5e-3 / 0.0196875),
        (5e-4, "rad", 0.5e-3 / 0.0196875),
        (0.028648, "deg", 0.5e-3 / 0.0196875),
        (0.028648, "2th_deg", 0.5e-3 / 0.0196875),
        (5e-4, "2th_rad", 0.5e-3 / 0.0196875),
        (0.25, "k_nm^-1", 0.025),
        (0.025, "k_A^-1", 0.025),
        (0.025, "$k_A^{-1}$", 0.025),
        (0.025 * 2 * np.pi, "q_A^-1", 0.025),  # q = 2 pi k
        (0.25 * 2 * np.pi, "q_nm^-1", 0.025),
        (0.02, "px", None),
    ],
)
def test_pixel_sizes_are_converted_or_left_out(scale: object, unit: object, expected: float | None) -> None:
    size = pixel_size(scale, unit, 300)
    assert size == (None if expected is None else pytest.approx(expected, rel=1e-5))


def test_an_angle_without_a_voltage_is_no_pixel_size() -> None:
    assert pixel_size(0.5, "mrad", None) is None


@pytest.mark.parametrize(
    ("scale", "unit", "expected"),
    [
        (2, "nm", 2),
        (20, "Å", 2),
        (0.5, "µm", 500),
        (1, "nm", 1),
        (1, "", None),
        (0, "nm", None),
        (3, "s", None),
    ],
)
def test_scan_steps_are_converted_or_left_out(scale: object, unit: object, expected: float | None) -> None:
    assert scan_step(scale, unit) == (None if expected is None else pytest.approx(expected))


def test_axes_become_a_calibration() -> None:
    calibration = calibration_of_axes(axes((2, "nm"), (0.2, "1/nm")), voltage_kv=200)
    assert calibration.scan_step_nm == pytest.approx(2)
    assert calibration.pixel_size_inv_angstrom == pytest.approx(0.02)
    assert calibration.voltage_kv == 200


@pytest.mark.parametrize(("rows", "columns"), [(0.025, 0.05), (0.04, 0.03), (0.02, 0.025)])
def test_rings_on_pixels_that_are_not_square_become_circles(rows: float, columns: float) -> None:
    uneven = axes((2, "nm"), (rows, "1/Å"))
    uneven[-1]["scale"] = columns
    read = read_axes(uneven, voltage_kv=None)
    # a ring of 0.5 1/Å: as many pixels along rows and columns as their widths make of it
    angle = np.linspace(0, 2 * np.pi, 37)
    x_px, y_px = 0.5 * np.cos(angle) / columns, 0.5 * np.sin(angle) / rows
    q_x, q_y = read.calibration.pixels_to_q(x_px, y_px, origin_px=(0, 0))
    assert np.allclose(q_x, 0.5 * np.cos(angle))
    assert np.allclose(q_y, 0.5 * np.sin(angle))
    assert "pixels are not square" in read.notes[0]
    assert f"{rows:.4g} 1/Å high and {columns:.4g} 1/Å wide" in read.notes[0]


def test_pixels_that_are_too_oblong_are_left_out_and_told() -> None:
    uneven = axes((2, "nm"), (0.2, "1/nm"))
    uneven[-1]["scale"] = 0.5
    read = read_axes(uneven, voltage_kv=None)
    assert read.calibration.pixel_size_inv_angstrom is None
    assert "Bin the longer" in read.notes[0]


@pytest.mark.parametrize(
    ("scan", "down", "right", "expected"),
    [
        ((1, 1), 1, 1, (1, 1)),
        ((1, 1), 1, -1, (-1, 1)),
        ((1, 1), -1, 1, (1, -1)),
        ((1, 1), -1, -1, (-1, -1)),
        ((-1, 1), -1, 1, (1, 1)),  # both have y upwards: the detector is as the scan is
    ],
)
def test_an_axis_that_runs_backwards_mirrors_the_detector(
    scan: tuple[int, int], down: int, right: int, expected: tuple[int, int]
) -> None:
    signed = axes((2, "nm"), (0.02, "1/Å"))
    for axis, sign in zip(signed, (*scan, down, right), strict=True):
        axis["scale"] = sign * axis["scale"]  # type: ignore[operator]
    read = read_axes(signed, voltage_kv=None)
    q_x, q_y = read.calibration.pixels_to_q(10, 5, origin_px=(0, 0))
    assert (float(q_x), float(q_y)) == pytest.approx((0.2 * expected[0], 0.1 * expected[1]))
    assert bool(read.notes) == (expected != (1, 1))
    assert read.calibration.scan_step_nm == pytest.approx(2)


@pytest.mark.parametrize("unit", ["mrad", "2th_rad", "deg"])
def test_an_angle_waits_for_the_voltage_and_follows_it_until_a_pixel_size_is_given(unit: str) -> None:
    scale = {"mrad": 0.5, "2th_rad": 0.5e-3, "deg": 0.5e-3 * 180 / np.pi}[unit]
    known = calibration_of_axes(axes((2, "nm"), (scale, unit)), voltage_kv=None)
    assert known.pixel_size_inv_angstrom is None
    assert known.pixel_angle_mrad == pytest.approx(0.5)
    assert known.missing_for_indexing() == ("accelerating voltage (kV)",)
    # wavelengths from tables: 0.019687 Å at 300 kV, 0.025079 Å at 200 kV
    at_300 = known.updated(voltage_kv=300)
    assert at_300.pixel_size_inv_angstrom == pytest.approx(0.5e-3 / 0.019687, rel=1e-4)
    assert at_300.updated(voltage_kv=200).pixel_size_inv_angstrom == pytest.approx(
        0.5e-3 / 0.025079, rel=1e-4
    )
    assert at_300.updated(voltage_kv=None).pixel_size_inv_angstrom is None
    typed = at_300.updated(pixel_size_inv_angstrom=0.03)
    assert typed.updated(voltage_kv=200).pixel_size_inv_angstrom == 0.03
    at_once = calibration_of_axes(axes((2, "nm"), (scale, unit)), voltage_kv=300)
    assert at_once.updated(voltage_kv=200) == at_300.updated(voltage_kv=200)


def test_a_stack_has_a_pixel_size_and_no_scan_step() -> None:
    calibration = calibration_of_axes(axes((2, "nm"), (0.2, "1/nm"))[1:], voltage_kv=None)
    assert calibration.pixel_size_inv_angstrom == pytest.approx(0.02)
    assert calibration.scan_step_nm is None


def test_energies_make_a_spectrum() -> None:
    assert is_spectral([{"units": "eV"}])
    assert is_spectral([{"name": "Energy loss", "units": ""}])
    assert not is_spectral(axes((2, "nm"), (0.2, "1/nm")))


def test_units_tell_which_axes_are_the_scan() -> None:
    assert is_scan_last(axes((0.2, "1/nm"), (2, "nm"))) is True
    assert is_scan_last(axes((2, "nm"), (0.2, "1/nm"))) is False
    assert is_scan_last(axes((2, ""), (0.2, "1/nm"))) is None


def test_the_microscope_is_read_from_wherever_a_format_keeps_it() -> None:
    hyperspy = {"beam_energy": 200, "convergence_angle": 1.5, "rocking_angle": 17.453293}
    signal = {"metadata": {"Acquisition_instrument": {"TEM": hyperspy}}}
    assert microscope_settings(signal) == {
        "voltage_kv": 200,
        "convergence_angle_mrad": 1.5,
        "precession_angle_deg": pytest.approx(1.0),
    }
    mapped = {
        "original_metadata": {"Tags": {"Microscope Info": {"Voltage": 300000.0}}},
        "mapping": {
            "Tags.Microscope Info.Voltage": (
                "Acquisition_instrument.TEM.beam_energy",
                lambda volts: volts / 1e3,
            )
        },
    }
    assert microscope_settings(mapped)["voltage_kv"] == 300
    blockfile = {"original_metadata": {"blockfile_header": {"Beam_energy": 200000}}}
    assert microscope_settings(blockfile)["voltage_kv"] == 200
    empad = {"original_metadata": {"root": {"source": {"get_voltage": "300000.0"}}}}
    assert microscope_settings(empad)["voltage_kv"] == 300


@pytest.mark.parametrize("energy", [0, -1, "unknown", None, float("inf"), 1e7])
def test_impossible_voltages_are_left_out(energy: object) -> None:
    signal = {"metadata": {"Acquisition_instrument": {"TEM": {"beam_energy": energy}}}}
    assert microscope_settings(signal)["voltage_kv"] is None
