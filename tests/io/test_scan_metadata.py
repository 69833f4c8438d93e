"""Units of detector files are understood or left alone, never guessed."""

from __future__ import annotations

import pytest

from napari_stem_orient.io.scan_metadata import (
    calibration_of_axes,
    is_scan_last,
    is_spectral,
    microscope_settings,
    pixel_size,
    plain_unit,
    scan_step,
)


def axes(scan: tuple[object, object], detector: tuple[object, object]) -> list[dict[str, object]]:
    return [{"scale": scale, "units": unit} for scale, unit in (scan, scan, detector, detector)]


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("1/nm", "1/nm"),
        ("1 / nm", "1/nm"),
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


def test_pixels_that_are_not_square_are_left_out() -> None:
    uneven = axes((2, "nm"), (0.2, "1/nm"))
    uneven[-1]["scale"] = 0.25
    assert calibration_of_axes(uneven, voltage_kv=None).pixel_size_inv_angstrom is None


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
