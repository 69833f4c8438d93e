"""Which files belong to a scan, and whether two paths are the same file, whatever they are called."""

from __future__ import annotations

import contextlib
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from napari_stem_orient.io.file_arrays import import_h5py
from napari_stem_orient.io.hdf5_endless import series_names
from napari_stem_orient.io.rosettasciio_scans import empad_xml
from napari_stem_orient.io.scan_kinds import is_hdf5
from napari_stem_orient.io.scan_source import UnreadableScan

#: Folders that are one file to the user.
_FOLDER_ENDINGS = (".zarr", ".zspy")
_PART_OF_TVIPS = re.compile(r"(.*)_\d{3}$")
_RAW_FILE = re.compile(r"""raw_file[^>]*?["'>/\\]\s*([^"'<>/\\]+\.raw)\b""", re.IGNORECASE)


def scan_members(path: str | Path) -> tuple[Path, ...]:
    """All files and folders that a scan is read from when ``path`` is opened; ``path`` is the first.

    A header beside its data (.hdr and .mib, .xml and .raw, .emi and .ser), the parts of a recording (.tvips), the
    folder that a part of a .zarr lies in, and the files that an HDF5 file refers to: those that are missing, too, for
    another file must not take their place.
    """
    path = Path(path)
    found = [path, *_around(path), *_beside(path)]
    if is_hdf5(path):
        # a damaged or locked file tells nothing here; to read it will fail with its own message
        with contextlib.suppress(OSError, RuntimeError, KeyError, ValueError):
            found += _referred_to(path)
    return tuple(dict.fromkeys(found))


def is_written_over(output: str | Path, kept: Iterable[str | Path]) -> Path | None:
    """The first of the files and folders to keep that writing ``output`` would change; None where there is none.

    Links, relative paths and the spelling on file systems that know no capitals make no difference.
    """
    output = Path(output)
    for each in map(Path, kept):
        if is_same_file(output, each) or (each.is_dir() and _lies_in(output, each)):
            return each
    return None


def is_same_file(one: str | Path, other: str | Path) -> bool:
    """Whether two paths are one file; of files that are not there yet, whether they would be one anywhere.

    Names that differ in nothing but capitals or in how an accent is written are one file on most disks of Windows
    and macOS, so they are held to be one.
    """
    one, other = Path(one), Path(other)
    with contextlib.suppress(OSError):
        return one.samefile(other)
    return not (one.exists() or other.exists()) and _spelled_alike(one) == _spelled_alike(other)


def _spelled_alike(path: Path) -> str:
    return unicodedata.normalize("NFC", os.path.realpath(path)).casefold()


def _lies_in(path: Path, folder: Path) -> bool:
    above = Path(os.path.realpath(path)).parents
    return any(is_same_file(each, folder) for each in above)


def _around(path: Path) -> list[Path]:
    """The folder that is the scan, where ``path`` is a part of it."""
    return [each for each in path.absolute().parents if each.suffix.lower() in _FOLDER_ENDINGS]


def _beside(path: Path) -> Iterator[Path]:
    """Files of the same scan in the same folder."""
    ending = path.suffix.lower()
    if ending in (".hdr", ".mib"):
        yield from _with_endings(path, ".mib", ".hdr")
    elif ending == ".raw":
        with contextlib.suppress(UnreadableScan, OSError):
            yield empad_xml(path)
    elif ending == ".xml" and path.is_file():
        yield from (path.with_name(name.strip()) for name in _RAW_FILE.findall(_text(path)))
    elif ending == ".emi":
        yield from path.parent.glob(f"{_escaped(path.stem)}_*.ser")
    elif ending == ".ser":
        yield path.with_name(path.stem.rpartition("_")[0] + ".emi")
    elif ending == ".tvips" and (part := _PART_OF_TVIPS.match(path.stem)):
        yield from path.parent.glob(f"{_escaped(part[1])}_[0-9][0-9][0-9].tvips")
    elif ending == ".mrc" and path.stem.endswith("_movie"):
        stem = path.stem.removesuffix("_movie")
        yield from (path.with_name(f"{stem}_info.txt"), path.with_name(f"{stem}_scan_coordinates.csv"))
    if "_master" in path.name:
        yield path.with_name(path.name.replace("_master", ""))


def _with_endings(path: Path, *endings: str) -> Iterator[Path]:
    """The neighbours with the same stem and one of the endings, however these are written."""
    for each in path.parent.glob(f"{_escaped(path.stem)}.*"):
        if each.suffix.lower() in endings:
            yield each


def _escaped(stem: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", stem)


def _text(path: Path) -> str:
    with path.open(errors="replace") as file:
        return file.read(2**20)


def _referred_to(path: Path) -> list[Path]:
    """Files that an HDF5 file's external links, external storage and virtual datasets name, there or not."""
    h5py = import_h5py()
    with h5py.File(path, "r") as file:
        names = sorted(set(_file_names(file, h5py, seen=set())))
    return [path.parent / each for name in names for each in series_names(name, path.parent)]


def _file_names(group: Any, h5py: Any, *, seen: set[int]) -> Iterator[str]:
    address = int(h5py.h5o.get_info(group.id).addr)
    if address in seen:  # a group may have several names, one of them within itself
        return
    seen.add(address)
    for name in group:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            yield str(link.filename)
            continue
        item = None if isinstance(link, h5py.SoftLink) else group.get(name)
        if isinstance(item, h5py.Group):
            yield from _file_names(item, h5py, seen=seen)
        elif isinstance(item, h5py.Dataset):
            if item.is_virtual:
                yield from (str(s.file_name) for s in item.virtual_sources() if s.file_name != ".")
            yield from (os.fsdecode(stored[0]) for stored in item.external or ())
