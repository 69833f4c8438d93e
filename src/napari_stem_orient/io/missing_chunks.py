"""Chunks of an array that are not in its file, zarr or HDF5: which patterns that leaves without data, in words."""

from __future__ import annotations

from functools import partial
from math import prod
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.io.scan_source import MissingData
from napari_stem_orient.io.stored_chunks import StoredChunks


def blanked(data: da.Array, found: MissingData, value: float = 0) -> da.Array:
    """The array with ``value`` wherever nothing is stored, whatever stands in for it there; NaN stays NaN."""
    name = f"stored-{value:g}-{data.name}"
    blank = partial(_blank, found=found, value=value)
    return data.map_blocks(blank, dtype=data.dtype, name=name, meta=np.empty((0,) * data.ndim, data.dtype))


def _blank(
    block: NDArray[Any], *, found: MissingData, value: float, block_info: dict[int | None, Any]
) -> NDArray[Any]:
    where = tuple(block_info[0]["array-location"])
    absent = np.zeros(block.shape, dtype=bool)
    absent |= found.positions[tuple(slice(*part) for part in where[:-2])][..., None, None]
    if found.chunks is not None:
        absent |= ~found.chunks.stored_within(where)
    if block.dtype.kind == "f":
        absent &= ~np.isnan(block)
    if not absent.any():
        return block
    return np.where(absent, block.dtype.type(value), block)


def missing_data(chunks: StoredChunks | None) -> MissingData | None:
    """What of an array of patterns is not in its store, in words; None where all is there, or nobody knows."""
    if chunks is None or not chunks.n_missing or len(chunks.shape) < 3:
        return None
    empty, partly = chunks.empty_positions()
    text = f"{chunks.n_missing:,} of {chunks.stored.size:,} chunks are not in the file and {_stand_in(chunks.fill)}"
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
        chunks=chunks,
    )


def _stand_in(fill: Any) -> str:
    return "are no numbers" if str(fill).lower() == "nan" else "count as 0"


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
