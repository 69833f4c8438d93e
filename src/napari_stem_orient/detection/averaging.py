"""The frames that the detector searches: the patterns of the scan, averaged with their neighbours where asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_stem_orient.core.datacube import DataCube, ScanBlock
from napari_stem_orient.detection.parameters import DetectionParameters


@dataclass(frozen=True, slots=True, eq=False)
class SearchBlock(ScanBlock):
    """Frames to search, on the scale of one pattern.

    ``exposures`` (m,) float32: how many patterns each frame is worth, 1 where nothing was averaged. A disk counts
    as many electrons as ``exposures`` patterns have, so the detector's gain is ``counts_per_electron / exposures``.
    """

    exposures: NDArray[np.float32]


def frames_to_search(
    datacube: DataCube, parameters: DetectionParameters, positions: ArrayLike | None = None
) -> Iterator[SearchBlock]:
    """Frames of the wanted positions block by block, as `DataCube.scan_blocks` gives them, averaged where asked for.

    Parameters
    ----------
    datacube
        The scan.
    parameters
        Say whether to average.
    positions
        Boolean mask of the scan, or flat positions; all of them where None.
    """
    for block in datacube.scan_blocks(positions=positions):
        yield SearchBlock(block.positions, block.frames, np.ones(len(block.positions), dtype=np.float32))


def averaged_pattern(
    datacube: DataCube, parameters: DetectionParameters, y: int, x: int
) -> tuple[NDArray[np.float32], DetectionParameters]:
    """The frame that is searched at scan row ``y`` and column ``x``, and the parameters to search it with.

    Returns
    -------
    frame
        (det_y, det_x) float32.
    parameters
        Those given, with the gain that an averaged frame has.
    """
    return datacube.pattern(y, x), parameters
