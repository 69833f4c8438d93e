"""FileArray: an array in a file, opened anew for every read, and its lazy dask array."""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.scan_reading import CHUNK_BYTES, SLAB_BYTES
from napari_stem_orient.io.hdf5_endless import largest_gap


@dataclass(frozen=True, slots=True)
class FileArray:
    """An array in a file that is opened anew for every read.

    No handle stays open, so the file can be moved or replaced, and the array travels to other processes as
    its path. Subclasses say how to `read`.
    """

    path: Path
    dataset: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        return self.read(index)

    def read(self, index: Any) -> NDArray[Any]:
        """The part of the array that ``index`` asks for, in memory."""
        raise NotImplementedError

    def lazily(self, *, stored_chunks: tuple[int, ...] | None = None, changes: object = ()) -> da.Array:
        """Dask array of whole patterns in chunks that follow the file's own.

        ``changes`` is whatever else than time and size of the file tells that it was written to.
        """
        chunks = pattern_chunks(self.shape, self.dtype.itemsize, stored_chunks)
        token = file_token(self.path, self.dataset, self.shape, changes)
        name = f"{type(self).__name__.lower()}-{token}"
        return da.from_array(self, chunks=chunks, name=name, asarray=False, meta=np.empty(0, self.dtype))


@dataclass(frozen=True, slots=True)
class Hdf5Array(FileArray):
    """A dataset of an HDF5 file; filters of hdf5plugin are understood where it is installed."""

    def read(self, index: Any) -> NDArray[Any]:
        """The part of the dataset that ``index`` asks for, in native byte order."""
        with import_h5py().File(self.path, "r") as file:
            values = dataset_of(file, self.dataset)[index]
        return np.asarray(values).astype(self.dtype, copy=False)


@dataclass(frozen=True, slots=True)
class NpyArray(FileArray):
    """An array of a .npy file, mapped into memory for every read."""

    def read(self, index: Any) -> NDArray[Any]:
        """The part of the array that ``index`` asks for, in native byte order."""
        mapped = np.load(self.path, mmap_mode="r", allow_pickle=False)
        return np.array(mapped[index], dtype=self.dtype)


def dataset_of(file: Any, name: str) -> Any:
    """A dataset of an open file; its files of raw numbers, if it has any, are looked for beside it.

    HDF5 itself looks for them where the program was started. A virtual dataset of numbered files goes on behind one
    that is missing.
    """
    item = file[name]
    h5py = import_h5py()
    if not isinstance(item, h5py.Dataset):
        raise KeyError(f"{name} is no dataset")
    folder = Path(item.file.filename).resolve().parent
    access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
    if item.external and any((folder / os.fsdecode(part[0])).is_file() for part in item.external):
        access.set_efile_prefix(os.fsencode(folder))
    elif item.is_virtual and (gap := largest_gap(item.virtual_sources(), folder)):
        access.set_virtual_printf_gap(gap)
    else:
        return item
    holder, inside = item.file, item.name
    del item
    return h5py.Dataset(h5py.h5d.open(holder.id, inside.encode(), access))


def import_h5py() -> Any:
    """h5py, with the compression filters of detectors registered where hdf5plugin is installed."""
    import h5py

    with contextlib.suppress(ImportError):
        import hdf5plugin  # noqa: F401
    return h5py


def file_token(path: Path, *parts: object) -> str:
    """Text that names a file as it is now: dask caches by names, so a changed file needs another one."""
    status = path.stat()
    text = repr((str(path.resolve()), status.st_size, status.st_mtime_ns, *parts))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def pattern_chunks(
    shape: tuple[int, ...], itemsize: int, stored: tuple[int, ...] | None = None
) -> tuple[int, ...]:
    """Chunk sizes along all axes: whole patterns, about 8 MiB, multiples of the ``stored`` chunks.

    Stored chunks that would make more than 512 MiB of whole patterns are cut, and read again for every part.
    """
    leading = shape[:-2]
    pattern_bytes = max(1, prod(shape[-2:]) * itemsize)
    sizes = [min(s, n) for s, n in zip((stored or (1,) * len(shape))[:-2], leading, strict=True)]
    while prod(sizes) > max(1, SLAB_BYTES // pattern_bytes):
        widest = sizes.index(max(sizes))
        sizes[widest] = -(-sizes[widest] // 2)
    budget = max(1, CHUNK_BYTES // pattern_bytes)
    for axis in reversed(range(len(leading))):
        times = budget // prod(sizes)
        if times * sizes[axis] >= leading[axis]:
            sizes[axis] = leading[axis]
            continue
        sizes[axis] *= max(1, times)
        break
    return (*sizes, *shape[-2:])
