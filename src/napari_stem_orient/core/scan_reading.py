"""Reading a scan in the order of its file: each chunk once, and what was read in rectangles of the scan."""

from __future__ import annotations

import math
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import dask.array as da
import dask.config
import numpy as np
from dask.base import get_scheduler
from dask.local import get_sync
from dask.optimization import cull
from dask.threaded import get as get_in_threads
from dask.utils import ensure_dict
from numpy.typing import NDArray

#: Bytes that a dask chunk of a scan aims at: small enough for single patterns to come at once.
CHUNK_BYTES = 8 * 2**20
#: Bytes that a block of the scan may take in memory.
BLOCK_BYTES = 64 * 2**20
#: Bytes of whole patterns that are read at once where the chunks of a file run across many patterns: cutting such a
#: chunk would mean to read it again for every part.
SLAB_BYTES = 512 * 2**20

#: dask's tasks by their keys.
Graph = dict[Any, Any]
#: Rows and columns of the scan.
Rectangle = tuple[slice, slice]


def computed(array: da.Array) -> NDArray[Any]:
    """The numbers of a dask array, worked out where the user has chosen, or in threads."""
    return np.asarray(
        array.compute() if chosen_scheduler() is not None else array.compute(scheduler=get_in_threads)
    )


def chosen_scheduler() -> Any:
    """What the user has chosen to compute with: a setting of dask, or a cluster; None where it is left to us.

    A cluster can have been chosen only where `distributed` is imported by now. dask would import it to see, which takes
    half a second that the first picture would wait for.
    """
    is_set = dask.config.get("scheduler", None) is not None
    return get_scheduler() if is_set or "distributed" in sys.modules else None


@dataclass(frozen=True, slots=True, eq=False)
class FramesInFile:
    """The patterns of a scan as they lie in a file that knows no rows: in the order of the scan, row by row.

    Parameters
    ----------
    stack
        (n_positions, det_y, det_x) dask array whose chunks are the file's.
    scan
        Name of the dask array (scan_y, scan_x, det_y, det_x) that was made of it; the stack stands for no other.
    """

    stack: da.Array
    scan: str

    @classmethod
    def of(cls, stack: da.Array, scan: da.Array) -> FramesInFile | None:
        """A stack and the scan made of it; None where a chunk of the stack is too large to be held in memory."""
        whole = stack.rechunk({1: -1, 2: -1})
        fits = max(whole.chunks[0]) * _pattern_bytes(whole) <= SLAB_BYTES
        return cls(whole, scan.name) if fits else None


class ChunkReader:
    """Reads whole chunks of a lazy array, in their order and several at a time; keeps none of them.

    Parameters
    ----------
    data
        Dask array whose last two axes, rows and columns of the detector, are not divided.
    wanted
        Bool, of the shape of the other axes: which positions will be read. For a few, little has to be prepared.
    """

    def __init__(self, data: da.Array, wanted: NDArray[np.bool_]) -> None:
        self.dtype, self.detector_shape = data.dtype, tuple(int(size) for size in data.shape[-2:])
        self._edges = [np.concatenate([[0], np.cumsum(sizes)]).tolist() for sizes in data.chunks[:-2]]
        needed = wanted
        for axis, edges in enumerate(self._edges):
            needed = np.logical_or.reduceat(needed, edges[:-1], axis=axis)
        keys = [(data.name, *number, 0, 0) for number in np.argwhere(needed).tolist()]
        self._data = data
        self._graph: Graph = ensure_dict(data.__dask_optimize__(data.__dask_graph__(), keys))

    def read(self, runs: Sequence[range], *, wanted: NDArray[np.bool_], before: int = 0) -> NDArray[Any]:
        """The chunks whose numbers along each axis of the scan lie in ``runs``, as one array.

        ``wanted`` tells the positions in these chunks that are: chunks without any are not read, and what stands in
        their place means nothing. ``before`` leaves so much room at the beginning of the first axis, to be filled by
        the caller.
        """
        starts = [edges[run.start] for edges, run in zip(self._edges, runs, strict=True)]
        places = {
            number: tuple(
                slice(edges[index] - start, edges[index + 1] - start)
                for edges, index, start in zip(self._edges, number, starts, strict=True)
            )
            for number in product(*runs)
        }
        whole = len(places) == 1 and not before
        places = {number: place for number, place in places.items() if wanted[place].any()}
        graphs = {number: self._needed(number) for number in places}
        # dask's own way for a cluster, or whatever the user has chosen, and where chunks have work in common
        by_dask = chosen_scheduler() is not None or _in_common(list(graphs.values()))
        if whole and places and not by_dask:
            return np.asarray(self._chunk(*graphs.popitem()))
        out = np.empty((wanted.shape[0] + before, *wanted.shape[1:], *self.detector_shape), self.dtype)
        into = out[before:]
        if by_dask:
            chosen = tuple(
                slice(start, start + size) for start, size in zip(starts, wanted.shape, strict=True)
            )
            into[...] = computed(self._data[chosen])
            return out

        def fill(number: tuple[int, ...], place: tuple[slice, ...]) -> None:
            into[place] = self._chunk(number, graphs[number])

        _in_order([partial(fill, *each) for each in places.items()])
        return out

    def _needed(self, number: tuple[int, ...]) -> Graph:
        needed: Graph = cull(self._graph, [(self._data.name, *number, 0, 0)])[0]
        return needed

    def _chunk(self, number: tuple[int, ...], graph: Graph) -> Any:
        return get_sync(graph, (self._data.name, *number, 0, 0))


