"""Settings chosen from a sample suit the scan without tuning."""

from __future__ import annotations

import numpy as np
import pytest

from detection_frames import as_datacube, known_frames
from napari_stem_orient.detection.correlation import detect_in_frames
from napari_stem_orient.detection.probe import measure_direct_beam
from napari_stem_orient.detection.suggestion import sample_frames, suggest_detection, suggest_parameters


@pytest.mark.parametrize("radius", [2.0, 4.0, 8.0])
def test_disks_of_any_radius_get_a_spacing_and_a_template_that_fit(radius: float) -> None:
    known = known_frames(36, radius=radius, disks=4, shape=(128, 128))
    suggestion = suggest_detection(as_datacube(known.frames.astype(np.uint16), (6, 6)))
    assert suggestion.parameters.mode == "disks"
    assert suggestion.parameters.counts_per_electron == 1
    assert suggestion.parameters.min_spacing_px == pytest.approx(2 * radius, rel=0.12, abs=0.6)
    assert suggestion.beam.radius_px == pytest.approx(radius, rel=0.1, abs=0.25)
    assert suggestion.beam.y_px == pytest.approx(known.y_px[:, 0].mean(), abs=0.3)
    found = detect_in_frames(known.frames, probe=suggestion.probe, parameters=suggestion.parameters)
    assert found.counts().mean() == pytest.approx(5, abs=0.5)


def test_spots_are_recognised_by_their_profile() -> None:
    rows, columns = np.ogrid[:96, :96]
    rng = np.random.default_rng(0)
    image = np.full((96, 96), 2.0)
    for y, x, strength in ((48, 48, 900), (30, 60, 80), (70, 36, 80), (66, 66, 60)):
        image = image + strength * np.exp(-0.5 * ((rows - y) ** 2 + (columns - x) ** 2) / 1.8**2)
    suggestion = suggest_detection(as_datacube(rng.poisson(image, (16, 96, 96)), (4, 4)))
    assert suggestion.parameters.mode == "spots"
    found = detect_in_frames(
        rng.poisson(image, (8, 96, 96)), probe=suggestion.probe, parameters=suggestion.parameters
    )
    assert found.counts().mean() == pytest.approx(4, abs=0.5)


@pytest.mark.parametrize("gain", [1.0, 25.0])
def test_the_gain_of_the_detector_is_seen_in_its_noise(gain: float) -> None:
    known = known_frames(36, disks=4, background=2.0, radius=3.0)
    frames = known.frames * gain
    suggestion = suggest_detection(as_datacube(frames.astype(np.float32), (6, 6)))
    assert suggestion.parameters.counts_per_electron == pytest.approx(gain, rel=0.6)
    found = detect_in_frames(frames, probe=suggestion.probe, parameters=suggestion.parameters)
    assert found.counts().mean() == pytest.approx(5, abs=0.7)


def test_a_larger_detector_needs_a_higher_significance() -> None:
    small = known_frames(4, shape=(64, 64), disks=2)
    large = known_frames(4, shape=(160, 160), disks=2)
    values = [
        suggest_parameters(known.frames, measure_direct_beam(known.frames.mean(axis=0))).min_significance
        for known in (small, large)
    ]
    assert 3 < values[0] < values[1] < 5


@pytest.mark.parametrize("scan_shape", [(1, 1), (1, 300), (300, 1), (40, 50)])
def test_a_sample_is_spread_over_any_scan(scan_shape: tuple[int, int]) -> None:
    n = scan_shape[0] * scan_shape[1]
    frames = np.arange(n, dtype=np.uint16)[:, None, None] * np.ones((1, 4, 4), dtype=np.uint16)
    sample = sample_frames(as_datacube(frames, scan_shape))
    assert min(n, 30) <= len(sample) <= 130
    assert np.ptp(sample[:, 0, 0]) >= 0.6 * (n - 1)


def test_a_known_convergence_angle_gives_a_synthetic_template() -> None:
    known = known_frames(16, radius=3.0, disks=3)
    calibrated = as_datacube(
        known.frames, (4, 4), voltage_kv=300, pixel_size_inv_angstrom=0.03, convergence_angle_mrad=1.77
    )
    assert suggest_detection(calibrated).probe.source == "synthetic"


def test_a_scan_of_nothing_says_that_there_is_no_beam() -> None:
    with pytest.raises(ValueError, match="no direct beam"):
        suggest_detection(as_datacube(np.zeros((9, 64, 64), dtype=np.uint16), (3, 3)))
