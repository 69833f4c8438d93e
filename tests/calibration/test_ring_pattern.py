"""One pattern of rings tells origin, ellipse and pixel size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from calibration_scenes import ring_pattern
from napari_stem_orient.calibration.ring_pattern import fit_ring_pattern
from napari_stem_orient.calibration.words import doubts_in_words
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.crystal import load_crystal

GOLD = load_crystal("Au")


@pytest.mark.parametrize(("ratio", "angle"), [(1.0, 0.0), (1.02, 30.0), (1.07, -60.0)])
def test_origin_ellipse_and_pixel_size_come_back_within_their_goals(ratio: float, angle: float) -> None:
    true = Calibration(
        pixel_size_inv_angstrom=0.02, ellipse_ratio=ratio, ellipse_angle_deg=angle, origin_px=(49.3, 46.8)
    )
    fit = fit_ring_pattern(ring_pattern(true), GOLD)
    found = fit.calibration
    assert found.origin_px == pytest.approx((49.3, 46.8), abs=0.1)
    assert found.ellipse_ratio == pytest.approx(ratio, abs=0.003)
    assert found.pixel_size_inv_angstrom == pytest.approx(0.02, rel=0.002)
    assert ratio == 1 or found.ellipse_angle_deg == pytest.approx(angle, abs=5)
    assert found.checked == ("origin", "ellipse", "pixel size")
    assert fit.origin_px is None


def test_dead_pixels_and_a_bright_spot_do_not_matter() -> None:
    true = Calibration(pixel_size_inv_angstrom=0.02, ellipse_ratio=1.02, origin_px=(49.3, 46.8))
    image = ring_pattern(true)
    image[10:14, 60:64] += 4000
    image[30, 20:40] = 0
    fit = fit_ring_pattern(image, GOLD, start=Calibration(voltage_kv=200.0, pixel_size_inv_angstrom=0.0205))
    assert fit.calibration.origin_px == pytest.approx((49.3, 46.8), abs=0.1)
    assert fit.calibration.ellipse_ratio == pytest.approx(1.02, abs=0.003)
    assert fit.calibration.pixel_size_inv_angstrom == pytest.approx(0.02, rel=0.002)
    assert fit.calibration.voltage_kv == 200


def test_a_beam_stop_over_a_whole_sector_does_not_matter() -> None:
    true = Calibration(pixel_size_inv_angstrom=0.02, ellipse_ratio=1.02, origin_px=(49.3, 46.8))
    image = ring_pattern(true)
    y, x = np.indices(image.shape)
    image[np.abs(np.degrees(np.arctan2(y - 49.3, x - 46.8)) - 45) < 25] = 0
    fit = fit_ring_pattern(image, GOLD)
    assert fit.calibration.origin_px == pytest.approx((49.3, 46.8), abs=0.15)
    assert fit.calibration.pixel_size_inv_angstrom == pytest.approx(0.02, rel=0.002)


def test_a_pixel_size_far_off_the_known_one_is_for_the_user_to_confirm() -> None:
    true = Calibration(pixel_size_inv_angstrom=0.02, origin_px=(49.3, 46.8))
    known = Calibration(pixel_size_inv_angstrom=0.03).with_checked("pixel size", "rotation")
    fit = fit_ring_pattern(ring_pattern(true), GOLD, start=known)
    assert "0.03 1/Å, is far off" in doubts_in_words(fit.doubts)
    assert fit.calibration.pixel_size_inv_angstrom == pytest.approx(0.02, rel=0.002)
    assert fit.calibration.checked == ("origin", "ellipse", "rotation")


def test_a_pattern_without_rings_is_refused() -> None:
    y, x = np.indices((96, 96))
    beam = np.random.default_rng(0).poisson(500 * np.exp(-((x - 48) ** 2 + (y - 48) ** 2) / 900.0) + 20)
    with pytest.raises(ValueError, match="ring"):
        fit_ring_pattern(beam, GOLD)
    with pytest.raises(ValueError, match="empty"):
        fit_ring_pattern(np.zeros((64, 64)), GOLD)
    with pytest.raises(ValueError, match="shape"):
        fit_ring_pattern(np.zeros((2, 64, 64)), GOLD)


def test_measured_rings_of_a_gold_cross_grating_have_the_ratios_of_fcc(measured_data: Path) -> None:
    from rsciio.tiff import file_reader

    image = file_reader(measured_data / "calibration" / "au_xgrating_20cm.tif")[0]["data"]
    fit = fit_ring_pattern(image, GOLD)
    calibration = fit.calibration
    y, x = np.indices(image.shape)
    q = np.hypot(*calibration.pixels_to_q(x, y))
    inside = (q > 0.3) & (q < 1.15) & (image > 0)
    number = np.floor(q[inside] / 0.004).astype(int)
    profile = np.bincount(number, weights=image[inside]) / np.maximum(np.bincount(number), 1)
    at = (np.arange(len(profile)) + 0.5) * 0.004
    for square in (3, 8, 11.4, 19.5):  # 111, 220, 311 with 222, 331 with 420
        expected = np.sqrt(square) / GOLD.lattice[0]
        near = np.abs(at - expected) < 0.06
        ring = profile[near] - np.interp(at[near], at[near][[0, -1]], profile[near][[0, -1]])
        assert at[near][ring.argmax()] == pytest.approx(expected, abs=0.02)
    assert fit.doubts == ()
