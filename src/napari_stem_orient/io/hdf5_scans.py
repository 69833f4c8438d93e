"""Scans in HDF5 files: py4DSTEM, EMD, Arina and plain datasets, read lazily through h5py."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np

from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.io.file_arrays import Hdf5Array, import_h5py
from napari_stem_orient.io.hdf5_links import walk_datasets
from napari_stem_orient.io.hdf5_missing import find_missing, first_missing_source
from napari_stem_orient.io.py4dstem_calibration import find_py4dstem_calibration
from napari_stem_orient.io.rosettasciio_scans import read_with_rosettasciio
from napari_stem_orient.io.scan_kinds import is_hdf5
from napari_stem_orient.io.scan_metadata import read_axes
from napari_stem_orient.io.scan_source import MissingData, ScanSource, UnreadableScan

#: Names of the pieces that a DECTRIS detector cuts a stack into.
_PIECE = re.compile(r"(.*/)?data_\d{6}$")


def read_hdf5(path: Path) -> list[ScanSource]:
    """All sets of patterns in an HDF5 file: four axes if there are any, otherwise stacks of three."""
    h5py = import_h5py()
    with h5py.File(path, "r") as file:
        program = _written_by(file)
        if program == "hyperspy":
            return read_with_rosettasciio(path, module="hspy")
        if program == "velox":
            return read_with_rosettasciio(path, module="emd")
        broken: dict[str, str] = {}
        datasets = _arrays(file, broken)
        pieces = {name: item for name, item in datasets.items() if _PIECE.match(name)}
        if broken and (not datasets or (pieces and any(map(_PIECE.match, broken)))):
            raise UnreadableScan(_broken_text(path, broken))
        if pieces:
            return [_dectris_stack(path, pieces)]
        notes = (f"what {_broken_text(path, broken)}",) if broken else ()
        calibration = find_py4dstem_calibration(file)
        sources = [_source(path, name, item, calibration, notes) for name, item in datasets.items()]
    return [_with_axes(path, source) for source in sources]


def _written_by(file: Any) -> str:
    """Program that wrote an open file where rosettasciio reads its files: "hyperspy" or "velox"."""
    if "Experiments" in file and str(file.attrs.get("file_format", "")).lower() == "hyperspy":
        return "hyperspy"
    return "velox" if "Data/Image" in file and "Version" in file else ""


def _arrays(file: Any, broken: dict[str, str]) -> dict[str, Any]:
    """Datasets that can hold patterns, by name; links that lead nowhere go to ``broken``."""
    found = {}
    for name, item in walk_datasets(file, broken):
        if _may_hold_patterns(item):
            found[name] = item
        elif item.is_virtual and item.size == 0 and (missing := first_missing_source(item)):
            broken[name] = missing
    whole = {name: item for name, item in found.items() if _useful_axes(item.shape) >= 4}
    stacks = {name: item for name, item in found.items() if _useful_axes(item.shape) == 3}
    return whole or stacks or {name: item for name, item in found.items() if _useful_axes(item.shape) == 2}


def _broken_text(path: Path, broken: dict[str, str]) -> str:
    """What the links of a file lead to that is not there, and what to do."""
    listed = "; ".join(f"{what} (link {name})" for name, what in sorted(broken.items())[:3])
    more = f"; and {len(broken) - 3} more" if len(broken) > 3 else ""
    return f"{path.name} refers to {listed}{more}: keep all files of the scan in one folder"


def _source(path: Path, name: str, item: Any, calibration: Calibration, notes: tuple[str, ...]) -> ScanSource:
    data, told = _lazily(path, item, name), notes
    if "MATLAB_class" in item.attrs:
        # MATLAB writes its axes in reverse: what is A(ky, kx, y, x) there lies as (x, y, kx, ky) in the file
        data = data.transpose(_matlab_axes(data.ndim))
        told = (
            *notes,
            f"written by MATLAB: {name} is taken as patterns along its first two axes, rows first, and the scan along "
            "the others",
        )
    return ScanSource(
        data, calibration, dataset=name, notes=told, find_missing=_missing_finder(path, name, item)
    )


def _matlab_axes(n_axes: int) -> tuple[int, ...]:
    """The axes of MATLAB's array of patterns in our order: scan rows and columns, detector rows and columns."""
    return (1, 0, 3, 2) if n_axes == 4 else (*range(n_axes - 2), n_axes - 1, n_axes - 2)


