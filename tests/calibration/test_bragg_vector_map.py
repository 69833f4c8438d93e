"""The pictures of all disks show each where it is."""

from __future__ import annotations

import numpy as np
import pytest

from napari_stem_orient.calibration.bragg_vector_map import bragg_vector_map, radial_histogram
from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.calibration import Calibration


def four_disks(**calibration: float) -> BraggPeaks:
    """Two positions, each with a direct beam and disks 20 px right of it and 10 px below it, four times as faint."""
    origin = np.array([[30.0, 32.0], [31.0, 33.0]])
    x = np.concatenate([[column, column + 20, column] for column in origin[:, 1]])
    y = np.concatenate([[row, row, row + 10] for row in origin[:, 0]])
    peaks = BraggPeaks(
        x_px=x,
        y_px=y,
        intensity=np.tile([1000.0, 16.0, 1.0], 2),
        offsets=np.array([0, 3, 6]),
        scan_shape=(1, 2),
        calibration=Calibration(),
        detector_shape=(64, 64),
    )
    return peaks.with_calibration(Calibration(**calibration), origin_px=origin)


def test_the_map_shows_disks_about_the_direct_beam_and_leaves_that_out() -> None:
    picture = bragg_vector_map(four_disks(pixel_size_inv_angstrom=0.05), size=100)
    assert picture.units == "1/Å"
    left, right, top, bottom = picture.extent
    assert -left == right == -top == bottom == pytest.approx(1.02)
    rows, columns = np.nonzero(picture.image)
    places = {
        (int(row), int(column)): float(picture.image[row, column])
        for row, column in zip(rows, columns, strict=True)
    }
    # 1.0 1/Å to the right and 0.5 1/Å down of the middle; intensities count with the power 1/4
    assert places == {
        (50, 99): pytest.approx(2.0),
        (int((0.5 + 1.02) / 2.04 * 100), 50): pytest.approx(2 * (1 / 16) ** 0.25),
    }


def test_the_radial_histogram_counts_disks_at_their_distance() -> None:
    histogram = radial_histogram(four_disks(pixel_size_inv_angstrom=0.05), bins=51)
    filled = np.flatnonzero(histogram.counts)
    assert histogram.counts.sum() == 4
    np.testing.assert_allclose(histogram.q[filled], [0.5, 1.0], atol=0.02)
    np.testing.assert_allclose(histogram.intensity[filled], [1.0, 2.0], rtol=1e-6)


def test_without_a_pixel_size_or_uncalibrated_the_unit_is_the_pixel() -> None:
    assert radial_histogram(four_disks()).units == "px"
    raw = bragg_vector_map(four_disks(pixel_size_inv_angstrom=0.05, scan_rotation_deg=90), calibrated=False)
    assert raw.units == "px"
    assert raw.extent[1] == pytest.approx(20.4)
    _, columns = np.nonzero(raw.image)
    assert columns.max() > 250  # still to the right: neither turned nor scaled


def test_the_calibrated_map_is_turned_as_the_scan_is() -> None:
    turned = bragg_vector_map(four_disks(pixel_size_inv_angstrom=0.05, scan_rotation_deg=90), size=100)
    strongest = np.unravel_index(int(turned.image.argmax()), turned.image.shape)
    assert strongest[0] == 99  # from x toward y: what was to the right lies below
