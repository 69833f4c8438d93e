"""Augmentation: what it takes away, adds and shifts stays within what its parameters say."""

from __future__ import annotations

import torch

from napari_stem_orient.simulation.augment import AugmentationParameters, PeakAugmenter

CALM = {
    "intensity_noise": 0.0,
    "missing": 0.0,
    "spurious": 0,
    "mixed": 0.0,
    "position_noise": 0.0,
    "scale_error": 0.0,
    "ellipticity": 0.0,
    "origin_error": 0.0,
    "threshold_low": 1e-9,
    "threshold_high": 2e-9,
}


def scene(n: int = 64) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    q = 6 * (torch.rand((n, 40, 2), generator=generator) - 0.5)
    return q, 0.01 * torch.randn((n, 40), generator=generator), torch.ones(40)


def augment(seed: int = 1, **changes: float) -> tuple[torch.Tensor, torch.Tensor]:
    parameters = AugmentationParameters(**{**CALM, **changes})
    augmenter = PeakAugmenter(parameters, n_peaks=32, generator=torch.Generator().manual_seed(seed))
    q, excitation_error, strength = scene()
    return augmenter(q, augmenter.kinematic_intensities(q, excitation_error, strength))


def test_without_noise_only_the_detector_limit_acts() -> None:
    peaks, mask = augment(q_limit_low=2.0, q_limit_high=2.0)
    assert peaks.shape == (64, 32, 3)
    assert torch.all(peaks[mask][:, :2].norm(dim=-1) < 2.0)
    assert torch.all(peaks[~mask] == 0)


def test_the_same_seed_gives_the_same_patterns() -> None:
    first = augment(missing=0.3, position_noise=0.05, spurious=3)[0]
    second = augment(missing=0.3, position_noise=0.05, spurious=3)[0]
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_missing_disks_are_fewer_and_spurious_ones_more() -> None:
    calm = augment(q_limit_low=2.5, q_limit_high=2.5)[1].sum()
    assert augment(q_limit_low=2.5, q_limit_high=2.5, missing=0.5)[1].sum() < calm
    limited = augment(q_limit_low=1.0, q_limit_high=1.0)[1].sum()
    assert augment(q_limit_low=1.0, q_limit_high=1.0, spurious=3)[1].sum() > limited


def test_a_shifted_origin_moves_every_disk_of_a_pattern_alike() -> None:
    still = augment(q_limit_low=9, q_limit_high=9)[0]
    moved = augment(q_limit_low=9, q_limit_high=9, origin_error=0.1)[0]
    shift = (moved - still)[..., :2]
    torch.testing.assert_close(shift, shift[:, :1].expand_as(shift), atol=1e-5, rtol=0)
    assert shift.norm(dim=-1).max() <= 0.1 + 1e-5


def test_a_second_grain_adds_weaker_disks_to_part_of_the_patterns() -> None:
    alone, mask_alone = augment(q_limit_low=1.5, q_limit_high=1.5)
    peaks, mask = augment(q_limit_low=1.5, q_limit_high=1.5, mixed=0.5)
    more = mask.sum(dim=1) > mask_alone.sum(dim=1)
    assert 0.2 < more.float().mean() < 0.8
    # The strongest disk stays that of the first grain: relative intensities of the second are at most one half.
    torch.testing.assert_close(peaks[:, 0], alone[:, 0])
    torch.testing.assert_close(peaks[~more], alone[~more])


def test_the_strongest_disks_come_first() -> None:
    peaks, mask = augment(spurious=3, mixed=0.5, q_limit_low=2.0, q_limit_high=2.0)
    assert torch.all(peaks[:, :-1, 2] >= peaks[:, 1:, 2])
    assert torch.all(mask[:, :-1] | ~mask[:, 1:])
