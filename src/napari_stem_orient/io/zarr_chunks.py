"""Which chunks of a zarr array are in its store: zarr reads those that are not as the fill value, without a word."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any

import numpy as np

from napari_stem_orient.io.stored_chunks import StoredChunks
from napari_stem_orient.io.zarr_store import ZarrNode, ZarrStore

#: What stands in the index of a shard for a chunk that is not in it.
_NOT_THERE = np.uint64(2**64 - 1)


def chunk_grid(node: ZarrNode) -> tuple[int, ...] | None:
    """Shape of what is stored under one key, a chunk or a shard; None where the grid is of a kind we do not know."""
    if node.zarr_format == 2:
        return tuple(int(size) for size in node.description["chunks"])
    grid = node.description.get("chunk_grid", {})
    if grid.get("name") != "regular":
        return None
    return tuple(int(size) for size in grid["configuration"]["chunk_shape"])


def chunk_key(node: ZarrNode, number: tuple[int, ...]) -> str:
    """Where below its array the chunk of a place in the grid is stored: "0.1.0.0", "c/0/1/0/0"."""
    if node.zarr_format == 2:
        start, separator = "", node.description.get("dimension_separator", ".")
    else:
        encoding = node.description.get("chunk_key_encoding", {})
        default = encoding.get("name", "default") == "default"
        separator = encoding.get("configuration", {}).get("separator", "/" if default else ".")
        start = f"c{separator}" if default else ""
    return start + str(separator).join(map(str, number))


def stored_chunks(store: ZarrStore, node: ZarrNode) -> StoredChunks | None:
    """Which chunks of an array are in its store; None where its grid is of a kind that we do not know.

    One listing of the array's folder, and the index of each shard: no pattern is read.
    """
    outer = chunk_grid(node)
    if outer is None:
        return None
    grid = tuple(-(-size // chunk) for size, chunk in zip(node.shape, outer, strict=True))
    there = store.keys_below(node.name)
    stored = np.array([chunk_key(node, number) in there for number in np.ndindex(grid)]).reshape(grid)
    found = StoredChunks(node.shape, outer, stored, node.description.get("fill_value"))
    codecs = node.description.get("codecs", ())
    sharding = next((codec for codec in codecs if codec.get("name") == "sharding_indexed"), None)
    return found if sharding is None else _within_shards(store, node, found, sharding["configuration"])


def _within_shards(
    store: ZarrStore, node: ZarrNode, shards: StoredChunks, configuration: dict[str, Any]
) -> StoredChunks:
    """The chunks in the shards that are stored, by the index at the end (or start) of each."""
    inner = tuple(int(size) for size in configuration["chunk_shape"])
    per_shard = tuple(outer // size for outer, size in zip(shards.chunk_shape, inner, strict=True))
    names = [codec.get("name") for codec in configuration.get("index_codecs", [])]
    if names not in (["bytes", "crc32c"], ["bytes"]):
        return shards  # an index that is compressed: what is told of is the shards alone
    index_bytes, checksum = 16 * prod(per_shard), 4 * names.count("crc32c")
    first = configuration.get("index_location", "end") == "start"
    full = np.zeros(tuple(g * n for g, n in zip(shards.stored.shape, per_shard, strict=True)), dtype=bool)
    for number in map(tuple, np.argwhere(shards.stored).tolist()):
        key = f"{node.name}/{chunk_key(node, number)}".lstrip("/")
        raw = store.ends(key, index_bytes + checksum, from_start=first)
        place = tuple(slice(i * n, (i + 1) * n) for i, n in zip(number, per_shard, strict=True))
        if len(raw) < index_bytes + checksum:
            full[place] = True  # cut off within its index: reading it says so
            continue
        index = np.frombuffer(raw[:index_bytes], dtype="<u8").reshape(*per_shard, 2)
        full[place] = index[..., 0] != _NOT_THERE
    grid = tuple(slice(0, -(-size // chunk)) for size, chunk in zip(node.shape, inner, strict=True))
    return StoredChunks(node.shape, inner, full[grid], shards.fill)


def cut_off_chunk(store: ZarrStore, node: ZarrNode, index: Sequence[Any]) -> str:
    """Key of a chunk of a part of an array that is shorter than its own header says; "" where there is none.

    blosc unpacks such a chunk to whatever lies behind it in memory, without an error. A zip has checksums.
    """
    outer = chunk_grid(node)
    compressor = node.description.get("compressor") or {}
    codecs = [codec.get("name") for codec in node.description.get("codecs", ())]
    if store.is_zip or outer is None or not (compressor.get("id") == "blosc" or "blosc" in codecs):
        return ""
    runs = []
    for part, size, chunk in zip((*index, *[slice(None)] * len(outer)), node.shape, outer, strict=False):
        inside = range(size)[
            part if isinstance(part, slice) else slice(int(part) % size, int(part) % size + 1)
        ]
        runs.append(sorted({place // chunk for place in inside}))
    for number in product(*runs):
        key = f"{node.name}/{chunk_key(node, number)}".lstrip("/")
        if store.has(key):
            header = store.ends(key, 16, from_start=True)
            if len(header) < 16 or int.from_bytes(header[12:16], "little") > store.size(key):
                return key
    return ""
