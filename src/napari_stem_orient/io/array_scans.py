"""Scans in plain array files: .npy, read lazily."""

from __future__ import annotations

from pathlib import Path

import dask.array as da
import numpy as np

from napari_stem_orient.io.file_arrays import NpyArray, file_token
from napari_stem_orient.io.scan_source import ScanSource


def read_npy(path: Path) -> list[ScanSource]:
    """The array of a .npy file."""
    mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    if mapped.ndim < 2 or mapped.dtype.kind not in "iuf":
        return [ScanSource(da.from_array(mapped, name=f"npy-{file_token(path)}"))]
    array = NpyArray(path, "", tuple(mapped.shape), mapped.dtype.newbyteorder("="))
    return [ScanSource(array.lazily())]
