"""ZarrStore: what lies in a zarr folder or zip, in format 2 or 3, array by array, without opening an array."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = dict[str, Any]

#: Files that describe an array, a group or the attributes of either.
_DESCRIPTIONS = ("zarr.json", ".zarray", ".zgroup", ".zattrs")


@dataclass(frozen=True, slots=True)
class ZarrNode:
    """An array or a group of a zarr store.

    Parameters
    ----------
    name
        Path in the store, "" for the root.
    zarr_format
        2 or 3.
    is_array
        False for a group.
    description
        Its metadata, as the format has them.
    attributes
        What its writer attached to it.
    """

    name: str
    zarr_format: int
    is_array: bool
    description: Json
    attributes: Json

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an array; empty for a group."""
        return tuple(int(size) for size in self.description.get("shape", ()))

    @property
    def is_ragged(self) -> bool:
        """Whether an array holds lists of varying length, or other Python objects: no numbers."""
        kind = str(self.description.get("dtype", self.description.get("data_type")))
        return kind.lstrip("<>|").startswith("O") or "object" in kind or "vlen" in kind


class ZarrStore:
    """The keys of a zarr folder or zip and what stands under them; nothing stays open.

    zarr itself refuses to list a group as soon as one array in it is of a type that it does not know, such as
    the lists of varying length that HyperSpy keeps beside the patterns.

    Parameters
    ----------
    path
        Folder, or zip file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_zip = path.is_file()
        self._names: frozenset[str] = frozenset()
        self._folders: frozenset[str] = frozenset()
        if self.is_zip:
            with zipfile.ZipFile(path) as file:
                self._names = frozenset(name for name in file.namelist() if not name.endswith("/"))
            parents = {"/".join(name.split("/")[:-1]) for name in self._names}
            self._folders = frozenset(
                "/".join(parts[: i + 1])
                for parts in (parent.split("/") for parent in parents if parent)
                for i in range(len(parts))
            )

    def has(self, name: str) -> bool:
        """Whether something is stored under a key."""
        return name in self._names if self.is_zip else (self.path / name).is_file()

    def read(self, name: str) -> bytes:
        """All that is stored under a key."""
        if not self.is_zip:
            return (self.path / name).read_bytes()
        with zipfile.ZipFile(self.path) as file:
            return file.read(name)

    def ends(self, name: str, n_bytes: int, *, from_start: bool = False) -> bytes:
        """The last bytes of what is stored under a key, or the first."""
        if self.is_zip:
            content = self.read(name)
            return content[:n_bytes] if from_start else content[-n_bytes:]
        with (self.path / name).open("rb") as file:
            if not from_start:
                file.seek(max(0, os.fstat(file.fileno()).st_size - n_bytes))
            return file.read(n_bytes)

    def size(self, name: str) -> int:
        """Number of bytes under a key."""
        return len(self.read(name)) if self.is_zip else (self.path / name).stat().st_size

    def keys_below(self, name: str) -> frozenset[str]:
        """All keys below an array or a group, from there."""
        start = f"{name}/" if name else ""
        if self.is_zip:
            return frozenset(key.removeprefix(start) for key in self._names if key.startswith(start))
        top = self.path / name
        found = []
        for folder, _, files in os.walk(top):
            relative = Path(folder).relative_to(top).as_posix()
            found += [file if relative == "." else f"{relative}/{file}" for file in files]
        return frozenset(found)

    def children(self, name: str) -> list[str]:
        """Names of the folders in a group, which may be arrays, groups or neither."""
        start = f"{name}/" if name else ""
        if self.is_zip:
            below = {folder.removeprefix(start) for folder in self._folders if folder.startswith(start)}
            return sorted(f"{start}{folder}" for folder in below if folder and "/" not in folder)
        with os.scandir(self.path / name) as entries:
            return sorted(f"{start}{entry.name}" for entry in entries if entry.is_dir())

    def node(self, name: str) -> ZarrNode | None:
        """The array or group of a name; None where there is none."""
        found = {
            file: json.loads(self.read(key))
            for file in _DESCRIPTIONS
            if self.has(key := f"{name}/{file}" if name else file)
        }
        if "zarr.json" in found:
            described: Json = found["zarr.json"]
            is_array = described.get("node_type") == "array"
            return ZarrNode(name, 3, is_array, described, dict(described.get("attributes") or {}))
        if ".zarray" in found or ".zgroup" in found:
            is_array = ".zarray" in found
            described = found[".zarray" if is_array else ".zgroup"]
            return ZarrNode(name, 2, is_array, described, dict(found.get(".zattrs") or {}))
        return None

    def walk(self, name: str = "") -> Iterator[ZarrNode]:
        """The array or group of a name and all below it, groups first."""
        node = self.node(name)
        if node is not None:
            yield node
        # folders without a description may hold arrays, too: writers before format 3 made groups by their paths alone
        if node is None or not node.is_array:
            for child in self.children(name):
                yield from self.walk(child)
