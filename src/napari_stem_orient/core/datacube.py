"""DataCube: a 4D-STEM scan as a lazy dask array with its calibration, read by blocks of the scan."""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any
from weakref import WeakSet

import dask.array as da
import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.ragged import flat_positions
from napari_stem_orient.core.scan_reading import (
    BLOCK_BYTES,
    CHUNK_BYTES,
    SLAB_BYTES,
    FramesInFile,
    scan_rectangles,
    stack_rectangles,
)

_MOST_FILES_LOOKED_AT = 4096  # in a folder, for a fingerprint: some hundredths of a second


@dataclass(frozen=True, slots=True, eq=False)
class ScanBlock:
    """Patterns of some probe positions, in memory.

    ``positions`` (m,) int64, flat and row-major; ``frames`` (m, det_y, det_x) in the scan's own dtype.
    """

    positions: NDArray[np.int64]
    frames: NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class DataCube:
    """A 4D-STEM scan, read from its file only where asked.

    Parameters
    ----------
    data
        (scan_y, scan_x, det_y, det_x) dask array of real numbers; no chunk divides a pattern.
    calibration
        What is known of the microscope and the scan.
    name
        What to call the scan in lists and layers.
    path
        The file or folder it comes from, if any.
    part
        What of the file it is, where that holds more than this scan: its data set, its first pattern.
    pedestal
        What was taken from every value of the file, in counts: what a pixel reads that no electron has hit.
    in_file
        The same patterns in the order of their file, where that knows no rows; blocks are then read from it. What
        does not belong to ``data`` (any more) is dropped.
    missing
        (scan_y, scan_x) bool, True where the file has no pattern and ``data`` a stand-in; None where it has all.
    notes
        Sentences about the file that the user should read.
    recipe
        What was decided to read it so, JSON-able: `steps.recipe` reads it. Empty where nobody knows.
    """

    data: da.Array
    calibration: Calibration
    name: str = "scan"
    path: Path | None = None
    part: str = ""
    pedestal: float = 0.0
    in_file: FramesInFile | None = None
    missing: NDArray[np.bool_] | None = None
    notes: tuple[str, ...] = ()
    recipe: Mapping[str, Any] = field(default_factory=dict, repr=False)
    _opened_as: str = field(default="", init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_opened_as", "")
        if self.data.ndim != 4:
            raise ValueError(
                f"a scan has four axes (scan_y, scan_x, det_y, det_x); this array has shape {self.data.shape}"
            )
        if 0 in self.data.shape:
            raise ValueError(f"the scan is empty: its shape is {self.data.shape}")
        if self.data.dtype.kind not in "biuf":
            raise ValueError(f"patterns must hold real numbers; these are {self.data.dtype}")
        if self.missing is not None and self.missing.shape != self.data.shape[:2]:
            raise ValueError(
                f"the missing patterns of a scan of {self.data.shape[:2]} have the shape {self.missing.shape}"
            )
        if self.in_file is not None and self.in_file.scan != self.data.name:
            object.__setattr__(self, "in_file", None)
        object.__setattr__(self, "data", chunked_by_pattern(self.data))
        if self.path is not None:
            with _adding:
                _open_scans.add(self)

    @property
    def scan_shape(self) -> tuple[int, int]:
        """(scan_y, scan_x)."""
        return int(self.data.shape[0]), int(self.data.shape[1])

    @property
    def detector_shape(self) -> tuple[int, int]:
        """(det_y, det_x)."""
        return int(self.data.shape[2]), int(self.data.shape[3])

    @property
    def n_positions(self) -> int:
        """Number of probe positions."""
        return self.scan_shape[0] * self.scan_shape[1]

    @property
    def fingerprint(self) -> str:
        """Short text that changes when the data do: from name, size and time of the file, or dask's token.

        It says how the file is now: one that is written anew while it is open has another fingerprint from then on.
        """
        source: tuple[object, ...] = (self.data.name,)
        if self.path is not None and self.path.exists():
            part = (self.part,) if self.part else ()
            above = (f"above {self.pedestal:g}",) if self.pedestal else ()
            source = (self.path.name, self.name, *_size_and_time(self.path), *part, *above)
        text = repr((*source, self.data.shape, str(self.data.dtype)))
        return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()

    @property
    def n_missing(self) -> int:
        """Number of positions of which the file has no pattern."""
        return 0 if self.missing is None else int(self.missing.sum())

    @property
    def opened_as(self) -> str:
        """The fingerprint as it was when it was first asked for, which opening a scan does; costs nothing from then on.

        It tells scans apart, whatever their calibration is made, while they are open.
        """
        if not self._opened_as:
            object.__setattr__(self, "_opened_as", self.fingerprint)
        return self._opened_as

    def pattern(self, y: int, x: int) -> NDArray[np.float32]:
        """(det_y, det_x) float32; the pattern at scan row ``y`` and column ``x``."""
        rows, columns = self.scan_shape
        if not (0 <= y < rows and 0 <= x < columns):
            raise IndexError(
                f"probe position (row {y}, column {x}) lies outside the scan of {rows} x {columns}"
            )
        # one pattern is read sooner in this thread than by a pool of them
        return np.asarray(self.data[y, x].compute(scheduler="synchronous"), dtype=np.float32)

    def scan_blocks(
        self, *, max_bytes: int = BLOCK_BYTES, positions: ArrayLike | None = None
    ) -> Iterator[ScanBlock]:
        """Patterns of the scan block by block, in the order of the file; a block is a rectangle of the scan.

        Every chunk of the file is read once. Peak memory: a block of ``max_bytes`` and at most a row of the scan
        more; where the chunks of a file run across more patterns than that, all patterns of a chunk (at most 512 MiB).

        Parameters
        ----------
        max_bytes
            Most bytes that the patterns of a block may take.
        positions
            Boolean mask of the scan, or flat positions: only these are yielded, and chunks without any are
            not read.
        """
        columns = self.scan_shape[1]
        flat = np.arange(self.n_positions) if positions is None else positions
        wanted = np.zeros(self.n_positions, dtype=bool)
        wanted[flat_positions(flat, self.n_positions)] = True
        wanted = wanted.reshape(self.scan_shape)
        for (rows, cols), tile in self._rectangles(max_bytes, wanted):
            inside = wanted[rows, cols]
            y, x = np.nonzero(inside)
            frames = tile.reshape(-1, *self.detector_shape) if inside.all() else tile[inside]
            yield ScanBlock(((y + rows.start) * columns + x + cols.start).astype(np.int64), frames)
            del tile, frames

    def _rectangles(
        self, max_bytes: int, wanted: NDArray[np.bool_]
    ) -> Iterator[tuple[tuple[slice, slice], NDArray[Any]]]:
        if self.in_file is None:
            return scan_rectangles(self.data, max_bytes=max_bytes, wanted=wanted)
        columns = self.scan_shape[1]
        return stack_rectangles(self.in_file.stack, columns=columns, max_bytes=max_bytes, wanted=wanted)

    def with_calibration(self, calibration: Calibration) -> DataCube:
        """The same data with another calibration."""
        made = replace(self, calibration=calibration)
        object.__setattr__(made, "_opened_as", self._opened_as)
        return made

    def with_recipe(self, recipe: Mapping[str, Any]) -> DataCube:
        """The same data, of which it is known by now how they were to be read."""
        made = replace(self, recipe=recipe)
        object.__setattr__(made, "_opened_as", self._opened_as)
        return made

    def reshaped(self, scan_shape: tuple[int, int]) -> DataCube:
        """The same patterns, in the order they were recorded, as a scan of another shape."""
        rows, columns = self.scan_shape
        if self.in_file is not None:
            stack = self.in_file.stack
        elif columns == 1 or rows == 1 or _row_bytes(self.data) <= BLOCK_BYTES:
            stack = self.data.reshape((self.n_positions, *self.detector_shape))
        else:
            stack = da.concatenate([self.data[row] for row in range(rows)])
        data = stack_to_scan(stack, scan_shape)
        as_it_lies = self.in_file is not None or len(self.data.chunks[1]) == 1
        in_file = FramesInFile.of(stack, data) if as_it_lies else None
        missing = None if self.missing is None else self.missing.reshape(scan_shape)
        return replace(self, data=data, in_file=in_file, missing=missing)


# The scans of this process that are read from files, as the operating system knows of open files: no handle is held, so
# it does not keep anybody from writing over them.
_open_scans: WeakSet[DataCube] = WeakSet()
_adding = threading.Lock()


def files_in_use() -> list[Path]:
    """The files and folders that the scans of this process are read from, as long as there is somebody to read them."""
    with _adding:
        return list(dict.fromkeys(scan.path for scan in _open_scans if scan.path is not None))


def _size_and_time(path: Path) -> tuple[int, int]:
    """Size in bytes and time of the last change of a file; of a folder (.zarr), of all files in it together.

    The folder's own time does not change when a chunk is written anew. Of a folder of very many files, those that are
    met first stand for the rest: this must not take longer than a window can wait.
    """
    status = path.stat()
    if not path.is_dir():
        return status.st_size, status.st_mtime_ns
    files = (entry for entry in islice(path.rglob("*"), _MOST_FILES_LOOKED_AT) if entry.is_file())
    found = [entry.stat() for entry in files]
    times = [status.st_mtime_ns, *(each.st_mtime_ns for each in found)]
    return sum(each.st_size for each in found), max(times)


def scan_shape_proposals(n_frames: int) -> list[tuple[int, int]]:
    """Scan shapes (rows, columns) that a stack of ``n_frames`` patterns can have, most square first."""
    if n_frames < 1:
        raise ValueError(f"a stack of {n_frames} patterns has no scan shape")
    proposals: list[tuple[int, int]] = []
    for rows in range(math.isqrt(n_frames), 0, -1):
        if n_frames % rows == 0:
            columns = n_frames // rows
            proposals += [(rows, columns)] if rows == columns else [(rows, columns), (columns, rows)]
    return proposals


def stack_to_scan(stack: da.Array, scan_shape: tuple[int, int]) -> da.Array:
    """(rows, columns, det_y, det_x) from a stack (n_frames, det_y, det_x), row by row; nothing is read."""
    rows, columns = int(scan_shape[0]), int(scan_shape[1])
    n_frames = int(stack.shape[0])
    if rows < 1 or columns < 1 or rows * columns != n_frames:
        advice = " or ".join(f"{y} x {x}" for y, x in scan_shape_proposals(n_frames)[:2])
        raise ValueError(f"scan shape {rows} x {columns} does not divide {n_frames:,} frames; try {advice}")
    pattern_bytes = int(np.prod(stack.shape[1:])) * stack.dtype.itemsize
    if columns * pattern_bytes > BLOCK_BYTES:
        lines = [stack[row * columns : (row + 1) * columns] for row in range(rows)]
        return chunked_by_pattern(da.stack(lines))
    per_chunk = max(1, CHUNK_BYTES // (columns * pattern_bytes)) * columns
    stack = stack.rechunk({0: per_chunk, 1: -1, 2: -1})
    return stack.reshape((rows, columns, *stack.shape[1:]))


def chunked_by_pattern(data: da.Array) -> da.Array:
    """The same scan with whole patterns in chunks of a size that blocks can be made of.

    Chunks that do not divide a pattern stay as they are where all of one can be held in memory; others are put together
    as they lie side by side on the detector.
    """
    whole = all(len(data.chunks[axis]) == 1 for axis in (2, 3))
    pattern_bytes = int(np.prod(data.shape[2:])) * data.dtype.itemsize
    largest = max(data.chunks[0]) * max(data.chunks[1]) * pattern_bytes
    tiny = data.npartitions > 64 and largest < CHUNK_BYTES // 8
    if largest <= SLAB_BYTES and not tiny:
        return data if whole else data.rechunk({2: -1, 3: -1})
    per_chunk = max(1, CHUNK_BYTES // pattern_bytes)
    columns = min(int(data.shape[1]), per_chunk)
    rows = min(int(data.shape[0]), max(1, per_chunk // columns))
    return data.rechunk((rows, columns, -1, -1))


def _row_bytes(data: da.Array) -> int:
    return int(np.prod(data.shape[1:]) * data.dtype.itemsize)
