"""Ellipse and pixel size from the disks of a scan, together with the rings of a known crystal or without."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_stem_orient.calibration.fit import CalibrationFit
from napari_stem_orient.calibration.metric import RingMetric, metric_from_strain
from napari_stem_orient.calibration.ring_fit import RingFit, fit_rings
from napari_stem_orient.calibration.ring_points import RingPoints
from napari_stem_orient.calibration.ring_sharpness import sharpest_ellipse
from napari_stem_orient.calibration.rings import Rings, rings_of_all
from napari_stem_orient.calibration.scale_search import ScaleMatch, find_scale
from napari_stem_orient.calibration.words import (
    change_in_words,
    ellipse_in_words,
    far_off_in_words,
    is_far_off,
    strain_error,
    with_error,
)
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
        lines = (_ellipse_line(fit), *_quality_lines(fit, len(points)))
        return _result("Ellipse", peaks, calibration, lines, _warnings(fit, match, peaks.calibration))
    found = sharpest_ellipse(points, start=RingMetric.of(peaks.calibration).strain)
    metric = metric_from_strain(found.strain, pixel_size=1.0)
    error = strain_error(found.samples)
    lines = (
        ("Ellipse", ellipse_in_words(metric.ellipse, error)),
        ("Sharpness of rings", f"{found.sharpness:.2f} (before: {found.sharpness_before:.2f})"),
        ("Disks", f"{len(points):,}"),
    )
    calibration = _with_ellipse(peaks.calibration, metric).with_checked("ellipse")
    return _result("Ellipse", peaks, calibration, lines, _blur_warning(error))


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
    lines = (_pixel_size_line(fit, peaks.calibration), *_quality_lines(fit, len(points)))
    notes = _warnings(fit, match, peaks.calibration)
    difference = np.hypot(*np.subtract(fit.metric.strain, RingMetric.of(peaks.calibration).strain))
    if difference > max(0.005, 3 * strain_error([m.strain for m in fit.samples])):
        notes.append(
            f"The rings are drawn out by {fit.metric.ellipse[0]:.3f}: fit the ellipse, too, and this again."
        )
    calibration = _marked(calibration, fit, match, peaks.calibration, "pixel size")
    return _result("Pixel size", peaks, calibration, lines, notes)


def fit_shape(peaks: BraggPeaks, crystals: Sequence[Crystal]) -> CalibrationFit:
    """Ellipse and pixel size together from the rings of known crystals; errors as for `fit_pixel_size`."""
    points = RingPoints.of_peaks(peaks)
    match, rings = _match(peaks, points, crystals)
    fit = _fit(peaks, points, rings, match)
    calibration = _with_ellipse(peaks.calibration, fit.metric)
    calibration = calibration.updated(pixel_size_inv_angstrom=fit.metric.pixel_size)
    lines = (
        _pixel_size_line(fit, peaks.calibration),
        _ellipse_line(fit),
        *_quality_lines(fit, len(points)),
    )
    notes = _warnings(fit, match, peaks.calibration)
    calibration = _marked(calibration, fit, match, peaks.calibration, "ellipse", "pixel size")
    return _result("Ellipse and pixel size", peaks, calibration, lines, notes)


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


def _ellipse_line(fit: RingFit) -> tuple[str, str]:
    error = strain_error([metric.strain for metric in fit.samples])
    return "Ellipse", ellipse_in_words(fit.metric.ellipse, error)


def _pixel_size_line(fit: RingFit, before: Calibration) -> tuple[str, str]:
    size = fit.metric.pixel_size
    text = f"{with_error(size, fit.pixel_size_error)} 1/Å"
    known = before.pixel_size_inv_angstrom
    if known is not None:
        text = f"{text} ({change_in_words(size, known)})"
    return "Pixel size", text


def _quality_lines(fit: RingFit, n_points: int) -> tuple[tuple[str, str], ...]:
    return (
        ("Disks on rings", f"{100 * fit.on_rings.mean():.0f} % of {n_points:,}, on {fit.n_rings} rings"),
        ("Off their rings by", f"{fit.residual:.4f} 1/Å (root mean square)"),
    )


def _warnings(fit: RingFit, match: ScaleMatch, before: Calibration) -> list[str]:
    """What is doubtful about a fit, in sentences."""
    notes = []
    if match.fit < POOR_FIT:
        notes.append(
            "The disks lie on the rings hardly better than by chance: is it the right crystal? Where "
            "rings are crowded, index first and refine from the map."
        )
    elif match.rival_fit > match.fit - CLOSE_RIVAL:
        notes.append(
            f"A pixel size of {match.rival:.4g} 1/Å fits about as well: the rings alone cannot tell."
        )
    known = before.pixel_size_inv_angstrom
    if known is not None and is_far_off(fit.metric.pixel_size, known):
        notes.append(far_off_in_words(known))
    off = float(np.hypot(*fit.centre))
    if off > max(OFF_CENTRE_PX, 3 * fit.centre_error):
        fix = (
            "too few orientations, or another crystal"
            if "origin" in before.checked
            else "fit the origin first"
        )
        notes.append(f"The rings' centre lies {off:.2f} px from the direct beam: {fix}.")
    return notes


def _blur_warning(error: float) -> list[str]:
    if error > 0.005:
        return [
            "Too few orientations to be sure without a crystal: choose one, or index and refine from the map."
        ]
    return []


def _result(
    title: str,
    peaks: BraggPeaks,
    calibration: Calibration,
    lines: tuple[tuple[str, str], ...],
    notes: list[str],
) -> CalibrationFit:
    return CalibrationFit(title, calibration, peaks.origin_px, lines, " ".join(notes))
