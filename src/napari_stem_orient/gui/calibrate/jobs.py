"""The pictures and the table of the Calibrate stage; what is heavy is imported in the worker's thread."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.orientation_map import OrientationMap

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_stem_orient.calibration.bragg_vector_map import BraggVectorMap, RadialHistogram
    from napari_stem_orient.calibration.rings import Rings
    from napari_stem_orient.indexing.sensitivity import SensitivityProgress, SensitivityTable
    from napari_stem_orient.session.calibration_state import CalibrationState

MAP_SIZE = 160
"""Pixels of a Bragg vector map along its edge: a disk shall be seen on a picture of this size."""
View = Literal["map", "histogram", "origin"]


# --- pictures ---


@dataclass(frozen=True, slots=True, eq=False)
class OriginPicture:
    """The direct beam over the scan, rows and columns in px.

    Attributes
    ----------
    measured : (scan_y, scan_x, 2) float32; where it was found, NaN where it was not
    used : (scan_y, scan_x, 2) float32; what the calibration takes
    """

    measured: NDArray[np.float32]
    used: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One view of the calibration; what belongs to the other views is None."""

    vector_map: BraggVectorMap | None = None
    histogram: RadialHistogram | None = None
    origin: OriginPicture | None = None


@dataclass(frozen=True, slots=True, eq=False)
class BeforeAndAfter:
    """A view before the last change (None where nothing was done) and now, and the rings of the crystals."""

    view: View
    before: Picture | None
    after: Picture
    rings: tuple[tuple[str, Rings], ...]


def pictures(
    view: View, peaks: BraggPeaks, before: CalibrationState | None, crystals: tuple[Crystal, ...]
) -> BeforeAndAfter:
    """Draw up a view of the peaks as they were and as they are."""
    after = picture(view, peaks)
    earlier = None if before is None else picture(view, before.applied_to(peaks))
    rings = () if view == "origin" or not peaks.n_peaks else _rings(peaks, crystals)
    return BeforeAndAfter(view, earlier, after, rings)


def picture(view: View, peaks: BraggPeaks) -> Picture:
    """Draw up one view of the peaks."""
    if view == "origin":
        return Picture(origin=_origin_picture(peaks))
    from napari_stem_orient.calibration.bragg_vector_map import bragg_vector_map, radial_histogram

    if view == "map":
        return Picture(vector_map=bragg_vector_map(peaks, size=MAP_SIZE))
    return Picture(histogram=radial_histogram(peaks))


def _origin_picture(peaks: BraggPeaks) -> OriginPicture:
    import numpy as np

    from napari_stem_orient.calibration.origin import measured_origins

    measured = measured_origins(peaks).reshape(*peaks.scan_shape, 2)
    used = peaks.origin_at(0, 0) if peaks.origin_px is None else peaks.origin_px.reshape(measured.shape)
    return OriginPicture(measured, np.broadcast_to(used, measured.shape))


def _rings(peaks: BraggPeaks, crystals: tuple[Crystal, ...]) -> tuple[tuple[str, Rings], ...]:
    from napari_stem_orient.calibration.rings import crystal_rings

    reach = peaks.reach(part=0.995)
    if peaks.calibration.pixel_size_inv_angstrom is None or not reach:
        return ()
    return tuple((crystal.name, crystal_rings(crystal, q_max=reach)) for crystal in crystals)


# --- after indexing ---


def sensitivity_job(
    peaks: BraggPeaks, orientation_map: OrientationMap, models: tuple[Path, ...]
) -> Generator[SensitivityProgress, None, SensitivityTable]:
    """Index a sample of a map again with other pixel sizes."""
    from napari_stem_orient.indexing.sensitivity import calibration_sensitivity

    return (yield from calibration_sensitivity(peaks, orientation_map, models=models))
