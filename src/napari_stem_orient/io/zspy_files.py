"""Signals written as HyperSpy's .zspy with zarr 3, in zarr's format 2, which HyperSpy reads with either zarr."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path
from typing import Any

import numpy as np

#: Version of HyperSpy's layout that is written.
LAYOUT_VERSION = "3.3"


def write_zspy(path: Path, signal: dict[str, Any], *, chunks: tuple[int, ...] | None = None) -> None:
    """Write a signal, as rosettasciio's readers return it, to a new .zspy folder, which is whole or not there.

    Parameters
    ----------
    path
        Folder to make; nothing may be there.
    signal
        Data (an array of numbers), axes, metadata, original_metadata, attributes and the rest.
    chunks
        Of the data; zarr's choice where None.

    Raises
    ------
    FileExistsError
        Something is there already.
    """
    if path.exists():
        raise FileExistsError(f"{path} is there already: choose another name, or remove it first")
    temporary = path.with_name(f".{path.stem[:80]}-{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        _write(temporary, signal, chunks)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(path: Path, signal: dict[str, Any], chunks: tuple[int, ...] | None) -> None:
    import numcodecs
    import zarr

    data = np.asarray(signal["data"])
    root = zarr.create_group(
        str(path),
        zarr_format=2,
        attributes={"file_format": "ZSpy", "file_format_version": LAYOUT_VERSION},
    )
    title = str(signal["metadata"].get("General", {}).get("title") or "__unnamed__").replace("/", "-")
    package = signal.get("package_info", {})
    group = root.create_group("Experiments").create_group(title, attributes=_stored(package))
    array = group.create_array(
        "data",
        shape=data.shape,
        dtype=data.dtype,
        chunks=data.shape if chunks is None else chunks,
        compressors=numcodecs.Blosc(cname="zstd", clevel=1, shuffle=numcodecs.Blosc.SHUFFLE),
        chunk_key_encoding={"name": "v2", "separator": "/"},
        # a pattern that nothing reached is data: without this its chunk would be left out, as if it were lost
        config={"write_empty_chunks": True},
    )
    array[...] = data
    for index, axis in enumerate(signal["axes"]):
        group.create_group(f"axis-{index}", attributes=_stored(axis))
    for name in ("metadata", "original_metadata", "attributes", "learning_results", "models"):
        _write_tree(group, name, signal.get(name) or {})


def _write_tree(parent: Any, name: str, tree: dict[str, Any]) -> None:
    plain = {key: value for key, value in tree.items() if not isinstance(value, dict)}
    group = parent.create_group(name, attributes=_stored(plain))
    for key, value in tree.items():
        if isinstance(value, dict):
            _write_tree(group, key, value)


def _stored(values: dict[str, Any]) -> dict[str, Any]:
    """Values as HyperSpy keeps them among attributes."""
    return {key: "_None_" if value is None else value for key, value in values.items()}
