"""Hot and dead pixels, beam stops and saturation are found where they are, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from detection_frames import as_datacube, disk_image, known_frames
from napari_stem_orient.detection.bad_pixels import (
    Saturation,
    find_bad_pixels,
    find_beam_stop,
    find_saturation,
)
from napari_stem_orient.detection.probe import measure_direct_beam
from napari_stem_orient.detection.suggestion import suggest_detection


def sample(*, background: float = 20.0, n: int = 32, radius: float = 3.0) -> NDArray[np.uint16]:
    """Patterns with a direct beam and eight disks each, at places that differ from pattern to pattern."""
    known = known_frames(n, background=background, radius=radius)
    return known.frames.astype(np.uint16)


def test_hot_and_dead_pixels_are_found_in_background_and_on_the_direct_beam() -> None:
    frames = sample()
    frames[:, 20, 30] += 200
    frames[:, 47, 48] += 4000  # on the direct beam
    frames[:, 60:62, 70] += 300  # two side by side
    frames[:, 80, 12] = 0
    found = find_bad_pixels(frames)
    assert sorted(map(tuple, np.argwhere(found.hot))) == [(20, 30), (47, 48), (60, 70), (61, 70)]
    assert sorted(map(tuple, np.argwhere(found.dead))) == [(80, 12)]
    assert found.sentence() == "4 hot pixels and 1 dead pixel are left out"
    assert found.mask.sum() == 5


def test_hot_pixels_are_found_at_the_border_and_in_the_corners() -> None:
    frames = sample()
    places = [(0, 0), (0, 40), (50, 95), (95, 0), (95, 95)]
    for place in places:
        frames[:, *place] = 900
    assert sorted(map(tuple, np.argwhere(find_bad_pixels(frames).mask))) == places


@pytest.mark.parametrize("background", [0.02, 0.5, 50.0])
@pytest.mark.parametrize("radius", [1.5, 4.0])
def test_good_pixels_are_not_called_bad_at_any_dose(background: float, radius: float) -> None:
    found = find_bad_pixels(sample(background=background, radius=radius))
    assert not found.mask.any()
    assert found.sentence() == ""


def test_a_spot_that_is_in_every_pattern_is_no_hot_pixel() -> None:
    rows, columns = np.ogrid[:64, :64]
    spot = 3000 * np.exp(-0.5 * ((rows - 20) ** 2 + (columns - 30) ** 2) / 0.6**2) + 5
    frames = np.random.default_rng(0).poisson(spot, (40, 64, 64)).astype(np.uint16)
    assert not find_bad_pixels(frames).hot.any()


def test_a_cosmic_ray_is_no_hot_pixel() -> None:
    frames = sample()
    frames[7, 20, 30] = 60_000
    assert not find_bad_pixels(frames).mask.any()


def test_a_gap_between_the_parts_of_a_detector_is_dead_and_an_empty_corner_is_not() -> None:
    frames = sample()
    frames[:, 40:42] = 0
    assert find_bad_pixels(frames).dead[40:42].all()
    assert find_bad_pixels(frames).dead.sum() == 2 * 96
    sparse = known_frames(32, background=0.0).frames.astype(np.uint16)
    sparse[:, :30, :30] = 0
    assert not find_bad_pixels(sparse).dead.any()


def test_pixels_that_are_never_a_number_are_dead() -> None:
    frames = sample().astype(np.float32)
    frames[:, 5, 6] = np.nan
    frames[3, 50, 50] = np.inf
    assert sorted(map(tuple, np.argwhere(find_bad_pixels(frames).dead))) == [(5, 6)]


def test_three_patterns_tell_nothing() -> None:
    frames = sample(n=3)
    frames[:, 20, 30] += 500
    assert not find_bad_pixels(frames).mask.any()


def rings_and_disks() -> NDArray[np.float64]:
    """A mean pattern: direct beam, twelve reflections and scattering that falls off with the distance."""
    rows, columns = np.ogrid[:128, :128]
    angle = np.arange(12) * np.pi / 6
    y = np.concatenate([[64.0], 64 + 30 * np.sin(angle)])
    x = np.concatenate([[62.0], 62 + 30 * np.cos(angle)])
    counts = np.array([50_000.0] + [2000.0] * 12)
    return disk_image((128, 128), y, x, counts, 3.5) + 40 / (
        1 + (np.hypot(rows - 64, columns - 62) / 12) ** 2
    )


@pytest.mark.parametrize("rod", [False, True])
def test_a_beam_stop_is_found_where_it_is(rod: bool) -> None:
    rows, columns = np.ogrid[:128, :128]
    stop = np.hypot(rows - 64, columns - 62) < 10
    if rod:
        stop |= (abs(columns - 62) < 4) & (rows < 64)
    pattern = np.where(stop, 0.01, 1.0) * np.where(stop, 20.0, rings_and_disks())
    found = find_beam_stop(np.random.default_rng(0).poisson(pattern, (20, 128, 128)).mean(axis=0))
    assert found[stop].all()
    rim = found & ~stop
    assert rim.sum() < 0.6 * stop.sum()
    assert np.hypot(*(np.argwhere(rim) - (64, 62)).T).min() > 3


def test_without_a_beam_stop_none_is_found() -> None:
    assert not find_beam_stop(rings_and_disks()).any()
    assert not find_beam_stop(sample().mean(axis=0)).any()
    assert not find_beam_stop(np.zeros((64, 64))).any()


@pytest.mark.parametrize("size", [16, 17, 24, 33])
def test_a_small_detector_is_searched_for_a_beam_stop_wherever_its_middle_lies(size: int) -> None:
    rows, columns = np.ogrid[:size, :size]
    for middle in (size / 2, size / 2 + 0.25, size / 2 - 0.5):
        pattern = 100 * np.exp(-(((rows - middle) ** 2 + (columns - middle) ** 2) / (size / 4) ** 2)) + 1
        assert not find_beam_stop(pattern).any()


def test_a_saturated_direct_beam_is_recognised_and_still_in_place() -> None:
    known = known_frames(16, direct=60_000, background=2.0)
    frames = np.minimum(known.frames, 1023).astype(np.uint16)
    saturation = find_saturation(frames)
    assert isinstance(saturation, Saturation)
    assert saturation.level == 1023
    assert 15 < saturation.pixels < 35
    beam = measure_direct_beam(frames[0])
    assert abs(beam.y_px - known.y_px[0, 0]) < 0.15
    assert abs(beam.x_px - known.x_px[0, 0]) < 0.15
    assert beam.radius_px == pytest.approx(3, abs=0.45)


def test_pixels_that_are_no_numbers_hide_no_saturation() -> None:
    known = known_frames(16, direct=60_000, background=2.0)
    frames = np.minimum(known.frames, 1023)
    expected = find_saturation(frames)
    frames[:, 2, 3], frames[4, 5, 6] = np.nan, np.inf
    assert expected is not None
    assert find_saturation(frames) == expected
    assert find_saturation(np.full((3, 16, 16), np.nan)) is None


def test_hot_pixels_at_the_limit_are_no_saturated_direct_beam() -> None:
    frames = sample()
    frames[:, 5:90:9, 12] = 65535
    assert find_saturation(frames) is not None
    assert find_saturation(frames, find_bad_pixels(frames).mask) is None
    suggestion = suggest_detection(as_datacube(frames, (4, 8)), mask=find_bad_pixels(frames).mask)
    assert suggestion.probe.source == "aligned direct beams"


def test_patterns_below_the_limit_are_not_saturated() -> None:
    assert find_saturation(sample()) is None
    assert find_saturation(np.random.default_rng(0).poisson(0.3, (20, 64, 64))) is None
    assert find_saturation(np.random.default_rng(0).poisson(300, (20, 64, 64))) is None


def test_hot_pixels_that_are_masked_do_not_spoil_what_is_suggested() -> None:
    known = known_frames(36, radius=3.0, disks=4, background=2.0)
    clean = as_datacube(known.frames.astype(np.uint16), (6, 6))
    frames = known.frames.astype(np.uint16)
    frames[:, 46, 49] = 60_000  # on the direct beam
    frames[:, ::11, ::13] += 400
    bad = find_bad_pixels(frames)
    assert bad.hot.sum() > 60
    expected = suggest_detection(clean)
    suggestion = suggest_detection(as_datacube(frames, (6, 6)), mask=bad.mask, frames=frames)
    assert suggestion.beam.y_px == pytest.approx(expected.beam.y_px, abs=0.1)
    assert suggestion.beam.x_px == pytest.approx(expected.beam.x_px, abs=0.1)
    assert suggestion.beam.radius_px == pytest.approx(expected.beam.radius_px, abs=0.1)
    assert suggestion.parameters.counts_per_electron == expected.parameters.counts_per_electron == 1