def _missing_finder(path: Path, name: str, item: Any) -> Callable[[], MissingData | None]:
    matlab, n_axes = "MATLAB_class" in item.attrs, item.ndim

    def find() -> MissingData | None:
        found = find_missing(path, name)
        if found is None or not matlab:
            return found
        axes = _matlab_axes(n_axes)
        chunks = None if found.chunks is None else found.chunks.transposed(axes)
        return replace(found, positions=found.positions.transpose(axes[:-2]), chunks=chunks)

    return find


def _may_hold_patterns(item: Any) -> bool:
    shape = item.shape or ()
    return len(shape) >= 3 and item.dtype.kind in "iuf" and min(shape[-2:]) >= 2 and 0 not in shape


def _useful_axes(shape: tuple[int, ...]) -> int:
    """Number of axes once axes of length 1 beyond the fourth are gone; 2 for a single pattern."""
    length_one = shape[:-2].count(1)
    if math.prod(shape[:-2]) == 1:
        return 2
    return max(4, len(shape) - length_one) if len(shape) > 4 else len(shape)


def _lazily(path: Path, item: Any, name: str) -> da.Array:
    array = Hdf5Array(path, name, tuple(item.shape), item.dtype.newbyteorder("="))
    return array.lazily(stored_chunks=item.chunks)


def _with_axes(path: Path, source: ScanSource) -> ScanSource:
    """The source with pixel sizes from EMD's dimension vectors, where rosettasciio can read them."""
    if source.calibration != Calibration() or source.data.ndim != 4:
        return source
    from rsciio.emd import file_reader

    try:
        signals = file_reader(str(path), lazy=True, dataset_path=source.dataset, stack_group=False)
        axes = signals[0]["axes"]
    except Exception:  # noqa: BLE001 - any HDF5 file may come this way, and none must be EMD
        return source
    if len(axes) != 4:
        return source
    read = read_axes(axes, voltage_kv=None)
    return replace(source, calibration=read.calibration, notes=(*source.notes, *read.notes))


def _dectris_stack(path: Path, pieces: dict[str, Any]) -> ScanSource:
    """The stack of an Arina or other DECTRIS detector, with its masked pixels set to 0.

    rosettasciio reads these files only as a whole; the scan's shape and the voltage come from the file
    without "_master" that the microscope writes beside them.
    """
    stack = da.concatenate([_lazily(path, pieces[name], name) for name in sorted(pieces)])
    if stack.dtype.kind == "u":
        masked = np.iinfo(stack.dtype).max
        stack = da.where(stack == masked, stack.dtype.type(0), stack)
    side_file = path.with_name(path.name.replace("_master", ""))
    settings: dict[str, Any] = {}
    if side_file != path and is_hdf5(side_file):
        with import_h5py().File(side_file, "r") as side:
            settings = dict(side["STEM Metadata"].attrs) if "STEM Metadata" in side else {}
    return ScanSource(stack, _stem_calibration(settings), scan_shape=_stem_shape(settings, len(stack)))


def _stem_calibration(settings: dict[str, Any]) -> Calibration:
    volts = float(np.ravel(settings.get("High Tension", 0))[0])
    step = float(np.ravel(settings.get("Pixel Size", 0))[0])
    calibrated = bool(np.ravel(settings.get("IsPixelSizeCalibrated", 0))[0])
    return Calibration(
        voltage_kv=volts / 1e3 if volts >= 1e4 else None,
        scan_step_nm=step if calibrated and step > 0 else None,
    )


def _stem_shape(settings: dict[str, Any], n_frames: int) -> tuple[int, int] | None:
    try:
        shape = int(settings["NumPixelsY"]), int(settings["NumPixelsX"])
    except (KeyError, TypeError, ValueError):
        return None
    return shape if shape[0] * shape[1] == n_frames else None
