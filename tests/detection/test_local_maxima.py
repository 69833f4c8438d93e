"""Maxima: found, refined between pixels, and thinned by distance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_stem_orient.detection.local_maxima import (
    local_maxima,
    refine_by_parabola,
    suppress_close,
    to_rows,
)


def bump(y: float, x: float, sigma: float = 2.0, size: int = 32) -> torch.Tensor:
    rows, columns = np.ogrid[:size, :size]
    return torch.from_numpy(
        np.exp(-0.5 * ((rows - y) ** 2 + (columns - x) ** 2) / sigma**2).astype(np.float32)
    )


def test_maxima_of_all_frames_come_in_order() -> None:
    images = torch.stack([bump(10, 20), torch.full((32, 32), -1.0) + bump(5, 6) + bump(20, 20)])
    frame, row, column = local_maxima(images, margin_px=1)
    found = [
        place
        for place in zip(*(v.tolist() for v in (frame, row, column)), strict=True)
        if images[place] > -0.5
    ]
    assert found == [(0, 10, 20), (1, 5, 6), (1, 20, 20)]


def test_a_margin_hides_what_is_at_the_border() -> None:
    images = bump(3, 16)[None]
    assert (3, 16) in set(zip(*(v.tolist() for v in local_maxima(images, margin_px=3)[1:]), strict=True))
    assert (3, 16) not in set(zip(*(v.tolist() for v in local_maxima(images, margin_px=4)[1:]), strict=True))
    local_maxima(images, margin_px=1000)


@pytest.mark.parametrize("offset", [0.0, 0.13, 0.31, 0.49, -0.37])
def test_a_parabola_finds_a_smooth_maximum_within_a_twentieth_of_a_pixel(offset: float) -> None:
    images = bump(15 + offset, 16 - offset)[None]
    where = [torch.tensor([value]) for value in (0, 15, 16)]
    y, x, height = refine_by_parabola(images, *where)
    assert float(y) == pytest.approx(15 + offset, abs=0.05)
    assert float(x) == pytest.approx(16 - offset, abs=0.05)
    assert float(height) == pytest.approx(1, abs=0.02)


def test_refining_nothing_gives_nothing() -> None:
    nothing = torch.zeros(0, dtype=torch.int64)
    assert all(len(part) == 0 for part in refine_by_parabola(bump(3, 3)[None], nothing, nothing, nothing))


def test_maxima_among_some_pixels_are_those_of_all_that_are_among_them() -> None:
    images = torch.from_numpy(np.random.default_rng(2).normal(size=(3, 20, 23)).astype(np.float32))
    among = images > 0.7
    everything = set(zip(*(v.tolist() for v in local_maxima(images, margin_px=2)), strict=True))
    some = list(zip(*(v.tolist() for v in local_maxima(images, margin_px=2, among=among)), strict=True))
    assert set(some) == {place for place in everything if among[place]}
    assert 0 < len(some) < len(everything)
    assert some == sorted(some)


def test_a_flat_image_is_refined_to_the_pixel_itself() -> None:
    where = [torch.tensor([value]) for value in (0, 7, 8)]
    y, x, height = refine_by_parabola(torch.ones(1, 16, 16), *where)
    assert (float(y), float(x), float(height)) == (7, 8, 1)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 25), st.floats(0.5, 30))
def test_suppression_equals_the_greedy_loop(seed: int, number: int, spacing: float) -> None:
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 40, (3, number, 2))
    valid = rng.random((3, number)) < 0.8
    kept = suppress_close(
        torch.from_numpy(points[..., 0]),
        torch.from_numpy(points[..., 1]),
        torch.from_numpy(valid),
        spacing=spacing,
    )
    for frame in range(3):
        expected: list[int] = []
        for index in np.flatnonzero(valid[frame]):
            if all(np.hypot(*(points[frame, index] - points[frame, other])) >= spacing for other in expected):
                expected.append(int(index))
        assert torch.nonzero(kept[frame])[:, 0].tolist() == expected


def test_rows_count_within_their_frames() -> None:
    place, most = to_rows(torch.tensor([0, 0, 2, 2, 2]), 4)
    assert place.tolist() == [0, 1, 0, 1, 2]
    assert most == 3
    assert to_rows(torch.zeros(0, dtype=torch.int64), 4)[1] == 0
