"""What kind of result a file is that this program has written: nothing else is replaced without being asked."""

from __future__ import annotations

import json
import re
from pathlib import Path

from napari_stem_orient.io.scan_kinds import is_hdf5

PEAKS, MAP, IMAGES = "Bragg peaks", "an orientation map", "virtual images"
CALIBRATION, TABLE, EXPORT = "a calibration", "a table of an orientation map", "an export of this program"
MODEL, RECIPE, RUN_TABLE = "a trained model", "a recipe", "a table of a run"
SESSION = "a session"

#: Where everything lies in a session file.
SESSION_GROUP = "napari_stem_orient_session"
#: What a session file is called, behind the name of its scan.
SESSION_ENDING = ".session.h5"

#: What the files of other programs' formats say of who wrote them.
SIGNATURE = b"napari-stem-orient"
_SIGNED_ENDINGS = (".ang", ".ctf", ".pdf", ".png", ".svg", ".tif", ".tiff")
_SIGNED_BYTES = 2**16
# ImageJ's remarks are in UTF-16
_SIGNATURES = (SIGNATURE, SIGNATURE.decode().encode("utf-16-le"), SIGNATURE.decode().encode("utf-16-be"))

#: Group that tells what a file holds -> what that is, and what else is at the root of such a file.
_HDF5_KINDS = {
    "napari_stem_orient_peaks": (PEAKS, {"braggvectors_root"}),
    "napari_stem_orient": (MAP, {"crystal_map", "manufacturer", "version"}),
    "virtual_root": (IMAGES, {"region"}),
    SESSION_GROUP: (SESSION, set()),
}
_REPORT = b"simulated patterns that it has not seen"
_TABLE_HEADER = re.compile(r"y,x,y_nm,x_nm,phase,")
_RUN_HEADER = re.compile(r"scan,state,positions,disks a pattern,")
_RECIPE_HEADER = "# A recipe of napari-stem-orient"


def kind_of_own_file(path: str | Path) -> str:
    """What result of this program a file is, in words; "" where it is none, or holds something else besides.

    Read from its content, whatever its name is.
    """
    path = Path(path)
    if not path.is_file():
        return ""
    try:
        return _kind(path)
    except (OSError, RuntimeError, KeyError, ValueError):
        return ""  # damaged, locked or not allowed to be read: nobody knows what it is


def what_keeps_from_replacing(path: Path, replaces: tuple[str, ...]) -> str:
    """Why a file may not be replaced without being asked, as in "holds Bragg peaks"; "" where it may, or is not there.

    ``replaces`` are the kinds of files of this program that may.
    """
    # a link whose target is gone counts: somebody expects something there
    if not (path.exists() or path.is_symlink()) or path.is_dir():
        return ""
    kind = kind_of_own_file(path)
    if kind in replaces:
        return ""
    return f"holds {kind}" if kind else "was not written by this program, as far as it can be told"


def _kind(path: Path) -> str:
    ending = path.suffix.lower()
    if is_hdf5(path):
        return _hdf5_kind(path)
    if ending == ".json":
        content = json.loads(path.read_text(encoding="utf-8")) if path.stat().st_size < 2**20 else None
        return _json_kind(set(content) if isinstance(content, dict) else set())
    if ending == ".csv":
        with path.open(encoding="utf-8") as file:
            first = file.readline(4096)
            return RUN_TABLE if _RUN_HEADER.match(first) else TABLE if _TABLE_HEADER.match(first) else ""
    if ending in (".yaml", ".yml"):
        with path.open(encoding="utf-8") as file:
            return RECIPE if file.readline(4096).startswith(_RECIPE_HEADER) else ""
    if ending == ".md":
        with path.open("rb") as file:
            return MODEL if _REPORT in file.read(_SIGNED_BYTES) else ""
    return EXPORT if ending in _SIGNED_ENDINGS and _is_signed(path) else ""


def _json_kind(names: set[str]) -> str:
    if names == {"format_version", "software_version", "calibration"}:
        return CALIBRATION
    return MODEL if {"format_version", "crystals", "structure_type", "training"} <= names else ""


def _hdf5_kind(path: Path) -> str:
    from napari_stem_orient.io.file_arrays import (
        import_h5py,
    )  # which needs dask: not before a window is there

    with import_h5py().File(path, "r") as file:
        names = set(file)
        for group, (kind, others) in _HDF5_KINDS.items():
            if group in names and names <= {group, *others}:
                return kind if kind != IMAGES or "made" in file.attrs else ""
    return ""


def _is_signed(path: Path) -> bool:
    """Whether the beginning or the end of a file, where formats have their remarks, names this program."""
    with path.open("rb") as file:
        start = file.read(_SIGNED_BYTES)
        file.seek(max(0, path.stat().st_size - _SIGNED_BYTES))
        parts = start, file.read()
    return any(signature in part for part in parts for signature in _SIGNATURES)
