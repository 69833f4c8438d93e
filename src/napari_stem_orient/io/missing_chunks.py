"""Chunks of an array that are not in its file, zarr or HDF5: which patterns that leaves without data, in words."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.io.scan_source import MissingData


@dataclass(frozen=True, slots=True, eq=False)
class StoredChunks:
    """The grid of chunks of an array, and which of them are stored.

    Parameters
    ----------
    shape, chunk_shape
        Of the array and of one chunk.
    stored
        Bool, one entry a chunk of the grid.
    fill
        What a chunk that is not stored reads as.
    """

    shape: tuple[int, ...]
    chunk_shape: tuple[int, ...]
    stored: NDArray[np.bool_]
    fill: Any

    @property
    def n_missing(self) -> int:
        """Number of chunks that are not stored."""
        return int((~self.stored).sum())

    def empty_positions(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Positions of which no chunk is stored, and those of which some are not.

        Returns
        -------
        Two bool arrays of the shape without the last two axes, the detector's.
        """
        n_leading = len(self.shape) - 2
        detector = tuple(range(n_leading, len(self.shape)))
        none, some = ~self.stored.any(axis=detector), ~self.stored.all(axis=detector)
        spread = [
            np.minimum(np.arange(size) // chunk, grid - 1)
            for size, chunk, grid in zip(self.shape, self.chunk_shape, none.shape, strict=False)
        ]
        at = np.ix_(*spread)
        return none[at], (some & ~none)[at]


def missing_data(chunks: StoredChunks | None) -> MissingData | None:
    """What of an array of patterns is not in its store, in words; None where all is there, or nobody knows."""
    if chunks is None or not chunks.n_missing or len(chunks.shape) < 3:
        return None
    empty, partly = chunks.empty_positions()
    text = f"{chunks.n_missing:,} of {chunks.stored.size:,} chunks are not in the file and read as {_fill(chunks.fill)}"
    parts = []
    if empty.any():
        parts.append(f"there is no pattern at {int(empty.sum()):,} positions ({position_text(empty)})")
    if partly.any():
        parts.append(f"part of the detector is missing at {int(partly.sum()):,} ({position_text(partly)})")
    return MissingData(
        empty,
        (
            f"{text}: {' and '.join(parts)}. The recording or the copy was interrupted, unless nothing was detected "
            "there (some programs do not store empty chunks)",
        ),
    )


def _fill(value: Any) -> str:
    return "0" if value is None else str(value)


def position_text(missing: NDArray[np.bool_]) -> str:
    """Which positions are missing, in words: "rows 4 to 7, columns 0 to 3" or "positions 12 to 15"."""
    where = np.argwhere(missing)
    low, high = where.min(axis=0), where.max(axis=0)
    names = ("row", "column") if missing.ndim == 2 else ("frame",) * missing.ndim
    # a stack is counted as people count frames, from 1; rows and columns as everywhere in the program, from 0
    add = 0 if missing.ndim == 2 else 1
    parts = [
        f"{name} {a + add}" if a == b else f"{name}s {a + add} to {b + add}"
        for name, a, b in zip(names, low.tolist(), high.tolist(), strict=True)
    ]
    whole = prod(b - a + 1 for a, b in zip(low.tolist(), high.tolist(), strict=True)) == len(where)
    return ", ".join(parts) if whole else f"between {', '.join(parts)}"
