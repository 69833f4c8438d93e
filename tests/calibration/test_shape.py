"""A known ellipse and a known error of the pixel size come back from the disks alone."""

from __future__ import annotations

import numpy as np
import pytest

from calibration_scenes import TRUE, distorted_scan, miscalibrated
from napari_stem_orient.calibration.fit import CalibrationFit
from napari_stem_orient.calibration.measured import DoubtKind, Measurand
from napari_stem_orient.calibration.metric import RingMetric, metric_from_strain
from napari_stem_orient.calibration.shape import fit_ellipse, fit_pixel_size, fit_shape
from napari_stem_orient.calibration.words import lines_of
from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.crystal import load_crystal

NICKEL = (load_crystal("Ni"),)


def with_known_origin(scale: float | None = 1.01, **scene: object) -> BraggPeaks:
    """A distorted scan with its true origins, but no ellipse, and a pixel size that is off or unknown."""
    peaks, truth = distorted_scan(**scene)  # type: ignore[arg-type]
    wrong = miscalibrated(peaks, scale=scale or 1.0).calibration
    if scale is None:
        wrong = wrong.updated(pixel_size_inv_angstrom=None)
    return peaks.with_calibration(wrong, origin_px=truth.origin_px)


def told_pixel_size(fit: CalibrationFit) -> tuple[float, float]:
    """Pixel size and its error as they are told."""
    told = fit.get(Measurand.PIXEL_SIZE)
    assert told is not None
    assert told.unit == "1/Å"
    return told.value, told.error or 0


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ellipse_and_pixel_size_come_back_within_their_goals_and_their_errors(seed: int) -> None:
    fit = fit_shape(with_known_origin(seed=seed), NICKEL)
    assert fit.calibration.ellipse_ratio == pytest.approx(1.02, abs=0.001)
    assert fit.calibration.ellipse_angle_deg == pytest.approx(30, abs=1.5)
    assert fit.calibration.pixel_size_inv_angstrom == pytest.approx(0.025, rel=0.0006)
    size, error = told_pixel_size(fit)
    assert abs(size - 0.025) < 3 * error < 0.00005
    assert fit.calibration.checked == ("ellipse", "pixel size")
    assert fit.doubts == ()


def test_pixel_sizes_are_as_far_off_as_their_errors_say() -> None:
    ratios = []
    for crystal, seed in (("Si", 0), ("Si", 1), ("Si", 2), ("Au", 0), ("Fe (bcc)", 1)):
        fit = fit_shape(with_known_origin(crystal=crystal, seed=seed), (load_crystal(crystal),))
        size, error = told_pixel_size(fit)
        ratios.append((size - 0.025) / error)
    assert 0.4 < np.sqrt(np.mean(np.square(ratios))) < 1.6


@pytest.mark.parametrize("scale", [0.55, 1.0, 1.8, None])
def test_the_pixel_size_is_found_from_any_start(scale: float | None) -> None:
    fit = fit_pixel_size(with_known_origin(scale), NICKEL)
    assert fit.calibration.pixel_size_inv_angstrom == pytest.approx(0.025, rel=0.001)
    assert fit.calibration.ellipse_ratio == 1
    far_off = scale in (0.55, 1.8)
    assert fit.calibration.checked == (() if far_off else ("pixel size",))  # that is for the user to confirm
    kinds = {doubt.kind for doubt in fit.doubts}
    assert DoubtKind.RINGS_DRAWN_OUT in kinds
    assert (DoubtKind.PIXEL_SIZE_FAR_OFF in kinds) == far_off


def test_without_a_crystal_the_ellipse_is_what_makes_the_rings_sharpest() -> None:
    fit = fit_ellipse(with_known_origin(None))
    assert fit.calibration.ellipse_ratio == pytest.approx(1.02, abs=0.003)
    assert fit.calibration.ellipse_angle_deg == pytest.approx(30, abs=5)
    assert fit.calibration.pixel_size_inv_angstrom is None
    assert fit.calibration.checked == ("ellipse",)


