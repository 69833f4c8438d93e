from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from inspect_scene import (
    CALIBRATION,
    DETECTOR_SHAPE,
    EULERS_DEG,
    PLAIN_CALIBRATION,
    crystal_of,
    make_scene,
    preview_of,
    render,
)
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.orientation import from_euler_bunge_deg
from napari_stem_orient.detection.probe import synthetic_probe
from napari_stem_orient.gui.parts.pattern_overlay import (
    LARGEST_EXCITATION_ERROR,
    Disks,
    detected_disks,
    detector_shape_of,
    disk_radius_px,
    hkl_text,
    pattern_origin_px,
    preview_disks,
    reflection_text,
    simulated_reflections,
)

TURNED = PLAIN_CALIBRATION.updated(scan_rotation_deg=-70.0)
STRETCHED = PLAIN_CALIBRATION.updated(ellipse_ratio=1.15, ellipse_angle_deg=20.0)
MIRRORED = PLAIN_CALIBRATION.updated(flip=True)


def disks_in(frame: np.ndarray, *, above: float) -> np.ndarray:
    """(n, 2) x and y of the disks that stand alone in a frame, by centre of mass."""
    labels, count = ndimage.label(frame > above)
    centres = np.array(ndimage.center_of_mass(labels > 0, labels, np.arange(1, count + 1)))
    areas = ndimage.sum(labels > 0, labels, np.arange(1, count + 1))
    return centres[np.abs(areas - np.median(areas)) < 0.3 * np.median(areas)][:, ::-1]


def reflections_of(grain: int, calibration: Calibration):
    return simulated_reflections(
        crystal_of(grain),
        from_euler_bunge_deg(EULERS_DEG[grain]),
        calibration=calibration,
        origin_px=calibration.origin_px,
        detector_shape=DETECTOR_SHAPE,
    )


@pytest.mark.parametrize("calibration", [PLAIN_CALIBRATION, TURNED, STRETCHED, MIRRORED, CALIBRATION])
@pytest.mark.parametrize("grain", [0, 1, 3])
def test_the_simulated_pattern_lands_on_the_disks_of_the_raw_frame(calibration, grain):
    disks = disks_in(render(grain, calibration), above=10.0)
    assert len(disks) >= 4
    reflections = reflections_of(grain, calibration)
    # the direct beam is no reflection
    drawn = np.column_stack([reflections.x_px, reflections.y_px])
    drawn = np.vstack([drawn, calibration.origin_px[::-1]])
    distance = np.linalg.norm(disks[:, None] - drawn[None], axis=-1).min(axis=1)
    assert distance.max() < 0.5


def test_a_wrong_orientation_does_not_land_on_the_disks():
    disks = disks_in(render(0), above=10.0)
    reflections = reflections_of(1, CALIBRATION)
    drawn = np.column_stack([reflections.x_px, reflections.y_px])
    distance = np.linalg.norm(disks[:, None] - drawn[None], axis=-1).min(axis=1)
    assert distance.max() > 2


def test_a_weak_reflection_is_shown_where_it_explains_a_disk():
    crystal, origin = crystal_of(0), np.asarray(CALIBRATION.origin_px)
    arguments = {"calibration": CALIBRATION, "origin_px": origin, "detector_shape": DETECTOR_SHAPE}
    # A few degrees off: some reflections have left the Ewald sphere, and multiple scattering still shows them.
    tilted = from_euler_bunge_deg(np.add(EULERS_DEG[0], (0.0, 6.0, 0.0)))
    strong = simulated_reflections(crystal, tilted, **arguments)
    everywhere = np.stack(
        np.meshgrid(*(np.arange(0.0, n, 2.0) for n in DETECTOR_SHAPE[::-1])), axis=-1
    ).reshape(-1, 2)
    disks = Disks(*everywhere.T.astype(np.float32), np.ones(len(everywhere), dtype=np.float32), 2.0)
    shown = simulated_reflections(crystal, tilted, disks=disks, **arguments)
    assert {tuple(hkl) for hkl in strong.hkl} < {tuple(hkl) for hkl in shown.hkl}
    added = ~np.isin(shown.x_px, strong.x_px)
    assert np.abs(shown.excitation_error[added]).max() <= LARGEST_EXCITATION_ERROR
    # One disk on a reflection that is drawn anyway, and one on nothing at all: nothing is added.
    alone = Disks(
        *(np.array([value], dtype=np.float32) for value in (strong.x_px[0], strong.y_px[0], 1.0)), 2.0
    )
    assert len(simulated_reflections(crystal, tilted, disks=alone, **arguments).hkl) == len(strong.hkl)


