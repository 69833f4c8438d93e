"""Frames and positions of a scan are counted as people count them, from 1, and read back the same."""

from __future__ import annotations

import pytest

from napari_stem_orient.core.frames import near_square, position_ranges, positions_from_text


@pytest.mark.parametrize(
    ("text", "positions"),
    [
        ("1", (0,)),
        ("3, 7, 41-44", (2, 6, 40, 41, 42, 43)),
        ("41 - 43 7", (6, 40, 41, 42)),
        ("5;5;4-5", (3, 4)),
        ("", ()),
    ],
)
def test_positions_are_read_and_written_as_people_count(text: str, positions: tuple[int, ...]) -> None:
    assert positions_from_text(text) == positions
    assert positions_from_text(position_ranges(positions)) == positions


@pytest.mark.parametrize("text", ["0", "x", "7-3", "-4", "1.5", "3-"])
def test_what_is_no_position_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"write numbers from 1, as in 3, 7, 41-64"):
        positions_from_text(text)


@pytest.mark.parametrize(
    ("n_frames", "near"), [(65, (8, 1)), (63, (8, -1)), (64, None), (60, None), (65537, (256, 1)), (2, None)]
)
def test_a_square_that_is_a_frame_off_is_seen(n_frames: int, near: tuple[int, int] | None) -> None:
    assert near_square(n_frames) == near
