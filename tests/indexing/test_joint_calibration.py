"""The disks of an indexed map tell pixel size, ellipse and origin, but not a rotation."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from calibration_scenes import distorted_scan, miscalibrated
from napari_stem_orient.calibration.words import doubts_in_words, lines_of
from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.core.orientation import disorientation_angle_deg, multiply, quaternion_about_z
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.core.reason import Reason
from napari_stem_orient.indexing import joint_calibration
from napari_stem_orient.indexing.explained_disks import PhasePatterns
from napari_stem_orient.indexing.index import visible_q_limit
from napari_stem_orient.indexing.joint_calibration import (
    JointCalibration,
    RefinementProgress,
    _sure_patterns,
    refine_calibration,
)
from napari_stem_orient.simulation.grains import Polycrystal

NICKEL = load_crystal("Ni")


def finish(job: Generator[Any, None, Any]) -> tuple[list[Any], Any]:
    records = []
    while True:
        try:
            records.append(next(job))
        except StopIteration as stop:
            return records, stop.value


def map_of(peaks: BraggPeaks, truth: Polycrystal, *, off_deg: float = 1.0) -> OrientationMap:
    """A map of what is true, each orientation off by about a degree, as if it had been indexed."""
    rng = np.random.default_rng(0)
    error = np.concatenate([np.ones((256, 1)), rng.normal(0, np.deg2rad(off_deg) / 2, (256, 3))], axis=1)
    found = OrientationMap.empty(peaks, (NICKEL,), method="transformer", parameters={})
    found.phase_id[:] = 0
    found.quaternion[:] = multiply(truth.quaternion, error / np.linalg.norm(error, axis=1, keepdims=True))
    found.reason[:] = Reason.INDEXED
    found.confidence_deg[:] = 1.0
    return found


@cache
def refined() -> tuple[BraggPeaks, Polycrystal, list[RefinementProgress], JointCalibration]:
    """A scan with a 2 % ellipse, a 1 % error of the scale and a drifting origin that nobody has followed."""
    peaks, truth = distorted_scan()
    peaks = miscalibrated(peaks)
    records, result = finish(refine_calibration(peaks, map_of(peaks, truth), device="cpu"))
    return peaks, truth, records, result


def test_ellipse_pixel_size_and_origin_come_back_within_their_goals() -> None:
    _, truth, _, result = refined()
    found = result.fit.calibration
    assert found.ellipse_ratio == pytest.approx(1.02, abs=0.001)
    assert found.ellipse_angle_deg == pytest.approx(30, abs=1)
    assert found.pixel_size_inv_angstrom == pytest.approx(0.025, rel=0.0005)
    assert result.fit.origin_px is not None
    assert np.sqrt(np.mean((result.fit.origin_px - truth.origin_px) ** 2)) < 0.05
    assert found.checked == ("origin", "ellipse", "pixel size")


def test_the_patterns_are_explained_better_afterwards_and_that_is_told() -> None:
    _, _, records, result = refined()
    assert result.score_after > result.score_before + 0.05
    assert result.gains
    assert result.residual_after < 0.3 * result.residual_before
    assert all(record.progress.done <= record.progress.total and record.note for record in records)
    told = dict(lines_of(result.fit.measured))
    assert told["Score"] == f"{result.score_before:.3f} → {result.score_after:.3f}"
    assert told["Rotation"].startswith("cannot be told")
    assert result.n_positions > 200


def test_a_global_rotation_is_degenerate_with_the_orientations() -> None:
    """Disks that are all turned about the beam, and orientations turned with them: nothing tells, nothing changes."""
    _, _, _, straight = refined()
    peaks, truth = distorted_scan()
    peaks = miscalibrated(peaks)
    turned = peaks.with_calibration(peaks.calibration.updated(scan_rotation_deg=25.0))
    indexed = map_of(turned, truth)
    turn = quaternion_about_z(np.deg2rad(25.0))
    there = multiply(indexed.quaternion.astype(np.float64), turn)
    back = multiply(indexed.quaternion.astype(np.float64), turn * np.array([1, -1, -1, -1]))
    scores = []
    for quaternion in (there, back):
        trial = replace(indexed, quaternion=quaternion.astype(np.float32))
        _, result = finish(refine_calibration(turned, trial, device="cpu"))
        scores.append((result.score_after, result))
    score, best = max(scores, key=lambda pair: pair[0])
    assert score == pytest.approx(straight.score_after, abs=0.005)
    assert best.fit.calibration.scan_rotation_deg == 25.0
    assert best.fit.calibration.pixel_size_inv_angstrom == pytest.approx(
        straight.fit.calibration.pixel_size_inv_angstrom, rel=2e-4
    )
    assert best.fit.calibration.ellipse_ratio == pytest.approx(
        straight.fit.calibration.ellipse_ratio, abs=3e-4
    )


def test_a_beam_that_jumps_is_followed_position_by_position() -> None:
    peaks, truth = distorted_scan()
    jumps = np.random.default_rng(3).normal(0, 0.5, (256, 2))
    assert peaks.origin_px is not None
    moved = BraggPeaks.from_q(
        peaks.q_x,
        peaks.q_y,
        peaks.intensity,
        peaks.offsets,
        peaks.scan_shape,
        peaks.calibration,
        origin_px=peaks.origin_px + jumps,
        detector_shape=peaks.detector_shape,
    ).with_calibration(peaks.calibration, origin_px=peaks.origin_px)
    _, result = finish(refine_calibration(moved, map_of(moved, truth), device="cpu"))
    left = result.fit.origin_px - peaks.origin_px - jumps
    rich = moved.counts() > 8
    assert np.sqrt(np.mean(left[rich] ** 2)) < 0.15 < np.sqrt(np.mean(jumps**2))


def test_what_is_right_already_stays() -> None:
    peaks, truth = distorted_scan()
    _, result = finish(refine_calibration(peaks, map_of(peaks, truth), device="cpu"))
    assert result.fit.calibration.pixel_size_inv_angstrom == pytest.approx(0.025, rel=0.0005)
    assert "right within what the disks can tell" in doubts_in_words(result.fit.doubts)
    assert not result.gains
    assert result.score_after == pytest.approx(result.score_before, abs=0.003)


def test_orientations_refined_under_the_new_calibration_are_closer_to_the_truth() -> None:
    from napari_stem_orient.indexing.index import index_bragg_peaks
    from napari_stem_orient.indexing.parameters import IndexParameters

    peaks, truth, _, result = refined()
    errors = []
    for which in (peaks, result.fit.applied_to(peaks)):
        job = index_bragg_peaks(which, (NICKEL,), parameters=IndexParameters(neighbours=False), device="cpu")
        _, found = finish(job)
        error = disorientation_angle_deg(found.quaternion, truth.quaternion, NICKEL.proper_point_group)
        errors.append(np.median(error[found.indexed]))
    assert errors[1] < errors[0]


def test_what_cannot_be_refined_is_refused_with_the_reason() -> None:
    peaks, truth = distorted_scan()
    empty = OrientationMap.empty(peaks, (NICKEL,), method="transformer", parameters={})
    with pytest.raises(ValueError, match="no indexed position"):
        finish(refine_calibration(peaks, empty))
    unknown = peaks.with_calibration(peaks.calibration.updated(pixel_size_inv_angstrom=None))
    with pytest.raises(ValueError, match="pixel size"):
        finish(refine_calibration(unknown, map_of(peaks, truth)))
    other, _ = distorted_scan(scan_shape=(4, 4), n_grains=2)
    with pytest.raises(ValueError, match="index these peaks first"):
        finish(refine_calibration(other, empty))


def test_a_crystal_of_many_reflections_is_refined_from_fewer_patterns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    peaks, truth = distorted_scan()
    q_limit = visible_q_limit(peaks)
    n_reflections = len(NICKEL.reflections(q_limit)[0])
    monkeypatch.setattr(joint_calibration, "LARGEST_VALUES", 60 * n_reflections)
    _, result = finish(refine_calibration(peaks, map_of(peaks, truth), device="cpu"))
    assert 50 <= result.n_positions <= 70
    assert result.fit.calibration.pixel_size_inv_angstrom == pytest.approx(0.025, rel=0.002)


def test_places_of_disks_stay_in_double_precision_on_the_cpu_whatever_the_device() -> None:
    """Apple's GPUs have no float64; the vectors that come of them do go to the device."""
    copper = PhasePatterns(
        fitter=None,  # type: ignore[arg-type]
        positions=np.zeros(1, dtype=np.int64),
        offset_px=torch.tensor([[[10.0, -20.0]]], dtype=torch.float64),
        intensity=torch.ones((1, 1)),
        mask=torch.ones((1, 1), dtype=torch.bool),
        rotation=torch.empty((1, 1, 3, 3), device="meta"),
    )
    vectors = copper.vectors(0.1 * np.eye(2), np.zeros((1, 2)))
    assert vectors.device.type == "meta"
    assert vectors.dtype == torch.float32
    peaks, truth = distorted_scan()
    used = _sure_patterns(peaks, map_of(peaks, truth), device="cpu")
    assert used[0].offset_px.dtype == torch.float64
