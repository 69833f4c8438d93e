"""Two calibrations become one in one way: values and what counts as calibrated of them come from the same one."""

from __future__ import annotations

import pytest

from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.merged_calibration import (
    following_change,
    known_quantities,
    merged,
    taken_from,
    with_gaps_filled,
    with_measured_origin,
)

SIZE = Calibration(pixel_size_inv_angstrom=0.02)
SIZE_CHECKED = SIZE.with_checked("pixel size")
OTHER_SIZE = Calibration(pixel_size_inv_angstrom=0.03)
PIXEL = {"pixel_size_inv_angstrom"}


@pytest.mark.parametrize(
    ("known", "other", "size", "checked"),
    [
        (SIZE, OTHER_SIZE, 0.03, ()),
        (SIZE, OTHER_SIZE.with_checked("pixel size"), 0.03, ("pixel size",)),
        (SIZE_CHECKED, OTHER_SIZE, 0.03, ()),
        (SIZE_CHECKED, SIZE, 0.02, ("pixel size",)),  # it is the value that was confirmed
        (SIZE_CHECKED, OTHER_SIZE.with_checked("rotation"), 0.03, ()),  # of the rest nothing is taken
    ],
)
def test_a_value_brings_along_whether_it_is_calibrated(
    known: Calibration, other: Calibration, size: float, checked: tuple[str, ...]
) -> None:
    made = merged(known, other, fields=PIXEL)
    assert made.pixel_size_inv_angstrom == size
    assert made.checked == checked


def test_what_is_asked_for_counts_as_the_other_says_though_its_value_be_the_same() -> None:
    assert merged(SIZE_CHECKED, SIZE, fields=PIXEL, checks=["pixel size"]).checked == ()
    assert merged(SIZE, SIZE_CHECKED, fields=PIXEL, checks=["pixel size"]).checked == ("pixel size",)


def test_the_direct_beam_is_where_the_peaks_have_it() -> None:
    scan = Calibration(voltage_kv=200, origin_px=(1, 2), checked=("origin",))
    made = with_measured_origin(scan, Calibration(origin_px=(30, 31)))
    assert (made.voltage_kv, made.origin_px, made.checked) == (200, (30, 31), ())
    assert with_measured_origin(scan, Calibration()) is scan


BEFORE = Calibration(voltage_kv=200, pixel_size_inv_angstrom=0.02, scan_step_nm=5)


@pytest.mark.parametrize(
    ("of_peaks", "changes", "expected"),
    [
        # calibrated alike: the peaks follow their scan
        (BEFORE, {"scan_step_nm": 7}, {"scan_step_nm": 7, "pixel_size_inv_angstrom": 0.02}),
        # calibrated apart: only what changed, and what the peaks do not know
        (SIZE_CHECKED.updated(pixel_size_inv_angstrom=0.021), {"scan_step_nm": 7}, {"scan_step_nm": 7}),
        (
            Calibration(pixel_size_inv_angstrom=0.021, checked=("pixel size",)),
            {"scan_step_nm": 7},
            {"pixel_size_inv_angstrom": 0.021, "voltage_kv": 200, "checked": ("pixel size",)},
        ),
        (
            Calibration(pixel_size_inv_angstrom=0.021, checked=("pixel size",)),
            {"pixel_size_inv_angstrom": 0.025},
            {"pixel_size_inv_angstrom": 0.025, "checked": ()},
        ),
        # the user has confirmed that there is no ellipse: what the scan's file says of it is not taken
        (
            Calibration(checked=("ellipse",)),
            {"ellipse_ratio": 1.0, "scan_step_nm": 7},
            {"ellipse_ratio": 1.0, "checked": ("ellipse",)},
        ),
    ],
)
def test_peaks_follow_a_change_of_their_scan(
    of_peaks: Calibration, changes: dict[str, object], expected: dict[str, object]
) -> None:
    made = following_change(of_peaks, BEFORE, BEFORE.updated(**changes))
    assert {name: getattr(made, name) for name in expected} == expected


def test_a_pixel_size_that_was_fitted_stays_though_the_file_tells_an_angle() -> None:
    """The angle of the file would be another pixel size; it once took the place of the fitted one."""
    of_file = Calibration(voltage_kv=200, pixel_angle_mrad=1.0, scan_step_nm=5)
    of_file = of_file.following(Calibration())
    assert of_file.pixel_size_inv_angstrom == pytest.approx(0.03987, abs=1e-4)
    fitted = of_file.updated(pixel_size_inv_angstrom=0.0411).with_checked("pixel size")
    assert with_gaps_filled(fitted, of_file).pixel_size_inv_angstrom == 0.0411
    assert (
        following_change(fitted, of_file, of_file.updated(scan_step_nm=6)).pixel_size_inv_angstrom == 0.0411
    )


@pytest.mark.parametrize(
    ("known", "of_scan", "voltage", "step"),
    [
        (Calibration(voltage_kv=200), True, 200, 4),  # the scan knows its voltage, and not its step
        (Calibration(voltage_kv=200, scan_step_nm=9), True, 200, 9),
        (Calibration(), True, 300, 4),
        (Calibration(), False, None, None),
    ],
)
def test_what_belongs_to_the_scan_is_taken_only_where_the_scan_does_not_know_it(
    known: Calibration, of_scan: bool, voltage: float | None, step: float | None
) -> None:
    found = Calibration(voltage_kv=300, scan_step_nm=4, pixel_size_inv_angstrom=0.02, scan_rotation_deg=12)
    found = found.with_checked("rotation")
    quantities = known_quantities(found)
    assert quantities == ("pixel size", "rotation")
    made = taken_from(known, found, quantities, of_scan=of_scan)
    assert (made.voltage_kv, made.scan_step_nm) == (voltage, step)
    assert (made.pixel_size_inv_angstrom, made.scan_rotation_deg, made.checked) == (0.02, 12, ("rotation",))
