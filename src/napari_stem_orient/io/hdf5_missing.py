"""What of an HDF5 dataset is not there: sources of virtual datasets, files of raw numbers, chunks never written.

HDF5 reads all of these as zeros (or another fill value), without a word.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.frames import position_ranges
from napari_stem_orient.io.file_arrays import dataset_of, import_h5py
from napari_stem_orient.io.hdf5_endless import SourcePart, endless_axis, endless_parts, numbered
from napari_stem_orient.io.hdf5_links import beside, hdf5_trouble, missing_file
from napari_stem_orient.io.missing_chunks import missing_data
from napari_stem_orient.io.scan_source import MissingData
from napari_stem_orient.io.stored_chunks import StoredChunks

#: Virtual datasets within virtual datasets that are looked into.
_DEEPEST = 8

Mask = NDArray[np.bool_]


@dataclass(slots=True)
class _Sources:
    """Where the patterns of a virtual dataset come from."""

    present: Mask
    lacking: dict[str, Mask] = field(
        default_factory=dict
    )  # reason, "part_2.h5, which is missing" -> positions


def find_missing(path: Path, name: str) -> MissingData | None:
    """What of the patterns of a dataset is not there; None where all of it is.

    Parameters
    ----------
    path, name
        The HDF5 file, and the dataset's path in it.
    """
    with import_h5py().File(path, "r") as file:
        item = dataset_of(file, name)
        if len(item.shape) < 3:
            return None
        if item.is_virtual:
            return _virtual(path, item)
        if item.external:
            return _external(path, item)
        if item.chunks is None:
            return _never_written(path, item)
        return missing_data(_chunks(item))


# --- virtual datasets ----------------------------------------------------------------------------------------------


def _virtual(path: Path, item: Any) -> MissingData | None:
    sources = _sources(item, 0)
    lacking = [(reason, mask) for reason, mask in sources.lacking.items() if mask.any()]
    absent = ~sources.present
    for _, mask in lacking:
        absent |= mask
    if not absent.any():
        return None
    n_missing, n_all = int(absent.sum()), absent.size
    texts = [f"{int(mask.sum()):,} in {reason}" for reason, mask in lacking]
    unmapped = absent & ~np.any([mask for _, mask in lacking], axis=0) if lacking else absent
    if unmapped.any():
        texts.append(f"{int(unmapped.sum()):,} in no file at all")
    if n_missing == n_all and len(lacking) == 1:
        told = f"{path.name} holds no patterns itself: they lie in {lacking[0][0]}"
    else:
        listed = "; ".join(texts[:4]) + (f"; and {len(texts) - 4} more files" if len(texts) > 4 else "")
        told = f"{path.name} refers to patterns that are not there, {n_missing:,} of {n_all:,}: {listed}"
    advice = ". Copy all files of the scan into one folder" if lacking else ""
    where = position_ranges(tuple(np.flatnonzero(absent).tolist()))
    note = f"{n_missing:,} of {n_all:,} patterns are not there ({'; '.join(texts[:4])})"
    return MissingData(absent, (note,), refusal=f"{told}{advice}", refused_positions=where)


def _sources(item: Any, depth: int) -> _Sources:
    leading = item.shape[:-2]
    found = _Sources(np.zeros(leading, dtype=bool))
    folder = Path(item.file.filename).parent
    seen: dict[tuple[str, str], tuple[str, tuple[int, ...]]] = {}
    for mapping in item.virtual_sources():
        axis = endless_axis(mapping.vspace)
        parts = (
            (SourcePart(mapping.file_name, mapping.dset_name, _covered(mapping.vspace, leading), None),)
            if axis is None
            else endless_parts(mapping, item.shape, axis)
        )
        for part in parts:
            key = (part.file_name, part.dset_name)
            if key not in seen:
                seen[key] = _look_at(item, folder, *key, depth)
            reason, shape = seen[key]
            lacking, short = part.covered, _ends_early(key, shape)
            if not reason and axis is None and not _fits(mapping, shape):
                reason = short
            elif not reason and shape:
                lacking, reason = part.beyond(_length(mapping, shape)), short
                found.present |= part.covered & ~lacking
            if reason:
                found.lacking[reason] = found.lacking.get(reason, np.zeros(leading, dtype=bool)) | lacking
    return found


def _ends_early(source: tuple[str, str], shape: tuple[int, ...]) -> str:
    size = " x ".join(map(str, shape))
    return f"{Path(source[0]).name}, whose {source[1]} ends before them ({size})"


def _length(mapping: Any, shape: tuple[int, ...]) -> int:
    """Size of a source along the axis on which it grows."""
    axis = endless_axis(mapping.src_space)
    if axis is None:
        return shape[0]
    return max(0, shape[axis] - int(mapping.src_space.get_regular_hyperslab()[0][axis]))


def first_missing_source(item: Any) -> str:
    """The first source that a virtual dataset of no length lacks, in words; "" where it is not for that."""
    folder = Path(item.file.filename).parent
    for mapping in item.virtual_sources():
        reason, _ = _look_at(item, folder, numbered(mapping.file_name, 0), numbered(mapping.dset_name, 0), 0)
        if reason:
            return reason
    return ""


def _look_at(item: Any, folder: Path, file_name: str, name: str, depth: int) -> tuple[str, tuple[int, ...]]:
    """What is wrong with the source of a virtual dataset, empty where nothing is; and its shape."""
    h5py = import_h5py()
    if file_name == ".":
        return _inspected(item.file, Path(item.file.filename).name, name, depth)
    path = beside(folder, file_name)
    if path is None:
        return missing_file(folder, file_name), ()
    try:
        with h5py.File(path, "r") as file:
            return _inspected(file, path.name, name, depth)
    except OSError as error:
        return f"{path.name}, {hdf5_trouble(error) or 'which is damaged or no HDF5 file'}", ()


def _inspected(file: Any, called: str, name: str, depth: int) -> tuple[str, tuple[int, ...]]:
    try:
        source = dataset_of(file, name)
    except (KeyError, OSError):
        return f"{called}, which has no {name}", ()
    if source.is_virtual and depth < _DEEPEST:
        below = _sources(source, depth + 1)
        broken = [reason for reason, mask in below.lacking.items() if mask.any()]
        if broken:
            return broken[0], tuple(source.shape)
    return "", tuple(source.shape)


def _covered(space: Any, leading: tuple[int, ...]) -> Mask:
    """Positions that a selection of the virtual dataset reaches, which has an end."""
    h5s = import_h5py().h5s
    covered = np.zeros(leading, dtype=bool)
    kind = space.get_select_type()
    if kind == h5s.SEL_ALL:
        covered[...] = True
    elif kind == h5s.SEL_HYPERSLABS:
        blocks = space.get_select_hyper_blocklist()
        for low, high in np.asarray(blocks).reshape(-1, 2, len(leading) + 2).astype(np.int64):
            covered[tuple(slice(a, b + 1) for a, b in zip(low[:-2], high[:-2], strict=True))] = True
    return covered


def _fits(mapping: Any, shape: tuple[int, ...]) -> bool:
    """Whether what a virtual dataset takes of a source of this shape lies in it."""
    try:
        if mapping.src_space.get_select_type() == import_h5py().h5s.SEL_ALL:  # the file keeps no shape then
            return prod(shape) >= int(mapping.vspace.get_select_npoints())
        wanted = [int(high) + 1 for high in mapping.src_space.get_select_bounds()[1]]
    except (ValueError, RuntimeError, OverflowError):
        return True
    return len(wanted) == len(shape) and all(n <= size for n, size in zip(wanted, shape, strict=True))


# --- files of raw numbers, and what was never written --------------------------------------------------------------


def _external(path: Path, item: Any) -> MissingData | None:
    folder = Path(item.file.filename).parent
    everywhere = np.ones(item.shape[:-2], dtype=bool)
    for name, offset, size in item.external:
        found = beside(folder, os.fsdecode(name))
        if found is None:
            why = f"{Path(os.fsdecode(name)).name}, which is missing"
        else:
            needed = int(offset) + min(int(size), item.size * item.dtype.itemsize)
            if found.stat().st_size >= needed:
                continue
            why = f"{found.name}, which ends too early: it has {found.stat().st_size:,} of {needed:,} bytes"
        told = f"{path.name} holds no patterns itself: they lie in {why}. Copy it again into the folder of {path.name}"
        return MissingData(everywhere, (told,), refusal=told)
    return None


def _never_written(path: Path, item: Any) -> MissingData | None:
    if item.id.get_storage_size() > 0 or item.size == 0:
        return None
    told = (
        f"{path.name} has room for patterns but none were written to {item.name}: the recording failed, or is not "
        "finished"
    )
    return MissingData(np.ones(item.shape[:-2], dtype=bool), (told,), refusal=told)


def _chunks(item: Any) -> StoredChunks | None:
    grid = tuple(-(-size // chunk) for size, chunk in zip(item.shape, item.chunks, strict=True))
    if 0 in grid or item.id.get_num_chunks() >= int(np.prod(grid)):
        return None
    stored = np.zeros(grid, dtype=bool)
    for index in range(item.id.get_num_chunks()):
        offset = item.id.get_chunk_info(index).chunk_offset
        stored[tuple(o // chunk for o, chunk in zip(offset, item.chunks, strict=True))] = True
    return StoredChunks(tuple(item.shape), tuple(item.chunks), stored, item.fillvalue)
