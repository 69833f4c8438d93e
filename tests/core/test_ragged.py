"""Ragged arrays as flat values and offsets behave like lists of lists."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_stem_orient.core.ragged import flat_positions, gather_rows, merge_rows, offsets_from_counts

rows_of_numbers = st.lists(st.lists(st.integers(0, 1000), max_size=5), min_size=1, max_size=12)


@given(rows_of_numbers, st.data())
def test_gathered_rows_equal_a_choice_of_lists(rows: list[list[int]], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=10))
    values = np.array([value for row in rows for value in row], dtype=int)
    index, offsets = gather_rows(offsets_from_counts([len(row) for row in rows]), np.array(chosen, dtype=int))
    assert values[index].tolist() == [value for row in chosen for value in rows[row]]
    assert offsets.tolist() == np.cumsum([0, *(len(rows[row]) for row in chosen)]).tolist()


@given(st.lists(st.tuples(st.integers(0, 7), st.lists(st.integers(0, 99), max_size=4)), max_size=12))
def test_merged_rows_are_ordered_and_the_last_one_wins(rows: list[tuple[int, list[int]]]) -> None:
    expected = dict(rows)
    values = np.array([value for _, row in rows for value in row], dtype=int)
    index, offsets, present = merge_rows([[p] for p, _ in rows], [[len(row)] for _, row in rows], 8)
    assert present.tolist() == [position in expected for position in range(8)]
    for position in range(8):
        found = values[index][offsets[position] : offsets[position + 1]]
        assert found.tolist() == expected.get(position, [])


def test_positions_come_from_numbers_or_masks() -> None:
    mask = np.array([[True, False], [False, True]])
    assert flat_positions(mask, 4).tolist() == [0, 3]
    assert flat_positions([3, 0], 4).tolist() == [3, 0]
    assert flat_positions([], 4).tolist() == []
    with pytest.raises(IndexError, match="between 0 and 3"):
        flat_positions([4], 4)
    with pytest.raises(ValueError, match="does not fit"):
        flat_positions(mask, 5)
