"""Tokens: what is kept of a pattern, and how it is scaled."""

from __future__ import annotations

import numpy as np
import torch

from napari_stem_orient.transformer.tokens import (
    ANGULAR_FEATURES,
    INTENSITY_FEATURES,
    RADIAL_FEATURES,
    strongest_peaks,
    token_features,
)

OFFSETS = np.array([0, 3, 3, 5])
Q_X = np.array([0.0, 0.5, 0.7, 0.4, 3.0], dtype=np.float32)
Q_Y = np.zeros(5, dtype=np.float32)
INTENSITY = np.array([100.0, 1.0, 5.0, 2.0, 9.0], dtype=np.float32)


def test_direct_beam_and_far_peaks_are_left_out_and_the_strongest_come_first() -> None:
    peaks, mask = strongest_peaks(Q_X, Q_Y, INTENSITY, OFFSETS, n_peaks=4, direct_beam_radius=0.2, q_max=2.0)
    assert mask.sum(axis=1).tolist() == [2, 0, 1]
    np.testing.assert_allclose(peaks[0, :2, 0], [0.7, 0.5])
    assert not peaks[1].any()


def test_only_as_many_as_asked_for_are_kept() -> None:
    peaks, mask = strongest_peaks(Q_X, Q_Y, INTENSITY, OFFSETS, n_peaks=1, direct_beam_radius=0.2)
    assert mask.sum() == 2
    np.testing.assert_allclose(peaks[2, 0], [3.0, 0.0, 9.0])


def test_no_peaks_at_all_is_a_pattern_too() -> None:
    empty = np.zeros(0, dtype=np.float32)
    peaks, mask = strongest_peaks(
        empty, empty, empty, np.zeros(4, dtype=int), n_peaks=8, direct_beam_radius=0.1
    )
    assert peaks.shape == (3, 8, 3)
    assert not mask.any()


def test_not_a_number_is_no_peak() -> None:
    bad = Q_X.copy()
    bad[2] = np.nan
    _, mask = strongest_peaks(bad, Q_Y, INTENSITY, OFFSETS, n_peaks=4, direct_beam_radius=0.2)
    assert mask.sum(axis=1).tolist() == [1, 0, 2]


def test_features_do_not_depend_on_the_unit_of_intensity() -> None:
    peaks = torch.tensor([[[1.0, 0.5, 3.0], [0.2, -1.0, 6.0]]])
    scaled = peaks * torch.tensor([1.0, 1.0, 1000.0])
    mask = torch.ones(1, 2, dtype=torch.bool)
    torch.testing.assert_close(token_features(peaks, mask), token_features(scaled, mask))
    assert token_features(peaks, mask).shape == (
        1,
        2,
        RADIAL_FEATURES + ANGULAR_FEATURES + INTENSITY_FEATURES,
    )


def test_radial_features_do_not_depend_on_the_polar_angle() -> None:
    mask = torch.ones(1, 1, dtype=torch.bool)
    one = token_features(torch.tensor([[[1.0, 0.0, 1.0]]]), mask)[..., :RADIAL_FEATURES]
    other = token_features(torch.tensor([[[0.0, 1.0, 1.0]]]), mask)[..., :RADIAL_FEATURES]
    torch.testing.assert_close(one, other)
