"""Ellipse and pixel size from the disks of a scan, together with the rings of a known crystal or without."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_stem_orient.calibration.fit import CalibrationFit
from napari_stem_orient.calibration.measured import Doubt, DoubtKind, Measurand, Measured
from napari_stem_orient.calibration.measured_quantities import (
    is_far_off,
    measured_ellipse,
    measured_pixel_size,
    strain_error,
)
from napari_stem_orient.calibration.metric import RingMetric, metric_from_strain
from napari_stem_orient.calibration.ring_fit import RingFit, fit_rings
from napari_stem_orient.calibration.ring_points import RingPoints
from napari_stem_orient.calibration.ring_sharpness import sharpest_ellipse
from napari_stem_orient.calibration.rings import Rings, rings_of_all
from napari_stem_orient.calibration.scale_search import ScaleMatch, find_scale
from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.calibration import Calibration, Quantity
from napari_stem_orient.core.crystal import Crystal

#: Pixel sizes within this part of the known one are tried first.
NEAR = 0.12

#: A pixel size farther away is taken only where it fits by so much better (mean log-likelihood of a disk).
FAR_GAIN = 0.15

#: Fits less than this better than disks anywhere, or than another scale, are doubtful.
POOR_FIT, CLOSE_RIVAL = 0.4, 0.15

#: Scattering vectors that a scan reaches at most, in Å⁻¹.
LARGEST_Q = 3.0

#: An ellipse whose strain is less sure than this, without a crystal, is worth a word.
BLURRED = 0.005

#: A centre of the rings so far from the direct beam, in px, is worth a word.
OFF_CENTRE_PX = 0.25


def fit_ellipse(peaks: BraggPeaks, crystals: Sequence[Crystal] = ()) -> CalibrationFit:
    """The ellipse that rings are drawn out to.

    With crystals, their rings tell the length of each disk's vector; without, the ellipse is taken that makes the
    radial histogram sharpest, which needs many orientations.

    Raises
    ------
    ValueError
        Where there are no disks, or too few on rings.
    """
    points = RingPoints.of_peaks(peaks)
    if crystals:
        match, rings = _match(peaks, points, crystals)
        fit = _fit(peaks, points, rings, match)
        calibration = _with_ellipse(peaks.calibration, fit.metric)
        calibration = _marked(calibration, fit, match, peaks.calibration, "ellipse")
        told = (*_ellipse_of(fit), *_quality(fit, len(points)))
        return _result("Ellipse", peaks, calibration, told, _doubts(fit, match, peaks.calibration))
    found = sharpest_ellipse(points, start=RingMetric.of(peaks.calibration).strain)
    metric = metric_from_strain(found.strain, pixel_size=1.0)
    error = strain_error(found.samples)
    told = (
        *measured_ellipse(metric.ellipse, error),
        Measured(Measurand.SHARPNESS, found.sharpness, before=found.sharpness_before),
        Measured(Measurand.DISKS, len(points)),
    )
    calibration = _with_ellipse(peaks.calibration, metric).with_checked("ellipse")
    doubts = [Doubt(DoubtKind.FEW_ORIENTATIONS, error)] if error > BLURRED else []
    return _result("Ellipse", peaks, calibration, told, doubts)


def fit_pixel_size(peaks: BraggPeaks, crystals: Sequence[Crystal]) -> CalibrationFit:
    """Pixel size from the rings of known crystals, also where nothing is known to begin with.

    Raises
    ------
    ValueError
        Where there are no crystals, no disks, or too few on rings.
    """
    points = RingPoints.of_peaks(peaks)
    match, rings = _match(peaks, points, crystals)
    fit = _fit(peaks, points, rings, match)
    calibration = peaks.calibration.updated(pixel_size_inv_angstrom=fit.metric.pixel_size)
    told = (_pixel_size_of(fit, peaks.calibration), *_quality(fit, len(points)))
    doubts = _doubts(fit, match, peaks.calibration)
    difference = np.hypot(*np.subtract(fit.metric.strain, RingMetric.of(peaks.calibration).strain))
    if difference > max(0.005, 3 * strain_error([m.strain for m in fit.samples])):
        doubts.append(Doubt(DoubtKind.RINGS_DRAWN_OUT, fit.metric.ellipse[0]))
    calibration = _marked(calibration, fit, match, peaks.calibration, "pixel size")
    return _result("Pixel size", peaks, calibration, told, doubts)


def fit_shape(peaks: BraggPeaks, crystals: Sequence[Crystal]) -> CalibrationFit:
    """Ellipse and pixel size together from the rings of known crystals; errors as for `fit_pixel_size`."""
    points = RingPoints.of_peaks(peaks)
    match, rings = _match(peaks, points, crystals)
    fit = _fit(peaks, points, rings, match)
    calibration = _with_ellipse(peaks.calibration, fit.metric)
    calibration = calibration.updated(pixel_size_inv_angstrom=fit.metric.pixel_size)
    told = (_pixel_size_of(fit, peaks.calibration), *_ellipse_of(fit), *_quality(fit, len(points)))
    doubts = _doubts(fit, match, peaks.calibration)
    calibration = _marked(calibration, fit, match, peaks.calibration, "ellipse", "pixel size")
    return _result("Ellipse and pixel size", peaks, calibration, told, doubts)


def _match(peaks: BraggPeaks, points: RingPoints, crystals: Sequence[Crystal]) -> tuple[ScaleMatch, Rings]:
    """The scale at which the disks lie on rings, near the known one where it fits about as well as any."""
    rings = rings_of_all(crystals, q_max=1.3 * LARGEST_Q)
    known = peaks.calibration.pixel_size_inv_angstrom
    start = RingMetric.of(peaks.calibration, pixel_size=1.0)
    outermost = float(np.quantile(points.radius, 0.99))
    every = (min(1.5 * rings.q[0], LARGEST_Q / 2) / outermost, LARGEST_Q / outermost)
    match = find_scale(points, rings, start=start, pixel_sizes=every, ellipse=False)
    if known is not None:
        near = find_scale(
            points, rings, start=start, pixel_sizes=(known * (1 - NEAR), known * (1 + NEAR)), ellipse=False
        )
        if near.fit > match.fit - FAR_GAIN:
            rival, rival_fit = match.metric.pixel_size, match.fit
            if abs(np.log(rival / near.metric.pixel_size)) < NEAR:
                rival, rival_fit = match.rival, match.rival_fit
            match = ScaleMatch(near.metric, near.fit, rival, rival_fit)
    size = match.metric.pixel_size
    local = find_scale(points, rings, start=start, pixel_sizes=(0.93 * size, 1.07 * size), ellipse=True)
    return ScaleMatch(local.metric, local.fit, match.rival, match.rival_fit), rings


def _fit(peaks: BraggPeaks, points: RingPoints, rings: Rings, match: ScaleMatch) -> RingFit:
    calibration = peaks.calibration
    wavelength = None if calibration.voltage_kv is None else calibration.wavelength_angstrom
    return fit_rings(points, rings, start=match.metric, wavelength=wavelength)


def _with_ellipse(calibration: Calibration, metric: RingMetric) -> Calibration:
    ratio, angle = metric.ellipse
    return calibration.updated(ellipse_ratio=ratio, ellipse_angle_deg=angle)


def _marked(
    calibration: Calibration, fit: RingFit, match: ScaleMatch, before: Calibration, *quantities: Quantity
) -> Calibration:
    """The calibration with these quantities calibrated, unless the rings hardly fit or the pixel size is far off.

    Then the crystal may be another one, and it is for the user to confirm them.
    """
    if match.fit >= POOR_FIT and not is_far_off(fit.metric.pixel_size, before.pixel_size_inv_angstrom):
        return calibration.with_checked(*quantities)
    kept = tuple(quantity for quantity in calibration.checked if quantity not in quantities)
    return calibration.updated(checked=kept)


def _ellipse_of(fit: RingFit) -> tuple[Measured, Measured]:
    return measured_ellipse(fit.metric.ellipse, strain_error([metric.strain for metric in fit.samples]))


def _pixel_size_of(fit: RingFit, before: Calibration) -> Measured:
    return measured_pixel_size(fit.metric.pixel_size, fit.pixel_size_error, before.pixel_size_inv_angstrom)


def _quality(fit: RingFit, n_points: int) -> tuple[Measured, ...]:
    """How well disks lie on rings."""
    return (
        Measured(Measurand.DISKS_ON_RINGS, float(fit.on_rings.mean())),
        Measured(Measurand.DISKS, n_points),
        Measured(Measurand.RINGS, fit.n_rings),
        Measured(Measurand.OFF_RINGS, fit.residual, unit="1/Å"),
    )


def _doubts(fit: RingFit, match: ScaleMatch, before: Calibration) -> list[Doubt]:
    """What is not sure about a fit."""
    doubts = []
    if match.fit < POOR_FIT:
        doubts.append(Doubt(DoubtKind.DISKS_OFF_RINGS))
    elif match.rival_fit > match.fit - CLOSE_RIVAL:
        doubts.append(Doubt(DoubtKind.RIVAL_PIXEL_SIZE, match.rival))
    known = before.pixel_size_inv_angstrom
    if is_far_off(fit.metric.pixel_size, known):
        doubts.append(Doubt(DoubtKind.PIXEL_SIZE_FAR_OFF, known))
    off = float(np.hypot(*fit.centre))
    if off > max(OFF_CENTRE_PX, 3 * fit.centre_error):
        fitted = "origin" in before.checked
        kind = DoubtKind.RINGS_OFF_CENTRE_OF_FITTED_BEAM if fitted else DoubtKind.RINGS_OFF_CENTRE
        doubts.append(Doubt(kind, off))
    return doubts


def _result(
    title: str,
    peaks: BraggPeaks,
    calibration: Calibration,
    told: tuple[Measured, ...],
    doubts: list[Doubt],
) -> CalibrationFit:
    return CalibrationFit(title, calibration, peaks.origin_px, told, tuple(doubts))
