"""Ragged arrays, kept as flat values and offsets: pick rows of them without a Python loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Int64 = NDArray[np.int64]


def offsets_from_counts(counts: ArrayLike) -> Int64:
    """(m + 1,) int64; where each of m rows of the given lengths begins, and where the last one ends."""
    counts = np.asarray(counts, dtype=np.int64)
    offsets = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


def flat_positions(positions: ArrayLike, n_positions: int) -> Int64:
    """Flat row-major positions (m,) int64 from such positions or from a boolean mask of the scan."""
    chosen: NDArray[Any] = np.atleast_1d(np.asarray(positions))
    if chosen.dtype == bool:
        if chosen.size != n_positions:
            raise ValueError(f"a mask of {chosen.size} positions does not fit a scan of {n_positions}")
        return np.asarray(np.flatnonzero(chosen), dtype=np.int64)
    chosen = chosen.ravel().astype(np.int64)
    if chosen.size and (chosen.min() < 0 or chosen.max() >= n_positions):
        raise IndexError(f"probe positions must lie between 0 and {n_positions - 1}")
    return chosen


def gather_rows(offsets: Int64, rows: Int64) -> tuple[Int64, Int64]:
    """Index of all entries of some rows of a ragged array, and their new offsets."""
    counts = offsets[rows + 1] - offsets[rows]
    new_offsets = offsets_from_counts(counts)
    index = np.arange(new_offsets[-1]) + np.repeat(offsets[rows] - new_offsets[:-1], counts)
    return index, new_offsets


def merge_rows(
    positions: Sequence[ArrayLike], counts: Sequence[ArrayLike], n_positions: int
) -> tuple[Int64, Int64, NDArray[np.bool_]]:
    """Order the rows of several ragged blocks by position; of rows at one position the last one wins.

    Parameters
    ----------
    positions, counts
        For each block, the flat positions (m,) of its rows and the rows' lengths (m,).
    n_positions
        Number of positions in all.

    Returns
    -------
    Index of the kept entries into the blocks' concatenated entries, offsets (n_positions + 1,) of the
    ordered rows, and (n_positions,) bool: which positions have a row.
    """
    empty = np.zeros(0, dtype=np.int64)
    flat = np.concatenate([empty, *(np.asarray(block, dtype=np.int64) for block in positions)])
    lengths = np.concatenate([empty, *(np.asarray(block, dtype=np.int64) for block in counts)])
    flat_positions(flat, n_positions)
    last_row = np.full(n_positions, -1, dtype=np.int64)
    np.maximum.at(last_row, flat, np.arange(len(flat)))
    present = last_row >= 0
    rows = last_row[present]
    index, _ = gather_rows(offsets_from_counts(lengths), rows)
    ordered = np.zeros(n_positions, dtype=np.int64)
    ordered[present] = lengths[rows]
    return index, offsets_from_counts(ordered), present
