"""Bragg peaks in files: py4DSTEM's BraggVectors, written and read with h5py alone.

A saved file holds the peaks twice: as py4DSTEM's BraggVectors in the EMD 1.0 layout, which any program of
the field reads, and as flat arrays with everything that made them, which come back as they were.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.bragg_peaks import BraggPeaks, DetectedBlock
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.errors import UserError
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.core.ragged import offsets_from_counts
from napari_stem_orient.io.atomic import complete_or_absent
from napari_stem_orient.io.emd_tree import begin_emd_tree, emd_group
from napari_stem_orient.io.file_arrays import import_h5py
from napari_stem_orient.io.own_files import PEAKS
from napari_stem_orient.io.py4dstem_calibration import (
    Py4dstemCalibration,
    py4dstem_values,
    read_py4dstem_calibration,
)
from napari_stem_orient.io.scan_kinds import is_hdf5

OWN_GROUP = "napari_stem_orient_peaks"
FORMAT_VERSION = 1
VECTOR = np.dtype([("qx", "<f8"), ("qy", "<f8"), ("intensity", "<f8")])
#: Largest scattering vector in Å⁻¹ that peaks around 0 can have; beyond it they are pixels.
LARGEST_Q = 8.0

#: Value of the parameter "pixels" of peaks that came in Å⁻¹: their pixels and pixel size stand for no detector's.
NOMINAL = "nominal"

#: The mantissas of positions and intensities are noise, on which a better compression than the first takes time alone.
_PACKING: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True}

_READ = ("x_px", "y_px", "intensity", "offsets", "detected")
_ARRAYS = (*_READ, "q_x", "q_y")


class UnreadablePeaks(UserError):  # noqa: N818 - it says what is the matter
    """A file that holds no Bragg peaks that we can read; the message tells why."""


def save_bragg_peaks(peaks: BraggPeaks, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write peaks to an HDF5 file that `open_bragg_peaks` and `py4DSTEM.read` open.

    The file appears under its name only when it is whole. Returns its path.

    Parameters
    ----------
    peaks
        What to write.
    path
        The file.
    overwrite
        Replace a file that holds no peaks of this program, but for one that an open scan is read from.

    Raises
    ------
    FileExistsError
        There is a file of another kind.
    WouldDestroyScan
        An open scan is read from the file.
    PermissionError
        The folder may not be written to; the message names it.
    """
    path = Path(path)
    h5py = import_h5py()
    with (
        complete_or_absent(path, replaces=(PEAKS,), overwrite=overwrite) as temporary,
        h5py.File(temporary, "w") as file,
    ):
        _write_bragg_vectors(file, peaks)
        write_peaks_group(file.create_group(OWN_GROUP), peaks)
    return path


def open_bragg_peaks(path: str | Path) -> BraggPeaks:
    """Read peaks saved by this program, BraggVectors of py4DSTEM or PointListArrays of py4DSTEM 0.13.

    py4DSTEM's qx, qy of raw vectors are detector row and column in px. Vectors that are calibrated in the
    file have lost their pixels, and get such that fit a nominal pixel size. Vectors that hold NaN or infinite values
    are left out; the parameters of the peaks say how many.

    Raises
    ------
    UnreadablePeaks
        The file is missing, damaged, or holds no peaks.
    """
    path = Path(path)
    if not path.exists():
        raise UnreadablePeaks(f"{path} does not exist: check the name and the folder")
    if not is_hdf5(path):
        raise UnreadablePeaks(f"{path.name} is no HDF5 file: Bragg peaks are read from py4DSTEM's .h5 files")
    h5py = import_h5py()
    try:
        with h5py.File(path, "r") as file:
            if OWN_GROUP in file:
                return read_peaks_group(file[OWN_GROUP], path).with_fingerprint()
            group = _vectors_group(file)
            if group is not None:
                return _read_vectors(group, path).with_fingerprint()
    except (UnreadablePeaks, PermissionError):
        raise
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        text = " ".join(str(error).split())[:200]
        raise UnreadablePeaks(
            f"{path.name} is damaged or incomplete ({text}): save or copy it again"
        ) from error
    raise UnreadablePeaks(
        f"{path.name} holds no Bragg peaks: neither BraggVectors nor a PointListArray of py4DSTEM is in it"
    )


def is_peaks_file(path: str | Path) -> bool:
    """Whether a file holds Bragg peaks that `open_bragg_peaks` reads."""
    path = Path(path)
    if not is_hdf5(path):
        return False
    try:
        with import_h5py().File(path, "r") as file:
            return OWN_GROUP in file or _vectors_group(file) is not None
    except (OSError, KeyError, RuntimeError):
        return False