def test_with_a_crystal_the_ellipse_alone_leaves_the_pixel_size_as_it_is() -> None:
    peaks = with_known_origin(1.01)
    fit = fit_ellipse(peaks, NICKEL)
    assert fit.calibration.pixel_size_inv_angstrom == peaks.calibration.pixel_size_inv_angstrom
    assert fit.calibration.ellipse_ratio == pytest.approx(1.02, abs=0.001)


def test_round_rings_are_said_to_be_round() -> None:
    fit = fit_shape(with_known_origin(calibration=TRUE.updated(ellipse_ratio=1.0)), NICKEL)
    assert fit.calibration.ellipse_ratio < 1.0015
    assert "round within twice its error" in dict(lines_of(fit.measured))["Ellipse"]


@pytest.mark.parametrize("name", ["Si", "Pd"])  # Pd: the same rings as Ni, a tenth nearer together
def test_a_crystal_that_only_fits_with_a_far_off_pixel_size_leaves_nothing_calibrated(name: str) -> None:
    fit = fit_shape(with_known_origin(1.0), (load_crystal(name),))
    assert DoubtKind.PIXEL_SIZE_FAR_OFF in {doubt.kind for doubt in fit.doubts}
    assert fit.calibration.checked == ()


def test_the_wrong_crystal_is_doubted() -> None:
    assert fit_shape(with_known_origin(1.0), (load_crystal("Fe (bcc)"),)).doubts


def test_a_large_ellipse_is_found_too() -> None:
    true = TRUE.updated(ellipse_ratio=1.08, ellipse_angle_deg=-50.0)
    fit = fit_shape(with_known_origin(0.97, calibration=true, n_grains=20), NICKEL)
    assert fit.calibration.ellipse_ratio == pytest.approx(1.08, abs=0.002)
    assert fit.calibration.ellipse_angle_deg == pytest.approx(-50, abs=1)
    assert fit.calibration.pixel_size_inv_angstrom == pytest.approx(0.025, rel=0.001)


def test_flip_and_rotation_stay_and_do_not_matter() -> None:
    peaks = with_known_origin(1.01)
    turned = peaks.calibration.updated(scan_rotation_deg=40.0, flip=True)
    fit = fit_shape(peaks.with_calibration(turned), NICKEL)
    straight = fit_shape(peaks, NICKEL)
    assert (fit.calibration.scan_rotation_deg, fit.calibration.flip) == (40.0, True)
    assert fit.calibration.ellipse_ratio == pytest.approx(straight.calibration.ellipse_ratio)
    assert fit.calibration.ellipse_angle_deg == pytest.approx(straight.calibration.ellipse_angle_deg)


def test_peaks_without_disks_cannot_be_calibrated_and_that_is_said() -> None:
    beam = BraggPeaks.from_lists([[[0.0, 0.0, 1.0]]] * 4, (2, 2), Calibration(pixel_size_inv_angstrom=0.02))
    with pytest.raises(ValueError, match="no Bragg disks"):
        fit_shape(beam, NICKEL)


def test_the_metric_and_the_calibration_say_the_same() -> None:
    calibration = Calibration(
        pixel_size_inv_angstrom=0.03,
        ellipse_ratio=1.05,
        ellipse_angle_deg=25,
        scan_rotation_deg=70,
        flip=True,
    )
    metric = RingMetric.of(calibration)
    x, y = np.array([10.0, -3.0]), np.array([4.0, 20.0])
    np.testing.assert_allclose(
        metric.length(x, y), np.hypot(*calibration.pixels_to_q(x, y, origin_px=(0, 0)))
    )
    assert metric.pixel_size == pytest.approx(0.03)
    assert metric.ellipse == pytest.approx((1.05, 25))
    again = metric_from_strain(metric.strain, pixel_size=0.03)
    assert (again.xx, again.xy, again.yy) == pytest.approx((metric.xx, metric.xy, metric.yy))
    # along the major axis of the ring, lengths grow slowest
    along, across = (np.deg2rad(25), np.deg2rad(115))
    assert metric.length(np.cos(across), np.sin(across)) / metric.length(np.cos(along), np.sin(along)) == (
        pytest.approx(1.05)
    )
