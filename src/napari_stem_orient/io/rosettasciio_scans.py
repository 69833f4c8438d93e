"""Scans in the formats of detectors and microscope programs, read by rosettasciio."""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.scan_reading import CHUNK_BYTES
from napari_stem_orient.io.file_arrays import Hdf5Array, file_token, import_h5py
from napari_stem_orient.io.hdf5_missing import find_missing
from napari_stem_orient.io.scan_kinds import FORMATS
from napari_stem_orient.io.scan_metadata import (
    is_scan_last,
    is_spectral,
    microscope_settings,
    read_axes,
    step_along_line,
    with_noted_geometry,
)
from napari_stem_orient.io.scan_source import ScanSource, UnreadableScan

#: Readers that take dask chunks for the axes; the others choose their own.
_TAKE_CHUNKS = ("blockfile", "quantumdetector", "mrc", "digitalmicrograph")
#: More frames than any file has: what rosettasciio reads as a stack of those that there are.
_ALL_FRAMES = (10**9,)
#: Largest TopSpin file in bytes: rosettasciio reads these as a whole.
LARGEST_TOPSPIN_FILE = 4 * 2**30


def read_with_rosettasciio(
    path: Path, *, scan_shape: tuple[int, int] | None = None, module: str | None = None
) -> list[ScanSource]:
    """All arrays of a file as rosettasciio finds them, lazily.

    Parameters
    ----------
    path
        The file.
    scan_shape
        Rows and columns, where they are known: the reader's guess is not asked for then.
    module
        Name of rosettasciio's module where the file's ending does not tell.
    """
    module = FORMATS[path.suffix.lower()] if module is None else module
    options: dict[str, Any] = {}
    if module == "topspin":
        if path.stat().st_size > LARGEST_TOPSPIN_FILE:
            raise UnreadableScan(
                f"{path.name} is larger than {LARGEST_TOPSPIN_FILE / 2**30:.0f} GB, and TopSpin files can only be "
                f"read as a whole: export it as a blockfile (.blo)"
            )
        options["show_progressbar"] = False
    if module == "mrc":
        options |= _direct_electron_files(path)
    reader = importlib.import_module(f"rsciio.{module}").file_reader
    with dask.config.set({"array.chunk-size": CHUNK_BYTES}):
        if module == "quantumdetector":
            # with a shape of its own the reader drops the frames that do not fit it, without a word
            stacks = _read(reader, path, module, {"navigation_shape": _ALL_FRAMES})
            guessed = _read(reader, path, module, {}) if scan_shape is None else stacks
            signals = [_whole_scan(*pair) for pair in zip(guessed, stacks, strict=True)]
        else:
            signals = _read(reader, path, module, options)
    return [source_of_signal(signal, path, index, module) for index, signal in enumerate(signals)]


def _read(
    reader: Callable[..., list[dict[str, Any]]], path: Path, module: str, options: dict[str, Any]
) -> list[dict[str, Any]]:
    """Signals of a file, in chunks of whole patterns where the reader can be told so."""
    if module in _TAKE_CHUNKS:
        for scan_axes in (2, 1):
            try:
                return reader(str(path), lazy=True, chunks=("auto",) * scan_axes + (-1, -1), **options)
            except ValueError as error:
                if "chunks" not in str(error).lower():
                    raise
    return reader(str(path), lazy=True, **options)


def _whole_scan(guessed: dict[str, Any], stack: dict[str, Any]) -> dict[str, Any]:
    """A Merlin scan with the shape that its header tells, where that accounts for every frame; else all as a stack.

    A file that ends before its header says, or goes on after it, has a shape that was guessed from its length.
    """
    fits = math.prod(guessed["data"].shape[:-2]) == math.prod(stack["data"].shape[:-2])
    return guessed if fits and _promised_frames(guessed) is None else stack


def _promised_frames(signal: dict[str, Any]) -> int | None:
    """Number of patterns that the header of a Merlin file tells of, where these are more than there are."""
    header = (signal.get("original_metadata") or {}).get("hdr_file") or {}
    promised = str(header.get("Frames in Acquisition (Number)", "")).strip()
    there = math.prod(signal["data"].shape[:-2])
    return int(promised) if promised.isdigit() and int(promised) > there else None


def _direct_electron_files(path: Path) -> dict[str, str]:
    """Companions of a DE movie that rosettasciio finds by itself only where the name starts with a date."""
    stem = path.stem.removesuffix("_movie")
    companions = {
        "metadata_file": path.with_name(f"{stem}_info.txt"),
        "scan_file": path.with_name(f"{stem}_scan_coordinates.csv"),
    }
    if stem == path.stem or not companions["metadata_file"].exists():
        return {}
    return {option: str(file) for option, file in companions.items() if file.exists()}