def _write_bragg_vectors(file: Any, peaks: BraggPeaks) -> None:
    """EMD 1.0 tree with one BraggVectors object and the calibration at its root."""
    root = begin_emd_tree(file, "braggvectors_root")
    vectors = emd_group(root, "braggvectors", "custom", "BraggVectors")
    lists = emd_group(vectors, "_v_uncal", "custom_pointlistarray", "PointListArray")
    h5py = import_h5py()
    data = lists.create_dataset("data", shape=peaks.scan_shape, dtype=h5py.vlen_dtype(VECTOR))
    _write_vector_lists(data, peaks)
    shapes = emd_group(_bundle(vectors), "_braggvectors_shape", "metadata", "Metadata")
    detector = peaks.detector_shape or _extent(peaks)
    for name, shape in (("Rshape", peaks.scan_shape), ("Qshape", detector)):
        shapes.create_dataset(name, data=np.asarray(shape, dtype=np.int64)).attrs["type"] = "tuple"
    values = py4dstem_values(peaks.calibration, peaks.origin_px, peaks.scan_shape)
    group = emd_group(_bundle(root), "calibration", "metadata", "Calibration")
    for name, value in values.items():
        group.create_dataset(name, data=value).attrs["type"] = _emd_type(value)
    group.create_dataset("_root_treepath", data="").attrs["type"] = "string"
    targets = group.create_group("_target_paths")
    targets.attrs.update(type="list_of_strings", length=1)
    targets.create_dataset("0", data="/braggvectors")


def _bundle(parent: Any) -> Any:
    group = parent.create_group("metadatabundle")
    group.attrs["emd_group_type"] = "metadatabundle"
    return group


def _emd_type(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, np.ndarray) else "number"


def _write_vector_lists(data: Any, peaks: BraggPeaks) -> None:
    """Fill the dataset (scan_y, scan_x) with structured arrays; py4DSTEM's qx is our detector row."""
    flat = np.empty(peaks.n_peaks, dtype=VECTOR)
    flat["qx"], flat["qy"], flat["intensity"] = peaks.y_px, peaks.x_px, peaks.intensity
    parts = np.split(flat, peaks.offsets[1:-1])
    counts = peaks.counts()
    if counts.min() == counts.max():
        # numpy and h5py would take lists of one length for one array with an axis more
        for position, part in enumerate(parts):
            data[divmod(position, peaks.scan_shape[1])] = part
        return
    lists = np.empty(peaks.n_positions, dtype=object)
    lists[:] = parts
    data[...] = lists.reshape(peaks.scan_shape)


def _extent(peaks: BraggPeaks) -> tuple[int, int]:
    """Rows and columns of the smallest detector that holds all peaks."""
    last = (np.max(peaks.y_px, initial=0.0), np.max(peaks.x_px, initial=0.0))
    return int(np.ceil(last[0])) + 1, int(np.ceil(last[1])) + 1


def write_peaks_group(group: Any, peaks: BraggPeaks) -> None:
    """Write peaks, and what made them, into an HDF5 group, from which `read_peaks_group` reads them."""
    known = np.isfinite(peaks.significance).any()
    for name in (*_ARRAYS, *(["significance"] if known else [])):
        group.create_dataset(name, data=getattr(peaks, name), **_PACKING)
    if peaks.origin_px is not None:
        group.create_dataset("origin_px", data=peaks.origin_px, **_PACKING)
    group.attrs.update(
        format_version=FORMAT_VERSION,
        scan_shape=peaks.scan_shape,
        calibration=peaks.calibration.model_dump_json(),
        parameters=json.dumps(dict(peaks.parameters)),
        name=peaks.name,
        software_version=peaks.software_version,
    )
    # a dataset: an attribute holds 64 KiB at most, and a choice may name many positions
    group.create_dataset("recipe", data=json.dumps(dict(peaks.recipe)))
    if peaks.detector_shape is not None:
        group.attrs["detector_shape"] = peaks.detector_shape
    if peaks.source_fingerprint is not None:
        group.attrs["source_fingerprint"] = peaks.source_fingerprint


def read_peaks_group(group: Any, path: Path) -> BraggPeaks:
    """Read the peaks of an HDF5 group, with the very q that they had; ``path`` is the file's, for messages.

    Raises
    ------
    UnreadablePeaks
        They are of a later version of this program.
    """
    version = int(group.attrs.get("format_version", 0))
    if not 1 <= version <= FORMAT_VERSION:
        raise UnreadablePeaks(
            f"{path.name} has peaks in format {version}, newer than this version of napari-stem-orient reads "
            f"({FORMAT_VERSION}): update it"
        )
    attrs = dict(group.attrs)
    detector = attrs.get("detector_shape")
    return BraggPeaks(
        **{name: group[name][...] for name in (*_READ, *({"significance"} & set(group)))},
        q_as_given=(group["q_x"][...], group["q_y"][...]),
        scan_shape=(int(attrs["scan_shape"][0]), int(attrs["scan_shape"][1])),
        calibration=Calibration.model_validate_json(attrs["calibration"]),
        origin_px=group["origin_px"][...] if "origin_px" in group else None,
        detector_shape=None if detector is None else (int(detector[0]), int(detector[1])),
        parameters=json.loads(attrs["parameters"]),
        name=str(attrs["name"]),
        source_fingerprint=attrs.get("source_fingerprint"),
        software_version=str(attrs["software_version"]),
        recipe=json.loads(group["recipe"][()]) if "recipe" in group else {},
    )