def _in_common(graphs: Sequence[Graph]) -> bool:
    """Whether some task, not just the array that all is read from, is part of several graphs."""
    counts = Counter(key for graph in graphs for key in graph)
    together = {key: value for graph in graphs for key, value in graph.items() if counts[key] > 1}
    return any(isinstance(value, tuple) or hasattr(value, "func") for value in together.values())


def _in_order(tasks: Sequence[Callable[[], None]]) -> None:
    """Run tasks in dask's threads, as many at a time as there are cores, begun in their order.

    dask begins independent tasks with the one whose name comes last. Names are never used again: a cache of dask's, as
    napari has one, takes tasks of one name for the same and would leave the second out.
    """
    digits, reading = len(str(len(tasks))), uuid.uuid4().hex
    graph = {f"{reading}-{len(tasks) - number:0{digits}d}": (task,) for number, task in enumerate(tasks)}
    get_in_threads(graph, list(graph))


def scan_rectangles(
    data: da.Array, *, max_bytes: int, wanted: NDArray[np.bool_]
) -> Iterator[tuple[Rectangle, NDArray[Any]]]:
    """Rectangles of a scan (scan_y, scan_x, det_y, det_x) and their patterns, in the order of its chunks.

    Peak memory: ``max_bytes``, or a chunk where one is larger.

    Parameters
    ----------
    data
        The scan; no chunk divides a pattern.
    max_bytes
        Most bytes that a rectangle's patterns may take; a single pattern is never divided.
    wanted
        (scan_y, scan_x) bool: rectangles without any are left out, and chunks without any are not read.
    """
    per_block = max(1, max_bytes // _pattern_bytes(data))
    reader: ChunkReader | None = None
    row_chunks, column_chunks = data.chunks[:2]
    for rows, row_run in _runs(row_chunks, per_block // int(data.shape[1])):
        for columns, column_run in _runs(column_chunks, per_block // (rows.stop - rows.start)):
            if not wanted[rows, columns].any():
                continue
            reader = reader or ChunkReader(data, wanted)
            tile = reader.read([row_run, column_run], wanted=wanted[rows, columns])
            for part in _parts(rows, columns, per_block):
                if wanted[part].any():
                    inside = tuple(
                        _moved(cut, -by.start) for cut, by in zip(part, (rows, columns), strict=True)
                    )
                    yield part, tile[inside]
            del tile


def stack_rectangles(
    stack: da.Array, *, columns: int, max_bytes: int, wanted: NDArray[np.bool_]
) -> Iterator[tuple[Rectangle, NDArray[Any]]]:
    """Rectangles of a scan and their patterns, as `scan_rectangles`, from a stack (n_frames, det_y, det_x).

    The chunks of a stack do not end with the rows of the scan: what is left of a short row waits for the next chunk.
    Peak memory: ``max_bytes``, or a chunk where one is larger and half as much more.
    """
    per_block = max(1, max_bytes // _pattern_bytes(stack))
    waits = columns <= per_block // 2  # long rows would be copied many times
    reader: ChunkReader | None = None
    flat = wanted.ravel()
    kept = np.zeros((0, *stack.shape[1:]), stack.dtype)  # the patterns just before `frames`
    for frames, run in _runs(stack.chunks[0], per_block - columns if waits else per_block):
        start, last = frames.start - len(kept), frames.stop == stack.shape[0]
        if not flat[start : frames.stop].any():
            kept = kept[:0]
            continue
        reader = reader or ChunkReader(stack, flat)
        patterns = reader.read([run], wanted=flat[frames], before=len(kept))
        if len(kept):
            patterns[: len(kept)] = kept
        # where the beginning of a row was not wanted, there is less of it
        left = min(frames.stop % columns, len(patterns)) if waits and not last else 0
        for part in _row_parts(start, frames.stop - left, columns, per_block):
            if wanted[part].any():
                first = part[0].start * columns + part[1].start - start
                shape = (part[0].stop - part[0].start, part[1].stop - part[1].start, *stack.shape[1:])
                yield part, patterns[first : first + shape[0] * shape[1]].reshape(shape)
        kept = patterns[len(patterns) - left :].copy()
        del patterns


def _pattern_bytes(data: da.Array) -> int:
    return max(1, math.prod(int(size) for size in data.shape[-2:]) * int(data.dtype.itemsize))


def _moved(cut: slice, by: int) -> slice:
    return slice(cut.start + by, cut.stop + by)


def _runs(chunks: tuple[int, ...], longest: int) -> Iterator[tuple[slice, range]]:
    """Runs of whole chunks along an axis, at most ``longest`` or a single chunk, and the chunks' numbers."""
    start = first = stop = 0
    for number, size in enumerate(chunks):
        if number > first and stop + size - start > longest:
            yield slice(start, stop), range(first, number)
            start, first = stop, number
        stop += size
    yield slice(start, stop), range(first, len(chunks))


def _parts(rows: slice, columns: slice, most: int) -> Iterator[Rectangle]:
    """Rectangles of at most ``most`` positions that make up a rectangle, row by row."""
    width = columns.stop - columns.start
    height = max(1, most // width)
    for top in range(rows.start, rows.stop, height):
        for left in range(columns.start, columns.stop, min(width, most)):
            right = min(left + most, columns.stop)
            yield slice(top, min(top + height, rows.stop)), slice(left, right)


def _row_parts(start: int, stop: int, columns: int, most: int) -> Iterator[Rectangle]:
    """Rectangles of at most ``most`` positions that hold the flat positions from ``start`` to ``stop``, in order."""
    while start < stop:
        row, column = divmod(start, columns)
        if column or stop - start < columns:
            end = min(columns, column + stop - start)
            yield from _parts(slice(row, row + 1), slice(column, end), most)
        else:
            end = (stop - start) // columns * columns
            yield from _parts(slice(row, row + end // columns), slice(0, columns), most)
        start = row * columns + end
