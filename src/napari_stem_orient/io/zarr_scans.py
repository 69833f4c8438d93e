"""Scans in zarr folders and zips, formats 2 and 3: plain arrays, and HyperSpy's .zspy; read lazily with zarr 3."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.io.file_arrays import FileArray, file_token
from napari_stem_orient.io.missing_chunks import missing_data
from napari_stem_orient.io.rosettasciio_scans import source_of_signal
from napari_stem_orient.io.scan_source import ScanSource, UnreadableScan
from napari_stem_orient.io.zarr_chunks import chunk_grid, cut_off_chunk, stored_chunks
from napari_stem_orient.io.zarr_store import ZarrNode, ZarrStore


@dataclass(frozen=True, slots=True)
class ZarrArray(FileArray):
    """An array of a zarr folder or zip."""

    zarr_format: int

    def read(self, index: Any) -> NDArray[Any]:
        """The part of the array that ``index`` asks for, in native byte order; OSError where a chunk is damaged."""
        self._refuse_cut_off(index)
        try:
            with _opened(self.path, self.dataset, self.zarr_format) as array:
                values = np.asarray(array[index])
        except MemoryError:
            raise
        except Exception as error:  # codecs raise anything
            raise OSError(
                f"{self.path.name}: {_part(index)} cannot be read, its chunk in the file is damaged, cut off or "
                f"compressed in a way that is not understood ({type(error).__name__}: {str(error)[:120]})"
            ) from error
        return values.astype(self.dtype, copy=False)

    def _refuse_cut_off(self, index: Any) -> None:
        store = ZarrStore(self.path)
        node = None if store.is_zip else store.node(self.dataset)
        key = (
            ""
            if node is None
            else cut_off_chunk(store, node, index if isinstance(index, tuple) else (index,))
        )
        if key:
            raise OSError(
                f"{self.path.name}: {_part(index)} cannot be read, the chunk {key} in the file is cut off: it is "
                "damaged, or still being copied"
            )


def read_zarr(path: Path) -> list[ScanSource]:
    """All sets of patterns in a zarr folder or zip: four axes if there are any, otherwise stacks of three."""
    store = _store(path)
    nodes = list(store.walk())
    if not nodes:
        raise UnreadableScan(
            f"{path.name} is no zarr file: there is neither zarr.json (format 3) nor .zarray or .zgroup (format 2) in "
            "it. Was it copied whole? Names that begin with a dot are easily left behind"
        )
    signals = _signals(nodes)
    if signals:
        return [_signal_source(store, node, index) for index, node in enumerate(signals)]
    arrays = [node for node in nodes if node.is_array]
    patterns = [node for node in arrays if _may_hold_patterns(node)]
    whole = [node for node in patterns if len(node.shape) >= 4]
    chosen = whole or patterns or ([] if len(arrays) > 1 else arrays)
    return [_plain_source(store, node) for node in chosen]


def _store(path: Path) -> ZarrStore:
    import zipfile

    if path.is_file() and not zipfile.is_zipfile(path):
        raise UnreadableScan(
            f"{path.name} is a file and no zip: a zarr file is a folder or a zip of one. It is damaged, incomplete or "
            "of another format"
        )
    return ZarrStore(path)


@contextlib.contextmanager
def _opened(path: Path, name: str, zarr_format: int) -> Iterator[Any]:
    """The zarr array, whose zip, where it lies in one, is closed afterwards."""
    import zarr

    if path.is_dir():
        yield zarr.open_array(str(path), path=name, mode="r", zarr_format=zarr_format)
        return
    store = zarr.storage.ZipStore(path, mode="r")
    try:
        yield zarr.open_array(store, path=name, mode="r", zarr_format=zarr_format)
    finally:
        store.close()


def _may_hold_patterns(node: ZarrNode) -> bool:
    shape = node.shape
    if len(shape) < 3 or node.is_ragged or min(shape[-2:]) < 2 or 0 in shape:
        return False
    return _dtype(node).kind in "iuf"


def _dtype(node: ZarrNode) -> np.dtype[Any]:
    """The numpy name of an array's type; object where it has none."""
    told = node.description.get("dtype", node.description.get("data_type"))
    with contextlib.suppress(TypeError):
        return np.dtype(told)
    return np.dtype(object)


