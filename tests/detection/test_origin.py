"""The direct beam is followed over the scan, also where something else is brighter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_stem_orient.core.bragg_peaks import PER_PEAK, BraggPeaks
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.detection.origin import fit_origin, measure_origin


def drifting_peaks(
    *, missing: float = 0.1, misleading: float = 0.3, drift: float = 2.0, seed: int = 0
) -> tuple[BraggPeaks, np.ndarray]:
    """Peaks (20 x 30 scan) of a direct beam that drifts, random disks, some brighter than it; and the truth."""
    rng = np.random.default_rng(seed)
    rows, columns = np.divmod(np.arange(600), 30)
    truth = np.stack([61 + drift * rows / 20 + 0.4 * columns / 30, 66 - drift * columns / 30], axis=1)
    frame, y, x, strength = [], [], [], []
    for position in range(600):
        if rng.random() > missing:
            frame.append(position)
            y.append(truth[position, 0] + rng.normal(0, 0.05))
            x.append(truth[position, 1] + rng.normal(0, 0.05))
            strength.append(1000.0)
        others = rng.uniform(10, 118, (6, 2))
        if rng.random() < misleading:
            others = np.vstack([others, truth[position] + [6.0, 5.0]])
        frame += [position] * len(others)
        y += others[:, 0].tolist()
        x += others[:, 1].tolist()
        strength += rng.uniform(50, 1500, len(others)).tolist()
    offsets = np.concatenate([[0], np.cumsum(np.bincount(frame, minlength=600))])
    peaks = BraggPeaks(
        x_px=np.array(x),
        y_px=np.array(y),
        intensity=np.array(strength),
        offsets=offsets,
        scan_shape=(20, 30),
        calibration=Calibration(),
        detector_shape=(128, 128),
    )
    return peaks, truth


@pytest.mark.parametrize("drift", [0.0, 2.0, 6.0])
def test_a_drifting_origin_is_fitted_within_a_twentieth_of_a_pixel(drift: float) -> None:
    peaks, truth = drifting_peaks(drift=drift)
    origin = fit_origin(peaks)
    assert origin.shape == (600, 2)
    assert origin.dtype == np.float32
    assert np.sqrt(np.mean((origin - truth) ** 2)) < 0.05


def test_the_beam_of_peaks_that_are_centred_already_is_followed_around_zero() -> None:
    peaks, truth = drifting_peaks(drift=2.0)
    centred = replace(
        peaks,
        x_px=peaks.x_px - 66,
        y_px=peaks.y_px - 61,
        calibration=Calibration(origin_px=(0.0, 0.0)),
    )
    origin = fit_origin(centred)
    assert np.sqrt(np.mean((origin - (truth - [61, 66])) ** 2)) < 0.05


def test_the_origin_is_measured_where_it_is_and_nan_where_it_is_not() -> None:
    peaks, truth = drifting_peaks(misleading=0, missing=0.5)
    measured = measure_origin(peaks, truth, search_radius_px=1.0)
    absent = np.isnan(measured[:, 0])
    assert 0.4 < absent.mean() < 0.6
    assert np.abs(measured[~absent] - truth[~absent]).max() < 1.0


def test_without_peaks_the_origin_is_the_middle_or_the_given_centre() -> None:
    nothing = np.zeros(0)
    peaks = BraggPeaks(
        x_px=nothing,
        y_px=nothing,
        intensity=nothing,
        offsets=np.zeros(7),
        scan_shape=(2, 3),
        calibration=Calibration(),
        detector_shape=(64, 128),
    )
    np.testing.assert_allclose(fit_origin(peaks), np.tile([31.5, 63.5], (6, 1)))
    np.testing.assert_allclose(fit_origin(peaks, centre_px=(30, 60)), np.tile([30, 60], (6, 1)))


@pytest.mark.parametrize("n_rows", [1, 2])
def test_the_rows_that_are_not_detected_yet_get_the_origin_of_the_last_ones(n_rows: int) -> None:
    peaks, truth = drifting_peaks(missing=0.0, misleading=0.0)
    n_found = peaks.offsets[30 * n_rows]
    stopped = replace(
        peaks,
        **{name: getattr(peaks, name)[:n_found] for name in PER_PEAK},
        offsets=np.minimum(peaks.offsets, n_found),
    )
    fitted = fit_origin(stopped).reshape(20, 30, 2)
    np.testing.assert_allclose(fitted[-1], truth.reshape(20, 30, 2)[n_rows - 1], atol=0.25)


def test_few_positions_share_one_origin() -> None:
    peaks, truth = drifting_peaks(missing=0, misleading=0, drift=0)
    few = peaks.select(np.arange(5))
    small = BraggPeaks(
        x_px=few.x_px,
        y_px=few.y_px,
        intensity=few.intensity,
        offsets=few.offsets,
        scan_shape=(1, 5),
        calibration=Calibration(),
    )
    origin = fit_origin(small, centre_px=(61, 66), search_radius_px=4)
    assert np.ptp(origin, axis=0).max() == 0
    assert np.abs(origin[0] - truth[2]).max() < 0.15