def source_of_signal(signal: dict[str, Any], path: Path, index: int, module: str) -> ScanSource:
    """A signal as rosettasciio's readers return it, with its axes and metadata understood.

    ``module`` is the reader's name, "zspy" for what this plugin reads itself.
    """
    data = _lazy_data(signal["data"], path, index, module)
    axes = [dict(axis) for axis in signal["axes"]]
    title = str((signal.get("metadata") or {}).get("General", {}).get("title") or "")
    dataset = f"{index}: {title}" if title else str(index)
    settings = microscope_settings(signal)
    if module == "mrc":  # a scale of 1 nm is rosettasciio's placeholder in DE movies
        axes = [{**axis, "scale": None if axis.get("scale") == 1 else axis.get("scale")} for axis in axes]
    if module == "digitalmicrograph" and data.ndim == 4 and _scan_comes_last(signal, axes):
        data, axes = data.transpose(2, 3, 0, 1), axes[2:] + axes[:2]
    signal_type = str((signal.get("metadata") or {}).get("Signal", {}).get("signal_type") or "")
    spectral = is_spectral(axes) or signal_type.upper().startswith(("EELS", "EDS", "EDX"))
    read = read_axes(axes, **settings)
    name_in_file = _name_in_hspy(path, index, data.shape) if module == "hspy" else ""
    step = step_along_line(axes) if data.ndim == 3 else None
    line = None if step is None else (1, int(data.shape[0]))
    known = read.calibration if step is None else read.calibration.updated(scan_step_nm=step)
    line_notes = () if line is None else (f"a line of {line[1]:,} positions: the scan is 1 x {line[1]:,}",)
    return ScanSource(
        find_missing=partial(find_missing, path, name_in_file) if name_in_file else None,
        data=data,
        calibration=with_noted_geometry(known, signal, data.shape[-2:]),
        dataset=dataset,
        notes=(*read.notes, *line_notes),
        scan_shape=line,
        kind="spectra" if spectral else "patterns",
        n_promised=_promised_frames(signal) if module == "quantumdetector" else None,
    )


def _lazy_data(data: Any, path: Path, index: int, module: str) -> da.Array:
    """The signal's data under a name that changes with the file: dask caches by names."""
    name = f"{module}-{file_token(path, index)}"
    if not isinstance(data, da.Array):
        return da.from_array(data, chunks="auto", name=name)
    if data.dtype.kind not in "iuf" or module == "zspy":
        return data
    name_in_file = _name_in_hspy(path, index, data.shape) if module == "hspy" else ""
    if name_in_file:
        with import_h5py().File(path, "r") as file:
            chunks = file[name_in_file].chunks
        array = Hdf5Array(path, name_in_file, data.shape, data.dtype.newbyteorder("="))
        return array.lazily(stored_chunks=chunks)
    return data.map_blocks(_unchanged, name=name, dtype=data.dtype, meta=np.empty(0, data.dtype))


def _name_in_hspy(path: Path, index: int, shape: tuple[int, ...]) -> str:
    """Where a HyperSpy file has the data of a signal; empty where they are not simply there."""
    with import_h5py().File(path, "r") as file:
        stored = [group["data"] for group in file["Experiments"].values() if "data" in group]
        return str(stored[index].name) if index < len(stored) and stored[index].shape == shape else ""


def _unchanged(block: NDArray[Any]) -> NDArray[Any]:
    return block


def _scan_comes_last(signal: dict[str, Any], axes: list[dict[str, Any]]) -> bool:
    """Whether a DigitalMicrograph file holds detector rows and columns before those of the scan.

    Newer files carry the tag "Data Order Swapped" and list the scan first; older ones do not. rosettasciio
    leaves the order as it lies in the file. Units, where they tell, go before the tag.
    """
    told = is_scan_last(axes)
    if told is not None:
        return told
    return not any(_tags(signal.get("original_metadata"), "Data Order Swapped"))


def _tags(tree: Any, name: str) -> list[Any]:
    """Values of all keys of nested dictionaries that have the name, spelled with spaces or underscores."""
    if not isinstance(tree, dict):
        return []
    found = [value for key, value in tree.items() if str(key).replace("_", " ") == name]
    return found + [value for child in tree.values() for value in _tags(child, name)]


def empad_xml(path: Path) -> Path:
    """The .xml file that describes an EMPAD .raw file: the one beside it that names it; UnreadableScan without."""
    # the whole name: "scan.raw" is part of "other_scan.raw"
    named = re.compile(rf"""["'>/\\]\s*{re.escape(path.name)}\s*["'<]""")
    described = [xml for xml in sorted(path.parent.glob("*.xml")) if named.search(_text_of(xml))]
    if not described:
        raise UnreadableScan(f"there is no .xml file beside {path.name} that describes it")
    return described[0]


def _text_of(xml: Path) -> str:
    return xml.read_text(errors="replace")
