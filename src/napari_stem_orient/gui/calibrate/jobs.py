"""The jobs of the Calibrate stage; what is heavy is imported in the worker's thread, not in the window's."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.core.progress import Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_stem_orient.calibration.bragg_vector_map import BraggVectorMap, RadialHistogram
    from napari_stem_orient.calibration.fit import CalibrationFit
    from napari_stem_orient.calibration.origin import OriginModel
    from napari_stem_orient.calibration.rings import Rings
    from napari_stem_orient.core.calibration import Quantity
    from napari_stem_orient.indexing.joint_calibration import JointCalibration, RefinementProgress
    from napari_stem_orient.indexing.sensitivity import SensitivityProgress, SensitivityTable
    from napari_stem_orient.session.calibration_state import CalibrationState

Fittable = Literal["origin", "ellipse", "pixel size", "shape"]
"""What can be fitted; "shape" is ellipse and pixel size together."""
IMAGE_ENDINGS = (".npy", ".tif", ".tiff", ".png")
MAP_SIZE = 160
"""Pixels of a Bragg vector map along its edge: a disk shall be seen on a picture of this size."""
View = Literal["map", "histogram", "origin"]


@dataclass(frozen=True, slots=True)
class FitTask:
    """Everything that fits need, fixed when they start; they are done in the order of `quantities`."""

    peaks: BraggPeaks
    quantities: tuple[Fittable, ...]
    crystals: tuple[Crystal, ...] = ()
    origin_model: OriginModel = "plane"


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """One fit is done, or none yet; `peaks` have it applied, and it was made with the rings of `crystals`."""

    fit: CalibrationFit | None
    peaks: BraggPeaks
    progress: Progress
    crystals: tuple[Crystal, ...] = ()


def fit_job(task: FitTask) -> Generator[Fitted, None, None]:
    """Fit one quantity after the other, each with what was found before; a record for each."""
    peaks, total = task.peaks, len(task.quantities)
    yield Fitted(None, peaks, Progress(0, total, "steps"))
    for done, quantity in enumerate(task.quantities, start=1):
        fit = _fit(quantity, peaks, task)
        peaks = fit.applied_to(peaks)
        crystals = () if quantity == "origin" else task.crystals
        yield Fitted(fit, peaks, Progress(done, total, "steps"), crystals)


def _fit(quantity: Fittable, peaks: BraggPeaks, task: FitTask) -> CalibrationFit:
    from napari_stem_orient.calibration import origin, shape

    if quantity == "origin":
        return origin.fit_origins(peaks, parameters=origin.OriginParameters(model=task.origin_model))
    if quantity == "ellipse":
        return shape.fit_ellipse(peaks, task.crystals)
    fit = shape.fit_shape if quantity == "shape" else shape.fit_pixel_size
    return fit(peaks, task.crystals)


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


# --- files ---


def read_and_applied(
    function: Callable[[Path, BraggPeaks], CalibrationFit], path: Path, peaks: BraggPeaks
) -> tuple[CalibrationFit, BraggPeaks]:
    """What a function finds in a file for these peaks, and the peaks with it applied."""
    fit = function(path, peaks)
    return fit, fit.applied_to(peaks)


def calibration_from_file(path: Path, peaks: BraggPeaks, *, rotation_only: bool) -> CalibrationFit:
    """What a scan, peaks, map or calibration file says, made ready for these peaks.

    The direct beam is taken over only where the file has it for each position of a scan of this shape: it was
    measured with the peaks. Of the rest, what the file does not know stays.
    """
    from napari_stem_orient.calibration.fit import CalibrationFit
    from napari_stem_orient.calibration.measured_quantities import values_of
    from napari_stem_orient.core.merged_calibration import known_quantities, taken_from
    from napari_stem_orient.io.calibration_files import read_calibration

    found, origin_px = read_calibration(path)
    if origin_px is not None and (rotation_only or len(origin_px) != peaks.n_positions):
        origin_px = None
    wanted = ("rotation",) if rotation_only else ("ellipse", "pixel size", "rotation")
    quantities: list[Quantity] = [q for q in known_quantities(found) if q in wanted]
    quantities += [] if origin_px is None else ["origin"]
    if not quantities:
        what = "how the detector is turned" if rotation_only else "how the scan is calibrated"
        raise ValueError(f"{path.name} does not say {what}; enter it by hand, or choose another file")
    calibration = taken_from(peaks.calibration, found, quantities, of_scan=not rotation_only)
    told = [value for quantity in quantities for value in values_of(calibration, quantity, origin_px)]
    title = f"{'Rotation' if rotation_only else 'Calibration'} from {path.name}"
    return CalibrationFit(title, calibration, origin_px, tuple(told))


def calibration_from_rings(path: Path, peaks: BraggPeaks, crystal: Crystal) -> CalibrationFit:
    """Ellipse and pixel size from the rings of a standard, made ready for these peaks, whose direct beam stays.

    Peak memory: one block of the file and its mean pattern.
    """
    from napari_stem_orient.calibration.fit import CalibrationFit
    from napari_stem_orient.calibration.measured import Doubt, DoubtKind, Measurand
    from napari_stem_orient.calibration.ring_pattern import fit_ring_pattern
    from napari_stem_orient.core.merged_calibration import taken_from

    image = _ring_image(path)
    found = fit_ring_pattern(image, crystal, start=peaks.calibration)
    calibration = taken_from(peaks.calibration, found.calibration, ("ellipse", "pixel size"))
    of_picture = (Measurand.ORIGIN_ROW, Measurand.ORIGIN_COLUMN)
    told = tuple(each for each in found.measured if each.what not in of_picture)
    doubts = found.doubts
    if peaks.detector_shape is not None and image.shape != peaks.detector_shape:
        doubts += (Doubt(DoubtKind.OTHER_DETECTOR, sizes=(image.shape, peaks.detector_shape)),)
    return CalibrationFit(f"Pixel size from {path.name}", calibration, None, told, doubts)


def _ring_image(path: Path) -> NDArray[np.generic]:
    """A picture (h, w), or the mean pattern where the file holds several."""
    import numpy as np

    if path.suffix.lower() in IMAGE_ENDINGS:
        from skimage.io import imread

        image = np.load(path, mmap_mode="r") if path.suffix.lower() == ".npy" else np.asarray(imread(path))
        colours = image.ndim == 3 and image.shape[-1] in (3, 4)
        image = image[..., :3].mean(axis=-1) if colours else image
        return np.asarray(image.reshape(-1, *image.shape[-2:]).mean(axis=0))
    from napari_stem_orient.core.scan_reading import computed
    from napari_stem_orient.io.scans import open_datacube

    return computed(open_datacube(path).data.mean(axis=(0, 1)))


# --- after indexing ---


def refinement_job(
    peaks: BraggPeaks, orientation_map: OrientationMap
) -> Generator[RefinementProgress, None, tuple[JointCalibration, BraggPeaks]]:
    """Refine the calibration from the disks that a map explains; return it, and the peaks with it applied."""
    from napari_stem_orient.indexing.joint_calibration import refine_calibration

    joint = yield from refine_calibration(peaks, orientation_map)
    return joint, joint.fit.applied_to(peaks)


def sensitivity_job(
    peaks: BraggPeaks, orientation_map: OrientationMap, models: tuple[Path, ...]
) -> Generator[SensitivityProgress, None, SensitivityTable]:
    """Index a sample of a map again with other pixel sizes."""
    from napari_stem_orient.indexing.sensitivity import calibration_sensitivity

    return (yield from calibration_sensitivity(peaks, orientation_map, models=models))