def _lazy(store: ZarrStore, node: ZarrNode) -> da.Array:
    dtype = _dtype(node).newbyteorder("=")
    token = file_token(store.path, node.name, node.shape, _written(store, node))
    if node.is_ragged or dtype.kind == "O":
        return da.zeros(node.shape, dtype=object, name=f"zarr-{token}", chunks=-1)
    array = ZarrArray(store.path, node.name, node.shape, dtype, node.zarr_format)
    if len(node.shape) < 2:
        return da.from_array(array, name=f"zarr-{token}", asarray=False, meta=np.empty(0, dtype))
    return array.lazily(stored_chunks=chunk_grid(node), changes=_written(store, node))


def _written(store: ZarrStore, node: ZarrNode) -> tuple[float, ...]:
    """When an array in a folder was last written to, as far as the folders themselves tell."""
    top = store.path / node.name
    if store.is_zip or not top.is_dir():
        return ()
    described = [top / "zarr.json", top / ".zarray", top / "c", top]
    return tuple(file.stat().st_mtime_ns for file in described if file.exists())


def _plain_source(store: ZarrStore, node: ZarrNode) -> ScanSource:
    return ScanSource(
        _lazy(store, node), dataset=node.name, find_missing=lambda: missing_data(stored_chunks(store, node))
    )


def _part(index: Any) -> str:
    """The patterns that a read asks for, in words."""
    if not isinstance(index, tuple) or len(index) < 3:
        return "a part"
    names = ("row", "column") if len(index) == 4 else ("frame",) * (len(index) - 2)
    words = []
    for name, part in zip(names, index, strict=False):
        if isinstance(part, slice) and part.start is not None and part.stop is not None:
            words.append(f"{name}s {part.start} to {part.stop - 1}")
        elif isinstance(part, (int, np.integer)):
            words.append(f"{name} {int(part)}")
    return "the pattern at " + ", ".join(words) if words else "a pattern"


# --- HyperSpy's layout ---------------------------------------------------------------------------------------------


def _signals(nodes: Sequence[ZarrNode]) -> list[ZarrNode]:
    """The arrays of signals in HyperSpy's layout: Experiments/(title)/data, with a group for each axis beside it."""
    return [
        node
        for node in nodes
        if node.is_array
        and node.name.startswith("Experiments/")
        and node.name.count("/") == 2
        and node.name.endswith("/data")
    ]


def _signal_source(store: ZarrStore, node: ZarrNode, index: int) -> ScanSource:
    """A signal as rosettasciio's readers give it, so that one place understands axes and metadata."""
    group = node.name.removesuffix("/data")
    axes = []
    for axis in range(len(node.shape)):
        found = store.node(f"{group}/axis-{axis}")
        axes.append({} if found is None else _plain(found.attributes))
    signal = {
        "data": _lazy(store, node),
        "axes": axes,
        "metadata": _tree(store, f"{group}/metadata"),
        "original_metadata": _tree(store, f"{group}/original_metadata"),
    }
    source = source_of_signal(signal, store.path, index, "zspy")
    return source.with_missing(lambda: missing_data(stored_chunks(store, node)))


def _tree(store: ZarrStore, name: str, depth: int = 0) -> dict[str, Any]:
    """Nested dictionaries from nested groups; arrays among them (markers, lists) are left out."""
    node = store.node(name)
    if node is None or node.is_array:
        return {}
    found = _plain(node.attributes)
    if depth < 16:
        for child in store.children(name):
            key = child.rsplit("/", 1)[-1]
            below = store.node(child)
            if below is not None and not below.is_array and not key.startswith("_"):
                found[key] = _tree(store, child, depth + 1)
    return found


def _plain(attributes: dict[str, Any]) -> dict[str, Any]:
    """Attributes as HyperSpy means them: "_None_" stands for None."""
    return {key: None if value == "_None_" else value for key, value in attributes.items()}
