"""The pattern of a region is the mean and the maximum of its patterns and of no others."""

from __future__ import annotations

import numpy as np
import pytest

from napari_stem_orient.virtual.diffraction import virtual_diffraction
from virtual.test_images import cube_of, drifting_patterns, finished


def test_mean_and_maximum_are_those_of_the_region() -> None:
    patterns, _ = drifting_patterns()
    region = np.zeros((4, 6), dtype=bool)
    region[0, 2:5] = True  # spots of 2, 3 and 4 counts
    records, result = finished(virtual_diffraction(cube_of(patterns), region, origin_px=(12, 10)))
    assert result.n_positions == 3
    assert result.mean[12, 18] == 3
    assert result.maximum[12, 18] == 4
    assert result.mean.sum() == 1003
    assert result.origin_px == (12, 10)
    assert records[-1].progress.done == 3


def test_patterns_are_moved_onto_one_direct_beam() -> None:
    """Rows 0 and 2 of the scan, whose beams lie 2 px apart: without moving, each would be in half of the mean."""
    patterns, origins = drifting_patterns()
    region = np.zeros((4, 6), dtype=bool)
    region[[0, 2], 0] = True  # spots of 0 and 12 counts
    _, result = finished(virtual_diffraction(cube_of(patterns), region, origin_px=origins))
    assert result.origin_px == (12, 11)
    assert result.mean[12, 11] == 1000
    assert result.mean[12, 19] == 6
    assert result.maximum[12, 19] == 12
    _, blurred = finished(virtual_diffraction(cube_of(patterns), region, origin_px=(12, 11)))
    assert blurred.mean[12, 10] == blurred.mean[12, 12] == 500


def test_pixels_that_no_pattern_has_are_empty_and_others_are_not_darkened() -> None:
    patterns = np.full((1, 2, 6, 6), 10, dtype=np.uint8)
    origins = np.array([[1.0, 1.0], [5.0, 1.0]])  # moved two rows down and two rows up
    _, result = finished(virtual_diffraction(cube_of(patterns), np.ones((1, 2), bool), origin_px=origins))
    np.testing.assert_array_equal(result.mean, np.full((6, 6), 10))
    mask = np.zeros((6, 6), dtype=bool)
    mask[3, 3] = True
    _, masked = finished(
        virtual_diffraction(cube_of(patterns), np.ones((1, 2), bool), mask=mask, origin_px=(3, 3))
    )
    assert masked.mean[3, 3] == masked.maximum[3, 3] == 0
    assert masked.mean[3, 4] == 10


def test_a_region_that_is_empty_or_of_another_scan_is_refused() -> None:
    cube = cube_of(drifting_patterns()[0])
    with pytest.raises(ValueError, match="holds no position"):
        next(virtual_diffraction(cube, np.zeros((4, 6), bool)))
    with pytest.raises(ValueError, match=r"shape \(6, 4\), the scan \(4, 6\)"):
        next(virtual_diffraction(cube, np.ones((6, 4), bool)))
