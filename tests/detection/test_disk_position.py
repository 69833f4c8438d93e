"""The likeliest place of a disk is nearer to the truth than the correlation's maximum."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from detection_frames import disk_image
from napari_stem_orient.detection.disk_position import likeliest_positions, placed_template
from napari_stem_orient.detection.probe import synthetic_probe

CPU = torch.device("cpu")


def moved(
    frames: np.ndarray,
    start: tuple[float, float],
    counts: float,
    background: float,
    radius: float,
    slope: tuple[float, float] = (0.0, 0.0),
) -> np.ndarray:
    """Places (n, 2) that one disk in each of the frames is moved to from ``start``."""
    shape = (frames.shape[1], frames.shape[2])
    template = placed_template(synthetic_probe(radius, shape).image.astype(np.float64), radius, CPU)
    n = len(frames)
    place = torch.tensor(start, dtype=torch.float32)[:, None].repeat(1, n)
    found = likeliest_positions(
        torch.from_numpy(frames.astype(np.float32)),
        torch.arange(n),
        place,
        counts=torch.full((n,), counts),
        background=torch.full((n,), background),
        slope=torch.tensor(slope)[:, None].repeat(1, n),
        template=template,
    )
    return found.numpy().T


@pytest.mark.parametrize("gain", [1.0, 40.0])
@pytest.mark.parametrize("truth", [(20.0, 24.0), (20.3, 23.6), (19.55, 24.45)])
def test_a_disk_without_noise_is_found_where_it_is(truth: tuple[float, float], gain: float) -> None:
    image = disk_image((48, 48), np.array([truth[0]]), np.array([truth[1]]), np.array([900.0]), 4.0) + 0.5
    place = moved(gain * image[None], (20.2, 24.1), gain * 900.0, gain * 0.5, 4.0)
    np.testing.assert_allclose(place[0], truth, atol=0.03)


def test_few_electrons_over_little_background_place_a_disk_as_well_as_statistics_allow() -> None:
    rng = np.random.default_rng(3)
    image = disk_image((48, 48), np.array([20.3]), np.array([23.6]), np.array([60.0]), 4.0) + 0.05
    place = moved(rng.poisson(image, (300, 48, 48)), (20.3, 23.6), 60.0, 0.05, 4.0)
    # a centre of mass of 60 electrons, each a radius / 2 off in x and y, is 0.26 px off
    error = place - [20.3, 23.6]
    assert np.sqrt((error**2).mean()) < 0.24
    assert abs(error.mean()) < 0.03


def test_a_disk_at_the_border_and_beside_a_brighter_one_stays_in_place() -> None:
    y, x, counts = np.array([5.0, 5.0]), np.array([6.0, 17.5]), np.array([300.0, 3000.0])
    image = disk_image((40, 40), y, x, counts, 4.0) + 0.2
    place = moved(image[None], (5.0, 6.0), 300.0, 0.2, 4.0)
    np.testing.assert_allclose(place[0], (5.0, 6.0), atol=0.1)


def test_no_disks_are_no_error() -> None:
    assert moved(np.zeros((0, 40, 40)), (5.0, 6.0), 1.0, 1.0, 4.0).shape == (0, 2)


def test_a_weak_disk_on_the_slope_of_a_halo_is_not_pulled_up_the_slope() -> None:
    image = disk_image((48, 48), np.array([20.3]), np.array([23.6]), np.array([60.0]), 3.0) + 30.0
    image = image + 0.5 * (np.arange(48) - 20.3)[:, None]
    place = moved(image[None], (20.3, 23.6), 60.0, 30.0, 3.0, slope=(0.5, 0.0))
    np.testing.assert_allclose(place[0], (20.3, 23.6), atol=0.1)
    pulled = moved(image[None], (20.3, 23.6), 60.0, 30.0, 3.0)
    assert pulled[0, 0] > 20.6
