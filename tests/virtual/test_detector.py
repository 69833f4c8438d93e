"""VirtualDetector covers the pixels that geometry says, follows the direct beam, and refuses what makes no sense."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import ValidationError

from napari_stem_orient.virtual.detector import (
    VirtualDetector,
    annular_dark_field,
    bright_field,
    reach_px,
    reflection_near,
)


def test_a_disk_of_one_and_a_half_pixels_covers_nine_of_them() -> None:
    covered = VirtualDetector(outer_radius_px=1.5).mask((7, 7), (3, 2))
    expected = np.zeros((7, 7), dtype=bool)
    expected[2:5, 1:4] = True  # the corners are 1.41 px away
    np.testing.assert_array_equal(covered, expected)


def test_an_annulus_leaves_out_its_inside() -> None:
    covered = annular_dark_field(2, 4).weights((21, 21), (10, 10))
    assert covered[10, 10] == 0
    assert covered[10, 13] == 1
    assert covered[10, 12] == covered[10, 14] == 0.5  # cut in halves by the edges
    assert covered[10, 15] == 0


@pytest.mark.parametrize("origin_px", [(16.0, 16.0), (15.7, 16.2), (16.5, 15.5), (14.13, 17.31)])
def test_the_area_of_a_disk_does_not_depend_on_where_in_a_pixel_it_is_centred(
    origin_px: tuple[float, float],
) -> None:
    weights = bright_field(5.0).weights((33, 33), origin_px)
    assert float(weights.sum()) == pytest.approx(math.pi * 25, abs=0.6)


def test_a_detector_keeps_its_distance_from_the_beam_or_its_place() -> None:
    follows = VirtualDetector(centre_px=(-3.0, 4.0))
    fixed = follows.updated(follows_beam=False, centre_px=(12.0, 4.0))
    assert follows.place_px((10, 20)).tolist() == [7, 24]
    assert follows.place_px(np.array([[10, 20], [11, 19]])).tolist() == [[7, 24], [8, 23]]
    assert fixed.place_px(np.array([[10, 20], [11, 19]])).tolist() == [[12, 4], [12, 4]]


def test_radii_that_make_no_sense_are_refused_with_their_values() -> None:
    with pytest.raises(
        ValidationError, match=r"inner radius \(5 px\) must be smaller than the outer one \(4 px\)"
    ):
        annular_dark_field(5, 4)
    with pytest.raises(ValidationError, match="a disk has no inner radius"):
        VirtualDetector(shape="disk", inner_radius_px=1)
    with pytest.raises(ValidationError, match="inner radius"):
        annular_dark_field(1, 4).updated(outer_radius_px=0.6)


def test_the_largest_circle_on_the_detector_ends_at_its_nearest_edge() -> None:
    assert reach_px((64, 128), (31.5, 63.5)) == 32
    assert reach_px((64, 128), (31.5, 20)) == 20.5
    assert reach_px((64, 128), (-5, 20)) == 1


def test_a_click_beside_a_reflection_finds_its_middle() -> None:
    rows, columns = np.indices((48, 48))
    pattern = 100.0 * (np.hypot(rows - 20, columns - 30) <= 4) + 3.0
    found = reflection_near(pattern.astype(np.float32), (23.0, 28.0), radius_px=4)
    assert found == pytest.approx((20, 30), abs=0.05)


def test_a_click_on_an_empty_pattern_stays_where_it_is() -> None:
    empty = np.full((16, 16), 7.0, dtype=np.float32)
    assert reflection_near(empty, (5.2, 6.1), radius_px=3) == (5.2, 6.1)
    assert reflection_near(empty, (90.0, 6.1), radius_px=3) == (90.0, 6.1)
