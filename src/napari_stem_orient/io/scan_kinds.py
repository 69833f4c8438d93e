"""What a file may be, told by its name and first bytes, without the libraries that read it.

napari asks for this in its window, at every file that is dropped; those libraries take a second to load.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"

#: Rows and columns of a frame in the file, of which the last two rows are the detector's own; and its bytes.
FRAME_SHAPE, DETECTOR_ROWS = (130, 128), 128
FRAME_BYTES = FRAME_SHAPE[0] * FRAME_SHAPE[1] * 4
#: Least and most counts that a pixel can have, 0 aside: other numbers, taken for float32, lie far outside.
_COUNTS = (1e-6, 1e9)

#: File endings and the module of rosettasciio that reads them.
FORMATS = {
    ".app5": "topspin",
    ".blo": "blockfile",
    ".de5": "emd",
    ".dm3": "digitalmicrograph",
    ".dm4": "digitalmicrograph",
    ".emi": "tia",
    ".hspy": "hspy",
    ".mib": "quantumdetector",
    ".mrc": "mrc",
    ".prz": "pantarhei",
    ".ser": "tia",
    ".tvips": "tvips",
    ".xml": "empad",
}

MOST_COLOURS = 4  # of a pixel of a picture: no detector is so narrow
ZARR_EXTENSIONS = (".zarr", ".zspy")
HDF5_EXTENSIONS = (".emd", ".h5", ".hdf5", ".hdf", ".mat", ".nxs")
#: File endings, in lower case, of everything that `open_datacube` tries to read and that napari is to offer it for;
#: pictures (.tif) are napari's own.
SUPPORTED_EXTENSIONS = tuple(sorted({*FORMATS, *HDF5_EXTENSIONS, ".hdr", ".npy", ".raw", *ZARR_EXTENSIONS}))


def may_be_scan(path: str | Path) -> bool:
    """Whether a file's name and first bytes leave it possible that it holds a scan, peaks or a map."""
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in SUPPORTED_EXTENSIONS:
        return False
    if path.is_dir():
        return ending == ".zspy" or (ending == ".zarr" and not is_ome_zarr(path))
    if ending in HDF5_EXTENSIONS:
        return is_hdf5(path)
    if ending == ".xml":
        return path.is_file() and b"raw_file" in path.read_bytes()[: 2**20]
    if ending == ".npy":
        with contextlib.suppress(ValueError, OSError):
            shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
            return len(shape) >= 3 and min(shape[-2:]) > MOST_COLOURS
        return False
    if ending == ".raw":
        return any(path.parent.glob("*.xml")) or (path.is_file() and is_empad_raw(path))
    return True


def is_hdf5(path: Path) -> bool:
    """Whether a file is HDF5: it begins so, or behind a user block of 512, 1024, 2048, ... bytes, as MATLAB's do."""
    if not path.is_file():
        return False
    size, offset = path.stat().st_size, 0
    with path.open("rb") as file:
        while offset + len(HDF5_SIGNATURE) <= size:
            file.seek(offset)
            if file.read(len(HDF5_SIGNATURE)) == HDF5_SIGNATURE:
                return True
            offset = max(512, 2 * offset)
    return False


def is_ome_zarr(path: Path) -> bool:
    """Whether a zarr folder says that it is a light-microscopy image pyramid."""
    for name in (".zattrs", "zarr.json"):
        file = path / name
        with contextlib.suppress(OSError, ValueError):
            if "multiscales" in json.dumps(json.loads(file.read_text())):
                return True
    return False


def is_empad_raw(path: Path) -> bool:
    """Whether a .raw file has the size of whole EMPAD frames, and numbers as counts are in the first of them."""
    size = path.stat().st_size
    if size == 0 or size % FRAME_BYTES:
        return False
    first = np.fromfile(path, "<f4", FRAME_SHAPE[1] * DETECTOR_ROWS)
    with np.errstate(invalid="ignore"):
        counts = np.abs(first[first != 0])
        usual = (counts >= _COUNTS[0]) & (counts <= _COUNTS[1])
    return len(counts) == 0 or bool(usual.mean() > 0.99)
