"""Settings chosen from a sample suit the scan without tuning."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from detection_frames import as_datacube, disk_image, known_frames
from napari_stem_orient.detection.correlation import detect_in_frames
from napari_stem_orient.detection.false_alarms import measure_false_alarms
from napari_stem_orient.detection.matched_filter import disk_and_ring
from napari_stem_orient.detection.parameters import DetectionParameters
from napari_stem_orient.detection.probe import measure_direct_beam, synthetic_probe
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
    # its five disks, and the one false disk that is stated
    assert 4.9 < found.counts().mean() < 6.7


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
    assert 3.9 < found.counts().mean() < 5.7


@pytest.mark.parametrize("gain", [1.0, 25.0])
def test_the_gain_of_the_detector_is_seen_in_its_noise(gain: float) -> None:
    known = known_frames(36, disks=4, background=2.0, radius=3.0)
    frames = known.frames * gain
    suggestion = suggest_detection(as_datacube(frames.astype(np.float32), (6, 6)))
    assert suggestion.parameters.counts_per_electron == pytest.approx(gain, rel=0.6)
    found = detect_in_frames(frames, probe=suggestion.probe, parameters=suggestion.parameters)
    assert 4.9 < found.counts().mean() < 6.7


def test_a_larger_detector_needs_a_higher_significance() -> None:
    small = known_frames(4, shape=(64, 64), disks=2)
    large = known_frames(4, shape=(160, 160), disks=2)
    values = [
        suggest_parameters(known.frames, measure_direct_beam(known.frames.mean(axis=0))).min_significance
        for known in (small, large)
    ]
    assert 2.5 < values[0] < values[1] < 5


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


@pytest.mark.parametrize("false_disks", [0.2, 1.0, 3.0])
@pytest.mark.parametrize(("radius", "background"), [(2.5, 0.05), (2.5, 5.0), (6.0, 0.3)])
def test_noise_makes_as_many_false_disks_as_stated_at_any_dose(
    radius: float, background: float, false_disks: float
) -> None:
    noise = np.random.default_rng(11).poisson(background, (40, 96, 96)).astype(np.float32)
    probe = synthetic_probe(radius, (96, 96))
    parameters = DetectionParameters(min_spacing_px=2 * radius, edge_px=radius)
    alarms = measure_false_alarms(noise[:8], probe, parameters)
    chosen = parameters.model_copy(update={"min_significance": alarms.significance_for(false_disks)})
    found = detect_in_frames(noise, probe=probe, parameters=chosen)
    assert found.counts().mean() == pytest.approx(false_disks, rel=0.5, abs=0.15)
    assert alarms.per_pattern(chosen.min_significance) == pytest.approx(false_disks, rel=0.2, abs=0.05)


def test_a_user_who_tolerates_no_false_disks_gets_a_higher_threshold() -> None:
    known = known_frames(16, disks=3)
    scan = as_datacube(known.frames.astype(np.uint16), (4, 4))
    strict, usual = (suggest_detection(scan, false_disks_per_pattern=rate) for rate in (0.01, 1.0))
    assert strict.parameters.min_significance > usual.parameters.min_significance + 0.5
    assert usual.false_alarms.per_pattern(usual.parameters.min_significance) <= 1.0


@pytest.mark.parametrize("electrons", [3e3, 1e6])
def test_many_small_disks_at_high_dose_are_not_taken_for_noise(electrons: float) -> None:
    rng = np.random.default_rng(5)
    y, x = (places.ravel() for places in np.meshgrid(np.arange(8, 120, 11.5), np.arange(8, 120, 11.5)))
    strength = np.exp(rng.normal(0, 1.3, len(y)))
    image = disk_image((128, 128), y, x, 0.85 * electrons * strength / strength.sum(), 2.0)
    frames = rng.poisson(image + 0.15 * electrons / image.size, (9, 128, 128)).astype(np.uint16)
    suggestion = suggest_detection(as_datacube(frames, (3, 3)), radius_px=2.0)
    assert suggestion.parameters.counts_per_electron == 1.0


def test_hot_pixels_that_are_masked_change_no_setting() -> None:
    known = known_frames(16, disks=3, counts=(300, 2000))
    spoilt = known.frames.copy()
    mask = np.zeros((96, 96), dtype=bool)
    mask[[10, 40, 41, 70], [80, 50, 50, 20]] = True
    spoilt[:, mask] = 6e4
    clean, masked = (
        suggest_detection(as_datacube(frames.astype(np.uint16), (4, 4)), mask=chosen)
        for frames, chosen in ((known.frames, None), (spoilt, mask))
    )
    assert masked.beam.y_px == pytest.approx(clean.beam.y_px, abs=0.2)
    assert masked.probe.radius_px == pytest.approx(clean.probe.radius_px, abs=0.1)
    assert masked.parameters.counts_per_electron == clean.parameters.counts_per_electron
    assert masked.parameters.min_significance == pytest.approx(clean.parameters.min_significance, abs=0.3)


def test_a_saturated_direct_beam_keeps_its_place_and_radius() -> None:
    known = known_frames(16, radius=5.0, disks=4, direct=60000, counts=(500, 3000), shape=(128, 128))
    limit = 255
    assert (known.frames > limit).any(axis=(1, 2)).all()
    scan = as_datacube(np.minimum(known.frames, limit).astype(np.uint8), (4, 4))
    suggestion = suggest_detection(scan)
    assert suggestion.parameters.mode == "disks"
    assert suggestion.probe.radius_px == pytest.approx(5.0, abs=0.5)
    assert suggestion.beam.y_px == pytest.approx(known.y_px[:, 0].mean(), abs=0.3)
    assert suggestion.parameters.counts_per_electron == 1.0


def test_spots_beside_a_saturated_halo_are_found_with_their_own_size() -> None:
    rows, columns = np.ogrid[:128, :128]
    distance = np.hypot(rows - 63, columns - 64)
    image = 30 + 4000 / (1 + (distance / 8) ** 2) ** 1.5
    places = np.array([[30, 40], [96, 88], [40, 90], [86, 38], [20, 64], [106, 64]])
    for y, x in places:
        image = image + 120 * np.exp(-0.5 * ((rows - y) ** 2 + (columns - x) ** 2) / 1.8**2)
    frames = np.minimum(np.random.default_rng(0).poisson(image, (9, 128, 128)), 255).astype(np.uint8)
    suggestion = suggest_detection(as_datacube(frames, (3, 3)))
    assert 0.8 < suggestion.probe.radius_px / (1.8 * 1.18) < 1.5
    assert suggestion.beam.y_px == pytest.approx(63, abs=0.5)
    assert suggestion.beam.x_px == pytest.approx(64, abs=0.5)
    found = detect_in_frames(frames, probe=suggestion.probe, parameters=suggestion.parameters)
    for y, x in places:
        assert (np.hypot(found.y_px - y, found.x_px - x) < 1).sum() == 9


@pytest.mark.parametrize("shape", [(8, 8), (12, 12), (6, 5), (16, 4)])
@pytest.mark.parametrize("spread_px", [0.0, 1.0])
def test_a_detector_of_very_few_pixels_gets_settings_too(shape: tuple[int, int], spread_px: float) -> None:
    middle = ((shape[0] - 1) / 2, (shape[1] - 1) / 2)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    image = 5.0 + 400.0 * (np.hypot(rows - middle[0], columns - middle[1]) < 1.2)
    frames = 10.0 * np.random.default_rng(3).poisson(image, (36, *shape))
    frames = ndimage.gaussian_filter(frames, (0, spread_px, spread_px)).astype(np.float32)
    suggestion = suggest_detection(as_datacube(frames, (6, 6)), radius_px=1.2)
    if spread_px == 0 and min(shape) >= 8:  # smaller ones are all direct beam
        assert 5 < suggestion.parameters.counts_per_electron < 30
    assert suggestion.parameters.min_significance >= 2
    found = detect_in_frames(frames, probe=suggestion.probe, parameters=suggestion.parameters)
    assert np.isfinite(found.intensity).all()


def test_a_detector_too_small_for_a_disk_and_its_background_is_refused_in_words() -> None:
    frames = np.random.default_rng(3).poisson(5.0, (36, 3, 3))
    with pytest.raises(ValueError, match="at least 5 x 5 px"):
        suggest_detection(as_datacube(frames, (6, 6)), radius_px=0.9)
    large = replace(synthetic_probe(1.2, (5, 5)), radius_px=2.0)
    with pytest.raises(ValueError, match="at least 6 x 6 px"):
        disk_and_ring(large, DetectionParameters())
    enough = replace(synthetic_probe(1.2, (6, 6)), radius_px=2.0)
    assert disk_and_ring(enough, DetectionParameters())[1].sum() == pytest.approx(1)


@pytest.mark.parametrize("scale", [1e-4, 1e-6])
def test_patterns_that_were_scaled_down_are_searched_like_others(scale: float) -> None:
    frames = known_frames(16, shape=(64, 64), disks=4, radius=2.5, background=0.5).frames * scale
    suggestion = suggest_detection(as_datacube(frames.astype(np.float32), (4, 4)))
    assert suggestion.parameters.counts_per_electron == pytest.approx(scale, rel=0.3)
    found = detect_in_frames(frames, probe=suggestion.probe, parameters=suggestion.parameters)
    assert 4.5 < found.counts().mean() < 6.7


@pytest.mark.parametrize("background", [0.5, 20.0])
def test_patterns_whose_background_was_subtracted_have_no_more_false_disks(background: float) -> None:
    known = known_frames(16, shape=(64, 64), disks=4, radius=2.5, background=background)
    readout = np.random.default_rng(1).normal(0, 3, known.frames.shape)
    frames = (20 * (known.frames - background) + readout).astype(np.float32)
    suggestion = suggest_detection(as_datacube(frames, (4, 4)))
    assert suggestion.parameters.min_absolute_intensity > 0
    found = detect_in_frames(frames, probe=suggestion.probe, parameters=suggestion.parameters)
    assert 4.5 < found.counts().mean() < 6.7


def test_positions_without_a_pattern_are_no_part_of_the_sample() -> None:
    known = known_frames(36, radius=4.0, disks=4, shape=(64, 64))
    missing = np.zeros((6, 6), dtype=bool)
    missing[3:] = True
    frames = known.frames.astype(np.uint16)
    frames[missing.ravel()] = 0
    sample = sample_frames(replace(as_datacube(frames, (6, 6)), missing=missing))
    assert len(sample) == 18
    assert (sample.sum(axis=(1, 2)) > 0).all()
