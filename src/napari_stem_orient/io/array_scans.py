"""Scans in plain array files: .npy and .zarr, read lazily."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np

from napari_stem_orient.io.file_arrays import NpyArray, file_token, pattern_chunks
from napari_stem_orient.io.scan_source import ScanSource


def read_npy(path: Path) -> list[ScanSource]:
    """The array of a .npy file."""
    mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    if mapped.ndim < 2 or mapped.dtype.kind not in "iuf":
        return [ScanSource(da.from_array(mapped, name=f"npy-{file_token(path)}"))]
    array = NpyArray(path, "", tuple(mapped.shape), mapped.dtype.newbyteorder("="))
    return [ScanSource(array.lazily())]


def read_zarr(path: Path) -> list[ScanSource]:
    """All sets of patterns in a zarr folder or zip: four axes if there are any, otherwise stacks of three."""
    import zarr

    store: Any = str(path)
    if path.is_file() and zipfile.is_zipfile(path):
        store = zarr.storage.ZipStore(str(path), mode="r")
    root = zarr.open(store, mode="r")
    arrays = {"": root} if hasattr(root, "shape") else dict(_walk(root))
    patterns = {name: array for name, array in arrays.items() if _may_hold_patterns(array)}
    whole = {name: array for name, array in patterns.items() if len(array.shape) >= 4}
    chosen = whole or patterns or ({} if len(arrays) > 1 else arrays)
    return [_source(path, name, array) for name, array in chosen.items()]


def _walk(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All arrays below a group with their paths."""
    for name, array in group.arrays():
        yield f"{prefix}{name}", array
    for name, child in group.groups():
        yield from _walk(child, f"{prefix}{name}/")


def _may_hold_patterns(array: Any) -> bool:
    shape = tuple(array.shape)
    return len(shape) >= 3 and array.dtype.kind in "iuf" and min(shape[-2:]) >= 2 and 0 not in shape


def _source(path: Path, name: str, array: Any) -> ScanSource:
    token = f"zarr-{file_token(path, name, array.shape)}"
    if len(array.shape) < 2:
        return ScanSource(da.from_array(array, name=token), dataset=name)
    chunks = pattern_chunks(tuple(array.shape), array.dtype.itemsize, tuple(array.chunks))
    return ScanSource(da.from_array(array, chunks=chunks, name=token), dataset=name)
