"""Calibrated: what a calibration has done so far; and the jobs that do the parts of a choice one after the other."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_stem_orient.core.errors import UserError
from napari_stem_orient.core.merged_calibration import taken_from
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.steps.calibrate import (
    CalibrateChoice,
    confirmed,
    confirmed_title,
    entered,
    taken_from_file,
)
from napari_stem_orient.steps.crystals import loaded
from napari_stem_orient.steps.recorded import recorded, with_steps_of_map
from napari_stem_orient.steps.standard import pattern_of_standard

if TYPE_CHECKING:
    from napari_stem_orient.calibration.fit import CalibrationFit
    from napari_stem_orient.core.bragg_peaks import BraggPeaks
    from napari_stem_orient.core.crystal import Crystal
    from napari_stem_orient.core.orientation_map import OrientationMap
    from napari_stem_orient.indexing.joint_calibration import JointCalibration, RefinementProgress
    from napari_stem_orient.virtual.diffraction import DiffractionBlock


@dataclass(frozen=True, slots=True, eq=False)
class Calibrated:
    """Record: one part of a choice is done, or none yet.

    Parameters
    ----------
    peaks
        With all that is done applied.
    progress
        How many parts are done.
    part
        What was done; None before anything is.
    fit
        What was found; where a refinement gains nothing, the calibration in it is as it was.
    crystals
        Whose rings it was made with.
    joint
        What a refinement from a map has found.
    """

    peaks: BraggPeaks
    progress: Progress
    part: CalibrateChoice | None = None
    fit: CalibrationFit | None = None
    crystals: tuple[Crystal, ...] = ()
    joint: JointCalibration | None = None


def calibrate(
    choice: CalibrateChoice,
    peaks: BraggPeaks,
    *,
    crystals: tuple[Crystal, ...] | None = None,
    orientation_map: OrientationMap | None = None,
) -> Generator[Calibrated | RefinementProgress | DiffractionBlock, None, BraggPeaks]:
    """Calibrate peaks: one part of the choice after the other, each on the peaks as the ones before have left them.

    Parameters
    ----------
    choice
        What is done.
    peaks
        To be calibrated.
    crystals
        Those of the choice, where they are there already.
    orientation_map
        Of these peaks; needed to refine from it.

    Yields
    ------
    Calibrated after each part, and before the first; and what the longer ones tell along the way.

    Raises
    ------
    ValueError, OSError
        A part is not possible with these peaks, or a file cannot be read.
    """
    parts = choice.parts()
    if crystals is None:
        crystals = loaded(choice.crystals)
    yield Calibrated(peaks, Progress(0, len(parts), "parts"))
    for done, part in enumerate(parts, start=1):
        fit, joint, made_with = yield from _found(part, peaks, crystals, orientation_map)
        if joint is None or joint.gains:
            peaks = _applied(part, fit, peaks, orientation_map)
        else:
            fit = replace(fit, calibration=peaks.calibration, origin_px=peaks.origin_px)
        progress = Progress(done, len(parts), "parts")
        yield Calibrated(peaks, progress, part, fit, made_with, joint)
    return peaks


def _found(
    part: CalibrateChoice,
    peaks: BraggPeaks,
    crystals: tuple[Crystal, ...],
    orientation_map: OrientationMap | None,
) -> Generator[
    RefinementProgress | DiffractionBlock,
    None,
    tuple[CalibrationFit, JointCalibration | None, tuple[Crystal, ...]],
]:
    """What one part finds, and the crystals that it is made with."""
    from napari_stem_orient.calibration.fit import CalibrationFit

    if part.source is not None:
        return taken_from_file(part, peaks.calibration, n_positions=peaks.n_positions), None, ()
    if part.given.root:
        return entered(part.given, peaks.calibration, origin_px=peaks.origin_px), None, ()
    if part.confirmed or part.unconfirmed:
        calibration = confirmed(part, peaks.calibration)
        return CalibrationFit(confirmed_title(part), calibration, peaks.origin_px), None, ()
    if part.rings is not None:
        return (yield from _of_standard(part, peaks, crystals[0])), None, ()
    if part.refine:
        joint = yield from _refined(part, peaks, orientation_map)
        return joint.fit, joint, ()
    return _fitted(part, peaks, crystals), None, crystals if "origin" not in part.wanted_fits else ()


def _applied(
    part: CalibrateChoice, fit: CalibrationFit, peaks: BraggPeaks, orientation_map: OrientationMap | None
) -> BraggPeaks:
    """The peaks with what a part has found, and with the part, and the map that it needs, in their recipe."""
    before = peaks.recipe
    if part.refine and orientation_map is not None:
        before = with_steps_of_map(before, orientation_map.recipe)
    # peaks that were opened, and of which something is confirmed, shall keep their q to the last digit
    same_q = part.confirmed or part.unconfirmed
    made = peaks.with_checked(fit.calibration) if same_q else fit.applied_to(peaks)
    return made.with_recipe(recorded(before, part))


def _fitted(part: CalibrateChoice, peaks: BraggPeaks, crystals: tuple[Crystal, ...]) -> CalibrationFit:
    from napari_stem_orient.calibration import origin, shape

    if part.fits == ("origin",):
        return origin.fit_origins(peaks, parameters=origin.OriginParameters(model=part.origin_model))
    if part.fits == ("ellipse",):
        return shape.fit_ellipse(peaks, crystals)
    fit = shape.fit_pixel_size if part.fits == ("pixel size",) else shape.fit_shape
    return fit(peaks, crystals)


def _refined(
    part: CalibrateChoice, peaks: BraggPeaks, orientation_map: OrientationMap | None
) -> Generator[RefinementProgress, None, JointCalibration]:
    from napari_stem_orient.indexing.joint_calibration import refine_calibration

    if orientation_map is None:
        raise UserError("there is no map to refine from", fix="index the peaks first", field="refine")
    return (yield from refine_calibration(peaks, orientation_map, device=part.device))


def _of_standard(
    part: CalibrateChoice, peaks: BraggPeaks, crystal: Crystal
) -> Generator[DiffractionBlock, None, CalibrationFit]:
    """Ellipse and pixel size from the rings of a standard, made ready for these peaks, whose direct beam stays."""
    from napari_stem_orient.calibration.fit import CalibrationFit
    from napari_stem_orient.calibration.measured import Doubt, DoubtKind, Measurand
    from napari_stem_orient.calibration.ring_pattern import fit_ring_pattern

    assert part.rings is not None
    image, _ = yield from pattern_of_standard(part.rings, part.standard)
    found = fit_ring_pattern(image, crystal, start=peaks.calibration)
    calibration = taken_from(peaks.calibration, found.calibration, ("ellipse", "pixel size"))
    of_picture = (Measurand.ORIGIN_ROW, Measurand.ORIGIN_COLUMN)
    told = tuple(each for each in found.measured if each.what not in of_picture)
    doubts = found.doubts
    if peaks.detector_shape is not None and image.shape != peaks.detector_shape:
        doubts += (Doubt(DoubtKind.OTHER_DETECTOR, sizes=(image.shape, peaks.detector_shape)),)
    return CalibrationFit(f"Pixel size from {part.rings.name}", calibration, None, told, doubts)


def calibrate_standard(
    choice: CalibrateChoice, *, crystals: tuple[Crystal, ...] | None = None
) -> Generator[Calibrated | DiffractionBlock, None, CalibrationFit]:
    """The calibration of a microscope from the rings of a standard alone, without any peaks.

    What is taken from a file, given and confirmed is what is known before the rings are fitted.
    """
    from napari_stem_orient.calibration.ring_pattern import fit_ring_pattern

    assert choice.rings is not None
    (crystal,) = loaded(choice.crystals) if crystals is None else crystals
    image, known = yield from pattern_of_standard(choice.rings, choice.standard)
    for part in choice.parts():
        if part.source is not None:
            known = taken_from_file(part, known).calibration
        elif part.given.root:
            known = entered(part.given, known).calibration
        elif part.confirmed or part.unconfirmed:
            known = confirmed(part, known)
    return fit_ring_pattern(image, crystal, start=known)
