"""StoredChunks: the grid of chunks of an array in a file, zarr or HDF5, and which of them are there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


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

    def transposed(self, axes: tuple[int, ...]) -> StoredChunks:
        """The same of the array with its axes in another order."""
        shape, chunk_shape = ([sizes[axis] for axis in axes] for sizes in (self.shape, self.chunk_shape))
        return StoredChunks(tuple(shape), tuple(chunk_shape), self.stored.transpose(axes), self.fill)

    def stored_within(self, part: tuple[tuple[int, int], ...]) -> NDArray[np.bool_]:
        """What of a part of the array (first and behind-last index of each axis) is stored: bool, of its shape."""
        numbers = [
            np.arange(first, end) // chunk for (first, end), chunk in zip(part, self.chunk_shape, strict=True)
        ]
        return np.asarray(self.stored[np.ix_(*numbers)], dtype=np.bool_)
