"""Virtual images and the mean pattern of a scan, a coarse subsample first and then the rest."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_stem_orient.core.progress import Progress
from napari_stem_orient.core.scan_reading import computed

if TYPE_CHECKING:
    from napari_stem_orient.core.datacube import DataCube

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]
FindBad = Callable[[NDArray[Any]], Mask]

#: Bytes read between two records: a fraction of a second from a disk.
RECORD_BYTES = 16 * 2**20
#: Bytes of chunks that the first coarse grid may touch: it sets the direct beam and gives the first image.
FIRST_BYTES = 128 * 2**20
#: Seconds that the second, finer coarse grid aims at.
COARSE_SECONDS = 1.0
#: Patterns from all over the scan that tell bad pixels, and the most bytes that they may take.
SAMPLE_FRAMES, SAMPLE_BYTES = 64, 32 * 2**20


@dataclass(frozen=True, slots=True, eq=False)
class SummaryBlock:
    """Virtual-image values of some probe positions.

    Parameters
    ----------
    positions
        (m,) int64; flat row-major probe positions.
    dark_field, bright_field
        (m,) float32; sums outside and inside the direct beam's disk.
    mean_pattern
        (det_y, det_x) float32; mean of the patterns read so far.
    progress
        How far the summary is, in patterns.
    stride
        Rows and columns that each position stands for until its neighbours are read: (1, 1) for final values.
    """

    positions: NDArray[np.int64]
    dark_field: Float32
    bright_field: Float32
    mean_pattern: Float32
    progress: Progress
    stride: tuple[int, int] = (1, 1)

    def paint(self, image: NDArray[Any], *, values: NDArray[Any] | None = None) -> None:
        """Write the values into ``image`` (scan_y, scan_x) in place; coarse ones fill their whole stride.

        ``values`` (m,) are the dark-field sums where None.
        """
        values = self.dark_field if values is None else values
        y, x = np.divmod(self.positions, image.shape[1])
        rows, columns = self.stride
        if (rows, columns) == (1, 1):
            image[y, x] = values
            return
        shift_y, shift_x = np.meshgrid(
            np.arange(rows) - rows // 2, np.arange(columns) - columns // 2, indexing="ij"
        )
        fill_y = y[:, None] + shift_y.ravel()
        fill_x = x[:, None] + shift_x.ravel()
        inside = (fill_y >= 0) & (fill_y < image.shape[0]) & (fill_x >= 0) & (fill_x < image.shape[1])
        image[fill_y[inside], fill_x[inside]] = np.broadcast_to(values[:, None], fill_y.shape)[inside]


@dataclass(frozen=True, slots=True, eq=False)
class ScanSummary:
    """What a whole scan looks like.

    Parameters
    ----------
    dark_field, bright_field
        (scan_y, scan_x) float32; sums between the dark-field radii, and inside the inner one.
    mean_pattern, maximum_pattern
        (det_y, det_x) float32; mean and largest value of each detector pixel over the scan.
    dark_field_radii_px
        Inner and outer radius of the dark-field annulus in px.
    direct_beam_px
        Row and column of the direct beam in the first patterns read, in px.
    n_invalid
        Number of patterns that hold NaN or infinite values, which count as 0.
    n_masked
        Number of detector pixels that are counted in neither dark nor bright field.
    """

    dark_field: Float32
    bright_field: Float32
    mean_pattern: Float32
    maximum_pattern: Float32
    dark_field_radii_px: tuple[float, float]
    direct_beam_px: tuple[float, float]
    n_invalid: int = 0
    n_masked: int = 0


def summarise(
    datacube: DataCube,
    *,
    dark_field_radii_px: tuple[float, float] | None = None,
    find_bad: FindBad | None = None,
) -> Generator[SummaryBlock, None, ScanSummary]:
    """Virtual dark field, bright field, mean and maximum pattern of a scan.

    A coarse grid of positions comes first, so that there is an image at once, then the scan block by
    block. Peak memory: about 150 MB beside dask's chunks, whatever the size of the scan.

    Parameters
    ----------
    datacube
        The scan.
    dark_field_radii_px
        Inner and outer radius of the dark-field annulus in px; measured on the first patterns where None:
        all that lies outside the direct beam's disk.
    find_bad
        Gives the pixels (det_y, det_x) bool that are not to be counted, from patterns (n, det_y, det_x) of all parts of
        the scan. It is asked once there is a first image; patterns of mean and maximum show these pixels all the same.
    """
    reader = _Reader(datacube, dark_field_radii_px)
    is_small = datacube.data.nbytes <= 2 * RECORD_BYTES
    if is_small:  # read twice sooner than the first image could wait
        summary = yield from _whole_scan(datacube, reader)
    else:
        yield from _coarse_blocks(datacube, reader)
    found = False if find_bad is None else reader.leave_out(find_bad)
    if not is_small or found:
        summary = yield from _whole_scan(datacube, reader)
    return summary


def _whole_scan(datacube: DataCube, reader: _Reader) -> Generator[SummaryBlock, None, ScanSummary]:
    shape = datacube.scan_shape
    dark, bright = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    done = 0
    reader.start_whole_scan()
    for scan_block in datacube.scan_blocks(max_bytes=RECORD_BYTES):
        done += len(scan_block.positions)
        progress = Progress(done, datacube.n_positions, "patterns")
        block = reader.block(scan_block.positions, scan_block.frames, progress, (1, 1))
        dark.flat[block.positions] = block.dark_field
        bright.flat[block.positions] = block.bright_field
        yield block
    return reader.summary(dark, bright)


def _coarse_blocks(datacube: DataCube, reader: _Reader) -> Iterator[SummaryBlock]:
    """A handful of patterns from all over the scan, then a grid as fine as about a second allows."""
    progress = Progress(0, datacube.n_positions, "patterns")
    start = time.perf_counter()
    grid = _coarse_grid(datacube, 4 if 16 * _chunk_bytes(datacube) <= FIRST_BYTES else 2)
    parts = [_patterns_of(datacube, part) for part in _parts(datacube, grid)]
    positions = np.concatenate([positions for positions, _ in parts])
    frames = np.concatenate([frames for _, frames in parts])
    yield reader.block(positions, frames, progress, (grid[0].step, grid[1].step))
    seconds_each = (time.perf_counter() - start) / len(positions)
    grid = _coarse_grid(datacube, int(np.clip(np.sqrt(COARSE_SECONDS / seconds_each), 6, 48)))
    for part in _parts(datacube, grid):
        positions, frames = _patterns_of(datacube, part)
        yield reader.block(positions, frames, progress, (grid[0].step, grid[1].step))


class _Reader:
    """Sums over the patterns read so far, with the masks that the first of them set."""

    def __init__(self, datacube: DataCube, radii_px: tuple[float, float] | None) -> None:
        self._shape = datacube.detector_shape
        self._missing = None if datacube.missing is None else datacube.missing.ravel()
        self._sample: _Sample | None = _Sample(self._shape)
        self._bad = np.zeros(self._shape, dtype=bool)
        self._given_radii, self._radii = radii_px, radii_px
        self._beam: tuple[float, float] = (0.0, 0.0)
        self._weights: Float32 | None = None
        self._coarse, self._sum = np.zeros(self._shape), np.zeros(self._shape)
        self._n_coarse = self._n_patterns = 0
        self.start_whole_scan()

    def start_whole_scan(self) -> None:
        """Forget all sums but the coarse mean."""
        if self._weights is not None:
            self._coarse, self._n_coarse = self._sum, self._n_patterns
        self._sum = np.zeros(self._shape)
        self._maximum = np.full(self._shape, -np.inf, dtype=np.float32)
        self._n_patterns = 0
        self._n_invalid = 0

    def block(
        self,
        positions: NDArray[np.int64],
        frames: NDArray[Any],
        progress: Progress,
        stride: tuple[int, int],
    ) -> SummaryBlock:
        """Values of the patterns ``frames`` (m, det_y, det_x)."""
        if self._sample is not None:
            self._sample.take(frames if self._missing is None else frames[~self._missing[positions]])
        frames = frames.astype(np.float32)
        if not np.isfinite(frames.sum()):
            invalid = ~np.isfinite(frames)
            self._n_invalid += int(invalid.any(axis=(1, 2)).sum())
            frames[invalid] = 0
        self._sum += frames.sum(axis=0)
        np.maximum(self._maximum, frames.max(axis=0), out=self._maximum)
        self._n_patterns += len(frames)
        n_seen = self._n_coarse + self._n_patterns
        mean = ((self._coarse + self._sum) / n_seen).astype(np.float32)
        if self._weights is None:
            self._weights = self._masks(mean)
        sums = frames.reshape(len(frames), -1) @ self._weights
        return SummaryBlock(positions, sums[:, 0].copy(), sums[:, 1].copy(), mean, progress, stride)

    def leave_out(self, find_bad: FindBad) -> bool:
        """Count bad pixels no more, and look for the direct beam among the others; whether there are any."""
        assert self._sample is not None
        frames, self._sample = self._sample.frames(), None
        if not len(frames):
            return False
        self._bad = find_bad(frames)
        if self._bad.any():  # what has been read tells where the beam is
            mean = ((self._coarse + self._sum) / (self._n_coarse + self._n_patterns)).astype(np.float32)
            self._radii = self._given_radii
            self._weights = self._masks(mean)
        return bool(self._bad.any())

    def summary(self, dark_field: Float32, bright_field: Float32) -> ScanSummary:
        """The result, once the whole scan has been read."""
        assert self._radii is not None
        mean = (self._sum / self._n_patterns).astype(np.float32)
        return ScanSummary(
            dark_field,
            bright_field,
            mean,
            self._maximum,
            self._radii,
            self._beam,
            self._n_invalid,
            n_masked=int(self._bad.sum()),
        )

    def _masks(self, mean_pattern: Float32) -> Float32:
        """(n_pixels, 2) float32; what a pixel adds to dark field and to bright field."""
        y, x, radius = direct_beam_disk(mean_pattern, mask=self._bad)
        self._beam = (y, x)
        if self._radii is None:
            self._radii = (1.5 * radius + 1, float(np.hypot(*self._shape)))
        inner, outer = self._radii
        rows, columns = np.indices(self._shape)
        distance = np.hypot(rows - y, columns - x).ravel()
        usable = ~self._bad.ravel()
        masks = [(distance >= inner) & (distance <= outer) & usable, (distance < inner) & usable]
        return np.asarray(np.stack(masks, axis=1), dtype=np.float32)


class _Sample:
    """Some patterns from all parts of what is read, however much that is."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self._kept: list[NDArray[Any]] = []
        self._n_seen, self._every = 0, 1
        self._most = int(np.clip(SAMPLE_BYTES // (4 * shape[0] * shape[1]), 4, SAMPLE_FRAMES))

    def take(self, frames: NDArray[Any]) -> None:
        """Keep every few of the patterns (m, det_y, det_x), fewer the more there were."""
        for frame in frames[-self._n_seen % self._every :: self._every]:
            self._kept.append(frame.copy())
        self._n_seen += len(frames)
        while len(self._kept) > 2 * self._most:
            self._kept = self._kept[::2]
            self._every *= 2

    def frames(self) -> NDArray[Any]:
        """(n, det_y, det_x); what was kept."""
        return np.stack(self._kept) if self._kept else np.empty((0, 1, 1))


def direct_beam_disk(mean_pattern: Float32, *, mask: Mask | None = None) -> tuple[float, float, float]:
    """Row, column and radius in px of the brightest disk of a mean pattern; the middle where it is empty.

    In the place of pixels of the ``mask`` (det_y, det_x), where it is True, their nearest neighbours count.
    """
    if mask is not None and mask.any() and not mask.all():
        nearest = ndimage.distance_transform_edt(mask, return_distances=False, return_indices=True)
        mean_pattern = mean_pattern[tuple(nearest)]
    smooth = ndimage.median_filter(mean_pattern, size=3) if min(mean_pattern.shape) >= 8 else mean_pattern
    low, high = float(smooth.min()), float(smooth.max())
    if not high > low:
        return (mean_pattern.shape[0] - 1) / 2, (mean_pattern.shape[1] - 1) / 2, 1.0
    labels, _ = ndimage.label(smooth > (low + high) / 2)
    disk = labels == labels[np.unravel_index(int(np.argmax(smooth)), smooth.shape)]
    rows, columns = np.nonzero(disk)
    return float(rows.mean()), float(columns.mean()), float(np.sqrt(disk.sum() / np.pi))


def _chunk_bytes(datacube: DataCube) -> int:
    data = datacube.data
    return int(max(data.chunks[0]) * max(data.chunks[1]) * data[0, 0].nbytes)


def _coarse_grid(datacube: DataCube, count: int) -> tuple[slice, slice]:
    """Rows and columns of a grid of about count x count positions, each in the middle of its stride."""
    slices = []
    for size in datacube.scan_shape:
        stride = -(-size // count)
        n_strides = -(-size // stride)
        slices.append(slice((size - (n_strides - 1) * stride) // 2, size, stride))
    return slices[0], slices[1]


def _parts(datacube: DataCube, grid: tuple[slice, slice]) -> Iterator[tuple[slice, slice]]:
    """Pieces of a grid whose chunks together take about `RECORD_BYTES`."""
    rows, columns = (range(size)[cut] for size, cut in zip(datacube.scan_shape, grid, strict=True))
    per_part = max(1, RECORD_BYTES // _chunk_bytes(datacube))
    chunks_a_row = min(len(columns), len(datacube.data.chunks[1]))
    n_columns = max(1, len(columns) * min(per_part, chunks_a_row) // chunks_a_row)
    n_rows = max(1, per_part // chunks_a_row)
    for top in range(0, len(rows), n_rows):
        for left in range(0, len(columns), n_columns):
            yield _as_slice(rows[top : top + n_rows]), _as_slice(columns[left : left + n_columns])


def _as_slice(positions: range) -> slice:
    """The same positions as a slice that ends with the last one: dask reads every chunk up to the end."""
    return slice(positions.start, positions[-1] + 1, positions.step)


def _patterns_of(datacube: DataCube, part: tuple[slice, slice]) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Flat positions (m,) and patterns (m, det_y, det_x) of a piece of a grid; only these are read."""
    rows, columns = (np.arange(size)[cut] for size, cut in zip(datacube.scan_shape, part, strict=True))
    positions = (rows[:, None] * datacube.scan_shape[1] + columns).ravel()
    frames = computed(datacube.data[part])
    return positions, frames.reshape(-1, *datacube.detector_shape)