def _vectors_group(file: Any) -> Any:
    """First group that holds a py4DSTEM list of vectors a position, raw ones before calibrated ones."""
    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if name.rsplit("/", 1)[-1] == "data" and _is_vector_array(item):
            found[name] = item.parent

    file.visititems(visit)
    order = sorted(found, key=lambda name: ("_v_uncal" not in name, "_v_cal" in name, name))
    return found[order[0]] if order else None


def _is_vector_array(item: Any) -> bool:
    h5py = import_h5py()
    if not isinstance(item, h5py.Dataset) or item.ndim != 2:
        return False
    vector = h5py.check_vlen_dtype(item.dtype)
    names = getattr(vector, "names", None) or ()
    return {"qx", "qy", "intensity"} <= set(names)


def _read_vectors(group: Any, path: Path) -> BraggPeaks:
    lists = group["data"][...]
    scan_shape = (int(lists.shape[0]), int(lists.shape[1]))
    counts = np.fromiter(map(len, lists.flat), dtype=np.int64, count=lists.size)
    filled = [vectors for vectors in lists.flat if len(vectors)]
    flat = np.concatenate(filled) if filled else np.zeros(0, dtype=VECTOR)
    flat, counts, left_out = _finite(flat, counts)
    found = _calibration_above(group)
    made: dict[str, Any] = {"read_from": path.name, "group": group.name}
    if left_out:
        made["left_out_not_finite"] = left_out
    if len(flat) and not (flat["intensity"] > 0).any():
        made["intensities"] = "none in the file: every disk counts 1"
        flat["intensity"] = 1.0
    fields: dict[str, Any] = {"name": path.stem, "parameters": made}
    if _is_calibrated(flat):
        made["pixels"] = NOMINAL
        # the frame is exchanged once and for all: their first axis is our y
        return BraggPeaks.from_q(
            flat["qy"],
            flat["qx"],
            flat["intensity"],
            offsets_from_counts(counts),
            scan_shape,
            found.calibration.updated(origin_px=None, ellipse_ratio=1.0, scan_rotation_deg=0.0, flip=False),
            **fields,
        )
    block = DetectedBlock(
        positions=np.arange(lists.size),
        x_px=flat["qy"].astype(np.float32),
        y_px=flat["qx"].astype(np.float32),
        intensity=flat["intensity"].astype(np.float32),
        offsets=offsets_from_counts(counts),
        progress=Progress(lists.size, lists.size, "patterns"),
    )
    origin = found.origin_px if found.origin_px is not None and len(found.origin_px) == lists.size else None
    return BraggPeaks.from_blocks(
        [block],
        scan_shape=scan_shape,
        calibration=_with_origin(found.calibration, flat),
        detector_shape=_detector_shape(group) or _smallest_detector(flat),
        origin_px=origin,
        **fields,
    )


def _finite(vectors: NDArray[Any], counts: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.int64], int]:
    """The vectors without those that hold NaN or infinite values, how many each position keeps, how many are gone."""
    good = np.all([np.isfinite(vectors[name]) for name in ("qx", "qy", "intensity")], axis=0)
    position = np.repeat(np.arange(len(counts)), counts)
    return vectors[good], np.bincount(position[good], minlength=len(counts)), int(np.count_nonzero(~good))


def _is_calibrated(vectors: NDArray[Any]) -> bool:
    """Whether vectors are in Å⁻¹ around the direct beam and not in detector pixels."""
    if not len(vectors):
        return False
    both = np.concatenate([vectors["qx"], vectors["qy"]])
    return bool(both.min() < 0 and np.abs(both).max() < LARGEST_Q)


def _with_origin(calibration: Calibration, vectors: NDArray[Any]) -> Calibration:
    """The calibration; vectors in px that lie around 0 have been centred, and 0 is their origin."""
    if calibration.origin_px is not None or not len(vectors):
        return calibration
    centred = min(vectors["qx"].min(), vectors["qy"].min()) < -1
    return calibration.updated(origin_px=(0.0, 0.0)) if centred else calibration


def _smallest_detector(vectors: NDArray[Any]) -> tuple[int, int]:
    last = (float(np.max(vectors[name], initial=0.0)) for name in ("qx", "qy"))
    rows, columns = (int(np.ceil(value)) + 1 for value in last)
    return rows, columns


def _calibration_above(group: Any) -> Py4dstemCalibration:
    """Calibration of the nearest group above that has one."""
    while True:
        bundle = group.get("metadatabundle/calibration")
        if bundle is not None:
            return read_py4dstem_calibration(bundle)
        if group.name == "/":
            return Py4dstemCalibration(Calibration())
        group = group.parent


def _detector_shape(group: Any) -> tuple[int, int] | None:
    shape = group.parent.get("metadatabundle/_braggvectors_shape/Qshape")
    return None if shape is None else (int(shape[0]), int(shape[1]))
