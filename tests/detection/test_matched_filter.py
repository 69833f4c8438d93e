"""The filter's units and its counting statistics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from napari_stem_orient.detection.matched_filter import _inverse, clip_disks, local_background, matched_filter
from napari_stem_orient.detection.parameters import DetectionParameters
from napari_stem_orient.detection.probe import synthetic_probe

CPU = torch.device("cpu")


@pytest.mark.parametrize("mode", ["disks", "spots"])
def test_the_filter_counts_the_electrons_of_a_disk_and_ignores_a_constant(mode: str) -> None:
    probe, parameters = synthetic_probe(3.0, (64, 64)), DetectionParameters(mode=mode)
    pattern_filter = matched_filter(probe, parameters, device=CPU)
    if mode == "disks":
        shape = probe.image
    else:
        rows, columns = np.ogrid[:64, :64]
        shape = np.exp(-0.5 * ((rows - 32) ** 2 + (columns - 32) ** 2) * (1.1774 / 3) ** 2)
        shape = shape / shape.sum()
    image = torch.from_numpy((700 * shape).astype(np.float32))[None]
    counts, _ = pattern_filter.correlate(image + 5, image + 5)
    assert float(counts[0, 32, 32]) == pytest.approx(700, rel=0.03)
    assert float(counts[0, 5, 5]) == pytest.approx(0, abs=0.05)


def test_significance_tends_to_the_gaussian_at_many_counts_and_is_below_it_at_few() -> None:
    pattern_filter = matched_filter(synthetic_probe(3.0, (64, 64)), DetectionParameters(), device=CPU)
    background = torch.tensor([1000.0])
    sigma = (background * pattern_filter.area_px * (1 + pattern_filter.ring_share)).sqrt()
    many = pattern_filter.significance(3 * sigma, background, counts_per_electron=1.0)
    assert float(many) == pytest.approx(3, rel=0.05)
    few = torch.tensor([0.01])
    sigma = (few * pattern_filter.area_px).sqrt()
    assert float(pattern_filter.significance(5 * sigma, few, counts_per_electron=1.0)) < 3
    assert float(pattern_filter.significance(-sigma, few, counts_per_electron=1.0)) < 1e-2


def test_a_gain_scales_significance_as_fewer_electrons_do() -> None:
    pattern_filter = matched_filter(synthetic_probe(3.0, (64, 64)), DetectionParameters(), device=CPU)
    electrons = pattern_filter.significance(
        torch.tensor([30.0]), torch.tensor([1.0]), counts_per_electron=1.0
    )
    counts = pattern_filter.significance(
        torch.tensor([600.0]), torch.tensor([20.0]), counts_per_electron=20.0
    )
    assert float(counts) == pytest.approx(float(electrons), rel=1e-5)


@pytest.mark.parametrize("level", [0.1, 3.0, 100.0])
def test_the_background_is_that_between_the_disks(level: float) -> None:
    rng = np.random.default_rng(1)
    frames = rng.poisson(level, (8, 90, 101)).astype(np.float32)
    frames[:, 20:26, 30:36] += 50 * level + 100
    frames[:, 60:66, 60:66] += 5000
    background = local_background(torch.from_numpy(frames), 4)
    assert background.shape == (8, 23, 26)
    assert float(background.median()) == pytest.approx(level, rel=0.15)
    near_disk = background[:, 15, 15]
    assert float(near_disk.mean()) == pytest.approx(level, rel=0.35)


@pytest.mark.parametrize("shape", [(64, 64), (61, 70), (64, 70)])
def test_clipping_leaves_the_background_and_cuts_the_disks(shape: tuple[int, int]) -> None:
    frames = torch.from_numpy(np.random.default_rng(1).poisson(4.0, (3, *shape)).astype(np.float32))
    frames[:, 30:34, 30:34] = 1000
    background = local_background(frames, 4)
    clipped = clip_disks(frames, background, 4, counts_per_electron=1.0)
    assert clipped.shape == frames.shape
    assert float(clipped.max()) < 25
    assert float((clipped != frames).float().mean()) < 0.01


def test_false_alarms_of_one_place_follow_the_normal_distribution() -> None:
    pattern_filter = matched_filter(synthetic_probe(2.5, (64, 64)), DetectionParameters(), device=CPU)
    frames = torch.from_numpy(np.random.default_rng(4).poisson(2.0, (400, 64, 64)).astype(np.float32))
    counts, _ = pattern_filter.correlate(frames, frames)
    sample = counts[:, ::16, ::16].reshape(-1)
    background = torch.full_like(sample, 2.0)
    exceeding = (pattern_filter.significance(sample, background, counts_per_electron=1.0) > 2) & (sample > 0)
    assert float(exceeding.float().mean()) == pytest.approx(stats.norm.sf(2), rel=0.4)


@pytest.mark.parametrize("gain", [1.0, 30.0])
def test_the_least_counts_of_a_disk_are_those_that_make_it_bright_enough(gain: float) -> None:
    parameters = DetectionParameters(min_significance=3.7, counts_per_electron=gain, min_contrast=0.1)
    pattern_filter = matched_filter(synthetic_probe(2.5, (64, 64)), parameters, device=CPU)
    background = gain * torch.tensor([0.0, 3e-4, 0.02, 0.7, 40.0, 3e4])
    exposures = torch.tensor([1.0, 4.0, 1.0, 9.0, 1.0, 1.0])
    least = pattern_filter.least_counts(background, parameters, exposures=exposures)
    below, _ = pattern_filter.bright_enough(0.999 * least, background, parameters, exposures=exposures)
    above, _ = pattern_filter.bright_enough(1.15 * least, background, parameters, exposures=exposures)
    assert not below.any()
    assert above[1:].all()


@pytest.mark.parametrize("shape", [(16, 16), (32, 32), (33, 31), (64, 64), (48, 80)])
def test_images_come_back_to_the_same_bits_on_any_number_of_threads(shape: tuple[int, int]) -> None:
    images = torch.rand(7, *shape, generator=torch.Generator().manual_seed(0))
    threads = torch.get_num_threads()
    try:
        found = []
        for number in (1, 2, 4):
            torch.set_num_threads(number)
            found.append(_inverse(torch.fft.rfft2(images), shape))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
    torch.testing.assert_close(found[0], images, atol=1e-5, rtol=0)
