"""A standard with rings: the pattern of its picture, or the mean pattern of its scan."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.steps.open import OpenChoice, open_scan

if TYPE_CHECKING:
    from napari_stem_orient.core.datacube import DataCube
    from napari_stem_orient.virtual.diffraction import DiffractionBlock


def pattern_of_standard(
    path: Path, choice: OpenChoice
) -> Generator[DiffractionBlock, None, tuple[NDArray[Any], Calibration]]:
    """A picture, or the mean of all patterns where the file holds several; and what it says of its calibration.

    Pixels that are no number in one pattern are left out of it. Peak memory: one block of the file and its mean.

    Returns
    -------
    image : (h, w)
    calibration : knows nothing where the file is a picture
    """
    from napari_stem_orient.io.pictures import open_picture
    from napari_stem_orient.virtual.diffraction import virtual_diffraction

    picture = open_picture(path)
    if picture is not None:
        return picture, Calibration()
    datacube = _scan_of_standard(path, choice)
    everywhere = np.ones(datacube.scan_shape, dtype=np.bool_)
    return (yield from virtual_diffraction(datacube, everywhere)).mean, datacube.calibration


def _scan_of_standard(path: Path, choice: OpenChoice) -> DataCube:
    """The scan; one pattern, and patterns of which nobody knows how they were scanned, do as well."""
    from napari_stem_orient.io.scan_source import NeedsScanShape, SingleImage

    try:
        return open_scan(path, choice)
    except SingleImage:
        return open_scan(path, choice.changed(scan_shape=(1, 1)))
    except NeedsScanShape as stack:
        return open_scan(path, choice.changed(scan_shape=(1, stack.n_frames)))
