"""The direct beam is found over the scan, whatever else is bright."""

from __future__ import annotations

import numpy as np
import pytest

from calibration_scenes import distorted_scan, miscalibrated, with_strong_disks
from napari_stem_orient.calibration.origin import OriginParameters, fit_origins, measured_origins
from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.calibration import Calibration


@pytest.mark.parametrize("model", ["plane", "parabola"])
def test_a_drifting_beam_is_followed_within_a_tenth_of_a_pixel_where_strong_disks_lie_beside_it(
    model: str,
) -> None:
    peaks, truth = distorted_scan()
    peaks = miscalibrated(with_strong_disks(peaks, share=0.3))
    fit = fit_origins(peaks, parameters=OriginParameters(model=model))
    assert fit.origin_px is not None
    assert np.sqrt(np.mean((fit.origin_px - truth.origin_px) ** 2)) < 0.05
    assert fit.calibration.checked == ("origin",)
    assert fit.calibration.origin_px == pytest.approx(truth.origin_px.mean(axis=0), abs=0.02)


def test_a_constant_is_the_middle_of_what_the_beam_does() -> None:
    peaks, truth = distorted_scan()
    fit = fit_origins(peaks, parameters=OriginParameters(model="constant"))
    assert fit.origin_px is not None
    assert np.ptp(fit.origin_px, axis=0).max() == 0
    assert fit.origin_px[0] == pytest.approx(truth.origin_px.mean(axis=0), abs=0.1)


def test_a_parabola_follows_what_a_plane_cannot() -> None:
    peaks, _ = distorted_scan()
    row = np.repeat(np.arange(16), 16) / 15
    bend = 2.0 * (row - 0.5) ** 2
    moved = BraggPeaks.from_q(
        peaks.q_x,
        peaks.q_y,
        peaks.intensity,
        peaks.offsets,
        peaks.scan_shape,
        peaks.calibration,
        origin_px=np.stack([64 + bend, np.full(256, 64.0)], axis=1),
        detector_shape=peaks.detector_shape,
    )
    errors = {}
    for model in ("plane", "parabola"):
        fit = fit_origins(moved, parameters=OriginParameters(model=model))
        assert fit.origin_px is not None
        errors[model] = np.abs(fit.origin_px[:, 0] - 64 - bend).max()
    assert errors["plane"] > 0.2
    assert errors["parabola"] < 0.05


def test_the_measured_model_keeps_each_position_and_leaves_out_what_is_no_beam() -> None:
    peaks, truth = distorted_scan()
    jumping = with_strong_disks(peaks, share=0.1, jitter_px=0.3, seed=1)
    fit = fit_origins(jumping, parameters=OriginParameters(model="measured"))
    measured = measured_origins(jumping)
    known = np.isfinite(measured[:, 0])
    assert fit.origin_px is not None
    assert known.mean() > 0.85
    np.testing.assert_allclose(fit.origin_px[known], measured[known], atol=1e-3)
    assert np.abs(measured[known] - truth.origin_px[known]).max() < 2.0


def test_without_any_direct_beam_the_error_says_what_to_do() -> None:
    nothing = np.zeros(0, dtype=np.float32)
    peaks = BraggPeaks(
        x_px=nothing,
        y_px=nothing,
        intensity=nothing,
        offsets=np.zeros(5, dtype=np.int64),
        scan_shape=(2, 2),
        calibration=Calibration(),
        detector_shape=(64, 64),
    )
    with pytest.raises(ValueError, match="refine it from the map"):
        fit_origins(peaks)
