"""EMPAD .raw files without the .xml that describes them: frames of 130 x 128 float32, known by their size."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.io.file_arrays import FileArray
from napari_stem_orient.io.scan_kinds import DETECTOR_ROWS, FRAME_BYTES, FRAME_SHAPE, is_empad_raw
from napari_stem_orient.io.scan_source import ScanSource, UnreadableScan


@dataclass(frozen=True, slots=True)
class EmpadArray(FileArray):
    """The frames of an EMPAD .raw file, mapped into memory for every read."""

    def read(self, index: Any) -> NDArray[Any]:
        """The part of the frames that ``index`` asks for, in native byte order."""
        whole = np.memmap(self.path, "<f4", "r", shape=(self.shape[0], *FRAME_SHAPE))
        return np.array(whole[:, :DETECTOR_ROWS][index], dtype=self.dtype)


def read_empad_raw(path: Path) -> list[ScanSource]:
    """The frames of an EMPAD .raw file; the scan's shape is the one in its name, scan_x256_y256.raw, where that fits.

    Raises
    ------
    UnreadableScan
        The file's size, or its numbers, are not those of EMPAD frames.
    """
    if not is_empad_raw(path):
        size = path.stat().st_size
        raise UnreadableScan(
            f"{path.name} holds bare numbers ({size:,} bytes) and not as EMPAD writes them, {FRAME_BYTES:,} bytes a "
            "frame of 130 x 128 float32. EMPAD writes an .xml file that describes them; put it into the same folder "
            "and open it. Raw files of other detectors, and of EMPAD-G2 before its calibration, must be converted by "
            "their program"
        )
    n_frames = path.stat().st_size // FRAME_BYTES
    array = EmpadArray(path, "", (n_frames, DETECTOR_ROWS, FRAME_SHAPE[1]), np.dtype(np.float32))
    shape = _shape_in_name(path, n_frames)
    notes = [
        "read as EMPAD frames by its size; the .xml that describes it is missing, and with it all calibration"
    ]
    if shape is not None:
        notes.append(f"the scan's shape, {shape[0]} x {shape[1]}, is the one in the file's name")
    return [ScanSource(array.lazily(), scan_shape=shape, notes=tuple(notes))]


def _shape_in_name(path: Path, n_frames: int) -> tuple[int, int] | None:
    """Rows and columns in a name such as scan_x256_y128.raw, where they make as many positions as there are frames."""
    found = re.search(r"x(\d+)_y(\d+)", path.stem, re.IGNORECASE)
    if found is None:
        return None
    columns, rows = int(found[1]), int(found[2])
    return (rows, columns) if rows * columns == n_frames else None
