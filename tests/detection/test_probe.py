"""The direct beam and the template are found as they were put in."""

from __future__ import annotations

import numpy as np
import pytest

from detection_frames import as_datacube, disk_image, known_frames
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.detection.probe import (
    DirectBeam,
    measure_direct_beam,
    probe_from_frames,
    probe_from_mean_pattern,
    probe_from_vacuum,
    synthetic_probe,
)


def pattern_with(*disks: tuple[float, float, float, float], shape: tuple[int, int] = (96, 96)) -> np.ndarray:
    """Sum of disks (row, column, radius, counts) over a background that falls off from the middle."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    distance = np.hypot(rows - shape[0] / 2, columns - shape[1] / 2)
    image = 3.0 * np.exp(-distance / 20)
    for y, x, radius, counts in disks:
        image += disk_image(shape, np.array([y]), np.array([x]), np.array([counts]), radius)
    return image


@pytest.mark.parametrize("radius", [1.0, 1.6, 2.44, 5.0, 9.0])
def test_direct_beam_is_measured_within_a_fraction_of_a_pixel(radius: float) -> None:
    beam = measure_direct_beam(pattern_with((46.3, 50.8, radius, 5000.0)))
    assert np.hypot(beam.y_px - 46.3, beam.x_px - 50.8) < (0.1 if radius > 2 else 0.2)
    assert beam.radius_px == pytest.approx(radius, abs=max(0.25, 0.06 * radius))


def test_direct_beam_of_a_scan_with_a_width_of_two_pixels_gaussian() -> None:
    rows, columns = np.ogrid[:80, :80]
    spot = 1e6 * np.exp(-0.5 * ((rows - 39.7) ** 2 + (columns - 41.2) ** 2) / 1.3**2)
    beam = measure_direct_beam(np.random.default_rng(0).poisson(spot + 50))
    assert np.hypot(beam.y_px - 39.7, beam.x_px - 41.2) < 0.1
    assert 1.0 < beam.radius_px < 2.2


def test_neither_a_brighter_bragg_disk_pixel_nor_a_hot_pixel_is_taken_for_the_direct_beam() -> None:
    image = pattern_with((47.0, 49.0, 4.0, 4000.0), (20.0, 80.0, 2.0, 1500.0))
    image[30, 40] = 1e6
    image[60, 61] = np.nan
    beam = measure_direct_beam(image)
    assert np.hypot(beam.y_px - 47.0, beam.x_px - 49.0) < 0.1


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((64, 64)),
        np.full((64, 64), np.nan),
        np.random.default_rng(3).poisson(5.0, (64, 64)),
        100 * np.exp(-0.5 * (np.hypot(*np.ogrid[-40:40, -40:40]) / 20) ** 2),
    ],
    ids=["zeros", "nan", "noise", "halo"],
)
def test_no_direct_beam_is_said_with_the_way_out(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="by hand"):
        measure_direct_beam(image)


def test_a_stack_is_refused_as_a_mean_pattern() -> None:
    with pytest.raises(ValueError, match="mean over the scan"):
        measure_direct_beam(np.ones((2, 32, 32)))
    with pytest.raises(ValueError, match="too small"):
        measure_direct_beam(np.ones((4, 4)))


def test_radius_follows_from_the_convergence_angle() -> None:
    calibration = Calibration(voltage_kv=300, pixel_size_inv_angstrom=0.03125, convergence_angle_mrad=1.5)
    assert calibration.disk_radius_px() == pytest.approx(1.5e-3 / 0.019687 / 0.03125, rel=1e-3)
    with pytest.raises(ValueError, match="convergence"):
        Calibration(voltage_kv=300, pixel_size_inv_angstrom=0.03).disk_radius_px()
    with pytest.raises(ValueError, match="pixel size"):
        Calibration(voltage_kv=300, convergence_angle_mrad=1.5).disk_radius_px()
    with pytest.raises(ValueError, match="voltage"):
        Calibration(pixel_size_inv_angstrom=0.03, convergence_angle_mrad=1.5).disk_radius_px()


@pytest.mark.parametrize("shape", [(64, 64), (63, 80)])
def test_synthetic_probe_is_a_centred_disk_of_unit_sum(shape: tuple[int, int]) -> None:
    probe = synthetic_probe(4.0, shape)
    assert probe.image.dtype == np.float32
    assert probe.detector_shape == shape
    assert probe.image.sum() == pytest.approx(1, rel=1e-5)
    rows, columns = np.indices(shape)
    assert (probe.image * rows).sum() == pytest.approx(shape[0] // 2, abs=1e-3)
    assert (probe.image * columns).sum() == pytest.approx(shape[1] // 2, abs=1e-3)
    assert 1 / (probe.image**2).sum() == pytest.approx(np.pi * 16, rel=0.2)


def test_a_radius_that_does_not_suit_the_detector_is_refused() -> None:
    with pytest.raises(ValueError, match="a third of the detector"):
        synthetic_probe(40.0, (64, 64))


def test_template_from_the_mean_pattern_has_the_disks_shape() -> None:
    probe = probe_from_mean_pattern(pattern_with((46.3, 50.8, 5.0, 5000.0)))
    flat = synthetic_probe(5.0, (96, 96))
    overlap = (probe.image * flat.image).sum() / np.sqrt((probe.image**2).sum() * (flat.image**2).sum())
    assert overlap > 0.97
    assert probe.image.min() >= 0


def test_aligned_frames_give_the_radius_that_a_wandering_beam_blurs() -> None:
    known = known_frames(40, radius=4.0, disks=3, direct=4000)
    jitter = np.stack([np.roll(f, (i % 5 - 2, i % 7 - 3), (0, 1)) for i, f in enumerate(known.frames)])
    probe = probe_from_frames(jitter)
    assert probe.radius_px == pytest.approx(4.0, abs=0.15)


def test_template_from_vacuum_reads_only_the_masked_positions() -> None:
    known = known_frames(12, radius=4.0, disks=2)
    known.frames[6:] = 0
    datacube = as_datacube(known.frames, (2, 6))
    mask = np.zeros((2, 6), dtype=bool)
    mask[0] = True
    probe = probe_from_vacuum(datacube, mask)
    assert probe.source == "vacuum"
    assert probe.radius_px == pytest.approx(4.0, abs=0.25)
    with pytest.raises(ValueError, match="at least one"):
        probe_from_vacuum(datacube, np.zeros((2, 6), dtype=bool))
    with pytest.raises(ValueError, match="make them equal"):
        probe_from_vacuum(datacube, np.ones((3, 6), dtype=bool))
    with pytest.raises(ValueError, match="direct beam"):
        probe_from_vacuum(datacube, ~mask)


def test_template_from_vacuum_leaves_masked_pixels_out() -> None:
    known = known_frames(6, radius=4.0, disks=0)
    spoilt = known.frames.copy()
    spoilt[:, 49, 55] = 50_000  # beside the direct beam
    bad = np.zeros((96, 96), dtype=bool)
    bad[49, 55] = True
    vacuum = np.ones((1, 6), dtype=bool)
    clean = probe_from_vacuum(as_datacube(known.frames, (1, 6)), vacuum)
    probe = probe_from_vacuum(as_datacube(spoilt, (1, 6)), vacuum, detector_mask=bad)
    assert probe.radius_px == pytest.approx(clean.radius_px, abs=0.05)
    assert np.abs(probe.image - clean.image).max() < 0.05 * clean.image.max()


def test_a_beam_given_by_hand_is_used() -> None:
    image = pattern_with((30.0, 60.0, 3.0, 5000.0))
    probe = probe_from_mean_pattern(image, beam=DirectBeam(30.0, 60.0, 3.0))
    assert probe.radius_px == 3.0
    with pytest.raises(ValueError, match="does not rise"):
        probe_from_mean_pattern(np.zeros((96, 96)), beam=DirectBeam(30.0, 60.0, 3.0))