def test_reflections_outside_the_detector_are_left_out():
    reflections = reflections_of(0, CALIBRATION)
    assert np.all((reflections.x_px > -0.5) & (reflections.x_px < DETECTOR_SHAPE[1] - 0.5))
    assert np.all((reflections.y_px > -0.5) & (reflections.y_px < DETECTOR_SHAPE[0] - 0.5))
    assert reflections.intensity.max() == pytest.approx(1.0)


def test_nothing_is_simulated_without_voltage_or_pixel_size():
    for unknown in ("voltage_kv", "pixel_size_inv_angstrom"):
        assert reflections_of(0, PLAIN_CALIBRATION.updated(**{unknown: None})) is None


def test_the_origin_is_the_fitted_one_then_the_calibrated_one_then_the_middle():
    scene = make_scene(scan_shape=(4, 4))
    where = {"calibration": CALIBRATION, "detector_shape": DETECTOR_SHAPE}
    wandering = np.arange(32, dtype=np.float32).reshape(16, 2)
    fitted = scene.peaks.with_calibration(CALIBRATION, origin_px=wandering)
    assert pattern_origin_px((1, 2), peaks=fitted, **where) == (12.0, 13.0)
    assert pattern_origin_px((1, 2), peaks=scene.peaks, **where) == CALIBRATION.origin_px
    unknown = {"calibration": Calibration(), "detector_shape": (11, 21)}
    assert pattern_origin_px(None, peaks=None, **unknown) == (5.0, 10.0)


def test_disks_have_the_radius_of_the_probe_else_of_the_convergence_angle():
    probe = synthetic_probe(4.5, DETECTOR_SHAPE)
    assert disk_radius_px(probe, CALIBRATION) == 4.5
    # 1.5 mrad at 300 kV (0.019687 Å) and 0.025 Å⁻¹ a px
    assert disk_radius_px(None, CALIBRATION) == pytest.approx(1.5e-3 / 0.019687 / 0.025, rel=1e-4)
    assert disk_radius_px(None, Calibration()) > 0


def test_detected_and_previewed_disks_are_raw_detector_positions():
    scene = make_scene(scan_shape=(4, 4))
    disks = detected_disks(scene.peaks, (2, 1), radius_px=3.0)
    y, x = CALIBRATION.origin_px
    assert (disks.x_px[0], disks.y_px[0]) == pytest.approx((x, y), abs=1e-3)
    preview = preview_disks(preview_of(scene, (2, 1)), radius_px=3.0)
    assert (preview.x_px[0], preview.y_px[0]) == pytest.approx((x, y), abs=1e-3)
    assert len(detected_disks(scene.peaks, (0, 0), radius_px=3.0).x_px) == 0


def test_peaks_alone_get_a_detector_that_holds_them():
    scene = make_scene(scan_shape=(4, 4))
    assert detector_shape_of(scene.datacube, None) == DETECTOR_SHAPE
    assert detector_shape_of(None, scene.peaks) == DETECTOR_SHAPE
    assert detector_shape_of(None, None) is None


def test_hover_text_has_bars_over_negative_indices():
    reflections = reflections_of(0, PLAIN_CALIBRATION)
    index = int(np.argmax(np.all(reflections.hkl == [0, -2, 0], axis=1)))
    assert hkl_text(reflections, index) == "0 2\u0304 0"
    # Cu, a = 3.61 Å
    assert "d 1.80" in reflection_text(reflections, index)
