"""Virtual images: what virtual detectors count at every position of a scan, in one pass over the data."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_stem_orient._version import __version__
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.core.scan_reading import computed
from napari_stem_orient.core.scan_summary import direct_beam_disk
from napari_stem_orient.core.usable_pixels import usable_pixels
from napari_stem_orient.virtual.detector import VirtualDetector
from napari_stem_orient.virtual.detector_counts import DetectorCounter, finite_frames

if TYPE_CHECKING:
    from napari_stem_orient.core.datacube import DataCube

Float32 = NDArray[np.float32]

#: Bytes read between two records: a fraction of a second from a disk.
RECORD_BYTES = 16 * 2**20
#: Bytes of chunks that the coarse image may read ahead of the whole scan, and the part of the scan that they may be.
COARSE_BYTES, COARSE_PART = 256 * 2**20, 0.1

_LARGEST_GRID = 48  # rows and columns of the coarse image
_SAMPLE = 4  # rows and columns of patterns that the direct beam is looked for in


@dataclass(frozen=True, slots=True, eq=False)
class VirtualBlock:
    """Counts of the virtual detectors at some probe positions.

    Parameters
    ----------
    positions
        (m,) int64; flat row-major probe positions.
    counts
        (n_detectors, m) float32.
    progress
        How far the pass over the scan is.
    """

    positions: NDArray[np.int64]
    counts: Float32
    progress: Progress


@dataclass(frozen=True, slots=True, eq=False)
class VirtualImages:
    """The images of some virtual detectors, and what made them.

    Parameters
    ----------
    detectors
        One for each image.
    images
        (n_detectors, scan_y, scan_x) float32; sums of counts in the detector's units. NaN where not read.
    calibration
        Of the scan.
    origin_px
        Mean row and column of the direct beam that the detectors followed, in px.
    n_masked
        Number of detector pixels that were left out.
    n_invalid
        Number of patterns with NaN or infinite values on a detector, which count as 0.
    name, source_fingerprint, software_version
        Name of the scan, fingerprint of its data, and the version that made the images.
    """

    detectors: tuple[VirtualDetector, ...]
    images: Float32
    calibration: Calibration
    origin_px: tuple[float, float] | None = None
    n_masked: int = 0
    n_invalid: int = 0
    name: str = "scan"
    source_fingerprint: str | None = None
    software_version: str = __version__

    @classmethod
    def empty(cls, datacube: DataCube, detectors: Sequence[VirtualDetector]) -> VirtualImages:
        """Images of a scan of which nothing is read yet: all NaN."""
        images = np.full((len(detectors), *datacube.scan_shape), np.nan, dtype=np.float32)
        return cls(
            tuple(detectors),
            images,
            datacube.calibration,
            name=datacube.name,
            source_fingerprint=datacube.fingerprint,
        )

    def fill(self, block: VirtualBlock) -> None:
        """Write the counts of some positions into the images, in place."""
        self.images.reshape(len(self.detectors), -1)[:, block.positions] = block.counts


def virtual_images(
    datacube: DataCube,
    detectors: Sequence[VirtualDetector],
    *,
    origin_px: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    coarse_first: bool = False,
) -> Generator[VirtualBlock, None, VirtualImages]:
    """Images of all virtual detectors in one pass over the scan, block by block.

    Peak memory: about 100 MB beside dask's chunks, whatever the size of the scan.

    Parameters
    ----------
    datacube
        The scan.
    detectors
        At least one; a pixel that the edge of one cuts counts by the share inside.
    origin_px
        (n_positions, 2) row and column of the direct beam at every position in px, or (2,) for the whole scan: what
        detectors follow. Where None, the calibration's, or what a few patterns show.
    mask
        (det_y, det_x) bool; pixels that are True count for no detector.
    coarse_first
        Yield a coarse grid of positions before all others, for an image at once; a tenth of the scan is read twice
        then at most, and nothing of a scan whose chunks are too large for that.

    Raises
    ------
    ValueError
        Where there is no detector, one lies outside the detector's pixels, or ``origin_px`` or ``mask`` have another
        shape; the message says which.
    """
    if not detectors:
        raise ValueError("there is no virtual detector: add at least one")
    usable = usable_pixels(mask, datacube.detector_shape)
    origins = beam_origins(datacube, origin_px, mask=~usable)
    counter = DetectorCounter(detectors, datacube.detector_shape, origins, usable)
    result = VirtualImages.empty(datacube, detectors)
    if coarse_first:
        yield from _coarse_blocks(datacube, counter)
    done = n_invalid = 0
    for scan_block in datacube.scan_blocks(max_bytes=RECORD_BYTES):
        done += len(scan_block.positions)
        counts, invalid = counter.counts(scan_block.positions, scan_block.frames)
        n_invalid += int(invalid.sum())
        block = VirtualBlock(scan_block.positions, counts, Progress(done, datacube.n_positions, "patterns"))
        result.fill(block)
        yield block
    row, column = origins.reshape(-1, 2).mean(axis=0)
    n_masked = int(np.count_nonzero(~usable))
    return replace(result, origin_px=(float(row), float(column)), n_masked=n_masked, n_invalid=n_invalid)


def beam_origins(
    datacube: DataCube, origin_px: ArrayLike | None = None, *, mask: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """Row and column of the direct beam, (2,) or (n_positions, 2) float64, in px.

    What is given, else what the calibration knows, else what a few patterns from all over the scan show. Positions
    where it is not known (NaN) get the mean of the others. Pixels of the ``mask`` (det_y, det_x) show no beam.
    """
    if origin_px is None:
        known = datacube.calibration.origin_px
        return np.asarray(_beam_of_a_sample(datacube, mask) if known is None else known, dtype=np.float64)
    origins = np.array(origin_px, dtype=np.float64)
    if origins.shape not in ((2,), (datacube.n_positions, 2)):
        raise ValueError(
            f"the direct beam's positions have shape {origins.shape}; the scan needs "
            f"({datacube.n_positions:,}, 2), or (2,) for all of it"
        )
    rows = origins.reshape(-1, 2)  # a view
    unknown = ~np.isfinite(rows).all(axis=1)
    if unknown.all():
        return beam_origins(datacube, mask=mask)
    rows[unknown] = rows[~unknown].mean(axis=0)
    return origins


def _coarse_blocks(datacube: DataCube, counter: DetectorCounter) -> Iterator[VirtualBlock]:
    """A grid of positions from all over the scan, chunk by chunk; none where its chunks hold too much."""
    grid = _coarse_grid(datacube)
    if grid is None:
        return
    rows, columns = grid
    chunk_of_row = np.searchsorted(np.cumsum(datacube.data.chunks[0]), rows, side="right")
    for chunk in np.unique(chunk_of_row):
        some = rows[chunk_of_row == chunk]
        frames = computed(datacube.data[some][:, columns])
        positions = (some[:, None] * datacube.scan_shape[1] + columns).ravel()
        counts, _ = counter.counts(positions, frames.reshape(-1, *datacube.detector_shape))
        yield VirtualBlock(positions, counts, Progress(0, datacube.n_positions, "patterns"))


def _coarse_grid(datacube: DataCube) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Rows and columns of the finest grid whose chunks are little to read; None where not even 4 x 4 is."""
    chunks = datacube.data.chunks
    chunk_bytes = max(chunks[0]) * max(chunks[1]) * int(datacube.data[0, 0].nbytes)
    budget = min(COARSE_BYTES, COARSE_PART * datacube.data.nbytes)
    for count in range(_LARGEST_GRID, 3, -1):
        # along an axis that no chunk divides, more positions cost nothing
        counts = [_LARGEST_GRID if len(chunks[axis]) == 1 else count for axis in (0, 1)]
        touched = math.prod(min(n, len(chunks[axis])) for axis, n in enumerate(counts))
        if touched * chunk_bytes <= budget:
            rows, columns = (
                _in_the_middle(size, n) for size, n in zip(datacube.scan_shape, counts, strict=True)
            )
            return rows, columns
    return None


def _in_the_middle(size: int, count: int) -> NDArray[np.int64]:
    """At most ``count`` positions along an axis, each in the middle of an equal stride."""
    stride = -(-size // count)
    return np.arange(min(stride // 2, size - 1), size, stride, dtype=np.int64)


def _beam_of_a_sample(datacube: DataCube, mask: NDArray[np.bool_] | None) -> tuple[float, float]:
    """Row and column in px of the brightest disk in the mean of a few patterns from all over the scan."""
    cuts = tuple(slice(size // (2 * _SAMPLE), None, max(1, size // _SAMPLE)) for size in datacube.scan_shape)
    frames = computed(datacube.data[cuts]).reshape(-1, *datacube.detector_shape)
    row, column, _ = direct_beam_disk(finite_frames(frames).mean(axis=0), mask=mask)
    return row, column
